"""Tokens: identifiers, rows, lengths and their limits."""

from __future__ import annotations

import itertools

import pytest
import torch

from genebert import tokens
from genebert.errors import InputError


def test_identifiers_are_five_plus_the_lexicographic_rank():
    kmers = torch.tensor(list(itertools.product(range(4), repeat=3)))
    ids = tokens.tokenize(kmers, 3, 1)
    assert ids.flatten().tolist() == list(range(5, 5 + 64))


def test_stride_takes_every_nth_kmer():
    codes = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]], dtype=torch.uint8)
    every = tokens.tokenize(codes, 3, 1)
    assert torch.equal(tokens.tokenize(codes, 3, 2), every[:, ::2])
    assert every.shape == (1, tokens.n_tokens(8, 3, 1)) == (1, 6)


def test_a_kmer_with_an_n_is_unknown():
    codes = torch.tensor([[0, 1, 4, 3, 0, 1]])
    ids = tokens.tokenize(codes, 2, 1)
    assert (ids == tokens.UNKNOWN).tolist() == [[False, True, True, False, False]]


def test_rows_have_their_special_tokens():
    a, b = torch.tensor([[10, 11]]), torch.tensor([[12, 13]])
    assert tokens.single_row(a).tolist() == [[tokens.CLS, 10, 11]]
    assert tokens.pair_row(a, b).tolist() == [[tokens.CLS, 10, 11, tokens.SEP, 12, 13]]


def test_vocabulary_is_padded_and_holds_every_identifier():
    for k in range(1, 7):
        size = tokens.vocabulary_size(k)
        assert size % 64 == 0
        assert size >= 4**k + 5 > size - 64
        top = tokens.tokenize(torch.full((1, k), 3), k, 1)
        assert int(top) == 4**k + 4 < size
    assert tokens.vocabulary_size(6) == 4160


def test_lengths_invert_each_other():
    for k, stride, n in [(6, 1, 511), (6, 3, 127), (3, 2, 10)]:
        length = tokens.segment_length(n, k, stride)
        assert tokens.n_tokens(length, k, stride) == n
        assert tokens.n_tokens(length - 1, k, stride) == n - 1


@pytest.mark.parametrize(("k", "stride"), [(0, 1), (9, 1), (3, 0), (3, 4)])
def test_bad_k_or_stride_is_one_line(k, stride):
    with pytest.raises(InputError, match=r"tokens\.(k|stride)"):
        tokens.check(k, stride)


def test_a_sequence_shorter_than_k_is_refused():
    with pytest.raises(InputError, match="shorter than a token"):
        tokens.tokenize(torch.zeros(1, 3), 4, 1)
