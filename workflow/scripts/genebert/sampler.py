"""Training rows, made on the device as a pure function of (seed, epoch, visit).

A batch of B rows has B / 2 `single` rows (``[CLS] A``: MGM and SRM) and B / 2 `pair` rows
(``[CLS] A [SEP] B``: MGM and NGSP), all of T tokens. What a row holds follows from the visit, the
epoch and the row's role; which visits a step makes follows from a keyed permutation of all: step t
takes the positions [t * B, (t + 1) * B). Neither depends on the number of processes. A visit is a
locus, for which a cell type is drawn; with `samples` = "pairs" a pair of a cell type and a locus.

Shapes: S = P = B / 2 rows, L bases, H hidden bases, K candidates, c cell types that take part.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from genebert import masking, tokens
from genebert.objectives import MGM, MOTIF, NGSP, SRM
from genebert.plan import Layout, Plan, Segment
from genebert.population import NGSP_GAP, Population, draw
from genebert.rng import (
    STREAM_ORDER,
    STREAM_PAIR,
    STREAM_SINGLE,
    fold,
    integers,
    permute,
    words,
)
from genebert.samples import Corpus, around, look_up, neighbours

N1, N2, NONE = 0, 1, 2  # contrasts of SRM: another locus, another cell type; no fair pair
NGSP_NEAR = 50  # the nearer of two distance grades ends here, in open regions
CANDIDATES = 64
MATCHES = 192  # candidates for the other locus of n1, which is to be alike in three ways
_AHEAD = 4096  # rows of either kind whose place in the order is looked up at once
GC_TOLERANCES = (0.02, 0.05)
GC_BITS = {NGSP: (2, 4), SRM: (2, 8)}  # of a mismatch: GC differs by more than each tolerance
BREADTH_BIT = {NGSP: 1, SRM: 4}
_UNFAIR = 16  # above every mismatch


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
    contrast : int64[S], N1 or N2: what A's own matrix is to be told from; NONE: the row counts
        nothing in SRM, since no fair negative was drawn.
    matrix : float32[2 S, F, C], the S matrices that match and then S that do not.
    cell, place : int64[2 S], cell type of each matrix and the region id that it is around (before
        a control shuffles it).
    allowed : bool[groups, group, 2 * group], which matrices may stand against a row (InfoNCE).
    state : float32[2 S, F], state of the cell type whose columns each matrix shows (`cell_state`).
    motif : float32[S, M], standardised motif row of each anchor (objective `motif`).
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
    state: Tensor | None
    motif: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def best_candidate(tier_BK: Tensor) -> tuple[Tensor, Tensor]:
    """Return (which, tier): the first candidate of the lowest tier."""
    K = tier_BK.shape[1]
    score = tier_BK * K + torch.arange(K, device=tier_BK.device)
    best = score.min(dim=1).values
    return best % K, best // K


def mismatch(*differs: Tensor) -> Tensor:
    """Rank how well candidates match, as the bits of what differs; the first matters least."""
    return torch.stack([x.long() << bit for bit, x in enumerate(differs)]).sum(dim=0)


def permute_rows(matrix_NFC: Tensor, order_NM: Tensor) -> Tensor:
    """Put the motif rows of each matrix into an order of its own; the last row stays."""
    index = order_NM[:, :, None].expand(-1, -1, matrix_NFC.shape[2])
    return torch.cat([matrix_NFC[:, :-1].gather(1, index), matrix_NFC[:, -1:]], dim=1)


class Sampler:
    """Make rows of a population as a plan says."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.corpus: Corpus = population.corpus
        self.plan: Plan = population.plan
        self.layout: Layout = population.layout
        self.half = self.plan.batch_size // 2
        self._visits: dict[tuple[int, int], tuple[int, Tensor]] = {}

    # -- which loci a step visits ------------------------------------------------------------

    def visits(self, step: int, rank: int = 0, world: int = 1) -> tuple[Tensor, ...]:
        """Return visit, epoch and role of the rows of one process in one step.

        Process r takes the r-th part of the single rows and the r-th part of the pair rows.
        """
        share = self.half // world
        ahead = max(1, _AHEAD // share)  # steps that are looked up at once, which is cheaper
        block, at = divmod(step, ahead)
        if self._visits.get((rank, world), (None,))[0] != block:
            first = torch.arange(block * ahead, (block + 1) * ahead)[:, None]
            self._visits[rank, world] = (block, self._look_up(first, rank * share, share))
        index, epoch, role = self._visits[rank, world][1][:, at]
        return self.population.visits[index], epoch, role

    def _look_up(self, step_N1: Tensor, first: int, share: int) -> Tensor:
        """Return place in the visits, epoch and role, int64[3, N, 2 share], of N steps."""
        n = self.population.visits.numel()
        row = torch.arange(first, first + share)
        row = torch.cat([row, row + self.half])
        position = step_N1 * self.plan.batch_size + row
        epoch = position // n
        order = fold(self.plan.seed, STREAM_ORDER, epoch)
        visit = [permute(position % n, n, order), epoch, (row % self.half).expand_as(position)]
        return torch.stack(visit).to(self.corpus.device, non_blocking=True)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Rows:
        """Return the rows of one process in one step."""
        visit, epoch, role = self.visits(step, rank, world)
        S = role.numel() // 2
        return self.rows(
            visit[:S], epoch[:S], role[:S] % 2, visit[S:], epoch[S:], role[S:] % 2 == 0
        )  # fmt: skip

    def rows(
        self,
        visit_S: Tensor,
        epoch_S: Tensor,
        contrast_S: Tensor,
        visit_P: Tensor,
        epoch_P: Tensor,
        follows_P: Tensor,
    ) -> Rows:
        """Make rows of given visits (loci, or entries of the view), epochs and roles."""
        layout, seed = self.layout, self.plan.seed
        locus_S, column_S = self.population.visited(visit_S)
        locus_P, column_P = self.population.visited(visit_P)
        key_S = fold(seed, STREAM_SINGLE, epoch_S)
        key_P = fold(seed, STREAM_PAIR, epoch_P)
        n = layout.single.n_words
        word_S = words(key_S, visit_S, n + self._srm_words)
        segment_S = self._segment(layout.single, locus_S, word_S[:, :n])
        n = layout.pair.n_words
        word_P = words(key_P, visit_P, 2 * n + 2 + CANDIDATES)
        partner_P = self._partner(locus_P, column_P, follows_P, word_P[:, 2 * n :])
        both = self._segment(
            layout.pair,
            torch.cat([locus_P, partner_P]),
            torch.cat([word_P[:, :n], word_P[:, n : 2 * n]]),
        )
        first_P, second_P = ({name: x.chunk(2)[i] for name, x in both.items()} for i in (0, 1))
        single = {**segment_S, "index": segment_S["index"] + 1}
        pair = {name: torch.cat([first_P[name], second_P[name]], dim=1) for name in first_P}
        shift = layout.pair.n_tokens + 2
        pair["index"] = torch.cat([first_P["index"] + 1, second_P["index"] + shift], dim=1)
        single["ids"] = tokens.single_row(segment_S["ids"])
        pair["ids"] = tokens.pair_row(first_P["ids"], second_P["ids"])
        row = {name: torch.cat([single[name], pair[name]]) for name in single}
        srm: dict[str, Any] = {
            "contrast": contrast_S, "matrix": None, "cell": None, "place": None, "allowed": None,
            "state": None,
        }  # fmt: skip
        if SRM in self.plan.objectives:
            word = word_S[:, layout.single.n_words :]
            srm = self._matches(locus_S, column_S, contrast_S, word)
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
            motif=self._motif_rows(locus_S) if MOTIF in self.plan.objectives else None,
            **srm,
        )

    def _motif_rows(self, region_S: Tensor) -> Tensor:
        """Return the standardised motif rows of regions, float32[S, M]."""
        mean_M, spread_M = self.population.motif_scale
        return (self.corpus.columns(region_S) - mean_M) / spread_M

    def _segment(self, segment: Segment, region_B: Tensor, word_BW: Tensor) -> dict[str, Tensor]:
        """Cut out, turn and mask segments; the masks lie on the turned strand.

        Without MGM nothing is hidden: the other objectives have no use for masks.
        """
        corpus, plan = self.corpus, self.plan
        offset_B = segment.first + integers(word_BW[:, 0], 2 * segment.jitter + 1)
        reverse_B = (word_BW[:, 1] & 1).bool()
        codes = corpus.codes(region_B, offset_B, segment.length, reverse_B)
        masked = masking.mask(codes, word_BW[:, 2:], segment.masking, plan.k, plan.stride)
        hides = MGM in plan.objectives
        at = masked.position
        stored = torch.where(reverse_B[:, None], segment.length - 1 - at, at) + offset_B[:, None]
        return {
            "ids": masked.ids if hides else tokens.tokenize(codes, plan.k, plan.stride),
            "index": masked.token,
            "offset": masked.offset,
            "target": codes.gather(1, at).long(),
            "repeat": corpus.repeats(region_B, stored),
        }

    def mismatches(self, objective: str, region_BK: Tensor, wanted_B: Tensor) -> Tensor:
        """Return :func:`mismatch` of regions with one each that they are to be alike to.

        NGSP: in breadth and GC (2 %, then 5 %). SRM, n1: in motif count, GC within 2 %, breadth and
        GC within 5 %.
        """
        population, gc_R = self.population, self.corpus.gc
        gc_BK = (look_up(gc_R, region_BK) - gc_R[wanted_B][:, None]).abs()
        near, far = (gc_BK > limit for limit in GC_TOLERANCES)

        def differs(bin_R: Tensor) -> Tensor:
            return look_up(bin_R, region_BK) != bin_R[wanted_B][:, None]

        if objective == NGSP:
            return mismatch(differs(population.breadth_bin), near, far)
        return mismatch(differs(population.motif_bin), near, differs(population.octave), far)

    # -- NGSP ----------------------------------------------------------------------------------

    def _partner(
        self, anchor_P: Tensor, column_P: Tensor | None, follows_P: Tensor, word_PW: Tensor
    ) -> Tensor:
        """Return region ids of the second segments.

        B+ is the next region open in c. B- is open in c on the same contig, more than NGSP_GAP
        open regions from A, from one of two distance grades, and matched to B+ (GC within 2 %,
        same breadth bin; wider where no candidate matches), so that nothing about B alone tells.
        Of windows outside all regions, for which NGSP is off, it is the next one.
        """
        corpus, population = self.corpus, self.population
        if self.plan.samples == "background":
            return (anchor_P + 1) % population.loci.numel()
        view = population.view
        eligible, _ = self.population.eligible(anchor_P, column_P)
        column, _ = self._draw_cell(eligible, word_PW[:, 0])
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
        region = look_up(view.region, candidate)
        true_P = view.region[next_P]
        tier = self.mismatches(NGSP, region, true_P)
        which, _ = best_candidate(tier)
        false_P = region.gather(1, which[:, None]).squeeze(1)
        return torch.where(follows_P, true_P, false_P)

    def _draw_cell(self, eligible_Bc: Tensor, word_B: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the cell type of a visit among those in which it may have its anchor."""
        population = self.population
        return draw((eligible_Bc & population.anchor_cells) * population.cell_weight, word_B)

    # -- SRM -----------------------------------------------------------------------------------

    @property
    def _srm_words(self) -> int:
        """Random words of SRM; those of a control come last."""
        control = {"permuted_tfs": self.corpus.n_motifs, "shuffled": 1 + 2 * CANDIDATES}
        control["shuffled_cells"] = 1
        return 4 + MATCHES + control.get(self.plan.matrix, 0)

    def contrasts(
        self,
        anchor_S: Tensor,
        column_S: Tensor | None,
        contrast_S: Tensor,
        word_SW: Tensor,
    ) -> dict[str, Tensor]:
        """Draw cell type and negative of every anchor.

        n2 draws (c, c') together, by weights under which both directions are used equally often. It
        is NONE where the locus is closed in no cell type, and for a part of the pairs whose
        reverse, in cell types or in geometry, is rarer (:mod:`genebert.balance`); n1 where no
        candidate is a fair one (:meth:`_matched_locus`). Such rows are not given the other
        contrast: what it was that ruled a pair out would tell right from wrong there.
        """
        population = self.population
        open_Sc, closed_Sc = self.population.eligible(anchor_S, column_S)
        column_n2, other, possible = population.pairs_of(open_Sc, closed_Sc, word_SW[:, :2])
        column_n1, _ = self._draw_cell(open_Sc, word_SW[:, 0])
        used = possible & ((word_SW[:, 3] >> 16) < population.pair_accept[column_n2, other])
        columns = torch.stack([column_n2, other])
        shapes = population.shapes(columns, anchor_S.expand(2, -1))
        used &= population.geometry.accepts(shapes, columns, word_SW[:, 3])
        wanted_S = contrast_S
        contrast_S = torch.where((wanted_S == N2) & ~used, NONE, wanted_S)
        cell = population.cells[torch.where(contrast_S == N2, column_n2, column_n1)]
        locus, fair = self._matched_locus(anchor_S, cell, word_SW[:, 4 : 4 + MATCHES])
        contrast_S = torch.where((wanted_S == N1) & ~fair, NONE, contrast_S)
        return {
            "contrast": contrast_S,
            "cell": cell,
            "negative_cell": torch.where(contrast_S == N2, population.cells[other], cell),
            "negative_place": torch.where(contrast_S == N2, anchor_S, locus),
        }

    def _matched_locus(
        self, anchor_S: Tensor, cell_S: Tensor, word_SK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return another locus open in the same cell type, and whether it is a fair negative.

        It is matched on GC, breadth (a locus is visited once, but what is open in a cell type is
        mostly broad) and motif count. Fair: R regions lie around it, more than R between it and
        the anchor, its breadth is in the same half octave and its GC within 5 %.
        """
        corpus, population = self.corpus, self.population
        view = population.view
        entry = self._candidates(cell_S, word_SK)
        region = look_up(view.region, entry)
        own = view.seek(cell_S, corpus.contig[anchor_S], corpus.start[anchor_S])
        near = (entry - own[:, None]).abs() <= self.plan.neighbours
        unfair = near | ~look_up(population.surrounded, entry)
        tier = self.mismatches(SRM, region, anchor_S) + _UNFAIR * unfair
        which, best = best_candidate(tier)
        return region.gather(1, which[:, None]).squeeze(1), best < BREADTH_BIT[SRM]

    def _candidates(self, cell_S: Tensor, word_SK: Tensor) -> Tensor:
        """Draw entries of a cell type's list, int64[S, K]."""
        first, end = self.population.view.cell_bounds(cell_S)
        entry = first[:, None] + integers(word_SK, (end - first).clamp(min=1)[:, None])
        return entry.clamp(max=self.population.view.key.numel() - 1)

    def _matches(
        self,
        anchor_S: Tensor,
        column_S: Tensor | None,
        contrast_S: Tensor,
        word_SW: Tensor,
    ) -> dict[str, Any]:
        """Make the matrices of SRM, right and wrong, and what is known about them."""
        plan = self.plan
        drawn = self.contrasts(anchor_S, column_S, contrast_S, word_SW)
        cell = torch.cat([drawn["cell"], drawn["negative_cell"]])
        place = torch.cat([anchor_S, drawn["negative_place"]])
        shown_cell, shown_place = self._shown(anchor_S.repeat(2), cell, place, word_SW)
        matrix_NFC = self.matrix(shown_cell, shown_place)
        state_NF = self.corpus.cell_state[shown_cell] if plan.cell_state else None
        if plan.matrix == "permuted_tfs":  # alike for both, and for the state
            order = word_SW[:, 4 + MATCHES :].argsort(dim=1, stable=True).repeat(2, 1)
            matrix_NFC = permute_rows(matrix_NFC, order)
            if state_NF is not None:
                state_NF = permute_rows(state_NF[:, :, None], order).squeeze(2)
        allowed = self._allowed(anchor_S, drawn) if plan.srm_loss == "infonce" else None
        return {
            "contrast": drawn["contrast"], "cell": cell, "place": place, "matrix": matrix_NFC,
            "allowed": allowed, "state": state_NF,
        }  # fmt: skip

    def _shown(
        self, anchor_N: Tensor, cell_N: Tensor, place_N: Tensor, word_SW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return cell type and region whose surroundings are shown for N = 2 S matrices.

        Under `shuffled`, those of another window, of a random cell type; under `shuffled_cells`, of
        a random cell type at the same place; else those that are asked for. Both draw for the right
        and for the wrong matrix apart: two equal matrices could not be told from each other even by
        a model that cheats.
        """
        plan, population, view = self.plan, self.population, self.population.view
        if plan.matrix not in ("shuffled", "shuffled_cells"):
            return cell_N, place_N
        n = 4 + MATCHES
        word_N = torch.cat([word_SW[:, 2], word_SW[:, n]])
        if plan.matrix == "shuffled_cells":
            column, possible = draw(population.complete(*population.places(place_N)), word_N)
            return torch.where(possible, population.cells[column], cell_N), place_N
        cell_N = population.cells[integers(word_N, population.cells.numel())]
        entry = self._candidates(cell_N, torch.cat(word_SW[:, n + 1 :].chunk(2, dim=1)))
        own = view.seek(cell_N, self.corpus.contig[anchor_N], self.corpus.start[anchor_N])
        tier = ((entry - own[:, None]).abs() <= plan.neighbours).long()
        tier = tier + 2 * ~population.surrounded[entry]
        which, _ = best_candidate(tier)
        return cell_N, view.region[entry.gather(1, which[:, None]).squeeze(1)]

    def matrix(self, cell_N: Tensor, place_N: Tensor) -> Tensor:
        """Return matrix_NFC of cell types around regions, with the anchor column empty."""
        corpus, plan, view = self.corpus, self.plan, self.population.view
        centre = corpus.start[place_N] + corpus.width // 2
        entry, there = neighbours(
            view, corpus.width, cell_N, corpus.contig[place_N], centre, plan.neighbours,
            self.layout.exclude,
        )  # fmt: skip
        region = around(look_up(view.region, entry), place_N)
        present = around(there, torch.zeros_like(there[:, 0]))
        strength = look_up(view.strength, entry) if plan.accessibility else there.float()
        return corpus.matrix(region, around(strength, strength[:, 0]), present)

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
