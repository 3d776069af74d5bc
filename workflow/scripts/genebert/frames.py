"""Read tables that this version of the library wrote, for figures and pages.

In: a TSV whose columns are known. Out: a data frame; a table of another version is an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from genebert.errors import InputError, reading
from genebert.job import as_list

TEXT = (
    "task",
    "dataset",
    "model",
    "pretraining",
    "stratum",
    "rival",
    "note",
    "flags",
    "variant",
    "objective",
)


def read_frame(
    path: str, columns: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return a table; ``NA`` is missing, columns of text (TEXT) are never numbers.

    Parameters
    ----------
    columns : all columns that the table must have, in order.
    only : the columns to return; all without it.

    Raises
    ------
    InputError
        If the table is missing or has other columns.
    """
    with reading(path, "cannot be read as a table"):
        header = pd.read_csv(path, sep="\t", nrows=0).columns
        if tuple(header) != tuple(columns):
            raise InputError("has other columns", file=path, row=1, found=" ".join(header))
        wanted = list(only or columns)
        text = {name: str for name in TEXT if name in wanted}
        table = pd.read_csv(
            path, sep="\t", na_values=["NA"], keep_default_na=False, usecols=wanted, dtype=text
        )
    return table.assign(**{name: table[name].fillna("") for name in text})


def read_frames(
    paths: Sequence[str] | str, columns: Sequence[str], only: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return several tables below each other (Snakemake gives a single path as a string)."""
    frames = [read_frame(path, columns, only) for path in as_list(paths)]
    full = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(full, ignore_index=True)


def by_dataset(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of every dataset under its title ``task: dataset``."""
    groups = table.groupby(["task", "dataset"], sort=False)
    return {f"{task}: {name}": part for (task, name), part in groups}
