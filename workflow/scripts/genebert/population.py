"""The loci and cell types that training rows are drawn from; weights of pairs of cell types.

In: a corpus and a plan. Out: a :class:`Population` for one split, which also answers where a locus
is open and where its surroundings are complete.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genebert.errors import InputError
from genebert.plan import Layout, Plan
from genebert.samples import TRAIN, Corpus, View

NGSP_GAP = 10  # a negative partner is not within this many open regions of A
MOTIF_BINS, BREADTH_BINS = 8, 4

Array = NDArray[Any]


@dataclass(frozen=True)
class Population:
    """The loci and cell types that rows are drawn from.

    Attributes
    ----------
    corpus, layout, plan : what it was built from.
    view : open regions that may be looked at.
    loci : int64[n], region ids of the anchors: open in one of `anchor_cells`.
    pair_loci : int64[m], those with a pair of cell types for n2.
    cells : int64[c], the cell types that take part.
    anchor_cells : bool[c], those in which an anchor is drawn for MGM, NGSP and the contrast n1.
    pair_weight : float64[c, c] of small integers: weight of (open in row, closed in column) in n2.
    pair_accept : int64[c, c], of 2**16 drawn pairs so many are used; the others fall back to n1.
    motif_bin, breadth_bin : int64[R], for matching.
    """

    corpus: Corpus
    plan: Plan
    layout: Layout
    view: View
    loci: Tensor
    pair_loci: Tensor
    cells: Tensor
    anchor_cells: Tensor
    pair_weight: Tensor
    pair_accept: Tensor
    motif_bin: Tensor
    breadth_bin: Tensor

    def places(self, region_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cell type, contig and start of every (region, cell type), each int64[B, c]."""
        cell_Bc = self.cells[None, :].expand(region_B.numel(), -1)
        contig_Bc = self.corpus.contig[region_B][:, None].expand_as(cell_Bc)
        return cell_Bc, contig_Bc, self.corpus.start[region_B][:, None].expand_as(cell_Bc)

    def complete(self, cell: Tensor, contig: Tensor, start: Tensor) -> Tensor:
        """Return where R / 2 open regions lie on each side of a region, outside `exclude`."""
        view, exclude, half = self.view, self.layout.exclude, self.plan.neighbours // 2
        centre = start + self.corpus.width // 2
        first, end = view.bounds(cell, contig)
        left = view.seek(cell, contig, centre - exclude - self.corpus.width + 1) - first
        right = end - view.seek(cell, contig, centre + exclude)
        return (left >= half) & (right >= half)

    def eligible(self, region_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (anchor_Bc, closed_Bc): where a row may have its anchor, and its n2 negative.

        The region is open in the cell type, has R neighbours, a partner downstream, and others
        that are far enough away to be no partner; or it is closed and the place has R neighbours.
        """
        cell, contig, start = self.places(region_B)
        _, is_open = self.view.find(cell, contig, start)
        complete = self.complete(cell, contig, start)
        first, end = self.view.bounds(cell, contig)
        partner = self.view.seek(cell, contig, start + self.layout.partner) < end
        roomy = end - first > 2 * NGSP_GAP + 2
        return is_open & complete & partner & roomy, ~is_open & complete


def bins(value: Array, reference: Array, n: int) -> Array:
    """Return the quantile bin (of ``reference``) of each value, int64."""
    if len(reference) == 0:
        return np.zeros(len(value), dtype=np.int64)
    edges = np.quantile(reference, np.arange(1, n) / n)
    return np.searchsorted(edges, value, side="right").astype(np.int64)


def balanced_weights(open_nc: Array, closed_nc: Array, roles_cc: Array) -> tuple[Array, Array]:
    """Weigh pairs (open in c, closed in c') so that both directions are used equally often.

    A locus draws one pair with probability proportional to the weights of its possible pairs.
    The weight of (c, c') is multiplied by sqrt(expected(c', c) / expected(c, c')) for 20 rounds
    and rounded to integers of 1 .. 1023. Loci with few possible pairs can make it impossible that
    both directions agree; of the direction that is still drawn more often a part is then not used.

    Parameters
    ----------
    open_nc, closed_nc : bool[n, c] of loci.
    roles_cc : bool[c, c], pairs that may be drawn.

    Returns
    -------
    weight_cc : float64; 0 where a pair, or its reverse, never occurs.
    accept_cc : int64, of 2**16 draws of a pair so many are used.
    """
    is_open, closed = open_nc.astype(np.float64), closed_nc.astype(np.float64)
    count = is_open.T @ closed
    usable = roles_cc & (count > 0) & (count.T > 0)
    weight = np.where(usable, 1.0 / np.maximum(count, 1.0), 0.0)
    if not usable.any():
        return weight, np.zeros(weight.shape, dtype=np.int64)
    for _ in range(20):
        expected = _expected(is_open, closed, weight)
        ratio = np.where(usable, expected.T / np.where(usable, expected, 1.0), 1.0)
        weight = weight * np.sqrt(ratio)
    weight = np.where(usable, np.clip(np.rint(1023 * weight / weight.max()), 1, 1023), 0.0)
    expected = _expected(is_open, closed, weight)
    share = np.where(usable, np.minimum(1.0, expected.T / np.where(usable, expected, 1.0)), 0.0)
    return weight, np.rint(share * 2**16).astype(np.int64)


def _expected(is_open: Array, closed: Array, weight: Array) -> Array:
    """Return how often each pair of cell types is expected to be drawn, float64[c, c]."""
    total = ((is_open @ weight) * closed).sum(axis=1)
    share = np.where(total > 0, 1.0 / np.maximum(total, 1e-300), 0.0)
    return np.asarray(weight * ((is_open * share[:, None]).T @ closed))


def build_population(
    corpus: Corpus,
    plan: Plan,
    split: int,
    roles: str,
    *,
    chunk: int = 4096,
    sample: int = 20_000,
) -> Population:
    """Choose loci, cell types and matching tables.

    Parameters
    ----------
    split : TRAIN, VALID or TEST; nothing outside it is looked at.
    roles : "training" (training cell types only) or "held_out" (anchors in held-out cell types;
        n2 pairs have a held-out type on either side, in both directions).
    chunk, sample : loci at a time; loci that the pair weights are balanced on.

    Raises
    ------
    InputError
        If no locus has R neighbours in any cell type.
    """
    view = corpus.view([split], held_out_only=roles != "training")
    held_out = corpus.held_out.cpu().numpy()
    cells = np.flatnonzero(~held_out) if roles == "training" else np.arange(len(held_out))
    is_held = held_out[cells]
    roles_cc = ~np.eye(len(cells), dtype=bool)
    if roles != "training":
        roles_cc &= is_held[:, None] | is_held[None, :]
    in_training = corpus.split.cpu().numpy() == TRAIN

    def put(array: Array) -> Tensor:
        return torch.as_tensor(array, device=corpus.device)

    motif_count, breadth = corpus.motif_count.cpu().numpy(), corpus.breadth.cpu().numpy()
    population = Population(
        corpus=corpus,
        plan=plan,
        layout=Layout.of(plan, corpus),
        view=view,
        loci=torch.zeros(0, dtype=torch.int64, device=corpus.device),
        pair_loci=torch.zeros(0, dtype=torch.int64, device=corpus.device),
        cells=put(cells),
        anchor_cells=put(is_held if roles != "training" else np.ones(len(cells), dtype=bool)),
        pair_weight=put(np.zeros(roles_cc.shape)),
        pair_accept=put(np.zeros(roles_cc.shape, dtype=np.int64)),
        motif_bin=put(bins(motif_count, motif_count[in_training], MOTIF_BINS)),
        breadth_bin=put(bins(breadth, breadth[in_training], BREADTH_BINS)),
    )
    allowed = corpus.split == split
    if roles == "training":
        allowed = allowed & ~corpus.held_out_only & (corpus.breadth > 0)
    candidates = torch.nonzero(allowed).squeeze(1)
    open_nc, closed_nc = [], []
    for at in range(0, candidates.numel(), chunk):
        is_open, closed = population.eligible(candidates[at : at + chunk])
        open_nc.append(is_open.cpu())
        closed_nc.append(closed.cpu())
    shape = (0, len(cells))
    is_open = torch.cat(open_nc) if open_nc else torch.zeros(shape, dtype=torch.bool)
    closed = torch.cat(closed_nc) if closed_nc else torch.zeros(shape, dtype=torch.bool)
    usable = (is_open & population.anchor_cells.cpu()).any(dim=1)
    if not usable.any():
        raise InputError(
            "no cell type has enough open regions on one contig",
            file="neighbours",
            found=f"{plan.neighbours} neighbours, {candidates.numel()} regions of the split",
            expected="fewer neighbours, or more regions",
        )
    either = is_open.any(dim=1) & closed.any(dim=1)
    chosen = np.flatnonzero(either.numpy())[:: max(1, int(either.sum()) // sample)]
    weight, accept = balanced_weights(is_open.numpy()[chosen], closed.numpy()[chosen], roles_cc)
    possible = (is_open.numpy() @ (weight > 0) & closed.numpy()).any(axis=1)
    return replace(
        population,
        loci=candidates[usable.to(candidates.device)],
        pair_loci=candidates[put(possible)],
        pair_weight=put(weight),
        pair_accept=put(accept),
    )
