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

from genebert.balance import (
    Geometry,
    accepted,
    balanced_weights,
    pair_rates,
    size_weights,
    window_shapes,
)
from genebert.errors import InputError
from genebert.objectives import MOTIF
from genebert.plan import Layout, Plan
from genebert.rng import fold, integers, words
from genebert.samples import START_BITS, TRAIN, Corpus, View, spread

NGSP_GAP = 10  # a negative partner is not within this many open regions of A
MOTIF_BINS, BREADTH_BINS = 8, 4
PAIRS_PER_CELL = 500
LEAST_SPREAD = 1e-6  # of a motif that is nowhere in training
BALANCE_SEED = 19_830_401  # of the pairs that the geometry is balanced on

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
    pairs : int64[p], entries of the view: every anchor in every cell type (`samples` = "pairs").
    cells : int64[c], the cell types that take part.
    anchor_cells : bool[c], those in which an anchor is drawn for MGM, NGSP and the contrast n1.
    cell_weight : int64[c], weight of a cell type when one is drawn for a locus.
    pair_weight : float64[c, c] of small integers: weight of (open in row, closed in column) in n2.
    pair_accept : int64[c, c], of 2**16 drawn pairs so many are used; the others count nothing.
    geometry : accepts pairs of windows of n2 so that their geometry does not tell them apart.
    motif_bin, breadth_bin : uint8[R], quantiles, for matching.
    octave : uint8[R], half octaves of the breadth: 1, 2, 3, 4 to 5, 6 to 7, 8 to 11, ...
    motif_scale : float32[2, M], mean and standard deviation of the motif values of the training
        regions; [2, 0] unless the objective `motif` asks for it.
    limits, cell_limits : int32[3, contigs, C] (:func:`limits`), and of `cells` alone.
    open_bits : uint8[R, ceil(c / 8)] (:func:`open_bits`).
    surrounded : bool[nnz], :meth:`complete` for every entry of the view.
    """

    corpus: Corpus
    plan: Plan
    layout: Layout
    view: View
    loci: Tensor
    pair_loci: Tensor
    pairs: Tensor
    cells: Tensor
    anchor_cells: Tensor
    cell_weight: Tensor
    pair_weight: Tensor
    pair_accept: Tensor
    geometry: Geometry
    motif_bin: Tensor
    breadth_bin: Tensor
    octave: Tensor
    motif_scale: Tensor
    limits: Tensor
    cell_limits: Tensor
    open_bits: Tensor
    surrounded: Tensor

    @property
    def visits(self) -> Tensor:
        """What an epoch passes over once: `pairs`, or `loci`."""
        return self.pairs if self.plan.samples == "pairs" else self.loci

    def places(self, region_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return cell type, contig and start of every (region, cell type), each int64[B, c]."""
        cell_Bc = self.cells[None, :].expand(region_B.numel(), -1)
        contig_Bc = self.corpus.contig[region_B][:, None].expand_as(cell_Bc)
        return cell_Bc, contig_Bc, self.corpus.start[region_B][:, None].expand_as(cell_Bc)

    def complete(self, cell: Tensor, contig: Tensor, start: Tensor) -> Tensor:
        """Return where R / 2 open regions lie on each side of a region, outside `exclude`."""
        at = contig * self.limits.shape[2] + cell
        first, last, _ = self.limits.flatten(1)
        return (first[at] <= start) & (start <= last[at])

    def visited(self, visit_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return region ids, and the column of the cell type where the visit says which."""
        if self.plan.samples != "pairs":
            return visit_B, None
        cell_B = (self.view.key[visit_B] >> START_BITS) // self.view.n_contigs
        return self.view.region[visit_B], torch.searchsorted(self.cells, cell_B)

    def eligible(self, region_B: Tensor, column_B: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (anchor_Bc, closed_Bc): where a row may have its anchor, and its n2 negative.

        The region is open in the cell type, has R neighbours, a partner downstream, and others
        that are far enough away to be no partner; or it is closed and the place has R neighbours.
        With a column, the anchor is in that cell type only.
        """
        contig_B = self.corpus.contig[region_B]
        first, last, last_anchor = (x.index_select(0, contig_B) for x in self.cell_limits)
        start_B1 = self.corpus.start[region_B][:, None].to(first.dtype)
        bits = spread(self.open_bits.index_select(0, region_B), 8)
        is_open = bits[:, : self.cells.numel()].view(torch.bool)
        inside = start_B1 >= first
        anchor_Bc = is_open & inside & (start_B1 <= last_anchor)
        if column_B is not None:
            at_c = torch.arange(anchor_Bc.shape[1], device=column_B.device)
            anchor_Bc &= at_c == column_B[:, None]
        return anchor_Bc, ~is_open & inside & (start_B1 <= last)

    def pairs_of(
        self, open_Bc: Tensor, closed_Bc: Tensor, word_B2: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a pair (open in c, closed in c') for loci: (column c, column c', is there one)."""
        weight = open_Bc.double() * (closed_Bc.double() @ self.pair_weight.T)
        column, possible = draw(weight, word_B2[:, 0])
        other, _ = draw(closed_Bc.double() * self.pair_weight[column], word_B2[:, 1])
        return column, other, possible

    def shapes(self, column: Tensor, place: Tensor) -> Tensor:
        """Return :func:`window_shapes` of the cell types at ``column``, int64[H, ...]."""
        flat = window_shapes(
            self.corpus, self.view, self.cells[column.flatten()], place.flatten(),
            self.plan.neighbours, self.layout.exclude,
        )  # fmt: skip
        return flat.view(len(flat), *column.shape)


def draw(weight_Bc: Tensor, word_B: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a column with probability proportional to integer weights.

    Returns
    -------
    column_B : int64 (the last column where all weights are 0).
    possible_B : bool, some weight is above 0.
    """
    total_Bc = weight_Bc.long().cumsum(dim=1)
    at = integers(word_B, total_Bc[:, -1].clamp(min=1))
    column = torch.searchsorted(total_Bc, at[:, None], right=True).squeeze(1)
    return column.clamp(max=weight_Bc.shape[1] - 1), total_Bc[:, -1] > 0


def limits(corpus: Corpus, view: View, layout: Layout, half: int) -> Tensor:
    """Return between which starts a region has neighbours and partners, int32[3, contigs, C].

    In (contig, cell type), ``half`` open regions lie on either side of a region, outside
    ``exclude``, if first <= start <= last; it may be an anchor (a partner lies downstream, and
    other regions are far enough away to be none) if first <= start <= the last of the three.
    """
    shape = len(corpus.cells), view.n_contigs
    start = corpus.start[view.region]
    begin, end = view.block[:-1], view.block[1:]
    some = max(view.region.numel() - 1, 0)

    def start_of(entry: Tensor) -> Tensor:
        return start[entry.clamp(0, some)] if start.numel() else torch.zeros_like(entry)

    enough, none = end - begin >= half, torch.full_like(begin, -1)
    first = start_of(begin + half - 1) + corpus.width + layout.exclude - corpus.width // 2
    last = start_of(end - half) - layout.exclude - corpus.width // 2
    first = torch.where(enough, first, torch.iinfo(torch.int32).max)
    last = torch.where(enough, last, none)
    roomy = end - begin > 2 * NGSP_GAP + 2
    last_anchor = torch.where(roomy, last.minimum(start_of(end - 1) - layout.partner), none)
    every = torch.stack([first, last, last_anchor]).clamp(max=torch.iinfo(torch.int32).max)
    return every.to(torch.int32).view(3, *shape).transpose(1, 2).contiguous()


def open_bits(view: View, cells: Array, regions: int) -> Array:
    """Return uint8[R, ceil(c / 8)], little-endian bits: is the region open in each cell type?"""
    bits = np.zeros((regions, -(-len(cells) // 8)), dtype=np.uint8)
    region, block = view.region.cpu().numpy(), view.block.cpu().numpy()
    for column, cell in enumerate(cells):
        here = region[slice(*block[[cell * view.n_contigs, (cell + 1) * view.n_contigs]])]
        bits[here, column >> 3] |= np.uint8(1 << (column & 7))
    return bits


def bins(value: Array, reference: Array, n: int) -> Array:
    """Return the quantile bin (of ``reference``, n at most 256) of each value, uint8."""
    if len(reference) == 0:
        return np.zeros(len(value), dtype=np.uint8)
    edges = np.quantile(reference, np.arange(1, n) / n)
    return np.searchsorted(edges, value, side="right").astype(np.uint8)


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
        If no locus has R neighbours in any cell type, or (in training) a cell type has fewer than
        R + 1 open regions on every contig.
    """
    view = corpus.view([split], held_out_only=roles != "training")
    held_out = corpus.held_out.cpu().numpy()
    cells = np.flatnonzero(~held_out) if roles == "training" else np.arange(len(held_out))
    is_held = held_out[cells]
    roles_cc = ~np.eye(len(cells), dtype=bool)
    if roles != "training":
        roles_cc &= is_held[:, None] | is_held[None, :]
    in_training = ((corpus.split == TRAIN) & ~corpus.held_out_only).cpu().numpy()

    def put(array: Array) -> Tensor:
        return torch.as_tensor(array, device=corpus.device)

    motif_count, breadth = corpus.motif_count.cpu().numpy(), corpus.breadth.cpu().numpy()
    layout = Layout.of(plan, corpus)
    if split == TRAIN and roles == "training":
        check_neighbours(corpus, view, cells, plan.neighbours)
    between = limits(corpus, view, layout, plan.neighbours // 2)
    population = Population(
        corpus=corpus,
        plan=plan,
        layout=layout,
        view=view,
        loci=torch.zeros(0, dtype=torch.int64, device=corpus.device),
        pair_loci=torch.zeros(0, dtype=torch.int64, device=corpus.device),
        pairs=torch.zeros(0, dtype=torch.int64, device=corpus.device),
        cells=put(cells),
        anchor_cells=put(is_held if roles != "training" else np.ones(len(cells), dtype=bool)),
        cell_weight=torch.ones(len(cells), dtype=torch.int64, device=corpus.device),
        pair_weight=put(np.zeros(roles_cc.shape)),
        pair_accept=put(np.zeros(roles_cc.shape, dtype=np.int64)),
        geometry=Geometry.none(corpus.device),
        motif_bin=put(bins(motif_count, motif_count[in_training], MOTIF_BINS)),
        breadth_bin=put(bins(breadth, breadth[in_training], BREADTH_BINS)),
        octave=put((2 * np.log2(np.maximum(breadth, 1))).astype(np.uint8)),
        motif_scale=motif_scale(corpus, MOTIF in plan.objectives),
        limits=between,
        cell_limits=between[:, :, put(cells)],
        open_bits=put(open_bits(view, cells, len(breadth))),
        surrounded=torch.zeros(0, dtype=torch.bool, device=corpus.device),
    )
    at = (view.key >> START_BITS).to(torch.int32)
    cell, contig = at // view.n_contigs, at % view.n_contigs
    population = replace(
        population, surrounded=population.complete(cell, contig, corpus.start[view.region])
    )
    if plan.cell_type_weights == "inverse_size":
        first, end = view.cell_bounds(population.cells)
        weights = put(size_weights((end - first).cpu().numpy()))
        population = replace(population, cell_weight=weights)
    allowed = corpus.split == split
    if roles == "training":
        allowed = allowed & ~corpus.held_out_only & (corpus.breadth > 0)
    candidates = torch.nonzero(allowed).squeeze(1)
    none = torch.zeros(0, dtype=torch.bool, device=corpus.device)
    usable_parts, either_parts = [none], [none]
    for part in candidates.split(chunk):
        is_open, closed = population.eligible(part)
        usable_parts.append((is_open & population.anchor_cells).any(dim=1))
        either_parts.append(is_open.any(dim=1) & closed.any(dim=1))
    usable, either = torch.cat(usable_parts), torch.cat(either_parts)
    if not usable.any():
        raise InputError(
            "no cell type has enough open regions on one contig",
            file="neighbours",
            found=f"{plan.neighbours} neighbours, {candidates.numel()} regions of the split",
            expected=f"an anchor with {plan.neighbours // 2} open regions on each side, on a contig"
            f" with at least {2 * NGSP_GAP + 3} open regions",
        )
    chosen = candidates[either][:: max(1, int(either.sum()) // sample)]
    open_nc, closed_nc = (x.cpu().numpy() for x in population.eligible(chosen))
    by_pairs = plan.samples == "pairs"
    weight, expected = balanced_weights(open_nc, closed_nc, roles_cc, by_pairs)
    paired, possible_parts = put((weight > 0).astype(np.float32)), [none]
    for part in candidates.split(chunk):
        part_open, part_closed = population.eligible(part)
        possible_parts.append(((part_open.float() @ paired > 0) & part_closed).any(dim=1))
    population = replace(
        population,
        loci=candidates[usable],
        pair_loci=candidates[torch.cat(possible_parts)],
        pairs=anchor_entries(population, allowed) if by_pairs else population.pairs,
        pair_weight=put(weight),
        pair_accept=put(accepted(expected)),
    )
    geometry, rates = balanced_geometry(population, sample)
    return replace(population, geometry=geometry, pair_accept=put(accepted(expected * rates)))


def motif_scale(corpus: Corpus, wanted: bool) -> Tensor:
    """Return mean and standard deviation of every motif over the training regions, [2, M]."""
    if not wanted:
        return torch.zeros(2, 0, device=corpus.device)
    usable = (corpus.split == TRAIN) & ~corpus.held_out_only
    sums = torch.zeros(3, corpus.n_motifs, dtype=torch.float64, device=corpus.device)
    for region in torch.nonzero(usable).squeeze(1).split(4096):
        x = corpus.columns(region).double()
        sums += torch.stack([torch.ones_like(x).sum(0), x.sum(0), x.square().sum(0)])
    mean = sums[1] / sums[0]
    spread = (sums[2] / sums[0] - mean.square()).clamp(min=0).sqrt()
    spread = torch.where(spread > LEAST_SPREAD, spread, 1.0)
    return torch.stack([mean, spread]).float()


def balanced_geometry(population: Population, sample: int) -> tuple[Geometry, Array]:
    """Fit the geometry of a population's n2 windows on about ``sample`` drawn pairs, or more.

    Every cell type needs some hundred of them.

    Returns
    -------
    geometry : as fitted. rates : float64[c, c], the share of each pair's draws that it accepts.
    """
    device, n_cells = population.corpus.device, population.cells.numel()
    sample = max(sample, PAIRS_PER_CELL * n_cells)
    visits = population.pairs if population.plan.samples == "pairs" else population.pair_loci
    if visits.numel() == 0:
        return Geometry.none(device), np.ones((n_cells, n_cells))
    visit = visits.repeat(-(-sample // visits.numel()))[:: max(1, visits.numel() // sample)]
    turn = torch.arange(visit.numel(), device=device) // visits.numel()
    word = words(fold(BALANCE_SEED, turn), visit, 3)
    locus, given = population.visited(visit)
    column, other, possible = population.pairs_of(*population.eligible(locus, given), word)
    columns = torch.stack([column, other])[:, possible]
    used = ((word[:, 2] >> 16) < population.pair_accept[column, other])[possible]
    if not used.any():
        return Geometry.none(device), np.ones((n_cells, n_cells))
    shapes = population.shapes(columns, locus[possible].expand(2, -1)).cpu()
    columns, used = columns.cpu(), used.cpu()
    geometry = Geometry.fit(shapes[:, :, used].numpy(), columns[:, used].numpy(), n_cells)
    chance = geometry.chances(shapes, columns).numpy() / 2**16
    return geometry.to(device), pair_rates(chance, columns.numpy(), n_cells)


def anchor_entries(population: Population, allowed_R: Tensor) -> Tensor:
    """Return the entries of the view at which a row may have its anchor, int64[p].

    Parameters
    ----------
    allowed_R : bool[R], regions that may be anchors at all.
    """
    view, corpus = population.view, population.corpus
    at = view.key >> START_BITS
    first, last_anchor = (
        population.limits[which].flatten()[
            at % view.n_contigs * len(corpus.cells) + at // view.n_contigs
        ]
        for which in (0, 2)
    )
    start = corpus.start[view.region]
    wanted = torch.zeros(len(corpus.cells), dtype=torch.bool, device=corpus.device)
    wanted[population.cells[population.anchor_cells]] = True
    inside = (first <= start) & (start <= last_anchor)
    usable = inside & allowed_R[view.region] & wanted[at // view.n_contigs]
    return torch.nonzero(usable).squeeze(1)


def check_neighbours(corpus: Corpus, view: View, cells: Array, R: int) -> None:
    """Raise :class:`InputError` if a cell type has no contig with R + 1 open regions."""
    count = (view.block[1:] - view.block[:-1]).view(len(corpus.cells), -1).max(dim=1).values
    for cell in cells:
        if (most := int(count[cell])) <= R:
            raise InputError(
                f"cell type {corpus.cells[cell]} has fewer open regions than a matrix has columns",
                file="neighbours",
                found=f"{R} neighbours, at most {most} training regions on one contig",
                expected="fewer neighbours, or a cell type with more regions",
            )


def background_population(corpus: Corpus, plan: Plan) -> Population:
    """Return the population of windows outside all regions, which no cell type has open.

    Parameters
    ----------
    corpus : of :func:`genebert.background.open_background`; every window is a training window.
    """
    none = torch.zeros(0, dtype=torch.int64, device=corpus.device)
    return Population(
        corpus=corpus,
        plan=plan,
        layout=Layout.of(plan, corpus),
        view=corpus.view([TRAIN]),
        loci=torch.arange(corpus.start.numel(), device=corpus.device),
        pair_loci=none, pairs=none, cells=none, anchor_cells=none, cell_weight=none,
        pair_weight=none, pair_accept=none,
        geometry=Geometry.none(corpus.device), motif_bin=none, breadth_bin=none, octave=none,
        motif_scale=motif_scale(corpus, False), limits=none,
        cell_limits=none, open_bits=none, surrounded=none,
    )  # fmt: skip
