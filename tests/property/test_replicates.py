"""Merging replicates is what one would do by hand, whatever the order of the files."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.peaks import Peaks
from genebert.replicates import merge_replicates

CONTIGS = {"a": 300, "b": 300}
row = st.tuples(
    st.integers(0, 1),
    st.integers(0, 60),
    st.integers(1, 30),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
one = st.dictionaries(
    row.map(lambda r: (r[0], r[1], r[1] + r[2])), row.map(lambda r: r[3]), max_size=9
)


def as_peaks(rows: dict[tuple[int, int, int], float]) -> Peaks:
    places = np.array(sorted(rows), dtype=np.int32).reshape(-1, 3).T
    strength = np.array([rows[place] for place in sorted(rows)], dtype=float)
    return Peaks(*places, (places[1] + places[2]) // 2, strength, "score", {"read": len(rows)})


def same(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    shared = min(a[2], b[2]) - max(a[1], b[1])
    return a[0] == b[0] and shared > 0 and 2 * shared >= min(a[2] - a[1], b[2] - b[1])


def by_hand(
    replicates: list[dict[tuple[int, int, int], float]], minimum: int
) -> list[tuple[int, int, int]]:
    """Return the places that stay: every step written out."""
    pool = []
    for number, rows in enumerate(replicates):
        for place, strength in rows.items():
            best = [
                strength
                if other == number
                else max((s for p, s in replicates[other].items() if same(place, p)), default=0.0)
                for other in range(len(replicates))
            ]
            if sum(value > 0 for value in best) >= minimum:
                pool.append((sum(best), place, strength, number))
    kept: list[tuple[tuple[int, int, int], int]] = []
    for _, place, _, number in sorted(pool, key=lambda x: (-x[0], -x[2], x[1])):
        if not any(same(place, p) and number != n for p, n in kept):
            kept.append((place, number))
    return sorted(place for place, _ in kept)


def content(peaks: Peaks) -> list[object]:
    arrays = (peaks.contig, peaks.start, peaks.end, peaks.summit, peaks.strength)
    return [*(a.tolist() for a in arrays), dict(peaks.counts)]


@settings(max_examples=300, deadline=None)
@given(st.lists(one, min_size=2, max_size=3), st.integers(1, 3))
def test_merging(replicates: list[dict[tuple[int, int, int], float]], minimum: int) -> None:
    minimum = min(minimum, len(replicates))
    all_ = [as_peaks(rows) for rows in replicates]
    merged = [merge_replicates(list(p), minimum, CONTIGS) for p in itertools.permutations(all_)]
    found = merged[0]
    assert all(content(other) == content(found) for other in merged)
    total = sum(len(rows) for rows in replicates)
    assert total == len(found) + found.counts["replicates"] + found.counts["merged"]
    assert ((found.strength > 0) & (found.strength <= 1)).all()
    # Equal strengths of the same place in two replicates: either may stand for the other.
    places = [place for rows in replicates for place in rows]
    if len(set(places)) == len(places):
        triples = zip(found.contig.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
        assert list(triples) == by_hand(replicates, minimum)
