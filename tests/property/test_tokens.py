"""The tokeniser and reverse complement commute."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import tokens


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
    assert torch.equal(reverse, tokens.reverse_complement_map(k)[forward].flip(-1))
    assert torch.equal(tokens.reverse_complement(tokens.reverse_complement(codes)), codes)
