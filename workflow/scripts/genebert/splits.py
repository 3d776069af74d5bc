"""The one place that says which bases are for training, validation and test.

A split is a list of ``contig`` or ``contig:start-end`` (0-based, half-open, as in BED).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError, nearest
from genebert.hints import contig_hint

SPLITS = ("train", "valid", "test")
_INTERVAL = re.compile(r"(?P<contig>[^\s:]+)(?::(?P<start>\d[\d,_]*)-(?P<end>\d[\d,_]*))?\Z")
_WHOLE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Interval:
    """A half-open interval of one contig; ``end`` is the largest int64 for a whole contig."""

    contig: str
    start: int
    end: int


def parse_interval(text: str, *, key: str) -> Interval:
    """Parse ``chr1`` or ``chr1:1000-2000``.

    Raises
    ------
    InputError
        If the text is of another form or the interval is empty.
    """
    match = _INTERVAL.match(str(text))
    if match is None:
        raise InputError(
            "not an interval", file=key, found=text, expected="contig or contig:start-end"
        )
    if match["start"] is None:
        return Interval(match["contig"], 0, _WHOLE)
    start, end = (int(match[name].replace(",", "").replace("_", "")) for name in ("start", "end"))
    if start >= end:
        raise InputError("interval is empty", file=key, found=text, expected="start < end")
    return Interval(match["contig"], start, end)


@dataclass(frozen=True)
class Splits:
    """Train, validation and test intervals, and the cell types held out of training.

    ``held_out_share`` of all cell types are held out in addition to the named ones.
    """

    intervals: Mapping[str, tuple[Interval, ...]]
    held_out_cell_types: tuple[str, ...] = ()
    held_out_share: float = 0.0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Splits:
        """Build from the ``splits:`` block of the configuration.

        Raises
        ------
        InputError
            If a split is empty, two intervals of any splits overlap, or the share is not one.
        """
        intervals = {}
        for name in SPLITS:
            key = f"config splits.{name}"
            if not config.get(name):
                raise InputError("split is empty", file=key, expected="at least one contig")
            intervals[name] = tuple(parse_interval(text, key=key) for text in config[name])
        flat = [(name, interval) for name in SPLITS for interval in intervals[name]]
        for i, (name, a) in enumerate(flat):
            for other, b in flat[i + 1 :]:
                if a.contig == b.contig and a.start < b.end and b.start < a.end:
                    raise InputError(
                        f"{a.contig} is in {name} and again in {other}",
                        file="config splits",
                        expected="intervals that do not overlap",
                    )
        share = config.get("held_out_share", 0)
        if not 0 <= share < 1:
            raise InputError(
                "share is out of range",
                file="config splits.held_out_share",
                found=share,
                expected="0 to below 1",
            )
        return cls(intervals, tuple(config.get("held_out_cell_types", ())), float(share))

    def held_out(self, names: Sequence[str], seed: int, *, file: str) -> NDArray[np.bool_]:
        """Return bool[C]: is the cell type held out of training?

        Besides the named ones, ``held_out_share`` of all cell types (rounded, at least one where it
        is not 0) are drawn from the others: those whose names have the smallest digests with the
        seed. So neither the order of the names matters nor, for most, which others there are.

        Parameters
        ----------
        names : C names of cell types.
        seed : of the configuration.
        file : their table, for error messages.

        Raises
        ------
        InputError
            If a named cell type is not there, or none is left for training.
        """
        key = "config splits.held_out_cell_types"
        for name in self.held_out_cell_types:
            if name not in names:
                raise InputError(
                    f"held-out cell type is not in {file}{nearest(name, names)}",
                    file=key,
                    found=name,
                )
        chosen = set(self.held_out_cell_types)
        if self.held_out_share > 0:
            key = "config splits.held_out_share"
            others = [name for name in names if name not in chosen]
            others.sort(key=lambda name: hashlib.sha256(f"{seed}\t{name}".encode()).hexdigest())
            chosen |= set(others[: max(1, int(self.held_out_share * len(names) + 0.5))])
        mask = np.array([name in chosen for name in names], dtype=bool)
        if mask.all():
            raise InputError(
                "all cell types are held out", file=key, expected="at least one training cell type"
            )
        return mask

    def check_contigs(self, lengths: Mapping[str, int], *, file: str) -> None:
        """Raise :class:`InputError` if an interval is not inside a contig of the genome."""
        for name, intervals in self.intervals.items():
            for interval in intervals:
                if interval.contig not in lengths:
                    raise InputError(
                        f"contig of split {name} is not in the genome"
                        + contig_hint(interval.contig, lengths),
                        file=file,
                        found=interval.contig,
                    )
                if interval.end != _WHOLE and interval.end > lengths[interval.contig]:
                    raise InputError(
                        f"interval of split {name} ends beyond {interval.contig}",
                        file=file,
                        found=interval.end,
                        expected=f"at most {lengths[interval.contig]}",
                    )

    def split_of(
        self, contig: str, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.str_]:
        """Return ``train``, ``valid``, ``test`` or an empty string for each interval.

        An interval belongs to a split only if it lies wholly inside one interval of that split.

        Parameters
        ----------
        contig : the contig of all intervals.
        starts, ends : int[N], 0-based half-open.
        """
        starts, ends = np.asarray(starts), np.asarray(ends)
        out = np.full(starts.shape, "", dtype="<U5")
        for name, intervals in self.intervals.items():
            for interval in intervals:
                if interval.contig == contig:
                    out[(starts >= interval.start) & (ends <= interval.end)] = name
        return out

    def clipped(self, name: str, contigs: Mapping[str, int]) -> list[Interval]:
        """Return the intervals of a split clipped to the contigs' lengths."""
        return [
            Interval(i.contig, i.start, min(i.end, contigs[i.contig])) for i in self.intervals[name]
        ]
