"""No hidden base can be read from a visible token, whatever k, stride, span and draw."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import tokens
from genebert.masking import KEPT, MASKED, Masking, mask
from genebert.rng import fold, words


@st.composite
def case(draw):
    k = draw(st.integers(1, 6))
    stride = draw(st.integers(1, k))
    n = draw(st.integers(12, 60))
    length = tokens.segment_length(n, k, stride)
    span = draw(st.integers(1, max(1, length // 4)))
    masking = Masking.for_segment("span", length, k, stride, draw(st.floats(0.05, 0.5)), span)
    return k, stride, length, masking, draw(st.integers(0, 2**31))


@settings(max_examples=150, deadline=None)
@given(case())
def test_no_hidden_base_can_be_read(case):
    k, stride, length, masking, seed = case
    codes = words(fold(seed), torch.arange(8), length) % 4
    word = words(fold(seed, 1), torch.arange(8), masking.n_words)
    before = mask(codes, word, masking, k, stride)
    # other bases wherever the decision is "masked" or "replaced" leave every token as it is
    hidden = codes.gather(1, before.position)
    other = words(fold(seed, 2), torch.arange(8), masking.n_hidden) % 4
    changed = codes.scatter(1, before.position, torch.where(before.decision == KEPT, hidden, other))
    after = mask(changed, word, masking, k, stride)
    assert torch.equal(before.ids, after.ids)
    # a token is MASK exactly where it touches a masked base
    touched = torch.zeros(8, length, dtype=torch.bool)
    touched.scatter_(1, before.position, before.decision == MASKED)
    windows = touched.unfold(1, k, stride).any(dim=2)
    assert torch.equal(before.ids == tokens.MASK, windows)


@settings(max_examples=50, deadline=None)
@given(case())
def test_spans_do_not_overlap_and_lie_inside(case):
    k, stride, length, masking, seed = case
    codes = words(fold(seed), torch.arange(8), length) % 4
    word = words(fold(seed, 1), torch.arange(8), masking.n_words)
    position = mask(codes, word, masking, k, stride).position
    assert int(position.min()) >= 0
    assert int(position.max()) < length
    assert all(len(set(row)) == masking.n_hidden for row in position.tolist())
