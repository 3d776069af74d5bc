"""What benchmarks take from a finished run: its settings of pre-training, and jobs on its datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import library  # noqa: F401

from genebert.items import Job


def settings(results: Path) -> dict[str, Any]:
    """Return the settings of the first pre-training run of `full`, with the index as found here."""
    run = json.loads((results / "pretrain/full/seed-1/run.json").read_text())
    return {**run, "index": str(results / "shards/index.json")}


def network_job(
    results: Path,
    dataset: str,
    effort: Mapping[str, Any],
    *,
    weights: Sequence[str] = (),
    pretrain: Mapping[str, Any] | None = None,
) -> Job:
    """Return the job of a network on a dataset TASK/NAME.

    Parameters
    ----------
    weights : ``model.safetensors`` of each pre-training seed; random twins without.
    pretrain : the block of the random twins' architecture; by default that of the run.
    """
    run = settings(results)
    return Job(
        model="genebert" if weights else "scratch",
        dataset=str(results / "tasks" / dataset / "dataset.parquet"),
        description=str(results / "tasks" / dataset / "dataset.json"),
        motif_set=str(results / "motifs/motif_set.json"),
        shards=run["index"],
        weights=list(weights),
        effort=dict(effort),
        pretrain=pretrain or run["variant"],
        seed=int(run["seed"]) // 1000,
        threads=1,
    )
