"""Thresholds: the loosest ones whose hits are as rare as asked, against lists of all words."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import motif_pvalues
from genebert.motif_files import Motif, read_motifs
from genebert.motif_pvalues import best_probability, threshold
from genebert.motifs import MotifSet, score_motif

FLAT, SKEWED = (0.25,) * 4, (0.37, 0.13, 0.19, 0.31)
TIED = 1e-10  # nats; scores that are nearer are the same score, added up in another order
P_VALUES = (1e-5, 1e-4, 1e-3, 1e-2, 0.3)


def log_odds_of(counts: np.ndarray, background: tuple[float, ...]) -> np.ndarray:
    """Log-odds as the motif sets make them."""
    base = np.array(background)[:, None]
    return np.log((counts / counts.sum(axis=0) + 0.01 * base) / 1.01 / base)


def random_log_odds(seed: int, width: int, background: tuple[float, ...]) -> np.ndarray:
    """Graded positions; nearly no two words score the same."""
    return log_odds_of(np.random.default_rng(seed).gamma(0.4, size=(4, width)) + 1e-3, background)


def words(log_odds: np.ndarray, background: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(scores, added as the scanner does, and probabilities) of all words, from the best down."""
    score, probability = np.zeros(1), np.ones(1)
    for column in log_odds.T:
        score = (score[:, None] + column).ravel()
        probability = (probability[:, None] * background).ravel()
    order = np.argsort(-score)
    return score[order], probability[order]


class Tails:
    """Exact tails of a matrix of any width that two lists of half words can be made for."""

    def __init__(self, log_odds: np.ndarray, background: tuple[float, ...]) -> None:
        half = log_odds.shape[1] // 2
        self.left, self.probability = words(log_odds[:, :half], background)
        right, probability = words(log_odds[:, half:], background)
        self.right = right[::-1]
        self.reached = np.concatenate([[0], np.cumsum(probability)])  # by the n best

    def at(self, score: float) -> float:
        """Probability of at least this score."""
        lower = np.searchsorted(self.right, score - self.left)
        return float(self.probability @ self.reached[len(self.right) - lower])

    def below(self, score: float) -> float:
        """The highest score below this one."""
        lower = np.searchsorted(self.right, score - self.left)
        return float((self.left + self.right[lower - 1])[lower > 0].max())


def assert_loosest(
    log_odds: np.ndarray, background: tuple[float, ...], p_value: float, found: float
) -> None:
    """The hits are all words of the levels whose tail is at most p_value, the best one at least."""
    score, probability = words(log_odds, background)
    ends = np.append(np.flatnonzero(-np.diff(score) > TIED), len(score) - 1)  # of the levels
    tails = np.cumsum(probability)[ends]
    levels = max(int((tails <= p_value * (1 + 1e-11)).sum()), 1)
    assert (score >= found).sum() == ends[levels - 1] + 1
    assert np.abs(score - found).min() > 5e-13  # no rounding changes what is a hit


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 8),
    background=st.sampled_from([FLAT, SKEWED]),
    p_value=st.one_of(st.sampled_from(P_VALUES), st.floats(1e-6, 0.9)),
)
def test_hits_are_all_words_that_are_rare_enough(
    seed: int, width: int, background: tuple[float, ...], p_value: float
) -> None:
    log_odds = random_log_odds(seed, width, background)
    assert_loosest(
        log_odds, background, p_value, threshold(log_odds, np.array(background), p_value)
    )


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 8),
    kinds=st.integers(1, 3),
    background=st.sampled_from([FLAT, SKEWED]),
    p_value=st.sampled_from(P_VALUES),
)
def test_tied_words_are_hits_together(
    seed: int, width: int, kinds: int, background: tuple[float, ...], p_value: float
) -> None:
    """Few kinds of columns, some bases with the same counts: words tie but for rounding."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, 3, size=(4, kinds)) + np.eye(4)[:, :kinds]
    log_odds = log_odds_of(columns[:, rng.integers(0, kinds, width)], background)
    assert_loosest(
        log_odds, background, p_value, threshold(log_odds, np.array(background), p_value)
    )


def test_scores_that_differ_by_rounding_are_tied() -> None:
    """Of 6 words with one mismatch, 3 score 5e-12 nats less: a limit of 5 words keeps the best."""
    log_odds = np.tile([[0.0], [-1.0], [-1 - 5e-12], [-2.0]], 3)
    for count, hits in [(1, 1), (5, 1), (6, 1), (7, 7), (8, 7)]:
        found = threshold(log_odds, np.full(4, 0.25), count / 64)
        assert (words(log_odds, FLAT)[0] >= found).sum() == hits
        assert_loosest(log_odds, FLAT, count / 64, found)


@pytest.mark.parametrize("background", [FLAT, SKEWED])
@pytest.mark.parametrize("pairs", [0, 5, 1 << 18])
def test_bisection_and_lists_agree(
    monkeypatch: pytest.MonkeyPatch, background: tuple[float, ...], pairs: int
) -> None:
    monkeypatch.setattr(motif_pvalues, "_PAIRS", pairs)
    for bits, width in itertools.product([1, 4, 12, 16], [1, 2, 5, 8, 9]):
        monkeypatch.setattr(motif_pvalues, "_COARSE", bits)
        log_odds = random_log_odds(width, width, background)
        for p_value in P_VALUES:
            found = threshold(log_odds, np.array(background), p_value)
            assert_loosest(log_odds, background, p_value, found)


@pytest.mark.parametrize("width", [12, 13, 19, 20])
def test_widths_that_are_exact(width: int) -> None:
    log_odds = random_log_odds(7, width, SKEWED)
    tails, found = Tails(log_odds, SKEWED), threshold(log_odds, np.array(SKEWED), 1e-4)
    assert tails.at(found) <= 1e-4 * (1 + 1e-11)
    assert tails.at(tails.below(found) - 1e-12) > 1e-4


@pytest.mark.parametrize(("width", "exact"), [(21, 20), (9, 8), (13, 4)])
@pytest.mark.parametrize("p_value", [1e-4, 1e-2])
def test_wider_ones_are_on_the_safe_side(
    monkeypatch: pytest.MonkeyPatch, width: int, exact: int, p_value: float
) -> None:
    monkeypatch.setattr(motif_pvalues, "_EXACT", exact)
    log_odds = random_log_odds(3, width, SKEWED)
    tails, found = Tails(log_odds, SKEWED), threshold(log_odds, np.array(SKEWED), p_value)
    lack = log_odds.max(axis=0).sum() - found
    assert tails.at(found) <= p_value
    assert tails.at(found - lack * 1.01 * width / 2**18) > p_value


def test_a_wide_matrix_of_faint_and_sharp_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faint columns alone make the best words rare enough: a coarse grid cannot see them."""
    monkeypatch.setattr(motif_pvalues, "_EXACT", 4)
    counts = np.full((4, 14), 1.0)
    counts[0] += 1e-6
    counts[:, :3] = [[1.0], [0.0], [0.0], [0.0]]
    log_odds = log_odds_of(counts, FLAT)
    tails, found = Tails(log_odds, FLAT), threshold(log_odds, np.full(4, 0.25), 1e-4)
    assert 0.25**14 < tails.at(found) <= 1e-4
    assert tails.at(tails.below(found) - 1e-12) > 1e-4


@pytest.mark.parametrize("width", [1, 6, 20, 21, 40])
@pytest.mark.parametrize("background", [FLAT, SKEWED])
def test_a_uniform_matrix_has_every_word_or_none(width: int, background: tuple[float, ...]) -> None:
    log_odds = log_odds_of(np.tile(np.array(background)[:, None], width), background)
    assert best_probability(log_odds, np.array(background)) == pytest.approx(1)
    lowest = log_odds.min(axis=0).sum()
    for p_value in (1e-4, 1.0, 2.0):  # no word is rarer than 1: all of them are the best
        assert threshold(log_odds, np.array(background), p_value) < lowest - 1e-13


@pytest.mark.parametrize("width", [1, 5, 8, 20])
def test_a_limit_that_all_words_keep(width: int) -> None:
    log_odds = random_log_odds(1, width, FLAT)
    for p_value in (1.0, 5.0):
        assert threshold(log_odds, np.full(4, 0.25), p_value) < log_odds.min(axis=0).sum()


@pytest.mark.parametrize("width", [1, 4, 20, 24])
def test_a_limit_that_no_word_keeps(width: int) -> None:
    log_odds = random_log_odds(2, width, FLAT)
    found = threshold(log_odds, np.full(4, 0.25), 1e-30)
    second = log_odds.max(axis=0).sum() - np.diff(np.sort(log_odds, axis=0), axis=0)[-1].min()
    assert second < found < log_odds.max(axis=0).sum()


def test_the_limit_itself_is_kept() -> None:
    """A limit that a tail equals, but for the rounding of its terms."""
    log_odds = random_log_odds(5, 7, SKEWED)
    score, probability = words(log_odds, SKEWED)
    for count in (1, 2, 50):
        limit = float(probability[:count].sum())
        for p_value in (limit * (1 - 1e-14), limit * (1 + 1e-14)):
            assert (score >= threshold(log_odds, np.array(SKEWED), p_value)).sum() == count


@pytest.mark.parametrize("background", [FLAT, (0.3, 0.2, 0.2, 0.3)])
@pytest.mark.parametrize("p_value", [1e-3, 1e-2])
def test_the_scan_of_all_words_has_as_many_hits(
    background: tuple[float, ...], p_value: float
) -> None:
    width = 6
    counts = np.random.default_rng(4).integers(0, 9, size=(4, width)) + np.eye(4, width)
    motif = Motif("m", "test", counts / counts.sum(axis=0))
    built = MotifSet.build([motif], background=background, p_value=p_value)
    codes = np.array(list(itertools.product(range(4), repeat=width)), dtype=np.uint8)
    hits = built.hits(list(codes))
    probability = np.array(background)[codes].prod(axis=1)
    score, _ = words(built.kept[0].log_odds, background)
    assert_loosest(built.kept[0].log_odds, background, p_value, built.kept[0].threshold)
    for reverse in (False, True):
        rows = hits.row[hits.reverse == reverse]
        assert len(rows) == (score >= built.kept[0].threshold).sum() > 0
        assert probability[rows].sum() <= p_value * (1 + 1e-11)


def test_jaspar_motifs_that_a_coarse_grid_gets_wrong() -> None:
    """With columns rounded to 1/2000, 2 words in 16,384 were hits of each of the first two."""
    names = {"MA0036.4": 1, "MA0852.3": 1, "MA0854.2": 6}
    motifs = [m for m in read_motifs("jaspar:2024:vertebrates", "pyjaspar") if m.name in names]
    assert len(motifs) == len(names)
    for motif in motifs:
        scored = score_motif(motif, FLAT, p_value=1e-4, pseudocount=0.01)
        score, _ = words(scored.log_odds, FLAT)
        assert (score >= scored.threshold).sum() == names[motif.name]
        assert_loosest(scored.log_odds, FLAT, 1e-4, scored.threshold)
