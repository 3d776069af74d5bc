"""A full disk leaves no wrong file and ends in one line: a real one, and a limit of file sizes.

The small disk is a tmpfs of 192 kB, which only root can mount; the limit (``ulimit -f``) works for
everybody. Both make a write fail in the middle of a file, as a full disk does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

KILOBYTES = 192
STAGES = {
    "text": "second.bed",
    "shards": ".safetensors",
    "scan": "hits.npz",
    "matrix": "matrix.h5ad",
    "download": ".partial/big.bin-1.part",
}
Run = Callable[[str, int], subprocess.CompletedProcess[str]]


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Return a function that runs a job with its outputs in ``tmp_path/out``."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)

    def start(stage: str, limit: int) -> subprocess.CompletedProcess[str]:
        worker, paths = root / "tests/full_disk_worker.py", (tmp_path / "in", out)
        return subprocess.run(
            [sys.executable, str(worker), stage, *map(str, paths), str(limit)],
            env={**os.environ, "PYTHONPATH": f"{root}/workflow/scripts:{root}/tests"},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return start


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs at ``tmp_path/out``."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={KILOBYTES}k", "tmpfs", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        problem = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        problem = "no program `mount`"
    if problem:
        pytest.skip(f"a small disk cannot be mounted here (it needs root): {problem}")
    yield out
    subprocess.run(["umount", str(out)], check=True)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def check_failed(
    done: subprocess.CompletedProcess[str], stage: str, folder: Path, text: str
) -> None:
    assert done.returncode != 0
    # HDF5 grumbles behind the line when its objects are freed; the log ends with the line
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"error: {folder / 'out'}")
    assert f"{STAGES[stage]}: cannot be written, {text}" in lines[0]
    assert "free'; expected room for the file" in lines[0]
    log = (folder / "in" / "log").read_text().strip().splitlines()
    assert log[-1].endswith(lines[0].removeprefix("error: "))
    # a partial download is kept, to be resumed, under its own name and not that of the file
    left = [name for name in files(folder / "out") if not name.startswith(".partial/")]
    assert left == []


@pytest.mark.parametrize("stage", STAGES)
def test_limit_of_file_sizes(run: Run, tmp_path: Path, stage: str) -> None:
    done = run(stage, 16 * 1024)
    check_failed(done, stage, tmp_path, "the file is larger than this disk")


@pytest.mark.parametrize("stage", STAGES)
def test_full_disk_and_then_room(small_disk: Path, run: Run, tmp_path: Path, stage: str) -> None:
    done = run(stage, 0)
    check_failed(done, stage, tmp_path, "the disk is full")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = run(stage, 0)
    assert done.returncode == 0, done.stderr
    assert any(name.endswith(STAGES[stage].removeprefix(".partial/").removesuffix("-1.part"))
               for name in files(small_disk))  # fmt: skip
    assert not any(".part-" in name for name in files(small_disk))
