"""What `snakemake check` says of the user's own files and of the model that is used on them.

In: the validated configuration and the cell types of the atlas. Out: findings. Nothing is said
where neither ``user_files`` nor another run's ``pretrained`` is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genebert.checks.finding import Finding
from genebert.errors import InputError, nearest
from genebert.hints import similar_file
from genebert.layout import source
from genebert.use import sources


def check(config: Mapping[str, Any], cell_types: Sequence[str]) -> Iterator[Finding]:
    """Yield what is wrong with the table, its files, their cell types and the encoders.

    Parameters
    ----------
    cell_types : of this run's atlas; empty if they are not known.
    """
    own = tuple(Path(config["pretrained"]).parts[:2]) == sources.OWN
    if config.get("user_files") or not own:
        try:
            yield Finding("ok", "model", sources.encoders(config))
        except InputError as error:
            yield Finding("error", "model", str(error))
    if not config.get("user_files"):
        return
    table = config["user_files"]
    try:
        rows = sources.user_files(config)
    except InputError as error:
        yield Finding("error", "yours", str(error))
        return
    wrong = 0
    for row in rows:
        for finding in _row(config, row, cell_types if own else ()):
            wrong += 1
            yield finding
    if not wrong:
        yield Finding("ok", "yours", f"{table}: {', '.join(row['name'] for row in rows)}")


def _row(
    config: Mapping[str, Any], row: Mapping[str, str], cell_types: Sequence[str]
) -> Iterator[Finding]:
    """Yield what is wrong with a row of the table."""
    name, path = row["name"], source(config, row["path"])
    if path == row["path"] and not Path(path).is_file():  # another is downloaded
        yield Finding("error", "yours", f"{name}: {path}: no such file{similar_file(path)}")
    for cell in sources.cell_types(row):
        if cell_types and cell not in cell_types:
            yield Finding(
                "error", "yours", f"{name}: {cell!r} is no cell type of the atlas"
                + nearest(cell, cell_types),
            )  # fmt: skip
    try:
        sources.fitted_of(config, row)
    except InputError as error:
        yield Finding("error", "yours", f"{name}: {error}")
