"""Pre-training against the way the field does it: samples a second, end to end, side by side.

The rival is ``transformers`` BertForMaskedLM as DNABERT (Ji et al. 2021) uses it: sequences are
strings, a tokeniser splits them into k-mers and looks these up, a collator in Python hides runs of
tokens, a DataLoader hands out batches, and the head computes the whole vocabulary at every
position. Two forms: (a) as published: float32, eager attention, a tokeniser in Python, no workers;
(b) tuned: scaled-dot-product attention, the Rust tokeniser, workers, fused AdamW as ours has, bf16
on a GPU. Ours is masked genome modelling alone, drawn from shards. Same width, depth, heads, rows of 512 tokens (k = 6,
stride 1), batch, optimiser (AdamW) and threads; turn by turn in one process, ratio of medians. The
batch is halved for all where a device has too little memory for one of them ((a) takes about 90 GB
for 128 rows and the base model).

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/peers.py [--device cuda --size base]

Prints ``RESULT name value bar pass|short``; exit status 1 if one is short or a rival is missing.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import library  # noqa: F401
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from genebert.ahead import Ahead
from genebert.genome import decode
from genebert.model.config import SIZES
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import open_place
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.trainer import Trainer
from pretrain_toys import toy_shards

K = 6
ROW = 512
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HIDDEN = 0.15
BARS = {"cpu": {"tuned": 1.3}, "cuda": {"published": 4.0, "tuned": 2.0}}
Step = Callable[[], None]


def vocabulary() -> list[str]:
    """The special tokens, then all k-mers."""
    return SPECIAL + ["".join(word) for word in itertools.product("ACGT", repeat=K)]


class Strings(torch.utils.data.Dataset[str]):
    """Sequences as text, k-mers parted by blanks, made for each visit from the bases."""

    def __init__(self, sequences: list[str]) -> None:
        self.sequences = sequences

    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> str:
        text = self.sequences[index % len(self.sequences)]
        return " ".join(text[i : i + K] for i in range(len(text) - K + 1))


class Collator:
    """Tokens of a batch of texts, and runs of K of them hidden, as DNABERT does."""

    def __init__(self, fast: bool) -> None:
        words = vocabulary()
        self.ids = {word: i for i, word in enumerate(words)}
        self.fast: Any = None
        if fast:
            from tokenizers import Tokenizer
            from tokenizers.models import WordLevel
            from tokenizers.pre_tokenizers import WhitespaceSplit

            self.fast = Tokenizer(WordLevel(self.ids, unk_token="[UNK]"))
            self.fast.pre_tokenizer = WhitespaceSplit()

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        if self.fast is None:
            rows = [[self.ids.get(word, 1) for word in text.split()] for text in texts]
        else:
            rows = [encoding.ids for encoding in self.fast.encode_batch(texts)]
        ids = torch.tensor([[2, *row, 3] for row in rows])
        labels = ids.clone()
        start = (torch.rand(ids.shape) < HIDDEN / K).float()
        runs = torch.nn.functional.max_pool1d(start, K, stride=1, padding=K // 2)  # K from each
        hidden = (runs[:, : ids.shape[1]] > 0) & (ids > 4)
        labels[~hidden] = -100
        chance = torch.rand(ids.shape)
        ids[hidden & (chance < 0.8)] = 4
        random = hidden & (chance >= 0.9)
        ids[random] = torch.randint(5, len(self.ids), (int(random.sum()),))
        return ids, labels


def rival(kind: str, size: str, batch: int, sequences: list[str], device: torch.device) -> Step:
    """Return a function that makes one optimisation step of BertForMaskedLM."""
    from transformers import BertConfig, BertForMaskedLM

    tuned, cuda = kind == "tuned", device.type == "cuda"
    preset = SIZES[size]
    config = BertConfig(
        vocab_size=len(vocabulary()),
        hidden_size=preset["d_model"],
        num_hidden_layers=preset["n_layers"],
        num_attention_heads=preset["n_heads"],
        intermediate_size=4 * preset["d_model"],
        max_position_embeddings=ROW,
        attn_implementation="sdpa" if tuned else "eager",
    )
    torch.manual_seed(0)
    model = BertForMaskedLM(config).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4, fused=tuned)
    workers = min(8, (os.cpu_count() or 2) - 1) if tuned else 0
    loader: Iterator[tuple[Tensor, Tensor]] = iter(
        DataLoader(
            Strings(sequences),
            batch_size=batch,
            collate_fn=Collator(fast=tuned),
            num_workers=workers,
            pin_memory=tuned and cuda,
            persistent_workers=workers > 0,
        )
    )
    print(
        f"{kind}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True
    )

    def step() -> None:
        ids, labels = (part.to(device, non_blocking=True) for part in next(loader))
        half = torch.autocast("cuda", torch.bfloat16) if tuned and cuda else nullcontext()
        with half:
            loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def ours(size: str, batch: int, corpus: Corpus, device: str) -> Step:
    """Return a function that makes one optimisation step of our program."""
    block: dict[str, Any] = {
        "tokens": {"k": K, "stride": 1},
        "model": {"size": size, "region_encoder": "swin"},
        "neighbours": 10,
        "row_tokens": ROW,
        "batch_size": batch,
        "objectives": {"mgm": {}},
        "optimizer": {"learning_rate": 4e-4},
    }
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    trainer = Trainer(Sampler(population), block, 100_000, open_place(device))
    count = sum(p.numel() for p in trainer.model.parameters())
    print(f"genebert: {count / 1e6:.1f} M parameters", flush=True)
    steps = itertools.count()
    batches = Ahead(trainer.sample, 100_000, trainer.place.device)  # as a run does
    return lambda: trainer.train_step(batches(next(steps)))


def seconds(step: Step, steps: int, device: torch.device) -> float:
    """Return the seconds of one step, over several."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def fitting(turns: Callable[[int], dict[str, list[float]]], batch: int) -> tuple[int, Any]:
    """Return the rows of the largest batch that fits the memory for all, and what it took."""
    while True:
        try:
            return batch, turns(batch)
        except torch.OutOfMemoryError:
            if batch <= 2:
                raise
        batch //= 2
        print(f"out of memory; all of them again with {batch} rows", flush=True)
        torch.compiler.reset()
        gc.collect()
        torch.cuda.empty_cache()


def compare(
    kind: str,
    size: str | None = None,
    batch: int | None = None,
    steps: int | None = None,
    rounds: int = 5,
) -> list[tuple[str, float, float | None, bool]]:
    """Measure all three turn by turn; return name, value, bar and whether it is passed.

    Raises
    ------
    ImportError
        If a rival is not installed.
    """
    import transformers

    cuda = kind == "cuda"
    size, batch = size or ("base" if cuda else "small"), batch or (128 if cuda else 16)
    steps, threads = steps or (10 if cuda else 3), torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 2 if cuda else 2)
    device = torch.device(kind)
    shards: Any = toy_shards(2000, cells=8, motifs=45, width=500, flank=64)
    corpus = Corpus.from_shards(shards, device)
    length = ROW - 2 + K - 1
    sequences = [decode(np.minimum(row[:length], 3)) for row in shards.codes]
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")

    def turns(rows: int) -> dict[str, list[float]]:
        made = {"genebert": ours(size, rows, corpus, kind)}
        made |= {n: rival(n, size, rows, sequences, device) for n in ("published", "tuned")}
        for step in made.values():
            seconds(step, 3, device)  # compile, fill caches
        times: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(rounds):
            for name, step in made.items():
                times[name].append(seconds(step, steps, device))
        return times

    batch, times = fitting(turns, batch)
    place = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} CPU threads"
    print(f"{place}, {size}, {batch} rows of {ROW} tokens, {rounds} rounds of {steps} steps")
    for name, value in times.items():
        rate = batch / statistics.median(value)
        print(f"{name:10s} {rate:9.1f} rows/s  {rate * ROW:11.0f} tokens/s")
    torch.set_num_threads(threads)
    out: list[tuple[str, float, float | None, bool]] = []
    for name in ("published", "tuned"):
        pairs = zip(times["genebert"], times[name], strict=True)
        ratio, bar = statistics.median(b / a for a, b in pairs), BARS[kind].get(name)
        out.append((f"times-faster-than-{name}", ratio, bar, bar is None or ratio >= bar))
    return out


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", default=None, help="small on a CPU, base on a GPU")
    parser.add_argument("--batch", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    try:
        results = compare(o.device, o.size, o.batch, o.steps, o.rounds)
    except ImportError as error:
        print(f"{error}; pip install -r tests/benchmarks/requirements.txt", file=sys.stderr)
        return 1
    for name, value, bar, passed in results:
        shown = "-" if bar is None else bar
        print(f"RESULT {name} {value:.2f} {shown} {'pass' if passed else 'short'}")
    return int(not all(passed for *_, passed in results))


if __name__ == "__main__":
    sys.exit(main())
