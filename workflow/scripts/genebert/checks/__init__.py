"""`snakemake check`: what would fail or disappoint later, in one line each, before a run begins.

In: the validated configuration and this machine. Out: findings, each ``ok``, ``warn`` or ``error``
with what to do, printed as they come. Nothing is downloaded or written; files that are not there
yet because the run would fetch them are named. Every file is read by the reader that the run itself
uses, so that what passes here is read there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from genebert.checks import data, machine, use
from genebert.checks.finding import Finding
from genebert.errors import InputError
from genebert.layout import is_simulated
from genebert.progress import duration
from genebert.report_layout import is_smoke

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
        regions, cell_types = data.simulated_regions(config), config["simulate"]["cell_types"]
    else:
        found = data.Data(config, resources)
        yield from found.check()
        regions, cell_types = found.n_regions, found.cell_types
        if is_smoke(config):
            yield Finding(
                "warn", "effort", f"{config['effort']['pretrain_steps']} steps of pre-training, as "
                "in the smoke run of config.yaml: enough to try, not to learn",
                "set effort.pretrain_steps and pretrain.model.size (config/example.yaml)",
            )  # fmt: skip
    yield from use.check(config, cell_types)
    yield from machine.check(config, resources, regions)


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
