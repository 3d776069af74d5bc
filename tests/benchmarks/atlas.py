"""What an atlas of 1.15 million regions x 222 cell types costs on 2 cores, step by step.

    .venv/bin/python tests/benchmarks/atlas.py                  full size (about 20 GB of disk)
    .venv/bin/python tests/benchmarks/atlas.py --scale 0.01     a trial, no bars
    .venv/bin/python tests/benchmarks/atlas.py --scale 0.01 --folder DIR --steps generate,regions
        writes the files only: genome, peaks/, peaks.tsv.gz, cell_types.tsv, then regions/

The atlas is synthetic (see ``synthetic_atlas.py``: 1.2 Gb in 24 contigs, gzipped narrowPeak files
and one gzipped long table, 17 million peaks). Every step runs in a process of its own, held to two
cores (samples: one). Seconds are wall time of the whole process, start of Python included; the time
to open the dataset is taken inside, and so is the rate of samples (in CPU time). Memory is the largest resident size that
the kernel saw (getrusage). CPU seconds stand beside, since others may use the machine.

Ends in a line ``RESULT <name> <value> <bar> pass|short`` a measure; exit status 1 if one is short.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(Path(__file__).resolve().parent)]

LOCI = 1_150_000
CELLS = 222
MOTIFS = 1000
SHARDS = 24
STEPS = ("generate", "regions", "long", "growth", "matrix", "shards", "open", "samples")
BARS = {  # measure: (bar, whether more is better)
    "regions_minutes": (10.0, False),
    "regions_gigabytes": (6.0, False),
    "regions_long_minutes": (10.0, False),
    "regions_long_gigabytes": (6.0, False),
    "regions_bytes_per_peak": (64.0, False),
    "shards_minutes": (5.0, False),
    "shards_gigabytes": (4.0, False),
    "open_seconds": (5.0, False),
    "million_tokens_per_second": (20.0, True),
}


@dataclass(frozen=True)
class Cost:
    """What one process took, and what it printed as JSON in its last line."""

    seconds: float
    cpu_seconds: float
    gigabytes: float
    said: dict[str, Any]


def step_regions(folder: Path, out: str, table: str, cells: int = 0) -> dict[str, Any]:
    """Run the stage regions; ``cells`` > 0 takes the first rows of the table only."""
    from synthetic_atlas import SyntheticAtlas

    from genebert.regions import build_regions

    atlas, target = SyntheticAtlas(folder), folder / out
    target.mkdir(exist_ok=True)
    files: list[str] = []
    if table == atlas.cell_types:
        lines = Path(table).read_text().splitlines()[: cells + 1 if cells else None]
        table = f"{target}/cell_types.tsv"
        Path(table).write_text("\n".join(lines) + "\n")
        files = [str(folder / line.split("\t")[1]) for line in lines[1:]]
    build_regions(
        cell_types=table,
        peaks=files,
        blacklist=atlas.blacklist,
        **atlas.reference,
        contigs=atlas.contigs,
        bed=f"{target}/regions.bed",
        table=f"{target}/regions.tsv",
        accessibility=f"{target}/accessibility.h5ad",
        occupied=f"{target}/occupied.bed.gz",
        qc=f"{target}/qc.tsv",
        splits=atlas.splits,
        settings={},
    )
    return count_regions(target)


def count_regions(folder: Path) -> dict[str, Any]:
    """Return the numbers of regions and of peaks of a run of the stage."""
    import pandas as pd

    qc = pd.read_csv(folder / "qc.tsv", sep="\t")
    regions = qc[qc["reason"].str.match("regions_(train|valid|test)$")]["count"].sum()
    read = qc[qc["reason"] == "read"]["count"].sum()
    return {"regions": int(regions), "peaks": int(read)}


def step_shards(folder: Path) -> dict[str, Any]:
    """Export the shards."""
    from synthetic_atlas import SyntheticAtlas

    from genebert.shard_export import export_shards

    atlas, target = SyntheticAtlas(folder), folder / "shards"
    target.mkdir(exist_ok=True)
    export_shards(
        table=f"{folder}/regions/regions.tsv",
        accessibility=f"{folder}/regions/accessibility.h5ad",
        matrix=atlas.matrix,
        **atlas.reference,
        shards=[f"{target}/regions-{i:05d}-of-{SHARDS:05d}.safetensors" for i in range(SHARDS)],
        cell_types=f"{target}/cell_types.safetensors",
        shard_index=f"{target}/index.json",
        settings={"count": SHARDS, "flank": 64},
        splits=atlas.splits,
        config_hash="benchmark",
    )
    size = sum(path.stat().st_size for path in target.iterdir())
    return {"gigabytes_on_disk": round(size / 1e9, 2)}


def step_open(folder: Path) -> dict[str, Any]:
    """Open the dataset, checksums included: the fastest of three; imports are not counted."""
    from genebert.shards import Shards

    seconds, cpu = [], []
    for _ in range(3):
        started = time.monotonic(), time.process_time()
        shards = Shards.open(f"{folder}/shards/index.json")
        seconds.append(time.monotonic() - started[0])
        cpu.append(time.process_time() - started[1])
        regions = len(shards.start)
        del shards
    return {"open_seconds": min(seconds), "open_cpu_seconds": min(cpu), "regions": regions}


def step_samples(folder: Path) -> dict[str, Any]:
    """Draw random samples: tokens and T x R matrices on one core."""
    from sample_rate import tokens_per_second

    rate = tokens_per_second(f"{folder}/shards/index.json")
    return {"million_tokens_per_second": rate / 1e6}


def step_generate(folder: Path, scale: float) -> dict[str, Any]:
    """Write genome, peaks and tables."""
    from synthetic_atlas import make_atlas

    make_atlas(folder, loci=max(500, int(LOCI * scale)), cells=CELLS)
    return {}


def step_matrix(folder: Path) -> dict[str, Any]:
    """Write the motif matrix of the regions."""
    from synthetic_atlas import SyntheticAtlas, make_matrix

    make_matrix(SyntheticAtlas(folder), f"{folder}/regions/regions.tsv", motifs=MOTIFS)
    return {}


def run_step(name: str, folder: Path, scale: float) -> dict[str, Any]:
    """Run one step in this process; ``regions:22`` takes 22 cell types."""
    from synthetic_atlas import SyntheticAtlas

    atlas = SyntheticAtlas(folder)
    if name == "regions":
        return step_regions(folder, "regions", atlas.cell_types)
    if name == "long":
        return step_regions(folder, "regions-long", atlas.long)
    if name.startswith("regions:"):
        cells = int(name.split(":")[1])
        return step_regions(folder, f"regions-{cells}", atlas.cell_types, cells)
    if name == "generate":
        return step_generate(folder, scale)
    return globals()[f"step_{name}"](folder)


def measure(name: str, folder: Path, scale: float, cores: int = 2) -> Cost:
    """Run one step in a child that is held to ``cores`` cores."""
    command = [sys.executable, str(Path(__file__).resolve()), "--step", name]
    command += ["--folder", str(folder), "--scale", str(scale), "--cores", str(cores)]
    environment = os.environ | {"OMP_NUM_THREADS": str(cores)}
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert child.stdout is not None
    lines = child.stdout.read().splitlines()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"step {name} failed")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    cost = Cost(
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * unit / 1e9,
        json.loads(lines[-1]),
    )
    said = ", ".join(f"{k} {v:,.4g}" if v < 1e4 else f"{k} {v:,}" for k, v in cost.said.items())
    print(
        f"{name:14} {cost.seconds:8.1f} s {cost.cpu_seconds:8.1f} s CPU {cost.gigabytes:6.2f} GB  "
        f"{said}",
        flush=True,
    )
    return cost


def run(folder: Path, scale: float, steps: list[str]) -> dict[str, float]:
    """Run the steps in order and return the measures."""
    found: dict[str, float] = {}
    costs: dict[str, Cost] = {}
    print(f"{'step':14} {'wall':>10} {'':12} {'memory':>11}")
    for step in (step for step in STEPS if step in steps):
        if step == "growth":
            few, half = (measure(f"regions:{n}", folder, scale) for n in (22, CELLS // 2))
            whole = costs.get("regions") or measure(f"regions:{CELLS}", folder, scale)
            # Few cell types have fewer regions too, hence the slope between a half and all of them.
            more = whole.said["peaks"] - half.said["peaks"]
            grown = whole.gigabytes - half.gigabytes
            found["regions_bytes_per_peak"] = grown * 1e9 / more
            print(f"22 -> {CELLS} cell types: {whole.gigabytes - few.gigabytes:+.2f} GB")
            continue
        cost = costs[step] = measure(step, folder, scale, cores=1 if step == "samples" else 2)
        prefix = {"regions": "regions", "long": "regions_long", "shards": "shards"}.get(step)
        if prefix:
            found[f"{prefix}_minutes"] = cost.seconds / 60
            found[f"{prefix}_gigabytes"] = cost.gigabytes
        found |= {name: value for name, value in cost.said.items() if name in BARS}
    return found


def main() -> int:
    """Measure, print the table and the results; return 1 if a measure is short of its bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the 1.15 million loci")
    parser.add_argument(
        "--folder", type=Path, help="keep the files here (default: a temporary one)"
    )
    parser.add_argument("--steps", default=",".join(STEPS), help="which steps, joined by commas")
    parser.add_argument("--step", help=argparse.SUPPRESS)  # one step, in this process
    parser.add_argument("--cores", type=int, default=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        print(json.dumps(run_step(options.step, options.folder, options.scale)))
        return 0
    steps = options.steps.split(",")
    if unknown := set(steps) - set(STEPS):
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="genebert-atlas-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = run(folder, options.scale, steps)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    short = False
    for name, (bar, more) in BARS.items():
        if name in found:
            good = found[name] >= bar if more else found[name] <= bar
            if options.scale < 1:
                print(f"trial {name} {found[name]:.2f}")
                continue
            short |= not good
            print(f"RESULT {name} {found[name]:.2f} {bar:g} {'pass' if good else 'short'}")
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
