"""Snakemake's own complaints about targets and files, in one line that says what to type instead.

In: the kind and the text of an exception as Snakemake logs it, and the targets that there are. Out:
the text to log instead. A :class:`logging.Filter`, so that nothing of Snakemake is changed: a text
that is not understood stays as it is.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable

from genebert import layout, report_layout
from genebert.errors import closest, nearest
from genebert.hints import similar_file
from genebert.use import sources

_NO_RULE = re.compile(r"No rule to produce (.+?) \(if you use input")
_INPUT_ERROR = re.compile(r"^\s*InputError: (.+)$", re.MULTILINE)
_AFFECTED = "affected files:"


def targets(config: layout.Config) -> list[str]:
    """Return the files that people ask for by name: tables, models, datasets, matrices."""
    files = ["metrics.tsv", "ablation.tsv", "comparisons.tsv", "chosen.tsv", "pretraining.tsv"]
    files += ["provenance.json"]
    files += ["reference/genome.fa.gz", "motifs/matrix.h5ad", "shards/index.json"]
    files += [f"regions/{name}" for name in ("regions.bed", "accessibility.h5ad", "qc.tsv")]
    return [
        *(f"results/{task}.tsv" for task in layout.tasks(config)),
        *(f"results/{name}" for name in files),
        *layout.interpretation(config),
        *layout.training_metrics(config),
        *layout.dataset_files(config, "table.tsv"),
        *layout.dataset_files(config, "dataset.parquet"),
        *layout.all_predictions(config, "predictions.parquet"),
        *report_layout.report_files(config),
        *sources.targets(config),
    ]


def target_hint(name: str, targets: Iterable[str]) -> str:
    """Return a hint for a target that does not exist: the nearest name, or nearest path.

    Parameters
    ----------
    targets : rules and files that can be asked for.
    """
    known = list(targets)
    base = os.path.basename(name).removesuffix(".tsv")
    names: dict[str, str] = {}
    for target in known:
        names.setdefault(os.path.basename(target).removesuffix(".tsv"), target)
    if base in names:  # the right name, elsewhere
        return f"; did you mean {names[base]!r}?"
    if name.endswith(".html") and "/" not in name:
        return f"; the report is made by --report {name}"
    if hint := nearest(name, known):
        return hint
    close = closest(base, names)
    return f"; did you mean {names[close]!r}?" if close else ""


def _affected(message: str) -> list[str]:
    """Return the files that a MissingInputException names, the first of several."""
    _, found, rest = message.partition(_AFFECTED)
    if not found:
        return []
    rest = rest.partition("MissingInputException")[0]  # two rules can make a cohort
    return [line.strip() for line in rest.splitlines() if line.strip()]


def explain(kind: str, message: str, targets: Callable[[], Iterable[str]]) -> str:
    """Return the text that is to be logged for an exception of Snakemake.

    Parameters
    ----------
    kind : name of the exception's class.
    message : as Snakemake formats it.
    targets : called for what can be asked for.
    """
    if kind == "MissingRuleException" and (match := _NO_RULE.search(message)):
        name = match[1].strip("'\"")
        if os.path.isabs(name) or name.startswith(".."):
            why = "targets are relative to the working directory (--directory)"
        else:
            why = "`snakemake --list` names the rules, README.md the tables"
        return f"error: there is no target {name!r}{target_hint(name, targets())} ({why})"
    if kind == "InputFunctionException" and (match := _INPUT_ERROR.search(message)):
        return f"error: {match[1]}"
    missing = kind == "MissingInputException" or "MissingInputException:" in message
    if missing and (files := _affected(message)):
        first = files[0]
        vcf = first.removesuffix(".tbi")
        if vcf != first and os.path.exists(vcf):
            hint = f"; the VCF has no index, make it with 'tabix -p vcf {vcf}' (or -C for .csi)"
        else:
            hint = similar_file(first)
        if not hint and not os.path.isabs(first):
            hint = f"; relative paths are seen from {os.getcwd()!r}"
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        return f"{message.rstrip()}\nerror: {first}: no such file{hint}{more}"
    return message


class Explain(logging.Filter):
    """Rewrites the records of Snakemake's logger that tell of an exception."""

    def __init__(self, targets: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self.targets = targets

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record where there is more to say; always keep it."""
        kind = getattr(record, "exception", None)
        if isinstance(kind, str) and isinstance(record.msg, str):
            record.msg = explain(kind, record.msg, self.targets)
        return True
