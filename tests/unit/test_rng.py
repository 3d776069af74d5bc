"""Counter random numbers: known answers, independence of batching, uniformity, permutation."""

from __future__ import annotations

import pytest
import torch

from genebert.rng import fold, integers, permute, philox, uniform, words

# Random123 1.14, tests/kat_vectors, "philox2x32 10": counter, counter, key, word, word
KNOWN = [
    (0x00000000, 0x00000000, 0x00000000, 0xFF1DAE59, 0x6CD10DF2),
    (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x2C3F628B, 0xAB4FD7AD),
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0xDD7CE038, 0xF62A4C12),
]


@pytest.mark.parametrize(("low", "high", "key", "first", "second"), KNOWN)
def test_philox_gives_the_known_answers(low, high, key, first, second):
    a, b = philox(torch.tensor(low), torch.tensor(high), torch.tensor(key))
    assert (int(a), int(b)) == (first, second)


def test_words_of_a_sample_do_not_depend_on_its_batch_or_on_how_many_are_drawn():
    key = fold(1, 2, torch.tensor([5, 5, 6]))
    sample = torch.tensor([10, 11, 10])
    every = words(key, sample, 9)
    assert torch.equal(words(key[1:2], sample[1:2], 5), every[1:2, :5])
    assert not torch.equal(every[0], every[1])  # another sample
    assert not torch.equal(every[0], every[2])  # another epoch


def test_words_are_uniform():
    u = uniform(words(fold(3), torch.arange(2000), 50))
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    assert abs(float(u.mean()) - 0.5) < 0.005
    counts = torch.bincount((u * 16).long().flatten(), minlength=16).double()
    chi2 = float(((counts - 6250) ** 2 / 6250).sum())
    assert chi2 < 45  # 15 degrees of freedom: p about 1e-4
    columns = torch.corrcoef(u.T[:10].double())
    assert float((columns - torch.eye(10)).abs().max()) < 0.1


def test_integers_reach_both_ends_and_take_a_limit_per_element():
    word = words(fold(4), torch.arange(500), 4).flatten()
    assert set(integers(word, 3).tolist()) == {0, 1, 2}
    high = torch.arange(1, word.numel() + 1)
    assert bool((integers(word, high) < high).all())


def test_fold_tells_the_parts_and_their_order_apart():
    keys = {int(fold(*parts)) for parts in [(1, 2), (2, 1), (1,), (2,), (1, 2, 0), (1 + 2**32, 2)]}
    assert len(keys) == 6
    assert int(fold(1, torch.tensor(7))) == int(fold(1, 7))


def test_permute_is_a_bijection_without_order():
    n = 100_003
    order = permute(torch.arange(n), n, fold(1, 2))
    assert torch.equal(order.sort().values, torch.arange(n))
    serial = torch.corrcoef(torch.stack([order[:-1], order[1:]]).double())[0, 1]
    assert abs(float(serial)) < 0.02
    fixed = int((order == torch.arange(n)).sum())
    assert fixed < 10  # a random permutation has one on average


def test_permute_takes_a_key_per_element():
    key = fold(1, torch.tensor([0, 1]))
    both = permute(torch.tensor([5, 5]), 1000, key)
    one = permute(torch.tensor([5]), 1000, key[1])
    assert int(both[1]) == int(one[0])
    assert int(both[0]) != int(both[1])
