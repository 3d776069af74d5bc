"""The reference of MGM sees what the model sees, is asked for the same bases, and reads no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from genebert import tokens
from genebert.markov import UNSEEN, Chain
from genebert.masking import KEPT, Masking, mask
from genebert.mgm_reference import (
    fit_reference,
    hidden_bases,
    mgm_figures,
    reference_losses,
    seen_bases,
    with_span,
)
from genebert.model import GeneBert, ModelConfig
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretraining_evaluation import FixedSet
from genebert.rng import fold, words
from genebert.sampler import N1
from genebert.samples import TRAIN, VALID, Corpus
from genebert.trainer import Losses
from pretrain_toys import toy_block, toy_shards

SHARDS = toy_shards(chain=True, per_contig=300, n_share=0.002)


def populations(**changes):
    corpus = Corpus.from_shards(SHARDS)
    plan = Plan.from_pretrain(toy_block(**changes), 1)
    return [build_population(corpus, plan, split, "training") for split in (TRAIN, VALID)]


@pytest.mark.parametrize(("k", "stride"), [(6, 1), (6, 3), (3, 2), (4, 4)])
def test_what_is_seen_is_what_visible_tokens_show(k, stride):
    generator = torch.Generator().manual_seed(0)
    L = 20 * stride + k
    codes = torch.randint(0, 4, (9, L), generator=generator).to(torch.uint8)
    codes[0, 4] = 4
    hidden = torch.rand(9, L, generator=generator) < 0.1
    ids = tokens.tokenize(codes, k, stride, hidden)
    seen = seen_bases(ids, k, stride)
    for row in range(9):
        shown = set()
        for i, token in enumerate(ids[row].tolist()):
            if token >= tokens.N_SPECIAL:
                shown |= set(range(i * stride, i * stride + k))
        expected = [int(codes[row, p]) if p in shown else UNSEEN for p in range(L)]
        assert seen[row].tolist() == expected


def test_no_base_that_a_span_masks_is_seen():
    codes = torch.randint(0, 4, (40, 96)).to(torch.uint8)
    masking = Masking.for_segment("span", 96, 6, 1, 0.15, 5)
    word = words(fold(1, 2, 3), torch.arange(40), masking.n_words)
    masked = mask(codes, word, masking, 6, 1)
    seen = seen_bases(masked.ids, 6, 1).gather(1, masked.position)
    assert bool((seen[masked.decision == 0] == UNSEEN).all())
    kept = masked.decision == KEPT
    true = codes.gather(1, masked.position)
    assert bool(((seen == true) | (seen == UNSEEN))[kept].all())


@pytest.mark.parametrize(
    ("tokens_", "span"), [({"k": 3, "stride": 1}, 1), ({"k": 6, "stride": 3}, 5)]
)
def test_the_reference_of_a_planted_chain_knows_the_hidden_bases(tokens_, span):
    """Would any place be off by one, the loss would be that of a guess."""
    train, valid = populations(tokens=tokens_, row_tokens=64 if span == 1 else 32)
    chain = fit_reference(train, valid)
    assert chain.order == 1
    fixed = with_span(FixedSet.of("valid", valid, 64), span)
    costs = []
    for rows in fixed.chunks(N1):
        loss, unseen = reference_losses(rows, fixed.sampler, chain)
        ask = unseen & (rows.weight > 0).numpy()
        assert ask.any(axis=1).mean() > 0.8  # but where all spans were kept
        costs.append((loss[ask].mean(), loss[: len(loss) // 2][ask[: len(loss) // 2]].mean()))
    both, single = np.mean(costs, axis=0)
    limit = {1: 1.1, 5: 1.33}[span]
    assert both < limit
    assert single < limit + 0.03


def test_the_hidden_bases_themselves_are_not_read():
    _, valid = populations()
    fixed = with_span(FixedSet.of("valid", valid, 64), 5)
    rows = next(fixed.chunks(N1))
    chain = Chain((np.full(4, 0.25), np.tile([0.1, 0.2, 0.3, 0.4], 4)))
    loss, unseen = reference_losses(rows, fixed.sampler, chain)
    rows.target[:] = (rows.target + 1) % 4
    other, same = reference_losses(rows, fixed.sampler, chain)
    assert (unseen == same).all()
    assert not np.allclose(loss[unseen], other[unseen])
    assert (np.exp(-loss) + np.exp(-other))[unseen].max() <= 1 + 1e-9  # of one distribution


def test_all_variants_are_asked_for_the_same_bases():
    _, valid = populations()
    block = toy_block(objectives={"mgm": {"masking": "dnabert"}})
    plan = Plan.from_pretrain(block, 99)
    other = build_population(valid.corpus, plan, VALID, "training")
    ids = [next(with_span(FixedSet.of("valid", p, 32), 5).chunks(N1)).ids for p in (valid, other)]
    assert torch.equal(*ids)


def test_a_model_that_guesses_is_at_ln4_and_the_chain_below():
    train, valid = populations()
    fixed = FixedSet.of("valid", valid, 96)
    model = GeneBert(ModelConfig.from_pretrain(toy_block(), valid.corpus.n_motifs), 1)
    with torch.no_grad():
        model.mgm.out.weight.zero_()
    losses = Losses(model, ("mgm",), {})
    chain = fit_reference(train, valid)
    found = hidden_bases(losses, with_span(fixed, 1), chain)
    assert found.model == pytest.approx(math.log(4), abs=1e-5)
    rows = mgm_figures(losses, fixed, chain, (1, 5))
    by = {(row["stratum"], row["metric"]): row for row in rows}
    one = by["span-1", "nats_minus_markov"]
    assert one["low"] > 0.2  # the chain knows more
    assert one["low"] < one["value"] < one["high"]
    assert by["span-1", "nats"]["reference"] < by["span-5", "nats"]["reference"]
    assert {name for name, _ in by} == {
        f"span-{span}{part}" for span in (1, 5) for part in ("", ":unique", ":repeat")
    }
