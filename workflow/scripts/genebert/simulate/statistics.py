"""What the simulated genome achieved: its promised statistics, as plain numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genebert.simulate.layout import Regions

Floats = NDArray[np.float64]
DISTANCES = ((500, 2_000), (5_000, 20_000), (50_000, 200_000), (1_000_000, 10**12))


def profile_correlation(
    opened: NDArray[np.bool_], regions: Regions, contig: NDArray[np.int64], most: int = 400
) -> dict[str, float]:
    """Return the mean correlation of openness profiles of pairs of regions, by distance.

    Pairs are those of a region with the regions up to ``most`` further on (and, for the largest
    distances, evenly spaced ones); regions open everywhere have no profile.
    """
    varying = ~opened.all(axis=1)
    centre, contig = regions.centre[varying], contig[varying]
    profile = opened[varying].astype(float)
    profile -= profile.mean(axis=1, keepdims=True)
    profile /= np.sqrt((profile**2).sum(axis=1, keepdims=True))
    total = np.zeros(len(DISTANCES))
    count = np.zeros(len(DISTANCES))
    steps = np.unique(np.concatenate([np.arange(1, most), np.arange(most, len(centre), 97)]))
    for step in steps:
        distance = centre[step:] - centre[:-step]
        same = contig[step:] == contig[:-step]
        value = (profile[step:] * profile[:-step]).sum(axis=1)
        for k, (low, high) in enumerate(DISTANCES):
            pairs = same & (distance >= low) & (distance < high)
            total[k] += value[pairs].sum()
            count[k] += pairs.sum()
    names = [f"{low}-{high}" if high < 10**12 else f">{low}" for low, high in DISTANCES]
    mean = np.round(total / np.maximum(count, 1), 4)
    return dict(zip(names, mean.tolist(), strict=True))


def discordance(
    has_site: NDArray[np.bool_], opened: NDArray[np.bool_], bound: NDArray[np.bool_]
) -> float:
    """Return the share of regions with a site, open in >= 2 types, bound in some and not in all.

    Parameters
    ----------
    has_site : bool[n]. opened, bound : bool[n, C] of one factor.
    """
    eligible = has_site & (opened.sum(axis=1) >= 2)
    n_bound = (bound & opened).sum(axis=1)
    mixed = (n_bound > 0) & (n_bound < opened.sum(axis=1))
    return float(mixed[eligible].mean()) if eligible.any() else float("nan")
