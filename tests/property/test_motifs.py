"""Scans equal a plain loop over sequences, motifs, strands and starts, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genebert.genome import N, encode, reverse_complement
from genebert.motif_files import Motif
from genebert.motif_scan import Hits, merge_sites
from genebert.motifs import MotifSet

BACKGROUND = (0.3, 0.2, 0.2, 0.3)


def random_motif(rng: np.random.Generator, width: int, name: str) -> Motif:
    """A motif of graded positions: one base is preferred by a random amount."""
    counts = rng.gamma(0.4, size=(4, width)) + 1e-3
    return Motif(name, "test", counts / counts.sum(axis=0))


def brute_force(motifs: MotifSet, sequences: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Count, best and sum per cell by a plain loop; best_dense without a threshold."""
    shape = len(sequences), len(motifs.kept)
    out = {name: np.zeros(shape) for name in ("count", "best", "sum")}
    dense = np.tile([m.log_odds.min(axis=0).sum() for m in motifs.kept], (len(sequences), 1))
    for i, sequence in enumerate(sequences):
        for j, motif in enumerate(motifs.kept):
            scores: list[float] = []
            for oriented in (sequence, reverse_complement(sequence)):
                found = []
                for start in range(len(sequence) - motif.width + 1):
                    window = oriented[start : start + motif.width]
                    if (window == N).any():
                        continue
                    score = 0.0
                    for column, base in enumerate(window):
                        score += motif.log_odds[base, column]
                    dense[i, j] = max(dense[i, j], score)
                    if score >= motif.threshold:
                        found.append(score)
                # the reverse strand is read from its end: hits are added by their given start
                scores += found if oriented is sequence else found[::-1]
            for score in scores:
                out["count"][i, j] += 1
                out["sum"][i, j] += score
            out["best"][i, j] = max(scores, default=0)
    return {name: values.astype(np.float32) for name, values in (out | {"dense": dense}).items()}


def consensus(motif: Motif) -> np.ndarray:
    """The best sequence of a motif."""
    return motif.probabilities.argmax(axis=0).astype(np.uint8)


def planted(rng: np.random.Generator, motifs: list[Motif], length: int) -> np.ndarray:
    """A random sequence with sites at both ends and on both sides of N runs, both strands."""
    sequence = rng.integers(0, 4, length).astype(np.uint8)
    for _ in range(rng.integers(0, 3)):
        at = int(rng.integers(0, max(1, length - 5)))
        sequence[at : at + int(rng.integers(1, 6))] = N
    edges = np.flatnonzero(np.diff(np.concatenate([[N], sequence, [N]]) == N))
    for edge in edges:
        site = consensus(motifs[rng.integers(len(motifs))])
        site = site if rng.random() < 0.5 else reverse_complement(site)
        for start in (int(edge), int(edge) - len(site)):  # begins or ends at the edge
            window = sequence[max(start, 0) : start + len(site)]
            if start >= 0 and len(window) == len(site) and (window != N).all():
                window[:] = site
    return sequence


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.lists(st.integers(1, 16), min_size=1, max_size=6),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    p_value=st.sampled_from([1e-4, 1e-3, 1e-2]),
)
@example(seed=0, widths=[5, 6, 7], lengths=[30, 30, 30], p_value=1e-3)
@example(seed=1, widths=[5, 6, 7, 8, 9], lengths=[7, 8, 9, 0, 1], p_value=1e-2)
def test_scan_equals_a_plain_loop(
    seed: int, widths: list[int], lengths: list[int], p_value: float
) -> None:
    rng = np.random.default_rng(seed)
    motifs = [random_motif(rng, width, f"m{i}") for i, width in enumerate(widths)]
    built = MotifSet.build(
        motifs, background=BACKGROUND, p_value=p_value, pseudocount=0.01, unattainable="keep"
    )
    sequences = [planted(rng, motifs, length) for length in lengths]
    expected = brute_force(built, sequences)
    rows = built.scan(sequences)
    for name in ("count", "best", "sum"):
        np.testing.assert_array_equal(getattr(rows, name).toarray(), expected[name], err_msg=name)
    np.testing.assert_allclose(built.best_dense(sequences), expected["dense"], rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("width", range(1, 13))
@pytest.mark.parametrize("reverse", [False, True])
def test_no_hit_is_lost_at_an_edge(width: int, reverse: bool) -> None:
    """The consensus right at the end, the start, before an N and after one is found each time."""
    rng = np.random.default_rng(width)
    probabilities = np.full((4, width), 0.02)
    probabilities[rng.integers(0, 4, width), np.arange(width)] = 0.94
    motif = Motif("m", "test", probabilities)
    built = MotifSet.build([motif], unattainable="keep")
    site = consensus(motif)
    site = reverse_complement(site) if reverse else site
    unknown = np.array([N], dtype=np.uint8)
    sequence = np.concatenate([site, unknown, site, unknown, unknown, site])
    hits = built.hits([sequence, unknown, site, np.zeros(0, dtype=np.uint8), site])
    starts = {
        (int(r), int(s))
        for r, s, v in zip(hits.row, hits.start, hits.reverse, strict=True)
        if v == reverse
    }
    places = {(0, 0), (0, width + 1), (0, 2 * width + 3), (2, 0), (4, 0)}
    assert places <= starts
    assert {row for row, _ in starts} <= {0, 2, 4}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_strands_and_neighbours_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    motifs = [random_motif(rng, int(w), f"m{w}") for w in (5, 7, 8, 11)]
    built = MotifSet.build(motifs, background=BACKGROUND, p_value=1e-3, unattainable="keep")
    sequences = [planted(rng, motifs, 80) for _ in range(4)]
    given_, turned = built.scan(sequences), built.scan([reverse_complement(s) for s in sequences])
    alone = [built.scan([sequence]) for sequence in sequences]
    assert (given_.count != turned.count).nnz == 0
    assert (given_.best != turned.best).nnz == 0
    np.testing.assert_allclose(given_.sum.toarray(), turned.sum.toarray(), rtol=1e-6)
    for name in ("count", "best", "sum"):
        together = getattr(given_, name).toarray()
        np.testing.assert_array_equal(
            together, np.concatenate([getattr(one, name).toarray() for one in alone])
        )
    np.testing.assert_array_equal(
        built.best_dense(sequences), built.best_dense([reverse_complement(s) for s in sequences])
    )


@settings(max_examples=60, deadline=None)
@given(
    hits=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 1),
            st.integers(0, 25),
            st.booleans(),
            st.integers(1, 6),
        ),
        max_size=40,
    ),
    radius=st.integers(0, 4),
)
def test_sites_equal_the_greedy_rule(
    hits: list[tuple[int, int, int, bool, int]], radius: int
) -> None:
    columns = list(zip(*hits, strict=True)) or [()] * 5
    row, motif, start = (np.array(columns[k], dtype=np.int64) for k in range(3))
    given_ = Hits(row, motif, start, np.array(columns[3], bool), np.array(columns[4], float))
    kept: list[tuple[int, int, int, float]] = []
    for r, m, s, _, score in sorted(hits, key=lambda h: (-h[4], h[2], h[3])):
        if not any(k[:2] == (r, m) and abs(k[2] - s) <= radius for k in kept):
            kept.append((r, m, s, float(score)))
    found = merge_sites(given_, radius)
    assert list(zip(found.row, found.motif, found.start, found.score, strict=True)) == sorted(kept)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_merged_strands_keep_the_better_hit_of_each_start(seed: int) -> None:
    rng = np.random.default_rng(seed)
    motifs = [random_motif(rng, 5, "a"), Motif("p", "test", np.full((4, 6), 0.02))]
    palindrome = np.full((4, 6), 0.02)
    palindrome[encode("CACGTG"), np.arange(6)] = 0.94
    motifs[1] = Motif("p", "test", palindrome)
    both = MotifSet.build(motifs, p_value=1e-2, unattainable="keep")
    merged = replace(both, merge_strands=True)
    sequences = [planted(rng, motifs, 50), encode("AACACGTGAA")]
    best: dict[tuple[int, int, int], float] = {}
    hits = both.hits(sequences)
    for r, m, s, score in zip(hits.row, hits.motif, hits.start, hits.score, strict=True):
        best[r, m, s] = max(score, best.get((r, m, s), -np.inf))
    found = merged.hits(sequences)
    keys = zip(found.row, found.motif, found.start, strict=True)
    assert dict(zip(keys, found.score, strict=True)) == best
    assert both.scan(sequences).count[1, 1] == 2 * merged.scan(sequences).count[1, 1] > 0
