"""Chains that hypothesis makes, against a brute force that goes base by base."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.genome import reverse_complement
from genebert.liftover import MAX_WIDTH_CHANGE, Chain, lift_peaks
from genebert.peaks import Peaks

SOURCE = {"a": 120, "b": 80}
GENOME = {"y": 150, "x": 100}
TARGETS = {**GENOME, "alt": 90}


@dataclass
class Toy:
    """A chain: blocks are (size, gap on the source, gap on the genome)."""

    score: int
    source: str
    start: int
    target: str
    q_start: int
    strand: str
    blocks: list[tuple[int, int, int]]

    def text(self, number: int) -> str:
        end = self.start + sum(b[0] + b[1] for b in self.blocks) - self.blocks[-1][1]
        q_end = self.q_start + sum(b[0] + b[2] for b in self.blocks) - self.blocks[-1][2]
        lines = [f"{s} {t} {q}" for s, t, q in self.blocks[:-1]] + [f"{self.blocks[-1][0]}"]
        head = (
            f"chain {self.score} {self.source} {SOURCE[self.source]} + {self.start} {end} "
            f"{self.target} {TARGETS[self.target]} {self.strand} {self.q_start} {q_end} {number}"
        )
        return "\n".join([head, *lines, "", ""])

    def bases(self) -> dict[int, int]:
        """Base of the source to base of the genome."""
        out, t, q = {}, self.start, self.q_start
        for size, gap, q_gap in self.blocks:
            for _ in range(size):
                out[t] = q if self.strand == "+" else TARGETS[self.target] - 1 - q
                t, q = t + 1, q + 1
            t, q = t + gap, q + q_gap
        return out


@st.composite
def toys(draw: st.DrawFn) -> Toy:
    source, target = draw(st.sampled_from(sorted(SOURCE))), draw(st.sampled_from(sorted(TARGETS)))
    block = st.tuples(st.integers(1, 25), st.integers(0, 6), st.integers(0, 6))
    blocks = draw(st.lists(block, min_size=1, max_size=5))
    while (
        sum(b[0] + b[1] for b in blocks) > SOURCE[source]
        or sum(b[0] + b[2] for b in blocks) > TARGETS[target]
    ):
        blocks.pop()
    room = SOURCE[source] - sum(b[0] + b[1] for b in blocks)
    q_room = TARGETS[target] - sum(b[0] + b[2] for b in blocks)
    return Toy(
        draw(st.integers(1, 5)), source, draw(st.integers(0, room)), target,
        draw(st.integers(0, q_room)), draw(st.sampled_from("+-")), blocks,
    )  # fmt: skip


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int, int, int]:
    contig = draw(st.sampled_from(sorted(SOURCE)))
    start = draw(st.integers(0, SOURCE[contig] - 1))
    end = draw(st.integers(start + 1, min(start + 60, SOURCE[contig])))
    return contig, start, end, draw(st.integers(start, end - 1))


def peaks_of(rows: list[tuple[str, int, int, int]], contigs: dict[str, int]) -> Peaks:
    index = list(contigs)
    rows = sorted(set(rows), key=lambda r: (index.index(r[0]), r[1:]))
    contig = np.array([index.index(r[0]) for r in rows], dtype=np.int32)
    start, end, summit = np.array([r[1:] for r in rows], dtype=np.int32).reshape(-1, 3).T
    strength = (np.arange(len(rows)) + 1) / len(rows)
    return Peaks(contig, start, end, summit, strength, "score", {"read": len(rows)})


def map_of(chains: list[Toy]) -> dict[tuple[str, int], tuple[int, int]]:
    """(contig, base) of the source to (chain, base of the genome); the highest score wins."""
    out: dict[tuple[str, int], tuple[int, int]] = {}
    for i in sorted(range(len(chains)), key=lambda i: -chains[i].score):
        for t, q in chains[i].bases().items():
            out.setdefault((chains[i].source, t), (i, q))
    return out


def brute_force(
    rows: list[tuple[str, int, int, int]], chains: list[Toy], ratio: float
) -> tuple[set[tuple[str, int, int, int]], dict[str, int]]:
    """Lift peak by peak, base by base."""
    where = map_of(chains)
    lifted: list[tuple[str, int, int, int]] = []
    counts = dict.fromkeys(("lift_unmapped", "lift_split", "lift_width", "duplicate"), 0)
    for contig, start, end, summit in set(rows):
        by_chain: dict[int, dict[int, int]] = {}
        for t in range(start, end):
            if (contig, t) in where:
                i, q = where[contig, t]
                by_chain.setdefault(i, {})[t] = q
        hits = [i for i, bases in by_chain.items() if len(bases) >= ratio * (end - start)]
        if len(hits) > 1 or (not hits and len(by_chain) > 1):
            counts["lift_split"] += 1
        elif not hits or chains[hits[0]].target not in GENOME:
            counts["lift_unmapped"] += 1
        else:
            bases = by_chain[hits[0]]
            low, high = min(bases.values()), max(bases.values()) + 1
            if abs(high - low - (end - start)) > MAX_WIDTH_CHANGE * (end - start):
                counts["lift_width"] += 1
                continue
            near = min(bases, key=lambda t: (abs(t - summit), t))
            lifted.append((chains[hits[0]].target, low, high, bases[near]))
    counts["duplicate"] = len(lifted) - len(set(lifted))
    return set(lifted), counts


def read(chains: list[Toy]) -> Chain:
    with tempfile.NamedTemporaryFile("w", suffix=".chain") as handle:
        handle.write("".join(c.text(i) for i, c in enumerate(chains)))
        handle.flush()
        return Chain.read(handle.name, GENOME)


def usable(chains: list[Toy]) -> bool:
    return any(c.target in GENOME for c in chains)


many_chains = st.lists(toys(), min_size=1, max_size=6).filter(usable)


@settings(max_examples=250, deadline=None)
@given(
    many_chains,
    st.lists(places(), min_size=1, max_size=12),
    st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.95, 1.0]),
)
def test_equals_brute_force(
    chains: list[Toy], rows: list[tuple[str, int, int, int]], ratio: float
) -> None:
    chain = read(chains)
    rows = [r for r in rows if r[0] in chain.source_contigs]
    peaks = peaks_of(rows, chain.source_contigs)
    out = lift_peaks(peaks, chain, min_ratio=ratio)
    expected, counts = brute_force(rows, chains, ratio)
    names = list(GENOME)
    found = list(
        zip(
            [names[i] for i in out.contig], out.start.tolist(), out.end.tolist(),
            out.summit.tolist(), strict=True,
        )
    )  # fmt: skip
    assert found == sorted(expected, key=lambda r: (names.index(r[0]), r[1:]))
    assert {key: out.counts[key] for key in counts} == counts
    assert ((out.start <= out.summit) & (out.summit < out.end)).all()
    lengths = np.array(list(GENOME.values()))
    assert (out.end <= lengths[out.contig]).all()
    lost = sum(out.counts[key] for key in counts)
    assert len(out) + lost == len(peaks)


@settings(max_examples=100, deadline=None)
@given(many_chains)
def test_bases_equal_pyliftover(chains: list[Toy]) -> None:
    """Peaks of one base go where a library of its own puts the base (where no scores tie)."""
    pyliftover = pytest.importorskip("pyliftover")
    for i, c in enumerate(chains):
        c.score = 10 + (i * 7) % 11  # no two are equal
    with tempfile.NamedTemporaryFile("w", suffix=".chain") as handle:
        handle.write("".join(c.text(i) for i, c in enumerate(chains)))
        handle.flush()
        with open(handle.name, "rb") as again:
            oracle = pyliftover.LiftOver(again)
        chain = Chain.read(handle.name, GENOME)
    for contig in chain.source_contigs:
        for t in range(SOURCE[contig]):
            peak = peaks_of([(contig, t, t + 1, t)], chain.source_contigs)
            out = lift_peaks(peak, chain)
            hits = oracle.convert_coordinate(contig, t)
            if hits and hits[0][0] in GENOME:
                name, position = list(GENOME)[out.contig[0]], int(out.start[0])
                assert (name, position) == hits[0][:2]
            else:
                assert len(out) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_sequence_comes_along(seed: int) -> None:
    """A genome made by cutting, inserting and inverting pieces: lifted peaks read as before."""
    random = np.random.default_rng(seed)
    source = random.integers(0, 4, 3000).astype(np.uint8)
    cuts = np.sort(random.choice(np.arange(100, 2900), 8, replace=False))
    pieces = list(zip(np.append(0, cuts).tolist(), np.append(cuts, 3000).tolist(), strict=True))
    random.shuffle(pieces)
    genome, toys_of = [], []
    for start, end in pieces:
        genome.append(random.integers(0, 4, random.integers(0, 9)).astype(np.uint8))
        at = sum(map(len, genome))
        flip = bool(random.integers(2))
        genome.append(reverse_complement(source[start:end]) if flip else source[start:end])
        toys_of.append((start, end, at, flip))
    target = np.concatenate(genome)
    text = "".join(
        f"chain {n + 1} s 3000 + {start} {end} g {len(target)} "
        + (f"- {len(target) - at - (end - start)} {len(target) - at}" if flip else f"+ {at} {at + end - start}")
        + f" {n}\n{end - start}\n\n"
        for n, (start, end, at, flip) in enumerate(toys_of)
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.chain"
        path.write_text(text)
        chain = Chain.read(path, {"g": len(target)})
    for _ in range(20):
        start = int(random.integers(0, 2980))
        end = start + 20
        summit = start + int(random.integers(20))
        peak = peaks_of([("s", start, end, summit)], {"s": 3000})
        out = lift_peaks(peak, chain, min_ratio=1.0)
        whole = any(s <= start and end <= e for s, e, _, _ in toys_of)
        assert len(out) == whole
        if whole:
            there = target[out.start[0] : out.end[0]]
            flip = next(f for s, e, _, f in toys_of if s <= start and end <= e)
            here = source[start:end]
            assert (there == (reverse_complement(here) if flip else here)).all()
            base = source[summit]
            assert target[out.summit[0]] == (3 - base if flip else base)
