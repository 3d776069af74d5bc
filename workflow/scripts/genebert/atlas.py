"""Read the peaks of all cell types of an atlas, in the coordinates of the genome.

Comes in: a table of peak files (rows of one cell type are its replicates) or one long table of
peaks, a chain file where the peaks are of another assembly, and the splits. Goes out:
:class:`Atlas`, one cell type at a time: read, lifted, replicates merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.liftover import MIN_RATIO, Chain, lift_peaks
from genebert.peaks import Peaks, read_atlas, read_peaks
from genebert.progress import Progress
from genebert.replicates import merge_replicates
from genebert.splits import Splits
from genebert.tables import check_unique, read_rows

# Columns that the stage ``regions`` itself gives to a cell type
RESERVED = ("held_out", "n_peaks", "n_open", "score_source", "nearest_training", "nearest_jaccard")
_NO_KEY = ("_index", ".", "..")  # names that a column of an .h5ad cannot have


@dataclass(frozen=True)
class AtlasSettings:
    """What of the block ``atlas`` of the configuration the reading needs.

    Attributes
    ----------
    format : for the record; whether files or one table are read follows from the inputs.
    min_replicates : number of replicates in which a peak must be found.
    chain_min_ratio : share of a peak's bases that a chain must align.
    """

    format: str = "table"
    min_replicates: int = 1
    chain_min_ratio: float = MIN_RATIO

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> AtlasSettings:
        """Build from a mapping; other keys of the block are of no concern here."""
        known = [f.name for f in fields(cls)]
        return cls(**{key: value for key, value in config.items() if key in known})


@dataclass(frozen=True)
class Atlas:
    """The cell types, in the order of their table (long tables: sorted by name).

    Attributes
    ----------
    names : C names.
    peaks : C :class:`Peaks`.
    files : where the peaks of each come from (the first replicate), for error messages.
    held_out : bool[C].
    extra : further columns of the table, as text; different texts of replicates, sorted and joined
        by commas.
    """

    names: list[str]
    peaks: list[Peaks]
    files: list[str]
    held_out: NDArray[np.bool_]
    extra: pd.DataFrame


def load_atlas(
    table: str,
    files: Sequence[str],
    contigs: Mapping[str, int],
    splits: Splits,
    max_unknown: float,
    *,
    settings: AtlasSettings | None = None,
    chain: str | None = None,
    seed: int = 0,
) -> Atlas:
    """Read the peaks of all cell types.

    Parameters
    ----------
    table : TSV with cell_type, peaks, format (further columns are kept); or, where ``files`` is
        empty, one long table of peaks, see :func:`genebert.peaks.read_atlas`.
    files : peak files in the order of the table.
    contigs : {contig: length} of the genome.
    max_unknown : see :func:`genebert.peaks.read_peaks`.
    chain : UCSC chain file from the assembly of the peaks to the genome.
    seed : draws the cell types that are held out by ``splits.held_out_share``.

    Raises
    ------
    InputError
        If a file is repeated within a cell type, a column has a reserved name, a held-out cell type
        is not in the table, all are held out, a cell type has too few replicates, no peak of one
        can be lifted or is found in enough replicates, or a peak file is wrong.
    """
    settings = settings or AtlasSettings()
    lift = None if chain is None else Chain.read(chain, contigs)
    source = contigs if lift is None else lift.source_contigs

    def lifted(peaks: Peaks, file: str) -> Peaks:
        if lift is None:
            return peaks
        peaks = lift_peaks(peaks, lift, min_ratio=settings.chain_min_ratio)
        if not len(peaks):
            raise InputError("no peak can be carried to the genome", file=file, expected=chain)
        return peaks

    if files:
        rows, groups = _grouped(table, files)
        extra = _extra(rows, groups, table)
        names, peaks = list(groups), []
        told = Progress("reading peaks", len(groups), "cell types")
        for name, members in groups.items():
            _check_replicates(name, members, settings.min_replicates, table)
            read = []
            for i in members:
                here = read_peaks(files[i], rows[i]["format"], source, max_unknown=max_unknown)
                read.append(lifted(here, files[i]))
            peaks.append(merge_replicates(read, settings.min_replicates, contigs))
            if not len(peaks[-1]):
                raise InputError(
                    f"no peak of cell type {name} is found in {settings.min_replicates} replicates",
                    file=table,
                    row=members[0] + 2,
                )
            told.at(len(peaks))
        first = [files[members[0]] for members in groups.values()]
    else:
        if settings.min_replicates > 1:
            raise InputError(
                "one long table holds no replicates",
                file="config atlas.min_replicates",
                found=settings.min_replicates,
                expected="1",
            )
        long = read_atlas(table, source, max_unknown=max_unknown)
        names, first = list(long), [table] * len(long)
        peaks = [lifted(long.pop(name), table) for name in names]
        extra = pd.DataFrame(index=range(len(names)))
    return Atlas(names, peaks, first, splits.held_out(names, seed, file=table), extra)


def _grouped(table: str, files: Sequence[str]) -> tuple[list[dict[str, str]], dict[str, list[int]]]:
    """Return the rows of the table of peak files and, by cell type, the numbers of its rows."""
    rows = read_rows(table, ["cell_type", "peaks", "format"], names=["cell_type"])
    check_unique(rows, ["cell_type", "peaks"], table)
    listed = [row["peaks"].removeprefix("resource:").rpartition("/")[2] for row in rows]
    if len(rows) != len(files) or any(
        "$" not in name and name != Path(file).name  # a variable is expanded in the plan alone
        for name, file in zip(listed, files, strict=True)
    ):
        raise ValueError(f"the peak files are not those of the rows of {table}, in order")
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row["cell_type"], []).append(i)
    return rows, groups


def extra_columns(header: Iterable[str], table: str) -> list[str]:
    """Return the columns that are kept as metadata; those without a name (a last tab) are not.

    Raises
    ------
    InputError
        If one has a name that ``accessibility.h5ad`` gives to a column of its own, or that no
        column of an ``.h5ad`` can have: it would be written, and could not be read.
    """
    columns = [name for name in header if name not in ("cell_type", "peaks", "format", "")]
    for column in columns:
        if column in (*RESERVED, *_NO_KEY) or "/" in column or "\0" in column:
            raise InputError(
                "name of the column is reserved",
                file=table,
                row=1,
                found=column,
                expected="another name, without '/' in it",
            )
    return columns


def _extra(
    rows: Sequence[Mapping[str, str]], groups: Mapping[str, Sequence[int]], table: str
) -> pd.DataFrame:
    """Return the further columns of the table, one row a cell type."""
    columns = extra_columns(rows[0], table)
    joined = [
        {name: ",".join(sorted({rows[i][name] for i in members})) for name in columns}
        for members in groups.values()
    ]
    return pd.DataFrame(joined, columns=columns, dtype=object, index=range(len(groups)))


def _check_replicates(name: str, members: Sequence[int], wanted: int, table: str) -> None:
    if len(members) < wanted:
        raise InputError(
            f"cell type {name} has too few replicates for atlas.min_replicates",
            file=table,
            row=members[0] + 2,
            found=len(members),
            expected=f"at least {wanted} rows",
        )
