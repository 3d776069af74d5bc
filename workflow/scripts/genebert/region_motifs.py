"""The regions with their motifs and the cell types they are open in, read in blocks of rows.

In: ``matrix.h5ad`` (regions x motifs) and ``accessibility.h5ad`` (cell types x regions). Out: one
object that holds the small parts and streams the motif scores, so that memory does not grow with
the number of cells of the motif matrix. Letters of shapes: R regions, M motifs, C cell types,
n regions of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from genebert.errors import InputError, reading
from genebert.progress import Progress

BLOCK = 8192  # regions that are in memory at a time
_REGION = ("contig", "start", "end", "split", "gc", "held_out_only")


@dataclass(frozen=True, eq=False)
class RegionMotifs:
    """Regions, cell types and the names of the motifs; the scores stay in the file.

    Attributes
    ----------
    path : the motif matrix.
    regions : the table of the R regions (contig, start, end, split, gc, held_out_only, ...).
    cell_types : C names. held_out : bool[C].
    strength : CSR float32[R, C], stored where a region is open in a cell type.
    motifs : M names.
    """

    path: str
    regions: pd.DataFrame
    cell_types: list[str]
    held_out: NDArray[np.bool_]
    strength: sparse.csr_matrix
    motifs: list[str]

    @classmethod
    def read(cls, matrix: str, accessibility: str) -> RegionMotifs:
        """Open both files and check that they hold the same regions.

        Raises
        ------
        InputError
            If a file cannot be read, lacks a column, or the two do not hold the same regions.
        """
        regions, names, cells, held_out, opened = read_accessibility(accessibility)
        with reading(matrix, "is not a motif matrix", KeyError), h5py.File(matrix, "r") as file:
            rows = read_elem(file["obs"]).index.to_numpy(dtype=str)
            motifs = [str(name) for name in read_elem(file["var"]).index]
            kind = file["layers"]["sum"].attrs["encoding-type"]
        if kind != "csr_matrix":
            raise InputError("layer sum has another form", file=matrix, found=kind, expected="CSR")
        if not np.array_equal(rows, names):
            raise InputError(
                "regions differ from those of the accessibility matrix",
                file=matrix,
                found=f"{len(rows)} regions",
                expected=f"the {len(names)} regions of {accessibility}",
            )
        return cls(matrix, regions, cells, held_out, opened.T.tocsr(), motifs)

    @property
    def breadth(self) -> NDArray[np.int64]:
        """int64[R], the number of cell types a region is open in."""
        return np.asarray(self.strength.getnnz(axis=1), dtype=np.int64)

    def scores(
        self, wanted: NDArray[np.bool_], size: int | None = None
    ) -> Iterator[tuple[NDArray[np.int64], sparse.csr_matrix]]:
        """Yield (rows int64[n], layer ``sum`` of these rows as CSR float32[n, M]), block by block.

        Parameters
        ----------
        wanted : bool[R]; other rows are left out, blocks without any are not read.
        size : rows of the file that are read at a time; by default ``BLOCK``.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        size, told = size or BLOCK, Progress("reading motif rows", len(wanted), "regions")
        with h5py.File(self.path, "r") as file:
            layer = file["layers"]["sum"]
            for first in range(0, len(wanted), size):
                rows = np.flatnonzero(wanted[first : first + size])
                if not len(rows):
                    continue
                block = self._read(layer, first, min(first + size, len(wanted)))
                yield rows + first, block if len(rows) == block.shape[0] else block[rows]
                told.at(first + block.shape[0])

    def _read(self, layer: Any, first: int, end: int) -> sparse.csr_matrix:
        with reading(self.path, "is not a motif matrix", KeyError):
            indptr = layer["indptr"][first : end + 1]
            cells = slice(int(indptr[0]), int(indptr[-1]))
            parts = (layer["data"][cells], layer["indices"][cells], indptr - indptr[0])
            return sparse.csr_matrix(parts, shape=(end - first, len(self.motifs)))


def read_accessibility(
    path: str,
) -> tuple[pd.DataFrame, NDArray[np.str_], list[str], NDArray[np.bool_], sparse.csr_matrix]:
    """Return regions, their names, cell types, which are held out, and CSR float32[C, R].

    Raises
    ------
    InputError
        If the file cannot be read or lacks a column.
    """
    with (
        reading(path, "is not an accessibility matrix", KeyError, TypeError),
        h5py.File(path, "r") as file,
    ):
        obs, var = read_elem(file["obs"]), read_elem(file["var"])
        opened = sparse.csr_matrix(read_elem(file["X"]), dtype=np.float32)
    _check_columns(obs, ["held_out"], path)
    _check_columns(var, _REGION, path)
    names = var.index.to_numpy(dtype=str)
    cells = [str(name) for name in obs.index]
    opened.eliminate_zeros()
    held_out = obs["held_out"].to_numpy(dtype=bool)
    return var.reset_index(drop=True), names, cells, held_out, opened


def _check_columns(frame: pd.DataFrame, columns: Sequence[str], path: str) -> None:
    for column in columns:
        if column not in frame:
            raise InputError(
                f"column {column!r} is missing", file=path, found=" ".join(map(str, frame.columns))
            )
