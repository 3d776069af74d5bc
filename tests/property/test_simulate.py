"""What must always hold in the generator."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.genome import reverse_complement
from genebert.simulate.genes import KEEP, write_footprints
from genebert.simulate.layout import Space
from genebert.simulate.tree import correlation, factor
from genebert.simulate.variants import substitution_class


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_cells_handed_out_never_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = Space(5_000)
    blocked = rng.integers(0, 4_900, size=5)
    space.mark(blocked, blocked + 60)
    before = space.taken.copy()
    first = space.take(6, 200, rng, "cells")
    second = space.take(10, 50, rng, "cells")
    covered = np.zeros(5_000, dtype=int)
    for starts, size in ((first, 200), (second, 50)):
        for start in starts:
            covered[start : start + size] += 1
    assert covered.max() == 1
    assert not (before & (covered > 0)).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_footprints_read_the_same_on_both_strands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    footprint = rng.integers(0, 4, size=(2, 12)).astype(np.uint8)
    footprint[rng.random(footprint.shape) < 0.2] = KEEP
    genome = rng.integers(0, 4, size=100).astype(np.uint8)
    written = genome.copy()
    write_footprints(written, footprint, 5, np.array([20, 60]), np.array([1, -1]))
    plus = written[15:27]
    minus = reverse_complement(written[54:66])
    for row, read in zip(footprint, (plus, minus), strict=True):
        assert (read[row != KEEP] == row[row != KEEP]).all()
    changed = np.flatnonzero(written != genome)
    assert (((changed >= 15) & (changed < 27)) | ((changed >= 54) & (changed < 66))).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_substitution_class_is_the_same_on_both_strands(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, size=40).astype(np.uint8)
    position = np.arange(1, 39)
    alt = ((codes[position] + rng.integers(1, 4, size=38)) % 4).astype(np.uint8)
    forward = substitution_class(codes, position, alt)
    backward = substitution_class(reverse_complement(codes), 39 - position, (3 - alt))
    assert (forward == backward).all()


@given(st.lists(st.floats(0.1, 9), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None)
def test_tree_correlation_is_a_correlation_matrix(lengths: list[float]) -> None:
    a, b, c, d, e, f = (round(x, 3) for x in lengths)
    matrix = correlation(f"((A:{a},B:{b}):{c},(C:{d},D:{e}):{f});", list("ABCD"))
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert (matrix <= 1 + 1e-9).all()
    root = factor(matrix)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-8)
