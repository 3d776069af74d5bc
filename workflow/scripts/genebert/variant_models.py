"""Supervised scores of variants: a regression on what a model says changes, a chromosome left out.

In: features of each variant (changes of predicted openness, of an embedding, of composition),
labels. Out: the score of every variant from a regression that saw no variant of its chromosome -
or, where one chromosome holds (nearly) all of them, of its element or its block of bases.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.genome import encode, reverse_complement
from genebert.progress import progress

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse penalty C of the logistic regression
BLOCK_FOLDS, INNER_FOLDS = 5, 3
ELEMENT_FOLDS = 20  # at most; with fewer elements each is left out by itself
MIN_SHARE = 0.05  # of the variants on each chromosome, else blocks are left out
COMPONENTS = 16  # principal components of the change of an embedding

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Features:
    """Features of N variants.

    Attributes
    ----------
    plain : float[N, F], used as they are; NaN is unknown. reduced : float[N, D] or None: its
        principal components and their absolute values are used; the components are found on the
        training variants.
    """

    plain: Floats
    reduced: Floats | None = None

    def count(self) -> int:
        """Return the number of features of the regression."""
        if self.reduced is None:
            return int(self.plain.shape[1])
        return int(self.plain.shape[1]) + 2 * min(COMPONENTS, *self.reduced.shape)

    def matrix(self, train: Ints) -> NDArray[np.float64]:
        """Return float64[N, F'], standardised, with everything estimated on ``train``.

        A feature that is NaN has the mean of the others.
        """
        parts = [np.asarray(self.plain, np.float64)]
        if self.reduced is not None:
            x = np.asarray(self.reduced, np.float64)
            _, _, axes = np.linalg.svd(x[train] - x[train].mean(axis=0), full_matrices=False)
            components = x @ axes[:COMPONENTS].T
            parts += [components, np.abs(components)]
        x = np.hstack(parts)
        unknown = np.isnan(x)
        if unknown.any():
            x = np.where(unknown, np.ma.masked_invalid(x[train]).mean(axis=0).filled(0), x)
        mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
        return (x - mean) / np.where(scale > 1e-9, scale, np.inf)


@dataclass(frozen=True)
class Problem:
    """Labels of N variants, and which are left out together.

    Attributes
    ----------
    items : names. y : label, or effect. binary : whether y is 0/1.
    fold : int64[N]; variants of a fold are left out together.
    unit : int64[N], chromosome, element or block: the unit of the inner folds.
    left_out : "chromosome", "element" (of a reporter assay of several) or "block".
    match : int64[N], a positive and the negatives chosen for it; -1 where there is none.
    """

    items: NDArray[np.object_]
    y: NDArray[np.float64]
    binary: bool
    fold: Ints
    unit: Ints
    left_out: str
    seed: int
    match: Ints

    @classmethod
    def of(cls, frame: pd.DataFrame, info: Mapping[str, Any], seed: int) -> Problem:
        """Choose what is left out: chromosomes if there are several, each with enough variants."""
        y = frame["label"].to_numpy(np.float64)
        binary = info.get("label", "binary") == "binary"
        contig = np.unique(frame["contig"].to_numpy(str), return_inverse=True)[1]
        block = frame["position"].to_numpy(np.int64) // int(info["block_bp"])
        shares = np.bincount(contig) / len(frame)
        chromosomes = len(shares) > 1 and np.sort(shares)[-1] <= 1 - MIN_SHARE
        if chromosomes and binary:
            chromosomes = all(np.ptp(y[contig != k]) > 0 for k in np.unique(contig))
        name = pd.Series(contig.astype(str)) + ":" + pd.Series(block.astype(str))
        unit = contig if chromosomes else np.unique(name.to_numpy(str), return_inverse=True)[1]
        elements = not chromosomes and "element" in frame and bool((frame["element"] >= 0).all())
        if elements:
            unit = frame["element"].to_numpy(np.int64)
        folds = ELEMENT_FOLDS if elements else BLOCK_FOLDS
        fold = unit if chromosomes else deal(unit, folds, [seed, 7301])
        return cls(
            frame["item"].to_numpy(dtype=object),
            y,
            binary,
            fold.astype(np.int64),
            unit.astype(np.int64),
            "chromosome" if chromosomes else "element" if elements else "block",
            seed,
            match_groups(frame),
        )

    def training(self, out: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.float64]]:
        """Return the variants to train on where those of the mask ``out`` are left out.

        A matched group trains as a whole or not at all: if its positive is left out, so are its
        negatives, and the negatives that remain carry the weight of those left out. Otherwise the
        training would lack positives (or negatives) of just the kind that is tested, and what
        negatives were matched on would predict the wrong label (composition: AUROC 0.2, not 0.5).

        Returns
        -------
        rows : int64[n]. weights : float64[N] of all variants.
        """
        weights = np.ones(len(self.y))
        grouped = self.match >= 0
        if not grouped.any():
            return np.flatnonzero(~out), weights
        size = int(self.match.max()) + 1
        negative = grouped & (self.y == 0)
        every = np.bincount(self.match[negative], minlength=size)
        left = np.bincount(self.match[negative & ~out], minlength=size)
        weights[negative] = (every / np.maximum(left, 1))[self.match[negative]]
        broken = np.bincount(self.match[grouped & out & (self.y == 1)], minlength=size) > 0
        broken |= (every > 0) & (left == 0)
        return np.flatnonzero(~out & ~(grouped & broken[self.match])), weights


@dataclass(frozen=True)
class Scores:
    """Scores of the variants; ``valid`` is NaN where no inner fold left a variant out."""

    test: NDArray[np.float64]
    valid: NDArray[np.float64]
    chosen: dict[str, float]


def match_groups(frame: pd.DataFrame) -> Ints:
    """Return int64[N] numbers of the matched groups, -1 where the table names none."""
    if "match" not in frame:
        return np.full(len(frame), -1, dtype=np.int64)
    names = frame["match"].to_numpy(str)
    return np.where(names == "", -1, np.unique(names, return_inverse=True)[1]).astype(np.int64)


def deal(unit: Ints, folds: int, key: Sequence[int]) -> Ints:
    """Return int64[N] fold numbers that keep units together, by decreasing size in turn."""
    names, sizes = np.unique(unit, return_counts=True)
    order = np.random.default_rng(list(key)).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of = np.empty(len(names), dtype=np.int64)
    fold_of[order] = np.arange(len(names)) % folds
    return fold_of[np.searchsorted(names, unit)]


def fit_predict(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    train: Ints,
    weights: NDArray[np.float64],
    strength: float,
    binary: bool,
) -> NDArray[np.float64]:
    """Return float64[N]: P(label 1) of a logistic, or the value of a ridge, regression.

    Parameters
    ----------
    x : features[N, F], centred on the rows ``train``.

    Notes
    -----
    All folds share one intercept, the share of positives or the mean of all labels: else it would
    follow the other chromosomes, and their mean is low where that of the chromosome left out is
    high. The logistic regression gives both classes the same total weight for that. This number is
    of all labels, tested ones too: it moves the loss, Brier and calibration errors, and ranks
    nothing.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    if not binary:
        model = Ridge(alpha=1 / strength).fit(x[train], y[train], weights[train])
        return np.asarray(x @ model.coef_ + y.mean(), np.float64)
    prior = float(np.clip(y.mean(), 1e-6, 1 - 1e-6))
    if np.ptp(y[train]) == 0:
        return np.full(len(y), prior)
    fitted = LogisticRegression(
        C=strength, max_iter=200, tol=1e-9, class_weight="balanced", solver="newton-cholesky"
    )
    with warnings.catch_warnings():  # of the change to lbfgs where classes are separable
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(x[train], y[train], weights[train])
    odds = fitted.decision_function(x) + np.log(prior / (1 - prior))
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def loss(y: NDArray[np.float64], score: NDArray[np.float64], binary: bool) -> float:
    """Return the mean log loss of probabilities, or the mean squared error."""
    if not binary:
        return float(np.mean((y - score) ** 2))
    p = np.clip(score, 1e-6, 1 - 1e-6)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def leave_out(problem: Problem, features: Features) -> Scores:
    """Score every variant by a regression fitted, scaled and tuned without its fold."""
    y, n = problem.y, len(problem.y)
    test, total, count = np.full(n, np.nan), np.zeros(n), np.zeros(n)
    chosen: dict[str, float] = {}
    for k in progress(np.unique(problem.fold), "leaving out", "folds"):
        out = problem.fold == k
        train, weights = problem.training(out)
        inner = deal(problem.unit[train], INNER_FOLDS, [problem.seed, 7302, int(k)])
        guesses = np.full((len(STRENGTHS), n), np.nan)
        for j in np.unique(inner):
            left = train[inner == j]
            hidden = out.copy()
            hidden[left] = True
            rows, inner_weights = problem.training(hidden)
            if not len(rows):
                continue
            x = features.matrix(rows)
            for i, strength in enumerate(STRENGTHS):
                guesses[i, left] = fit_predict(x, y, rows, inner_weights, strength, problem.binary)[
                    left
                ]
        known = train[np.isfinite(guesses[0, train])]
        losses = [loss(y[known], g[known], problem.binary) if len(known) else 0.0 for g in guesses]
        best = int(np.argmin(losses))
        total[known] += guesses[best, known]
        count[known] += 1
        matrix = features.matrix(train)
        test[out] = fit_predict(matrix, y, train, weights, STRENGTHS[best], problem.binary)[out]
        chosen[str(int(k))] = STRENGTHS[best]
    valid = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Scores(test, valid, chosen)


def _folded(sequence: str) -> str:
    """Return the sequence or its reverse complement, whichever has a purine-poor middle base."""
    if sequence[len(sequence) // 2] in "CT":
        return sequence
    return "".join("ACGTN"[c] for c in reverse_complement(encode(sequence)))


def sequence_change(reference: Sequence[str], alternative: Sequence[str]) -> NDArray[np.float64]:
    """Return float64[N, 1 + 32 + 7]: change of GC, the trinucleotide, the substitution.

    Strands are merged (the reference base is a pyrimidine); columns are the change of GC in bases,
    the trinucleotide around the first base that differs, the six substitutions, and "other".
    """
    triplets = [a + b + c for b in "CT" for a in "ACGT" for c in "ACGT"]
    changes = ["C>A", "C>G", "C>T", "T>A", "T>C", "T>G"]
    out = np.zeros((len(reference), 1 + len(triplets) + len(changes) + 1))
    for i, (ref, alt) in enumerate(zip(reference, alternative, strict=True)):
        out[i, 0] = sum(alt.count(b) - ref.count(b) for b in "GC")
        places = [j for j, (a, b) in enumerate(zip(ref, alt, strict=True)) if a != b]
        if not places or not 0 < places[0] < len(ref) - 1:
            out[i, -1] = 1
            continue
        at = places[0]
        triplet = _folded(ref[at - 1 : at + 2])
        if triplet in triplets:
            out[i, 1 + triplets.index(triplet)] = 1
        kind = f"{triplet[1]}>{_complement_like(ref[at], triplet[1], alt[at])}"
        single = len(places) == 1 and kind in changes
        out[i, 1 + len(triplets) + (changes.index(kind) if single else len(changes))] = 1
    return out


def _complement_like(base: str, folded: str, other: str) -> str:
    """Complement ``other`` if folding complemented ``base``."""
    return other if base == folded else other.translate(str.maketrans("ACGT", "TGCA"))
