"""What a run cost: time, memory and GPU-hours of every stage, throughput of every pre-training run.

In: what Snakemake measured of every job (``benchmarks/``) and the logs of pre-training. Out: a
table, a page and the picture of the stages. Jobs that are measured are those with a ``benchmark``;
the others are small and run where Snakemake runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genebert import html
from genebert.errors import InputError, reading
from genebert.evaluate import write_table
from genebert.stages import STAGES, draw_stages, stage_of

VERSION = 1

log = logging.getLogger("genebert")

STAGE_COLUMNS = (
    "stage", "jobs", "hours", "longest_minutes", "longest_job", "cpu_hours", "max_memory_gb",
    "gpu_hours",
)  # fmt: skip
RUN_COLUMNS = (
    "variant", "seed", "steps", "hours", "tokens", "tokens_per_second", "tflops", "mfu",
    "data_wait_fraction", "memory_gb", "gpu_hours",
)  # fmt: skip
_MB = 1024**2


@dataclass(frozen=True)
class Job:
    """What was measured of a job: seconds, CPU seconds, bytes of memory and GPUs it had."""

    name: str
    stage: str
    seconds: float
    cpu_seconds: float
    memory: float
    gpus: float


def cost(
    *,
    done: Sequence[str],
    metrics: Sequence[str],
    index: str,
    table: str,
    runs: str,
    page: str,
    stages: str,
    benchmarks: str,
    plan: Mapping[str, str],
    caption: str,
) -> None:
    """Write the cost of a run and draw its stages.

    Parameters
    ----------
    done : inputs that are not read: the cost is counted when they are made.
    metrics : inputs, logs of pre-training.
    index : input, ``index.json`` of the shards.
    table, runs : outputs, TSV by stage (STAGE_COLUMNS) and by pre-training run (RUN_COLUMNS).
    page : output, both as HTML.
    stages : output, the figure.
    benchmarks : directory of Snakemake's measurements; it may be missing.
    plan : what the stages worked on as far as the configuration tells, by stage; a stage of which
        nothing is known did not take part.
    caption : above the tables.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    jobs = read_jobs(benchmarks)
    if not jobs:
        log.warning("no benchmarks in %s: nothing is known of time and memory", benchmarks)
    rows = stage_rows(jobs)
    trained = [run_row(path) for path in metrics]
    write_table(table, STAGE_COLUMNS, rows)
    write_table(runs, RUN_COLUMNS, trained)
    draw_stages(stage_notes(rows, plan, index), stages)
    names = (("cost", STAGE_COLUMNS, table), ("pretraining_cost", RUN_COLUMNS, runs))
    parts = [_table(name, columns, path) for name, columns, path in names]
    content = html.document(
        "Cost of this run", html.paragraph(caption), html.section("Stages"), parts[0],
        html.section("Pre-training runs"), parts[1],
    )  # fmt: skip
    Path(page).write_text(content, encoding="utf-8")


def stage_notes(
    rows: Sequence[Mapping[str, Any]], plan: Mapping[str, str], index: str
) -> dict[str, str]:
    """Return, of every stage that took part, what it worked on and the hours that its jobs took.

    Raises
    ------
    InputError
        If the index cannot be read.
    """
    with reading(index, "is no index of shards", KeyError, TypeError):
        counts = json.loads(Path(index).read_text(encoding="utf-8"))["counts"]
        found = {name: f"{counts[name]:,}" for name in ("cell_types", "regions", "motifs")}
    numbers = {
        "regions": f"{found['regions']} regions",
        "motifs": f"{found['motifs']} motifs",
        "shards": f"{found['regions']} regions",
        "checks": f"{found['cell_types']} cell types",
        **plan,
    }
    hours = {row["stage"]: _duration(row["hours"]) for row in rows}
    return {
        name: "\n".join(filter(None, [text, hours.get(name)])) for name, text in numbers.items()
    }


def read_jobs(directory: str | Path) -> list[Job]:
    """Return every job that Snakemake measured (its last attempt), sorted by file.

    Raises
    ------
    InputError
        If a file has a line that is no JSON object with the key ``s``.
    """
    root = Path(directory)
    out = []
    for path in sorted(root.rglob("*.jsonl")):
        name = path.relative_to(root).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                record = json.loads(line)
                seconds = float(record["s"])
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    "no measurement of a job", file=path, row=number, found=line[:40],
                    expected="a JSON object with the key s",
                ) from None  # fmt: skip
            resources = record.get("resources") or {}
            out.append(
                Job(
                    name.removesuffix(".jsonl"), stage_of(name), seconds,
                    _number(record.get("cpu_time")), _number(record.get("max_rss")) * _MB,
                    _number(resources.get("gpu")),
                )
            )  # fmt: skip
    return out


def _number(value: Any) -> float:
    """Return a number; 0 where Snakemake wrote NA (the job was too short to be looked at)."""
    return float(value) if isinstance(value, int | float) else 0.0


def stage_rows(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return a row of the table for every stage with jobs, in the order of the pipeline, and all.

    GPU-hours are those that jobs had a GPU for, NA where none had.
    """
    order = [*(stage.name for stage in STAGES), "other"]
    rows = []
    for name in [*order, "all"]:
        own = [job for job in jobs if name in (job.stage, "all")]
        if not own:
            continue
        longest = max(own, key=lambda job: job.seconds)
        gpu = sum(job.gpus * job.seconds for job in own) / 3600
        rows.append(
            {
                "stage": name,
                "jobs": len(own),
                "hours": sum(job.seconds for job in own) / 3600,
                "longest_minutes": longest.seconds / 60,
                "longest_job": longest.name,
                "cpu_hours": sum(job.cpu_seconds for job in own) / 3600,
                "max_memory_gb": max(job.memory for job in own) / 1e9,
                "gpu_hours": gpu or None,
            }
        )
    return rows


def run_row(path: str) -> dict[str, Any]:
    """Return the row of a pre-training run from its log; time is that of steps alone.

    The log holds all laps of the run, those before an interruption too.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    with reading(path, "is no training log", KeyError, AttributeError):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line.strip()]
        laps = [(r["step"], r["timing"]) for r in records if r.get("kind") == "train"]
    variant, seed = Path(path).parent.parent.name, Path(path).parent.name
    row: dict[str, Any] = {"variant": variant, "seed": seed.removeprefix("seed-")}
    seconds = sum(lap["seconds"] for _, lap in laps)
    if not seconds:
        return row

    def mean(name: str) -> float | None:
        known = [(lap[name], lap["seconds"]) for _, lap in laps if name in lap]
        return sum(v * s for v, s in known) / sum(s for _, s in known) if known else None

    rate = mean("tokens_per_second") or 0.0
    gpus = sum(lap.get("gpus", 0) * lap["seconds"] for _, lap in laps) / 3600
    return row | {
        "steps": max(step for step, _ in laps),
        "hours": seconds / 3600,
        "tokens": round(rate * seconds),
        "tokens_per_second": round(rate),
        "tflops": mean("tflops"),
        "mfu": mean("mfu"),
        "data_wait_fraction": mean("data_wait_fraction"),
        "memory_gb": max(lap.get("memory_gb", 0.0) for _, lap in laps) or None,
        "gpu_hours": gpus or None,
    }


def _duration(hours: float) -> str:
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _table(name: str, columns: Sequence[str], path: str) -> str:
    text = Path(path).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return html.table(columns, rows, file=f"{name}.tsv", tsv=text)
