"""The figures of pre-training are drawn from logs and their table, the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_figures import texts

from genebert.errors import InputError
from genebert.evaluate import write_table
from genebert.pretraining_figures import pretraining_figures
from genebert.pretraining_table import COLUMNS
from genebert.training_curves import read_run

NAMES = ("training_curves", "variant_curves", "beyond_references")


def row(variant, metric, stratum, value, low=None, high=None, split="valid"):
    values = (variant, 1, split, "x", stratum, metric, value, low, high, 0.0, 100, "NA")
    return dict(zip(COLUMNS, values, strict=True))


def figure(objective, metric, stratum, value, reference):
    return {"kind": "figure", "set": "valid", "objective": objective, "metric": metric,
            "stratum": stratum, "value": value, "reference": reference}  # fmt: skip


@pytest.fixture
def logs(tmp_path):
    paths = []
    for variant in ("full", "sequence"):
        for seed in (1, 2):
            folder = tmp_path / variant / f"seed-{seed}"
            folder.mkdir(parents=True)
            names = ("mgm", "srm") if variant == "full" else ("mgm",)
            lines = [
                {"kind": "train", "step": step, "loss": dict.fromkeys(names, 1.2), "timing": {}}
                for step in range(3)
            ]
            for step in (0, 2):
                line = {"kind": "evaluation", "step": step, "set": "valid", "mgm_masked": 1.3}
                if variant == "full":
                    line |= {"srm_n2_auroc": 0.5 + step / 10, "srm_n2_pairs": 64}
                lines.append(line)
            lines.append({"kind": "probe", "set": "valid", "probe": "gc", "auroc": 0.6})
            lines.append(figure("mgm", "nats", "span-5", 1.3, 1.25))
            lines.append(figure("srm", "auroc_p0", "n2", 0.625, 0.5))
            (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
            paths.append(str(folder / "metrics.jsonl"))
    return paths


@pytest.fixture
def table(tmp_path):
    rows = [
        row(variant, metric, stratum, 0.1, 0.0, 0.2, split)
        for variant in ("full", "shuffled_matrix")
        for split in ("valid", "held_out")
        for metric, stratum in (
            ("nats_minus_markov", "span-5"), ("auroc_minus_p0", "n2"), ("auroc_minus_probe", ""),
        )
    ]  # fmt: skip
    rows.append(row("full", "nats_minus_markov", "span-10", 0.1))  # without an interval
    write_table(tmp_path / "t.tsv", COLUMNS, rows)
    return str(tmp_path / "t.tsv")


SPANS = {"full": 5, "sequence": 5}


def draw(logs, table, folder, spans=SPANS):
    folder.mkdir(exist_ok=True)
    outputs = {name: str(folder / f"{name}.svg") for name in NAMES}
    pretraining_figures(metrics=logs, table=table, spans=spans, **outputs)
    return outputs


def read(path):
    with open(path, "rb") as handle:
        return handle.read()


def test_figures_are_equal_byte_for_byte(logs, table, tmp_path):
    one, two = draw(logs, table, tmp_path / "one"), draw(logs, table, tmp_path / "two")
    assert all(read(one[name]) == read(two[name]) for name in NAMES)


def test_losses_have_one_panel_per_objective_and_one_line_per_variant(logs, table, tmp_path):
    shown = texts(draw(logs, table, tmp_path / "f")["training_curves"])
    assert {"MGM: masked bases", "SRM: sequence and matrix"} <= set(shown)
    assert "NGSP: next region" not in shown
    assert shown.count("full") == 1
    assert shown.count("step") == 2


def test_every_variant_has_its_figures_and_references(logs, table, tmp_path):
    shown = texts(draw(logs, table, tmp_path / "f")["variant_curves"])
    assert {"full", "sequence", "masked bases: nats", "match, other cell type: AUROC"} <= set(shown)
    assert {"training cell types", "reference: training cell types", "chance"} <= set(shown)
    assert shown.count("objective") + shown.count("objective\nis off") >= 1


def test_the_reference_of_masked_bases_is_that_of_the_spans_that_are_hidden(logs, table, tmp_path):
    before = read(draw(logs, table, tmp_path / "before")["variant_curves"])
    for log in logs:  # figures of other spans, the first of them before the one of span 5
        lines = Path(log).read_text().splitlines()
        others = [json.dumps(figure("mgm", "nats", f"span-{n}", 1.3, 1.1)) for n in (1, 50)]
        Path(log).write_text("\n".join([others[0], *lines, others[1]]) + "\n")
    assert read(draw(logs, table, tmp_path / "after")["variant_curves"]) == before
    other = draw(logs, table, tmp_path / "other", {"full": 1, "sequence": 1})
    assert read(other["variant_curves"]) != before


def test_bases_that_are_hidden_in_another_way_have_no_reference(logs, table, tmp_path):
    only_mgm = logs[2:]  # the variant `sequence`
    shown = texts(draw(only_mgm, table, tmp_path / "f", {})["variant_curves"])
    assert "reference: training cell types" not in shown
    shown = texts(draw(only_mgm, table, tmp_path / "f")["variant_curves"])
    assert "reference: training cell types" in shown


def test_references_are_read_from_the_log(logs):
    run = read_run(logs[0])
    assert run.variant == "full"
    assert [final["value"] for final in run.finals] == [1.3, 0.625]
    assert set(run.figures["key"]) == {"mgm_masked", "srm_n2_auroc"}


def test_ends_have_a_panel_for_every_objective_and_stratum(logs, table, tmp_path):
    path = draw(logs, table, tmp_path / "f")["beyond_references"]
    shown = texts(path)
    assert read(path).count(b'<g id="axes_') == 4
    assert {"x, span 5", "x, span 10", "x, n2", "x"} <= set(shown)
    assert shown.count("training cell types") == 1


def test_a_damaged_log_is_named_with_its_line(logs, table, tmp_path):
    with open(logs[1], "a") as handle:
        handle.write('{"step": 3,\n')
    with pytest.raises(InputError, match=r"seed-2/metrics\.jsonl, line 9: not a JSON object"):
        draw(logs, table, tmp_path / "f")


def test_no_figures_and_no_table(tmp_path):
    write_table(tmp_path / "t.tsv", COLUMNS, [])
    (tmp_path / "metrics.jsonl").write_text("")
    logs = [str(tmp_path / "metrics.jsonl")]
    outputs = draw(logs, str(tmp_path / "t.tsv"), tmp_path / "f")
    assert "no losses were logged" in texts(outputs["training_curves"])
    assert "nothing was evaluated" in texts(outputs["variant_curves"])
    assert "no figures of pre-training" in texts(outputs["beyond_references"])
    with pytest.raises(InputError):
        draw(logs, str(tmp_path / "none.tsv"), tmp_path / "f")
