"""What is said at the end of a run: the tables and the cost, or what failed and how to go on.

In: the jobs as far as they matter here, and the command that was typed. Out: lines.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genebert.disk import size_text
from genebert.progress import duration

TABLE = re.compile(r"(?:.*/)?results/[^/]+\.tsv\Z")
TAIL = 5  # lines of a log
SHOWN = 3  # failed jobs


@dataclass(frozen=True)
class Job:
    """A job that ran.

    Attributes
    ----------
    rule : its name.
    wildcards : values by name.
    outputs : paths.
    log, benchmark : path, or an empty string.
    """

    rule: str
    wildcards: Mapping[str, str] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    log: str = ""
    benchmark: str = ""

    @classmethod
    def of(cls, job: Any) -> Job:
        """Return what matters of a job of Snakemake."""
        logs = list(job.log or ())
        return cls(
            job.rule.name,
            dict(job.wildcards_dict),
            [str(path) for path in job.output],
            str(logs[0]) if logs else "",
            str(job.benchmark or ""),
        )

    def __str__(self) -> str:
        """Return rule and wildcards: ``pretrain (variant=full, seed=1)``."""
        values = ", ".join(f"{key}={value}" for key, value in self.wildcards.items())
        return f"{self.rule} ({values})" if values else self.rule


def _measured(path: str) -> dict[str, float]:
    """Return the last line of a benchmark file (JSON); empty where it has none."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
        record = json.loads([line for line in lines if line.strip()][-1])
        return {key: float(record[key]) for key in ("s", "max_rss") if key in record}
    except (OSError, ValueError, IndexError, TypeError):
        return {}


def cost(jobs: Sequence[Job]) -> str:
    """Return the measured cost of jobs: time of the rules that took most, and the memory peak."""
    seconds: dict[str, float] = defaultdict(float)
    peak, hungriest = 0.0, ""
    for job in jobs:
        measured = _measured(job.benchmark) if job.benchmark else {}
        seconds[job.rule] += measured.get("s", 0.0)
        if measured.get("max_rss", 0.0) > peak:
            peak, hungriest = measured["max_rss"], job.rule
    longest = sorted((rule for rule in seconds if seconds[rule]), key=lambda r: -seconds[r])[:3]
    if not longest:
        return ""
    text = ", ".join(f"{rule} {duration(seconds[rule])}" for rule in longest)
    return f"Cost: {text}; most memory: {size_text(peak * 2**20)} ({hungriest})"


def finished(jobs: Sequence[Job], seconds: float, arguments: Sequence[str]) -> list[str]:
    """Return the lines after a run that went well.

    Parameters
    ----------
    jobs : those that ran.
    seconds : wall time.
    arguments : of the command ``snakemake``, as they were typed.
    """
    tables = sorted({path for job in jobs for path in job.outputs if TABLE.match(path)})
    lines = [f"Finished: {len(jobs)} jobs in {duration(seconds)}"]
    if measured := cost(jobs):
        lines.append(measured)
    if tables:
        lines.append("Tables: " + " ".join(tables))
        command = ["snakemake", "--report", "report.html", *arguments]
        lines.append("Report: " + shlex.join(command))
    return lines


def failed(jobs: Sequence[Job], arguments: Sequence[str]) -> list[str]:
    """Return the lines after a run in which jobs failed.

    Parameters
    ----------
    jobs : those that failed.
    arguments : of the command ``snakemake``, as they were typed.
    """
    lines = []
    for job in jobs[:SHOWN]:
        lines.append(f"Failed: {job}" + (f", log {job.log}" if job.log else ""))
        lines += [f"    {line}" for line in tail(job.log)]
    if len(jobs) > SHOWN:
        lines.append(f"and {len(jobs) - SHOWN} more")
    again = shlex.join(["snakemake", *arguments])
    lines.append(f"When it is mended, go on where it stopped: {again}")
    return lines


def tail(log: str) -> list[str]:
    """Return the last lines of a log that are not empty."""
    try:
        with open(log, "rb") as handle:
            handle.seek(max(0, os.path.getsize(log) - 8192))
            text = handle.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-TAIL:]
