"""What a run costs: planning, the demo, memory, and whether two clean runs agree to the byte.

    .venv/bin/python tests/benchmarks/workflow.py            planning only
    .venv/bin/python tests/benchmarks/workflow.py --demo     the demo, twice, in two empty folders

Ends in a line `RESULT <name> <value> <bar> pass|short` per measure; exit status 1 if one is short.
Memory is the largest sum of resident sizes of all processes of the run, sampled every half second.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
BARS = {
    "plan_seconds": 5.0,
    "plan_500_seconds": 5.0,
    "demo_minutes": 6.0,
    "demo_gigabytes": 4.0,
    "different_results": 0,
}


def command(directory: Path, *arguments: str) -> list[str]:
    """Return the command line of a snakemake run in ``directory``."""
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    return [*program, "--directory", str(directory), *arguments]


def plan_seconds(**changes: object) -> float:
    """Return the median seconds of five dry runs of the default configuration, with changes."""
    seconds = []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory) / "changes.yaml"
            config.write_text(json.dumps(changes))
            started = time.monotonic()
            subprocess.run(
                command(Path(directory), "-n", "--quiet", "--configfile", str(config)),
                check=True,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            seconds.append(time.monotonic() - started)
    return sorted(seconds)[2]


def run_demo(directory: Path, cores: int) -> tuple[float, float]:
    """Run the demo in ``directory``; return (minutes, gigabytes)."""
    started, peak = time.monotonic(), 0
    child = subprocess.Popen(
        command(directory, "--cores", str(cores), "--quiet", "all"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=(directory / "stderr.txt").open("w"),
    )
    process = psutil.Process(child.pid)
    while child.poll() is None:
        total = 0
        for member in [process, *process.children(recursive=True)]:
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak = max(peak, total)
        time.sleep(0.5)
    if child.returncode:
        sys.exit((directory / "stderr.txt").read_text())
    return (time.monotonic() - started) / 60, peak / 2**30


def stage_seconds(directory: Path) -> list[tuple[float, int, str]]:
    """Return (seconds, jobs, stage) of every stage with a benchmark, longest first."""
    stages: dict[str, list[float]] = {}
    for path in (directory / "benchmarks").rglob("*.jsonl"):
        relative = path.relative_to(directory / "benchmarks")
        stage = relative.parts[0].removesuffix(".jsonl")
        if stage == "tasks":
            stage = f"tasks/{path.name.removesuffix('.jsonl').split('.', 1)[1]}"
        for line in path.read_text().splitlines():
            stages.setdefault(stage, []).append(float(json.loads(line)["s"]))
    return sorted(((sum(s), len(s), name) for name, s in stages.items()), reverse=True)


def differences(first: Path, second: Path) -> list[str]:
    """Return the result tables and datasets that are not equal to the byte."""
    names = sorted(
        path.relative_to(first)
        for pattern in (
            "results/*.tsv",
            "results/tasks/**/*.tsv",
            "results/pretrain/**/*.safetensors",
        )
        for path in first.glob(pattern)
        if path.name not in ("cost.tsv", "pretraining_cost.tsv")  # what a run took
    )
    return [str(n) for n in names if not filecmp.cmp(first / n, second / n, shallow=False)]


def main() -> int:
    """Print the measures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1))
    arguments = parser.parse_args()
    values: dict[str, float] = {
        "plan_seconds": plan_seconds(),
        "plan_500_seconds": plan_seconds(motifs={"chunks": 420}),  # 500 jobs and a few more
    }
    if arguments.demo:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            runs = [run_demo(Path(d), arguments.cores) for d in (one, two)]
            values["demo_minutes"] = min(minutes for minutes, _ in runs)
            values["demo_gigabytes"] = max(gigabytes for _, gigabytes in runs)
            for seconds, jobs, stage in stage_seconds(Path(one)):
                print(f"{stage:40s} {jobs:4d} jobs {seconds:8.1f} s")
            different = differences(Path(one), Path(two))
            print("\n".join(f"differs: {name}" for name in different))
            values["different_results"] = len(different)
    short = False
    for name, value in values.items():
        passed = value <= BARS[name]
        short |= not passed
        print(f"RESULT {name} {value:.2f} {BARS[name]} {'pass' if passed else 'short'}")
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
