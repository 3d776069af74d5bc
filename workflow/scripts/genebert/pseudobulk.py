"""Add up the cells of each cell type in a peaks x cells matrix.

Comes in: an ``.h5ad`` file with cells in obs, peaks in var and counts in X or in a layer (CSR, CSC
or dense), read in blocks, so that memory is 4 bytes per peak and cell type whatever the number of
cells. Goes out: :class:`Pseudobulk`, in how many cells of each cell type each peak was seen.

The coordinates are taken as they stand, 0-based and half-open.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import ceil
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from genebert.errors import InputError, check_range, nearest
from genebert.progress import Progress

log = logging.getLogger("genebert")

Ints = NDArray[np.int64]
Blocks = Iterator[tuple[Ints, Ints, NDArray[Any]]]  # cell, peak, value

BLOCK = 1 << 22  # values read at a time
# Columns of var that hold coordinates, under the names of BED, pandas, GenomicRanges and UCSC.
CONTIG = ("contig", "chrom", "chr", "seqnames", "seqname", "chromosome")
START = ("start", "chromStart")
END = ("end", "chromEnd")
_NAME = r"^(.+)[:_-](\d{1,12})[_-](\d{1,12})$"  # chr1:100-600, chr1-100-600, chr1_100_600


@dataclass(frozen=True)
class PseudobulkSettings:
    """The keys of the block ``atlas`` of the configuration that matrices of cells have.

    Attributes
    ----------
    cell_type_column : column of obs with the cell type of each cell.
    layer : layer with the counts; X if none.
    min_cells, min_fraction : a peak is open in a cell type if it was seen in at least this many
        of its cells, and in at least this share of them.
    min_cells_per_type : cell types with fewer cells are dropped.
    """

    cell_type_column: str = "cell_type"
    layer: str | None = None
    min_cells: int = 5
    min_fraction: float = 0.01
    min_cells_per_type: int = 50

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("min_cells", 1, 10**9),
            ("min_fraction", 0, 1),
            ("min_cells_per_type", 1, 10**9),
        ):
            check_range(getattr(self, name), low, high, file=f"config atlas.{name}")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> PseudobulkSettings:
        """Build from the block ``atlas``, whose other keys are for others."""
        return cls(**{f.name: config[f.name] for f in fields(cls) if f.name in config})

    def needed(self, cells: int) -> int:
        """Return in how many of the cells of a cell type a peak must be seen to be open."""
        return max(self.min_cells, ceil(round(self.min_fraction * cells, 9)))


@dataclass(frozen=True)
class Annotation:
    """What a file says of its cells and peaks.

    Attributes
    ----------
    peaks : contig, start, end of P peaks.
    names : N names of cells.
    labels : C cell types as the file writes them, sorted.
    code : int[N], index into ``labels``.
    cells : int64[C], cells of each.
    kept : bool[C], false where there are too few cells.
    """

    peaks: pd.DataFrame
    names: Sequence[object]
    labels: list[str]
    code: Ints
    cells: Ints
    kept: NDArray[np.bool_]


@dataclass(frozen=True)
class Pseudobulk(Annotation):
    """In how many cells of each cell type each peak was seen.

    Attributes
    ----------
    seen : uint32[K, P] of the K cell types that are kept.
    """

    seen: NDArray[np.uint32]


def _element(file: h5py.File, name: str, path: str) -> Any:
    """Read an element of the file as anndata does."""
    if name not in file:
        raise InputError(f"has no {name}; is it an h5ad file?", file=path)
    try:
        return read_elem(file[name])
    except Exception as error:  # whatever HDF5, anndata or pandas find wrong with it
        raise InputError(f"{name} cannot be read ({error})", file=path) from None


def _labels(obs: pd.DataFrame, column: str, path: str) -> NDArray[np.object_]:
    """Return object[N], the cell type of each cell as text."""
    repeated = obs.index.duplicated()
    if repeated.any():
        raise InputError(
            f"names of cells are repeated ({repeated.sum()} times)",
            file=path,
            found=str(obs.index[int(repeated.argmax())]),
        )
    if column not in obs:
        raise InputError(
            f"column {column!r} is missing in obs{nearest(column, map(str, obs.columns))}",
            file=path,
            found=", ".join(map(str, obs.columns)),
        )
    values = obs[column]
    text = values.astype(str).str.strip().to_numpy(dtype=object)
    missing = values.isna().to_numpy() | (text == "")
    if missing.any():
        raise InputError(
            f"{missing.sum()} cells have no {column}",
            file=path,
            found=str(obs.index[int(missing.argmax())]),
            expected="a cell type for every cell",
        )
    return text


def _peak_error(name: object, number: int, found: object, path: str) -> InputError:
    return InputError(
        f"peak {number + 1} of var ({name}) has no valid coordinates",
        file=path,
        found=found,
        expected="contig and integers 0 <= start < end",
    )


def _coordinates(var: pd.DataFrame, path: str) -> pd.DataFrame:
    """Return contig (text), start and end (int64) of the peaks, from columns or from names."""
    found = [next((n for n in names if n in var), None) for names in (CONTIG, START, END)]
    if None not in found:
        table = var[found].set_axis(["contig", "start", "end"], axis=1)
    else:
        names = pd.Series(var.index.astype(str), index=var.index)
        table = names.str.extract(_NAME).set_axis(["contig", "start", "end"], axis=1)
        if table["contig"].isna().all():
            raise InputError(
                "var has no coordinates of the peaks",
                file=path,
                found=str(var.index[0]),
                expected="columns chrom, start, end, or names as chr1:100-600",
            )
    places = table[["start", "end"]].apply(pd.to_numeric, errors="coerce").astype(float)
    start, end = places["start"].to_numpy(), places["end"].to_numpy()
    good = (start >= 0) & (start < end) & (end < 2**31) & (start % 1 == 0) & (end % 1 == 0)
    good &= table["contig"].notna().to_numpy()
    if not good.all():
        i = int(good.argmin())
        what = var.index[i] if None in found else " ".join(map(str, table.iloc[i]))
        raise _peak_error(var.index[i], i, str(what), path)
    return pd.DataFrame(
        {
            "contig": table["contig"].astype(str).to_numpy(dtype=object),
            "start": start.astype(np.int64),
            "end": end.astype(np.int64),
        }
    )


def _block_ends(indptr: Ints) -> Ints:
    """Return where blocks of rows begin and end, so that each holds about ``BLOCK`` values."""
    steps = np.arange(BLOCK, int(indptr[-1]), BLOCK)
    return np.unique([0, *np.searchsorted(indptr, steps), len(indptr) - 1])


def _sparse_blocks(group: h5py.Group, shape: tuple[int, int], by_cell: bool, path: str) -> Blocks:
    """Yield (cell, peak, value) of blocks of a CSR (by cell) or CSC (by peak) matrix."""
    rows, columns = shape if by_cell else shape[::-1]
    data, indices = group["data"], group["indices"]
    indptr = group["indptr"][:].astype(np.int64)
    if not (
        len(indptr) == rows + 1
        and indptr[0] == 0
        and (np.diff(indptr) >= 0).all()
        and indptr[-1] == len(data) == len(indices)
    ):
        raise InputError(f"{group.name} is corrupt (indptr)", file=path)
    ends = _block_ends(indptr)
    for first, last in zip(ends[:-1], ends[1:], strict=True):
        part = slice(int(indptr[first]), int(indptr[last]))
        column = indices[part].astype(np.int64)
        if len(column) and not 0 <= column.min() <= column.max() < columns:
            raise InputError(f"{group.name} is corrupt (indices)", file=path)
        block = csr_matrix(
            (data[part], column, indptr[first : last + 1] - indptr[first]),
            shape=(last - first, columns),
        )
        block.sum_duplicates()
        row = np.repeat(np.arange(first, last), np.diff(block.indptr))
        column = block.indices.astype(np.int64)
        yield (row, column, block.data) if by_cell else (column, row, block.data)


def _dense_blocks(matrix: h5py.Dataset, shape: tuple[int, int]) -> Blocks:
    """Yield (cell, peak, value) of the values of a dense matrix that are not 0."""
    step = max(1, BLOCK // shape[1])
    for first in range(0, shape[0], step):
        block = matrix[first : first + step]
        row, column = np.nonzero(block)
        yield row + first, column, block[row, column]


def _blocks(matrix: h5py.Group | h5py.Dataset, shape: tuple[int, int], path: str) -> Blocks:
    """Yield (cell, peak, value) of a matrix of the file, block by block."""
    attributes = matrix.attrs
    if isinstance(matrix, h5py.Dataset):
        found, layout = matrix.shape, "dense"
    else:
        found = tuple(int(n) for n in attributes.get("shape", attributes.get("h5sparse_shape", ())))
        layout = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))[:3]
    if found != shape:
        raise InputError(
            f"{matrix.name} has another shape than obs and var",
            file=path,
            found=" x ".join(map(str, found)),
            expected=f"{shape[0]} x {shape[1]}",
        )
    values = matrix if layout == "dense" else matrix.get("data")
    if layout not in ("dense", "csr", "csc") or values is None or values.dtype.kind not in "biuf":
        raise InputError(
            f"{matrix.name} is not a matrix of numbers",
            file=path,
            found=layout or "a group",
            expected="CSR, CSC or dense",
        )
    if layout == "dense":
        return _dense_blocks(matrix, shape)
    return _sparse_blocks(matrix, shape, layout == "csr", path)


def _count(
    blocks: Blocks,
    group: Ints,
    shape: tuple[int, int],
    cells: Sequence[object],
    path: str,
) -> NDArray[np.uint32]:
    """Return uint32[shape], in how many cells of each group (-1: none) each peak is not 0."""
    seen = np.zeros(shape[0] * shape[1], dtype=np.uint32)
    total, told = 0, Progress("counting cells", unit="values")
    for cell, peak, value in blocks:
        bad = ~((value >= 0) & np.isfinite(value))
        if bad.any():
            i = int(bad.argmax())
            raise InputError(
                f"count of cell {cells[cell[i]]} in peak {peak[i] + 1} is negative or not finite",
                file=path,
                found=value[i].item(),
                expected="counts; name the layer that holds them (atlas.layer)",
            )
        use = (value > 0) & (group[cell] >= 0)
        np.add.at(seen, group[cell[use]] * shape[1] + peak[use], np.uint32(1))
        total += len(value)
        told.at(total)
    return seen.reshape(shape)


@contextmanager
def _opened(path: str, settings: PseudobulkSettings) -> Iterator[tuple[Annotation, Blocks]]:
    """Open a file; yield what it says of cells and peaks, and the blocks of its matrix, unread."""
    name = "X" if settings.layer is None else f"layers/{settings.layer}"
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except OSError as error:
        raise InputError(f"is not an h5ad file, or truncated ({error})", file=path) from None
    with file:
        obs, var = _element(file, "obs", path), _element(file, "var", path)
        if not len(obs) or not len(var):
            raise InputError("is empty", file=path, found=f"{len(obs)} cells, {len(var)} peaks")
        text = _labels(obs, settings.cell_type_column, path)
        peaks = _coordinates(var, path)
        if name not in file:
            layers = list(file.get("layers", ()))
            raise InputError(
                f"has no {name}{nearest(settings.layer or '', layers)}",
                file=path,
                found=", ".join(["X"] * ("X" in file) + layers) or "no matrix",
            )
        labels, code, cells = np.unique(text.astype(str), return_inverse=True, return_counts=True)
        kept = cells >= settings.min_cells_per_type
        if not kept.any():
            raise InputError(
                "every cell type has too few cells",
                file=path,
                found=f"at most {cells.max()}",
                expected=f"{settings.min_cells_per_type} (atlas.min_cells_per_type)",
            )
        found = Annotation(peaks, obs.index, labels.tolist(), code, cells.astype(np.int64), kept)
        try:
            yield found, _blocks(file[name], (len(obs), len(var)), path)
        except (OSError, KeyError) as error:
            raise InputError(f"{name} cannot be read ({error})", file=path) from None


def read_annotation(path: str, settings: PseudobulkSettings) -> Annotation:
    """Read cells and peaks without their counts: fast, however large the matrix.

    Parameters
    ----------
    path : ``.h5ad`` file, cells x peaks.

    Raises
    ------
    InputError
        As :func:`read_pseudobulk`, but for what is wrong within the matrix.
    """
    with _opened(path, settings) as (found, _):
        return found


def read_pseudobulk(path: str, settings: PseudobulkSettings) -> Pseudobulk:
    """Count in how many cells of each cell type each peak was seen.

    Parameters
    ----------
    path : ``.h5ad`` file, cells x peaks.

    Raises
    ------
    InputError
        If the file is missing, truncated or not h5ad, a column, layer or coordinate is missing or
        malformed, names of cells are repeated, a cell has no cell type, a count is negative or
        not finite, the matrix is corrupt, or every cell type has too few cells.
    """
    with _opened(path, settings) as (found, blocks):
        kept = found.kept
        group = np.where(kept, np.cumsum(kept) - 1, -1)[found.code]
        shape = (int(kept.sum()), len(found.peaks))
        seen = _count(blocks, group, shape, found.names, path)
    log.info("%d cells, %d of %d cell types kept", len(found.names), kept.sum(), len(kept))
    return Pseudobulk(**vars(found), seen=seen)
