"""How normalised motif rows spread under different normalisers.

    python tests/benchmarks/normaliser.py results/shards/index.json

For quantiles of each motif's values above 0 over the training regions (1: the largest), prints the
median of the values above 0 after dividing, the median over motifs of the standard deviation of a
row, and the share of values that are cut at 1.
"""

from __future__ import annotations

import sys

import library  # noqa: F401
import numpy as np

from genebert.shard_export import _VALUES, count_values, quantiles
from genebert.shards import Shards

QUANTILES = (1.0, 0.999, 0.995, 0.99, 0.95)


def main() -> None:
    """Print a line for each quantile."""
    shards = Shards.open(sys.argv[1])
    trained = np.flatnonzero((shards.split == 0) & ~shards.held_out_only)
    rows_NM = shards.motif_rows[trained]
    counts = np.zeros((rows_NM.shape[1], _VALUES), dtype=np.int64)
    count_values(rows_NM, counts)
    filled = rows_NM > 0
    print(f"{len(trained)} regions, {rows_NM.shape[1]} motifs, {filled.mean():.3f} above 0")
    largest = quantiles(counts, 1.0) / np.maximum(quantiles(counts, 0.995), 1e-6)
    print(
        f"largest / 99.5 %: median {np.median(largest):.2f}, 95 % {np.quantile(largest, 0.95):.2f}"
    )
    for quantile in QUANTILES:
        normaliser = quantiles(counts, quantile)
        x_NM = rows_NM / np.where(normaliser > 0, normaliser, 1)
        cut = (x_NM[filled] > 1).mean()
        x_NM = np.minimum(x_NM, 1)
        print(
            f"quantile {quantile}: median {np.median(x_NM[filled]):.3f}, "
            f"sd {np.median(x_NM.std(axis=0)):.3f}, cut {cut:.4f}"
        )


if __name__ == "__main__":
    main()
