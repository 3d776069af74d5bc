"""What holds for every key: permutations are bijections, integers stay in range."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.rng import fold, integers, permute, words


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 3000), key=st.integers(0, 2**63 - 1))
def test_permute_is_a_bijection(n, key):
    order = permute(torch.arange(n), n, fold(key))
    assert torch.equal(order.sort().values, torch.arange(n))


@settings(max_examples=60, deadline=None)
@given(high=st.integers(1, 2**31), key=st.integers(-(2**63), 2**63 - 1))
def test_integers_stay_in_range(high, key):
    drawn = integers(words(fold(key), torch.arange(20), 5), high)
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < high
