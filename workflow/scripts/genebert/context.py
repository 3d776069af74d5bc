"""What is known of a locus in a cell type, from the shards, in NumPy.

In: the frozen shards. Out: the strength of a region in a cell type, its accessible neighbours, the
state of a cell type, and which cell type stands in for which in the control with a wrong matrix.
Labels are never read here. A held-out cell type is treated like any other: its peaks are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genebert import overlap
from genebert.cell_state import cell_states
from genebert.errors import InputError, nearest

if TYPE_CHECKING:
    from genebert.items import Items
    from genebert.shards import Shards

_CONTIG = 1 << 40  # step between contigs on the line on which all regions lie
TRAIN = 0  # code of the training split in the shards

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Context:
    """Lookups of regions and cell types; N loci, R regions, M motifs, C cell types.

    Parameters
    ----------
    shards : the opened shards.
    """

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._contig = {name: i for i, name in enumerate(shards.contigs)}
        self._cell = {name: i for i, name in enumerate(shards.cell_types)}
        line = shards.contig.astype(np.int64) * _CONTIG + shards.start.astype(np.int64)
        self._start_R, self._end_R = line, line + int(shards.width)

    @property
    def training_cells(self) -> list[str]:
        """The cell types that are not held out."""
        shards = self.shards
        return [n for n, out in zip(shards.cell_types, shards.held_out, strict=True) if not out]

    def cells(self, names: Sequence[str] | NDArray[np.object_]) -> Ints:
        """Return int64[N] indices of cell types.

        Raises
        ------
        InputError
            If a name is not in the atlas.
        """
        for name in sorted(set(names) - self._cell.keys()):
            raise InputError(
                f"cell type has no peaks in the atlas{nearest(name, self._cell)}", found=name
            )
        return np.array([self._cell[name] for name in names], dtype=np.int64)

    def contigs(self, names: Sequence[str] | NDArray[np.object_]) -> Ints:
        """Return int64[N] indices of contigs; -1 for one without regions."""
        return np.array([self._contig.get(name, -1) for name in names], dtype=np.int64)

    def open_of(self, cell: int) -> Ints:
        """Return the ascending ids of the regions that are open in a cell type."""
        first, last = self.shards.indptr[cell : cell + 2]
        return self.shards.open_regions[first:last].astype(np.int64)

    def strength(self, cell_N: Ints, region_N: Ints) -> Floats:
        """Return float32[N]: strength of the region in the cell type, 0 where it is closed.

        Parameters
        ----------
        cell_N : cell types.
        region_N : region ids; -1 (no region) counts as closed.
        """
        out = np.zeros(len(cell_N), dtype=np.float32)
        for cell in np.unique(cell_N):
            rows = np.flatnonzero((cell_N == cell) & (region_N >= 0))
            ids = self.open_of(int(cell))
            if not len(ids):
                continue
            at = np.minimum(np.searchsorted(ids, region_N[rows]), len(ids) - 1)
            found = ids[at] == region_N[rows]
            strengths = self.shards.strengths[self.shards.indptr[cell] :][: len(ids)]
            out[rows[found]] = strengths[at[found]]
        return out

    def neighbours(
        self, cell_N: Ints, contig_N: Ints, start_N: Ints, end_N: Ints, count: int
    ) -> Ints:
        """Return int64[N, count]: the nearest open regions, half of them on each side; -1 for none.

        Regions that share a base with [start, end) are left out, the anchor itself among them.
        Columns run from left to right along the contig.

        Parameters
        ----------
        cell_N, contig_N : indices of cell types and contigs.
        start_N, end_N : the locus, 0-based, half-open.
        count : number of neighbours, even.
        """
        half = count // 2
        out = np.full((len(cell_N), count), -1, dtype=np.int64)
        left, right = np.arange(-half, 0), np.arange(half)
        for cell in np.unique(cell_N):
            rows = np.flatnonzero(cell_N == cell)
            ids = self.open_of(int(cell))
            if not len(ids):
                continue
            base = contig_N[rows] * _CONTIG
            before = np.searchsorted(self._end_R[ids], base + start_N[rows], side="right")
            after = np.searchsorted(self._start_R[ids], base + end_N[rows], side="left")
            at = np.hstack([before[:, None] + left, after[:, None] + right])
            found = ids[np.clip(at, 0, len(ids) - 1)]
            there = (at >= 0) & (at < len(ids))
            there &= self.shards.contig[found] == contig_N[rows, None]
            out[rows] = np.where(there, found, -1)
        return out

    def rows_of(self, region_N: Ints) -> Floats:
        """Return float32[N, M] motif rows as the region encoders see them; zeros for -1."""
        rows = self.shards.motif_rows[region_N].astype(np.float32) / self.shards.normaliser
        return np.minimum(rows, 1) * (region_N >= 0)[:, None]

    def mean_columns(self, cell_N: Ints, region_NK: Ints) -> Floats:
        """Return float32[N, M + 1]: the mean of some regions each, without the -1 ones.

        Motif rows and, last, the strength in the cell type: the columns of the region encoders.
        """
        known = region_NK >= 0
        total = np.zeros((len(region_NK), len(self.shards.normaliser) + 1), dtype=np.float32)
        for k in range(region_NK.shape[1]):
            total[:, :-1] += self.rows_of(region_NK[:, k])
            total[:, -1] += self.strength(cell_N, region_NK[:, k])
        return total / np.maximum(known.sum(axis=1), 1)[:, None].astype(np.float32)

    @cached_property
    def cell_state(self) -> Floats:
        """float32[C, M]: the state of every cell type (:func:`cell_states`)."""
        shards = self.shards
        return cell_states(
            shards.motif_rows, shards.normaliser, shards.indptr, shards.open_regions,
            shards.split == TRAIN, shards.held_out_only, shards.held_out,
        )  # fmt: skip


def locus_window(items: Items, width: int) -> tuple[Ints, int]:
    """Return (position int64[N], exclude): where items lie, and how far neighbours must keep away.

    The position is the middle of the item. Regions that overlap [position - exclude, position +
    exclude) are no neighbours: the item itself, and what overlaps a region centred on it.
    """
    longest = int((items.end - items.start).max())
    return (items.start + items.end) // 2, (max(width, longest) + 1) // 2


def jaccard(shards: Shards) -> NDArray[np.float64]:
    """Return float64[C, C]: the Jaccard indices of the cell types' open regions.

    Over the regions of the training split that a training cell type has open.
    """
    regions = np.flatnonzero((shards.split == TRAIN) & ~shards.held_out_only)
    return overlap.jaccard(shards.openness()[:, regions])[2]


def least_alike(shards: Shards) -> dict[str, str]:
    """Return for each cell type the one with the lowest :func:`jaccard` index; of several, a first.

    A relative would stand in for the cell type itself, which is no wrong matrix.

    Raises
    ------
    InputError
        If there is no other cell type.
    """
    names = list(shards.cell_types)
    if len(names) < 2:
        raise InputError("a wrong cell type needs a second cell type", found=names)
    index = jaccard(shards)
    np.fill_diagonal(index, np.inf)
    return {name: names[other] for name, other in zip(names, index.argmin(axis=1), strict=True)}
