"""The convolutional baseline reads bases and positions."""

from __future__ import annotations

import pytest
import torch

from genebert.cnn import SequenceCnn


def logits(network: SequenceCnn, codes: torch.Tensor) -> torch.Tensor:
    return network.logits(network.embed_sequence(codes)).detach()


@pytest.fixture
def network() -> SequenceCnn:
    torch.manual_seed(1)
    return SequenceCnn(outputs=3).eval()


def test_one_row_of_logits_per_sequence_of_any_length(network: SequenceCnn) -> None:
    for length in (12, 101, 500):
        codes = torch.randint(0, 5, (4, length), dtype=torch.uint8)
        assert logits(network, codes).shape == (4, 3)


def test_every_base_is_seen_and_n_is_no_base(network: SequenceCnn) -> None:
    codes = torch.randint(0, 4, (1, 64), dtype=torch.uint8)
    before = logits(network, codes)
    for at in (0, 31, 63):
        changed = codes.clone()
        changed[0, at] = 4
        assert not torch.equal(before, logits(network, changed))


def test_position_matters(network: SequenceCnn) -> None:
    codes = torch.zeros((2, 180), dtype=torch.uint8)
    word = torch.tensor([2, 3, 0, 1, 2], dtype=torch.uint8)
    codes[0, 20:25] = word
    codes[1, 120:125] = word
    first, second = logits(network, codes)
    assert not torch.allclose(first, second, atol=1e-4)


def test_items_of_a_batch_do_not_mix(network: SequenceCnn) -> None:
    codes = torch.randint(0, 4, (5, 90), dtype=torch.uint8)
    alone = torch.cat([logits(network, codes[i : i + 1]) for i in range(5)])
    assert torch.allclose(logits(network, codes), alone, atol=1e-5)


def test_focus_is_read_at_full_resolution() -> None:
    torch.manual_seed(1)
    network = SequenceCnn(outputs=1, focus=(29, 30)).eval()
    blind = SequenceCnn(outputs=1).eval()
    assert sum(p.numel() for p in network.parameters()) > sum(p.numel() for p in blind.parameters())
    codes = torch.randint(0, 4, (4, 60), dtype=torch.uint8)
    assert logits(network, codes).shape == (4, 1)
