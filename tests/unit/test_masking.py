"""Masking: constant counts, the 80/10/10 split, which token predicts a base, bad settings."""

from __future__ import annotations

import pytest
import torch

from genebert import tokens
from genebert.errors import InputError
from genebert.masking import KEPT, MASKED, REPLACED, Masking, covering, decide, mask
from genebert.rng import fold, words


def masked(mode="span", B=64, n=60, k=6, stride=3, span=5, seed=0):
    length = tokens.segment_length(n, k, stride)
    masking = Masking.for_segment(mode, length, k, stride, 0.15, span)
    codes = (words(fold(seed), torch.arange(B), length) % 4).to(torch.uint8)
    word = words(fold(seed, 1), torch.arange(B), masking.n_words)
    return codes, masking, mask(codes, word, masking, k, stride)


@pytest.mark.parametrize("mode", ["span", "dnabert"])
def test_every_row_hides_the_same_number_of_bases(mode):
    codes, masking, out = masked(mode, n=200)
    assert out.position.shape == (64, masking.n_hidden)
    assert all(len(set(row)) == masking.n_hidden for row in out.position.tolist())
    share = masking.n_hidden / (codes.shape[1] if mode == "span" else 200)
    assert share == pytest.approx(0.15, abs=0.03)


def test_the_decision_is_per_span_and_80_10_10():
    _, masking, out = masked(B=2000)
    spans = out.decision.view(2000, masking.n_spans, masking.span)
    assert bool((spans == spans[:, :, :1]).all())
    share = torch.bincount(spans[:, :, 0].flatten(), minlength=3).double()
    share /= share.sum()
    assert share.tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.015)


def test_the_decision_of_dnabert_is_per_token():
    _, masking, out = masked("dnabert", B=200)
    runs = out.decision.view(200, masking.n_spans, masking.span)
    assert not bool((runs == runs[:, :, :1]).all())


def test_decide_uses_all_three():
    assert set(decide(words(fold(1), torch.arange(100), 1)).flatten().tolist()) == {
        MASKED, REPLACED, KEPT,
    }  # fmt: skip


def test_the_predicting_token_covers_the_base_and_has_the_nearest_centre():
    for k, stride in [(6, 1), (6, 3), (5, 2), (3, 3), (1, 1)]:
        n = 20
        position = torch.arange(tokens.segment_length(n, k, stride))
        token, offset = covering(position, n, k, stride)
        assert bool(((offset >= 0) & (offset < k)).all())
        assert torch.equal(token * stride + offset, position)
        centre = torch.arange(n) * stride + (k - 1) / 2
        nearest = (position[:, None] - centre).abs().min(dim=1).values
        assert torch.equal((position - centre[token]).abs(), nearest)


def test_dnabert_masking_leaks_and_span_masking_does_not():
    """Change every hidden base: under DNABERT's scheme visible tokens change with it."""
    for mode, leaks in [("span", False), ("dnabert", True)]:
        codes, masking, before = masked(mode)
        kept = before.decision == KEPT
        hidden = codes.gather(1, before.position)
        changed = torch.where(kept, hidden, (hidden + 1) % 4)
        word = words(fold(0, 1), torch.arange(64), masking.n_words)
        other = mask(codes.scatter(1, before.position, changed), word, masking, 6, 3)
        assert bool((other.ids != before.ids).any()) is leaks


@pytest.mark.parametrize(
    "settings",
    [
        ("other", 0.15, 5),
        ("span", 0.0, 5),
        ("span", 1.5, 5),
        ("span", 0.15, 500),
        ("span", 0.15, 0),
    ],
)
def test_bad_settings_are_one_line(settings):
    mode, fraction, span = settings
    with pytest.raises(InputError, match=r"objectives\.mgm"):
        Masking.for_segment(mode, 100, 6, 1, fraction, span)
