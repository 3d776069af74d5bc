"""Which of two models tells the cell types of a locus apart better? Paired, over blocks of 100 kb.

    python tests/benchmarks/within_locus.py DATASET [DATASET ...] --minus MODEL RIVAL [...]

Each DATASET is a folder `results/tasks/tfbs/NAME` of a run; all hold the same items, and the models
of all of them are compared (one that several have is taken from the first). Prints the mean AUROC
within a locus of every model, over all test loci and over those of held-out cell types, and the
differences that are asked for, with 95 % intervals of 2,000 draws of blocks. The tables of a run have
the means with their intervals; they compare nothing but `genebert` with the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import library  # noqa: F401  (puts the library on the path)
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.metrics import block_draws, percentile_interval, within_locus

BLOCK, DRAWS = 100_000, 2000
STRATA = {"all test loci": "chromosome|both", "held-out cell types": "both"}


def scores(folders: list[Path]) -> dict[str, pd.Series]:
    """Return the mean score of every item, by model; of fits on all labels."""
    found: dict[str, pd.Series] = {}
    for path in (
        path for folder in folders for path in sorted(folder.glob("*/predictions.parquet"))
    ):
        frame = pd.read_parquet(path)
        for model, rows in frame[frame["fraction"] == 1].groupby("model"):
            found.setdefault(str(model), rows.groupby("item")["score"].mean())
    return found


def per_locus(
    items: pd.DataFrame, found: dict[str, pd.Series]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Return AUROC_L of every model that knows all items, and the block of each of the L loci."""
    locus = (items["region"].astype(str) + " " + items["group"]).factorize()[0]
    label = items["label"].to_numpy() > 0
    known = {model: score.reindex(items.index).to_numpy() for model, score in found.items()}
    aurocs = {m: within_locus(label, s, locus) for m, s in known.items() if np.isfinite(s).all()}
    first = next(iter(aurocs.values()))[1]
    place = items["contig"] + " " + (items["start"] // BLOCK).astype(str)
    return {m: found_L for m, (found_L, _) in aurocs.items()}, place.iloc[first].factorize()[0]


def main() -> None:
    """Print means and differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--minus", nargs=2, action="append", default=[], metavar=("MODEL", "RIVAL"))
    options = parser.parse_args()
    items = pd.read_parquet(options.datasets[0] / "dataset.parquet").set_index("item")
    items = items[(items["split"] == "test") & items["stratum"].str.contains("whole-locus")]
    found = scores(options.datasets)
    for title, stratum in STRATA.items():
        aurocs, block_L = per_locus(items[items["stratum"].str.contains(stratum)], found)
        print(f"{title}: {len(block_L)} loci")
        for model, auroc_L in sorted(aurocs.items(), key=lambda pair: pair[1].mean()):
            print(f"  {model:28} {auroc_L.mean():.3f}")
        one_part_B = np.zeros(block_L.max() + 1, dtype=np.int64)
        draws_BD = block_draws(one_part_B, DRAWS, np.random.default_rng(0))
        weight_LD = draws_BD[block_L, 1:]  # column 0 is the data as they are
        for model, rival in options.minus:
            difference_L = aurocs[model] - aurocs[rival]
            drawn_D = difference_L @ weight_LD / weight_LD.sum(axis=0)
            low, high = percentile_interval(drawn_D)
            print(f"  {model} - {rival}: {difference_L.mean():+.3f} ({low:+.3f}, {high:+.3f})")


if __name__ == "__main__":
    main()
