"""Accessibility predicted from motifs on held-out chromosomes: is the motif matrix in order?

In: regions, motif scores and strengths (:mod:`genebert.region_motifs`). Out: one row per cell type,
model and target, with the correlation on the test regions. The check is the one recommended by GET
(Fu et al. 2025, doi:10.1038/s41586-024-08391-z): motifs must predict accessibility, or the rows of
the two matrices are out of step. A ridge regression from the motif rows, scaled as pre-training
sees them (divided by the largest value in training, at most 1), to the strengths (0 where closed)
is fitted on training regions; the validation regions choose the penalty. Nothing else of the
pipeline reads this model.

Models: ``motif``; ``shuffled`` (the same, but in all splits each region has the motif row of
another region of its split: what rows out of step would give, and must be 0); ``gc`` (GC content
and its square); ``cell-average`` (the mean strength of the region in the other training cell
types: it has seen the test regions, and knows no sequence).
Targets: ``strength``, and ``specific`` (the strength minus ``cell-average``; predictions alike),
which is what differs between cell types. Letters of shapes: R regions, M motifs, C cell types, D
features, T test regions, B blocks, N bootstrap draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from genebert import metrics
from genebert.accessibility_head import ALPHAS, Ridge
from genebert.errors import InputError
from genebert.progress import progress
from genebert.region_motifs import RegionMotifs

MODELS = ("motif", "gc", "shuffled", "cell-average")
TARGETS = ("strength", "specific")
MEASURES = ("pearson", "spearman")
FEW_BLOCKS = 20  # fewer: the interval is too narrow
COLUMNS = [
    "cell_type",
    "held_out",
    "target",
    "model",
    "n_train",
    "n_test",
    "n_open",
    "alpha",
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
    "n_blocks",
    "flags",
]

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Moments:
    """Sums of x, y and their products over rows that come in blocks; all float64."""

    def __init__(self, features: int, targets: int) -> None:
        self.n = 0
        self.x, self.y = np.zeros(features), np.zeros(targets)
        self.xx = np.zeros((features, features))
        self.xy = np.zeros((features, targets))
        self.yy = np.zeros(targets)

    def add(self, x: Floats, y: Floats) -> None:
        """Add rows x float[n, D], y float[n, C]."""
        self.n += len(x)
        self.x += x.sum(axis=0, dtype=np.float64)
        self.y += y.sum(axis=0, dtype=np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += np.square(y, dtype=np.float64).sum(axis=0)

    def centred(self, mean: Floats, scale: Floats, bias: Floats) -> tuple[Floats, Floats, Floats]:
        """Return z'z, z'u and the squares of u, for z = (x - mean) / scale and u = y - bias."""
        xx = self.xx - np.outer(mean, self.x) - np.outer(self.x, mean)
        xx += self.n * np.outer(mean, mean)
        xy = self.xy - np.outer(mean, self.y) - np.outer(self.x, bias)
        xy += self.n * np.outer(mean, bias)
        yy = self.yy - 2 * bias * self.y + self.n * bias**2
        return xx / np.outer(scale, scale), xy / scale[:, None], yy


def fit_moments(
    train: Moments, valid: Moments, chosen_by: Bools, alphas: Sequence[float] = ALPHAS
) -> Ridge:
    """Fit ridge regressions of all targets from sums alone.

    The estimator of :func:`genebert.accessibility_head.fit_ridge` by its normal equations, so that
    memory does not grow with the number of rows.

    Parameters
    ----------
    chosen_by : bool[C], the targets whose squared validation error picks alpha; the first alpha
        without validation rows.
    """
    mean, bias = train.x / train.n, train.y / train.n
    spread = np.sqrt(np.maximum(np.diag(train.xx) / train.n - mean**2, 0))
    scale = np.where(spread > 1e-6, spread, np.inf)  # constant features become 0
    gram, cross, _ = train.centred(mean, scale, bias)
    values, vectors = np.linalg.eigh(gram)
    values, cross = np.maximum(values, 0), vectors.T @ cross
    gram_valid, cross_valid, square_valid = valid.centred(mean, scale, bias)
    gram_valid, cross_valid = vectors.T @ gram_valid @ vectors, vectors.T @ cross_valid
    errors = []
    for alpha in alphas:
        weights = (cross / (values + alpha)[:, None])[:, chosen_by]
        product = (weights * (gram_valid @ weights - 2 * cross_valid[:, chosen_by])).sum()
        errors.append(float(product + square_valid[chosen_by].sum()))
    alpha = float(alphas[int(np.argmin(errors))]) if valid.n else float(alphas[0])
    return Ridge(mean, scale, vectors @ (cross / (values + alpha)[:, None]), bias, alpha)


def others_mean(values_TC: Floats, training_C: Bools) -> Floats:
    """Return [T, C]: the mean over the training cell types other than the column's own."""
    count = training_C.sum() - training_C
    total = values_TC[:, training_C].sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((total - values_TC * training_C) / np.where(count > 0, count, np.nan))


def correlation_draws(x: Floats, y: Floats, block: Ints, counts: Floats) -> NDArray[np.float64]:
    """Return the Pearson correlation of every draw, float64[1 + N]; NaN with a constant.

    Parameters
    ----------
    x, y : float[T]. block : int[T], the block of every item.
    counts : [B, 1 + N], see :func:`genebert.metrics.block_draws`.
    """
    if len(x) < 3 or not np.isfinite(x + y).all() or min(np.ptp(x), np.ptp(y)) <= 1e-9:
        return np.full(counts.shape[1], np.nan)
    x, y = stats.zscore(x.astype(np.float64)), stats.zscore(y.astype(np.float64))
    products = (np.ones(len(x)), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(block, weights=p, minlength=len(counts)) for p in products])
    n, sx, sy, xx, yy, xy = sums @ counts.astype(np.float64, copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.maximum(xx - sx * sx / n, 0) * np.maximum(yy - sy * sy / n, 0)
        return np.asarray(np.where(spread > 1e-9, (xy - sx * sy / n) / np.sqrt(spread), np.nan))


@dataclass(frozen=True)
class Scaled:
    """Motif rows as pre-training sees them, and which regions belong to which split.

    Attributes
    ----------
    largest : float32[M], the largest score over the training regions (1 where there is none).
    train, valid, test : bool[R].
    """

    data: RegionMotifs
    largest: Floats
    train: Bools
    valid: Bools
    test: Bools

    @classmethod
    def of(cls, data: RegionMotifs) -> Scaled:
        """Find the splits and the largest scores.

        Raises
        ------
        InputError
            If there is no region to fit on or to test on.
        """
        split = data.regions["split"].to_numpy(dtype=object)
        seen = data.regions["held_out_only"].to_numpy(dtype=np.int64) == 0
        train, valid, test = (split == "train") & seen, (split == "valid") & seen, split == "test"
        for name, rows in (("train", train), ("test", test)):
            if not rows.any():
                raise InputError(
                    f"has no region of split {name}",
                    file=data.path,
                    found=f"{len(split)} regions",
                    expected=f"at least one of split {name!r} that a training cell type has",
                )
        largest = np.zeros(len(data.motifs), dtype=np.float32)
        for _, scores in data.scores(train):
            largest = np.maximum(largest, scores.max(axis=0).toarray().ravel())
        return cls(data, np.where(largest > 0, largest, 1).astype(np.float32), train, valid, test)

    def blocks(self, wanted: Bools) -> Iterator[tuple[Ints, NDArray[np.float32]]]:
        """Yield (rows int64[n], motif rows float32[n, M])."""
        for rows, scores in self.data.scores(wanted):
            yield rows, np.minimum(scores.toarray() / self.largest, 1)

    def strength(self, rows: Ints) -> NDArray[np.float32]:
        """Return float32[n, C], 0 where closed."""
        return self.data.strength[rows].toarray()

    def gc(self, rows: Ints) -> NDArray[np.float64]:
        """Return float64[n, 2]: GC content and its square."""
        gc = self.data.regions["gc"].to_numpy(dtype=np.float64)[rows]
        return np.stack([gc, gc**2], axis=1)


def shuffled_rows(parts: Sequence[Bools], seed: int) -> Ints:
    """Return int64[R]: each region is given another one of the same part, at random."""
    rng = np.random.default_rng([seed, 9203])
    other = np.arange(len(parts[0]))
    for part in parts:
        rows = np.flatnonzero(part)
        other[rows] = rng.permutation(rows)
    return other


def predict_test(scaled: Scaled, seed: int) -> tuple[dict[str, Floats], dict[str, float]]:
    """Fit all models and return their predictions, each float[T, C], and the penalties."""
    cells, motifs = len(scaled.data.cell_types), len(scaled.data.motifs)
    other = shuffled_rows([scaled.train, scaled.valid, scaled.test], seed)
    fitted: dict[str, tuple[Moments, Moments]] = {
        name: (Moments(d, cells), Moments(d, cells))
        for name, d in (("motif", motifs), ("shuffled", motifs), ("gc", 2))
    }
    for rows, x in scaled.blocks(scaled.train | scaled.valid):
        for which, part in enumerate((scaled.train, scaled.valid)):
            at = part[rows]
            if at.any():
                y, mixed = scaled.strength(rows[at]), scaled.strength(other[rows[at]])
                fitted["motif"][which].add(x[at], y)
                # the products of x are those above: only its products with y differ
                add_targets(fitted["shuffled"][which], x[at], mixed)
                fitted["gc"][which].add(scaled.gc(rows[at]), y)
    for own, copied in zip(fitted["motif"], fitted["shuffled"], strict=True):
        copied.n, copied.x, copied.xx = own.n, own.x, own.xx
    training = ~scaled.data.held_out
    heads = {name: fit_moments(*pair, training) for name, pair in fitted.items()}
    parts: dict[str, list[Floats]] = {name: [] for name in heads}
    for rows, x in scaled.blocks(scaled.test):
        for name, head in heads.items():
            features = scaled.gc(rows) if name == "gc" else x
            parts[name].append(head(features).astype(np.float32))
    out = {name: np.concatenate(part) for name, part in parts.items()}
    test = np.flatnonzero(scaled.test)
    out["shuffled"] = out["shuffled"][np.searchsorted(test, other[test])]
    out["cell-average"] = others_mean(scaled.strength(test), training)
    return out, {name: head.alpha for name, head in heads.items()}


def add_targets(moments: Moments, x: Floats, y: Floats) -> None:
    """Add the sums of y and its products with x only."""
    moments.y += y.sum(axis=0, dtype=np.float64)
    moments.xy += x.T @ y
    moments.yy += np.square(y, dtype=np.float64).sum(axis=0)


def region_blocks(regions: pd.DataFrame, block_bp: int) -> Ints:
    """Return int64[T]: the block of the genome that the middle of each region lies in."""
    middle = (regions["start"] + regions["end"]) // 2 // block_bp
    contig = pd.factorize(regions["contig"])[0]
    _, block = np.unique(np.stack([contig, middle], axis=1), axis=0, return_inverse=True)
    return np.asarray(block, dtype=np.int64).ravel()


def ridge_table(data: RegionMotifs, *, seed: int, draws: int, block_bp: int) -> pd.DataFrame:
    """Return the table, one row per cell type, target and model.

    Rows of cell type ``*`` are the means over the training cell types (held_out 0) and over the
    held-out ones (held_out 1). Intervals (95 %) resample blocks of ``block_bp`` bases; for
    ``spearman`` ranks are those of all test regions. Cell types that are held out have a regression
    of their own, fitted on training regions; they have no say in the penalty.

    Parameters
    ----------
    seed : of the shuffled rows and of the draws.
    draws : bootstrap draws.

    Raises
    ------
    InputError
        See :meth:`Scaled.of`; also if all cell types are held out.
    """
    if data.held_out.all():
        raise InputError("all cell types are held out", file=data.path)
    scaled = Scaled.of(data)
    predictions, alphas = predict_test(scaled, seed)
    test = np.flatnonzero(scaled.test)
    truth, training = scaled.strength(test), ~data.held_out
    block = region_blocks(data.regions.iloc[test], block_bp)
    blocks = int(block.max()) + 1
    rng = np.random.default_rng([seed, 9204])
    counts = metrics.block_draws(np.zeros(blocks, dtype=np.int64), draws, rng).astype(np.float64)
    rows = []
    for target in TARGETS:
        specific = target == "specific"
        y = truth - others_mean(truth, training) if specific else truth
        for model in MODELS:
            x = predictions[model]
            if specific and model == "cell-average":
                continue  # 0 by definition
            if specific:
                x = x - others_mean(x, training)
            for name, held, found in _scored(f"{model}, {target}", data, x, y, block, counts):
                rows.append(
                    {
                        "cell_type": name,
                        "held_out": held,
                        "target": target,
                        "model": model,
                        "alpha": alphas.get(model, np.nan),
                        **found,
                    }
                )
    table = pd.DataFrame(rows)
    opened = dict(zip(data.cell_types, (truth > 0).sum(axis=0), strict=True))
    table["n_train"], table["n_test"] = int(scaled.train.sum()), len(test)
    table["n_open"] = table["cell_type"].map(opened).astype("Int64")
    table["n_blocks"] = blocks
    table["flags"] = "few_blocks" if blocks < FEW_BLOCKS else ""
    place = {name: i for i, name in enumerate(["*", *data.cell_types])}
    order = table["cell_type"].map(place).to_numpy()
    return table.iloc[np.lexsort((np.arange(len(table)), table["held_out"], order))][
        COLUMNS
    ].reset_index(drop=True)


def _scored(
    what: str, data: RegionMotifs, x_TC: Floats, y_TC: Floats, block: Ints, counts: Floats
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield (cell type, held out, measures with intervals), then the means over cell types.

    ``what`` begins the lines that tell the progress.
    """
    measures: dict[str, Callable[[Floats], Floats]] = {
        "pearson": lambda values: values,
        "spearman": stats.rankdata,
    }
    drawn = {
        name: np.stack(
            [
                correlation_draws(measure(x), measure(y), block, counts)
                for x, y in progress(
                    zip(x_TC.T, y_TC.T, strict=True), f"{what}: {name}", "cell types", x_TC.shape[1]
                )
            ]
        )
        for name, measure in measures.items()
    }
    for column, name in enumerate(data.cell_types):
        held = int(data.held_out[column])
        yield name, held, _summary({key: values[column] for key, values in drawn.items()})
    for held in sorted(set(data.held_out.astype(int).tolist())):
        part = data.held_out == held
        means = {key: metrics.mean_defined(values[part]) for key, values in drawn.items()}
        yield "*", held, _summary(means)


def _summary(drawn: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, values in drawn.items():
        low, high = metrics.percentile_interval(values[1:])
        out |= {name: float(values[0]), f"{name}_low": low, f"{name}_high": high}
    return out
