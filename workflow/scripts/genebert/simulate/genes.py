"""Promoters and splice sites: graded candidates, of which some are used.

Every candidate gets its features first; its strength in logits is a weighted sum of them, and it
is used with probability sigmoid(strength). The used ones become the TSS and exon bounds of the
genes, the others stay in the genome as decoys with the same features. So the truth table holds
calibrated probabilities, and nothing but the sequence tells used from unused.

Consensus frequencies: donors and acceptors after Shapiro & Senapathy (1987) and Zhang (1998),
branch point yUnAy after Gao et al. (2008), initiator and TATA box after Bucher (1990).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes, encode, reverse_complement
from genebert.simulate.layout import Genes, Ints
from genebert.simulate.parameters import Parameters

Floats = NDArray[np.float64]
KEEP = 255  # a base of a footprint that stays as it is in the genome

# Rows: positions; columns: A C G T. Donor -3..+6, the first intron base is position +1.
DONOR = np.array(
    [
        [0.33, 0.37, 0.18, 0.12],
        [0.60, 0.13, 0.13, 0.14],
        [0.08, 0.04, 0.81, 0.07],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
        [0.52, 0.03, 0.42, 0.03],
        [0.71, 0.08, 0.12, 0.09],
        [0.08, 0.05, 0.81, 0.06],
        [0.16, 0.17, 0.21, 0.46],
    ]
)
BRANCH = np.array(
    [
        [0.20, 0.35, 0.15, 0.30],
        [0.10, 0.45, 0.05, 0.40],
        [0.08, 0.08, 0.04, 0.80],
        [0.25, 0.30, 0.20, 0.25],
        [0.92, 0.03, 0.03, 0.02],
        [0.12, 0.48, 0.05, 0.35],
    ]
)
ACCEPTOR_END = np.array([[0.25, 0.28, 0.22, 0.25], [0.06, 0.64, 0.02, 0.28]])  # -4, -3, then AG
ACCEPTOR_NEXT = np.array([[0.25, 0.14, 0.49, 0.12]])  # first base of the exon
INITIATOR = np.array(  # -2..+5 around the TSS (+1, the third column): YYANWYY
    [
        [0.10, 0.45, 0.15, 0.30],
        [0.05, 0.55, 0.05, 0.35],
        [0.62, 0.05, 0.30, 0.03],
        [0.22, 0.26, 0.32, 0.20],
        [0.35, 0.12, 0.13, 0.40],
        [0.12, 0.38, 0.15, 0.35],
        [0.12, 0.38, 0.15, 0.35],
    ]
)
TATA = np.array(
    [
        [0.05, 0.13, 0.05, 0.77],
        [0.90, 0.02, 0.03, 0.05],
        [0.04, 0.04, 0.02, 0.90],
        [0.92, 0.02, 0.02, 0.04],
        [0.65, 0.02, 0.02, 0.31],
        [0.92, 0.02, 0.04, 0.02],
        [0.50, 0.05, 0.08, 0.37],
        [0.35, 0.10, 0.42, 0.13],
    ]
)
GC_BOX = encode("GGGGCGGGGC")
DPE = np.array([[0.4, 0.05, 0.5, 0.05], [0.05, 0.05, 0.85, 0.05], [0.5, 0.02, 0.02, 0.46],
                [0.1, 0.42, 0.1, 0.38], [0.25, 0.25, 0.35, 0.15]])  # fmt: skip
# Exonic splicing enhancers, GAR and ACG hexamers (Fairbrother 2002).
_WORDS = ("GAAGAA", "AAGAAG", "TGAAGA", "GAAGAT", "GACGAA", "TGGAAG", "ACGAAG")
ENHANCERS = np.stack([encode(word) for word in _WORDS])
EXON_SIDE = 62  # bases of a splice footprint on the side of the exon
DONOR_LENGTH = EXON_SIDE + 8
ACCEPTOR_INTRON = 50
ACCEPTOR_LENGTH = ACCEPTOR_INTRON + EXON_SIDE
TSS_UPSTREAM = 112
TSS_LENGTH = TSS_UPSTREAM + 40


@dataclass(frozen=True)
class Candidates:
    """Candidates of one kind, before they have a place.

    ``footprint`` is uint8[n, L] in the direction of transcription, KEEP where nothing is written;
    ``island`` says whether a candidate TSS lies in a CpG island.
    """

    footprint: Codes
    strength: Floats
    used: NDArray[np.bool_]
    island: NDArray[np.bool_]

    @property
    def probability(self) -> Floats:
        """P(used)."""
        return np.asarray(1 / (1 + np.exp(-self.strength)))


def _graded(frequencies: Floats, n: int, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """Return uint8[n, w] and their log-odds: bases drawn from f^b with b uniform in 0.1-2."""
    logf = np.log(frequencies + 0.005)
    b = rng.uniform(0.1, 2.0, size=n)
    codes = (b[:, None, None] * logf + rng.gumbel(size=(n, *frequencies.shape))).argmax(axis=2)
    columns = np.arange(len(frequencies))
    return codes.astype(np.uint8), (logf - np.log(0.25))[columns, codes].sum(axis=1)


def _scale(parts: list[tuple[float, Floats]], mean: float, sd: float) -> Floats:
    """Return the weighted sum of standardised features, with the given mean and sd."""
    total = np.zeros(len(parts[0][1]))
    for weight, feature in parts:
        total += weight * (feature - feature.mean()) / (feature.std() + 1e-9)
    return np.asarray(mean + sd * total / total.std())


def _until(used: NDArray[np.bool_], needed: int) -> int:
    """Return how many candidates it takes until ``needed`` are used."""
    places = np.flatnonzero(used)
    if len(places) < needed:
        raise AssertionError("pool of candidates is too small")
    return int(places[needed - 1]) + 1


def _finish(
    footprint: Codes, strength: Floats, island: NDArray[np.bool_], needed: int,
    rng: np.random.Generator,
) -> Candidates:  # fmt: skip
    """Draw which candidates are used and keep as many as it takes to have ``needed`` used ones."""
    used = rng.random(len(strength)) < 1 / (1 + np.exp(-strength))
    keep = slice(0, _until(used, needed))
    return Candidates(footprint[keep], strength[keep], used[keep], island[keep])


def _add_enhancers(footprint: Codes, first: int, n: int, rng: np.random.Generator) -> Floats:
    """Write 0-4 enhancers into 7-base places from column ``first`` on; return their number."""
    count = rng.integers(0, 5, size=n)
    order = rng.random((n, 7)).argsort(axis=1)
    for k in range(4):
        rows = np.flatnonzero(count > k)
        columns = first + 7 * order[rows, k][:, None] + np.arange(6)
        footprint[rows[:, None], columns] = ENHANCERS[rng.integers(0, len(ENHANCERS), len(rows))]
    return count.astype(float)


def donors(needed: int, p: Parameters, rng: np.random.Generator) -> Candidates:
    """Draw candidate donors; the first intron base is column EXON_SIDE of the footprint."""
    n = int(needed / 0.25) + 200
    footprint = np.full((n, DONOR_LENGTH), KEEP, dtype=np.uint8)
    site, score = _graded(DONOR, n, rng)
    site[:, 3] = 2
    site[:, 4] = np.where(rng.random(n) < p.gc_donors, 1, 3)
    columns = np.arange(9)
    score = (np.log(DONOR + 0.005) - np.log(0.25))[columns, site].sum(axis=1)
    footprint[:, EXON_SIDE - 3 : EXON_SIDE + 6] = site
    enhancers = _add_enhancers(footprint, 2, n, rng)
    strength = _scale([(1.0, score), (0.45, enhancers)], p.splice_mean, p.splice_sd)
    return _finish(footprint, strength, np.zeros(n, dtype=bool), needed, rng)


def acceptors(needed: int, p: Parameters, rng: np.random.Generator) -> Candidates:
    """Draw candidate acceptors; the last intron base is column ACCEPTOR_INTRON - 1."""
    n = int(needed / 0.25) + 200
    footprint = np.full((n, ACCEPTOR_LENGTH), KEEP, dtype=np.uint8)
    branch, branch_score = _graded(BRANCH, n, rng)
    at = rng.integers(4, 16, size=n)  # branch A 29-41 bases before the exon
    footprint[np.arange(n)[:, None], at[:, None] + np.arange(6)] = branch
    tract = slice(ACCEPTOR_INTRON - 22, ACCEPTOR_INTRON - 4)
    share = rng.uniform(0.45, 0.95, size=n)
    letters = np.where(rng.random((n, 18)) < 0.6, 3, 1)
    purine = np.where(rng.random((n, 18)) < 0.5, 0, 2)
    bases = np.where(rng.random((n, 18)) < share[:, None], letters, purine).astype(np.uint8)
    after_a = np.zeros(bases.shape, dtype=bool)
    after_a[:, 1:] = (bases[:, :-1] == 0) & (bases[:, 1:] == 2)
    bases[after_a] = 3  # no AG between the branch point and the site
    footprint[:, tract] = bases
    end, end_score = _graded(ACCEPTOR_END, n, rng)
    end[:, 0] = np.where((bases[:, -1] == 0) & (end[:, 0] == 2), 1, end[:, 0])
    end[:, 1] = np.where((end[:, 0] == 0) & (end[:, 1] == 2), 1, end[:, 1])
    end_score = (np.log(ACCEPTOR_END + 0.005))[np.arange(2), end].sum(axis=1)
    following, next_score = _graded(ACCEPTOR_NEXT, n, rng)
    footprint[:, ACCEPTOR_INTRON - 4 : ACCEPTOR_INTRON - 2] = end
    footprint[:, ACCEPTOR_INTRON - 2] = 0
    footprint[:, ACCEPTOR_INTRON - 1] = 2
    footprint[:, ACCEPTOR_INTRON] = following[:, 0]
    enhancers = _add_enhancers(footprint, ACCEPTOR_INTRON + 4, n, rng)
    pyrimidines = np.isin(bases, (1, 3)).sum(axis=1).astype(float)
    strength = _scale(
        [(1.0, pyrimidines), (0.6, branch_score), (0.7, end_score + next_score), (0.45, enhancers)],
        p.splice_mean,
        p.splice_sd,
    )
    return _finish(footprint, strength, np.zeros(n, dtype=bool), needed, rng)


def promoters(needed: int, p: Parameters, rng: np.random.Generator) -> Candidates:
    """Draw candidate TSS; the TSS is column TSS_UPSTREAM of the footprint."""
    n = int(needed / 0.25) + 200
    footprint = np.full((n, TSS_LENGTH), KEEP, dtype=np.uint8)
    start, inr_score = _graded(INITIATOR, n, rng)
    footprint[:, TSS_UPSTREAM - 2 : TSS_UPSTREAM + 5] = start
    has_tata = rng.random(n) < p.tata
    box, tata_score = _graded(TATA, n, rng)
    columns = slice(TSS_UPSTREAM - 31, TSS_UPSTREAM - 23)
    footprint[has_tata, columns] = box[has_tata]
    has_dpe = ~has_tata & (rng.random(n) < 0.3)
    element, dpe_score = _graded(DPE, n, rng)
    footprint[has_dpe, TSS_UPSTREAM + 28 : TSS_UPSTREAM + 33] = element[has_dpe]
    boxes = rng.binomial(4, 0.4, size=n)
    order = rng.random((n, 5)).argsort(axis=1)
    for k in range(4):
        rows = np.flatnonzero(boxes > k)
        minus = rng.random(len(rows)) < 0.5
        words = np.where(minus[:, None], reverse_complement(GC_BOX), GC_BOX)
        place = 2 + 14 * order[rows, k][:, None] + np.arange(len(GC_BOX))
        footprint[rows[:, None], place] = words
    island = rng.random(n) < p.tss_island
    strength = _scale(
        [
            (1.0, inr_score),
            (0.8, np.where(has_tata, np.maximum(tata_score, 0), 0)),
            (0.35, np.where(has_dpe, np.maximum(dpe_score, 0), 0)),
            (0.5, boxes.astype(float)),
            (0.6, island.astype(float)),
        ],
        p.promoter_mean,
        p.promoter_sd,
    )
    return _finish(footprint, strength, island, needed, rng)


def write_footprints(
    codes: Codes, footprint: Codes, origin: int, position: Ints, strand: Ints
) -> None:
    """Write footprints so that column ``origin`` stands at ``position``, in place."""
    offsets = np.arange(footprint.shape[1]) - origin
    where = position[:, None] + strand[:, None] * offsets
    bases = np.where(strand[:, None] > 0, footprint, np.where(footprint < 4, 3 - footprint, KEEP))
    keep = footprint != KEEP
    codes[where[keep]] = bases[keep]


@dataclass(frozen=True)
class Elements:
    """Candidates with places: positions are global, of the TSS or of the intron's end base."""

    position: Ints
    strand: Ints
    probability: Floats
    used: NDArray[np.bool_]


def splice_positions(genes: Genes) -> tuple[Ints, Ints, Ints]:
    """Return the first intron base of every used donor, the last of every acceptor, the strand."""
    later = genes.exon_mask()[:, 1:]
    strand = np.broadcast_to(genes.strand[:, None], later.shape)[later]
    tss = np.broadcast_to(genes.tss[:, None], later.shape)[later]
    donor = tss + strand * genes.hi[:, :-1][later]
    acceptor = tss + strand * (genes.lo[:, 1:][later] - 1)
    return donor, acceptor, strand


def gene_mask(genes: Genes, total: int) -> NDArray[np.bool_]:
    """Return bool[total], true inside gene bodies."""
    mask = np.zeros(total, dtype=bool)
    starts, ends = genes.interval(np.zeros(len(genes.tss), dtype=np.int64), genes.span)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        mask[start:end] = True
    return mask


def gene_strand(genes: Genes, positions: Ints) -> Ints:
    """Return the strand of the gene that holds each position (which must lie in one)."""
    starts, _ = genes.interval(np.zeros(len(genes.tss), dtype=np.int64), genes.span)
    order = np.argsort(starts)
    index = np.searchsorted(starts[order], positions, side="right") - 1
    return np.asarray(genes.strand[order][index])
