"""Motif rows that stay in their files against rows in memory: memory, opening, rate, equality.

    python tests/benchmarks/streaming.py [--regions 160000 --motifs 800]

Writes made-up shards (256 MB of motif rows) and, turn by turn, opens them either way and makes the
rows of pre-training (all objectives, 512 tokens), each in a process of its own. Memory is what only
the process has (RssAnon and RssShmem): pages of a mapped file belong to the system, which takes them
back when it needs them. Rates are rows over CPU time of one thread; the ratio is that of medians.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import library  # noqa: F401
import numpy as np
import torch

BATCH, STEPS = 64, 24


def own_memory() -> int:
    """Return the bytes that only this process holds."""
    status = Path("/proc/self/status").read_text()
    return 1024 * sum(int(kb) for kb in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", status))


def measure(index: str, memory_gb: float) -> dict[str, Any]:
    """Open shards, make batches; return figures and a digest of all batches."""
    from genebert.plan import Plan
    from genebert.population import build_population
    from genebert.sampler import Sampler
    from genebert.samples import TRAIN, Corpus
    from genebert.shards import Shards

    torch.set_num_threads(1)
    block = {
        "tokens": {"k": 6, "stride": 1}, "neighbours": 10, "row_tokens": 512,
        "batch_size": BATCH, "objectives": {"mgm": {}, "ngsp": {}, "srm": {}},
    }  # fmt: skip
    before, started = own_memory(), time.process_time()
    shards = Shards.open(index, memory_gb=memory_gb)
    opened, held = time.process_time() - started, own_memory() - before
    plan = Plan.from_pretrain(block, 1)
    sampler = Sampler(build_population(Corpus.from_shards(shards), plan, TRAIN, "training"))
    digest, seconds = hashlib.sha256(), []
    for step in range(STEPS):
        started = time.process_time()
        rows = sampler.batch(step).tensors()
        seconds.append(time.process_time() - started)
        for name in sorted(rows):
            digest.update(rows[name].numpy().tobytes())
    return {
        "open_seconds": opened, "own_memory": held, "digest": digest.hexdigest(),
        "rows_per_second": BATCH / float(np.median(seconds[4:])),
    }  # fmt: skip


def main() -> int:
    """Write the shards, measure both ways in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regions", type=int, default=160_000)
    parser.add_argument("--motifs", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        index, memory_gb = options.measure
        print(json.dumps(measure(index, float(memory_gb))))
        return 0
    from pretrain_toys import toy_shards, written_shards

    found: dict[str, list[dict[str, Any]]] = {"resident": [], "streamed": []}
    with tempfile.TemporaryDirectory() as folder:
        toy = toy_shards(options.regions // 4, 8, options.motifs, width=500, flank=64)
        index = written_shards(toy, Path(folder), files=8)
        size = toy.motif_rows.nbytes
        del toy
        for _ in range(options.rounds):
            for name, memory_gb in (("resident", "1000"), ("streamed", "0")):
                call = [sys.executable, __file__, "--measure", str(index), memory_gb]
                found[name].append(json.loads(subprocess.check_output(call)))
    print(f"motif rows: {size / 1e9:.3f} GB, {options.regions} regions x {options.motifs} motifs")
    median: dict[str, dict[str, float]] = {}
    for name, runs in found.items():
        keys = ("open_seconds", "own_memory", "rows_per_second")
        median[name] = {key: float(np.median([r[key] for r in runs])) for key in keys}
        m = median[name]
        print(
            f"{name:9s} opened in {m['open_seconds']:.2f} s (CPU), holds {m['own_memory'] / 1e9:.3f} GB, "
            f"{m['rows_per_second']:.0f} rows/s"
        )
    digests = {run["digest"] for runs in found.values() for run in runs}
    saved = (median["resident"]["own_memory"] - median["streamed"]["own_memory"]) / size
    rate = median["streamed"]["rows_per_second"] / median["resident"]["rows_per_second"]
    results = [
        ("streamed-rows-that-differ", float(len(digests) - 1), 0.0, len(digests) == 1),
        ("share-of-motif-rows-not-held", saved, 0.95, saved >= 0.95),
        ("streamed-rate-over-resident", rate, None, True),
    ]
    for title, value, bar, passed in results:
        shown = "-" if bar is None else bar
        print(f"RESULT {title} {value:.4g} {shown} {'pass' if passed else 'short'}")
    return int(not all(passed for *_, passed in results))


if __name__ == "__main__":
    sys.exit(main())
