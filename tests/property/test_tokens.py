"""The tokeniser and reverse complement commute."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import tokens


def turned(token, k):
    """Return the token of a k-mer's reverse complement; others are their own."""
    kmer = token - tokens.N_SPECIAL
    complement = [3 - kmer // 4**j % 4 for j in range(k)]  # the last base first
    return token if kmer < 0 else int("".join(map(str, complement)), 4) + tokens.N_SPECIAL


@settings(max_examples=150, deadline=None)
@given(data=st.data(), k=st.integers(1, 6))
def test_tokens_of_the_reverse_complement(data, k):
    stride = data.draw(st.integers(1, k))
    n = data.draw(st.integers(1, 20))
    length = tokens.segment_length(n, k, stride)
    bases = st.lists(st.integers(0, 4), min_size=length, max_size=length)
    codes = torch.tensor([data.draw(bases)])
    forward = tokens.tokenize(codes, k, stride)
    reverse = tokens.tokenize(tokens.reverse_complement(codes), k, stride)
    assert reverse[0].tolist() == [turned(token, k) for token in forward[0].tolist()][::-1]
    assert torch.equal(tokens.reverse_complement(tokens.reverse_complement(codes)), codes)


def plain(codes, masked, k, stride):
    """Look at every k-mer of one sequence by itself."""
    ids = []
    for start in range(0, len(codes) - k + 1, stride):
        window = codes[start : start + k]
        if any(masked[start : start + k]):
            ids.append(tokens.MASK)
        elif tokens.N_CODE in window:
            ids.append(tokens.UNKNOWN)
        else:
            ids.append(tokens.N_SPECIAL + int("".join(map(str, window)), 4))
    return ids


@settings(max_examples=200, deadline=None)
@given(data=st.data(), k=st.integers(1, tokens.MAX_K), extra=st.integers(0, 20))
def test_tokens_are_those_of_every_window(data, k, extra):
    stride = data.draw(st.integers(1, k))
    length = k + extra
    codes = data.draw(st.lists(st.integers(0, 4), min_size=length, max_size=length))
    masked = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    row = torch.tensor([codes], dtype=torch.uint8)
    found = tokens.tokenize(row, k, stride, torch.tensor([masked]))
    assert found.dtype == torch.int64
    assert found.tolist() == [plain(codes, masked, k, stride)]
    assert tokens.tokenize(row.long(), k, stride).tolist() == [
        plain(codes, [False] * length, k, stride)
    ]


@given(st.integers(1, tokens.MAX_K))
def test_bases_are_those_of_the_identifiers(k):
    codes = tokens.bases(k)
    assert codes.shape == (k, 4**k)
    ids = tokens.tokenize(codes.T, k, 1)[:, 0]
    assert torch.equal(ids, torch.arange(4**k) + tokens.N_SPECIAL)
