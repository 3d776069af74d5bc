"""What the region encoder's share of the learning rate does to it.

    python tests/benchmarks/region_rate.py RUN [--rates 1 0.1] [--seeds 1] [--steps 1000]

RUN is the directory of a finished run with a dataset of TF binding (`config/study_small.yaml`).
Pre-trains `full` on its shards at every rate (into a temporary directory), fine-tunes the result
and a random twin on TF binding with all labels, and prints per rate and seed: AUROC of matching
minus that of its nuisance probe, the effective rank of region vectors before fine-tuning
(`ranks.py`), and the best score on validation items (AUPRC). Ends in lines `RESULT <name> <value>
<bar> pass|short`: the mean gain of the default rate over the full one, and over the twin, bar 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished_run import network_job, settings
from ranks import region_rank

from genebert import pretrain
from genebert.baselines import subsets
from genebert.finetune import Finetuning

DATASET = "tfbs/chip"
EFFORT = {"finetune_steps": 200, "finetune_batch": 64, "learning_rates": [1e-3]}


def pretrained(results: Path, output: Path, rate: float, seed: int, steps: int) -> str:
    """Pre-train `full` and return the path of its weights."""
    run = settings(results)
    base = int(run["seed"]) // 1000 * 1000
    run |= {"seed": base + seed, "steps": steps}
    run["variant"]["optimizer"]["region_rate"] = rate
    output.mkdir(parents=True)
    (output / "run.json").write_text(json.dumps(run))
    code = pretrain.main(["--config", str(output / "run.json"), "--output", str(output)])
    assert code == 0, output
    return str(output / "model.safetensors")


def excess(weights: str) -> dict[str, float]:
    """Return AUROC - P0 of matching on validation loci, by contrast."""
    found = {}
    for line in Path(weights).with_name("metrics.jsonl").read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        if row.get("metric") == "auroc_minus_p0" and row["set"] == "valid":
            found[str(row["stratum"])] = float(row["value"])
    return found


def judged(results: Path, weights: list[str], seeds: int) -> tuple[list[float], list[float]]:
    """Return (rank of region vectors, validation AUPRC) of every start."""
    job = network_job(results, DATASET, {**EFFORT, "pretrain_seeds": seeds}, weights=weights)
    tuning = Finetuning(job)
    ranks = [region_rank(tuning, start, 600) for start in tuning.starts]
    (subset,) = subsets(job)
    runs = [tuning.run(start, 1, tuning.rates[0], subset) for start in tuning.starts]
    return ranks, [run.valid for run in runs]


def main() -> int:
    """Compare the rates, print the table; return 1 if a gain is below 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.1])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = (options.run / "results").resolve()
    print(
        "| region_rate | seed | n1 - P0 | n2 - P0 | rank | TF binding |\n|---|---|---|---|---|---|"
    )
    mean: dict[float, float] = {}
    for rate in (0.0, *options.rates):  # 0: the random twin
        with tempfile.TemporaryDirectory() as directory:
            weights = [
                pretrained(results, Path(directory) / f"seed-{seed}", rate, seed, options.steps)
                for seed in (range(1, options.seeds + 1) if rate else ())
            ]
            found = [excess(path) for path in weights]
            ranks, valid = judged(results, weights, options.seeds)
        for i, value in enumerate(valid):
            matching = (
                f"{found[i]['n1']:+.3f} | {found[i]['n2']:+.3f}" if found else "random twin | "
            )
            print(f"| {rate or '-'} | {i + 1} | {matching} | {ranks[i]:.1f} | {value:.3f} |")
        mean[rate] = float(np.mean(valid))
    last = mean[options.rates[-1]]
    gains = {"over_full_rate": last - mean[options.rates[0]], "over_random_twin": last - mean[0.0]}
    for name, gain in gains.items():
        print(f"RESULT region_rate_gain_{name} {gain:.3f} 0 {'pass' if gain >= 0 else 'short'}")
    return int(min(gains.values()) < 0)


if __name__ == "__main__":
    sys.exit(main())
