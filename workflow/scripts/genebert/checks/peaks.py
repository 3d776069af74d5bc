"""How many regions of the training split a cell type can have open, as far as its peaks tell.

In: the peaks of the training cell types. Out: a count for every cell type and contig: that of the
places where it has peaks or, where these are few, the most that can come of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from genebert.consensus import RegionSettings, open_pairs
from genebert.peaks import Peaks
from genebert.splits import Splits

FEW = 100  # places on the richest contig, up to which the peaks are looked at one by one

Ints = NDArray[np.int64]


def windows(peaks: Peaks, width: int) -> Ints:
    """Return int64[K]: contig << 32 | window of ``width`` bases, once each, that hold a summit."""
    codes = peaks.contig.astype(np.int64) << 32 | (peaks.summit // width)
    return np.unique(codes)


def disjoint(centres: Ints, width: int) -> int:
    """Return how many windows around some of the sorted centres fit beside each other at most."""
    count, free = 0, 0
    for centre in centres.tolist():
        if not count or centre >= free:
            count, free = count + 1, centre + width
    return count


def open_regions(
    found: Mapping[str, Sequence[Peaks]],
    lengths: Mapping[str, int],
    splits: Splits,
    settings: RegionSettings,
    needed: int,
) -> Ints:
    """Return int64[C, contigs]: about how many training regions each cell type has open.

    Where the contig that is richest in them has at most ``needed`` or FEW, it is the most that can
    be: a region is centred on a summit of some cell type, overlaps no other region, and is open if
    a peak of the cell type comes near its centre.

    Parameters
    ----------
    found : the peaks of every replicate of the C training cell types.
    """
    names, width, tolerance = list(lengths), settings.width, settings.open_tolerance

    @cache
    def centres(contig: int) -> Ints:
        """Return the sorted summits that a training region can be centred on."""
        every = [p.summit[p.on(contig)] for members in found.values() for p in members]
        summits = np.unique(np.concatenate(every)).astype(np.int64)
        start = summits - width // 2
        inside = (start >= 0) & (start + width <= lengths[names[contig]])
        return summits[inside & (splits.split_of(names[contig], start, start + width) == "train")]

    def most(members: Sequence[Peaks], contig: int) -> int:
        """Return how many regions beside each other the peaks of a cell type can open."""
        near = []
        for peaks in members:
            on = peaks.on(contig)
            start, end = (x[on].astype(np.int64) for x in (peaks.start, peaks.end))
            strength = peaks.strength[on]
            near.append(open_pairs(start, end, strength, centres(contig), tolerance)[0])
        return disjoint(centres(contig)[np.unique(np.concatenate(near))], width)

    counts = np.zeros((len(found), len(names)), dtype=np.int64)
    for row, members in enumerate(found.values()):
        codes = np.unique(np.concatenate([windows(peaks, width) for peaks in members]))
        contigs = np.unique(codes >> 32).tolist()
        for contig in contigs:
            start = (codes[codes >> 32 == contig] & 0xFFFFFFFF) * width
            split = splits.split_of(names[contig], start, start + width)
            counts[row, contig] = int((split == "train").sum())
        if counts[row].max(initial=0) <= max(needed, FEW):
            counts[row, contigs] = [most(members, contig) for contig in contigs]
    return counts
