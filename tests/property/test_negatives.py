from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genebert.tasks import negatives

WIDTHS = (0.1, 0.25)
unit = st.floats(0, 1, width=32)


def table(most: int) -> st.SearchStrategy[np.ndarray]:
    return st.integers(0, most).flatmap(lambda n: arrays(float, (n, 2), elements=unit))


@settings(max_examples=100, deadline=None)
@given(table(30), table(60), st.integers(0, 3), st.integers(0, 99))
def test_matches_are_near_distinct_and_repeatable(
    positive: np.ndarray, candidate: np.ndarray, radius: int, seed: int
) -> None:
    draws = [
        negatives.match(positive, candidate, WIDTHS, np.random.default_rng(seed), max_radius=radius)
        for _ in range(2)
    ]
    assert draws[0].tolist() == draws[1].tolist()
    chosen = draws[0]
    found = chosen[chosen >= 0]
    assert len(set(found.tolist())) == len(found)
    near = np.abs(positive[chosen >= 0] - candidate[found])
    assert (near <= (radius + 1) * np.array(WIDTHS) + 1e-6).all()


@settings(max_examples=60, deadline=None)
@given(table(20), table(40), st.integers(0, 99))
def test_nothing_in_reach_is_left_over(
    positive: np.ndarray, candidate: np.ndarray, seed: int
) -> None:
    chosen = negatives.match(positive, candidate, WIDTHS, np.random.default_rng(seed), max_radius=1)
    cells = [np.floor(x / np.array(WIDTHS) + 1e-9) for x in (positive, candidate)]
    free = np.setdiff1d(np.arange(len(candidate)), chosen)
    for row in np.flatnonzero(chosen < 0):
        assert (np.abs(cells[1][free] - cells[0][row]).max(axis=1, initial=0) > 1).all()


@settings(max_examples=60, deadline=None)
@given(st.text("ACGT", min_size=20, max_size=400), st.integers(0, 99))
def test_substitution_keeps_the_length_and_two_fifths(sequence: str, seed: int) -> None:
    changed = negatives.substitute(sequence, np.random.default_rng(seed))
    assert len(changed) == len(sequence)
    assert set(changed) <= set("ACGT")
    same = sum(a == b for a, b in zip(sequence, changed, strict=True))
    assert same >= 8 * (len(sequence) // 20)
