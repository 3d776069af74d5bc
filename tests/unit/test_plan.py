"""Options of the `pretrain` block and the lengths that follow; one line for what does not fit."""

from __future__ import annotations

import pytest

from genebert.errors import InputError
from genebert.plan import Layout, Plan, objectives_of
from genebert.samples import Corpus
from pretrain_toys import toy_block, toy_shards

CORPUS = Corpus.from_shards(toy_shards(per_contig=20))


def layout(**changes):
    return Layout.of(Plan.from_pretrain(toy_block(**changes), 1), CORPUS)


def test_both_kinds_of_rows_have_the_same_tokens_and_hidden_bases():
    for tokens in ({"k": 3, "stride": 1}, {"k": 6, "stride": 2}):
        made = layout(tokens=tokens, row_tokens=40)
        assert made.single.n_tokens + 1 == 2 * made.pair.n_tokens + 2 == 40
        assert made.single.masking.n_hidden == 2 * made.pair.masking.n_hidden


def test_crops_stay_inside_the_stored_sequence():
    for row_tokens in (10, 64, 138):
        made = layout(row_tokens=row_tokens)
        for segment in (made.single, made.pair):
            assert segment.first >= 0
            assert segment.first + 2 * segment.jitter + segment.length <= CORPUS.length


def test_neighbours_and_partners_keep_clear_of_the_crops():
    made = layout(row_tokens=138)
    centre = CORPUS.width // 2
    last = made.single.first + 2 * made.single.jitter + made.single.length - CORPUS.flank
    assert centre + made.exclude >= last
    longest = made.pair.first + 2 * made.pair.jitter + made.pair.length
    assert made.partner + made.pair.first >= longest + 3  # k = 3 bases of distance


def test_the_objectives_are_those_with_a_weight():
    assert objectives_of({"objectives": {"srm": {}, "mgm": {"weight": 2}}})[0] == ("mgm", "srm")
    assert objectives_of({"objectives": {"mgm": {}, "ngsp": {"weight": 0}}})[0] == ("mgm",)
    assert objectives_of({"objectives": ["ngsp"]})[0] == ("ngsp",)
    assert objectives_of({})[0] == ("mgm", "ngsp", "srm")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"row_tokens": 140}, "row_tokens"),  # 141 bases with k = 3, 140 are stored
        ({"row_tokens": 63}, "row_tokens"),
        ({"row_tokens": 2}, "row_tokens"),
        ({"neighbours": 5}, "neighbours"),
        ({"batch_size": 14}, "batch_size"),
        ({"tokens": {"k": 3, "stride": 4}}, "stride"),
        ({"matrix": "shufled"}, "did you mean 'shuffled'"),
        ({"objectives": {"nsp": {}}}, "did you mean 'ngsp'"),
        ({"objectives": {"mgm": {"spam": 3}}}, "did you mean 'span'"),
        ({"objectives": {"srm": {"loss": "hinge"}}}, "bce, infonce"),
        ({"objectives": {"srm": {"loss": "infonce", "group": 3}}}, "group"),
        ({"objectives": {"mgm": {"weight": 0}}}, "no objective"),
        ({"objectives": {"mgm": {"span": 500}}}, "span"),
        ({"row_token": 64}, "did you mean 'row_tokens'"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, key):
    with pytest.raises(InputError, match=key) as caught:
        layout(**changes)
    assert "\n" not in str(caught.value)
