"""Scans equal a plain loop over sequences, motifs, strands and starts, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genebert.genome import N, decode, encode, reverse_complement
from genebert.motif_files import Motif
from genebert.motif_scan import Hits, merge_sites
from genebert.motifs import MotifSet

BACKGROUND = (0.3, 0.2, 0.2, 0.3)


def random_motif(rng: np.random.Generator, width: int, name: str) -> Motif:
    """A motif of graded positions: one base is preferred by a random amount."""
    counts = rng.gamma(0.4, size=(4, width)) + 1e-3
    return Motif(name, "test", counts / counts.sum(axis=0))


Hit = tuple[int, int, int, bool, float]  # row, motif, start, reverse, score


def brute_hits(motifs: MotifSet, sequences: list[np.ndarray]) -> list[Hit]:
    """All hits by a plain loop, in float64, the given strand of each cell first."""
    out: list[Hit] = []
    for i, sequence in enumerate(sequences):
        for j, motif in enumerate(motifs.kept):
            for reverse in (False, True):
                for start in range(len(sequence) - motif.width + 1):
                    window = sequence[start : start + motif.width].tolist()
                    if N in window:
                        continue
                    score = 0.0
                    for column, base in enumerate(
                        [3 - b for b in window[::-1]] if reverse else window
                    ):
                        score += float(motif.log_odds[base, column])
                    if score >= motif.threshold:
                        out.append((i, j, start, reverse, score))
    return out


def better_strands(hits: list[Hit]) -> list[Hit]:
    """The better strand of each start, the given one where they are equal."""
    best = {hit[:3]: max(h[4] for h in hits if h[:3] == hit[:3]) for hit in hits}
    kept = {}
    for hit in hits:
        if hit[4] == best[hit[:3]]:
            kept.setdefault(hit[:3], hit)
    return [hit for hit in hits if kept.get(hit[:3]) == hit]


def sites_of(motifs: MotifSet, hits: list[Hit]) -> list[Hit]:
    """Hits by column; those of a cluster from the best down, unless one is kept within 2 bases."""
    column = {m: c for c, entry in enumerate(motifs.columns) for m in entry.members}
    out = [(r, column[m], s, v, x) for r, m, s, v, x in hits if not motifs.kept[m].cluster]
    centred = [
        (r, column[m], s + (motifs.kept[m].width - 1) // 2, v, x)
        for r, m, s, v, x in hits
        if motifs.kept[m].cluster
    ]
    sites: list[Hit] = []
    for hit in sorted(centred, key=lambda h: (-h[4], h[2], h[3])):
        if not any(k[:2] == hit[:2] and abs(k[2] - hit[2]) <= 2 for k in sites):
            sites.append(hit)
    return out + sorted(sites)


def cells_of(hits: list[Hit], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Count, best and sum per cell."""
    out = {name: np.zeros(shape) for name in ("count", "best", "sum")}
    for row, column, _, _, score in hits:
        first = out["count"][row, column] == 0
        out["best"][row, column] = score if first else max(score, out["best"][row, column])
        out["count"][row, column] += 1
        out["sum"][row, column] += score
    return {name: values.astype(np.float32) for name, values in out.items()}


def assert_cells(motifs: MotifSet, sequences: list[np.ndarray], hits: list[Hit]) -> None:
    """The scan has exactly the cells of these hits, in all layers."""
    rows = motifs.scan(sequences)
    expected = cells_of(hits, (len(sequences), len(motifs.columns)))
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(rows, name).toarray(), values, err_msg=name)


def best_of_all(motifs: MotifSet, sequences: list[np.ndarray]) -> np.ndarray:
    """Best scores by a plain loop, without a threshold."""
    everything = replace(
        motifs, motifs=tuple(replace(motif, threshold=-np.inf) for motif in motifs.kept)
    )
    best = np.tile([m.log_odds.min(axis=0).sum() for m in motifs.kept], (len(sequences), 1))
    for row, motif, _, _, score in brute_hits(everything, sequences):
        best[row, motif] = max(best[row, motif], score)
    return best.astype(np.float32)


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
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    p_value=st.sampled_from([1e-4, 1e-3, 1e-2]),
)
@example(seed=0, widths=[5, 6, 7], lengths=[30, 30, 30], p_value=1e-3)
@example(seed=1, widths=[5, 6, 7, 8, 9], lengths=[7, 8, 9, 0, 1], p_value=1e-2)
@example(seed=2, widths=[12, 13, 14, 15, 16, 100], lengths=[13, 14, 60, 12, 105], p_value=1e-2)
def test_scan_equals_a_plain_loop(
    seed: int, widths: list[int], lengths: list[int], p_value: float
) -> None:
    rng = np.random.default_rng(seed)
    motifs = [random_motif(rng, width, f"m{i}") for i, width in enumerate(widths)]
    built = MotifSet.build(
        motifs, background=BACKGROUND, p_value=p_value, pseudocount=0.01, unattainable="keep"
    )
    sequences = [planted(rng, motifs, length) for length in lengths]
    assert_cells(built, sequences, brute_hits(built, sequences))
    expected = best_of_all(built, sequences)
    np.testing.assert_allclose(built.best_dense(sequences), expected, rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("p_value", [1e-3, 1e-4, 1e-5])
def test_every_width_equals_a_plain_loop(p_value: float) -> None:
    """Widths 5 to 35, sites at both ends and around N, in lower case, beside repeats."""
    rng = np.random.default_rng(5)
    motifs = [random_motif(rng, width, f"m{width}") for width in range(5, 36)]
    built = MotifSet.build(motifs, background=BACKGROUND, p_value=p_value, unattainable="keep")
    texts = ["acgtn" * 20 + "a" * 40, "N" * 50, "ac" * 60, ""]
    sequences = [encode(text) for text in texts]
    for scored in built.kept:
        site = scored.log_odds.argmax(axis=0).astype(np.uint8)
        gap = np.full(2, N, dtype=np.uint8)
        turned = encode(decode(reverse_complement(site)).lower())
        sequences += [np.concatenate([site, gap, turned]), np.concatenate([turned, gap, site])]
    sequences += [planted(rng, motifs, 120) for _ in range(4)]
    hits = brute_hits(built, sequences)
    assert {hit[1] for hit in hits} == set(range(31))
    assert_cells(built, sequences, hits)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    widths=st.lists(st.integers(4, 18), min_size=2, max_size=6),
    merged=st.booleans(),
    clustered=st.integers(0, 6),
)
@example(seed=0, widths=[6, 6, 14, 14], merged=True, clustered=4)
def test_merged_strands_and_clusters_equal_a_plain_loop(
    seed: int, widths: list[int], merged: bool, clustered: int
) -> None:
    rng = np.random.default_rng(seed)
    motifs = [random_motif(rng, width, f"m{i}") for i, width in enumerate(widths)]
    built = MotifSet.build(
        motifs,
        p_value=1e-2,
        unattainable="keep",
        merge_strands=merged,
        clusters={f"m{i}": f"C{i % 2}" for i in range(min(clustered, len(widths)))},
    )
    sequences = [planted(rng, motifs, int(length)) for length in rng.integers(0, 70, 4)]
    hits = brute_hits(built, sequences)
    hits = better_strands(hits) if merged else hits
    assert_cells(built, sequences, sites_of(built, hits))


@pytest.mark.parametrize("width", [*range(1, 20), 35])
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
