"""Open regions on the device, and the TF x region matrix around any place in any cell type.

:class:`Corpus` holds the arrays of the shards as tensors. A :class:`View` is a sorted list of the
open regions of every cell type, among those regions that a caller may look at (training regions
only, validation regions only, all). :func:`neighbourhood` makes the matrices; pre-training
(:mod:`genebert.sampler`) and fine-tuning share it.

Shapes: B rows, R neighbours, M motifs, F = M + 1 features, C = R + 1 columns.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from genebert.cell_state import cell_states
from genebert.errors import InputError
from genebert.mapped_rows import MappedRows
from genebert.rng import STREAM_DRAW, STREAM_ORDER, fold, integers, permute, words
from genebert.tokens import N_CODE, reverse_complement, segment_length, single_row, tokenize

if TYPE_CHECKING:
    from genebert.shards import Shards

log = logging.getLogger("genebert")

TRAIN, VALID, TEST = range(3)
START_BITS = 32
_CHUNK = 32  # matrices made at a time on a CPU


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
        start = start.clamp(0, (1 << START_BITS) - 1)
        query = ((cell * self.n_contigs + contig) << START_BITS) | start
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
        query = ((cell * self.n_contigs + contig) << START_BITS) | start
        inside = entry.clamp(max=max(self.key.numel() - 1, 0))
        return inside, self.key[inside] == query


@dataclass(frozen=True)
class Corpus:
    """The shards as tensors on one device; made once, never changed.

    Attributes
    ----------
    packed, n_mask, repeat_mask : uint8[R, ...], as in the shards; sequences are `length` long.
    motif_rows : float16[R, M]; in host memory, or mapped there from their files, where they do not
        fit the device, and then copied batch by batch. normaliser : float32[M].
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
    motif_rows: Tensor | MappedRows
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
    def from_shards(
        cls, shards: Shards, device: str | torch.device = "cpu", resident: bool | None = None
    ) -> Corpus:
        """Put shards on a device.

        Parameters
        ----------
        resident : put the motif rows (nearly all of the memory) on the device, too; by default
            if they take no more than half of what is free there.

        Raises
        ------
        InputError
            If the regions are not sorted by contig and start, which all look-ups rely on.
        """
        contig, start = shards.contig.astype(np.int64), shards.start.astype(np.int64)
        order = contig << START_BITS | start
        if len(order) > 1 and not (order[1:] > order[:-1]).all():
            row = int(np.argmin(order[1:] > order[:-1])) + 1
            raise InputError(
                "regions are not sorted by contig and start", file="shards", found=f"region {row}"
            )

        def put(array: ArrayLike, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)

        if resident is None:
            resident = shards.motif_rows.nbytes <= _free(torch.device(device)) // 2
        if not resident:
            log.info("motif rows stay in host memory: %.1f GB", shards.motif_rows.nbytes / 1e9)
        return cls(
            packed=put(shards.packed, torch.uint8),
            n_mask=put(shards.n_mask, torch.uint8),
            repeat_mask=put(shards.repeat_mask, torch.uint8),
            motif_rows=_placed(shards.motif_rows, device if resident else "cpu"),
            normaliser=put(shards.normaliser, torch.float32),
            contig=put(contig, torch.int64),
            start=put(start, torch.int64),
            breadth=put(shards.breadth, torch.int64),
            motif_count=put(shards.motif_count, torch.int64),
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

    @cached_property
    def cell_state(self) -> Tensor:
        """float32[C, M + 1]: the state of every cell type (:func:`cell_states`), 0 in the last."""
        rows = self.motif_rows
        state = cell_states(
            rows.cpu().numpy() if isinstance(rows, Tensor) else rows,
            self.normaliser.cpu().numpy(), self._indptr, self._open,
            (self.split == TRAIN).cpu().numpy(), self.held_out_only.cpu().numpy(),
            self.held_out.cpu().numpy(),
        )  # fmt: skip
        return torch.from_numpy(np.pad(state, ((0, 0), (0, 1)))).to(self.device)

    def rows_of(self, sums: ArrayLike) -> Tensor:
        """Return float32[n, M] motif rows of scanned sequences as the encoders see the shards' own.

        Parameters
        ----------
        sums : float[n, M], summed log-odds of hits (``MotifSet.scan(codes).sum``).
        """
        rows = torch.as_tensor(np.asarray(sums)).to(self.device)
        return rows.half().float().div_(self.normaliser).clamp_(max=1.0)

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
            "key": list_of << START_BITS | start[region],
            "region": region,
            "strength": self._strengths[keep],
            "block": block,
        }
        tensors = {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}
        return View(**tensors, n_contigs=len(self.contigs))

    def codes(
        self, region_B: Tensor, offset_B: Tensor, length: int, reverse_B: Tensor | None = None
    ) -> Tensor:
        """Return codes uint8[B, length] of the stored sequences, from ``offset_B`` on.

        Where ``reverse_B`` is true, the same bases are read on the other strand.
        """
        base = spread(self.packed.index_select(0, region_B), 4)[:, : self.length]
        n = spread(self.n_mask.index_select(0, region_B), 8)[:, : self.length]
        whole = torch.maximum(base, n * N_CODE)
        row = torch.arange(len(region_B), device=self.device)
        if reverse_B is not None:
            whole = torch.cat([whole, reverse_complement(whole)])
            row = row + len(region_B) * reverse_B
            offset_B = torch.where(reverse_B, self.length - length - offset_B, offset_B)
        windows = whole.flatten().unfold(0, length, 1)
        return windows.index_select(0, row * self.length + offset_B)

    def repeats(self, region_B: Tensor, at_BL: Tensor) -> Tensor:
        """Return bool[B, L], true where a base ``at`` of the stored sequence is soft-masked."""
        row_B1 = (region_B * self.repeat_mask.shape[1])[:, None]
        byte_BL = look_up(self.repeat_mask.flatten(), row_B1 + (at_BL >> 3))
        return (byte_BL >> (at_BL & 7).to(torch.uint8)) & 1 != 0

    def columns(self, region: Tensor) -> Tensor:
        """Return float32[..., M], normalised motif rows of regions: row / maximum, at most 1."""
        index = region.flatten()
        if isinstance(self.motif_rows, MappedRows):
            found = torch.from_numpy(self.motif_rows[index.cpu().numpy()])
        else:
            found = self.motif_rows.index_select(0, index.to(self.motif_rows.device))
        rows = found.to(self.device).float()
        return rows.div_(self.normaliser).clamp_(max=1.0).view(*region.shape, self.n_motifs)

    def matrix(self, region_BC: Tensor, strength_BC: Tensor, there_BC: Tensor) -> Tensor:
        """Return float32[B, M + 1, C]: motif rows as columns, strengths last; 0 if not there."""
        B, C = region_BC.shape
        out_BFC = torch.empty(B, self.n_motifs + 1, C, device=self.device)
        torch.mul(strength_BC, there_BC, out=out_BFC[:, -1])
        step = _CHUNK if self.device.type == "cpu" else max(B, 1)  # what a core's cache holds
        for at in range(0, B, step):
            part = slice(at, at + step)
            rows = self.columns(region_BC[part]).mul_(there_BC[part, :, None])
            out_BFC[part, :-1] = rows.transpose(1, 2)
        return out_BFC


def _placed(
    rows: NDArray[np.float16] | MappedRows, device: str | torch.device
) -> Tensor | MappedRows:
    """Put motif rows on a device; on a CPU they stay as they are, and mapped ones mapped."""
    if not isinstance(rows, MappedRows):
        return torch.as_tensor(np.ascontiguousarray(rows)).to(device)
    if torch.device(device).type == "cpu":
        return rows
    out = torch.empty(rows.shape, dtype=torch.float16, device=device)
    for part, own in zip(rows.parts, out.split([len(part) for part in rows.parts]), strict=True):
        own.copy_(torch.from_numpy(np.array(part)))
    return out


def _free(device: torch.device) -> int:
    """Return the bytes that are free on a device; host memory holds the shards already."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else sys.maxsize


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return ``table[index]`` of a table of one dimension; on a CPU this takes a third as long."""
    return table.index_select(0, index.flatten()).view(index.shape)


@cache
def _table(values: int, device: torch.device) -> Tensor:
    """Return the little-endian fields of every byte, as integers that hold a byte for each."""
    bits = 8 // values
    fields = torch.arange(256)[:, None] >> torch.arange(values) * bits & (1 << bits) - 1
    wide = {4: torch.int32, 8: torch.int64}[values]
    return fields.to(torch.uint8).view(wide).flatten().to(device)


def spread(byte_BW: Tensor, values: int) -> Tensor:
    """Unpack uint8[B, W]: 4 (of 2 bits) or 8 (of 1) values a byte; uint8[B, W * values]."""
    table = _table(values, byte_BW.device)
    wide = table.index_select(0, byte_BW.flatten().to(torch.int32))
    return wide.view(torch.uint8).view(byte_BW.shape[0], byte_BW.shape[1] * values)


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
    if anchor_region_B is None:
        anchor_region_B = torch.full_like(position_B, -1)
    placeholder_B = anchor_region_B < 0
    region_B = anchor_region_B.clamp(min=0)
    entry_B, found_B = view.find(cell_type_B, corpus.contig[region_B], corpus.start[region_B])
    region_BC = around(look_up(view.region, entry_BR), region_B)
    there_BC = around(there_BR, ~placeholder_B)
    if accessibility:
        strength_BC = around(look_up(view.strength, entry_BR), view.strength[entry_B] * found_B)
    else:
        strength_BC = torch.ones(region_BC.shape, device=corpus.device)
    return corpus.matrix(region_BC, strength_BC, there_BC), placeholder_B


def around(x_BR: Tensor, x_B: Tensor) -> Tensor:
    """Put the anchor's value between the left and the right neighbours'."""
    left, right = x_BR.chunk(2, dim=1)
    return torch.cat([left, x_B[:, None], right], dim=1)


@dataclass(frozen=True)
class Draws:
    """B samples (cell type, anchor region).

    Attributes
    ----------
    cell, region : int64[B].
    ids : int64[B, tokens], ``[CLS] A``: tokens of the region, cropped and on either strand.
    matrix : float32[B, M + 1, R + 1] around it, as :func:`neighbourhood` makes it.
    """

    cell: Tensor
    region: Tensor
    ids: Tensor
    matrix: Tensor


def shuffled(view: View, position_B: Tensor, *, seed: int, epoch: int = 0) -> Tensor:
    """Return the entries of a view at some positions of a random order of all, int64[B].

    An entry is a sample: a cell type and a region that is open in it. It is cheaper to ask for
    many at once.
    """
    entry_B = permute(position_B, view.key.numel(), fold(seed, STREAM_ORDER, epoch))
    return entry_B.to(view.key.device)


def draw(
    corpus: Corpus,
    view: View,
    entry_B: Tensor,
    *,
    seed: int,
    epoch: int = 0,
    k: int = 6,
    stride: int = 1,
    row_tokens: int = 512,
    R: int = 10,
) -> Draws:
    """Make samples: tokens and matrices.

    For notebooks and own training loops; :class:`genebert.sampler.Sampler` adds masks and
    negatives. A sample depends on the seed, the epoch and its entry alone.

    Parameters
    ----------
    entry_B : int64[B], entries of the view (:func:`shuffled`).
    k, stride, row_tokens : of the tokens; the first one is CLS.
    R : neighbours, even.
    """
    length = segment_length(row_tokens - 1, k, stride)
    room = corpus.length - length
    if room < 0:
        raise InputError(
            "a row is longer than the stored sequences", file="row_tokens", found=length,
            expected=f"at most {corpus.length} bases",
        )  # fmt: skip
    region_B = view.region[entry_B]
    cell_B = (view.key[entry_B] >> START_BITS) // view.n_contigs
    jitter = min(corpus.flank, room // 2)
    word_B2 = words(fold(seed, STREAM_DRAW, epoch), entry_B, 2)
    offset_B = room // 2 - jitter + integers(word_B2[:, 0], 2 * jitter + 1)
    codes = corpus.codes(region_B, offset_B, length, (word_B2[:, 1] & 1).bool())
    centre_B = corpus.start[region_B] + corpus.width // 2
    matrix, _ = neighbourhood(corpus, view, cell_B, corpus.contig[region_B], centre_B, R, region_B)
    return Draws(cell_B, region_B, single_row(tokenize(codes, k, stride)), matrix)
