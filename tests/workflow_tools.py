"""Small helpers of the workflow tests."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

TINY_GENOME: dict[str, Any] = {
    "simulate": {
        "contigs": ["chr1", "chr2", "chr3"],
        "contig_length": 500000,
        "cell_types": ["HSC", "Mono", "B", "NK"],
        "cell_type_tree": "((HSC,Mono),(B,NK));",
        "chip_tfs": ["CTCF", "SPI1"],
        "variants": {"causal": 10},
        "cohort": {"individuals": 60, "causal": 5, "variants": 100},
    },
    "splits": {
        "train": ["chr1"],
        "valid": ["chr2"],
        "test": ["chr3"],
        "held_out_cell_types": ["NK"],
    },
}
TINY_EFFORT: dict[str, Any] = {
    "pretrain_seeds": 1,
    "pretrain_steps": 6,
    "finetune_steps": 4,
    "bootstrap_draws": 100,
}


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return [line for line in text.splitlines() if line.strip()][-1]


def copy_repository(root: Path, folder: Path) -> Path:
    """Copy the files of a checkout as a fresh clone has them, with changes not yet committed."""
    command = [
        "git",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, listed):
        source, target = root / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def blocks(page: Path, kind: str, title: str = "") -> list[str]:
    """Return the fenced blocks of a page of Markdown, in their order, as text."""
    info = kind + (f' title="{title}"' if title else "")
    pattern = rf"^```{re.escape(info)}\n(.*?)^```$"
    return re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)
