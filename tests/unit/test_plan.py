"""Options of the `pretrain` block and the lengths that follow; one line for what does not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from genebert import layout as paths
from genebert.config import check_config
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
    assert objectives_of({})[0] == ("mgm", "ngsp", "srm")  # mrm is off unless asked for
    assert objectives_of({"objectives": ["motif", "mrm", "srm"]})[0] == ("srm", "mrm", "motif")


VARIANTS = (  # the shared definition of the experiment
    "full", "sequence", "mgm", "mgm_srm", "mgm_ngsp", "region_transformer", "dnabert_masking",
    "shuffled_matrix", "shuffled_cells", "permuted_tfs", "no_accessibility", "cell_state", "genome",
    "motif_reading", "pairs",
)  # fmt: skip


def test_every_variant_is_a_row_of_the_study_that_differs_in_what_it_says(root):
    schema, base, study = (
        yaml.safe_load((root / path).read_text())
        for path in (
            "workflow/schemas/config.schema.yaml",
            "config/config.yaml",
            "config/study.yaml",
        )
    )
    base["pretrain"].update(study.pop("pretrain"))
    base["effort"].update(study["effort"])
    config = check_config(base, schema)
    blocks = {name: paths.pretrain_settings(config, name) for name in VARIANTS}
    plans = {name: Plan.from_pretrain(block, 1) for name, block in blocks.items()}
    assert set(config["effort"]["variants"]) == set(VARIANTS) - {"mgm_ngsp"}
    assert plans["mgm_ngsp"] == plans["sequence"]
    same = {"mgm_ngsp": "sequence", "region_transformer": "full"}  # alike in rows
    for name, plan in plans.items():
        twins = {other for other, found in plans.items() if found == plan} - {name}
        assert twins <= {same.get(name), *(k for k, v in same.items() if v == name)}, name
        for key in ("row_tokens", "batch_size"):  # equal tokens
            assert getattr(plan, key) == getattr(plans["full"], key)
    for R in (64, 256):
        wide = Plan.from_pretrain(paths.pretrain_settings(config, f"r{R}"), 1)
        assert wide == replace(plans["full"], neighbours=R)
    assert plans["full"].neighbours == 10
    assert plans["cell_state"].cell_state
    assert plans["pairs"].samples == "pairs"
    assert plans["genome"].samples == "background"


def test_evaluation_is_on_the_same_loci_for_all():
    plain = Plan.from_pretrain(toy_block(), 1)
    for changes in ({"samples": "pairs"}, {"cell_type_weights": "inverse_size"}):
        plan = Plan.from_pretrain(toy_block(**changes), 1)
        assert plan != plain
        assert plan.for_evaluation() == plain


def test_k_larger_than_the_stored_sequences_is_one_line():
    short = Corpus.from_shards(toy_shards(per_contig=20, width=4, flank=1))
    with pytest.raises(InputError, match=r"k = 8.*at most 6") as caught:
        Layout.of(Plan.from_pretrain(toy_block(tokens={"k": 8}, row_tokens=4), 1), short)
    assert "\n" not in str(caught.value)


def test_a_list_of_spans_ends_with_the_span_of_the_plan():
    block = toy_block(objectives={"mgm": {"span": [[0.5, 1], [0.5, 4]], "repeat_weight": 0.1}})
    assert Plan.from_pretrain(block, 1).span == 4


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"row_tokens": 140}, "row_tokens"),  # 141 bases with k = 3, 140 are stored
        ({"row_tokens": 63}, "row_tokens"),
        ({"row_tokens": 2}, "row_tokens"),
        ({"neighbours": 5}, "neighbours"),
        ({"batch_size": 14}, "batch_size"),
        ({"tokens": {"k": 3, "stride": 4}}, "stride"),
        ({"tokens": {"k": 8}, "row_tokens": 138}, "144 bases.*at most 140"),
        ({"tokens": {"k": 9}}, "tokens.k"),
        ({"samples": "pair"}, "did you mean 'pairs'"),
        ({"samples": "background"}, "windows outside the regions are for mgm alone"),
        ({"cell_type_weights": "breadth"}, "cell_type_weights"),
        ({"samples": "pairs", "cell_type_weights": "inverse_size"}, "nothing to weigh"),
        ({"matrix": "shufled"}, "did you mean 'shuffled'"),
        ({"objectives": {"nsp": {}}}, "did you mean 'ngsp'"),
        ({"objectives": {"mgm": {"span": [[0.5, 1]]}}}, "objectives.mgm.span"),
        ({"objectives": {"mgm": {"repeat_weight": 1.5}}}, "objectives.mgm.repeat_weight"),
        ({"objectives": {"mrm": {"hidden_fraction": 1}}}, "objectives.mrm.hidden_fraction"),
        ({"objectives": {"motif": {"wieght": 1}}}, "objectives.motif"),
        ({"objectives": {"mgm": {"spam": 3}}}, "did you mean 'span'"),
        ({"objectives": {"srm": {"loss": "hinge"}}}, "bce, infonce"),
        ({"objectives": {"srm": {"loss": "infonce", "group": 3}}}, "group"),
        ({"objectives": {"mgm": {"weight": 0}}}, "no objective"),
        ({"objectives": {"mgm": {"span": 500}}}, "span"),
        (  # half a row holds one such span, a whole row not two
            {"tokens": {"k": 6}, "objectives": {"mgm": {"span": 36}}},
            "spans do not fit the segment; found '2 spans of 36 in 68 places'",
        ),
        ({"row_token": 64}, "did you mean 'row_tokens'"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, key):
    with pytest.raises(InputError, match=key) as caught:
        layout(**changes)
    assert "\n" not in str(caught.value)
