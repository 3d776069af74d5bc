"""Downstream datasets: labels in, one table of items with sequence, label and split out.

Every row of the config block ``datasets`` becomes one dataset through :func:`build_dataset`, which
hands its keyword arguments to the builder of the row's task. All builders take the same arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from genebert.errors import InputError, nearest

VERSION = 12

# (task, kind of the labels) -> module with a function ``build``
BUILDERS: Mapping[tuple[str, str], str] = {
    ("promoter", "epdnew"): "genebert.tasks.promoter",
    ("promoter", "tss"): "genebert.tasks.promoter",
    ("promoter", "gtf"): "genebert.tasks.promoter",
    ("tfbs", "narrowpeak"): "genebert.tasks.tfbs",
    ("splicing", "gtf"): "genebert.tasks.splicing",
    ("accessibility", "regions"): "genebert.tasks.accessibility",
    ("promoter", "sequences"): "genebert.tasks.ready_made",
    ("tfbs", "sequences"): "genebert.tasks.ready_made",
    ("splicing", "sequences"): "genebert.tasks.ready_made",
    ("disease", "variants"): "genebert.tasks.variants",
    ("disease", "cohort"): "genebert.tasks.cohort",
}


def build_dataset(*, row: Mapping[str, Any], **arguments: Any) -> None:
    """Build the dataset of one row of the config block ``datasets``.

    Parameters
    ----------
    row : the row: ``task``, ``name``, ``kind`` and the options of the task.
    arguments : passed on to the builder. Inputs: ``genome`` (bgzipped FASTA), ``index``,
        ``block_index``, ``contigs`` (contigs.tsv), ``regions`` (regions.tsv), ``accessibility``
        (h5ad), ``labels`` (main label file), ``extra``, ``blacklist``, ``truth``,
        ``phenotypes`` (lists of paths, maybe empty). Outputs: ``dataset``, ``description``,
        ``leaks`` (and ``cohort`` for a cohort). Parameters: ``splits``, ``seed``, ``max_items``.

    Raises
    ------
    InputError
        If no builder knows the row's task and kind.
    """
    import_module(BUILDERS[check_kind(row)]).build(row=row, **arguments)


def check_kind(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the task and the kind of a dataset's row; InputError if no builder knows the pair."""
    key = (str(row.get("task")), str(row.get("kind")))
    if key not in BUILDERS:
        known = [kind for task, kind in BUILDERS if task == key[0]]
        raise InputError(
            f"task {key[0]!r} cannot read labels of kind {key[1]!r}" + nearest(key[1], known),
            file=f"config datasets, {row.get('name')}",
            found=key[1],
            expected=", ".join(known or sorted({task for task, _ in BUILDERS})),
        )
    return key
