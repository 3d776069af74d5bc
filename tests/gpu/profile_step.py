"""Where the time of an optimisation step goes on a GPU: the kernels that take longest.

python3 tests/gpu/profile_step.py [--batch 256] [--rows 25]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow" / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch
from bench import configurations
from torch.profiler import ProfilerActivity, profile

from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import open_place
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.trainer import Trainer
from pretrain_toys import toy_shards


def main() -> None:
    """Profile three steps after five that warm up; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rows", type=int, default=25)
    parser.add_argument("--only", default="sequence", help="name of the configuration in bench.py")
    options = parser.parse_args()
    place = open_place("cuda")
    shards: Any = toy_shards(5000, cells=54, motifs=282, width=500, flank=64)
    corpus = Corpus.from_shards(shards, place.device)
    block = configurations("base", 512, options.batch)[options.only]
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    trainer = Trainer(Sampler(population), block, 10_000, place)
    for step in range(5):
        trainer.train_step(trainer.sample(step))
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as prof:
        for step in range(5, 8):
            trainer.train_step(trainer.sample(step))
        torch.cuda.synchronize()
    table = prof.key_averages().table(
        sort_by="self_cuda_time_total", row_limit=options.rows, max_name_column_width=90
    )
    for line in table.splitlines():  # name, and the columns of the device
        print(line[:92] + line[-110:])


if __name__ == "__main__":
    main()
