"""What an atlas costs on a cluster, reckoned from measured rates: jobs, time, memory, GPUs, disk.

    python tests/benchmarks/cluster_plan.py                                    CATlas
    python tests/benchmarks/cluster_plan.py --configfile X.yaml --peaks N --regions N

A job never stands for one region or cell type. The jobs are those of a dry run of the configuration, so scatter counts are its own. The rates are
those of docs/benchmarks.md; a rule whose rate was not measured is listed with the time and memory
that it asks for. Prints Markdown, and a line `RESULT <name> <value> <bar> pass|short` per measure.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import library  # noqa: F401
import yaml

from genebert import layout
from genebert.config import check_config

ROOT = Path(__file__).resolve().parents[2]

BARS = {"plan_jobs": 500, "largest_scatter": 200}
GPUS_OF_A_NODE = 8


@dataclass(frozen=True)
class Rates:
    """Measured rates (docs/benchmarks.md): one core of an AMD EPYC, one H200."""

    regions_seconds: float = 14.0  # "A whole atlas": 18, 34, 57 s with 1.6, 8.2, 16.8 million peaks
    regions_seconds_per_peak: float = 2.56e-6
    regions_gb: float = 0.65  # 0.73, 1.06, 1.48 GB
    regions_gb_per_peak: float = 50e-9
    scanned_per_second: float = 20_000 / 4.9  # "Motif scanning": from files to a chunk
    scan_gb: float = 0.26
    matrix_seconds_per_region: float = 0.61 * 60 / 1.15e6
    matrix_gb: float = 0.64
    matrix_disk_per_region: float = (1.24 + 1.2) / 1.15e6  # GB, with its chunks
    shards_seconds_per_region: float = 31 / 1.15e6
    shards_gb: float = 1.35
    shards_disk_per_region: float = 2.8 / 1.15e6
    opening_seconds: float = 2.3 + 2.0 + 8.0
    opening_gb: float = 3.2
    tokens_per_second: float = 627_700  # all objectives; base model, rows of 512, 256 a step
    sequence_tokens_per_second: float = 688_900  # without SRM


@dataclass(frozen=True)
class Row:
    """A rule of the plan; hours, GPU-hours and memory are those of one job, disk of all."""

    rule: str
    jobs: int
    hours: float
    gb: float
    gpu_hours: float
    disk_gb: float
    basis: str


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration merged key by key, as `--configfile` does."""
    out = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = merged(out[key], value) if both else value
    return out


def read_config(path: Path) -> dict[str, Any]:
    """Return the checked configuration."""
    files = (ROOT / "config/config.yaml", path, ROOT / "workflow/schemas/config.schema.yaml")
    base, own, schema = (yaml.safe_load(file.read_text()) for file in files)
    return check_config(merged(base, own), schema)


def planned(path: Path) -> dict[str, int]:
    """Return rule -> number of jobs of a dry run in an empty directory."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "snakemake", "-n", "--configfile", str(path)]
        done = subprocess.run(
            [*command, "--directory", directory],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    text = done.stdout.rpartition("Job stats:")[2]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    return {name: n for name, n in jobs.items() if name not in ("all", "total")}


def asked(rules: Path) -> dict[str, tuple[float, float] | None]:
    """Return rule -> (hours, GB; nan by its input) that it asks for, or None for a local rule."""
    found: dict[str, tuple[float, float] | None] = {}
    for file in rules.glob("*.smk"):
        for block in re.split(r"^(?= *(?:rule|checkpoint) )", file.read_text(), flags=re.MULTILINE)[
            1:
        ]:
            name = block.split()[1].rstrip(":")
            memory = re.search(r"mem_mb=[^\d\n]*(\d+)", block)
            minutes = re.search(r"runtime=[^\d\n]*(\d+)", block)
            local = "localrule: True" in block
            found[name] = None if local else (
                int(minutes[1]) / 60 if minutes else 1.0, int(memory[1]) / 1000 if memory else math.nan
            )  # fmt: skip
    return found


def pretrain_hours(config: Mapping[str, Any], rates: Rates) -> list[float]:
    """Return the GPU-hours of every pre-training run, longest first."""
    hours = []
    for row in layout.variants(config):
        block = layout.pretrain_settings(config, row["name"])
        tokens = config["effort"]["pretrain_steps"] * block["batch_size"] * block["row_tokens"]
        plain = "srm" not in block["objectives"]
        speed = rates.sequence_tokens_per_second if plain else rates.tokens_per_second
        hours += len(layout.pretrain_seeds(config)) * [
            (tokens / speed + rates.opening_seconds) / 3600
        ]
    return sorted(hours, reverse=True)


def finetune_hours(config: Mapping[str, Any], rates: Rates) -> list[float]:
    """Return the GPU-hours, at most, of every fit of an encoder: all items of a full row."""
    effort = config["effort"]
    fits = (
        effort["pretrain_seeds"] * effort["finetune_seeds"]
        * len(effort["learning_rates"]) * len(effort["label_fractions"])
    )  # fmt: skip
    tokens = effort["finetune_steps"] * effort["finetune_batch"] * config["pretrain"]["row_tokens"]
    one = fits * tokens / rates.sequence_tokens_per_second / 3600
    models = [model for row in config["datasets"] for model in layout.models(config, row)]
    return [one for model in models if model.startswith(("genebert", "scratch"))]


def rows_of(
    config: Mapping[str, Any],
    jobs: Mapping[str, int],
    requests: Mapping[str, tuple[float, float] | None],
    *,
    peaks: float,
    regions: float,
    rates: Rates,
) -> list[Row]:
    """Return the rows of the plan, in the order of the dry run."""
    training, tuning = pretrain_hours(config, rates), finetune_hours(config, rates)
    chunk = regions / jobs["scan_motifs"]
    seconds_gb_disk = {
        "regions": (
            rates.regions_seconds + rates.regions_seconds_per_peak * peaks,
            rates.regions_gb + rates.regions_gb_per_peak * peaks, 0.0,
        ),
        "scan_motifs": (chunk / rates.scanned_per_second, rates.scan_gb, 0.0),
        "motif_matrix": (
            rates.matrix_seconds_per_region * regions, rates.matrix_gb,
            rates.matrix_disk_per_region * regions,
        ),
        "shards": (
            rates.shards_seconds_per_region * regions, rates.shards_gb,
            rates.shards_disk_per_region * regions,
        ),
    }  # fmt: skip
    rows = []
    for rule, count in jobs.items():
        request = requests[rule]
        if rule in seconds_gb_disk:
            seconds, gb, disk = seconds_gb_disk[rule]
            rows.append(Row(rule, count, seconds / 3600, gb, 0.0, disk, "measured"))
        elif rule == "pretrain":
            assert count == len(training)
            mean = sum(training) / count
            rows.append(Row(rule, count, mean, rates.opening_gb, mean, 0.0, "measured"))
        elif rule == "predict":
            assert request is not None
            mean = sum(tuning) / count
            rows.append(Row(rule, count, mean, request[1], mean, 0.0, "at most"))
        elif request is not None:
            rows.append(Row(rule, count, *request, 0.0, 0.0, "asked for"))
        else:
            rows.append(Row(rule, count, 0.0, 0.0, 0.0, 0.0, "local"))
    return rows


def makespan(hours: Sequence[float], machines: int) -> float:
    """Return when the last of some jobs ends, the longest being started first."""
    ends = [0.0] * machines
    for job in sorted(hours, reverse=True):
        ends[ends.index(min(ends))] += job
    return max(ends)


def wall_hours(
    config: Mapping[str, Any], rows: Sequence[Row], gpus: int, rates: Rates
) -> tuple[float, float]:
    """Return hours from regions to the last prediction: one GPU a training; a node's GPUs a training.

    The second supposes that a step is spread over the GPUs of a node without loss.
    """
    chain = ("regions", "scan_motifs", "motif_matrix", "shards")
    cpu = sum(row.hours for row in rows if row.rule in chain)
    tuning = makespan(finetune_hours(config, rates), gpus)
    training = pretrain_hours(config, rates)
    single = makespan(training, gpus)
    each = min(gpus, GPUS_OF_A_NODE)
    spread = makespan([hours / each for hours in training], max(1, gpus // each))
    return cpu + single + tuning, cpu + spread + tuning


def main() -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configfile", type=Path, default=ROOT / "config/catlas.yaml")
    parser.add_argument("--peaks", type=float, default=16.8e6)
    parser.add_argument("--regions", type=float, default=1.15e6)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    rates, config = Rates(), read_config(options.configfile)
    jobs = planned(options.configfile)
    sizes = {"peaks": options.peaks, "regions": options.regions}
    rows = rows_of(config, jobs, asked(ROOT / "rules"), **sizes, rates=rates)
    print("| rule | jobs | time of a job | GB | GPU-hours, all | disk, GB | |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        if row.basis != "local":
            minutes = row.hours * 60
            length = f"{minutes:.0f} min" if minutes >= 2 else f"{minutes * 60:.0f} s"
            gpu = f"{row.gpu_hours * row.jobs:.1f}" if row.gpu_hours else ""
            disk = f"{row.disk_gb:.1f}" if row.disk_gb else ""
            memory = "by rows" if math.isnan(row.gb) else f"{row.gb:.1f}"
            print(
                f"| {row.rule} | {row.jobs} | {length} | {memory} | {gpu} | {disk} | {row.basis} |"
            )
    local = sum(row.jobs for row in rows if row.basis == "local")
    print(
        f"\n{local} local jobs (downloads, tables, figures), {sum(jobs.values()) - local} of SLURM\n"
    )
    print(
        "| GPUs | hours, one GPU a training | hours, a node's GPUs a training (if without loss) |"
    )
    print("|---|---|---|")
    for gpus in options.gpus:
        single, spread = wall_hours(config, rows, gpus, rates)
        print(f"| {gpus} | {single:.1f} | {spread:.1f} |")
    total = sum(row.gpu_hours * row.jobs for row in rows)
    print(
        f"\n{total:.0f} GPU-hours, {sum(row.disk_gb for row in rows):.1f} GB beside the downloads\n"
    )
    values = {"plan_jobs": sum(jobs.values()), "largest_scatter": max(jobs.values())}
    for name, value in values.items():
        passed = value <= BARS[name]
        print(f"RESULT {name} {value} {BARS[name]} {'pass' if passed else 'short'}")
    return int(any(value > BARS[name] for name, value in values.items()))


if __name__ == "__main__":
    sys.exit(main())
