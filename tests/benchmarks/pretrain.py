"""The measures of pre-training: kills, leaks, resuming, processes, controls, learning, waiting, the rival.

    pip install -r tests/benchmarks/requirements.txt
    python tests/benchmarks/pretrain.py [--device cuda] [--only NAME ...]

Prints ``RESULT <name> <value> <bar> pass|short`` for each measure; exit status 1 if one is short.
The comparison with BertForMaskedLM is ``peers.py``, here on two threads; with ``--device cuda`` the
base model is measured, too (``bench``: ``tests/gpu/bench.py``). Seconds and rows/s depend on the
machine; waiting, and what a step adds to the model, need a free core for the thread that makes the
batches; the rest depends on neither.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import library
import numpy as np
import torch
from safetensors.torch import load_file

from genebert import tokens
from genebert.ahead import Ahead
from genebert.masking import KEPT, Masking, mask
from genebert.mgm_reference import fit_reference, mgm_figures
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import EXIT_STOPPED, StopFlag, open_place, run
from genebert.pretraining_evaluation import FixedSet
from genebert.rng import fold, words
from genebert.sampler import Sampler
from genebert.samples import TRAIN, VALID, Corpus
from genebert.train_state import StateDirectory
from genebert.trainer import Place, Trainer
from pretrain_toys import toy_block, toy_shards

Result = tuple[str, float, float | None, bool]
DEMO: dict[str, Any] = {
    "name": "full",
    "tokens": {"k": 6, "stride": 3},
    "model": {"size": "tiny", "region_encoder": "swin"},
    "neighbours": 10,
    "row_tokens": 128,
    "batch_size": 32,
    "optimizer": {"learning_rate": 2e-3},
    "objectives": {"mgm": {}, "ngsp": {}, "srm": {}},
    "evaluation_spans": [5],
}


def trained(
    folder: Path | str, shards: Any, block: dict[str, Any], steps: int, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Train a run to its end; return the rows of its metrics."""
    settings = {"variant": block, "seed": 1, "steps": steps}
    run(settings, shards, Path(folder), index_sha256="", stop=StopFlag(None), device=device)
    return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").open()]


def demo(device: str) -> list[Result]:
    """Train a run of the demo's size: 120 steps of 32 rows of 128 tokens, 45 motifs.

    The bars on seconds are those of the demo, which runs on a CPU; a GPU compiles first. They
    depend on the machine; what a step adds to the model does not. Waiting and the sampler's share
    are the host's time; ``bench`` has the share of the device's.
    """
    shards: Any = toy_shards(600, cells=8, motifs=45, width=500, flank=64)
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        rows = trained(folder, shards, DEMO, 120, device)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    timing = [row["timing"] for row in rows if row["kind"] == "train"][5:]

    def median(name: str) -> float:
        return float(np.median([t[name] for t in timing]))

    rate, wait = median("tokens_per_second") / 128, median("data_wait_fraction")
    added, bar = beside_a_bare_loop(shards, device), 20.0 if device == "cpu" else None
    return [
        ("demo-seconds", seconds, bar, bar is None or seconds <= bar),
        ("demo-cpu-seconds", cpu, bar, bar is None or cpu <= bar),
        ("demo-rows-per-second", rate, 200.0, rate >= 200.0),
        ("step-times-the-model-alone", added, 1.15, added <= 1.15),
        ("data-wait", wait, 0.01, wait < 0.01),
        ("sampler-share-of-host-time", median("sampler_fraction"), None, True),
    ]


def beside_a_bare_loop(shards: Any, device: str, rounds: int = 7, steps: int = 15) -> float:
    """Return how many times as long as the model alone a step of training takes, turn by turn.

    The model alone: forward, backward and AdamW on one batch, again and again. A step of training
    makes its batch as well, counts, clips, and looks for what is not finite.
    """
    place = open_place(device)
    population = build_population(
        Corpus.from_shards(shards, place.device), Plan.from_pretrain(DEMO, 1), TRAIN, "training"
    )
    n = (rounds + 1) * steps
    trainer, alone = (Trainer(Sampler(population), DEMO, n, place) for _ in range(2))
    (batch,) = alone.sample(0)
    ratios = []
    with Ahead(trainer.sample, n, place.device) as source:
        for turn in range(rounds + 1):
            began = clock(place)
            for step in range(turn * steps, (turn + 1) * steps):
                trainer.train_step(source(step))
            middle = clock(place)
            for _ in range(steps):
                (alone.forward(batch) * alone.scale).sum().backward()
                alone.optimizer.step()
                alone.optimizer.zero_grad(set_to_none=True)
            ratios.append((middle - began) / (clock(place) - middle))
    return float(np.median(ratios[1:]))  # the first turn compiles


def clock(place: Place) -> float:
    """Return the seconds of the wall clock, after all that was started."""
    if place.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def kills(moments: int) -> list[Result]:
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
            deadline = time.monotonic() + 30  # a busy machine may take long for the first one
            while step_on_disk(folder) <= last and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.2 * rng.random())
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            loaded = StateDirectory(folder).load()
            whole = loaded is not None and bool((loaded["w"] == loaded["step"]).all())
            bad += not (whole and loaded is not None and loaded["step"] > last)
            last = loaded["step"] if loaded is not None else last
    return [("broken-states-after-kill", float(bad), 0.0, bad == 0)]


def step_on_disk(folder: str) -> int:
    """Return the step that the manifest names, 0 if there is none yet."""
    try:
        return int(json.loads((Path(folder) / "manifest.json").read_text())["step"])
    except FileNotFoundError:
        return 0


def leaks(k: int = 6, rows: int = 400) -> list[Result]:
    """Change hidden bases one row at a time; count rows in which a visible token changes."""
    out: list[Result] = []
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
        bar = 0.0 if mode == "span" else None
        out.append((f"rows-that-leak-{mode}", share, bar, bar is None or share <= bar))
    return out


class StopAt(StopFlag):
    """Asks to stop after some looks."""

    def __init__(self, looks: int) -> None:
        super().__init__(None)
        self.looks = looks

    def __bool__(self) -> bool:
        self.looks -= 1
        return self.looks <= 0


def resuming(steps: int = 30, stops: int = 3) -> list[Result]:
    """Stop a run at random steps and resume it; count weights and figures that differ."""
    shards: Any = toy_shards()
    block = toy_block(log_every=5, evaluation_loci=16, evaluation_spans=[5])
    settings = {"variant": block, "seed": 1, "steps": steps}
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        one = trained(whole, shards, block, steps)
        for _ in range(stops):
            flag = StopAt(int(rng.integers(1, steps // (stops + 1))))
            code = run(settings, shards, parts, index_sha256="", stop=flag)
            assert code == EXIT_STOPPED
        two = trained(parts, shards, block, steps)
        a, b = (load_file(path / "model.safetensors") for path in (whole, parts))
    differ = sum(not torch.equal(a[name], b[name]) for name in a) + (a.keys() != b.keys())
    for row in (*one, *two):
        row.pop("timing", None)
    differ += sum(x != y for x, y in zip(one, two, strict=True))
    return [("differences-after-resuming", float(differ), 0.0, differ == 0)]


def processes(steps: int = 6) -> list[Result]:
    """Train on one and on two processes; return the largest difference of a logged loss."""
    worker = Path(__file__).parents[1] / "pretrain_worker.py"
    path = os.pathsep.join([str(library.SCRIPTS), str(worker.parent)])
    logged = []
    with tempfile.TemporaryDirectory() as folder:
        for world in (1, 2):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            output = Path(folder) / str(world)
            started = []
            for rank in range(world):
                env = {"WORLD_SIZE": str(world), "RANK": str(rank), "LOCAL_RANK": str(rank)}
                env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": path}
                call = [sys.executable, str(worker), str(output), str(steps), "bce"]
                started.append(subprocess.Popen(call, env={**os.environ, **env}))
            if any(process.wait() for process in started):
                raise RuntimeError(f"a run on {world} processes failed")
            rows = [json.loads(line) for line in (output / "metrics.jsonl").open()]
            logged.append([list(r["loss"].values()) for r in rows if r["kind"] == "train"])
    worst = float(np.abs(np.subtract(*logged)).max())
    return [("loss-difference-1-and-2-processes", worst, 1e-4, worst <= 1e-4)]


def controls(steps: int = 400) -> list[Result]:
    """Match matrices of cell types to sequences where that can be done, and where it cannot."""
    shards: Any = toy_shards(1500, cells=9, context=True)
    out: list[Result] = []
    for matrix in ("real", "shuffled", "shuffled_cells"):
        block = toy_block(
            objectives={"srm": {}}, matrix=matrix, batch_size=32, evaluation_loci=500,
            optimizer={"learning_rate": 1e-3}, evaluation_spans=[5],
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            rows = trained(folder, shards, block, steps)
        last = next(r for r in rows if r["kind"] == "evaluation" and r["set"] == "valid")
        value = last["srm_n2_auroc"]
        fine = value >= 0.7 if matrix == "real" else abs(value - 0.5) <= 0.05
        out.append((f"srm-n2-auroc-{matrix}", value, 0.7 if matrix == "real" else 0.5, fine))
    return out


def learns(steps: int = 1000) -> list[Result]:
    """Positive control of MGM: on a first-order chain, the share of the chain's knowledge learned.

    The Markov reference is the truth there: it is given the bases that visible tokens show.
    """
    shards: Any = toy_shards(1500, cells=6, chain=True, width=500, flank=64)
    block = {**DEMO, "objectives": {"mgm": {}}}
    corpus, plan = Corpus.from_shards(shards), Plan.from_pretrain(block, 1)
    training, validation = (
        build_population(corpus, plan, split, "training") for split in (TRAIN, VALID)
    )
    trainer = Trainer(Sampler(training), block, steps, open_place("cpu"))
    with Ahead(trainer.sample, steps, trainer.place.device) as source:
        for step in range(steps):
            trainer.train_step(source(step))
    chain = fit_reference(training, validation)
    fixed = FixedSet.of("valid", validation, 256)
    figures: list[Any] = mgm_figures(trainer.losses, fixed, chain, (5,))
    nats = next(f for f in figures if (f["stratum"], f["metric"]) == ("span-5", "nats"))
    share = (math.log(4) - nats["value"]) / (math.log(4) - nats["reference"])
    return [("share-of-a-chain-learned", share, 0.9, share >= 0.9)]


def rival(device: str) -> list[Result]:
    """Measure against BertForMaskedLM, side by side; short where it is not installed."""
    try:
        from peers import compare

        return list(compare(device))
    except ImportError as error:
        print(f"{error}; pip install -r tests/benchmarks/requirements.txt", file=sys.stderr)
        return [("times-faster-than-tuned", 0.0, 1.3, False)]


def bench() -> list[Result]:
    """Measure the base model on a GPU; the program prints its figures itself."""
    program = Path(__file__).parents[1] / "gpu" / "bench.py"
    code = subprocess.run([sys.executable, str(program)], check=False).returncode
    return [("bench-exit-status", float(code), 0.0, code == 0)]


def main() -> int:
    """Run all measures, or those that are named."""
    measures: dict[str, Callable[[], list[Result]]] = {
        "kills": lambda: kills(options.kills),
        "leaks": leaks,
        "resuming": resuming,
        "processes": processes,
        "controls": controls,
        "learns": learns,
        "demo": lambda: demo(options.device),
        "rival": lambda: rival(options.device),
        "bench": bench,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=measures, metavar="NAME", help="of measures")
    options = parser.parse_args()
    only = options.only or [n for n in measures if n != "bench" or options.device == "cuda"]
    if "bench" in only and options.device == "cpu":
        parser.error("bench needs --device cuda")
    torch.set_num_threads(1)
    short = False
    for title in only:
        for name, value, bar, passed in measures[title]():
            short |= not passed
            shown = "-" if bar is None else f"{bar:.4g}"
            print(f"RESULT {name} {value:.4g} {shown} {'pass' if passed else 'short'}", flush=True)
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
