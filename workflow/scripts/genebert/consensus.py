"""From the peaks of one contig to its regions: the array half of the stage ``regions``.

Comes in: summits and strengths of all cell types on a contig, its sequence, the blacklist and the
splits. Goes out: the starts of the regions, and what became of every candidate.

A peak becomes a candidate: the window of ``width`` bases around its summit. Candidates are
filtered and then thinned by iterative overlap removal, the strongest first, ties by (start, cell
type): training cell types first, held-out ones after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pybedtools
from numpy.typing import NDArray

from genebert.errors import InputError, check_range, nearest
from genebert.genome import Codes, N
from genebert.peaks import MAX_UNKNOWN
from genebert.splits import Splits

Ints = NDArray[np.int64]
# What becomes of a candidate, in the order in which it is asked.
REASONS = ("kept", "contig_edge", "no_split", "blacklist", "n_fraction", "overlap")


@dataclass(frozen=True)
class RegionSettings:
    """The block ``regions`` of the configuration.

    Attributes
    ----------
    width : bases of a region.
    open_tolerance : bases that a peak may be away from the centre of a region that it opens.
    max_n_fraction : share of unknown bases above which a region is dropped.
    max_unknown_contigs : share of a cell type's peaks on contigs that the genome lacks, above
        which the file is taken for one of another assembly.
    """

    width: int = 500
    open_tolerance: int = 100
    max_n_fraction: float = 0.05
    max_unknown_contigs: float = MAX_UNKNOWN

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("width", 1, 1_000_000),
            ("open_tolerance", 0, 1_000_000),
            ("max_n_fraction", 0, 1),
            ("max_unknown_contigs", 0, 1),
        ):
            check_range(getattr(self, name), low, high, file=f"config regions.{name}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RegionSettings:
        """Build from a mapping; an unknown key is an :class:`InputError`."""
        known = [f.name for f in fields(cls)]
        for key in config:
            if key not in known:
                raise InputError(f"unknown key{nearest(key, known)}", file=f"config regions.{key}")
        return cls(**config)


@dataclass(frozen=True)
class Selected:
    """Regions of one contig, sorted by start: starts int64[R] and held_out_only bool[R]."""

    starts: Ints
    held_out_only: NDArray[np.bool_]


def runs(mask: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return starts and ends of the runs of true values of bool[L]."""
    if not len(mask):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    edges = np.concatenate([[0] * bool(mask[0]), edges, [len(mask)] * bool(mask[-1])])
    return edges[::2].astype(np.int64), edges[1::2].astype(np.int64)


def covered_bases(run_starts: Ints, run_ends: Ints, starts: Ints, ends: Ints) -> Ints:
    """Return how many bases of each interval lie in a set of disjoint, sorted runs.

    Parameters
    ----------
    run_starts, run_ends : int64[K].
    starts, ends : int64[N], half-open intervals.
    """
    before = np.concatenate([[0], np.cumsum(run_ends - run_starts)])

    def upto(position: Ints) -> Ints:
        k = np.searchsorted(run_starts, position, side="right")
        over = np.where(k > 0, np.maximum(np.append(run_ends, 0)[k - 1] - position, 0), 0)
        return before[k] - over

    return np.asarray(upto(ends) - upto(starts), dtype=np.int64)


def remove_overlaps(
    starts: Ints, strength: NDArray[np.float64], tie: Ints, width: int, taken: bytearray
) -> NDArray[np.bool_]:
    """Thin windows of one width on one contig: the strongest first, each drops what it overlaps.

    Parameters
    ----------
    starts : int64[N], starts of the windows, 0 to length - width.
    strength, tie : float64[N], int64[N]; ties of strength break by (start, tie).
    width : bases of a window.
    taken : bytearray of length + 2 * width, changed in place: byte ``width + s`` is 1 where a
        window that starts at s would overlap one that was kept before.

    Returns
    -------
    bool[N], true where a window is kept.
    """
    kept = np.zeros(len(starts), dtype=bool)
    block = b"\1" * (2 * width - 1)
    order = np.lexsort((tie, starts, -strength))
    for i, start in zip(order.tolist(), starts[order].tolist(), strict=True):
        if not taken[start + width]:
            kept[i] = True
            taken[start + 1 : start + 2 * width] = block
    return kept


def open_pairs(
    starts: Ints, ends: Ints, strength: NDArray[np.float64], centres: Ints, tolerance: int
) -> tuple[Ints, NDArray[np.float32]]:
    """Return the regions that peaks of one cell type open, and their strengths.

    A peak opens a region if the peak, widened by ``tolerance`` on both sides, holds its centre.

    Parameters
    ----------
    starts, ends, strength : [P], the peaks, half-open.
    centres : int64[R], sorted.

    Returns
    -------
    regions : int64[K], ascending, without repeats.
    strengths : float32[K], the largest strength of the peaks that open each region.
    """
    first = np.searchsorted(centres, starts - tolerance, side="left")
    last = np.searchsorted(centres, ends + tolerance, side="left")
    count = last - first
    region = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    value = np.repeat(strength, count)
    order = np.lexsort((value, region))
    region, value = region[order], value[order]
    top = np.append(region[1:] != region[:-1], True)[: len(region)]
    return region[top].astype(np.int64), value[top].astype(np.float32)


def in_blacklist(
    starts: Ints, width: int, blacklist: Sequence[tuple[int, int]]
) -> NDArray[np.bool_]:
    """Return bool[N]: does a window [start, start + width) overlap an interval of the blacklist?

    Windows and intervals are of one contig. A window overlaps an interval if it starts less than
    ``width`` bases before it, or inside; bedtools merges these stretches.
    """
    if not blacklist or not len(starts):
        return np.zeros(len(starts), dtype=bool)
    text = "".join(f"c\t{max(a - width + 1, 0)}\t{b}\n" for a, b in sorted(blacklist))
    merged = pybedtools.BedTool(text, from_string=True).merge()
    first, last = np.array([(x.start, x.end) for x in merged], dtype=np.int64).T
    return covered_bases(first, last, starts, starts + 1) > 0


def select_regions(
    contig: str,
    length: int,
    codes: Codes,
    peaks: Sequence[tuple[Ints, NDArray[np.float64]]],
    held_out: NDArray[np.bool_],
    blacklist: Sequence[tuple[int, int]],
    splits: Splits,
    settings: RegionSettings,
) -> tuple[Selected, NDArray[np.int64]]:
    """Turn the peaks of all cell types on one contig into its regions.

    Parameters
    ----------
    codes : uint8[length], the bases of the contig.
    peaks : (summits int64[N_c], strengths float64[N_c]) of each cell type, in the order of names
        that breaks ties.
    held_out : bool[C].

    Returns
    -------
    regions : Selected
    counts : int64[C, len(REASONS)], candidates of each cell type by what became of them.
    """
    width = settings.width
    cell = np.repeat(np.arange(len(peaks)), [len(summits) for summits, _ in peaks])
    starts = np.concatenate([summits for summits, _ in peaks]).astype(np.int64) - width // 2
    strength = np.concatenate([values for _, values in peaks])
    reason = np.zeros(len(starts), dtype=np.int64)

    def drop(name: str, bad: NDArray[np.bool_]) -> None:
        reason[(reason == 0) & bad] = REASONS.index(name)

    drop("contig_edge", (starts < 0) | (starts + width > length))
    drop("no_split", splits.split_of(contig, starts, starts + width) == "")
    left = np.flatnonzero(reason == 0)
    listed = np.zeros(len(starts), dtype=bool)
    listed[left] = in_blacklist(starts[left], width, blacklist)
    drop("blacklist", listed)
    n_bases = covered_bases(*runs(codes == N), starts, starts + width)
    drop("n_fraction", n_bases > settings.max_n_fraction * width)

    taken = bytearray(length + 2 * width)
    kept = np.zeros(len(starts), dtype=bool)
    for group in (False, True):
        index = np.flatnonzero((reason == 0) & (held_out[cell] == group))
        kept[index] = remove_overlaps(starts[index], strength[index], cell[index], width, taken)
    drop("overlap", ~kept)
    order = np.flatnonzero(kept)
    order = order[np.argsort(starts[order])]
    counts = np.zeros((len(peaks), len(REASONS)), dtype=np.int64)
    np.add.at(counts, (cell, reason), 1)
    return Selected(starts[order], held_out[cell[order]]), counts
