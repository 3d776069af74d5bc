"""Points of ROC, precision-recall and reliability curves, few enough for a table.

In: the units of a slice (see :mod:`genebert.bootstrap`) and the scores of every seed. Out: rows of
``curves.tsv``. ROC and precision-recall curves are read off at the same grid of x for every seed
and unit and averaged at each x, so that scores of several fits are never pooled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genebert import metrics
from genebert.bootstrap import Unit
from genebert.metrics import Bools, Floats

GRID = np.linspace(0.0, 1.0, 51)


def roc_points(labels_N: Bools, scores_N: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores_N, kind="stable")
    labels, scores = labels_N[order], scores_N[order]
    last = np.concatenate([scores[1:] != scores[:-1], [True]])
    tp, fp = np.cumsum(labels)[last], np.cumsum(~labels)[last]
    return np.append(0.0, fp / fp[-1]), np.append(0.0, tp / tp[-1])


def roc_curve(labels_N: Bools, scores_N: Floats) -> Floats:
    """Return the true positive rate at every false positive rate of GRID (the upper envelope)."""
    fpr, tpr = roc_points(labels_N, scores_N)
    keep = np.append(fpr[1:] != fpr[:-1], True)  # of a vertical step, its upper end
    at_zero = tpr[fpr == 0].max()
    curve = np.interp(GRID, fpr[keep], tpr[keep])
    curve[0] = at_zero
    return curve


def pr_curve(labels_N: Bools, scores_N: Floats) -> Floats:
    """Return the precision at the first threshold that reaches each recall of GRID."""
    order = np.argsort(-scores_N, kind="stable")
    labels, scores = labels_N[order], scores_N[order]
    last = np.flatnonzero(np.concatenate([scores[1:] != scores[:-1], [True]]))
    tp = np.cumsum(labels)[last]
    recall, precision = tp / tp[-1], tp / (last + 1)
    first = np.searchsorted(recall, np.maximum(GRID, 1.0 / tp[-1]) - 1e-12, side="left")
    return np.asarray(precision[np.minimum(first, len(last) - 1)])


def curve_rows(
    units: Sequence[Unit], scores: Sequence[Floats], *, probability: bool
) -> list[dict[str, object]]:
    """Return rows (curve, x, y, n) of the mean over units and seeds.

    Parameters
    ----------
    units : the yes-or-no questions; those with one class only are left out.
    scores : float[T, K] of every seed.
    probability : whether scores are probabilities, so that a reliability curve has a meaning.
    """
    units = [unit for unit in units if unit.labels.any() and not unit.labels.all()]
    if not units:
        return []
    pairs = [(unit.labels, seed[unit.rows, unit.column]) for seed in scores for unit in units]
    n = sum(len(unit.labels) for unit in units)
    roc = metrics.mean_defined(np.stack([roc_curve(*pair) for pair in pairs]))
    precision = metrics.mean_defined(np.stack([pr_curve(*pair) for pair in pairs]))
    rows: list[dict[str, object]] = []
    for name, values in (("roc", roc), ("pr", precision)):
        rows += [
            {"curve": name, "x": float(x), "y": float(y), "n": n}
            for x, y in zip(GRID, values, strict=True)
        ]
    return rows + (_reliability_rows(units, scores) if probability else [])


def _reliability_rows(units: Sequence[Unit], scores: Sequence[Floats]) -> list[dict[str, object]]:
    """Return the ten bins of equal mass; all units of a seed together, then the mean over seeds."""
    labels = np.concatenate([unit.labels for unit in units])
    bins = []
    for seed in scores:
        pooled = np.concatenate([seed[unit.rows, unit.column] for unit in units])
        mean, share, size = metrics.reliability(labels, pooled)
        bins.append({i: (mean[i], share[i], size[i]) for i in range(len(size))})
    rows: list[dict[str, object]] = []
    for i in range(max(len(part) for part in bins)):
        x, y, size = np.mean([part[i] for part in bins if i in part], axis=0)
        rows.append({"curve": "reliability", "x": float(x), "y": float(y), "n": round(size)})
    return rows
