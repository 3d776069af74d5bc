"""Turn the formats of published atlases and of single-cell tools into one long table of peaks.

Comes in: the table of top sites of Descartes (GEO GSE149683, File_S4), a Matrix Market file of
peaks x cell types as CATlas gives, or an ``.h5ad`` file of cells x peaks. Goes out: the long table
that :func:`genebert.peaks.read_atlas` reads, sorted by cell type and place, and a table that says
what became of every cell type.

Coordinates are taken as they stand; whether they fit the genome is checked where the long table is
read.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from genebert.atlas_formats import CellType, Source, read_axes, read_descartes, read_matrix
from genebert.errors import InputError, nearest
from genebert.job import as_list
from genebert.progress import Progress
from genebert.tables import safe_name

VERSION = 1
log = logging.getLogger("genebert")

COLUMNS = ("cell_type", "label", "cells", "open_peaks", "dropped_peaks", "kept")
GZIP_LEVEL = 4  # of 9: twice as fast as the default, the file 10 % larger


def read_h5ad(path: str, settings: Mapping[str, Any]) -> Source:
    """Read cells x peaks; see :func:`genebert.pseudobulk.read_pseudobulk`.

    The score of a peak is the share of the cells of the cell type in which it was seen.
    """
    from genebert.pseudobulk import PseudobulkSettings, read_pseudobulk  # anndata is slow to import

    options = PseudobulkSettings.from_config(settings)
    bulk = read_pseudobulk(path, options)
    seen = iter(bulk.seen)
    cell_types = []
    for label, cells, kept in zip(bulk.labels, bulk.cells.tolist(), bulk.kept, strict=True):
        count = next(seen) if kept else np.zeros(0, dtype=np.uint32)
        here = np.flatnonzero(count >= options.needed(cells))
        cell_types.append(
            CellType(label, here, count[here] / cells, cells, int((count > 0).sum()) - len(here))
        )
    return bulk.peaks, cell_types


def safe_names(labels: Sequence[str], file: str) -> list[str]:
    """Return labels as they can stand in file names, see :func:`genebert.tables.safe_name`.

    Raises
    ------
    InputError
        If no name can be made of a label or two labels become the same.
    """
    names: dict[str, str] = {}
    for label in labels:
        name = safe_name(label, file=file)
        if name in names:
            raise InputError(
                f"cell types {names[name]!r} and {label!r} have the same name in file names",
                file=file,
            )
        names[name] = label
    return list(names)


@dataclass(frozen=True)
class Outline:
    """What a source says of its peaks and cell types, before its matrix is read.

    Attributes
    ----------
    peaks : contig, start, end.
    labels : {name for file names: label in the source}.
    cells : {name: number of cells}; empty where the source has no cells.
    left_out : names without a row in the long table.
    """

    peaks: pd.DataFrame
    labels: dict[str, str]
    cells: dict[str, int]
    left_out: list[str]


def outline(source: str, files: Sequence[str], settings: Mapping[str, Any]) -> Outline:
    """Look at the source of an atlas without turning it into a table.

    Parameters
    ----------
    source, files, settings : as for :func:`convert`.

    Raises
    ------
    InputError
        As :func:`convert`, but for what is wrong within a matrix.
    """
    if settings["format"] == "h5ad":
        from genebert.pseudobulk import PseudobulkSettings, read_annotation

        found = read_annotation(source, PseudobulkSettings.from_config(settings))
        names = safe_names(found.labels, source)
        return Outline(
            found.peaks,
            dict(zip(names, found.labels, strict=True)),
            dict(zip(names, found.cells.tolist(), strict=True)),
            [name for name, kept in zip(names, found.kept, strict=True) if not kept],
        )
    if settings["format"] == "mtx":
        peaks, labels = read_axes(source, *files)
        return Outline(peaks, dict(zip(safe_names(labels, source), labels, strict=True)), {}, [])
    peaks, cell_types = read_descartes(source)
    names = safe_names([cell_type.label for cell_type in cell_types], source)
    by_name = dict(zip(names, cell_types, strict=True))
    empty = [name for name, cell_type in by_name.items() if not len(cell_type.peaks)]
    return Outline(peaks, {name: c.label for name, c in by_name.items()}, {}, empty)


def write_long(path: str, peaks: pd.DataFrame, cell_types: Mapping[str, CellType]) -> None:
    """Write the long table, gzipped: contig, start, end, cell_type and, if known, score.

    Sorted by cell type and, within it, by contig, start and end.
    """
    order = np.lexsort((peaks["end"], peaks["start"], peaks["contig"].to_numpy(dtype=str)))
    rank = np.empty(len(peaks), dtype=np.int64)
    rank[order] = np.arange(len(peaks))
    text = [
        f"{contig}\t{start}\t{end}\t"
        for contig, start, end in zip(peaks["contig"], peaks["start"], peaks["end"], strict=True)
    ]
    scored = any(cell_type.score is not None for cell_type in cell_types.values())
    told = Progress("writing peaks", len(cell_types), "cell types")
    # No name and no time in the file: equal input gives equal bytes.
    with (
        open(path, "wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=GZIP_LEVEL, fileobj=raw, mtime=0) as out,
    ):
        out.write(("contig\tstart\tend\tcell_type" + "\tscore" * scored + "\n").encode())
        for number, (name, cell_type) in enumerate(sorted(cell_types.items())):
            told.at(number)
            by_place = np.argsort(rank[cell_type.peaks])
            here = cell_type.peaks[by_place].tolist()
            if cell_type.score is None:
                lines = [f"{text[i]}{name}\n" for i in here]
            else:
                values, which = np.unique(cell_type.score[by_place], return_inverse=True)
                ends = [f"{name}\t{value:.6g}\n" for value in values.tolist()]
                lines = [text[i] + ends[k] for i, k in zip(here, which.tolist(), strict=True)]
            out.write("".join(lines).encode())


def convert(
    *,
    source: str,
    files: str | Sequence[str],
    peaks: str,
    cell_types: str,
    settings: Mapping[str, Any],
) -> None:
    """Convert an atlas to the long table of peaks.

    Parameters
    ----------
    source : input, the table of Descartes, the ``.h5ad`` file or the Matrix Market file.
    files : inputs, for ``mtx`` the BED file of the peaks and the names of the cell types.
    peaks : output, contig, start, end, cell_type and, if known, score; TSV, gzipped.
    cell_types : output, TSV with the columns ``COLUMNS``, a row for every cell type of the
        source; kept is 0 where it has too few cells or no open peak.
    settings : the block ``atlas`` of the configuration; ``format`` is descartes, h5ad or mtx.

    Raises
    ------
    InputError
        See the reader of each format; also if the format is another one, or no peak is left.
    """
    others = as_list(files)
    readers: dict[str, Callable[[], Source]] = {
        "descartes": lambda: read_descartes(source),
        "h5ad": lambda: read_h5ad(source, settings),
        "mtx": lambda: read_matrix(source, others[0], others[1]),
    }
    name = str(settings.get("format"))
    if name not in readers:
        raise InputError(
            f"format cannot be converted{nearest(name, readers)}",
            file="config atlas.format",
            found=name,
            expected=", ".join(readers),
        )
    if name == "mtx" and len(others) != 2:
        raise InputError(
            "the BED file of the peaks and the names of the cell types are needed",
            file="config atlas",
            found=f"{len(others)} files",
            expected="keys peaks and names",
        )
    places, found = readers[name]()
    by_name = dict(zip(safe_names([c.label for c in found], source), found, strict=True))
    kept = {key: cell_type for key, cell_type in by_name.items() if len(cell_type.peaks)}
    if not kept:
        raise InputError("no cell type has an open peak", file=source)
    for key in sorted(by_name.keys() - kept.keys()):
        log.warning("%s is left out: too few cells or no open peak", key)
    write_long(peaks, places, kept)
    rows = [
        (key, c.label, "NA" if c.cells is None else c.cells, len(c.peaks), c.dropped, key in kept)
        for key, c in sorted(by_name.items())
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"kept": int})
    table.to_csv(cell_types, sep="\t", index=False)
    log.info(
        "%d cell types of %d, %d peaks, %d open pairs",
        len(kept),
        len(by_name),
        len(places),
        table["open_peaks"].sum(),
    )
