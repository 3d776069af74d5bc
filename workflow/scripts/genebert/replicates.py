"""Make one list of peaks of the replicates of a cell type.

Comes in: the :class:`~genebert.peaks.Peaks` of every replicate and the number of replicates that
must hold a peak. Goes out: one :class:`~genebert.peaks.Peaks`, in which no peak is counted twice.

*Same peak.* Two peaks of two replicates are the same if they share at least half of the shorter
one: the criterion of "naive overlap", which the ENCODE pipelines for ATAC-seq and for histone marks
use in place of IDR. No pooled peaks are needed, so a peak of any replicate may be the one kept.

*Kept.* A peak stays if it, or the same peak, is in at least ``minimum`` replicates. Its strength is
the mean over all replicates of the rank percentile of the (strongest) same peak, 0 where there is
none, and then the rank percentile of these means. Of the peaks that stay, the strongest (ties: by
its own percentile) keeps its bounds and summit and stands for the same peaks of the other
replicates; then the next strongest that is left. Several summits of one replicate in one place
remain several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genebert.peaks import Peaks, strengths

Ints = NDArray[np.int64]


def same_peaks(start: Ints, end: Ints, replicate: Ints) -> tuple[Ints, Ints]:
    """Return all pairs (i, j), i < j, of the same peak in two replicates.

    Parameters
    ----------
    start, end, replicate : int64[N], sorted by start, all contigs on one axis.
    """
    last = np.searchsorted(start, end, side="left")
    first = np.arange(len(start)) + 1
    count = last - first
    i = np.repeat(first - 1, count)
    j = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    shared = np.minimum(end[i], end[j]) - start[j]
    shorter = np.minimum(end[i] - start[i], end[j] - start[j])
    same = (2 * shared >= shorter) & (replicate[i] != replicate[j])
    return i[same], j[same]


def _thin(order: Ints, i: Ints, j: Ints, count: int) -> NDArray[np.bool_]:
    """Return which of ``count`` peaks stand for others: in ``order``, each removes its partners."""
    partner = np.concatenate([j, i])[np.argsort(np.concatenate([i, j]), kind="stable")].tolist()
    bounds = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate([i, j]), minlength=count))])
    at = bounds.tolist()
    chosen = np.ones(count, dtype=bool)
    paired = np.diff(bounds) > 0
    gone = bytearray(count)
    for peak in order[paired[order]].tolist():
        if gone[peak]:
            chosen[peak] = False
        else:
            for other in partner[at[peak] : at[peak + 1]]:
                gone[other] = 1
    return chosen


def _content(peaks: Peaks) -> tuple[int, bytes, bytes]:
    """Return what replicates are sorted by: the order of their files must not matter."""
    return len(peaks), peaks.start.tobytes(), peaks.strength.tobytes()


def merge_replicates(
    replicates: Sequence[Peaks], minimum: int, contigs: Mapping[str, int]
) -> Peaks:
    """Return the peaks that are found in at least ``minimum`` replicates, each once.

    Parameters
    ----------
    replicates : of one cell type; their order is free. A single one is returned as it is.
    minimum : 1 to the number of replicates.
    contigs : {contig: length} of the genome.

    Returns
    -------
    Peaks
        ``counts`` are the sums over the replicates, and ``replicates`` (peaks found in too few),
        ``merged`` (peaks for which a stronger one stands) and ``replicate_files``. If no replicate
        has scores, the strength is 0.5.
    """
    if not 1 <= minimum <= len(replicates):
        raise ValueError(f"{minimum} of {len(replicates)} replicates")
    if len(replicates) == 1:
        return replicates[0]
    replicates = sorted(replicates, key=_content)
    base = np.concatenate([[0], np.cumsum([length + 1 for length in contigs.values()])])
    contig, start, end, summit, strength = (
        np.concatenate([getattr(peaks, name) for peaks in replicates])
        for name in ("contig", "start", "end", "summit", "strength")
    )
    replicate = np.repeat(np.arange(len(replicates)), [len(peaks) for peaks in replicates])
    order = np.lexsort((-strength, summit, end, start, contig))
    contig, start, end, summit, strength, replicate = (
        values[order] for values in (contig, start, end, summit, strength, replicate)
    )
    i, j = same_peaks(base[contig] + start, base[contig] + end, replicate)
    best = np.zeros((len(start), len(replicates)))
    best[np.arange(len(start)), replicate] = strength
    np.maximum.at(best, (i, replicate[j]), strength[j])
    np.maximum.at(best, (j, replicate[i]), strength[i])
    mean = np.sort(best, axis=1).mean(axis=1)  # sorted: the order of the files is free
    found = (best > 0).sum(axis=1) >= minimum

    both = found[i] & found[j]
    by_strength = np.lexsort((-strength, -mean))  # ties stay in the order of their places
    kept = found & _thin(by_strength[found[by_strength]], i[both], j[both], len(start))
    counts: Counter[str] = Counter()
    for peaks in replicates:
        counts.update(peaks.counts)
    source = "+".join(sorted({peaks.score_source for peaks in replicates}))
    return Peaks(
        contig[kept],
        start[kept],
        end[kept],
        summit[kept],
        strengths(None if source == "missing" else mean[kept], int(kept.sum())),
        source,
        {
            **counts,
            "replicates": int((~found).sum()),
            "merged": int((found & ~kept).sum()),
            "replicate_files": len(replicates),
        },
    )
