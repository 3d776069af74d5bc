"""How much of what DNABERT's masking seems to teach is read off tokens that stay visible.

    python tests/benchmarks/masking_leak.py [--index results/shards/index.json] [--k 3] [--steps 600]

Trains masked genome modelling alone twice on the same loci, seeds and steps: `span` hides bases with
every k-mer that touches them, `dnabert` hides runs of k k-mers one by one. Each hidden base of held-out
rows is then readable (a visible token shows it) or not (every token over it is MASK), and the loss is
taken apart by that, for both models on the rows of both maskings. Without an index, the sequences are
a first-order chain in which the next base is known in 77.5 % of the cases.

Prints a table in nats a base (ln 4 = 1.386 knows nothing), then ``RESULT`` lines: the share of
readable bases, and by how many nats they lower the loss that a DNABERT run reports.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import library  # noqa: F401
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genebert import tokens
from genebert.ahead import Ahead
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import open_place
from genebert.sampler import Rows, Sampler
from genebert.samples import TRAIN, VALID, Corpus
from genebert.trainer import Trainer
from pretrain_toys import toy_shards

MODES = ("span", "dnabert")
DRAWS = 1000


def block_of(mode: str, k: int, row_tokens: int, batch: int, rate: float) -> dict[str, Any]:
    """Return the settings of a run; the two differ in the masking alone."""
    return {
        "tokens": {"k": k, "stride": 1},
        "model": {"size": "tiny", "region_encoder": "swin"},
        "neighbours": 10,
        "row_tokens": row_tokens,
        "batch_size": batch,
        "objectives": {"mgm": {"masking": mode}},
        "optimizer": {"learning_rate": rate},
    }


def readable(rows: Rows, k: int) -> tuple[Tensor, Tensor]:
    """Return (shown, hidden), bool[S, H], for the hidden bases of the single rows.

    shown : a visible token over the base has it as it is. hidden : all tokens over it are MASK.
    Bases under visible tokens that are all wrong there are neither.
    """
    S, T = rows.anchor.numel(), rows.ids.shape[1]
    ids_ST, base_SH = rows.ids[:S], rows.index[:S] + rows.offset[:S]
    shown = torch.zeros_like(base_SH, dtype=torch.bool)
    hidden = torch.ones_like(shown)
    for back in range(k):
        at = base_SH - back
        there = (at >= 1) & (at < T)
        token = ids_ST.gather(1, at.clamp(0, T - 1))
        visible = there & (token >= tokens.N_SPECIAL)
        base = (token - tokens.N_SPECIAL) // 4 ** (k - 1 - back) % 4
        shown |= visible & (base == rows.target[:S])
        hidden &= ~there | (token == tokens.MASK)
    return shown, hidden


@torch.no_grad()
def losses(trainer: Trainer, rows: Rows) -> Tensor:
    """Return the loss of every hidden base of the single rows, float32[S, H]."""
    S, model = rows.anchor.numel(), trainer.model
    x_STD = model.sequence(rows.ids[:S])
    index = rows.index[:S, :, None].expand(-1, -1, x_STD.shape[-1])
    logits = model.mgm(x_STD.gather(1, index), rows.offset[:S])
    target = rows.target[:S].clamp(max=3)
    return functional.cross_entropy(
        logits.float().flatten(0, 1), target.flatten(), reduction="none"
    ).view_as(target)


def mean_of(value: Tensor, which: Tensor) -> tuple[float, float, float]:
    """Return the mean over the bases that are asked for, and its 95 % interval over rows."""
    total = (value * which).sum(dim=1).double().numpy()
    count = which.sum(dim=1).double().numpy()
    rng = np.random.default_rng(0)
    draw = rng.integers(0, len(total), (DRAWS, len(total)))
    means = total[draw].sum(axis=1) / np.maximum(count[draw].sum(axis=1), 1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(total.sum() / max(count.sum(), 1)), float(low), float(high)


def main() -> int:
    """Train both, take their losses apart, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", help="index.json of shards")
    parser.add_argument("--k", type=int, default=6)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--rows", type=int, default=128, help="tokens of a row")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--evaluate", type=int, default=20, help="batches of held-out rows")
    o = parser.parse_args()
    torch.set_num_threads(1)
    if o.index:
        from genebert.shards import Shards

        shards: Any = Shards.open(o.index)
    else:
        shards = toy_shards(600, cells=6, chain=True, width=200, flank=32)
    corpus = Corpus.from_shards(shards)
    trainers, batches = {}, {}
    for mode in MODES:
        block = block_of(mode, o.k, o.rows, o.batch, o.learning_rate)
        plan = Plan.from_pretrain(block, 1)
        sampler = Sampler(build_population(corpus, plan, TRAIN, "training"))
        trainer = Trainer(sampler, block, o.steps, open_place("cpu"))
        with Ahead(trainer.sample, o.steps, trainer.place.device) as source:
            for step in range(o.steps):
                trainer.train_step(source(step))
        held_out = Sampler(build_population(corpus, plan, VALID, "training"))
        trainers[mode] = trainer
        batches[mode] = [held_out.batch(step) for step in range(o.evaluate)]
    found: dict[tuple[str, str, str], tuple[float, float, float]] = {}
    share = {}
    print(f"{'trained with':14s}{'rows of':10s}{'bases':14s}{'share':>8s}  nats a base (95 %)")
    for rows_of in MODES:
        known = torch.cat([rows.weight[: rows.anchor.numel()] > 0 for rows in batches[rows_of]])
        shown, hidden = (
            torch.cat(parts)
            for parts in zip(*(readable(rows, o.k) for rows in batches[rows_of]), strict=True)
        )
        sets = {"all": known, "readable": known & shown, "not readable": known & hidden}
        for mode in MODES:
            loss = torch.cat([losses(trainers[mode], rows) for rows in batches[rows_of]])
            for name, which in sets.items():
                mean, low, high = found[mode, rows_of, name] = mean_of(loss, which)
                share[rows_of, name] = float(which.sum() / known.sum())
                part = share[rows_of, name]
                print(
                    f"{mode:14s}{rows_of:10s}{name:14s}{part:8.3f}  {mean:.4f} ({low:.4f}, {high:.4f})"
                )
    leak = found["dnabert", "dnabert", "not readable"][0] - found["dnabert", "dnabert", "all"][0]
    cost = found["dnabert", "span", "not readable"][0] - found["span", "span", "not readable"][0]
    print(f"RESULT readable-share-dnabert {share['dnabert', 'readable']:.4f} - pass")
    print(f"RESULT nats-from-leakage-dnabert {leak:.4f} - pass")
    print(f"RESULT nats-lost-on-hidden-bases {cost:.4f} - pass")
    return 0


if __name__ == "__main__":
    sys.exit(main())
