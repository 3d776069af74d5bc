"""What SLURM adds to a run: the whole pipeline on the test cluster, and the same without it.

    python tests/benchmarks/cluster.py          (root, Debian: it installs and starts a SLURM)

Both run the small simulated genome of `tests/slurm/`, one after the other, on the same processors.
Prints a row per rule (seconds of its script, of its SLURM job) and lines `RESULT <name> <value>
<bar> pass|short`; exit status 1 if one is short.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import library  # noqa: F401

from slurm_runs import Run, accounts, lab, launch

BARS = {"overhead_seconds_per_job": 15.0}


def scripts(run: Run) -> list[float]:
    """Return the seconds of the scripts of a finished run that have a benchmark."""
    files = (run.directory / "benchmarks").rglob("*.jsonl")
    return [float(json.loads(file.read_text().splitlines()[-1])["s"]) for file in files]


def jobs(run: Run) -> dict[str, list[float]]:
    """Return rule -> seconds of its SLURM jobs."""
    rules = dict(re.findall(r"SLURM jobid (\d+) \(log: .*/rule_(\w+)/", run.log))
    found: dict[str, list[float]] = {}
    for job, seconds in accounts(run.jobs, "JobIDRaw", "ElapsedRaw"):
        found.setdefault(rules[job], []).append(float(seconds))
    return found


def main() -> int:
    """Print the measures; return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Run] = {}
        seconds = {}
        lab.start()
        try:
            for name in ("local", "slurm"):
                directory = Path(folder).resolve() / name
                directory.mkdir()
                started = time.monotonic()
                runs[name] = launch(directory, profile=name == "slurm").well(1800)
                seconds[name] = time.monotonic() - started
            times = jobs(runs["slurm"])
        finally:
            lab.stop()
        work = {name: mean(scripts(run)) for name, run in runs.items()}
    print("| rule | jobs | seconds of a SLURM job |\n|---|---|---|")
    for rule, these in sorted(times.items()):
        print(f"| {rule} | {len(these)} | {mean(these):.0f} |")
    elapsed = [second for these in times.values() for second in these]
    print(f"\n{len(elapsed)} SLURM jobs; the whole run took {seconds['slurm']:.0f} s, ", end="")
    print(f"without SLURM on two processors {seconds['local']:.0f} s")
    print(f"a script took {work['slurm']:.1f} s on the cluster, {work['local']:.1f} s without")
    values = {"overhead_seconds_per_job": mean(elapsed) - work["slurm"]}
    for name, value in values.items():
        print(
            f"RESULT {name} {value:.1f} {BARS[name]} {'pass' if value <= BARS[name] else 'short'}"
        )
    return int(any(value > BARS[name] for name, value in values.items()))


if __name__ == "__main__":
    sys.exit(main())
