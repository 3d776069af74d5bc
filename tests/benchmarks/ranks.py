"""How many directions the vectors of the encoders fill, before anything is fine-tuned.

    python tests/benchmarks/ranks.py RUN [--dataset tfbs/chip] [--items 600]

RUN is the directory of a finished run with a dataset that has cell types. Prints a row per model
and pre-training seed: the effective rank (exponential of the entropy of the variances of the
principal components; Roy & Vetterli 2007) of the region vectors and of the sequence vectors of
validation items. The random twin (`scratch`) is the baseline; there is no bar.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from finished_run import network_job
from numpy.typing import NDArray

from genebert.classifier import embed_items, embed_places
from genebert.finetune import Finetuning, Start


def effective_rank(x_ND: NDArray[np.float32]) -> float:
    """Return the effective rank of N vectors about their mean, 1 to D."""
    variance = np.linalg.svd(x_ND - x_ND.mean(axis=0), compute_uv=False) ** 2
    share = variance[variance > 0] / variance.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def region_rank(tuning: Finetuning, start: Start, count: int) -> float:
    """Return the effective rank of the region vectors of validation items, before fine-tuning."""
    assert start.encoders is not None
    assert tuning.inputs.places is not None, "the dataset has no cell types"
    rows = np.flatnonzero(tuning.items.split == "valid")[:count]
    network = tuning.classifier(start.encoders)
    places = tuning.inputs.places
    return effective_rank(embed_places(network, places)[places.row[rows]].cpu().numpy())


def sequence_rank(tuning: Finetuning, start: Start, count: int) -> float:
    """Return the effective rank of the sequence vectors of validation items."""
    assert start.encoders is not None
    rows = np.flatnonzero(tuning.items.split == "valid")[:count]
    network = tuning.classifier(start.encoders)
    return effective_rank(embed_items(network, tuning.inputs, rows, strands=1)[0].cpu().numpy())


def objectives(weights: str) -> list[str]:
    """Return the objectives that the encoders of a file were trained on."""
    record = json.loads(Path(weights).with_name("config.json").read_text())
    return list(record["objectives"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--dataset", default="tfbs/chip", help="TASK/NAME")
    parser.add_argument("--items", type=int, default=600)
    options = parser.parse_args()
    results = options.run / "results"
    weights: dict[str, list[str]] = {"scratch": []}
    for path in sorted((results / "pretrain").glob("*/seed-*/model.safetensors")):
        weights.setdefault(path.parts[-3], []).append(str(path))
    torch.set_num_threads(1)
    print("| weights | seed | region vectors | sequence vectors |\n|---|---|---|---|")
    for variant, files in weights.items():
        if files and "srm" not in objectives(files[0]):
            continue  # without a region branch
        job = network_job(results, options.dataset, {"pretrain_seeds": 2}, weights=files)
        tuning = Finetuning(job)
        for start in tuning.starts:
            region, sequence = (
                f(tuning, start, options.items) for f in (region_rank, sequence_rank)
            )
            print(
                f"| {variant} | {start.pretrain_seed} | {region:.1f} | {sequence:.1f} |", flush=True
            )


if __name__ == "__main__":
    main()
