"""Open regions on the device, and the TF x region matrix around any place in any cell type.

:class:`Corpus` holds the arrays of the shards as tensors. A :class:`View` is a sorted list of the
open regions of every cell type, among those regions that a caller may look at (training regions
only, validation regions only, all). :func:`neighbourhood` makes the matrices; pre-training
(:mod:`genebert.sampler`) and fine-tuning share it.

Shapes: B rows, R neighbours, M motifs, F = M + 1 features, C = R + 1 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from genebert.errors import InputError

if TYPE_CHECKING:
    from genebert.shards import Shards

TRAIN, VALID, TEST = range(3)
_START_BITS = 32


@dataclass(frozen=True)
class View:
    """The open regions of every cell type within a subset of regions, in genome order.

    Attributes
    ----------
    key : int64[nnz], ascending: (cell type * contigs + contig) << 32 | start.
    region : int64[nnz], region ids.
    strength : float32[nnz].
    block : int64[cell types * contigs + 1], first entry of each (cell type, contig).
    n_contigs : contigs of the genome.
    """

    key: Tensor
    region: Tensor
    strength: Tensor
    block: Tensor
    n_contigs: int

    def seek(self, cell: Tensor, contig: Tensor, start: Tensor) -> Tensor:
        """Return the first entry of (cell, contig) that starts at or after ``start``.

        If there is none, the entry after the last of (cell, contig) is returned.
        """
        start = start.clamp(0, (1 << _START_BITS) - 1)
        query = ((cell * self.n_contigs + contig) << _START_BITS) | start
        return torch.searchsorted(self.key, query.contiguous())

    def bounds(self, cell: Tensor, contig: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first entry of (cell, contig) and the one after its last."""
        at = cell * self.n_contigs + contig
        return self.block[at], self.block[at + 1]

    def cell_bounds(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first entry of a cell type and the one after its last."""
        return self.block[cell * self.n_contigs], self.block[(cell + 1) * self.n_contigs]

    def find(self, cell: Tensor, contig: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return (entry, found): is a region with exactly this start open in the cell type?"""
        entry = self.seek(cell, contig, start)
        query = ((cell * self.n_contigs + contig) << _START_BITS) | start
        inside = entry.clamp(max=max(self.key.numel() - 1, 0))
        return inside, self.key[inside] == query


@dataclass(frozen=True)
class Corpus:
    """The shards as tensors on one device; made once, never changed.

    Attributes
    ----------
    packed, n_mask, repeat_mask : uint8[R, ...], as in the shards; sequences are `length` long.
    motif_rows : float16[R, M]; normaliser : float32[M].
    contig, start, breadth, motif_count : int64[R]; start is that of the region without its flank.
    gc, repeat : float32[R].
    split : int64[R]; held_out_only : bool[R].
    held_out : bool[C], cell types held out of training.
    cells, contigs : their names.
    width, flank, length : bases of a region, kept on each side of it, and stored in all.
    """

    packed: Tensor
    n_mask: Tensor
    repeat_mask: Tensor
    motif_rows: Tensor
    normaliser: Tensor
    contig: Tensor
    start: Tensor
    breadth: Tensor
    motif_count: Tensor
    gc: Tensor
    repeat: Tensor
    split: Tensor
    held_out_only: Tensor
    held_out: Tensor
    cells: tuple[str, ...]
    contigs: tuple[str, ...]
    width: int
    flank: int
    length: int
    _indptr: NDArray[np.int64]
    _open: NDArray[np.int64]
    _strengths: NDArray[np.float32]

    @classmethod
    def from_shards(cls, shards: Shards, device: str | torch.device = "cpu") -> Corpus:
        """Put shards on a device.

        Raises
        ------
        InputError
            If the regions are not sorted by contig and start, which all look-ups rely on.
        """
        contig, start = shards.contig.astype(np.int64), shards.start.astype(np.int64)
        order = contig << _START_BITS | start
        if len(order) > 1 and not (order[1:] > order[:-1]).all():
            row = int(np.argmin(order[1:] > order[:-1])) + 1
            raise InputError(
                "regions are not sorted by contig and start", file="shards", found=f"region {row}"
            )

        def put(array: ArrayLike, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)

        return cls(
            packed=put(shards.packed, torch.uint8),
            n_mask=put(shards.n_mask, torch.uint8),
            repeat_mask=put(shards.repeat_mask, torch.uint8),
            motif_rows=put(shards.motif_rows, torch.float16),
            normaliser=put(shards.normaliser, torch.float32),
            contig=put(contig, torch.int64),
            start=put(start, torch.int64),
            breadth=put(shards.breadth, torch.int64),
            motif_count=put((shards.motif_rows > 0).sum(axis=1), torch.int64),
            gc=put(shards.gc, torch.float32),
            repeat=put(shards.repeat, torch.float32),
            split=put(shards.split, torch.int64),
            held_out_only=put(shards.held_out_only, torch.bool),
            held_out=put(shards.held_out, torch.bool),
            cells=tuple(shards.cell_types),
            contigs=tuple(shards.contigs),
            width=int(shards.width),
            flank=int(shards.flank),
            length=int(shards.width + 2 * shards.flank),
            _indptr=np.asarray(shards.indptr, dtype=np.int64),
            _open=np.asarray(shards.open_regions, dtype=np.int64),
            _strengths=np.asarray(shards.strengths, dtype=np.float32),
        )

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.packed.device

    @property
    def n_motifs(self) -> int:
        """M."""
        return self.motif_rows.shape[1]

    def view(
        self, splits: Sequence[int] = (TRAIN, VALID, TEST), held_out_only: bool = True
    ) -> View:
        """Return the open regions of all cell types within some splits.

        Parameters
        ----------
        splits : of TRAIN, VALID, TEST.
        held_out_only : keep regions that are open in held-out cell types only.
        """
        contig, start = self.contig.cpu().numpy(), self.start.cpu().numpy()
        allowed = np.isin(self.split.cpu().numpy(), list(splits))
        if not held_out_only:
            allowed &= ~self.held_out_only.cpu().numpy()
        cell = np.repeat(np.arange(len(self.cells)), np.diff(self._indptr))
        keep = allowed[self._open]
        cell, region = cell[keep], self._open[keep]
        list_of = cell * len(self.contigs) + contig[region]
        block = np.searchsorted(list_of, np.arange(len(self.cells) * len(self.contigs) + 1))
        arrays = {
            "key": list_of << _START_BITS | start[region],
            "region": region,
            "strength": self._strengths[keep],
            "block": block,
        }
        tensors = {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}
        return View(**tensors, n_contigs=len(self.contigs))

    def codes(self, region_B: Tensor, offset_B: Tensor, length: int) -> Tensor:
        """Return codes uint8[B, length] of the stored sequences, from ``offset_B`` on."""
        at = offset_B[:, None] + torch.arange(length, device=self.device)
        row = region_B[:, None]
        base = (self.packed[row, at >> 2] >> ((at & 3) * 2).to(torch.uint8)) & 3
        return torch.where(self._bit(self.n_mask, row, at), 4, base).to(torch.uint8)

    def repeats(self, region_B: Tensor, offset_B: Tensor, length: int) -> Tensor:
        """Return bool[B, length], true where a base of the stored sequence is soft-masked."""
        at = offset_B[:, None] + torch.arange(length, device=self.device)
        return self._bit(self.repeat_mask, region_B[:, None], at)

    @staticmethod
    def _bit(mask: Tensor, row: Tensor, at: Tensor) -> Tensor:
        return (mask[row, at >> 3] >> (at & 7).to(torch.uint8)) & 1 != 0

    def columns(self, region: Tensor) -> Tensor:
        """Return float32[..., M], normalised motif rows of regions: row / maximum, at most 1."""
        return (self.motif_rows[region].float() / self.normaliser).clamp(max=1.0)


def neighbours(
    view: View,
    width: int,
    cell_B: Tensor,
    contig_B: Tensor,
    position_B: Tensor,
    R: int,
    exclude: int,
) -> tuple[Tensor, Tensor]:
    """Return the entries of the R / 2 nearest open regions on each side.

    Regions that overlap [position - exclude, position + exclude) do not count.

    Returns
    -------
    entry_BR : int64 into the view, in genome order (0 where there is none).
    there_BR : bool, false where the contig has no further open region.
    """
    step = torch.arange(R // 2, device=position_B.device)
    first_B, end_B = view.bounds(cell_B, contig_B)
    after_left_B = view.seek(cell_B, contig_B, position_B - exclude - width + 1)
    right_B = view.seek(cell_B, contig_B, position_B + exclude)
    left = after_left_B[:, None] - R // 2 + step
    right = right_B[:, None] + step
    there = torch.cat([left >= first_B[:, None], right < end_B[:, None]], dim=1)
    return torch.where(there, torch.cat([left, right], dim=1), 0), there


def neighbourhood(
    corpus: Corpus,
    view: View,
    cell_type_B: Tensor,
    contig_B: Tensor,
    position_B: Tensor,
    R: int,
    anchor_region_B: Tensor | None = None,
    *,
    exclude: int | None = None,
    accessibility: bool = True,
) -> tuple[Tensor, Tensor]:
    """Make the TF x region matrices around places of the genome.

    Parameters
    ----------
    corpus, view : from :meth:`Corpus.from_shards` and :meth:`Corpus.view` (which regions may be
        looked at: all splits in fine-tuning, one split in pre-training).
    cell_type_B, contig_B : int64[B], indices into the lists of the shards.
    position_B : int64[B], 0-based; the centre of the anchor where there is one.
    R : neighbours, R / 2 on each side; even.
    anchor_region_B : int64[B], region id whose motif row fills the anchor column, -1 for none.
    exclude : neighbours must not overlap [position - exclude, position + exclude); by default
        half the width of a region.
    accessibility : fill the last row with the strength in the cell type; else with 1 for every
        region that is there.

    Returns
    -------
    matrix_BFC : float32[B, M + 1, R + 1] on the device. Columns are in genome order, nearest ones
        beside the anchor (index R / 2). A column without a region is 0 in all rows.
    placeholder_B : bool[B], true where there is no anchor region (its column is 0): pass it to
        ``GeneBert.embed_region``.
    """
    if exclude is None:
        exclude = corpus.width // 2
    entry_BR, there_BR = neighbours(
        view, corpus.width, cell_type_B, contig_B, position_B, R, exclude
    )
    matrix_BRF = columns_of(corpus, view, entry_BR, there_BR, accessibility)
    if anchor_region_B is None:
        anchor_region_B = torch.full_like(position_B, -1)
    placeholder_B = anchor_region_B < 0
    region_B = anchor_region_B.clamp(min=0)
    entry_B, found_B = view.find(cell_type_B, corpus.contig[region_B], corpus.start[region_B])
    strength_B = torch.where(found_B, view.strength[entry_B], 0.0)
    if not accessibility:
        strength_B = torch.ones_like(strength_B)
    anchor_BF = torch.cat([corpus.columns(region_B), strength_B[:, None]], dim=1)
    anchor_BF = torch.where(placeholder_B[:, None], 0.0, anchor_BF)
    half = R // 2
    matrix_BCF = torch.cat([matrix_BRF[:, :half], anchor_BF[:, None], matrix_BRF[:, half:]], dim=1)
    return matrix_BCF.transpose(1, 2).contiguous(), placeholder_B


def columns_of(
    corpus: Corpus, view: View, entry_BR: Tensor, there_BR: Tensor, accessibility: bool
) -> Tensor:
    """Return float32[B, R, F] of view entries: motif row, then strength (or 1); 0 where absent."""
    strength = view.strength[entry_BR]
    if not accessibility:
        strength = torch.ones_like(strength)
    rows = torch.cat([corpus.columns(view.region[entry_BR]), strength[..., None]], dim=-1)
    return torch.where(there_BR[..., None], rows, 0.0)
