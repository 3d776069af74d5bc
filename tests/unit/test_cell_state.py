"""The state of a cell type: from training chromosomes, scaled by training cell types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from genebert import cell_state
from genebert.cell_state import cell_states
from genebert.context import Context
from genebert.samples import TRAIN, Corpus
from pretrain_toys import ToyShards, toy_shards

SHARDS = toy_shards()


def states(shards: ToyShards = SHARDS) -> NDArray[np.float32]:
    return cell_states(
        shards.motif_rows, shards.normaliser, shards.indptr, shards.open_regions,
        shards.split == TRAIN, shards.held_out_only, shards.held_out,
    )  # fmt: skip


def test_states_are_z_scores_of_the_enrichment() -> None:
    rows = np.minimum(SHARDS.motif_rows.astype(np.float64) / SHARDS.normaliser, 1)
    training = SHARDS.split == TRAIN
    everywhere = rows[training & ~SHARDS.held_out_only].mean(axis=0)
    enrichment = np.stack([rows[training & o].mean(axis=0) - everywhere for o in SHARDS.is_open])
    known = enrichment[:5]
    expected = (enrichment - known.mean(axis=0)) / known.std(axis=0)
    assert SHARDS.held_out_only[training].any()  # they count for the held-out cell type
    np.testing.assert_allclose(states(), expected, atol=1e-5)


def test_how_many_regions_are_taken_at_a_time_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = states()
    monkeypatch.setattr(cell_state, "_CHUNK", 7)
    np.testing.assert_allclose(states(), whole, atol=1e-5)


def test_nothing_but_training_chromosomes_matters() -> None:
    other, rng = toy_shards(), np.random.default_rng(0)
    away = other.split != TRAIN
    other.motif_rows[away] = rng.random(other.motif_rows[away].shape)
    np.testing.assert_array_equal(states(other), states())


def test_the_peaks_of_a_held_out_cell_type_change_its_own_state_only() -> None:
    """Regions that it alone has may be anything, and it may have other ones of the rest."""
    other = toy_shards()
    other.motif_rows[other.held_out_only] += 5
    own = slice(*other.indptr[5:7])
    other.open_regions[own] = np.sort((other.open_regions[own] + 1) % 600)
    changed = (states(other) != states()).any(axis=1)
    assert changed.tolist() == [False] * 5 + [True]


def test_an_empty_cell_type_and_a_motif_without_hits_are_no_error() -> None:
    other = toy_shards()
    other.motif_rows[:, 3] = 0
    other.indptr[1:] -= other.indptr[1]
    other = replace(other, open_regions=other.open_regions[-other.indptr[-1] :])
    found = states(other)
    assert np.isfinite(found).all()
    assert (found[:, 3] == 0).all()


def test_model_and_baselines_see_the_same_states() -> None:
    corpus = Corpus.from_shards(SHARDS)
    assert corpus.cell_state.shape == (6, 12)
    assert not bool(corpus.cell_state[:, -1].any())  # accessibility: the state has none
    found = torch.as_tensor(Context(SHARDS).cell_state)
    assert torch.equal(corpus.cell_state[:, :-1], found)
