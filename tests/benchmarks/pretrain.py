"""Measures of pre-training on this machine: speed of a demo-sized run, waiting, kills, leaks.

    python tests/benchmarks/pretrain.py [--device cpu]

Prints ``RESULT <name> <value> <bar> pass|short`` for each measure; exit status 1 if one is short.
Throughput of the base model on a GPU is measured by ``tests/gpu/bench.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import library  # noqa: F401
import numpy as np
import torch

from genebert import tokens
from genebert.masking import KEPT, Masking, mask
from genebert.pretrain import StopFlag, run
from genebert.rng import fold, words
from genebert.train_state import StateDirectory
from pretrain_toys import toy_block, toy_shards

DEMO: dict[str, Any] = {
    "name": "full",
    "tokens": {"k": 6, "stride": 3},
    "model": {"size": "tiny", "region_encoder": "swin"},
    "neighbours": 10,
    "row_tokens": 128,
    "batch_size": 32,
    "optimizer": {"learning_rate": 2e-3},
    "objectives": {"mgm": {}, "ngsp": {}, "srm": {}},
}


def demo(device: str) -> list[tuple[str, float, float, bool]]:
    """Train a run of the demo's size: 120 steps of 32 rows of 128 tokens, 45 motifs."""
    shards: Any = toy_shards(600, cells=8, motifs=45, width=500, flank=64)
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        settings = {"variant": DEMO, "seed": 1, "steps": 120}
        run(settings, shards, Path(folder), index_sha256="", stop=StopFlag(None), device=device)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").open()]
    timing = [row["timing"] for row in rows if row["kind"] == "train"][5:]
    rate = float(np.median([t["tokens_per_second"] for t in timing]))
    wait = float(np.median([t["data_wait_fraction"] for t in timing]))
    return [
        ("demo-seconds", seconds, 20.0, seconds <= 20.0),
        ("demo-cpu-seconds", cpu, 20.0, cpu <= 20.0),
        ("demo-rows-per-second", rate / 128, 200.0, rate / 128 >= 200.0),
        ("demo-data-wait", wait, 0.15, wait <= 0.15),
    ]


def kills(moments: int) -> list[tuple[str, float, float, bool]]:
    """Kill -9 a process that writes checkpoints; count states that are not whole."""
    rng = np.random.default_rng(0)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        last = 0
        for _ in range(moments):
            child = os.fork()
            if child == 0:
                while True:
                    last += 1
                    state = {"step": last, "w": torch.full((300_000,), float(last))}
                    StateDirectory(folder).save(last, state)
            time.sleep(0.1 + 0.2 * rng.random())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            loaded = StateDirectory(folder).load()
            whole = loaded is not None and bool((loaded["w"] == loaded["step"]).all())
            bad += not (whole and loaded is not None and loaded["step"] > last)
            last = loaded["step"] if loaded is not None else last
    return [("broken-states-after-kill", float(bad), 0.0, bad == 0)]


def leaks(k: int = 6, rows: int = 400) -> list[tuple[str, float, float, bool]]:
    """Change hidden bases one row at a time; count rows in which a visible token changes."""
    out = []
    length = tokens.segment_length(505, k, 1)
    for mode in ("span", "dnabert"):
        masking = Masking.for_segment(mode, length, k, 1, 0.15, 5)
        codes = words(fold(0), torch.arange(rows), length) % 4
        word = words(fold(1), torch.arange(rows), masking.n_words)
        before = mask(codes, word, masking, k, 1)
        hidden = codes.gather(1, before.position)
        other = torch.where(before.decision == KEPT, hidden, (hidden + 1) % 4)
        after = mask(codes.scatter(1, before.position, other), word, masking, k, 1)
        share = float((before.ids != after.ids).any(dim=1).double().mean())
        bar = 0.0 if mode == "span" else 1.0
        out.append((f"rows-that-leak-{mode}", share, bar, share <= bar))
    return out


def context(steps: int = 400) -> list[tuple[str, float, float, bool]]:
    """Match matrices of cell types to sequences where that can be done, and where it cannot."""
    shards: Any = toy_shards(1500, cells=9, context=True)
    out = []
    for matrix in ("real", "shuffled", "shuffled_cells"):
        block = toy_block(
            objectives={"srm": {}}, matrix=matrix, batch_size=32, evaluation_loci=500,
            optimizer={"learning_rate": 1e-3},
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            settings = {"variant": block, "seed": 1, "steps": steps}
            run(settings, shards, Path(folder), index_sha256="", stop=StopFlag(None))
            rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").open()]
        last = next(r for r in rows if r["kind"] == "evaluation" and r["set"] == "valid")
        value = last["srm_n2_auroc"]
        fine = value >= 0.7 if matrix == "real" else abs(value - 0.5) <= 0.05
        out.append((f"srm-n2-auroc-{matrix}", value, 0.7 if matrix == "real" else 0.5, fine))
    return out


def main() -> int:
    """Run all measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--kills", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = kills(options.kills) + leaks() + context() + demo(options.device)
    for name, value, bar, passed in results:
        print(f"RESULT {name} {value:.4g} {bar:.4g} {'pass' if passed else 'short'}")
    return int(not all(passed for *_, passed in results))


if __name__ == "__main__":
    sys.exit(main())
