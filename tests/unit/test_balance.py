"""Pairs of n2: directions of cell types and the geometry of windows are balanced."""

from __future__ import annotations

import numpy as np
import torch

from genebert.balance import (
    BINS,
    SHAPES,
    Geometry,
    accepted,
    balanced_weights,
    pair_rates,
    size_weights,
    window_shapes,
)
from genebert.logistic import fit_logistic
from genebert.metrics import auroc
from genebert.samples import TRAIN, Corpus
from pretrain_toys import toy_shards


def test_pairs_are_used_equally_often_in_both_directions():
    rng = np.random.default_rng(0)
    n, chance = 4000, np.array([0.15, 0.3, 0.5, 0.8])  # cell types of very unequal depth
    is_open = rng.random((n, 4)) < chance
    weight, expected = balanced_weights(is_open, ~is_open, ~np.eye(4, dtype=bool))
    accept = accepted(expected)
    assert (weight == np.rint(weight)).all()
    joint = is_open[:, :, None] * (~is_open)[:, None, :] * weight
    total = joint.sum(axis=(1, 2), keepdims=True)
    drawn = (joint / np.where(total > 0, total, 1)).sum(axis=0)
    used = drawn * accept / 2**16
    off = ~np.eye(4, dtype=bool)
    assert np.abs(used / np.where(off, used.T, 1) - 1)[off].max() < 0.02
    assert used.sum() > 0.5 * drawn.sum()
    plain = (is_open[:, :, None] * (~is_open)[:, None, :]).sum(axis=0)
    assert np.abs(plain / np.where(off, plain.T, 1) - 1)[off].max() > 1  # it was not so before


def test_given_one_of_a_pair_both_directions_are_used_equally_often_too():
    rng = np.random.default_rng(0)
    n, chance = 4000, np.array([0.15, 0.3, 0.5, 0.8])
    is_open = rng.random((n, 4)) < chance
    weight, expected = balanced_weights(is_open, ~is_open, ~np.eye(4, dtype=bool), given=True)
    accept = accepted(expected)
    drawn = np.zeros((4, 4))
    for c in range(4):  # every locus open in c is visited once with it and draws the other one
        total = (~is_open @ weight[c])[:, None]
        share = np.where(total > 0, ~is_open * weight[c] / np.where(total > 0, total, 1), 0)
        drawn[c] = share[is_open[:, c]].sum(axis=0)
    used = drawn * accept / 2**16
    off = ~np.eye(4, dtype=bool)
    assert np.abs(used / np.where(off, used.T, 1) - 1)[off].max() < 0.02
    assert used.sum() > 0.3 * drawn.sum()


def test_small_cell_types_weigh_more_in_proportion():
    assert size_weights(np.array([100, 200, 1000, 10**6])).tolist() == [1023, 512, 102, 1]
    assert size_weights(np.array([0, 1])).tolist() == [1023, 1023]


def test_a_pair_that_occurs_in_one_direction_only_is_not_used():
    is_open = np.array([[True, False], [True, False], [True, True]])
    weight, expected = balanced_weights(is_open, ~is_open, ~np.eye(2, dtype=bool))
    assert not weight.any()
    assert not accepted(expected).any()


def test_shares_of_pairs_are_their_own_where_there_are_draws_and_their_cell_types_else():
    rng = np.random.default_rng(0)
    truth = np.array([[0.5, 0.8, 0.2], [0.4, 0.5, 0.6], [0.9, 0.3, 0.5]])
    columns = rng.integers(3, size=(2, 90_000))
    chance = truth[columns[0], columns[1]]
    np.testing.assert_allclose(pair_rates(chance, columns, 3), truth, atol=0.01)
    few = columns[:, :30]
    found = pair_rates(np.outer([1, 0.5, 0.2], [1, 0.6, 0.3])[few[0], few[1]], few, 3)
    assert 0.2 < found.min() < found.max() < 0.8  # far from what three draws say
    assert found[0, 0] > found[2, 2]


def paired_pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both windows of a pair share the density of their locus, which shortens spans the most."""
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(3, size=n), rng.integers(3, size=n)])
    depth = np.array([1.0, 3.0, 10.0])[cells]
    shared, right = rng.normal(size=n), np.array([[1.0], [0.0]])
    span = np.exp(9 - 0.5 * shared - 0.1 * right + 0.3 * rng.normal(size=(2, n))) / depth
    nearest = np.exp(7 - 0.1 * shared - 0.3 * right + 0.6 * rng.normal(size=(2, n))) / depth
    return np.stack([span, nearest]).astype(np.int64), cells


def test_the_shapes_of_a_window_are_those_of_its_regions():
    shards = toy_shards()
    corpus = Corpus.from_shards(shards)
    view = corpus.view([TRAIN])
    R, exclude = 4, int(corpus.width)
    breadth = shards.is_open[~shards.held_out].sum(axis=0)
    seen = 0
    for place in range(20, 60):
        here = np.flatnonzero(shards.is_open[2] & (shards.contig == shards.contig[place]))
        here = here[(shards.split[here] == TRAIN)]
        away = shards.start[here].astype(int) - int(shards.start[place])
        left = here[away <= -exclude - corpus.width // 2][-R // 2 :]
        right = here[away >= exclude + corpus.width // 2][: R // 2]
        around = np.concatenate([left, right])
        if len(around) < R:
            continue
        away = np.abs(shards.start[around].astype(int) - int(shards.start[place]))
        start = shards.start[around].astype(int)
        cell, at = (torch.tensor([value]) for value in (2, place))
        found = window_shapes(corpus, view, cell, at, R, exclude)[:, 0].tolist()
        flank = away[1], away[2]
        expected = [start[-1] - start[0], min(flank), max(flank), away.sum(), breadth[around].sum()]
        assert dict(zip(SHAPES, found, strict=True)) == dict(zip(SHAPES, expected, strict=True))
        seen += 1
    assert seen > 10


def test_neither_length_tells_the_pairs_that_are_used_apart():
    geometry = Geometry.fit(*paired_pairs(40_000, 0), 3)
    lengths, cells = paired_pairs(40_000, 1)
    word = torch.from_numpy(np.random.default_rng(2).integers(2**32, size=40_000))
    used = geometry.accepts(torch.from_numpy(lengths), torch.from_numpy(cells), word).numpy()
    depth = np.log(np.array([1.0, 3.0, 10.0]))[cells]
    more = np.subtract(*np.moveaxis(np.log(lengths + 1) + depth, 1, 0))  # right minus wrong
    assert (np.abs(more[:, used].mean(axis=1)) < 0.2 * np.abs(more.mean(axis=1))).all()
    assert used.mean() > 0.6


# -- geometry --------------------------------------------------------------------------------------


def drawn_pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 3 cell types of very unequal depth; the right one of a pair is shorter."""
    rng = np.random.default_rng(seed)
    cells = np.stack([rng.integers(3, size=n), rng.integers(3, size=n)])
    depth = np.array([1.0, 3.0, 10.0])[cells]
    density = rng.normal(size=n) + np.array([[0.8], [0.0]])  # of the domain, for the right one
    span = np.exp(9 - 0.5 * density + 0.3 * rng.normal(size=(2, n))) / depth
    nearest = np.exp(7 - 0.5 * density + 0.6 * rng.normal(size=(2, n))) / depth
    return np.stack([span, nearest]).astype(np.int64), cells


def told_apart(lengths: np.ndarray, cells: np.ndarray) -> float:
    """AUROC of a logistic regression on both lengths and the cell type."""
    x = np.concatenate([np.log(lengths.reshape(2, -1) + 1), np.eye(3)[cells.reshape(-1)].T]).T
    label = np.arange(len(x)) < lengths.shape[2]
    return auroc(label, fit_logistic(x, label).logits(x))


def test_geometry_does_not_tell_the_pairs_that_are_used_apart():
    geometry = Geometry.fit(*drawn_pairs(40_000, 0), 3)
    lengths, cells = drawn_pairs(40_000, 1)
    word = torch.from_numpy(np.random.default_rng(2).integers(2**32, size=40_000))
    used = geometry.accepts(torch.from_numpy(lengths), torch.from_numpy(cells), word).numpy()
    assert told_apart(lengths, cells) > 0.65
    assert abs(told_apart(lengths[:, :, used], cells[:, used]) - 0.5) < 0.02
    assert used.mean() > 0.25
    for a, b in ((0, 1), (0, 2), (1, 2)):  # and both directions are still used alike
        one = int((used & (cells[0] == a) & (cells[1] == b)).sum())
        other = int((used & (cells[0] == b) & (cells[1] == a)).sum())
        assert abs(one - other) < 4 * (one + other) ** 0.5


def test_geometry_is_of_whole_numbers_and_the_upper_bits_do_not_count():
    geometry = Geometry.fit(*drawn_pairs(5_000, 0), 3)
    assert geometry.edges.shape == (2, 3, BINS - 1)
    tables = geometry.edges, geometry.weight, geometry.limits, geometry.accept
    assert all(x.dtype == torch.int64 for x in tables)
    lengths, cells = (torch.from_numpy(x) for x in drawn_pairs(1_000, 3))
    word = torch.arange(1_000) * 65
    one, other = (geometry.accepts(lengths, cells, word + high) for high in (0, 2**16))
    assert torch.equal(one, other)
    assert 0 < int(one.sum()) < 1_000


def test_without_pairs_every_pair_is_used():
    nothing = torch.zeros(2, 2, 5, dtype=torch.int64)
    assert bool(Geometry.none(nothing.device).accepts(nothing, nothing[0], nothing[0, 0]).all())
