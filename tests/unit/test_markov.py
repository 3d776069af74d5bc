"""Chains that are fitted find the chain that was planted, and what its flanks tell."""

from __future__ import annotations

import numpy as np
import pytest

from genebert.markov import UNSEEN, Chain, word_counts


def symmetric_chain(rng, order=2):
    """Return the table of a chain whose reverse complement is the same chain."""
    table = rng.dirichlet(np.full(4, 0.4), 4**order) * 0.96 + 0.01
    word = np.full((4,) * (order + 1), 4.0 ** -(order + 1))
    for _ in range(500):  # to the stationary distribution of words
        word = word.sum(axis=0)[..., None] * table.reshape(word.shape)
    other = word[(slice(None, None, -1),) * word.ndim].transpose(range(word.ndim - 1, -1, -1))
    word = (word + other) / 2
    return (word / word.sum(axis=-1, keepdims=True)).reshape(-1, 4), word


def draw(rng, table, n, length, order=2):
    """Draw sequences of a chain, 50 bases after a random start."""
    codes = rng.integers(0, 4, (n, length + 50)).astype(np.uint8)
    for t in range(order, length + 50):
        state = sum(4**i * codes[:, t - 1 - i].astype(int) for i in range(order))
        codes[:, t] = (rng.random((n, 1)) > table[state].cumsum(axis=1)).sum(axis=1).clip(max=3)
    return codes[:, 50:]


def test_words_are_counted_on_both_strands():
    codes = np.array([[0, 0, 1, 4, 3, 2]], dtype=np.uint8)  # AACNTG
    counts = word_counts(codes, 2)
    words = {"AA": 1, "TT": 1, "AC": 1, "GT": 1, "TG": 1, "CA": 1}
    expected = np.zeros(16, dtype=int)
    for word, count in words.items():
        expected[4 * "ACGT".index(word[0]) + "ACGT".index(word[1])] = count
    assert counts.tolist() == expected.tolist()
    assert word_counts(codes[:, :1], 2).sum() == 0


def test_tables_are_probabilities_and_empty_contexts_take_the_lower_order():
    counts = np.zeros(64, dtype=np.int64)
    counts[:4] = [50, 30, 15, 5]  # after AA only
    chain = Chain.fit(counts)
    for table in chain.tables:
        assert table.reshape(-1, 4).sum(axis=1) == pytest.approx(1)
        assert (table > 0).all()
    assert chain.tables[2][4:8] == pytest.approx(chain.tables[1][4:8])
    assert chain.of_order(1).order == 1


def test_a_planted_chain_is_found_with_its_order_and_entropy():
    rng = np.random.default_rng(3)
    table, word = symmetric_chain(rng)
    entropy = -float((word * np.log(table.reshape(word.shape))).sum())
    train, valid = (word_counts(draw(rng, table, n, 300), 6) for n in (2000, 500))
    chain = Chain.fit(train, valid)
    cost = [chain.of_order(order).entropy(valid) for order in range(6)]
    assert cost[2] < min(cost) + 1e-4
    assert cost[2] == pytest.approx(entropy, abs=0.005)
    assert cost[1] > entropy + 0.02
    assert cost[5] < entropy + 0.01  # smoothing: too high an order does little harm


@pytest.mark.parametrize("span", [1, 5])
def test_the_posterior_of_a_planted_chain_costs_its_own_entropy(span):
    rng = np.random.default_rng(4)
    table, word = symmetric_chain(rng)
    codes = draw(rng, table, 1500, 120)
    fitted = Chain.fit(word_counts(draw(rng, table, 2000, 300), 4))
    lower = word.sum(axis=0)
    tables = (lower.sum(axis=0), (lower / lower.sum(axis=1, keepdims=True)).reshape(-1))
    true = Chain((*tables, table.reshape(-1)))
    seen = codes.copy()
    for first in (20, 60, 100):
        seen[:, first : first + span] = UNSEEN
    row, at = np.nonzero(seen == UNSEEN)
    p = true.posterior(seen)[row, at]
    own = -float((p * np.log(p)).sum(axis=1).mean())  # what the chain itself leaves open
    q = fitted.posterior(seen)[row, at, codes[row, at]]
    assert -float(np.log(q).mean()) == pytest.approx(own, abs=0.04)
    one_sided = -float((word * np.log(table.reshape(word.shape))).sum())
    if span == 1:
        assert own < one_sided - 0.05  # the right flank tells something too


def test_order_0_and_rows_without_unseen_bases():
    chain = Chain.fit(word_counts(np.array([[0, 0, 0, 1]], dtype=np.uint8), 1))
    codes = np.array([[0, UNSEEN], [1, 2]], dtype=np.uint8)
    found = chain.posterior(codes)
    assert found[0, 1] == pytest.approx(chain.tables[0])
    assert found[1].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]
    assert Chain((chain.tables[0], np.full(16, 0.25))).posterior(codes[1:])[0, 0, 1] == 1
