"""Bootstrap intervals of the figures of pre-training, over the loci that rows were drawn from.

In: one value, or one pair of logits, per locus or hidden base. Out: an estimate with its 95 %
percentile interval. The same loci are drawn for all that is compared, so that a difference is
paired. Letters of shapes: N loci, D draws and, before them, the data as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert import metrics

DRAWS = 1000
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
    def of(cls, draws_D: Floats, n: int) -> Estimate:
        """Take the percentiles of the draws; the first is the figure itself."""
        nothing = float("nan"), float("nan")
        low, high = nothing if n < MIN_LOCI else metrics.percentile_interval(draws_D[1:])
        return cls(float(draws_D[0]), low, high, n)


def locus_draws(n: int, seed: int) -> Floats:
    """Return :func:`~genebert.metrics.block_draws` of n loci; a pure function of (n, seed)."""
    rng = np.random.default_rng([seed, n])
    return metrics.block_draws(np.zeros(n, np.int64), DRAWS, rng).astype(np.float64)


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
    counts_ND = locus_draws(n, seed)
    return Estimate.of((total @ counts_ND) / (weight @ counts_ND), n)


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
        logits, locus = np.concatenate([right_N, wrong_N]), np.tile(np.arange(n), 2)
        counts_ND = locus_draws(n, seed)
        return cls(metrics.rank_draws(np.arange(2 * n) < n, logits, locus, counts_ND)[0], n)

    def estimate(self) -> Estimate:
        """Return the AUROC."""
        return Estimate.of(self.draws, self.n)

    def minus(self, other: Aurocs) -> Estimate:
        """Return the paired difference to another AUROC of the same loci."""
        return Estimate.of(self.draws - other.draws, self.n)
