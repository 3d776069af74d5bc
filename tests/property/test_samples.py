"""What is cut out of the shards, and the matrices, against one look-up at a time."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import samples
from genebert.samples import Corpus, look_up, spread
from genebert.tokens import reverse_complement
from pretrain_toys import toy_shards

SHARDS = toy_shards(per_contig=20, n_share=0.1)
CORPUS = Corpus.from_shards(SHARDS)
LENGTH = SHARDS.width + 2 * SHARDS.flank
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None)
@given(seed=seeds, length=st.integers(1, LENGTH), n=st.integers(1, 9))
def test_crops_on_either_strand(seed, length, n):
    rng = np.random.default_rng(seed)
    region, reverse = rng.integers(0, 80, n), rng.random(n) < 0.5
    offset = rng.integers(0, LENGTH - length + 1, n)
    found = CORPUS.codes(*(torch.as_tensor(x) for x in (region, offset)), length,
                         torch.as_tensor(reverse))  # fmt: skip
    for codes, r, o, turned in zip(found, region, offset, reverse, strict=True):
        crop = torch.as_tensor(SHARDS.codes[r, o : o + length])
        assert torch.equal(codes, reverse_complement(crop) if turned else crop)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, values=st.sampled_from([4, 8]), n=st.integers(0, 5))
def test_bytes_are_spread_from_the_lowest_bits_up(seed, values, n):
    byte = np.random.default_rng(seed).integers(0, 256, (n, 7), dtype=np.uint8)
    bits = 8 // values
    expected = [[b >> bits * i & (1 << bits) - 1 for b in row for i in range(values)]
                for row in byte.tolist()]  # fmt: skip
    assert spread(torch.as_tensor(byte), values).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(seed=seeds, n=st.integers(0, 70), columns=st.integers(1, 5))
def test_matrices_column_by_column(seed, n, columns):
    rng = np.random.default_rng(seed)
    region, there = rng.integers(0, 80, (n, columns)), rng.random((n, columns)) < 0.8
    strength = rng.random((n, columns)).astype(np.float32)
    found = CORPUS.matrix(*(torch.as_tensor(x) for x in (region, strength, there))).numpy()
    assert found.dtype == np.float32
    assert found.shape == (n, len(SHARDS.motifs) + 1, columns)
    for i, c in np.ndindex(n, columns):
        row = np.minimum(SHARDS.motif_rows[region[i, c]].astype(np.float32) / SHARDS.normaliser, 1)
        expected = np.append(row, strength[i, c]) if there[i, c] else np.zeros(len(row) + 1)
        np.testing.assert_array_equal(found[i, :, c], expected)


def test_how_many_are_made_at_a_time_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    parts = rng.integers(0, 80, (70, 5)), rng.random((70, 5), dtype=np.float32), np.ones((70, 5))
    whole = CORPUS.matrix(*(torch.as_tensor(x) for x in parts))
    monkeypatch.setattr(samples, "_CHUNK", 3)
    assert torch.equal(CORPUS.matrix(*(torch.as_tensor(x) for x in parts)), whole)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, shape=st.lists(st.integers(0, 4), max_size=3))
def test_looking_up_is_indexing(seed, shape):
    rng = np.random.default_rng(seed)
    table, index = torch.as_tensor(rng.random(9)), torch.as_tensor(rng.integers(0, 9, shape))
    assert torch.equal(look_up(table, index), table[index])
