"""Matrices and sequences on the device against slow, plain loops over the shards' arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from genebert import tokens
from genebert.errors import InputError
from genebert.samples import (
    TEST,
    TRAIN,
    VALID,
    Corpus,
    draw,
    neighbourhood,
    neighbours,
    shuffled,
)
from pretrain_toys import toy_shards

SHARDS = toy_shards()
CORPUS = Corpus.from_shards(SHARDS)


def nearest(cell, contig, position, R, exclude, allowed):
    """Return region ids left to right, -1 where there is none (plain loop)."""
    left, right = [], []
    for region in np.flatnonzero(SHARDS.is_open[cell] & allowed & (SHARDS.contig == contig)):
        start = SHARDS.start[region]
        if start + SHARDS.width <= position - exclude:
            left.append(region)
        elif start >= position + exclude:
            right.append(region)
    left, right = left[-(R // 2) :], right[: R // 2]
    return [-1] * (R // 2 - len(left)) + left + right + [-1] * (R // 2 - len(right))


@pytest.mark.parametrize("splits", [(TRAIN,), (VALID,), (TRAIN, VALID, TEST)])
def test_neighbours_are_the_nearest_open_regions(splits):
    view = CORPUS.view(splits)
    rng = np.random.default_rng(0)
    allowed = np.isin(SHARDS.split, splits)
    cell, contig = rng.integers(0, 6, 40), rng.integers(0, 4, 40)
    position = rng.integers(0, int(SHARDS.start.max()) + 2000, 40)
    entry, there = neighbours(
        view, SHARDS.width, *(torch.as_tensor(x) for x in (cell, contig, position)), R=8, exclude=70
    )
    found = torch.where(there, view.region[entry], -1).tolist()
    expected = [
        nearest(*place, 8, 70, allowed) for place in zip(cell, contig, position, strict=True)
    ]
    assert found == expected
    assert any(-1 in row for row in expected)
    assert any(-1 not in row for row in expected)


def test_the_matrix_holds_motif_rows_strengths_and_the_anchor():
    view = CORPUS.view()
    anchor, cell, R = 40, 2, 6
    position = int(SHARDS.start[anchor]) + SHARDS.width // 2
    matrix, placeholder = neighbourhood(
        CORPUS, view, torch.tensor([cell, cell]), torch.tensor([0, 0]),
        torch.tensor([position, position]), R, torch.tensor([anchor, -1]),
    )  # fmt: skip
    assert placeholder.tolist() == [False, True]
    regions = nearest(cell, 0, position, R, SHARDS.width // 2, np.ones(600, dtype=bool))
    for column, region in zip([0, 1, 2, 4, 5, 6], regions, strict=True):
        row = np.minimum(SHARDS.motif_rows[region].astype(np.float32) / SHARDS.normaliser, 1)
        assert np.allclose(matrix[0, :-1, column], row, atol=1e-6)
        own = slice(SHARDS.indptr[cell], SHARDS.indptr[cell + 1])
        at = np.flatnonzero(SHARDS.open_regions[own] == region)[0]
        assert float(matrix[0, -1, column]) == pytest.approx(SHARDS.strengths[own][at])
    row = np.minimum(SHARDS.motif_rows[anchor].astype(np.float32) / SHARDS.normaliser, 1)
    assert np.allclose(matrix[0, :-1, 3], row, atol=1e-6)
    assert (float(matrix[0, -1, 3]) > 0) == bool(SHARDS.is_open[cell, anchor])
    assert bool((matrix[1, :, 3] == 0).all())
    assert torch.equal(matrix[0, :, [0, 1, 2, 4, 5, 6]], matrix[1, :, [0, 1, 2, 4, 5, 6]])


def test_a_closed_anchor_has_its_motifs_but_no_accessibility():
    cell, anchor = (int(x[0]) for x in np.nonzero(~SHARDS.is_open))
    position = torch.tensor([int(SHARDS.start[anchor])])
    contig = torch.tensor([int(SHARDS.contig[anchor])])
    matrix, _ = neighbourhood(
        CORPUS, CORPUS.view(), torch.tensor([cell]), contig, position, 2, torch.tensor([anchor])
    )
    assert float(matrix[0, -1, 1]) == 0
    assert torch.equal(matrix[0, :-1, 1], CORPUS.columns(torch.tensor(anchor)))


def test_without_accessibility_the_last_row_says_only_that_a_region_is_there():
    view = CORPUS.view()
    matrix, _ = neighbourhood(
        CORPUS, view, torch.tensor([0]), torch.tensor([0]), torch.tensor([0]), 4,
        accessibility=False,
    )  # fmt: skip
    assert matrix[0, -1].tolist() == [0, 0, 0, 1, 1]  # nothing lies left of position 0


def test_columns_are_normalised_and_clipped():
    columns = CORPUS.columns(torch.arange(600))
    assert float(columns.max()) == 1.0
    assert float(columns.min()) == 0.0


def test_a_view_without_held_out_only_regions_has_none():
    odd = dataclasses.replace(SHARDS, held_out_only=np.arange(600) % 7 == 0)
    view = Corpus.from_shards(odd).view([TRAIN], held_out_only=False)
    regions = view.region.numpy()
    assert not odd.held_out_only[regions].any()
    assert (odd.split[regions] == TRAIN).all()
    assert len(regions) > 100


def test_sequences_and_repeats_are_those_of_the_shards():
    region, offset = torch.tensor([3, 99, 400]), torch.tensor([0, 17, 60])
    codes = CORPUS.codes(region, offset, 50)
    repeats = CORPUS.repeats(region, offset[:, None] + torch.arange(50))
    stored = np.unpackbits(SHARDS.repeat_mask, axis=1, count=140, bitorder="little").astype(bool)
    for i, (r, o) in enumerate(zip(region.tolist(), offset.tolist(), strict=True)):
        assert codes[i].tolist() == SHARDS.codes[r, o : o + 50].tolist()
        assert repeats[i].tolist() == stored[r, o : o + 50].tolist()
    assert bool((CORPUS.codes(torch.arange(600), torch.zeros(600).long(), 140) == 4).any())


def test_unsorted_regions_are_refused():
    wrong = dataclasses.replace(SHARDS, start=SHARDS.start[::-1].copy())
    with pytest.raises(InputError, match="not sorted"):
        Corpus.from_shards(wrong)


def test_a_random_order_has_every_sample_once():
    view = CORPUS.view([TRAIN])
    n = view.key.numel()
    order = shuffled(view, torch.arange(n), seed=1)
    assert torch.equal(order.sort().values, torch.arange(n))
    assert not torch.equal(order, shuffled(view, torch.arange(n), seed=1, epoch=1))
    assert torch.equal(order[7:9], shuffled(view, torch.tensor([7, 8]), seed=1))


def test_a_draw_holds_tokens_of_the_region_and_its_matrix():
    view = CORPUS.view([TRAIN])
    entry = shuffled(view, torch.arange(60), seed=1)
    made = draw(CORPUS, view, entry, seed=1, k=3, row_tokens=90, R=6)
    assert made.ids.shape == (60, 90)
    assert bool((made.ids[:, 0] == tokens.CLS).all())
    strands = set()
    for cell, region, ids in zip(made.cell, made.region, made.ids, strict=True):
        assert SHARDS.is_open[cell, region]
        forward = torch.as_tensor(SHARDS.codes[int(region)])
        every = [tokens.tokenize(c, 3, 1) for c in (forward, tokens.reverse_complement(forward))]
        found = {
            (strand, at)
            for strand in (0, 1)
            for at in range(len(every[0]) - 88)
            if torch.equal(every[strand][at : at + 89], ids[1:])
        }
        assert found
        strands |= {strand for strand, _ in found}
    assert strands == {0, 1}
    centre = CORPUS.start[made.region] + SHARDS.width // 2
    matrix, _ = neighbourhood(
        CORPUS, view, made.cell, CORPUS.contig[made.region], centre, 6, made.region
    )
    assert torch.equal(made.matrix, matrix)
    assert bool((made.matrix[:, -1, 3] > 0).all())  # the anchor is open in the cell type


def test_a_draw_depends_on_seed_epoch_and_entry_not_on_its_company():
    view = CORPUS.view()
    entry = torch.arange(0, 400, 7)
    some = {"k": 3, "row_tokens": 40, "R": 4}
    whole, part = (draw(CORPUS, view, e, seed=1, **some) for e in (entry, entry[5:8]))
    assert torch.equal(whole.ids[5:8], part.ids)
    assert torch.equal(whole.matrix[5:8], part.matrix)
    for other in ({"seed": 2}, {"seed": 1, "epoch": 1}):
        assert not torch.equal(draw(CORPUS, view, entry, **other, **some).ids, whole.ids)


def test_a_row_longer_than_the_stored_sequences_is_refused():
    with pytest.raises(InputError, match="row_tokens"):
        draw(CORPUS, CORPUS.view(), torch.arange(2), seed=1, k=3, row_tokens=140)


@pytest.mark.parametrize(("free", "stays"), [(3, True), (1, False)])
def test_motif_rows_go_to_the_device_if_they_take_half_of_it_at_most(monkeypatch, free, stays):
    """A device that has `free` times the rows' bytes left; the tensors themselves stay here."""
    asked = []

    def place(tensor, device=None, *args, **kwargs):
        asked.append((tensor.dtype, device))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", place)
    size = SHARDS.motif_rows.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * size, 9 * size))
    Corpus.from_shards(SHARDS, "cuda")
    assert ((torch.float16, "cuda") in asked) == stays


def test_rows_that_stay_in_host_memory_give_the_same_matrices():
    view, other = CORPUS.view(), Corpus.from_shards(SHARDS, resident=False)
    entry = torch.arange(0, 900, 13)
    a, b = (draw(c, view, entry, seed=1, k=3, row_tokens=40, R=4) for c in (CORPUS, other))
    assert torch.equal(a.matrix, b.matrix)
