"""Intervals cover what they should, are paired, and do not come from a handful of loci."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genebert.intervals import Aurocs, locus_draws, mean_interval
from genebert.metrics import auroc


def test_draws_are_a_pure_function_and_take_n_loci():
    draws = locus_draws(30, 7)
    assert draws.shape == (30, 1001)
    assert (draws.sum(axis=0) == 30).all()
    assert np.array_equal(draws, locus_draws(30, 7))
    assert not np.array_equal(draws, locus_draws(30, 8))


def test_a_mean_over_bases_is_weighted_and_its_interval_covers():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(100):
        weight = rng.integers(0, 9, 80).astype(float)
        total = weight * (1.0 + rng.normal(0, 0.5, 80))
        found = mean_interval(total, weight, seed)
        assert found.value == pytest.approx(total.sum() / weight.sum())
        assert found.n == (weight > 0).sum()
        inside += found.low <= 1.0 <= found.high
    assert inside >= 85


def test_the_auroc_is_that_of_all_rows_and_the_draws_are_those_of_resampled_loci():
    rng = np.random.default_rng(1)
    right, wrong = rng.normal(0.5, 1, 40).round(1), rng.normal(0, 1, 40).round(1)
    found = Aurocs.of(right, wrong, 5)
    label = np.arange(80) < 40
    assert found.draws[0] == pytest.approx(auroc(label, np.concatenate([right, wrong])))
    for i, draw in enumerate(locus_draws(40, 5).T[:4]):
        pick = np.repeat(np.arange(40), draw.astype(int))
        logits = np.concatenate([right[pick], wrong[pick]])
        assert found.draws[i] == pytest.approx(auroc(label, logits))


def test_a_difference_is_paired():
    rng = np.random.default_rng(2)
    right, wrong = rng.normal(1, 1, 60), rng.normal(0, 1, 60)
    one = Aurocs.of(right, wrong, 5)
    same = one.minus(Aurocs.of(3 * right, 3 * wrong, 5))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = one.minus(Aurocs.of(rng.normal(0, 1, 60), wrong, 5))
    assert better.low > 0


def test_few_loci_give_no_interval():
    few = mean_interval(np.ones(5), np.ones(5), 1)
    assert (few.value, few.n) == (1.0, 5)
    assert math.isnan(few.low)
    assert math.isnan(mean_interval(np.zeros(3), np.zeros(3), 1).value)
