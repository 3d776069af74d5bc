"""Training rows, made on the device as a pure function of (seed, epoch, locus).

A batch of B rows has B / 2 `single` rows (``[CLS] A``: MGM and SRM) and B / 2 `pair` rows
(``[CLS] A [SEP] B``: MGM and NGSP), all of T tokens. What a row holds follows from the locus, the
epoch and the row's role; which loci a step visits follows from a keyed permutation of the unique
training loci: step t takes the positions [t * B, (t + 1) * B). Neither depends on the number of
processes.

Shapes: S = P = B / 2 rows, L bases, H hidden bases, K candidates, c cell types that take part.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from genebert import masking, tokens
from genebert.objectives import SRM
from genebert.plan import Layout, Plan, Segment
from genebert.population import NGSP_GAP, Population
from genebert.rng import fold, integers, permute, words
from genebert.samples import Corpus, columns_of, neighbours

N1, N2 = 0, 1  # contrasts of SRM: another locus, another cell type
STREAM_ORDER, STREAM_SINGLE, STREAM_PAIR = range(3)
NGSP_NEAR = 50  # the nearer of two distance grades ends here, in open regions
CANDIDATES = 64
GC_TOLERANCES = (0.02, 0.05)


@dataclass(frozen=True)
class Rows:
    """A batch, or a part of one: S single rows, then P pair rows; B = S + P.

    Attributes
    ----------
    ids : int64[B, T].
    index, offset, target : int64[B, H]: the token (of the row) that a hidden base is predicted
        from, the base's place in it, and the base.
    weight : float32[B, H], 0 where the base is N. repeat : bool[B, H], it is soft-masked.
    pair_anchor, partner : int64[P], region ids of A and B. follows : bool[P], label of NGSP.
    anchor : int64[S], region ids of A.
    contrast : int64[S], N1 or N2: what A's own matrix is to be told from.
    matrix : float32[2 S, F, C], the S matrices that match and then S that do not.
    cell, place : int64[2 S], cell type of each matrix and the region id that it is around (before
        a control shuffles it).
    allowed : bool[groups, group, 2 * group], which matrices may stand against a row (InfoNCE).
    """

    ids: Tensor
    index: Tensor
    offset: Tensor
    target: Tensor
    weight: Tensor
    repeat: Tensor
    pair_anchor: Tensor
    partner: Tensor
    follows: Tensor
    anchor: Tensor
    contrast: Tensor
    cell: Tensor | None
    place: Tensor | None
    matrix: Tensor | None
    allowed: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def draw(weight_Bc: Tensor, word_B: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a column with probability proportional to integer weights.

    Returns
    -------
    column_B : int64 (the last column where all weights are 0).
    possible_B : bool, some weight is above 0.
    """
    total_Bc = weight_Bc.long().cumsum(dim=1)
    at = integers(word_B, total_Bc[:, -1].clamp(min=1))
    column = (total_Bc <= at[:, None]).sum(dim=1)
    return column.clamp(max=weight_Bc.shape[1] - 1), total_Bc[:, -1] > 0


def best_candidate(tier_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Return (which, tier): the first candidate of the lowest tier."""
    K = tier_BK.shape[1]
    score = tier_BK * K + torch.arange(K, device=tier_BK.device)
    best = score.min(dim=1).values
    return best % K, best // K


def mismatch(gc_difference: Tensor, other_bin: Tensor) -> Tensor:
    """Rank how well candidates match: 0 both, 1 GC only, then wider GC."""
    narrow, wide = GC_TOLERANCES
    gc = gc_difference.abs()
    return other_bin.long() + 2 * (gc > narrow).long() + 4 * (gc > wide).long()


class Sampler:
    """Make rows of a population as a plan says."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.corpus: Corpus = population.corpus
        self.plan: Plan = population.plan
        self.layout: Layout = population.layout
        self.half = self.plan.batch_size // 2

    # -- which loci a step visits ------------------------------------------------------------

    def visits(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
        """Return locus, key and role of the rows of one process in one step.

        Process r takes the r-th part of the single rows and the r-th part of the pair rows.
        """
        n, B = self.population.loci.numel(), self.plan.batch_size
        share = self.half // world
        row = torch.arange(rank * share, (rank + 1) * share)
        row = torch.cat([row, row + self.half])
        position = step * B + row
        epoch = position // n
        order = fold(self.plan.seed, STREAM_ORDER, epoch)
        visit = torch.stack([permute(position % n, n, order), epoch, row % self.half])
        index, epoch, role = visit.to(self.corpus.device, non_blocking=True)
        return self.population.loci[index], epoch, role

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Rows:
        """Return the rows of one process in one step."""
        locus, epoch, role = self.visits(step, rank, world)
        S = role.numel() // 2
        return self.rows(
            locus[:S], epoch[:S], role[:S] % 2, locus[S:], epoch[S:], role[S:] % 2 == 0
        )  # fmt: skip

    def rows(
        self,
        locus_S: Tensor,
        epoch_S: Tensor,
        contrast_S: Tensor,
        locus_P: Tensor,
        epoch_P: Tensor,
        follows_P: Tensor,
    ) -> Rows:
        """Make rows of given loci, epochs and roles."""
        layout, seed = self.layout, self.plan.seed
        key_S = fold(seed, STREAM_SINGLE, epoch_S)
        key_P = fold(seed, STREAM_PAIR, epoch_P)
        n = layout.single.n_words
        word_S = words(key_S, locus_S, n + self._srm_words)
        segment_S = self._segment(layout.single, locus_S, word_S[:, :n])
        n = layout.pair.n_words
        word_P = words(key_P, locus_P, 2 * n + 2 + CANDIDATES)
        partner_P = self._partner(locus_P, follows_P, word_P[:, 2 * n :])
        first_P = self._segment(layout.pair, locus_P, word_P[:, :n])
        second_P = self._segment(layout.pair, partner_P, word_P[:, n : 2 * n])
        single = {**segment_S, "index": segment_S["index"] + 1}
        pair = {name: torch.cat([first_P[name], second_P[name]], dim=1) for name in first_P}
        shift = layout.pair.n_tokens + 2
        pair["index"] = torch.cat([first_P["index"] + 1, second_P["index"] + shift], dim=1)
        single["ids"] = tokens.single_row(segment_S["ids"])
        pair["ids"] = tokens.pair_row(first_P["ids"], second_P["ids"])
        row = {name: torch.cat([single[name], pair[name]]) for name in single}
        srm: dict[str, Any] = {
            "contrast": contrast_S, "matrix": None, "cell": None, "place": None, "allowed": None
        }  # fmt: skip
        if SRM in self.plan.objectives:
            srm = self._matches(locus_S, contrast_S, word_S[:, layout.single.n_words :])
        return Rows(
            ids=row["ids"],
            index=row["index"],
            offset=row["offset"],
            target=row["target"],
            weight=(row["target"] < tokens.N_CODE).float(),
            repeat=row["repeat"],
            pair_anchor=locus_P,
            partner=partner_P,
            follows=follows_P,
            anchor=locus_S,
            **srm,
        )

    def _segment(self, segment: Segment, region_B: Tensor, word_BW: Tensor) -> dict[str, Tensor]:
        """Cut out, turn and mask segments; the masks lie on the turned strand."""
        corpus, plan = self.corpus, self.plan
        offset_B = segment.first + integers(word_BW[:, 0], 2 * segment.jitter + 1)
        reverse_B1 = (word_BW[:, 1] & 1).bool()[:, None]
        codes = corpus.codes(region_B, offset_B, segment.length)
        repeat = corpus.repeats(region_B, offset_B, segment.length)
        codes = torch.where(reverse_B1, tokens.reverse_complement(codes), codes)
        repeat = torch.where(reverse_B1, repeat.flip(-1), repeat)
        masked = masking.mask(codes, word_BW[:, 2:], segment.masking, plan.k, plan.stride)
        return {
            "ids": masked.ids,
            "index": masked.token,
            "offset": masked.offset,
            "target": codes.gather(1, masked.position).long(),
            "repeat": repeat.gather(1, masked.position),
        }

    # -- NGSP ----------------------------------------------------------------------------------

    def _partner(self, anchor_P: Tensor, follows_P: Tensor, word_PW: Tensor) -> Tensor:
        """Return region ids of the second segments.

        B+ is the next region open in c. B- is open in c on the same contig, more than NGSP_GAP
        open regions from A, from one of two distance grades, and matched to B+ (GC within 2 %,
        same breadth bin; wider where no candidate matches), so that nothing about B alone tells.
        """
        corpus, population = self.corpus, self.population
        view = population.view
        eligible, _ = self.population.eligible(anchor_P)
        column, _ = draw(eligible & population.anchor_cells, word_PW[:, 0])
        cell, contig, start = (
            population.cells[column],
            corpus.contig[anchor_P],
            corpus.start[anchor_P],
        )
        first, end = view.bounds(cell, contig)
        next_P = view.seek(cell, contig, start + self.layout.partner).clamp(
            max=view.key.numel() - 1
        )
        own = view.seek(cell, contig, start)
        near = (word_PW[:, 1] & 1).bool()
        # entries at a distance of low + 1 .. high from A, to the left and to the right
        low = torch.where(near, NGSP_GAP, NGSP_NEAR)
        high = torch.where(near, torch.full_like(own, NGSP_NEAR), end - first)
        empty = (own - first <= low) & (end - 1 - own <= low)
        low = torch.where(empty, NGSP_GAP, low)
        left = ((own - first).minimum(high) - low).clamp(min=0)
        right = ((end - 1 - own).minimum(high) - low).clamp(min=0)
        pick = integers(word_PW[:, 2:], (left + right).clamp(min=1)[:, None])
        candidate = torch.where(
            pick < left[:, None],
            (own - low)[:, None] - 1 - pick,
            (own + low)[:, None] + 1 + pick - left[:, None],
        ).clamp(0, view.key.numel() - 1)
        region = view.region[candidate]
        true_P = view.region[next_P]
        tier = mismatch(
            corpus.gc[region] - corpus.gc[true_P][:, None],
            population.breadth_bin[region] != population.breadth_bin[true_P][:, None],
        )
        which, _ = best_candidate(tier)
        false_P = region.gather(1, which[:, None]).squeeze(1)
        return torch.where(follows_P, true_P, false_P)

    # -- SRM -----------------------------------------------------------------------------------

    @property
    def _srm_words(self) -> int:
        return 4 + 2 * CANDIDATES + self.corpus.n_motifs * (self.plan.matrix == "permuted_tfs")

    def contrasts(self, anchor_S: Tensor, contrast_S: Tensor, word_SW: Tensor) -> dict[str, Tensor]:
        """Draw cell type and negative of every anchor.

        n2 draws (c, c') together, by weights under which both directions are used equally often.
        A locus that is closed in no cell type has no n2 and falls back to n1; so does a
        part of the pairs whose reverse is rarer.
        """
        population = self.population
        open_Sc, closed_Sc = self.population.eligible(anchor_S)
        weight = open_Sc.double() * (closed_Sc.double() @ population.pair_weight.T)
        column_n2, possible = draw(weight, word_SW[:, 0])
        weight = closed_Sc.double() * population.pair_weight[column_n2]
        other, _ = draw(weight, word_SW[:, 1])
        column_n1, _ = draw(open_Sc & population.anchor_cells, word_SW[:, 0])
        used = (word_SW[:, 3] >> 16) < population.pair_accept[column_n2, other]
        contrast_S = torch.where(possible & used, contrast_S, N1)
        cell = population.cells[torch.where(contrast_S == N2, column_n2, column_n1)]
        locus = self._matched_locus(anchor_S, cell, word_SW[:, 4 : 4 + CANDIDATES])
        return {
            "contrast": contrast_S,
            "cell": cell,
            "negative_cell": torch.where(contrast_S == N2, population.cells[other], cell),
            "negative_place": torch.where(contrast_S == N2, anchor_S, locus),
        }

    def _matched_locus(self, anchor_S: Tensor, cell_S: Tensor, word_SK: Tensor) -> Tensor:
        """Return another locus open in the same cell type, matched on GC and motif count."""
        corpus, population = self.corpus, self.population
        view = population.view
        entry = self._candidates(cell_S, word_SK)
        region = view.region[entry]
        cell = cell_S[:, None].expand_as(region)
        own = view.seek(cell_S, corpus.contig[anchor_S], corpus.start[anchor_S])
        tier = mismatch(
            corpus.gc[region] - corpus.gc[anchor_S][:, None],
            population.motif_bin[region] != population.motif_bin[anchor_S][:, None],
        )
        tier = tier + 8 * ~population.complete(cell, corpus.contig[region], corpus.start[region])
        tier = tier + 16 * ((entry - own[:, None]).abs() <= self.plan.neighbours)
        which, _ = best_candidate(tier)
        return region.gather(1, which[:, None]).squeeze(1)

    def _candidates(self, cell_S: Tensor, word_SK: Tensor) -> Tensor:
        """Draw entries of a cell type's list, int64[S, K]."""
        first, end = self.population.view.cell_bounds(cell_S)
        entry = first[:, None] + integers(word_SK, (end - first).clamp(min=1)[:, None])
        return entry.clamp(max=self.population.view.key.numel() - 1)

    def _matches(self, anchor_S: Tensor, contrast_S: Tensor, word_SW: Tensor) -> dict[str, Any]:
        """Make the matrices of SRM, right and wrong, and what is known about them."""
        drawn = self.contrasts(anchor_S, contrast_S, word_SW)
        cell = torch.cat([drawn["cell"], drawn["negative_cell"]])
        place = torch.cat([anchor_S, drawn["negative_place"]])
        matrix = self.matrix(anchor_S.repeat(2), cell, place, word_SW.repeat(2, 1))
        allowed = self._allowed(anchor_S, drawn) if self.plan.srm_loss == "infonce" else None
        return {
            "contrast": drawn["contrast"], "cell": cell, "place": place, "matrix": matrix,
            "allowed": allowed,
        }  # fmt: skip

    def matrix(self, anchor_S: Tensor, cell_S: Tensor, place_S: Tensor, word_SW: Tensor) -> Tensor:
        """Return matrix_SFC around places, with the anchor column empty, as `matrix` says.

        `shuffled` takes the columns of another window, of a random cell type; `shuffled_cells`
        those of a random cell type at the same place; `permuted_tfs` permutes the motif rows of
        each sample.
        """
        corpus, plan, population = self.corpus, self.plan, self.population
        if plan.matrix == "shuffled":
            column = integers(word_SW[:, 2], population.cells.numel())
            cell_S = population.cells[column]
            entry = self._candidates(cell_S, word_SW[:, 4 + CANDIDATES : 4 + 2 * CANDIDATES])
            region = population.view.region[entry]
            cell = cell_S[:, None].expand_as(region)
            own = population.view.seek(cell_S, corpus.contig[anchor_S], corpus.start[anchor_S])
            tier = 1 - population.complete(cell, corpus.contig[region], corpus.start[region]).long()
            tier = tier + 2 * ((entry - own[:, None]).abs() <= plan.neighbours)
            which, _ = best_candidate(tier)
            place_S = region.gather(1, which[:, None]).squeeze(1)
        elif plan.matrix == "shuffled_cells":
            column, possible = draw(population.complete(*population.places(place_S)), word_SW[:, 2])
            cell_S = torch.where(possible, population.cells[column], cell_S)
        centre = corpus.start[place_S] + corpus.width // 2
        entry, there = neighbours(
            population.view, corpus.width, cell_S, corpus.contig[place_S], centre,
            plan.neighbours, self.layout.exclude,
        )  # fmt: skip
        matrix_SRF = columns_of(corpus, population.view, entry, there, plan.accessibility)
        if plan.matrix == "permuted_tfs":
            order = word_SW[:, 4 + 2 * CANDIDATES :].argsort(dim=1, stable=True)
            rows = matrix_SRF[..., :-1].gather(2, order[:, None, :].expand(-1, plan.neighbours, -1))
            matrix_SRF = torch.cat([rows, matrix_SRF[..., -1:]], dim=-1)
        half = plan.neighbours // 2
        empty = torch.zeros_like(matrix_SRF[:, :1])
        matrix_SCF = torch.cat([matrix_SRF[:, :half], empty, matrix_SRF[:, half:]], dim=1)
        return matrix_SCF.transpose(1, 2).contiguous()

    def _allowed(self, anchor_S: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """Return which matrices may stand against each row of a group.

        Its own match and its own drawn negative; of the other rows' matrices, those of cell
        types in which the row's anchor is closed.
        """
        g = self.plan.group
        anchor = anchor_S.view(-1, g, 1)
        cell = torch.cat(
            [drawn["cell"].view(-1, 1, g), drawn["negative_cell"].view(-1, 1, g)], dim=2
        )
        anchor, cell = torch.broadcast_tensors(anchor, cell)
        _, is_open = self.population.view.find(
            cell, self.corpus.contig[anchor], self.corpus.start[anchor]
        )
        own = torch.eye(g, dtype=torch.bool, device=anchor_S.device).repeat(1, 2)
        return ~is_open | own
