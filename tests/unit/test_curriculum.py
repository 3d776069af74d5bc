"""The span curriculum changes spans at its steps and nothing about the shape of a row."""

from __future__ import annotations

import pytest
import torch

from genebert.curriculum import stages
from genebert.errors import InputError
from genebert.objectives import repeat_weights, span_stages
from genebert.plan import Plan
from genebert.population import build_population
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from pretrain_toys import toy_block, toy_shards

SPANS = [[0.25, 1], [0.25, 2], [0.5, 4]]


def sampler(**changes):
    plan = Plan.from_pretrain(toy_block(**changes), 1)
    return Sampler(build_population(Corpus.from_shards(toy_shards()), plan, TRAIN, "training"))


def test_a_number_leaves_the_sampler_as_it_is():
    one = sampler()
    assert stages(one, 5, 100) == [(0, one)]
    other = sampler(objectives={"mgm": {"masking": "dnabert"}})  # its spans have k tokens
    assert stages(other, SPANS, 100) == [(0, other)]


def test_stages_begin_at_their_share_and_hide_as_many_bases():
    found = stages(sampler(), SPANS, 100)
    assert [first for first, _ in found] == [0, 25, 50]
    batches = [part.batch(3) for _, part in found]
    for one, two in zip(batches, batches[1:], strict=False):
        assert one.ids.shape == two.ids.shape
        assert one.target.shape == two.target.shape
        assert torch.equal(one.anchor, two.anchor)
    for (_, part), (_, span) in zip(found, SPANS, strict=True):
        assert part.layout.pair.masking.span == part.plan.span == span
        masking = part.layout.single.masking
        assert masking.n_hidden == 2 * part.layout.pair.masking.n_hidden


def test_spans_have_their_length_in_the_rows():
    for (_, part), (_, span) in zip(stages(sampler(), SPANS, 100), SPANS, strict=True):
        rows = part.batch(0)
        S = rows.anchor.numel()
        at = (rows.index + rows.offset)[:S]  # stride 1
        runs = at.view(S, -1, span)
        assert bool((runs.diff(dim=2) == 1).all())


@pytest.mark.parametrize(
    "span", [[], [[0.5, 1]], [[0.5, 1], [0.6, 5]], [[1.0, 0]], "5", [[1.0]], [[1.0, 5, 2]], 0.5]
)
def test_what_is_no_list_of_spans_is_one_line(span):
    with pytest.raises(InputError, match="no list of spans"):
        span_stages(span)


def test_spans_that_do_not_go_together_are_one_line():
    with pytest.raises(InputError, match="no number of hidden bases"):
        stages(sampler(), [[0.5, 7], [0.5, 11]], 10)


def test_repeats_can_weigh_less():
    weight = torch.tensor([[1.0, 1.0, 0.0]])
    repeat = torch.tensor([[True, False, True]])
    assert repeat_weights(weight, repeat, 0.1).tolist() == [pytest.approx([0.1, 1.0, 0.0])]
    assert repeat_weights(weight, repeat, 1.0) is weight
