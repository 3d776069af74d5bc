"""Logistic regression by Newton's method, in NumPy alone, for probes and propensity scores.

In: features and labels. Out: :class:`Logistic`, which standardises as it was fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RIDGE = 1.0
NEWTON_STEPS = 25


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression on standardised features."""

    mean: Floats
    scale: Floats
    weights: Floats  # [features + 1], the last is the intercept

    def logits(self, features_ND: Floats) -> Floats:
        """Return logits_N."""
        z = (features_ND - self.mean) / self.scale
        return np.asarray(z @ self.weights[:-1] + self.weights[-1])


def fit_logistic(features_ND: Floats, label_N: NDArray[np.bool_], ridge: float = RIDGE) -> Logistic:
    """Fit by Newton's method; the intercept is not penalised."""
    mean, scale = features_ND.mean(axis=0), features_ND.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    z = np.concatenate([(features_ND - mean) / scale, np.ones((len(label_N), 1))], axis=1)
    penalty = np.full(z.shape[1], ridge)
    penalty[-1] = 1e-6
    weights = np.zeros(z.shape[1])
    for _ in range(NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(z @ weights, -30, 30)))
        gradient = z.T @ (p - label_N) + penalty * weights
        hessian = (z * (p * (1 - p) + 1e-9)[:, None]).T @ z + np.diag(penalty)
        change = np.linalg.solve(hessian, gradient)
        weights -= change
        if np.abs(change).max() < 1e-8:
            break
    return Logistic(mean, scale, weights)
