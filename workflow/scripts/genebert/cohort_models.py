"""Risk of disease from the sequences that people carry: penalised logistic regression, nested.

In: a design of one row per person (features of the two haplotypes of every element, or dosages of
variants), covariates, dosages for the genotype PCs, labels. Out: a score of every person from a
model that was neither fitted nor tuned on that person. Everything that is estimated - means,
scales, burden filter, PCs, screening, penalty - comes from the training part of the outer fold.

Letters: n people, F features, V variants.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from genebert.cohort_logistic import (
    feature_logistic,
    kernel_logistic,
    kernel_logistic_columns,
    sigmoid,
)
from genebert.metrics import auroc
from genebert.progress import progress

log = logging.getLogger("genebert")

OUTER_FOLDS, INNER_FOLDS = 5, 3
PERMUTATIONS, TUNED_PERMUTATIONS = 100, 5
N_PCS = 10
VARIANTS_PER_PC = 10
MIN_CARRIERS = 5  # a feature that fewer people of the training part carry is left out
OPENNESS = "openness"
FEATURES = (OPENNESS, "embedding")  # of a sequence, as a model sees it; the first is the default
MOST_COLUMNS = 8  # of predicted openness; more training cell types are reduced to so many axes
FREE_VARIANCE = 25.0  # prior variance of the covariates' weights: hardly penalised
# grid: variance of the genetic part of the log odds (0: covariates only), one scale for all
# features or one each, all features or the best of the training part
VARIANCES = (0.0, 0.1, 0.7, 5.0)
PER_FEATURE = (False, True)
KEEP = (None, 100)

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """A point of the grid."""

    variance: float = 0.0
    per_feature: bool = False
    keep: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"variance": self.variance, "per_feature": self.per_feature, "keep": self.keep}


CONTROL = Choice(variance=2.0)


def grid(has_features: bool) -> list[Choice]:
    """Return the points to choose from: only the covariates where there are no features."""
    if not has_features:
        return [Choice()]
    return [Choice()] + [
        Choice(v, p, k) for p in PER_FEATURE for k in KEEP for v in VARIANCES if v > 0
    ]


@dataclass(frozen=True)
class People:
    """What every model of a cohort is given.

    Attributes
    ----------
    labels : int8[n], 1 case. covariates : float32[n, p].
    dosage : int8[n, V] copies of the alternative allele, -1 missing; for the PCs.
    cluster : int[n], equal for copies and close relatives, who are left out together.
    """

    labels: NDArray[np.int8]
    covariates: NDArray[np.float32]
    dosage: NDArray[np.int8]
    cluster: NDArray[np.integer]


@dataclass
class Result:
    """Scores of all people.

    Attributes
    ----------
    test : float64[n], probability from the fold that left the person out.
    valid : float64[n], mean of the inner folds that left the person out; NaN without any.
    chosen : the chosen point of each outer fold.
    """

    test: NDArray[np.float64]
    valid: NDArray[np.float64]
    chosen: list[Choice] = field(default_factory=list)


def stratified_folds(
    labels: NDArray[np.int8], cluster: NDArray[np.integer], folds: int, key: Sequence[int]
) -> Ints:
    """Return int64[n] fold numbers: people shuffled by ``key``, dealt out label by label.

    The largest clusters are dealt out first, each to the fold with the fewest people of the same
    labels, then with the fewest people; where everybody is alone that is one fold after the other.
    """
    order = np.random.default_rng(list(key)).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    order = order[np.argsort(-np.bincount(cluster)[cluster[order]], kind="stable")]
    together: dict[int, list[int]] = {}
    for person, number in zip(order.tolist(), cluster[order].tolist(), strict=True):
        together.setdefault(number, []).append(person)
    out = np.empty(len(labels), dtype=np.int64)
    controls, cases = [0] * folds, [0] * folds
    for members in together.values():
        n_cases = int(labels[members].sum())
        n_controls = len(members) - n_cases
        alike = [n_controls * a + n_cases * b for a, b in zip(controls, cases, strict=True)]
        fold = min(range(folds), key=lambda k: (alike[k], controls[k] + cases[k]))
        controls[fold] += n_controls
        cases[fold] += n_cases
        out[members] = fold
    return out


def fill_missing(dosage: NDArray[np.int8], train: Ints) -> NDArray[np.float32]:
    """Return float32[n, V] dosages, a missing one replaced by the mean of the training people."""
    known = dosage[train] >= 0
    total = np.where(known, dosage[train], 0).sum(axis=0)
    mean = total / np.maximum(known.sum(axis=0), 1)
    return np.where(dosage >= 0, dosage, mean).astype(np.float32)


def principal_components(
    dosage: NDArray[np.int8], train: Ints, count: int = N_PCS
) -> NDArray[np.float64]:
    """Return float64[n, count] genotype PCs: axes from the training people, all are projected.

    Variants are centred and divided by sqrt(p (1 - p)) (Patterson et al. 2006,
    doi:10.1371/journal.pgen.0020190); those below MIN_CARRIERS carriers are left out. There is at
    most one PC per VARIANTS_PER_PC variants: PCs of a few variants are these variants.
    """
    x = fill_missing(dosage, train)
    carriers = (dosage[train] > 0).sum(axis=0)
    p = x[train].mean(axis=0) / 2
    keep = (carriers >= MIN_CARRIERS) & (p < 1 - 1e-6)
    count = min(count, int(keep.sum()) // VARIANTS_PER_PC)
    if not count:
        return np.zeros((len(x), 0))
    z = (x[:, keep] - 2 * p[keep]) / np.sqrt(p[keep] * (1 - p[keep]))
    n = len(train)
    values, vectors = eigh(
        (z[train] @ z[train].T).astype(np.float64), subset_by_index=[max(0, n - count), n - 1]
    )
    best = np.flatnonzero(values > 1e-6 * values.max())[::-1]
    # projection on an axis of unit length; for the training people it is vectors * sqrt(values)
    return np.asarray((z @ z[train].T) @ vectors[:, best] / np.sqrt(values[best]), np.float64)


def standardise(x: Floats, train: Ints) -> NDArray[np.float64]:
    """Return x with mean 0 and variance 1 over the training people; constant columns are 0."""
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    return np.asarray((x - mean) / np.where(scale > 1e-8, scale, np.inf), np.float64)


def prepare(x: NDArray[np.float32], train: Ints, *, per_feature: bool) -> NDArray[np.float32]:
    """Return float32[n, F'] features of the outer fold: filtered, centred and scaled.

    Parameters
    ----------
    x : float32[n, F], 0 for a person who carries only the reference, NaN where unknown (replaced
        by the mean of the training people).
    per_feature : give every feature variance 1; otherwise one factor for all, so that a feature
        with a larger predicted effect keeps more weight.
    """
    known = np.isfinite(x[train])
    total = np.where(known, x[train], 0).sum(axis=0)
    mean = total / np.maximum(known.sum(axis=0), 1)
    centred = np.where(np.isfinite(x), x - mean, 0)
    carriers = (known & (np.abs(x[train]) > 1e-7)).sum(axis=0)
    spread = centred[train].std(axis=0)
    keep = (carriers >= MIN_CARRIERS) & (spread > 1e-7)
    out = centred[:, keep] / spread[keep] if per_feature else centred[:, keep]
    return np.asarray(out, np.float32)


def screen(x: NDArray[np.float32], y: Floats, rows: Ints, keep: int) -> Ints:
    """Return the features most correlated with the label among ``rows`` (training people)."""
    if x.shape[1] <= keep:
        return np.arange(x.shape[1])
    part = x[rows]
    centred = y[rows] - y[rows].mean()
    spread = np.sqrt(np.maximum(part.var(axis=0), 1e-12))
    strength = np.abs(centred @ (part - part.mean(axis=0))) / spread
    return np.sort(np.argsort(-strength, kind="stable")[:keep])


@dataclass(frozen=True)
class Genetic:
    """Features of a fold, scaled so that those of a training person have length 1 on average.

    Attributes
    ----------
    matrix : float64[n, F] features, or float64[n, n] inner products where ``is_gram``.
    """

    matrix: NDArray[np.float64]
    is_gram: bool

    @classmethod
    def of(cls, x: NDArray[np.float32], rows: Ints) -> Genetic:
        """Scale by the people ``rows``; inner products unless they have far fewer features."""
        mean = (
            float((np.asarray(x[rows], np.float64) ** 2).sum(axis=1).mean()) if len(rows) else 0.0
        )
        mean = mean or 1.0
        if 2 * x.shape[1] < len(rows):
            return cls(np.asarray(x, np.float64) / np.sqrt(mean), False)
        return cls(np.asarray(x @ x.T, np.float64) / mean, True)

    def gram(self) -> NDArray[np.float64]:
        """Return float64[n, n] inner products."""
        return self.matrix if self.is_gram else self.matrix @ self.matrix.T


@dataclass
class Fold:
    """One outer fold: what was estimated on its training people.

    Parameters
    ----------
    x : float32[n, F] or None (covariates only).
    people : covariates and dosages. train : the training people. out : those who are left out.
    """

    x: NDArray[np.float32] | None
    people: People
    train: Ints
    out: Ints

    def __post_init__(self) -> None:
        """Estimate PCs and scales on the training people."""
        pcs = principal_components(self.people.dosage, self.train)
        free = standardise(np.hstack([self.people.covariates, pcs]), self.train)
        self.free = np.sqrt(FREE_VARIANCE) * np.hstack([free, np.ones((len(free), 1))])
        self.y = self.people.labels.astype(np.float64)
        self.scaled: dict[bool, NDArray[np.float32]] = {}
        self.full: dict[bool, Genetic] = {}
        self.n_features = 0
        for per_feature in PER_FEATURE if self.x is not None else ():
            assert self.x is not None
            self.scaled[per_feature] = prepare(self.x, self.train, per_feature=per_feature)
            self.full[per_feature] = Genetic.of(self.scaled[per_feature], self.train)
            self.n_features = self.scaled[per_feature].shape[1]

    def relabelled(self, labels: Floats) -> Fold:
        """Return the fold with other ``labels``, 0 or 1, [people]; nothing above reads any."""
        other = copy(self)
        other.people = replace(self.people, labels=labels.astype(np.int8))
        other.y = labels.astype(np.float64)
        return other

    def whole(self, choice: Choice, genetic: Genetic | None) -> NDArray[np.float64]:
        """Return the kernel of covariates and features together."""
        base = self.free @ self.free.T
        return base if genetic is None else base + choice.variance * genetic.gram()

    def genetic(self, choice: Choice, rows: Ints, y: Floats) -> Genetic | None:
        """Return the features, screened on ``rows``; None without features."""
        if choice.variance == 0 or self.n_features == 0:
            return None
        if choice.keep is None or self.n_features <= choice.keep:
            return self.full[choice.per_feature]
        x = self.scaled[choice.per_feature]
        return Genetic.of(x[:, screen(x, y, rows, choice.keep)], rows)

    def predict(
        self,
        rows: Ints,
        others: Ints,
        choice: Choice,
        genetic: Genetic | None,
        y: Floats,
        start: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fit on ``rows``; return (log odds of ``others``, coefficients)."""
        labels = np.asarray(y[rows], float)
        if genetic is None or not genetic.is_gram:
            x = self.free
            if genetic is not None:
                x = np.hstack([x, np.sqrt(choice.variance) * genetic.matrix])
            w = feature_logistic(x[rows], labels, start=start)
            return x[others] @ w, w
        whole = self.whole(choice, genetic)
        a = kernel_logistic(whole[np.ix_(rows, rows)], labels, start=start)
        return whole[np.ix_(others, rows)] @ a, a


def tune(fold: Fold, key: Sequence[int]) -> tuple[Choice, NDArray[np.float64]]:
    """Choose the grid point with the best likelihood of people left out by the inner folds.

    Returns
    -------
    choice : the best point; ties go to the earlier, simpler one.
    scores : float64[n] inner out-of-fold log odds of the training people (NaN for the others).
    """
    y, train = fold.y, fold.train
    people = fold.people
    inner = stratified_folds(people.labels[train], people.cluster[train], INNER_FOLDS, key)
    points = grid(fold.x is not None)
    scores = np.full((len(points), len(y)), np.nan)
    for k in range(INNER_FOLDS):
        rows, out = train[inner != k], train[inner == k]
        last: tuple[bool, int | None] | None = None
        genetic, start = None, None
        for i, point in enumerate(points):
            if (point.per_feature, point.keep) != last or point.variance == 0:
                genetic, start = fold.genetic(point, rows, y), None
            last = (point.per_feature, point.keep) if point.variance else None
            scores[i, out], start = fold.predict(rows, out, point, genetic, y, start)
    loss = np.logaddexp(0, np.where(y[train] > 0, -1, 1) * scores[:, train]).mean(axis=1)
    best = int(np.argmin(loss))
    return points[best], scores[best]


def make_folds(x: NDArray[np.float32] | None, people: People, outer: Ints) -> list[Fold]:
    """Return one fold for each number in ``outer``: int64[n], who is left out together."""
    return [Fold(x, people, train, out) for train, out in left_out(outer, people.cluster)]


def can_leave_out(outer: Ints, people: People) -> bool:
    """Tell whether each number in ``outer`` leaves people that a model can be fitted on."""
    parts = [train for train, _ in left_out(outer, people.cluster)]
    return len(parts) > 1 and all(
        len(np.unique(people.labels[train])) > 1
        and len(np.unique(people.cluster[train])) >= INNER_FOLDS
        for train in parts
    )


def left_out(outer: Ints, cluster: NDArray[np.integer]) -> list[tuple[Ints, Ints]]:
    """Return (training people, people left out) for each number in ``outer``, int64[n].

    Where a cluster has people on both sides (populations), those in training are dropped.
    """
    parts = []
    for k in np.unique(outer):
        out = outer == k
        train = ~out & ~np.isin(cluster, cluster[out])
        parts.append((np.flatnonzero(train), np.flatnonzero(out)))
    return parts


def tuned_odds(
    fold: Fold, key: Sequence[int]
) -> tuple[Choice, NDArray[np.float64], NDArray[np.float64]]:
    """Return what :func:`tune` does, and the log odds of the people left out at the best point.

    Returns
    -------
    choice : the best point. inner : float64[n], inner log odds, as :func:`tune` gives them.
    odds : float64[people left out].
    """
    choice, inner = tune(fold, key)
    genetic = fold.genetic(choice, fold.train, fold.y)
    return choice, inner, fold.predict(fold.train, fold.out, choice, genetic, fold.y)[0]


def nested(folds: Sequence[Fold], key: Sequence[int], *, centre: bool = False) -> Result:
    """Score everybody by nested cross-validation.

    Parameters
    ----------
    folds : of :func:`make_folds`. key : seeds of the inner folds.
    centre : give the people of a fold the mean log odds 0, where they are left out and where they
        choose thresholds. For populations: how prevalent a disease is in one cannot be known from
        the others, who is at risk within it can. Such scores are no probabilities.
    """
    people = folds[0].people
    n = len(people.labels)
    test, sums, counts = np.full(n, np.nan), np.zeros(n), np.zeros(n)
    chosen = []
    for k, fold in enumerate(progress(folds, "leaving out", "folds")):
        train, out = fold.train, fold.out
        choice, inner, odds = tuned_odds(fold, [*key, k])
        if centre:
            odds = odds - odds.mean()
            for other in folds:
                if len(rows := np.intersect1d(other.out, train)):
                    inner[rows] -= inner[rows].mean()
        test[out] = sigmoid(odds)
        sums[train] += sigmoid(inner[train])
        counts[train] += 1
        chosen.append(choice)
        log.info("outer fold %d: %d features, %s", k, fold.n_features, choice)
    valid = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Result(test, valid, chosen)


def permutation_control(
    folds: Sequence[Fold],
    key: Sequence[int],
    draws: int = PERMUTATIONS,
    tuned: int = TUNED_PERMUTATIONS,
) -> dict[str, float]:
    """Return the AUROC after shuffling the labels: mean and central 95 % of ``draws`` shuffles.

    The same outer folds and estimates as :func:`nested`, at one fixed point of the grid that does
    use the features; labels are shuffled within the folds, which keep their numbers of cases. The
    first shuffles are ``tuned`` as well, point by point as :func:`nested` does: their mean, and
    three standard errors around it (from the spread of all shuffles, as these are few). If an
    interval leaves out 0.5, the training, or the tuning, knows something of the people left out.
    """
    labels = folds[0].people.labels
    choice = Choice() if folds[0].x is None else CONTROL
    y = np.empty((len(labels), draws))
    for draw in range(draws):
        generator = np.random.default_rng([*key, draw])
        for fold in folds:
            y[fold.out, draw] = generator.permutation(labels[fold.out])
    scores = np.empty_like(y)
    for fold in progress(folds, "shuffling the labels", "folds"):
        train = fold.train
        whole = fold.whole(choice, fold.genetic(choice, train, fold.y))  # reads no label
        a = kernel_logistic_columns(whole[np.ix_(train, train)], y[train])
        scores[fold.out] = whole[np.ix_(fold.out, train)] @ a
    areas = [auroc(y[:, draw] == 1, scores[:, draw]) for draw in range(draws)]
    searched = []
    for draw in progress(range(tuned), "tuning on shuffled labels", "draws"):
        odds = np.empty(len(labels))
        for k, fold in enumerate(folds):
            odds[fold.out] = tuned_odds(fold.relabelled(y[:, draw]), [*key, draw, k])[2]
        searched.append(auroc(y[:, draw] == 1, odds))
    low, high = np.percentile(areas, [2.5, 97.5])
    mean, error = float(np.mean(searched)), float(np.std(areas) / np.sqrt(tuned))
    return {
        **{"draws": draws, "auroc": float(np.mean(areas)), "low": float(low), "high": float(high)},
        **{"tuned_draws": tuned, "tuned_auroc": mean},
        **{"tuned_low": mean - 3 * error, "tuned_high": mean + 3 * error},
    }


def haplotype_features(
    row_features: NDArray[np.float64],
    hap_index: NDArray[np.int32],
    reference_row: NDArray[np.int32],
    missing: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return float32[n, E * C]: each element's change from the reference, sum of both copies.

    NaN where an allele is missing, as in dosages: read as REF, calls that are missing more often
    in cases would tell these from controls.

    Parameters
    ----------
    row_features : float64[rows, C] of each distinct sequence (e.g. openness per cell type).
    hap_index : int32[n, 2, E] rows that a person carries. reference_row : int32[E].
    missing : bool[n, E], whether any allele of the element is missing in a person.
    """
    reference = row_features[reference_row]  # [E, C]
    out = row_features[hap_index[:, 0]] + row_features[hap_index[:, 1]] - 2 * reference
    out[missing] = np.nan
    return np.asarray(out.reshape(len(hap_index), -1), np.float32)


def reduce_columns(
    row_features: NDArray[np.float64], regions: NDArray[np.float64], most: int = MOST_COLUMNS
) -> NDArray[np.float64]:
    """Return float64[rows, min(C, most)]: the directions in which training regions differ most.

    Parameters
    ----------
    row_features : float64[rows, C] of what people carry; it has no say in the directions, so that
        no person's genotypes reach another's features.
    regions : float64[n, C] of the reference sequences of training regions.
    """
    if row_features.shape[1] <= most:
        return row_features
    centred = regions - regions.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(row_features @ vectors[:, ::-1][:, :most])
