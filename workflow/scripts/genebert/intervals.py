"""Bootstrap intervals of the figures of pre-training, over the loci that rows were drawn from.

In: one value, or one pair of logits, per locus or hidden base. Out: an estimate with its 95 %
percentile interval. The same loci are drawn for all that is compared, so that a difference is
paired. Letters of shapes: N loci, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
LEVEL = 0.95
MIN_LOCI = 10  # fewer give no interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure, its interval (NaN where there are too few loci) and the loci behind it."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, value: float, draws_D: Floats, n: int) -> Estimate:
        """Take the percentiles of the draws in which the figure is defined."""
        defined = draws_D[np.isfinite(draws_D)]
        if n < MIN_LOCI or len(defined) < LEVEL * len(draws_D):
            return cls(float(value), float("nan"), float("nan"), n)
        low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high), n)


def locus_draws(n: int, seed: int, draws: int = DRAWS) -> Floats:
    """Return how often each of n loci is drawn, float64[D, n]; a pure function of (n, seed)."""
    rng = np.random.default_rng([seed, n])
    return rng.multinomial(n, np.full(n, 1.0 / n), size=draws).astype(np.float64)


def mean_interval(total_N: Floats, weight_N: Floats, seed: int) -> Estimate:
    """Return sum of totals / sum of weights, loci resampled.

    Parameters
    ----------
    total_N, weight_N : sums over what a locus has (its hidden bases); loci of weight 0 are left
        out.
    """
    keep = weight_N > 0
    total, weight, n = total_N[keep], weight_N[keep], int(keep.sum())
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    draws_DN = locus_draws(n, seed)
    return Estimate.of(total.sum() / weight.sum(), (draws_DN @ total) / (draws_DN @ weight), n)


@dataclass(frozen=True)
class Aurocs:
    """The AUROC of paired logits, as it is and of every draw of loci: float64[1 + D]."""

    draws: Floats
    n: int

    @classmethod
    def of(cls, right_N: Floats, wrong_N: Floats, seed: int) -> Aurocs:
        """Compare every right with every wrong one; ties count half.

        Parameters
        ----------
        right_N, wrong_N : logits of the two rows of each locus, drawn together.
        """
        n = len(right_N)
        above_NN = (right_N[:, None] > wrong_N) + 0.5 * (right_N[:, None] == wrong_N)
        weight_DN = np.concatenate([np.ones((1, n)), locus_draws(n, seed)])
        total = ((weight_DN @ above_NN) * weight_DN).sum(axis=1)
        return cls(total / n**2, n)

    def estimate(self) -> Estimate:
        """Return the AUROC."""
        return Estimate.of(self.draws[0], self.draws[1:], self.n)

    def minus(self, other: Aurocs) -> Estimate:
        """Return the paired difference to another AUROC of the same loci."""
        difference = self.draws - other.draws
        return Estimate.of(difference[0], difference[1:], self.n)
