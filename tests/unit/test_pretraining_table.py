"""The table of pre-training has a row for every figure and flags what is wrong."""

from __future__ import annotations

import json

import pytest

from genebert.errors import InputError
from genebert.pretraining_table import COLUMNS, pretraining_table


def figure(metric, value, low, high, split="valid", **more):
    return {
        "kind": "figure", "set": split, "objective": "srm", "stratum": "n2", "metric": metric,
        "value": value, "low": low, "high": high, "reference": 0.5, "n": 100, **more,
    }  # fmt: skip


def table_of(tmp_path, runs, controls=("shuffled_matrix",)):
    paths = []
    for (variant, seed), figures in runs.items():
        path = tmp_path / variant / f"seed-{seed}" / "metrics.jsonl"
        path.parent.mkdir(parents=True)
        lines = [{"kind": "train", "step": 1}, *figures]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        paths.append(str(path))
    pretraining_table(metrics=paths, table=str(tmp_path / "t.tsv"), controls=list(controls))
    header, *lines = (tmp_path / "t.tsv").read_text().splitlines()
    assert tuple(header.split("\t")) == COLUMNS
    return [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]


def test_every_figure_is_a_row_in_order(tmp_path):
    figures = [figure("auroc", 0.6, 0.55, 0.65, split) for split in ("held_out", "valid")]
    rows = table_of(tmp_path, {("full", 10): figures, ("full", 2): figures, ("a", 1): figures})
    order = [(row["split"], row["variant"], row["seed"]) for row in rows]
    assert order == [
        (split, *run) for split in ("valid", "held_out")
        for run in (("a", "1"), ("full", "2"), ("full", "10"))
    ]  # fmt: skip
    assert rows[0]["value"] == "0.6000"
    assert rows[0]["flags"] == "NA"


@pytest.mark.parametrize(
    ("variant", "row", "flag"),
    [
        ("shuffled_matrix", ("auroc_minus_p0", 0.1, 0.02, 0.2), "control_above_probe"),
        ("shuffled_matrix", ("auroc_minus_p0", 0.1, -0.02, 0.2), "NA"),
        ("full", ("auroc_minus_p0", 0.1, 0.02, 0.2), "NA"),
        ("full", ("auroc_matrix", 0.6, 0.53, 0.7), "unimodal_probe"),
        ("full", ("auroc_matrix", 0.56, 0.45, 0.7), "unimodal_probe"),
        ("full", ("auroc_matrix", 0.55, 0.51, 0.6), "NA"),
        ("full", ("auroc_p0", 0.7, 0.6, 0.8), "unimodal_probe"),
        ("full", ("auroc", 0.7, None, None), "no_interval"),
    ],
)
def test_flags(tmp_path, variant, row, flag):
    (found,) = table_of(tmp_path, {(variant, 1): [figure(*row)]})
    assert found["flags"] == flag


def test_a_broken_log_is_one_line(tmp_path):
    path = tmp_path / "x" / "seed-1" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{\n")
    with pytest.raises(InputError, match="no training log"):
        pretraining_table(metrics=[str(path)], table=str(tmp_path / "t"), controls=[])
