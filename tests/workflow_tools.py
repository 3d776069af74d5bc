"""Small helpers of the workflow tests."""

from __future__ import annotations

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
