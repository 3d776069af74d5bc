"""A linear read-out of openness per cell type from the features of a sequence.

In: an encoder (sequences to features), the shards. Out: for any sequence, the predicted openness
in every training cell type. A variant is scored by how its alternative allele moves the prediction.
One closed-form ridge regression serves all encoders; only training regions and training cell types
are fitted on, the validation chromosomes choose the penalty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genebert.genome import decode
from genebert.metrics import auroc, mean_defined

if TYPE_CHECKING:
    from genebert.shards import Shards

log = logging.getLogger("genebert")

ALPHAS = tuple(float(10.0**p) for p in np.arange(-1, 6.01, 0.5))
MAX_REGIONS = 10_000  # training regions at most, drawn evenly: enough for a few thousand features

Floats = NDArray[np.floating]
Encoder = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Openness:
    """Sequences of regions and in which training cell types they are open.

    Attributes
    ----------
    train, valid : sequences of the regions' width.
    y_train, y_valid : float32[n, C] of 0 and 1.
    cell_types : names of the C training cell types.
    """

    train: list[str]
    y_train: NDArray[np.float32]
    valid: list[str]
    y_valid: NDArray[np.float32]
    cell_types: tuple[str, ...]


def openness(shards: Shards, seed: int, limit: int = MAX_REGIONS) -> Openness:
    """Collect what the head is fitted on: regions open in a training cell type, by split.

    Parameters
    ----------
    limit : regions at most, a fifth of them for validation; drawn evenly with ``seed``.
    """
    cells = np.flatnonzero(~np.asarray(shards.held_out))
    seen = ~np.asarray(shards.held_out_only)
    open_CR = shards.openness()
    sequences: list[list[str]] = []
    labels: list[NDArray[np.float32]] = []
    for split, most in ((0, limit * 4 // 5), (1, limit // 5)):
        regions = np.flatnonzero((np.asarray(shards.split) == split) & seen)
        if len(regions) > most:
            generator = np.random.default_rng([seed, 7101, split])
            regions = np.sort(generator.choice(regions, most, replace=False))
        sequences.append([decode(codes) for codes in shards.sequences(regions)])
        open_nC = open_CR[:, regions][cells].T.toarray(order="C") > 0
        labels.append(open_nC.astype(np.float32))
    names = tuple(shards.cell_types[c] for c in cells)
    return Openness(sequences[0], labels[0], sequences[1], labels[1], names)


@dataclass(frozen=True)
class Ridge:
    """``((x - mean) / scale) @ weights + bias``; x float[n, D], weights float64[D, C]."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    alpha: float

    def __call__(self, x: Floats) -> NDArray[np.float64]:
        """Return float64[n, C]."""
        return np.asarray(((x - self.mean) / self.scale) @ self.weights + self.bias)


def fit_ridge(
    x_train: Floats,
    y_train: Floats,
    x_valid: Floats,
    y_valid: Floats,
    alphas: Sequence[float] = ALPHAS,
) -> Ridge:
    """Fit ridge regressions of all columns of y; the least squared validation error picks alpha.

    Features are standardised on the training rows, constant ones become 0, the intercept is not
    penalised: the estimator of Hoerl and Kennard (1970, doi:10.1080/00401706.1970.10488634), from
    one eigendecomposition of the smaller Gram matrix for all alphas.

    Parameters
    ----------
    x_train, x_valid : float[n, D]. y_train, y_valid : float[n, C].
    alphas : penalties to choose from; the first if there are no validation rows.
    """
    x = np.asarray(x_train, dtype=np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-8, scale, np.inf)
    z, z_valid = (x - mean) / scale, (np.asarray(x_valid, dtype=np.float64) - mean) / scale
    bias = np.asarray(y_train, dtype=np.float64).mean(axis=0)
    y = y_train - bias
    wide = z.shape[1] > z.shape[0]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    values = np.maximum(values, 0.0)
    # weights(alpha) = basis @ (target / (values + alpha))
    target = vectors.T @ y if wide else vectors.T @ (z.T @ y)
    basis = z.T @ vectors if wide else vectors
    projected = z_valid @ basis
    errors = [
        float(np.mean((projected @ (target / (values + alpha)[:, None]) + bias - y_valid) ** 2))
        if len(z_valid)
        else 0.0
        for alpha in alphas
    ]
    alpha = float(alphas[int(np.argmin(errors))])
    weights = basis @ (target / (values + alpha)[:, None])
    return Ridge(mean, scale, weights, bias, alpha)


@dataclass(frozen=True)
class AccessibilityModel:
    """Predicts openness per training cell type, and gives the encoder's own features.

    Attributes
    ----------
    encoder : sequences -> float32[n, D].
    head : float[n, D] -> float64[n, C].
    cell_types : names of the C columns.
    valid_auroc : mean over cell types on the validation regions (NaN where undefined).
    """

    encoder: Encoder
    head: Callable[[Floats], NDArray[np.float64]]
    cell_types: tuple[str, ...]
    alpha: float
    valid_auroc: float

    def __call__(self, sequences: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return (features float32[n, D], openness float64[n, C]) of sequences.

        Equal sequences are encoded once.
        """
        unique, inverse = np.unique(np.asarray(sequences, dtype=str), return_inverse=True)
        features = self.encoder(unique.tolist())
        return features[inverse], self.head(features)[inverse]


def mean_auroc(y: Floats, score: NDArray[np.float64]) -> float:
    """Return the mean AUROC over the columns with both classes; NaN if there is none."""
    areas = [auroc(y[:, column] == 1, score[:, column]) for column in range(y.shape[1])]
    return float(mean_defined(np.array(areas)[:, None])[0])


def fit_accessibility(encoder: Encoder, data: Openness) -> AccessibilityModel:
    """Fit the ridge head on an encoder's features of the training regions."""
    x_train, x_valid = encoder(data.train), encoder(data.valid)
    head = fit_ridge(x_train, data.y_train, x_valid, data.y_valid)
    area = mean_auroc(data.y_valid, head(x_valid))
    log.info("accessibility head: alpha %g, validation AUROC %.3f", head.alpha, area)
    return AccessibilityModel(encoder, head, data.cell_types, head.alpha, area)
