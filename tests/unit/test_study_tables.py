"""The tables that are published of a run are those of its `pretraining.tsv`."""

from __future__ import annotations

import importlib.util

import pytest

from genebert.evaluate import LONG, write_table
from genebert.pretraining_table import COLUMNS

SRM = ("auroc", "auroc_foreign", "auroc_p0", "auroc_p1", "auroc_matrix")


@pytest.fixture
def study_tables(root):
    path = root / "tests/benchmarks/study_tables.py"
    spec = importlib.util.spec_from_file_location("study_tables", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_matching_stands_beside_all_its_probes_on_both_sets(study_tables, tmp_path, capsys):
    def row(split, objective, stratum, metric, value, seed=1):
        common = {"variant": "full", "seed": seed, "reference": 0.5, "n": 100, "flags": "NA"}
        low, high = value - 0.1, value + 0.1
        return {
            **common, "split": split, "objective": objective, "stratum": stratum,
            "metric": metric, "value": value, "low": low, "high": high,
        }  # fmt: skip

    rows = [
        row(split, "srm", stratum, metric, 0.5 + number / 100, seed)
        for split in ("valid", "held_out") for stratum in ("n1", "n2")
        for number, metric in enumerate(SRM) for seed in (1, 2)
    ]  # fmt: skip
    rows.append(row("valid", "mgm", "span-5:unique", "nats_minus_markov", -0.006))
    write_table(str(tmp_path / "pretraining.tsv"), COLUMNS, rows)
    study_tables.objectives(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "| mgm span-5:unique nats_minus_markov, valid | -0.006 (-0.106, +0.094) |" in lines
    head = lines.index(
        "|  | variant | auroc | auroc_foreign | auroc_p0 | auroc_p1 | auroc_matrix |"
    )
    body = [line.strip("| ").split(" | ") for line in lines[head + 2 :]]
    assert [cells[0] for cells in body] == [
        "n1, valid",
        "n1, held_out",
        "n2, valid",
        "n2, held_out",
    ]
    for cells in body:
        two = [f"{v:.3f} ({v - 0.1:.3f}-{v + 0.1:.3f})" for v in (0.5, 0.51, 0.52, 0.53, 0.54)]
        assert cells[1:] == ["full", *(f"{one}, {one}" for one in two)]


def test_counts_and_shares_of_the_labels_have_a_column_each(study_tables, tmp_path, capsys):
    place = {"task": "promoter", "pretraining": "none", "model": "cnn", "metric": "auprc", "n": 9}
    every = {"pretrain_seed": "all", "finetune_seed": "all"}
    rows = [
        {**place, **seeds, "dataset": dataset, "stratum": stratum, "value": value}
        for dataset, stratum, value in (
            ("epd", "fraction=0.1", 0.7), ("epd", "all", 0.9), ("epd", "labels=200", 0.6),
            ("epd", "labels=50", 0.5), ("epd-probe", "all", 0.8), ("epd", "tata", 0.95),
        )
        for seeds in (every, {**every, "finetune_seed": 1})
    ]  # fmt: skip
    path = tmp_path / "tasks/promoter/epd/metrics.tsv"
    path.parent.mkdir(parents=True)
    write_table(str(path), LONG, [{**row, "low": 0.1, "high": 0.99} for row in rows])
    study_tables.few_shot(tmp_path, "promoter", "epd")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("| model")] == [
        "| model | 50 | 200 | share 0.1 | all |"
    ] * 2
    found = [line.split(" | ") for line in lines if line.startswith("| cnn")]
    assert [[cell[:5] for cell in cells[1:]] for cells in found] == [
        ["0.500", "0.600", "0.700", "0.900"], ["", "", "", "0.800"],
    ]  # fmt: skip


def test_the_overview_has_a_row_per_model_and_the_columns_of_finished_datasets(
    study_tables, tmp_path, capsys
):
    every = {"pretrain_seed": "all", "finetune_seed": "all", "pretraining": "x", "n": 9}
    models = ["scratch", "cnn", "genebert", "genebert-mgm"]
    for task, dataset, metrics in (("promoter", "epd", ("auprc",)), ("tfbs", "chip", ("auroc",))):
        rows = [
            {**every, "task": task, "model": model, "dataset": dataset, "stratum": stratum,
             "metric": metric, "value": 0.5 + number / 100, "low": 0.4, "high": 0.9}
            for number, model in enumerate(models)
            for stratum in ("fraction=0.1", "all", "tata", "within-locus")
            for metric in metrics
            if model != "cnn" or stratum == "all"
        ]  # fmt: skip
        path = tmp_path / "tasks" / task / dataset / "metrics.tsv"
        path.parent.mkdir(parents=True)
        write_table(str(path), LONG, rows)
    study_tables.overview(tmp_path)
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "|" in line]
    cells = [[cell.strip()[:18] for cell in line] for line in lines if "---" not in line[0]]
    assert cells == [
        ["model", "epd fraction=0.1 a", "epd auprc"],
        ["genebert", "0.520 (0.400-0.900", "0.520 (0.400-0.900"],
        ["genebert-mgm", "0.530 (0.400-0.900", "0.530 (0.400-0.900"],
        ["scratch", "0.500 (0.400-0.900", "0.500 (0.400-0.900"],
        ["cnn", "", "0.510 (0.400-0.900"],
        ["model", "chip within-locus "],
        ["genebert", "0.520 (0.400-0.900"],
        ["genebert-mgm", "0.530 (0.400-0.900"],
        ["scratch", "0.500 (0.400-0.900"],
    ]
