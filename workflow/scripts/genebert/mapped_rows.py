"""Motif rows that stay in their files, and how much memory rows may take.

In: float16 views of mapped shards. Out: an array-like of all rows; asked for some, it copies these
and nothing else. What is mapped belongs to the system's page cache: it is not read twice while
there is room, and given back when there is not.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARE = 0.5  # of the memory that is free, for the rows of all processes on a machine


class MappedRows:
    """Rows of several mapped files as one array, float16[R, M], of which some are asked for.

    Parameters
    ----------
    parts : float16[r, M] of every file, in order.
    maps : of the files; they are told that rows will be asked for in no order.
    """

    def __init__(
        self, parts: Sequence[NDArray[np.float16]], maps: Sequence[mmap.mmap] = ()
    ) -> None:
        self.parts = list(parts)
        self._first = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._first[-1]), parts[0].shape[1])
        self.dtype = parts[0].dtype
        for file in maps:
            file.madvise(mmap.MADV_RANDOM)  # no reading ahead

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float16]:
        """Return float16[n, M], a copy of some rows; negative ones count from the end."""
        rows = np.where(rows < 0, rows + len(self), rows)
        which = np.searchsorted(self._first, rows, side="right") - 1
        found = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        for part in np.unique(which).tolist():
            here = np.flatnonzero(which == part)
            found[here] = self.parts[part][rows[here] - self._first[part]]
        return found


def row_budget() -> int:
    """Return the bytes that the motif rows of one process may take in memory.

    Half of what is free on the machine, or of the limit of the job (control groups, version 1 and
    2) where that is less, shared by the processes of the machine.
    """
    free = [_free(), *_limits()]
    return int(SHARE * min(free)) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _free() -> int:
    """Return the bytes that are free without swapping, or those of the machine."""
    memory = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+)", memory.read_text() if memory.exists() else "")
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE


def _limits(
    group: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """Return the memory limits of this process's control group and of those above it."""
    limits: list[int] = []
    if not group.exists():
        return limits
    for line in group.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        here = Path(path.lstrip("/"))
        for folder in (here, *here.parents):
            try:
                text = (top / folder / name).read_text().strip()
            except OSError:
                continue
            if text.isdecimal():
                limits.append(int(text))
    return limits
