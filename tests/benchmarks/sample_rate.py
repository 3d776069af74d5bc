"""How many tokens of random samples are made a second on one core, tokens and matrices.

    python tests/benchmarks/sample_rate.py results/shards/index.json

A sample is a (cell type, region open in it): 512 tokens (``[CLS]`` and 511 overlapping 6-mers of
the region, cropped at random, on a random strand) and the float32 matrix of all motifs and the
accessibility x 11 columns (the region and its ten accessible neighbours). Each batch is of 256
samples that were not drawn before. The rate is tokens over seconds of CPU time of one thread
(other programs do not count as far as they do not slow the memory down), the median over rounds
of 16 batches. Beside it stand the rows as pre-training makes them, which also have masks, matched
negatives and partners; on average one matrix a row there, too.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import library  # noqa: F401
import numpy as np
import torch

from genebert.plan import Plan
from genebert.population import build_population
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus, draw, shuffled
from genebert.shards import Shards

BATCH, TOKENS, NEIGHBOURS = 256, 512, 10
AHEAD = 16  # batches whose place in the random order is looked up at once, as in training
BATCHES = 20 * AHEAD


def rate_of(make: Callable[[int], object]) -> float:
    """Return tokens a second of ``make(step)``: median over rounds of AHEAD new batches."""
    for step in range(AHEAD):
        make(step)
    seconds = []
    for first in range(AHEAD, AHEAD + BATCHES, AHEAD):
        started = time.process_time()
        for step in range(first, first + AHEAD):
            make(step)
        seconds.append((time.process_time() - started) / AHEAD)
    return BATCH * TOKENS / float(np.median(seconds))


def draws(corpus: Corpus) -> float:
    """Return the rate of samples: tokens and matrices."""
    view = corpus.view()

    entries: list[torch.Tensor] = []

    def make(step: int) -> object:
        if step % AHEAD == 0:
            position = torch.arange(step * BATCH, (step + AHEAD) * BATCH) % view.key.numel()
            entries[:] = shuffled(view, position, seed=1).split(BATCH)
        return draw(corpus, view, entries[step % AHEAD], seed=1, row_tokens=TOKENS, R=NEIGHBOURS)

    return rate_of(make)


def training_rows(corpus: Corpus) -> float:
    """Return the rate of the rows of pre-training with all three objectives."""
    block = {
        "tokens": {"k": 6, "stride": 1}, "neighbours": NEIGHBOURS, "row_tokens": TOKENS,
        "batch_size": BATCH, "objectives": {"mgm": {}, "ngsp": {}, "srm": {}},
    }  # fmt: skip
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    return rate_of(Sampler(population).batch)


def tokens_per_second(index: str) -> float:
    """Return the rate of :func:`draws` for the shards of an index."""
    torch.set_num_threads(1)
    return draws(Corpus.from_shards(Shards.open(index)))


def main() -> None:
    """Print both rates."""
    torch.set_num_threads(1)
    corpus = Corpus.from_shards(Shards.open(sys.argv[1]))
    for name, measure in (("samples", draws), ("training rows", training_rows)):
        rate = measure(corpus)
        print(
            f"{name:14s} {rate / 1e6:6.1f} million tokens/s: "
            f"{BATCH} rows of {TOKENS} tokens, {corpus.n_motifs} motifs"
        )


if __name__ == "__main__":
    main()
