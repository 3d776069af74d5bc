"""Faults on purpose: what is left after each, and what the documented command makes of it.

    python tests/benchmarks/faults.py --out faults.jsonl --kind step-local step-slurm ...
    python tests/benchmarks/faults.py --report faults.jsonl

Kinds that end in `-slurm` run on the cluster of `tests/slurm/lab.py`, which is started for them
(root, Debian); `disk-local` mounts a small tmpfs (root). A run of a small simulated genome is made
once; for every fault it is copied, the outputs of one stage are deleted, the stage is run again and
hit. Right after the fault, every file that stands under its final name must be that of the
undisturbed run, to the byte; after the documented command (docs/slurm.md), all of them must be
there. `metrics.jsonl` is compared without its timings. Ends in lines `RESULT <name> <value> <bar>
pass|short`; exit status 1 if one is short.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import library  # noqa: F401

from slurm_runs import WEIGHTS, Run, ask, checkpointed, lab, launch, until

STEPS = 60  # of the training that is hit
BARS = {"faults": 50, "faults_incomplete": 0, "faults_wrong_files": 0}
NODES = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """A rule that can be hit: what its process is called, its outputs, the first being asked for."""

    word: str
    outputs: tuple[str, ...]


REFERENCE = "results/reference/genome.fa.gz"
STAGES = {
    "reference": Stage(
        "build_reference", (REFERENCE, f"{REFERENCE}.fai", f"{REFERENCE}.gzi", "results/reference/contigs.tsv")
    ),
    "regions": Stage(
        "build_regions",
        tuple(f"results/regions/{name}" for name in ("regions.bed", "regions.tsv", "accessibility.h5ad", "occupied.bed.gz", "qc.tsv")),
    ),
    "motif_set": Stage("build_motif_set", ("results/motifs/motif_set.json", "results/motifs/motifs.meme")),
    "scan_motifs": Stage("scan_motifs", ("results/motifs/chunks/0.h5",)),
    "motif_matrix": Stage("gather_matrix", ("results/motifs/matrix.h5ad",)),
    "shards": Stage("export_shards", ("results/shards/index.json", "results/shards/*.safetensors")),
    "pretrain": Stage("genebert/pretrain.py", (WEIGHTS, "results/pretrain/full/seed-1/*.js*")),
    "launcher": Stage("run_pretrain", (WEIGHTS, "results/pretrain/full/seed-1/*.js*")),
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A fault.

    Parameters
    ----------
    kind : what happens, and where.
    stage : of :data:`STAGES`, which is hit.
    when : seconds after its process is seen, steps of a training, or kB that are free on the disk.
    """

    kind: str
    stage: str
    when: float


@dataclass
class Outcome:
    """What became of a fault."""

    kind: str
    stage: str
    when: float
    command: str  # that it took
    wrong: list[str]  # files that differ right after the fault or at the end
    missing: list[str]
    seconds: float


class MissedError(Exception):
    """The process was gone before it was hit."""


# -- what is there ---------------------------------------------------------------------------------


def content(path: Path) -> bytes:
    """Return a file, without what differs from run to run."""
    if path.name != "metrics.jsonl":
        return path.read_bytes()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return json.dumps([{k: v for k, v in r.items() if k != "timing"} for r in rows]).encode()


def files(directory: Path) -> dict[str, Path]:
    """Return the results that stand under their final names."""
    found = (p for p in (directory / "results").rglob("*") if p.is_file())
    named = {str(path.relative_to(directory)): path for path in found}
    return {n: p for n, p in named.items() if "/." not in n and "/state/" not in n}


def compare(directory: Path, base: Path) -> tuple[list[str], list[str]]:
    """Return the results that differ from those of the undisturbed run, and those that lack."""
    ours, theirs = files(directory), files(base)
    wrong = [n for n, p in ours.items() if n not in theirs or content(p) != content(theirs[n])]
    return sorted(wrong), sorted(set(theirs) - set(ours))


# -- one fault -------------------------------------------------------------------------------------


def start(fault: Fault, directory: Path, *options: str) -> Run:
    """Start the documented command for the stage of a fault."""
    target = STAGES[fault.stage].outputs[0]
    profile = fault.kind.endswith("-slurm")
    return launch(directory, *options, "--", target, profile=profile, steps=STEPS)


def process(fault: Fault, run: Run) -> int:
    """Wait for the process of the stage; return its number at the moment of the fault."""
    stage = STAGES[fault.stage]

    def alive() -> bool:
        if run.process.poll() is not None:
            raise MissedError(run.log[-3000:])
        return True

    if fault.stage in ("pretrain", "launcher"):
        until(lambda: alive() and checkpointed(run, int(fault.when)), "a checkpoint")
        number = max(run.processes(stage.word), default=0)
    else:
        number = max(
            until(lambda: alive() and run.processes(stage.word), f"a process {stage.word}")
        )
        time.sleep(fault.when)
    if not number or not Path(f"/proc/{number}").exists():
        raise MissedError(stage.word)
    return number


def kill(number: int) -> None:
    """Kill a process; it must still be there."""
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        raise MissedError(str(number)) from None


def hit_step(fault: Fault, run: Run) -> None:
    kill(process(fault, run))


def hit_driver(fault: Fault, run: Run) -> None:
    process(fault, run)
    run.process.kill()


def hit_cancel(fault: Fault, run: Run) -> None:
    process(fault, run)
    subprocess.run(["scancel", run.jobs[-1]], check=True)


def hit_limit(fault: Fault, run: Run) -> None:
    """Let the process sleep, so that its limit of one minute comes."""
    number = process(fault, run)
    os.kill(number, signal.SIGSTOP)


def hit_slurmd(fault: Fault, run: Run) -> None:
    """Kill the slurmd of the node of the job; it is started again a second later."""
    process(fault, run)
    (node,) = ask("squeue", "-h", "-j", run.jobs[-1], "-o", "%N")
    with NODES:
        (number,) = [n for n, name in lab.pids(lab.directory()).items() if name == f"slurmd.{node}"]
        kill(number)
        until(lambda: not Path(f"/proc/{number}").exists(), "the end of slurmd")
        time.sleep(1)
        lab.start_daemon(lab.directory(), "slurmd", "-N", node)
        until(lambda: f"slurmd.{node}" in lab.pids(lab.directory()).values(), "a new slurmd")


HITS: dict[str, Callable[[Fault, Run], None]] = {
    "step-local": hit_step,
    "driver-local": hit_driver,
    "step-slurm": hit_step,
    "driver-slurm": hit_driver,
    "slurmd-slurm": hit_slurmd,
    "limit-slurm": hit_limit,
    "cancel-slurm": hit_cancel,
}


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[Callable[[str], None]]:
    """Mount a tmpfs there; yield a function that sets its size."""

    def size(text: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={text}", str(directory)], check=True)

    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500m", "tmpfs", str(directory)], check=True)
    try:
        yield size
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def prepared(fault: Fault, base: Path, directory: Path) -> None:
    """Copy the undisturbed run and delete the outputs of the stage."""
    shutil.copytree(base, directory, symlinks=True, dirs_exist_ok=True)
    (directory / "driver.log").unlink(missing_ok=True)
    for pattern in STAGES[fault.stage].outputs:
        for path in directory.glob(pattern):
            if path.name != "run.json":
                path.unlink()


def recover(fault: Fault, run: Run) -> str:
    """Give the documented command until the run is whole; return what it took."""
    taken = []
    if fault.kind == "driver-slurm":
        (name,) = re.findall(r"^SLURM run ID: (\S+)$", run.log, re.MULTILINE)
        subprocess.run(["scancel", "--name", name], check=True)
        until(lambda: not ask("squeue", "-h", "--name", name), "no job is left", 60)
        taken.append("scancel --name")
    if fault.kind.startswith("driver"):
        locked = start(fault, run.directory)
        assert locked.end() != 0
        assert "cannot be locked" in locked.log
    for _ in range(2):
        if "cannot be locked" in run.log:
            launch(run.directory, "--unlock", profile=False, steps=STEPS).well()
            taken.append("--unlock")
        if start(fault, run.directory).end() == 0:
            return ", ".join([*taken, "the same command"])
    return "nothing helped"


def suffer(fault: Fault, base: Path, directory: Path) -> Outcome:
    """Run the stage, hit it, and give the documented command.

    Raises
    ------
    MissedError
        If the stage ended before it was hit.
    """
    started = time.monotonic()
    options = ["--set-resources", f"{fault.stage}:runtime=1"] if fault.kind == "limit-slurm" else []
    with small_disk(directory) if fault.kind == "disk-local" else contextlib.nullcontext() as size:
        prepared(fault, base, directory)
        if size:
            used = shutil.disk_usage(directory).used
            size(f"{used // 1024 + int(fault.when)}k")
        run = start(fault, directory, *options)
        if fault.kind != "disk-local":
            HITS[fault.kind](fault, run)
        if fault.kind.startswith("driver"):
            run.process.wait()
            wrong, _ = compare(directory, base)
            command = recover(fault, run)
        else:
            code = run.end()
            wrong, missing = compare(directory, base)
            command = "none: tried again by itself"
            if size:
                size("500m")
            if code or missing:
                command = recover(fault, run)
            elif size:
                raise MissedError("the disk was large enough")
        more, missing = compare(directory, base)
    return Outcome(
        **asdict(fault), command=command, wrong=sorted({*wrong, *more}), missing=missing,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def insist(fault: Fault, base: Path, parent: Path) -> Outcome:
    """Let a fault happen; where it came too late, again and earlier."""
    for attempt in range(4):
        sooner = Fault(fault.kind, fault.stage, fault.when / 2**attempt)
        directory = Path(tempfile.mkdtemp(dir=parent)) / "run"
        with contextlib.suppress(MissedError):
            return suffer(sooner, base, directory)
    raise AssertionError(f"{fault} comes too late every time")


# -- all of them -----------------------------------------------------------------------------------


def plan() -> list[Fault]:
    """Return the faults of the benchmark; the first ones of a kind are those of the tests."""
    seconds = {
        "reference": 0.5,
        "regions": 0.9,
        "motif_set": 0.7,
        "scan_motifs": 0.6,
        "shards": 0.8,
    }
    stages = [("regions", 0.9), ("shards", 0.8), ("motif_matrix", 0.5), ("pretrain", 10.0)]
    cpu = [(stage, factor * when) for factor in (1.0, 0.3) for stage, when in seconds.items()]
    hits = {
        "step-local": [*stages, ("launcher", 10), ("pretrain", 40), *cpu],
        "driver-local": [*stages, ("pretrain", 35), *cpu[3:8]],
        "disk-local": [
            ("shards", 16), ("regions", 48), ("motif_matrix", 8), ("pretrain", 64), ("shards", 96),
            ("scan_motifs", 24), ("reference", 100), ("pretrain", 300), ("regions", 8),
        ],
        "step-slurm": [*stages, ("pretrain", 40)],
        "driver-slurm": [*stages, ("pretrain", 40)],
        "slurmd-slurm": [*stages, ("pretrain", 5), ("pretrain", 15), ("pretrain", 30)],
        "limit-slurm": [*stages, ("pretrain", 30)],
        "cancel-slurm": [*stages, ("pretrain", 40), ("scan_motifs", 0.2)],
    }  # fmt: skip
    return [Fault(kind, stage, when) for kind, list_ in hits.items() for stage, when in list_]


def undisturbed(parent: Path) -> Path:
    """Make the run that all others are compared with."""
    directory = parent / "base"
    directory.mkdir()
    launch(directory, "--", WEIGHTS, profile=False, steps=STEPS).well()
    return directory


def run_all(faults: Sequence[Fault], base: Path, parent: Path, at_once: int) -> Iterator[Outcome]:
    """Yield the outcomes of faults."""
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda fault: insist(fault, base, parent), faults)


def report(outcomes: Sequence[Outcome]) -> bool:
    """Print the table of kinds and the measures; return whether one is short."""
    print(
        "| fault | faults | by itself | whole after the command | wrong files | seconds, median |"
    )
    print("|---|---|---|---|---|---|")
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        these = [outcome for outcome in outcomes if outcome.kind == kind]
        alone = sum(outcome.command.startswith("none") for outcome in these)
        whole = sum(not outcome.missing for outcome in these)
        median = sorted(outcome.seconds for outcome in these)[len(these) // 2]
        wrong = sum(len(outcome.wrong) for outcome in these)
        print(f"| {kind} | {len(these)} | {alone} | {whole} | {wrong} | {median:.0f} |")
    values = {
        "faults": len(outcomes),
        "faults_incomplete": sum(bool(outcome.missing) for outcome in outcomes),
        "faults_wrong_files": sum(len(outcome.wrong) for outcome in outcomes),
    }
    short = False
    for name, value in values.items():
        passed = value >= BARS[name] if name == "faults" else value <= BARS[name]
        short |= not passed
        print(f"RESULT {name} {value} {BARS[name]} {'pass' if passed else 'short'}")
    return short


def main() -> int:
    """Run the program; return the exit status."""
    kinds = list(dict.fromkeys(fault.kind for fault in plan()))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--out", type=Path, help="outcomes are appended here, one JSON a line")
    parser.add_argument("--report", type=Path, help="only print what such a file says")
    parser.add_argument("--base", type=Path, help="an undisturbed run of an earlier call")
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args()
    if options.report:
        lines = options.report.read_text().splitlines()
        return int(report([Outcome(**json.loads(line)) for line in lines]))
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        parent = Path(folder).resolve()
        base = options.base or undisturbed(parent)
        faults = [fault for fault in plan() if fault.kind in options.kind]
        slurm = any(fault.kind.endswith("-slurm") for fault in faults)
        if slurm:
            lab.start()
        try:
            for outcome in run_all(faults, base, parent, options.at_once):
                outcomes.append(outcome)
                line = json.dumps(asdict(outcome))
                print(line, flush=True)
                if options.out:
                    with options.out.open("a") as sink:
                        sink.write(line + "\n")
        finally:
            if slurm:
                lab.stop()
    return int(report(outcomes))


if __name__ == "__main__":
    sys.exit(main())
