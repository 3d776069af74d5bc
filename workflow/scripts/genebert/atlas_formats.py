"""Read published atlases: the table of Descartes, and peaks x cell types as CATlas gives them.

Comes in: text files, plain or gzipped. Goes out: a table of the peaks and the :class:`CellType` of
each column or name, as :mod:`genebert.atlas_tables` writes them. The files are read line by line;
what is kept is 4 to 16 bytes per open peak.
"""

from __future__ import annotations

import logging
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError, nearest
from genebert.lines import numbered_lines, text_lines
from genebert.peak_lines import Fields, read_columns
from genebert.tables import check_header

log = logging.getLogger("genebert")

# Names of a column of scores in a table of sites, of which the larger is the more open. The
# columns of the table of Descartes are known in part only; without one of these it has no scores.
SCORES = ("specificity_score", "score")
_KEEP = {"FALSE": True, "F": True, "0": True, "TRUE": False, "T": False, "1": False}
_MATRIX_HEADER = "%%MatrixMarket matrix coordinate pattern|integer|real general"


@dataclass(frozen=True)
class CellType:
    """The open peaks of one cell type.

    Attributes
    ----------
    label : the name as the source writes it.
    peaks : int[N], indices into the table of peaks, without repeats.
    score : float[N], or None where the source gives none.
    cells : number of cells, or None where the source has no cells.
    dropped : peaks that the source lists for the cell type but that do not count as open.
    """

    label: str
    peaks: NDArray[Any]
    score: NDArray[np.float64] | None = None
    cells: int | None = None
    dropped: int = 0


# The peaks (contig, start, end) and the cell types of a source.
Source = tuple[pd.DataFrame, list[CellType]]


def _place(feature: str, path: str, row: int) -> tuple[str, int, int]:
    """Return contig, start and end of a site written as chr_start_end."""
    match = re.fullmatch(r"(.+)[_:-](\d{1,10})[_-](\d{1,10})", feature, flags=re.ASCII)
    if not match or int(match[2]) >= int(match[3]):
        raise InputError(
            "feature is not a site",
            file=path,
            row=row,
            found=feature,
            expected="contig_start_end with start < end",
        )
    return match[1], int(match[2]), int(match[3])


def _r_table(path: str, required: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a tab-separated table of R, the names of the columns first.

    Quotes are taken off; a column of row names, with or without a name, is left out.
    """
    header: list[str] = []
    shift = 0
    for row, line in text_lines(path):
        fields = [field.strip('"') for field in line.split("\t")]
        if not header:
            header = fields
            check_header(header, path, row)
            for column in required:
                if column not in header:
                    raise InputError(
                        f"column {column!r} is missing{nearest(column, header)}",
                        file=path,
                        row=row,
                        found=" ".join(header)[:200],
                    )
            yield row, header
            continue
        if not line:
            continue
        if row == 2 and len(fields) == len(header) + 1:
            shift = 1  # R writes no name above the names of the rows
        if len(fields) != len(header) + shift:
            raise InputError(
                "wrong number of fields",
                file=path,
                row=row,
                found=len(fields),
                expected=len(header) + shift,
            )
        yield row, fields[shift:]
    if not header:
        raise InputError("is empty", file=path, expected=f"columns {', '.join(required)}")


def read_descartes(path: str) -> Source:
    """Read the table of the top sites of each cell type of Descartes.

    Parameters
    ----------
    path : TSV with the columns feature (chr_start_end), cell_type, zscore_filtered (a site is
        kept where it is FALSE) and, if there is one, a score (``SCORES``).

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing or a value malformed.
    """
    rows = _r_table(path, ("feature", "cell_type", "zscore_filtered"))
    header = next(rows)[1]
    feature, cell, flag = (header.index(c) for c in ("feature", "cell_type", "zscore_filtered"))
    score = next((header.index(name) for name in SCORES if name in header), None)
    if score is None:
        log.warning("%s: no column of scores (%s): every peak counts the same", path, SCORES)
    sites: dict[str, int] = {}
    places: list[tuple[str, int, int]] = []
    found: dict[str, tuple[dict[int, float], list[int]]] = {}  # {site: score}, [number dropped]
    repeats = 0
    for row, fields in rows:
        keep = _KEEP.get(fields[flag].upper())
        if keep is None:
            raise InputError(
                "zscore_filtered is not a truth value",
                file=path,
                row=row,
                found=fields[flag],
                expected="TRUE or FALSE",
            )
        if not fields[cell]:
            raise InputError("cell_type is empty", file=path, row=row)
        here, dropped = found.setdefault(fields[cell], ({}, [0]))
        dropped[0] += not keep
        if not keep:
            continue
        site = sites.setdefault(fields[feature], len(sites))
        if site == len(places):
            places.append(_place(fields[feature], path, row))
        if site in here:
            dropped[0] += 1
            repeats += 1
            continue
        here[site] = 0.0 if score is None else _number(fields[score], header[score], path, row)
    if repeats:
        log.warning("%s: %d sites come twice for a cell type; the first is kept", path, repeats)
    return pd.DataFrame(places, columns=["contig", "start", "end"]), [
        CellType(
            label,
            np.fromiter(here, dtype=np.int64, count=len(here)),
            None if score is None else np.fromiter(here.values(), float, count=len(here)),
            dropped=dropped[0],
        )
        for label, (here, dropped) in found.items()
    ]


def _number(text: str, name: str, path: str, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"{name} is not a finite number", file=path, row=row, found=text)
    return value


def _matrix_head(lines: Iterator[tuple[int, bytes]], path: str) -> tuple[int, tuple[int, int, int]]:
    """Return the number of fields of an entry and the size line: peaks, cell types, entries."""
    row, first = next(lines, (1, b""))
    kind = first.decode(errors="replace").lower().split()
    if kind[:3] != ["%%matrixmarket", "matrix", "coordinate"] or kind[4:] != ["general"]:
        raise InputError(
            "is not a Matrix Market file of coordinates",
            file=path,
            row=row,
            found=first[:60].decode(errors="replace"),
            expected=_MATRIX_HEADER,
        )
    if kind[3] not in ("pattern", "integer", "real"):
        raise InputError("values are of a wrong kind", file=path, row=row, found=kind[3])
    for row, line in lines:  # noqa: B007
        if line.strip() and not line.startswith(b"%"):
            sizes = line.split()
            if len(sizes) != 3 or not all(size.isdigit() for size in sizes):
                break
            return 2 if kind[3] == "pattern" else 3, (int(sizes[0]), int(sizes[1]), int(sizes[2]))
    raise InputError("has no line of sizes", file=path, row=row, expected="rows columns entries")


def _open_matrix(path: str, shape: tuple[int, int]) -> tuple[Iterator[tuple[int, bytes]], int, int]:
    """Return the lines below the head, the fields of an entry and the number of entries."""
    lines = numbered_lines(path)
    count, (*found, total) = _matrix_head(lines, path)
    if tuple(found) != shape:
        turned = "; the matrix must be peaks x cell types" if tuple(found[::-1]) == shape else ""
        raise InputError(
            f"matrix is not that of the peaks and the names{turned}",
            file=path,
            found=f"{found[0]} x {found[1]}",
            expected=f"{shape[0]} peaks x {shape[1]} cell types",
        )
    return lines, count, total


def _matrix_entries(
    path: str, shape: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64] | None]:
    """Read the entries of a Matrix Market file.

    Returns
    -------
    peak, cell : int32[E], from 0.
    value : float64[E], or None for a pattern.
    """
    lines, count, total = _open_matrix(path, shape)
    peak, cell, value = array("i"), array("i"), array("d")
    row = 0
    for row, line in lines:
        fields = line.split()
        if not fields:
            continue
        if len(fields) != count or not (fields[0].isdigit() and fields[1].isdigit()):
            raise InputError(
                "is not an entry of the matrix",
                file=path,
                row=row,
                found=line[:60].decode(errors="replace"),
                expected="peak cell_type" + " value" * (count == 3),
            )
        i, j = int(fields[0]) - 1, int(fields[1]) - 1
        if not (0 <= i < shape[0] and 0 <= j < shape[1]):
            raise InputError(
                "entry is outside the matrix",
                file=path,
                row=row,
                found=line[:60].decode(errors="replace"),
                expected=f"1 to {shape[0]} and 1 to {shape[1]}",
            )
        peak.append(i)
        cell.append(j)
        if count == 3:
            number = _number(fields[2].decode(errors="replace"), "value", path, row)
            if number < 0:
                raise InputError("value is negative", file=path, row=row, found=number)
            value.append(number)
    if len(peak) != total:
        raise InputError(
            "matrix is truncated" if len(peak) < total else "matrix has too many entries",
            file=path,
            row=row,
            found=len(peak),
            expected=f"{total} entries",
        )
    return (
        np.frombuffer(peak, dtype=np.int32) if total else np.zeros(0, np.int32),
        np.frombuffer(cell, dtype=np.int32) if total else np.zeros(0, np.int32),
        np.frombuffer(value, dtype=np.float64) if value else None,
    )


def read_axes(path: str, bed: str, names: str) -> tuple[pd.DataFrame, list[str]]:
    """Read what the rows and columns of a matrix are, and of the matrix how many it has.

    Parameters
    ----------
    path, bed, names : as for :func:`read_matrix`.

    Raises
    ------
    InputError
        If a file cannot be read, the three do not belong together, or a name is empty.
    """
    columns = read_columns(bed, Fields(count=3, scores={}), {})
    if not len(columns):
        raise InputError("holds no peaks", file=bed)
    contig = np.array(columns.unknown, dtype=object)[-1 - columns.contig]
    peaks = pd.DataFrame({"contig": contig, "start": columns.start, "end": columns.end})
    labels = []
    for row, line in text_lines(names):
        if not line.strip():
            raise InputError("name of a cell type is empty", file=names, row=row)
        labels.append(line.strip())
    _open_matrix(path, (len(peaks), len(labels)))
    return peaks, labels


def read_matrix(path: str, bed: str, names: str) -> Source:
    """Read a matrix of peaks x cell types as CATlas gives.

    Parameters
    ----------
    path : Matrix Market file of coordinates; "2 22" says that peak 2 is open in cell type 22. A
        value, if there is one, is the score; 0 means closed.
    bed : BED file of the peaks, in the order of the rows.
    names : one cell type a line, in the order of the columns.

    Raises
    ------
    InputError
        If a file cannot be read, is truncated or malformed, the three do not belong together, a
        name is empty, or an entry comes twice with a value.
    """
    peaks, labels = read_axes(path, bed, names)
    peak, cell, value = _matrix_entries(path, (len(peaks), len(labels)))
    order = np.lexsort((peak, cell))
    peak, cell = peak[order], cell[order]
    repeats = (peak[1:] == peak[:-1]) & (cell[1:] == cell[:-1])
    if repeats.any():
        i = int(repeats.argmax())
        if value is not None:
            raise InputError("entry comes twice", file=path, found=f"{peak[i] + 1} {cell[i] + 1}")
        log.warning("%s: %d entries come twice", path, repeats.sum())
        peak, cell = (places[np.append(True, ~repeats)] for places in (peak, cell))
    bounds = np.searchsorted(cell, np.arange(len(labels) + 1))
    cell_types = []
    for label, low, high in zip(labels, bounds[:-1], bounds[1:], strict=True):
        score = None if value is None else value[order[low:high]]
        is_open = slice(None) if score is None else score > 0
        here = peak[low:high][is_open]
        cell_types.append(
            CellType(
                label,
                here,
                None if score is None else score[is_open],
                dropped=int(high - low) - len(here),
            )
        )
    return peaks, cell_types
