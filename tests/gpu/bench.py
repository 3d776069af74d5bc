"""Throughput of pre-training on one GPU: base model, 512 tokens (k = 6, stride 1).

    python3 tests/gpu/bench.py [--out FILE]

Prints one line a configuration: tokens/s over whole optimisation steps (sampling, forward,
backward, clipping, AdamW), MFU = FLOPs of a step / (seconds * dense bf16 peak), the sampler's share
of the device's time, and peak memory. FLOPs: ``GeneBert.flops_per_token`` (6 N + 12 L d T, and the
head for hidden tokens), plus ``flops_per_matrix`` where SRM is on. Needs torch, numpy, scipy and
safetensors only.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow" / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import torch

from genebert.ahead import Ahead
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import Clock, open_place
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.trainer import Trainer
from pretrain_toys import toy_shards

SEQUENCE = {"mgm": {}, "ngsp": {}}
FULL = {"mgm": {}, "ngsp": {}, "srm": {}}
BARS = {"sequence": 700e3}


def block_of(size: str, row_tokens: int, batch: int, **changes: Any) -> dict[str, Any]:
    """Return a `pretrain` block."""
    block: dict[str, Any] = {
        "tokens": {"k": 6, "stride": 1},
        "model": {"size": size, "region_encoder": "swin"},
        "neighbours": 10,
        "row_tokens": row_tokens,
        "batch_size": batch,
        "objectives": SEQUENCE,
        "optimizer": {"learning_rate": 4e-4},
    }
    return {**block, **changes}


def configurations(size: str, row_tokens: int, batch: int) -> dict[str, dict[str, Any]]:
    """Return what is measured, by name; the most important first."""

    def made(n: int = batch, encoder: str = "swin", **changes: Any) -> dict[str, Any]:
        model = {"size": size, "region_encoder": encoder}
        return block_of(size, row_tokens, n, **{"model": model, **changes})

    return {
        "sequence": made(),
        "full swin": made(objectives=FULL),
        "full transformer": made(encoder="transformer", objectives=FULL),
        "sequence, no compile": made(compile=False),
        "sequence, batch / 4": made(n=batch // 4),
        "sequence, tf32": made(precision="float32"),
        "sequence, tf32, no compile": made(n=batch // 2, precision="float32", compile=False),
    }


def measure(
    corpus: Corpus, block: dict[str, Any], device: str, steps: int, warmup: int
) -> dict[str, float]:
    """Time whole steps of a configuration."""
    place = open_place(device)
    cuda = place.device.type == "cuda"
    began = time.perf_counter()
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    trainer = Trainer(Sampler(population), block, 10_000, place)
    clock = Clock(trainer)

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize()

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with Ahead(trainer.sample, warmup + steps, place.device) as batches:  # as a run does
        for step in range(warmup):
            trainer.train_step(batches(step))
        wait()
        clock.start(batches)
        started = time.perf_counter()
        for step in range(warmup, warmup + steps):
            with clock.waiting():
                rows = batches(step)
            trainer.train_step(rows)
        wait()
        seconds = (time.perf_counter() - started) / steps
    waited = clock.waited / (steps * seconds)
    sampled = time.perf_counter()
    for step in range(steps):
        trainer.sample(step)
    wait()
    sampling = (time.perf_counter() - sampled) / steps
    out = {
        "step_seconds": seconds,
        "tokens_per_second": clock.tokens / seconds,
        "tflops": clock.flops / seconds / 1e12,
        "sampler_share": sampling / seconds,
        "data_wait": waited,
        "start_seconds": started - began,
        "loss_mgm": float(trainer.totals[0, 0] / trainer.totals[0, 1]),
        "compiled": float(trainer.compiled),
    }
    if clock.peak is not None:
        out["mfu"] = clock.flops / seconds / clock.peak
    if cuda:
        out["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return out


def main() -> int:
    """Measure and print; exit status 1 if a bar is missed on an H100 or H200."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--size", default="base")
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--regions", type=int, default=5000, help="per contig, of four")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--limit", type=float, default=330.0, help="seconds; start no more after")
    parser.add_argument("--out", help="JSON file for the figures")
    options = parser.parse_args()
    began = time.perf_counter()
    place = open_place(options.device)
    cuda = place.device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else platform.processor() or "cpu"
    print(
        f"{name}, torch {torch.__version__}, {options.size}, {options.row_tokens} tokens",
        flush=True,
    )
    shards: Any = toy_shards(options.regions, cells=54, motifs=282, width=500, flank=64)
    corpus = Corpus.from_shards(shards, place.device)
    figures: dict[str, dict[str, float]] = {}
    for title, block in configurations(options.size, options.row_tokens, options.batch).items():
        if options.only not in title or time.perf_counter() - began > options.limit:
            continue
        found = measure(corpus, block, options.device, options.steps, options.warmup)
        figures[title] = found
        parts = "  ".join(f"{key} {value:.4g}" for key, value in found.items())
        print(f"{title:28s} batch {block['batch_size']}  {parts}", flush=True)
        if cuda:
            torch.compiler.reset()
            torch.cuda.empty_cache()
    missed = False
    fast = any(chip in name for chip in ("H100", "H200"))
    for title, bar in BARS.items():
        if title in figures and fast:
            value = figures[title]["tokens_per_second"]
            missed |= value < bar
            print(f"RESULT {title} {value:.0f} {bar:.0f} {'pass' if value >= bar else 'short'}")
            waited = figures[title]["data_wait"]
            missed |= waited >= 0.01
            print(f"RESULT data-wait {waited:.4f} 0.01 {'pass' if waited < 0.01 else 'short'}")
    if cuda and "sequence" in figures:  # `data-wait` is the host's time: it queues the kernels
        share = figures["sequence"]["sampler_share"]
        print(f"RESULT sampler-share-of-device-time {share:.4f} - pass")
    if cuda and {"sequence", "full swin"} <= figures.keys():
        overhead = figures["full swin"]["step_seconds"] / figures["sequence"]["step_seconds"] - 1
        missed |= fast and overhead > 0.15
        verdict = f"0.15 {'pass' if overhead <= 0.15 else 'short'}" if fast else "- pass"
        print(f"RESULT region-overhead {overhead:.4f} {verdict}")
    if options.out:
        record = {"device": name, "torch": torch.__version__, "figures": figures}
        Path(options.out).write_text(json.dumps(record, indent=1) + "\n")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
