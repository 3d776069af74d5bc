"""Lookups of loci in cell types, against slow ones written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from task_toys import CELLS, WIDTH, SomeShards, toy_shards

from genebert.context import Context, least_alike
from genebert.errors import InputError
from genebert.samples import Corpus, neighbourhood


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(toy_shards())


def test_strength_is_that_of_the_cell_type_and_zero_where_closed(context: Context) -> None:
    shards = context.shards
    n = len(shards.start)
    dense = np.zeros((len(CELLS), n), dtype=np.float32)
    for c in range(len(CELLS)):
        span = slice(shards.indptr[c], shards.indptr[c + 1])
        dense[c, shards.open_regions[span]] = shards.strengths[span]
    cell, region = np.divmod(np.arange(len(CELLS) * n), n)
    np.testing.assert_array_equal(context.strength(cell, region), dense.ravel())
    assert context.strength(np.array([0]), np.array([-1])) == [0]


def test_neighbours_equal_a_slow_search(context: Context) -> None:
    shards = context.shards
    rng = np.random.default_rng(3)
    cell = rng.integers(0, len(CELLS), 80)
    contig = rng.integers(0, 3, 80)
    start = rng.integers(0, 240_000, 80)
    found = context.neighbours(cell, contig, start, start + 500, 6)
    for i in range(80):
        opened = context.open_of(int(cell[i]))
        opened = opened[shards.contig[opened] == contig[i]]
        left = [r for r in opened if shards.start[r] + WIDTH <= start[i]][-3:]
        right = [r for r in opened if shards.start[r] >= start[i] + 500][:3]
        slow = [-1] * (3 - len(left)) + left + right + [-1] * (3 - len(right))
        np.testing.assert_array_equal(found[i], slow)


def test_mean_row_is_that_of_the_region_encoders_matrix(context: Context) -> None:
    corpus = Corpus.from_shards(context.shards)
    region = np.arange(0, 240, 7)
    cell = np.arange(len(region)) % len(CELLS)
    contig = context.shards.contig[region].astype(np.int64)
    position = context.shards.start[region].astype(np.int64) + WIDTH // 2
    matrix, _ = neighbourhood(
        corpus,
        corpus.view(),
        *(torch.from_numpy(a) for a in (cell, contig, position)),
        4,
        torch.from_numpy(region),
        exclude=WIDTH // 2,
    )
    around = context.neighbours(cell, contig, position - 100, position + 100, 4)
    columns = matrix[:, :, [0, 1, 3, 4]].numpy()
    count = np.maximum((around >= 0).sum(axis=1), 1)[:, None]
    mean = context.mean_columns(cell, around)
    np.testing.assert_allclose(mean, columns.sum(axis=2) / count, rtol=1e-5)
    np.testing.assert_allclose(context.rows_of(region), matrix[:, :-1, 2], rtol=1e-5)
    np.testing.assert_allclose(context.strength(cell, region), matrix[:, -1, 2])


def test_rows_without_a_region_are_zero(context: Context) -> None:
    assert not context.rows_of(np.array([-1])).any()
    assert not context.mean_columns(np.array([0]), np.array([[-1, -1]])).any()


def test_cell_state_is_scaled_by_training_cell_types_and_ignores_test_chromosomes() -> None:
    shards = toy_shards()
    state = Context(shards).cell_state
    np.testing.assert_allclose(state[:3].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(state[:3].std(axis=0), 1, rtol=1e-4)
    assert state[3].any()  # held out, but its peaks are known
    shards.motif_rows = shards.motif_rows.copy()
    shards.motif_rows[shards.contig > 0] *= 3
    np.testing.assert_array_equal(state, Context(shards).cell_state)


def test_unknown_cell_type_is_an_input_error(context: Context) -> None:
    with pytest.raises(InputError, match="did you mean 'Mono'"):
        context.cells(["Mona"])
    assert context.contigs(["chr2", "chrX"]).tolist() == [1, -1]


def test_the_wrong_cell_type_is_no_relative() -> None:
    """By the regions of the training split: B is NK but for one, outside it B is Mono."""
    opened = {"B": [0, 1, 2, 3, 6, 7], "Mono": [3, 4, 5, 6, 7], "NK": [0, 1, 2, 4]}
    ids = [np.array(regions) for regions in opened.values()]
    shards = SomeShards(
        cell_types=tuple(opened),
        start=np.arange(8),
        split=np.array([0] * 6 + [2] * 2, dtype=np.int8),
        held_out_only=np.zeros(8, dtype=bool),
        indptr=np.cumsum([0, *map(len, ids)]),
        open_regions=np.concatenate(ids),
        strengths=np.full(sum(map(len, ids)), 0.5),
    )
    assert least_alike(shards) == {"B": "Mono", "Mono": "B", "NK": "Mono"}
    shards.cell_types, shards.indptr = ("B",), shards.indptr[:2]
    with pytest.raises(InputError, match="second cell type"):
        least_alike(shards)
