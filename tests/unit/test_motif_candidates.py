"""Candidates: both finders return every window that reaches the threshold, in order."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from genebert.genome import encode
from genebert.motif_candidates import LookupFinder, MoodsFinder, known_bases

FLAT = (0.25,) * 4


def random_matrices(seed: int, widths: list[int]) -> tuple[list[np.ndarray], np.ndarray]:
    """Log-odds with thresholds that about 1 window in 100 reaches."""
    rng = np.random.default_rng(seed)
    matrices = [np.log(rng.dirichlet([0.5] * 4, width).T * 4 + 0.01) for width in widths]
    draws = [rng.permuted(np.tile(m, (400, 1, 1)), axis=1)[:, 0].sum(axis=1) for m in matrices]
    return matrices, np.array([np.quantile(draw, 0.99) for draw in draws])


def plain(matrices: list[np.ndarray], thresholds: np.ndarray, bases: np.ndarray) -> set:
    """(matrix, position) of all windows inside the bases that reach the threshold."""
    return {
        (i, start)
        for i, matrix in enumerate(matrices)
        for start in range(len(bases) - matrix.shape[1] + 1)
        if matrix[bases[start : start + matrix.shape[1]], range(matrix.shape[1])].sum()
        >= thresholds[i]
    }


@pytest.mark.parametrize("kind", ["lookup", "moods"])
@pytest.mark.parametrize("widths", [[3, 5, 8, 9, 12], [40, 21, 20, 13], [100, 7, 16] * 12])
def test_no_window_is_missed(kind: str, widths: list[int]) -> None:
    matrices, thresholds = random_matrices(len(widths), widths)
    bases = np.random.default_rng(1).integers(0, 4, 700).astype(np.uint8)
    finder = (
        LookupFinder(matrices, thresholds)
        if kind == "lookup"
        else MoodsFinder(matrices, thresholds, FLAT)
    )
    index, position = finder.find(bases)
    inside = position + np.array(widths)[index] <= len(bases)
    found = list(zip(index[inside].tolist(), position[inside].tolist(), strict=True))
    expected = plain(matrices, thresholds, bases)
    assert expected
    assert found == sorted(set(found))  # ordered, none twice
    assert expected <= set(found)
    assert len(found) <= 1.2 * len(expected) + 5  # few in vain


@pytest.mark.parametrize("width", [5, 14, 100])
def test_a_threshold_of_the_best_score_keeps_the_best_window_alone(width: int) -> None:
    matrices, _ = random_matrices(1, [width])
    best = matrices[0].argmax(axis=0).astype(np.uint8)
    bases = np.concatenate([best, best[::-1], best, best[:-1], [(best[-1] + 1) % 4]])
    bases = bases.astype(np.uint8)
    threshold = np.array([matrices[0].max(axis=0).sum()])
    for finder in (LookupFinder(matrices, threshold), MoodsFinder(matrices, threshold, FLAT)):
        _, position = finder.find(bases)
        inside = position[position + width <= len(bases)].tolist()
        windows = [start for start in inside if (bases[start : start + width] == best).all()]
        assert inside == windows
        assert {0, 2 * width} <= set(inside)


@pytest.mark.parametrize("bases", [0, 1, 4])
def test_short_sequences_and_empty_sets(bases: int) -> None:
    codes = np.zeros(bases, dtype=np.uint8)
    matrices, thresholds = random_matrices(1, [15, 6])
    for finder in (LookupFinder([], np.zeros(0)), MoodsFinder([], np.zeros(0), FLAT)):
        assert [len(part) for part in finder.find(codes)] == [0, 0]
    for finder in (LookupFinder(matrices, thresholds), MoodsFinder(matrices, thresholds, FLAT)):
        index, position = finder.find(codes)
        assert len(index) == len(position)


def test_unknown_bases_become_known_and_the_collector_is_left_on() -> None:
    codes = encode("ACNNgtN")
    known = known_bases(codes)
    assert known.dtype == np.uint8
    assert known.max() < 4
    assert known[[0, 1, 4, 5]].tolist() == codes[[0, 1, 4, 5]].tolist()
    matrices, thresholds = random_matrices(1, [6])
    assert gc.isenabled()
    MoodsFinder(matrices, thresholds, FLAT).find(known)
    assert gc.isenabled()
