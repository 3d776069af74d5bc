"""Metrics and their bootstrap, as pure functions on arrays.

In: labels, scores, the block of every item and how often each block is taken in each draw. Out:
numbers, NaN where a metric is undefined. A draw is a column of weights, so that one pass gives the
metric of all draws; a column of ones gives the point estimate. Letters of shapes: N items,
B blocks, D draws, S seeds, K classes, L loci.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_CHUNK = 200_000  # items times draws at a time: the weights of one chunk stay in the cache
_ECE_BINS = 10
_UNDEFINED_DRAWS = 0.05  # an interval is NaN if the metric is undefined in more draws than that

THRESHOLD_METRICS = ("mcc", "f1", "accuracy", "precision", "recall")


def block_draws(part_B: Ints, draws: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32[B, 1 + draws]: how often each block is taken; column 0 is the data as it is.

    Blocks are drawn with replacement among those of the same part, so that a part keeps its size.

    Parameters
    ----------
    part_B : int[B], the part of every block (e.g. 0 headline, 1 other strata).
    draws : number of draws.
    """
    counts_BD = np.ones((len(part_B), 1 + draws), dtype=np.float32)
    for part in np.unique(part_B):
        rows = np.flatnonzero(part_B == part)
        share = np.full(len(rows), 1.0 / len(rows))
        counts_BD[rows, 1:] = rng.multinomial(len(rows), share, size=draws).T
    return counts_BD


def seed_draws(pretrain_S: Ints, finetune_S: Ints, uniform_D: Floats) -> Floats:
    """Return float64[S, 1 + D]: weight of every seed; pre-training seeds first, then fine-tuning.

    Pre-training seeds are drawn with replacement, then fine-tuning seeds, the same for each of
    them: seed 2 draws the same labels and batches whatever was pre-trained, so that what a seed
    brings does not average out over pre-training seeds (a bootstrap of two crossed factors: Owen,
    Annals of Applied Statistics 1, 2007). Models with the same numbers of seeds get the same draws.
    A column adds up to 1; column 0 is the mean over pre-training seeds of the means over
    fine-tuning seeds.

    Parameters
    ----------
    pretrain_S, finetune_S : the two seeds of every fit; pairs are unique.
    uniform_D : float[D, P + F] in [0, 1), P at least the number of pre-training seeds and the last
        F columns at least as many as one of them has fine-tuning seeds.
    """
    runs = [np.flatnonzero(pretrain_S == seed) for seed in np.unique(pretrain_S)]
    runs = [rows[np.argsort(finetune_S[rows], kind="stable")] for rows in runs]
    weights_SD = np.zeros((len(pretrain_S), 1 + len(uniform_D)))
    chosen_DP = (uniform_D[:, : len(runs)] * len(runs)).astype(np.int64)
    for index, rows in enumerate(runs):
        times_D = (chosen_DP == index).sum(axis=1)
        picks_DF = (uniform_D[:, -len(rows) :] * len(rows)).astype(np.int64)
        share = 1.0 / (len(runs) * len(rows))
        weights_SD[rows, 0] = share
        for at, row in enumerate(rows):
            weights_SD[row, 1:] = share * times_D * (picks_DF == at).sum(axis=1)
    return weights_SD


def rank_draws(
    labels_N: Bools, scores_N: Floats, block_N: Ints, counts_BD: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Return AUROC and AUPRC (average precision) of every draw, each float64[D].

    An item counts as often as its block. AUROC is the share of (positive, negative) pairs in the
    right order, ties counting one half; average precision is the sum over thresholds of the gain
    of recall times precision, tied scores being one threshold (as in scikit-learn). NaN where a
    draw has one class only.

    Parameters
    ----------
    labels_N, scores_N : labels and finite scores; higher means more likely positive.
    block_N : int[N], row of ``counts_BD`` of every item.
    counts_BD : whole numbers >= 0, less than 2**31 in all.
    """
    return _ranked(labels_N, scores_N, block_N, counts_BD)[:2]


def site_draws(
    labels_N: Bools,
    scores_N: Floats,
    block_N: Ints,
    counts_BD: NDArray[np.floating],
    missed: int = 0,
) -> tuple[Floats, Floats, Floats]:
    """Return AUROC, AUPRC and top-k of every draw; k is the draw's positives and ``missed``.

    The other parameters are those of :func:`rank_draws`; ``missed`` sites were never scored, so no
    draw takes or leaves them out; to the AUPRC, too, they are sites that no threshold finds. Top-k
    is the share of k that is found among the k best scores, where items tied at the border count in
    proportion; NaN without positives.
    """
    return _ranked(labels_N, scores_N, block_N, counts_BD, missed)


def _ranked(
    labels_N: Bools,
    scores_N: Floats,
    block_N: Ints,
    counts_BD: NDArray[np.floating],
    missed: int | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return AUROC, AUPRC and, if sites are ``missed`` (or none, 0), top-k of every draw."""
    order = np.argsort(-scores_N, kind="stable")
    labels, scores, block = labels_N[order], scores_N[order], block_N[order]
    new = np.concatenate([[False], scores[1:] != scores[:-1]])
    tie = np.cumsum(new)  # rank of the score, the highest first
    positive, negative = block[labels], block[~labels]
    draws = counts_BD.shape[1]
    auroc_D, auprc_D, top_D = (np.full(draws, np.nan) for _ in range(3))
    if not len(positive):
        return auroc_D, auprc_D, top_D
    ties = np.unique(tie[labels])  # thresholds that hold a positive: the only ones that add
    last = np.searchsorted(tie[labels], ties, side="right") - 1
    worse = np.searchsorted(tie[~labels], ties, side="right")  # negatives at or above
    better = np.searchsorted(tie[~labels], ties, side="left")  # negatives above
    step = max(1, _CHUNK // len(labels))
    for start in range(0, draws, step):
        part = slice(start, start + step)
        counts = np.ascontiguousarray(counts_BD[:, part].T, dtype=np.int32)
        tp = np.cumsum(np.take(counts, positive, axis=1), axis=1, dtype=np.int32)
        fp = np.zeros((len(counts), 1 + len(negative)), dtype=np.int32)
        np.cumsum(np.take(counts, negative, axis=1), axis=1, out=fp[:, 1:])
        n_positive, n_negative = tp[:, -1].astype(float), fp[:, -1].astype(float)
        n_positive[n_positive == 0] = np.nan
        n_negative[n_negative == 0] = np.nan
        tp = np.take(tp, last, axis=1).astype(float)
        fp_at, fp_above = (np.take(fp, at, axis=1).astype(float) for at in (worse, better))
        gain = tp.copy()
        gain[:, 1:] -= tp[:, :-1]
        precision = tp / np.maximum(tp + fp_at, 1)
        auprc_D[part] = np.einsum("dt,dt->d", gain, precision) / (n_positive + (missed or 0))
        auprc_D[part][np.isnan(n_negative)] = np.nan
        between = 0.5 * (fp_at + fp_above)
        auroc_D[part] = 1 - np.einsum("dt,dt->d", gain, between) / (n_positive * n_negative)
        if missed is not None:
            k = n_positive + missed
            above, tied = tp - gain + fp_above, gain + fp_at - fp_above
            reached = np.clip((k[:, None] - above) / np.maximum(tied, 1), 0, 1)
            top_D[part] = np.einsum("dt,dt->d", gain, reached) / k
    return auroc_D, auprc_D, top_D


def contig_draws(
    labels_N: Bools,
    scores_N: Floats,
    block_N: Ints,
    contig_N: NDArray[np.object_],
    counts_BD: NDArray[np.floating],
) -> tuple[Floats, Floats]:
    """Return AUROC and AUPRC per contig, averaged with the draw's numbers of items as weights.

    This is the AUPRC of TraitGym. Contigs that have one class only in a draw are left out of it. A
    block lies in one contig; parameters as :func:`rank_draws`.
    """
    sums_2D, weight_D = np.zeros((2, counts_BD.shape[1])), np.zeros(counts_BD.shape[1])
    for name in sorted(set(contig_N)):
        rows = np.flatnonzero(contig_N == name)
        blocks, block = np.unique(block_N[rows], return_inverse=True)
        counts = counts_BD[blocks]
        pair_2D = np.stack(rank_draws(labels_N[rows], scores_N[rows], block, counts))
        size_D = block_sums(np.ones(len(rows)), block, counts)
        known_D = np.isfinite(pair_2D[0])
        sums_2D += np.where(known_D, pair_2D * size_D, 0)
        weight_D += np.where(known_D, size_D, 0)
    auroc_D, auprc_D = np.where(weight_D > 0, sums_2D / np.maximum(weight_D, 1), np.nan)
    return auroc_D, auprc_D


def _alone(labels: Bools, scores: Floats) -> tuple[float, float]:
    ones, block = np.ones((len(labels), 1)), np.arange(len(labels))
    auroc_D, auprc_D = rank_draws(np.asarray(labels, bool), np.asarray(scores, float), block, ones)
    return float(auroc_D[0]), float(auprc_D[0])


def auroc(labels: Bools, scores: Floats) -> float:
    """Return the area under the ROC curve; NaN if there is one class only."""
    return _alone(labels, scores)[0]


def auprc(labels: Bools, scores: Floats) -> float:
    """Return the average precision; NaN if there is one class only. Chance is the prevalence."""
    return _alone(labels, scores)[1]


def macro(
    metric: Callable[[NDArray, Floats], float],
    labels_N: NDArray,
    scores_NK: Floats,
    group_N: NDArray,
) -> float:
    """Return the mean of a metric over groups or, of several scores, over classes against the rest.

    Those in which it is undefined are left out; NaN if it is so in all.

    Parameters
    ----------
    metric : of labels and scores.
    labels_N : labels or, of K > 1 scores, the class; group_N : any values.
    """
    if scores_NK.shape[1] > 1:
        parts = [metric(labels_N == k, scores_N) for k, scores_N in enumerate(scores_NK.T)]
    else:
        groups = (group_N == name for name in np.unique(group_N))
        parts = [metric(labels_N[at], scores_NK[at, 0]) for at in groups]
    known = [part for part in parts if np.isfinite(part)]
    return float(np.mean(known)) if known else float("nan")


def threshold_metrics(tp: Floats, fp: Floats, fn: Floats, tn: Floats) -> dict[str, Floats]:
    """Return THRESHOLD_METRICS from counts of any one shape.

    With both classes present, MCC and precision of a model that calls everything alike are 0, as
    in scikit-learn; with one class only, all but the accuracy are NaN.
    """
    tp, fp, fn, tn = (np.asarray(x, dtype=float) for x in (tp, fp, fn, tn))
    both = (tp + fn > 0) & (fp + tn > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        denominator = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        mcc = np.where(denominator > 0, (tp * tn - fp * fn) / denominator, 0.0)
        out = {
            "mcc": mcc,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "accuracy": (tp + tn) / (tp + fp + fn + tn),
            "precision": np.where(tp + fp > 0, tp / (tp + fp), 0.0),
            "recall": tp / (tp + fn),
        }
    return {
        name: value if name == "accuracy" else np.where(both, value, np.nan)
        for name, value in out.items()
    }


def block_sums(values_N: NDArray, block_N: Ints, counts_BD: NDArray[np.floating]) -> Floats:
    """Return float64[D]: the sum of a value over the items of every draw."""
    sums_B = np.bincount(block_N, weights=values_N, minlength=len(counts_BD))
    # in the type of the counts, which numpy would else convert as a whole: 1e-7 of the sum
    return np.asarray(sums_B.astype(counts_BD.dtype) @ counts_BD, dtype=float)


def confusion_draws(
    labels_N: Bools, called_N: Bools, block_N: Ints, counts_BD: NDArray[np.floating]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return true positives, false positives, false negatives and true negatives of every draw."""
    cells = (
        labels_N & called_N,
        ~labels_N & called_N,
        labels_N & ~called_N,
        ~labels_N & ~called_N,
    )
    tp, fp, fn, tn = (block_sums(cell, block_N, counts_BD) for cell in cells)
    return tp, fp, fn, tn


def best_threshold(labels_N: Bools, scores_N: Floats) -> float:
    """Return the threshold (call if score >= it) with the largest MCC; NaN with one class only.

    It lies midway between two neighbouring scores; of several that are as good, the highest.
    """
    labels_N, scores_N = np.asarray(labels_N, bool), np.asarray(scores_N, float)
    if labels_N.all() or not labels_N.any():
        return float("nan")
    order = np.argsort(-scores_N, kind="stable")
    scores, labels = scores_N[order], labels_N[order]
    last = np.flatnonzero(np.concatenate([scores[1:] != scores[:-1], [True]]))
    tp = np.cumsum(labels)[last].astype(float)
    fp = last + 1 - tp
    mcc = threshold_metrics(tp, fp, labels.sum() - tp, (~labels).sum() - fp)["mcc"]
    at = int(np.argmax(mcc))
    upper = float(scores[last[at]])
    lower = float(scores[last[at + 1]]) if at + 1 < len(last) else upper
    middle = lower + (upper - lower) / 2
    return middle if middle > lower else upper


def multiclass_mcc(confusion: NDArray) -> Floats:
    """Return the MCC of K classes from counts[..., K, K] (rows are labels, columns are calls).

    The formula is R_K of Gorodkin (Comput Biol Chem 2004;28:367). NaN with one class only.
    """
    counts = np.asarray(confusion, dtype=float)
    truth, called = counts.sum(axis=-1), counts.sum(axis=-2)
    total = truth.sum(axis=-1)
    right = np.trace(counts, axis1=-2, axis2=-1)
    covariance = right * total - (truth * called).sum(axis=-1)
    spread = total**2 - (called**2).sum(axis=-1)
    spread_truth = total**2 - (truth**2).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(spread > 0, covariance / np.sqrt(spread * spread_truth), 0.0)
    return np.asarray(np.where(spread_truth > 0, value, np.nan))


def reliability(
    labels_N: Bools, scores_N: Floats, bins: int = _ECE_BINS
) -> tuple[Floats, Floats, Ints]:
    """Return mean score, share of positives and number of items of bins of equal mass.

    Tied scores share a bin (that of their mean rank), so that the order of rows does not matter;
    empty bins are left out.
    """
    scores_N = np.asarray(scores_N, float)
    if not len(scores_N):
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
    bin_N = _equal_mass(scores_N, bins)
    size = np.bincount(bin_N, minlength=bins)
    keep = size > 0
    mean = np.bincount(bin_N, weights=scores_N, minlength=bins)[keep] / size[keep]
    weights = np.asarray(labels_N, float)
    share = np.bincount(bin_N, weights=weights, minlength=bins)[keep] / size[keep]
    return mean, share, size[keep].astype(np.int64)


def _equal_mass(scores_N: Floats, bins: int) -> Ints:
    """Return int[N], the bin of equal mass of every score."""
    rank = stats.rankdata(scores_N) - 0.5
    return np.minimum((rank * bins / len(scores_N)).astype(np.int64), bins - 1)


def calibration_draws(
    labels_N: Bools, scores_N: Floats, block_N: Ints, counts_BD: NDArray[np.floating]
) -> Floats:
    """Return the expected calibration error of every draw.

    It is the mean over items of |mean score - share of positives| of their bin, of ten bins of
    equal mass of all items (those of :func:`reliability`, whichever a draw takes). ``scores_N`` are
    probabilities; other parameters and shapes as :func:`rank_draws`. NaN in a draw without items.
    """
    bin_N = _equal_mass(scores_N, _ECE_BINS)
    error_N = np.asarray(scores_N, float) - labels_N
    errors = [
        np.abs(block_sums(np.where(bin_N == k, error_N, 0), block_N, counts_BD))
        for k in range(_ECE_BINS)
    ]
    size_D = block_sums(np.ones(len(scores_N)), block_N, counts_BD)
    return np.where(size_D > 0, np.sum(errors, axis=0) / np.maximum(size_D, 1), np.nan)


def correlations(effect_N: Floats, scores_N: Floats) -> tuple[float, float]:
    """Return Spearman and Pearson correlation; NaN below three items or with a constant."""
    effect_N, scores_N = np.asarray(effect_N, float), np.asarray(scores_N, float)
    if len(effect_N) < 3 or np.ptp(effect_N) == 0 or np.ptp(scores_N) == 0:
        return float("nan"), float("nan")
    return (
        float(stats.spearmanr(effect_N, scores_N).statistic),
        float(stats.pearsonr(effect_N, scores_N).statistic),
    )


def correlation_draws(
    effect_N: Floats, scores_N: Floats, block_N: Ints, counts_BD: NDArray[np.floating]
) -> tuple[Floats, Floats]:
    """Return Spearman and Pearson correlation of every draw, each float64[D].

    An item counts as often as its block; equal values share the mean of their ranks. NaN below
    three items or where a draw has a constant.
    """
    effect, scores = np.asarray(effect_N, float), np.asarray(scores_N, float)
    draws = counts_BD.shape[1]
    if len(effect) < 3:
        return np.full(draws, np.nan), np.full(draws, np.nan)
    ranked, linear = [], []
    step = max(1, 4_000_000 // len(effect))
    for start in range(0, draws, step):
        weight_ND = counts_BD[block_N, start : start + step].astype(float)
        x_N1, y_N1 = effect[:, None], scores[:, None]
        linear.append(_weighted_correlation(x_N1, y_N1, weight_ND))
        ranks = _weighted_ranks(x_N1, weight_ND), _weighted_ranks(y_N1, weight_ND)
        ranked.append(_weighted_correlation(ranks[0], ranks[1], weight_ND))
    return np.concatenate(ranked), np.concatenate(linear)


def _weighted_ranks(x_N1: Floats, weight_ND: Floats) -> Floats:
    """Return float64[N, D]: ranks of items that count several times, ties at their mean."""
    order = np.argsort(x_N1[:, 0], kind="stable")
    values = x_N1[order, 0]
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    size_GD = np.add.reduceat(weight_ND[order], first, axis=0)
    middle_GD = np.cumsum(size_GD, axis=0) - size_GD / 2
    out = np.empty_like(weight_ND)
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(values))))
    out[order] = middle_GD[group]
    return out


def _weighted_correlation(x: Floats, y: Floats, weight_ND: Floats) -> Floats:
    """Return float64[D]: the Pearson correlation of x and y, each [N, D] or [N, 1]."""
    total_D = np.maximum(weight_ND.sum(axis=0), 1)
    least = [1e-20 * np.square(z).max() for z in (x, y)]  # a constant, but for rounding
    x = x - (weight_ND * x).sum(axis=0) / total_D
    y = y - (weight_ND * y).sum(axis=0) / total_D
    xx, yy = ((weight_ND * z**2).sum(axis=0) / total_D for z in (x, y))
    xy = (weight_ND * x * y).sum(axis=0) / total_D
    known = (xx > least[0]) & (yy > least[1])
    return np.asarray(np.where(known, xy / np.sqrt(np.where(known, xx * yy, 1)), np.nan))


def within_locus(labels_N: Bools, scores_N: Floats, locus_N: Ints) -> tuple[Floats, Ints]:
    """Return the AUROC inside every locus that has both labels, and one item of each locus.

    It compares cell types at one locus: a score that depends on the sequence alone gives 0.5.

    Returns
    -------
    auroc_L : float64[L], by ascending locus.
    item_L : int[L], the index of the first item of each locus.
    """
    labels_N = np.asarray(labels_N, bool)
    loci, first, locus = np.unique(locus_N, return_index=True, return_inverse=True)
    order = np.lexsort((scores_N, locus))
    sorted_locus, sorted_scores = locus[order], np.asarray(scores_N, float)[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(sorted_locus) != 0) | (np.diff(sorted_scores) != 0)
    tie = np.cumsum(new) - 1
    mean_position = np.bincount(tie, weights=np.arange(len(order))) / np.bincount(tie)
    start_L = np.searchsorted(sorted_locus, np.arange(len(loci)))
    rank_N = np.empty(len(order))
    rank_N[order] = mean_position[tie] - start_L[sorted_locus] + 1
    positive = np.bincount(locus, weights=labels_N, minlength=len(loci))
    negative = np.bincount(locus, minlength=len(loci)) - positive
    rank_sum = np.bincount(locus[labels_N], weights=rank_N[labels_N], minlength=len(loci))
    keep = (positive > 0) & (negative > 0)
    pairs = (positive * negative)[keep]
    auroc_L = (rank_sum - positive * (positive + 1) / 2)[keep] / pairs
    return auroc_L, first[keep]


def percentile_interval(draws_D: Floats) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles; NaN if the metric is undefined in many draws."""
    defined = draws_D[np.isfinite(draws_D)]
    if not len(defined) or len(defined) < (1 - _UNDEFINED_DRAWS) * len(draws_D):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def mean_defined(values_UD: Floats, times_UD: Floats | None = None) -> Floats:
    """Return the mean over the first axis of what is defined; NaN where nothing is.

    ``times_UD`` says how often each value counts, in whole numbers (once, if it is not given).
    """
    defined = np.isfinite(values_UD)
    times = defined if times_UD is None else defined * times_UD
    count = times.sum(axis=0)
    total = (np.where(defined, values_UD, 0.0) * times).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Difference:
    """A paired difference: estimate, percentile interval, p and smallest detectable difference."""

    value: float
    low: float
    high: float
    p: float
    detectable: float


def paired_difference(a_D: Floats, b_D: Floats) -> Difference:
    """Compare two metrics over the same draws; column 0 of both is the point estimate.

    p is two-sided, twice the smaller share of draws on one side of 0 (ties on both), with one
    added to count and total. The smallest difference found with 80 % power at 5 % is
    (1.960 + 0.842) standard errors.
    """
    difference = np.asarray(a_D, float) - np.asarray(b_D, float)
    drawn = difference[1:][np.isfinite(difference[1:])]
    low, high = percentile_interval(difference[1:])
    if not np.isfinite(low) or not np.isfinite(difference[0]):
        return Difference(float(difference[0]), low, high, float("nan"), float("nan"))
    side = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (side + 1) / (len(drawn) + 1))
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    return Difference(float(difference[0]), low, high, p, float(z * drawn.std(ddof=1)))


def holm(p: Floats, tests: int | None = None) -> Floats:
    """Return p-values adjusted by Holm (Scand J Stat 1979;6:65); NaN stays NaN.

    ``tests`` is the size of the family, by default the number of given p-values; tests that could
    not be made still count when it includes them.
    """
    p = np.asarray(p, float)
    out = np.full(len(p), np.nan)
    given = np.flatnonzero(np.isfinite(p))
    order = given[np.argsort(p[given], kind="stable")]
    family = len(given) if tests is None else tests
    if len(order):
        factors = family - np.arange(len(order))
        out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return out
