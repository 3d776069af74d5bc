"""`snakemake check`: what would fail or disappoint later, in one line each, before a run begins.

In: the validated configuration and this machine. Out: findings, each ``ok``, ``warn`` or ``error``
with what to do, printed as they come. Nothing is downloaded or written; files that are not there
yet because the run would fetch them are named. Files are read by the readers that the run itself
uses, large ones in part; of a FASTA and a GTF, which the run reads as a whole, other readers here
take what the checks need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from genebert.checks import data, machine, use
from genebert.checks.finding import Finding
from genebert.errors import InputError
from genebert.layout import is_simulated
from genebert.progress import duration
from genebert.report_layout import is_smoke
from genebert.splits import Splits

VERSION = 1


def find(config: Mapping[str, Any], resources: list[Mapping[str, str]]) -> Iterator[Finding]:
    """Yield all findings, the data first.

    Parameters
    ----------
    config : the validated configuration.
    resources : rows of the manifest.
    """
    if is_simulated(config):
        yield Finding("ok", "data", "simulated: the run writes its own genome, peaks and labels")
        regions, known = data.simulated_regions(config), use.Known()
        try:
            known = _simulated(config)
        except InputError as error:
            yield Finding("error", "splits", str(error))
        yield from _training(config)
    else:
        found = data.Data(config, resources)
        yield from found.check()
        regions = found.n_regions
        known = use.Known(found.lengths, found.cell_types, found.held_out)
        yield from _training(config, found)
        if is_smoke(config):
            yield Finding(
                "warn", "effort", f"{config['effort']['pretrain_steps']} steps of pre-training, as "
                "in the smoke run of config.yaml: enough to try, not to learn",
                "set effort.pretrain_steps and pretrain.model.size (config/example.yaml)",
            )  # fmt: skip
    yield from use.check(config, known)
    yield from machine.check(config, resources, regions)


def _simulated(config: Mapping[str, Any]) -> use.Known:
    """Return what is known of a simulated genome and its cell types."""
    settings, splits = config["simulate"], Splits.from_config(config["splits"])
    cell_types = settings["cell_types"]
    held_out = splits.held_out(cell_types, config["seed"], file="config simulate.cell_types")
    return use.Known(
        dict.fromkeys(settings["contigs"], settings["contig_length"]),
        cell_types,
        [name for name, out in zip(cell_types, held_out, strict=True) if out],
    )


def _training(config: Mapping[str, Any], found: data.Data | None = None) -> Iterator[Finding]:
    """Yield what training would refuse, where there is torch: the check does without it."""
    try:
        training = import_module("genebert.checks.training")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        yield Finding(
            "warn", "pretrain", "rows, batches and neighbours are not looked at: no torch here",
            "check again without conda, where requirements.lock is installed",
        )  # fmt: skip
        return
    names, counts = ([], None) if found is None else (found.training, found.counts)
    yield from training.check(config, names, counts)


def check(
    *,
    config: Mapping[str, Any],
    resources: list[Mapping[str, str]],
    tell: Callable[[str], None] = print,
) -> None:
    """Print a line for every finding, then one for all.

    Parameters
    ----------
    config, resources : see :func:`find`.
    tell : called with every line.

    Raises
    ------
    InputError
        If there is an error among the findings.
    """
    began = time.monotonic()
    counts = {"ok": 0, "warn": 0, "error": 0}
    for finding in find(config, resources):
        counts[finding.level] += 1
        tell(str(finding))
    text = f"{counts['ok']} ok, {counts['warn']} to look at, {counts['error']} wrong"
    text += f" ({duration(time.monotonic() - began)})"
    if counts["error"]:
        raise InputError(f"this run would fail: {text}; mend the lines that begin with 'error'")
    tell(f"{text}: start it with the same command without 'check'")
