"""Which motifs mark the open regions of each cell type, GC content accounted for.

In: regions, motif scores and openness (:mod:`genebert.region_motifs`). Out: one row per cell type
and motif. Only regions that are open in fewer than half of the cell types are looked at: the others
(promoters, CTCF sites) tell nothing about a cell type. Two questions have two answers:

* *Which motifs mark this cell type?* ``odds_ratio``, ``z``, ``p``, ``q`` and ``rank``: the regions
  open in it against the other regions, stratified by GC content (deciles), common odds ratio of
  Mantel and Haenszel (J Natl Cancer Inst 1959;22:719). Matching the background on GC is what HOMER
  does (Heinz et al. 2010, doi:10.1016/j.molcel.2010.05.004).
* *In which cell type is this motif most enriched?* ``deviation``: the open regions of the cell type
  against the open regions of all cell types with the same GC content, as in chromVAR (Schep et al.
  2017, doi:10.1038/nmeth.4401). The odds ratio cannot be compared between cell types: its
  background is whatever the other cell types brought into the atlas, and differs for each.

Regions are taken as independent. The table describes data: no model is fitted on it, and regions of
all splits and held-out cell types take part. Letters of shapes: R regions, C cell types, M motifs,
K strata.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from genebert.region_motifs import RegionMotifs

log = logging.getLogger("genebert")

GC_BINS = 10
MAX_BREADTH = 0.5  # regions open in this share of the cell types or more are left out
MIN_EXPECTED = 5.0  # Mantel and Fleiss (Am J Epidemiol 1980;112:129): below, p is not given
COLUMNS = [
    "cell_type",
    "motif",
    "held_out",
    "n_open",
    "n_motif",
    "odds_ratio",
    "log2",
    "z",
    "p",
    "q",
    "rank",
    "score_z",
    "deviation",
    "deviation_se",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sums:
    """Sums over the regions of every stratum; the last "cell type" holds all regions.

    Attributes
    ----------
    regions : float64[K, C + 1], number of regions that are open.
    present : float64[K, C + 1, M], of them, those with the motif.
    score : float64[K, C + 1, M], sum of their scores.
    square : float64[K, M], sum of the squared scores of all regions.
    """

    regions: Floats
    present: Floats
    score: Floats
    square: Floats


def gc_strata(gc_R: Floats, used_R: NDArray[np.bool_], bins: int = GC_BINS) -> Ints:
    """Return int64[R]: the quantile bin of each used region's GC content, -1 for the others."""
    edges = np.unique(np.quantile(gc_R[used_R], np.linspace(0, 1, bins + 1)[1:-1]))
    return np.where(used_R, np.searchsorted(edges, gc_R, side="right"), -1)


def strata_sums(data: RegionMotifs, stratum_R: Ints) -> Sums:
    """Go over the motif matrix once; regions of stratum -1 are left out."""
    strata, groups, motifs = int(stratum_R.max()) + 1, len(data.cell_types) + 1, len(data.motifs)
    regions = np.zeros(strata * groups)
    present, score = (np.zeros((strata * groups, motifs)) for _ in range(2))
    square = np.zeros((strata, motifs))
    for rows, scores in data.scores(stratum_R >= 0):
        opened = data.strength[rows]
        at = np.repeat(np.arange(len(rows)), np.diff(opened.indptr))
        # one indicator per (stratum, cell type), so that one sparse product gives all sums
        group = np.concatenate([opened.indices, np.full(len(rows), groups - 1)])
        at = np.concatenate([at, np.arange(len(rows))])
        group = stratum_R[rows][at] * groups + group
        indicator = sparse.csr_matrix(
            (np.ones(len(at)), (group, at)), shape=(len(regions), len(rows))
        )
        scores = scores.astype(np.float64)
        hits = sparse.csr_matrix(
            ((scores.data != 0).astype(np.float64), scores.indices, scores.indptr), scores.shape
        )
        regions += np.bincount(group, minlength=len(regions))
        present += (indicator @ hits).toarray()
        score += (indicator @ scores).toarray()
        square += (indicator[groups - 1 :: groups] @ scores.power(2)).toarray()
    shape = (strata, groups, motifs)
    return Sums(regions.reshape(shape[:2]), present.reshape(shape), score.reshape(shape), square)


def mantel_haenszel(sums: Sums) -> tuple[Floats, Floats, Floats]:
    """Return the common odds ratio, z, and the Mantel-Fleiss number, each float64[C, M].

    In a stratum of N regions of which n are open in the cell type and m have the motif, a of them
    both: odds ratio = sum(a (N - n - m + a) / N) / sum((n - a)(m - a) / N); z = sum(a - n m / N) /
    sqrt(sum(n m (N - n)(N - m) / (N^2 (N - 1)))), without correction for continuity. The number
    says how far the expected sum of a is from its bounds: the normal approximation needs 5.
    """
    shape = sums.present.shape[1] - 1, sums.present.shape[2]
    above, below, excess, variance, low, high = (np.zeros(shape) for _ in range(6))
    for counts_CM, open_C in zip(sums.present, sums.regions, strict=True):
        a, m = counts_CM[:-1], counts_CM[-1][None]
        n, total = open_C[:-1][:, None], open_C[-1]
        if total < 2:
            continue
        above += a * (total - n - m + a) / total
        below += (n - a) * (m - a) / total
        expected = n * m / total
        excess += a - expected
        variance += expected * (total - n) * (total - m) / (total * (total - 1))
        low += expected - np.maximum(0, n + m - total)
        high += np.minimum(n, m) - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below, excess / np.sqrt(variance), np.minimum(low, high)


def score_z(sums: Sums) -> Floats:
    """Return float64[C, M]: z of the sum of scores in open regions, given the strata's scores.

    Mean and variance are those of drawing as many regions of each stratum without replacement.
    """
    shape = sums.score.shape[1] - 1, sums.score.shape[2]
    excess, variance = np.zeros(shape), np.zeros(shape)
    for score_CM, square_M, open_C in zip(sums.score, sums.square, sums.regions, strict=True):
        n, total = open_C[:-1][:, None], open_C[-1]
        if total < 2:
            continue
        mean_M = score_CM[-1] / total
        spread_M = np.maximum(square_M - total * mean_M**2, 0) / (total - 1)
        excess += score_CM[:-1] - n * mean_M
        variance += n * (total - n) / total * spread_M
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(variance > 1e-9, excess / np.sqrt(variance), np.nan))


def deviation(sums: Sums) -> tuple[Floats, Floats]:
    """Return (open regions with the motif / their expected number - 1) and its standard error.

    Both are float64[C, M]. Expected from the share with the motif among all (region, cell type)
    pairs that are open, per stratum: a region counts as often as there are cell types in which it
    is open. The error is that of as many independent draws with this share.
    """
    open_KC, counts_KCM = sums.regions[:, :-1], sums.present[:, :-1]
    pairs_K = np.maximum(open_KC.sum(axis=1), 1)
    share_KM = counts_KCM.sum(axis=1) / pairs_K[:, None]
    expected_CM = open_KC.T @ share_KM
    spread_CM = np.sqrt(open_KC.T @ (share_KM * (1 - share_KM)))
    with np.errstate(divide="ignore", invalid="ignore"):
        return counts_KCM.sum(axis=0) / expected_CM - 1, spread_CM / expected_CM


def enrichment_table(
    data: RegionMotifs, *, bins: int = GC_BINS, max_breadth: float = MAX_BREADTH
) -> pd.DataFrame:
    """Return the table, one row per cell type and motif, sorted by cell type and rank.

    Columns
    -------
    n_open : regions open in the cell type, of those looked at; n_motif : of them, with the motif.
    odds_ratio, log2 : of a motif in these regions against the others; log2 is of the odds ratio.
    z, p, q : its test; p is two-sided, q is Benjamini-Hochberg over the whole table. Missing where
        the expected numbers are too small (``MIN_EXPECTED``), as is the rank.
    rank : of the motif in the cell type, by z; 1 is the most enriched.
    score_z : the same test with the sum of the motif's scores in place of its presence.
    deviation, deviation_se : see :func:`deviation`; compare these between cell types.

    The table is empty if no region is open in fewer than half of the cell types.
    """
    used = data.breadth < max_breadth * len(data.cell_types)
    if not used.any():
        log.warning("no region is open in fewer than half of the cell types: no enrichment")
        return pd.DataFrame(columns=COLUMNS)
    log.info("enrichment in %d of %d regions", used.sum(), len(used))
    gc = data.regions["gc"].to_numpy(dtype=np.float64)
    sums = strata_sums(data, gc_strata(gc, used, bins))
    odds, z, enough = mantel_haenszel(sums)
    z[~(enough >= MIN_EXPECTED)] = np.nan
    p = 2 * stats.norm.sf(np.abs(z))
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    q[known] = stats.false_discovery_control(p[known]) if known.any() else np.nan
    order = np.argsort(np.where(np.isfinite(z), -z, np.inf), axis=1, kind="stable")
    rank = np.empty(z.shape)
    np.put_along_axis(rank, order, np.arange(1.0, z.shape[1] + 1)[None], axis=1)
    cells, motifs = z.shape
    shift, error = deviation(sums)
    with np.errstate(divide="ignore"):
        log2 = np.log2(odds)
    columns = {
        "cell_type": np.repeat(np.array(data.cell_types, dtype=object), motifs),
        "motif": np.tile(np.array(data.motifs, dtype=object), cells),
        "held_out": np.repeat(data.held_out.astype(np.int64), motifs),
        "n_open": np.repeat(sums.regions[:, :-1].sum(axis=0).astype(np.int64), motifs),
        "n_motif": sums.present[:, :-1].sum(axis=0).astype(np.int64).ravel(),
        "odds_ratio": odds.ravel(),
        "log2": log2.ravel(),
        "z": z.ravel(),
        "p": p.ravel(),
        "q": q.ravel(),
        "rank": np.where(known, rank, np.nan).ravel(),
        "score_z": score_z(sums).ravel(),
        "deviation": shift.ravel(),
        "deviation_se": error.ravel(),
    }
    table = pd.DataFrame(columns)[COLUMNS]
    table["rank"] = table["rank"].astype("Int64")
    place = np.repeat(np.arange(cells), motifs)
    order = np.lexsort((rank.ravel(), place))
    return table.iloc[order].reset_index(drop=True)
