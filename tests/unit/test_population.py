"""Loci and cell types of a split: nothing of another split, and balanced pairs of cell types."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from genebert.balance import balanced_weights, pair_rates
from genebert.errors import InputError
from genebert.plan import Plan
from genebert.population import (
    NGSP_GAP,
    bins,
    build_population,
)
from genebert.samples import TRAIN, VALID, Corpus
from pretrain_toys import toy_block, toy_shards

SHARDS = toy_shards()
CORPUS = Corpus.from_shards(SHARDS)


def population(split=TRAIN, roles="training", **changes):
    return build_population(CORPUS, Plan.from_pretrain(toy_block(**changes), 1), split, roles)


def test_only_the_split_and_its_cell_types_take_part():
    train = population()
    assert set(SHARDS.split[train.view.region.numpy()]) == {TRAIN}
    assert set(SHARDS.split[train.loci.numpy()]) == {TRAIN}
    assert train.cells.tolist() == [0, 1, 2, 3, 4]
    held_out = population(VALID, "held_out")
    assert set(SHARDS.split[held_out.view.region.numpy()]) == {VALID}
    assert held_out.cells[held_out.anchor_cells].tolist() == [5]


def test_loci_at_the_ends_of_a_contig_have_no_neighbours():
    loci = population(neighbours=20).loci.tolist()
    assert 0 not in loci
    assert 149 not in loci
    assert 75 in loci
    assert len(loci) < len(population(neighbours=2).loci)


def test_pairs_of_held_out_types_have_one_on_either_side():
    weight = population(VALID, "held_out").pair_weight.numpy()
    assert (weight[:5, :5] == 0).all()
    assert weight[5, :5].any()
    assert weight[:5, 5].any()


def test_bins_hold_equal_shares_of_the_reference():
    values = np.random.default_rng(0).random(1000)
    assert np.bincount(bins(values, values, 4)).tolist() == [250] * 4
    assert bins(np.array([-1.0, 2.0]), values, 4).tolist() == [0, 3]


def test_what_only_held_out_cell_types_have_does_not_move_the_bins():
    only = (np.random.default_rng(2).random(len(SHARDS.start)) < 0.3) & (SHARDS.split == TRAIN)
    plan = Plan.from_pretrain(toy_block(), 1)
    found = []
    for value in (0, 50):
        shards = dataclasses.replace(
            SHARDS,
            held_out_only=SHARDS.held_out_only | only,
            motif_count=np.where(only, value, SHARDS.motif_count).astype(np.int32),
            breadth=np.where(only, value, SHARDS.breadth).astype(np.int32),
        )
        made = build_population(Corpus.from_shards(shards), plan, TRAIN, "training")
        found.append([made.motif_bin.numpy()[~only], made.breadth_bin.numpy()[~only]])
    np.testing.assert_array_equal(found[0], found[1])


def test_too_many_neighbours_is_one_line():
    with pytest.raises(InputError, match="cell type cell0 .*400 neighbours"):
        population(neighbours=400)
    with pytest.raises(InputError, match="no cell type has enough open regions"):
        population(VALID, "held_out", neighbours=400)
    few = Corpus.from_shards(toy_shards(30))  # room for two neighbours, not for other segments
    plan = Plan.from_pretrain(toy_block(neighbours=2, objectives=["mgm"]), 1)
    with pytest.raises(InputError, match="1 open regions on each side, .*at least 23 open regions"):
        build_population(few, plan, TRAIN, "training")


def test_directions_are_evened_out_after_the_geometry_has_left_pairs_out(monkeypatch):
    made = {}

    def weighed(*arguments):
        made["weight"], made["expected"] = balanced_weights(*arguments)
        return made["weight"], made["expected"]

    def rates(chance, columns, n_cells):
        made["rates"] = pair_rates(chance, columns, n_cells)
        return made["rates"]

    monkeypatch.setattr("genebert.population.balanced_weights", weighed)
    monkeypatch.setattr("genebert.population.pair_rates", rates)
    accept = population().pair_accept.numpy() / 2**16
    used = accept * made["expected"] * made["rates"]
    np.testing.assert_allclose(used, used.T, rtol=1e-3)
    assert np.abs(made["rates"] / made["rates"].T - 1).max() > 0.02  # it was not so by itself
    assert np.maximum(accept, accept.T)[made["weight"] > 0] == pytest.approx(1, abs=1e-4)


def test_a_cell_type_with_fewer_regions_than_neighbours_is_one_line():
    shards = toy_shards()
    few = shards.indptr[3] + 11  # cell2 ends after eleven regions, on the first contig
    keep = np.r_[0:few, shards.indptr[4] : len(shards.open_regions)]
    shards = dataclasses.replace(
        shards,
        indptr=shards.indptr - np.where(np.arange(7) > 3, shards.indptr[4] - few, 0),
        open_regions=shards.open_regions[keep],
        strengths=shards.strengths[keep],
    )
    corpus = Corpus.from_shards(shards)
    for neighbours, fits in ((10, True), (12, False)):
        plan = Plan.from_pretrain(toy_block(neighbours=neighbours), 1)
        if fits:
            assert build_population(corpus, plan, TRAIN, "training").loci.numel()
            continue
        with pytest.raises(InputError, match=r"cell3 has fewer open regions.*at most 11") as caught:
            build_population(corpus, plan, TRAIN, "training")
        assert "\n" not in str(caught.value)


def test_eligible_means_open_with_neighbours_and_closed_is_closed():
    train = population()
    region = torch.arange(300)
    anchor, closed = train.eligible(region)
    is_open = torch.as_tensor(SHARDS.is_open[:5, :300].T)
    assert not bool((anchor & ~is_open).any())
    assert not bool((closed & is_open).any())
    assert bool(anchor[75].any())


def looked_up(train, region):
    """Return what `eligible` does, by looking for every (region, cell type) in the lists."""
    view, layout, half = train.view, train.layout, train.plan.neighbours // 2
    cell, contig, start = train.places(region)
    centre = start + CORPUS.width // 2
    first, end = view.bounds(cell, contig)
    left = view.seek(cell, contig, centre - layout.exclude - CORPUS.width + 1) - first
    right = end - view.seek(cell, contig, centre + layout.exclude)
    complete = (left >= half) & (right >= half)
    partner = view.seek(cell, contig, start + layout.partner) < end
    _, is_open = view.find(cell, contig, start)
    roomy = end - first > 2 * NGSP_GAP + 2
    return complete, is_open & complete & partner & roomy, ~is_open & complete


@pytest.mark.parametrize("neighbours", [2, 20, 60])
@pytest.mark.parametrize(("split", "roles"), [(TRAIN, "training"), (VALID, "held_out")])
def test_limits_say_what_a_search_of_the_lists_says(neighbours, split, roles):
    made = population(split, roles, neighbours=neighbours)
    region = torch.nonzero(torch.as_tensor(SHARDS.split == split)).squeeze(1)
    complete, anchor, closed = looked_up(made, region)
    assert torch.equal(made.complete(*made.places(region)), complete)
    found = made.eligible(region)
    assert torch.equal(found[0], anchor)
    assert torch.equal(found[1], closed)
    assert 0 < int(complete.sum()) < complete.numel()
    view = made.view
    cell, contig = (view.key >> 32) // view.n_contigs, (view.key >> 32) % view.n_contigs
    start = CORPUS.start[view.region]
    assert torch.equal(made.surrounded, made.complete(cell, contig, start))
