"""The Markov reference is the exact posterior, whatever is seen and whatever is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.markov import UNSEEN, Chain


def random_chain(rng, order):
    tables = tuple(rng.dirichlet(np.full(4, 0.5), 4**j).reshape(-1) for j in range(order + 1))
    return Chain(tuple(table * 0.98 + 0.005 for table in tables))


def probability(chain, sequence):
    """Multiply the conditional probabilities one by one."""
    p = 1.0
    for t, base in enumerate(sequence):
        order = min(chain.order, t)
        word = 0
        for other in (*sequence[t - order : t], base):
            word = 4 * word + int(other)
        p *= chain.tables[order][word]
    return p


def by_enumeration(chain, codes):
    """Sum over all fillings of the unseen bases."""
    places = [i for i, code in enumerate(codes) if code == UNSEEN]
    out = np.zeros((len(codes), 4))
    for filling in itertools.product(range(4), repeat=len(places)):
        whole = np.array(codes)
        whole[places] = filling
        out[np.arange(len(codes)), whole] += probability(chain, whole)
    return out / out.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(0, 4),
    st.lists(st.booleans(), min_size=1, max_size=14).filter(lambda hidden: 0 < sum(hidden) < 6),
)
def test_the_posterior_is_that_of_brute_force(seed, order, hidden):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, order)
    codes = rng.integers(0, 4, (3, len(hidden))).astype(np.uint8)
    codes[:, hidden] = UNSEEN
    codes[2] = np.where(rng.random(len(hidden)) < 0.3, UNSEEN, codes[2])  # a pattern of its own
    if (codes[2] == UNSEEN).sum() > 5:
        codes[2] = codes[0]
    found = chain.posterior(codes)
    for row, probabilities in zip(codes, found, strict=True):
        assert probabilities == pytest.approx(by_enumeration(chain, row), abs=2e-5)


def test_rows_do_not_depend_on_each_other():
    rng = np.random.default_rng(5)
    chain = random_chain(rng, 3)
    codes = rng.integers(0, 4, (200, 40)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.2] = UNSEEN
    together = chain.posterior(codes)
    for i in (0, 77, 199):
        assert together[i] == pytest.approx(chain.posterior(codes[i : i + 1])[0], abs=1e-6)
