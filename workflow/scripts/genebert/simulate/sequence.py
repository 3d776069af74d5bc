"""The background: order-3 Markov sequence with isochores and CpG islands, repeats and gaps.

In: the isochore class of every base. Out: base codes and the soft mask of the whole genome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes, N, reverse_complement
from genebert.simulate.layout import ISLAND, Ints, Map
from genebert.simulate.parameters import Parameters

Floats = NDArray[np.float64]

# Observed / expected dinucleotides of the real genome (hg19, both strands), order A C G T.
DINUCLEOTIDES = np.array(
    [
        [1.13, 0.82, 1.18, 0.87],
        [1.23, 1.23, 0.31, 1.18],
        [0.96, 1.01, 1.23, 0.82],
        [0.71, 0.96, 1.23, 1.13],
    ]
)


@dataclass(frozen=True)
class Family:
    """A family of interspersed repeats (shares and divergence as RepeatMasker reports for hg19)."""

    name: str
    share: float  # of the genome
    consensus: int  # length
    copy: int  # mean length of a copy, kept from the 3' end
    divergence: float
    gc: float
    tail: int  # poly-A


FAMILIES = (
    Family("SINE_young", 0.14, 300, 260, 0.09, 0.60, 20),  # Alu: 10 % of the genome
    Family("SINE_old", 0.06, 260, 150, 0.26, 0.45, 0),  # MIR: 3 %
    Family("LINE_young", 0.16, 6_000, 900, 0.12, 0.42, 15),  # L1: 17 %
    Family("LINE_old", 0.08, 3_000, 350, 0.25, 0.40, 0),  # L2: 3 %
    Family("LTR", 0.12, 450, 380, 0.17, 0.45, 0),  # 8 %
    Family("DNA", 0.06, 250, 210, 0.22, 0.38, 0),  # 3 %
)
SIMPLE_SHARE = 0.01  # microsatellites: 3 % with low complexity
SATELLITE_UNIT = 171  # alpha satellite


def _symmetric(noise: Floats) -> Floats:
    """Return log odds of k-mers averaged with those of the reverse complement."""
    k = noise.ndim
    flipped = noise[(slice(None, None, -1),) * k].transpose(*range(k - 1, -1, -1))
    return np.asarray((noise + flipped) / np.sqrt(2))


def transition_tables(p: Parameters, rng: np.random.Generator) -> Floats:
    """Return float64[6, 64, 4]: P(base | class, last three bases).

    P is the composition of the class times odds of the di-, tri- and tetranucleotide; the latter
    two are drawn, equal on both strands, with the spread that the real genome has.
    """
    tri = _symmetric(rng.normal(0, p.trinucleotide_sd, size=(4, 4, 4)))
    tetra = _symmetric(rng.normal(0, p.tetranucleotide_sd, size=(4, 4, 4, 4)))
    tri[0, 0, 0] = tri[3, 3, 3] = 0.25  # AAA and TTT: 1.29 observed / expected in the real genome
    tables = []
    for gc in (*p.isochore_gc, p.island_gc):
        island = gc == p.island_gc
        odds = DINUCLEOTIDES.copy()
        if island:
            odds[:] = 1.0
            odds[1, 2] = p.island_cpg
        composition = np.array([1 - gc, gc, gc, 1 - gc]) / 2
        for _ in range(20):  # find the base weights whose stationary composition is the wanted one
            weights = composition / composition.sum()
            joint = weights * odds[None, None] * np.exp(tri)[None] * np.exp(tetra)
            table = joint / joint.sum(axis=3, keepdims=True)
            stationary = np.full((4, 4, 4), 1 / 64)
            for _ in range(60):
                stationary = np.einsum("abc,abcd->bcd", stationary, table)
            share = stationary.sum(axis=(0, 1))
            target = np.array([1 - gc, gc, gc, 1 - gc]) / 2
            composition = weights * target / share
        tables.append(table.reshape(64, 4))
    return np.array(tables)


def background(
    table: NDArray[np.int8], contigs: Map, tables: Floats, rng: np.random.Generator
) -> Codes:
    """Draw the Markov sequence as parallel chains of 500 bases.

    Parameters
    ----------
    table : int8[total], class of each base.

    Returns
    -------
    uint8[total].
    """
    chain, burn = 500, 12
    bounds = np.cumsum(tables, axis=2)[:, :, :3].astype(np.float32).reshape(-1, 3)
    codes = np.empty(contigs.total, dtype=np.uint8)
    for begin, end in zip(contigs.offsets[:-1], contigs.offsets[1:], strict=True):
        count = -(-(end - begin) // chain)
        classes = np.zeros(count * chain, dtype=np.int64)
        classes[: end - begin] = table[begin:end]
        classes = classes.reshape(count, chain).T * 64
        out = np.empty((chain, count), dtype=np.uint8)
        context = rng.integers(0, 64, size=count)
        for step in range(-burn, chain):
            draw = rng.random(count, dtype=np.float32)
            limit = bounds[classes[max(step, 0)] + context]
            base = (draw[:, None] >= limit).sum(axis=1)
            context = (context * 4 + base) & 63
            if step >= 0:
                out[step] = base
        codes[begin:end] = out.T.reshape(-1)[: end - begin]
    return codes


def _consensus(family: Family, rng: np.random.Generator) -> Codes:
    composition = np.array([1 - family.gc, family.gc, family.gc, 1 - family.gc]) / 2
    body = rng.choice(4, size=family.consensus, p=composition).astype(np.uint8)
    if family.tail:
        body[-family.tail :] = 0
    return body


def _write_copies(
    codes: Codes,
    mask: NDArray[np.bool_],
    protected: NDArray[np.bool_],
    starts: Ints,
    copies: list[Codes],
) -> None:
    """Write copies into the sequence, except where it is protected, and mask them."""
    for start, copy in zip(starts.tolist(), copies, strict=True):
        part = slice(start, start + len(copy))
        free = ~protected[part]
        codes[part][free] = copy[free]
        mask[part] |= free


def add_repeats(
    codes: Codes,
    mask: NDArray[np.bool_],
    protected: NDArray[np.bool_],
    contigs: Map,
    rng: np.random.Generator,
) -> dict[str, int]:
    """Insert repeats of all families in place and mask them; return the copies per family.

    Copies keep the 3' end of the consensus, diverge by substitutions and lie on either strand.
    """
    counts = {}
    total = contigs.total
    for family in FAMILIES:
        consensus = _consensus(family, rng)
        number = round(family.share * total / family.copy)
        lengths = np.exp(rng.normal(np.log(family.copy) - 0.18, 0.6, size=number))
        lengths = np.clip(lengths, 40, family.consensus).astype(np.int64)
        starts = rng.integers(0, total - family.consensus, size=number)
        same = contigs.contig_of(starts) == contigs.contig_of(starts + lengths)
        rates = rng.normal(family.divergence, family.divergence / 4, size=number).clip(0.01, 0.4)
        minus = rng.random(number) < 0.5
        copies = []
        for length, rate, flip in zip(lengths[same], rates[same], minus[same], strict=True):
            copy = consensus[-length:].copy()
            hit = rng.random(length) < rate
            copy[hit] = (copy[hit] + rng.integers(1, 4, size=int(hit.sum()))) % 4
            copies.append(reverse_complement(copy) if flip else copy)
        _write_copies(codes, mask, protected, starts[same], copies)
        counts[family.name] = len(copies)
    number = round(SIMPLE_SHARE * total / 40)
    starts = np.sort(rng.integers(0, total - 200, size=number))
    starts = starts[contigs.contig_of(starts) == contigs.contig_of(starts + 100)]
    copies = []
    for unit_length, length in zip(
        rng.integers(1, 7, size=len(starts)), rng.integers(20, 61, size=len(starts)), strict=True
    ):
        unit = rng.integers(0, 4, size=unit_length).astype(np.uint8)
        copies.append(np.resize(unit, length))
    _write_copies(codes, mask, protected, starts, copies)
    counts["simple"] = len(copies)
    return counts


def add_satellites(
    codes: Codes, mask: NDArray[np.bool_], intervals: Ints, rng: np.random.Generator
) -> None:
    """Fill intervals (int64[n, 2]) with tandem copies of one diverged unit, in place."""
    unit = rng.choice(4, size=SATELLITE_UNIT, p=[0.31, 0.19, 0.19, 0.31]).astype(np.uint8)
    for start, end in intervals.tolist():
        copy = np.resize(unit, end - start)
        hit = rng.random(len(copy)) < 0.05
        copy[hit] = (copy[hit] + rng.integers(1, 4, size=int(hit.sum()))) % 4
        codes[start:end] = copy
        mask[start:end] = True


def add_gaps(codes: Codes, mask: NDArray[np.bool_], gaps: Ints) -> None:
    """Write N into the gaps, in place."""
    for start, end in gaps.tolist():
        codes[start:end] = N
        mask[start:end] = False


def islands(table: NDArray[np.int8], starts: Ints, ends: Ints) -> None:
    """Set the class of CpG islands in place."""
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        table[start:end] = ISLAND
