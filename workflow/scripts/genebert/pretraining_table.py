"""The table of pre-training: what every run knows of held-out data, beside its references.

In: `metrics.jsonl` of all runs. Out: ``pretraining.tsv``, one row per figure of
:mod:`genebert.run_figures`, and flags where a control or a probe is not where it should be.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from genebert.errors import reading
from genebert.evaluate import write_table

VERSION = 3

COLUMNS = (
    *("variant", "seed", "split", "objective", "stratum", "metric"),
    *("value", "low", "high", "reference", "n", "flags"),
)
UNIMODAL = 0.55  # AUROC of a probe of one modality above which the sampler leaves a shortcut
_OF_ONE_MODALITY = ("auroc_p0", "auroc_sequence", "auroc_matrix")


def pretraining_table(*, metrics: Sequence[str], table: str, controls: Collection[str]) -> None:
    """Gather the figures of all runs.

    Parameters
    ----------
    metrics : ``.../{variant}/seed-{seed}/metrics.jsonl``.
    controls : variants whose matrices say nothing about the anchor (shuffled): their SRM must fall
        to P0.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for path in metrics:
        variant, seed = Path(path).parent.parent.name, Path(path).parent.name
        for figure in _figures(path):
            row = {"variant": variant, "seed": int(seed.removeprefix("seed-")), **figure}
            rows.append({**row, "split": row.pop("set"), "flags": _flags(row, controls)})
    # sorted() keeps the order of a run's figures within (split, variant, seed)
    rows = sorted(rows, key=lambda row: (row["split"] != "valid", row["variant"], row["seed"]))
    write_table(table, COLUMNS, rows)


def _figures(path: str) -> list[dict[str, Any]]:
    with reading(path, "is no training log"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
    return [record for record in records if record.get("kind") == "figure"]


def _flags(row: dict[str, Any], controls: Collection[str]) -> str:
    """Return what is wrong with a figure, comma-separated, or NA.

    ``control_above_probe``: SRM of a control exceeds P0 (its interval excludes 0): a defect.
    ``unimodal_probe``: one modality alone, or P0, tells matches from others, above UNIMODAL: SRM is
    to be read as the excess over that probe (``auroc_minus_matrix``, ``auroc_minus_p0``).
    ``no_interval``: too few loci.
    """
    low = row["low"]
    flags = []
    if low is None and row["n"]:
        flags.append("no_interval")
    if row["variant"] in controls and row["metric"] == "auroc_minus_p0" and (low or 0.0) > 0:
        flags.append("control_above_probe")
    if row["metric"] in _OF_ONE_MODALITY and row["value"] > UNIMODAL:
        flags.append("unimodal_probe")
    return ",".join(flags) or "NA"
