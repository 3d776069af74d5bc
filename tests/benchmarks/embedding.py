"""What it is worth that vectors of k-mers start as sums over their bases.

    python tests/benchmarks/embedding.py RUN [--datasets promoter/epd splicing/sites] [--seeds 2]

RUN is the directory of a finished run (`config/study_small.yaml`). Fine-tunes random networks that
differ in nothing but where their token vectors start (`model.embedding`: "composed" or
"independent"; "scaled" is independent with the spread of composed), on the same items in the same
order, and compares their best scores on validation items (AUPRC), for every dataset, share of the
labels and seed. Ends in a line `RESULT <name> <value> <bar> pass|short` per dataset and share: the
mean gain of composed over the better of the others, bar 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished_run import network_job, settings

from genebert.baselines import subsets
from genebert.finetune import Finetuning
from genebert.model.genebert import COMPOSED_STD, INIT_STD

STARTS = ("composed", "independent", "scaled")


def scores(results: Path, dataset: str, start: str, effort: dict[str, Any]) -> dict[float, Any]:
    """Return the validation scores float[draws, seeds] of random networks by share of labels."""
    block = settings(results)["variant"]
    block["model"]["embedding"] = "independent" if start == "scaled" else start
    job = network_job(results, dataset, effort, pretrain=block)
    tuning = Finetuning(job)
    if start == "scaled":
        for one in tuning.starts:
            assert one.encoders is not None
            one.encoders.model.sequence.embedding.weight.data *= COMPOSED_STD / INIT_STD
    found: dict[float, list[list[float]]] = {}
    for subset in subsets(job):
        rate = tuning.rates[0]
        runs = [tuning.run(one, 1 + subset.draw, rate, subset) for one in tuning.starts]
        found.setdefault(subset.fraction, []).append([run.valid for run in runs])
    return {share: np.array(values) for share, values in found.items()}


def main() -> int:
    """Compare the starts, print the table; return 1 if a gain is below 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--datasets", nargs="+", default=["promoter/epd", "splicing/sites"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    effort = {
        "pretrain_seeds": options.seeds, "finetune_steps": options.steps, "finetune_batch": 64,
        "learning_rates": [1e-3], "label_fractions": [0.1, 1.0], "fraction_draws": 1,
    }  # fmt: skip
    gains: dict[str, float] = {}
    print("| dataset | labels | " + " | ".join(STARTS) + " |\n|---|---|---|---|---|")
    for dataset in options.datasets:
        found = {s: scores(options.run / "results", dataset, s, effort) for s in STARTS}
        for share in found[STARTS[0]]:
            values = [found[start][share] for start in STARTS]
            cells = [", ".join(f"{v:.3f}" for v in value.ravel()) for value in values]
            print(f"| {dataset} | {share:g} | " + " | ".join(cells) + " |", flush=True)
            name = f"composed_gain_{dataset.replace('/', '_')}_{share:g}"
            gains[name] = float(values[0].mean() - max(value.mean() for value in values[1:]))
    for name, gain in gains.items():
        print(f"RESULT {name} {gain:.3f} 0 {'pass' if gain >= 0 else 'short'}")
    return int(min(gains.values()) < 0)


if __name__ == "__main__":
    sys.exit(main())
