"""The whole pipeline on real human data: all tables right in form, no number out of range.

The run stays in ``runs/hg19_test`` so that its tables can be read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

TASKS = ("promoter", "tfbs", "disease", "splicing", "accessibility")
COLUMNS = [
    "task",
    "dataset",
    "model",
    "pretraining",
    "n_seeds",
    "n_train",
    "n_test",
    "n_positive",
    "auroc",
    "auroc_low",
    "auroc_high",
    "auprc",
    "auprc_low",
    "auprc_high",
    "mcc",
    "mcc_low",
    "mcc_high",
    "f1",
    "accuracy",
    "precision",
    "recall",
    "brier",
]

OTHERS = {  # columns of the other tables, and those of them that are numbers
    "ablation": (COLUMNS, COLUMNS[5:]),
    "comparisons": (
        [
            "comparison",
            "kind",
            "task",
            "dataset",
            "stratum",
            "fraction",
            "metric",
            "model",
            "rival",
        ],
        ["difference", "low", "high", "p", "p_holm", "detectable", "n_test", "n_positive"],
    ),
    "metrics": (
        ["task", "dataset", "stratum", "model", "pretraining", "pretrain_seed", "finetune_seed"],
        ["value", "low", "high", "n"],
    ),
}


def snakemake(
    root: Path, realdata: Path, directory: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--directory", str(directory)]
    command += ["--configfile", str(root / "config/hg19_test.yaml"), *arguments]
    return subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "GENEBERT_REALDATA": str(realdata)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def results(root: Path, realdata: Path) -> Path:
    directory = root / "runs" / "hg19_test"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    done = snakemake(root, realdata, directory, "--cores", "2")
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return directory / "results"


@pytest.fixture(scope="module")
def tables(results: Path) -> dict[str, pd.DataFrame]:
    return {task: pd.read_csv(results / f"{task}.tsv", sep="\t") for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_every_table_has_its_columns_and_models(tables, task):
    table = tables[task]
    assert list(table.columns[: len(COLUMNS)]) == COLUMNS
    assert {"genebert", "genebert-sequence", "scratch", "cnn", "kmer-lr", "motif-lr", "gc"} <= set(
        table["model"]
    )
    assert "oracle" not in set(table["model"])


@pytest.mark.parametrize("task", TASKS)
def test_values_are_in_range_and_inside_their_intervals(tables, task):
    table = tables[task]
    for metric in ("auroc", "auprc"):
        value = table[metric].dropna()
        assert value.between(0, 1).all()
        row = table.dropna(subset=[f"{metric}_low", f"{metric}_high"])
        assert (row[f"{metric}_low"] <= row[f"{metric}_high"]).all()
    assert (table["n_test"] > 0).all()
    few = table[table["n_positive"] < 50]
    assert few["auroc_low"].isna().all(), "an interval with fewer than 50 positives"


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_tables_hold_numbers_for_every_dataset(results, root, name):
    config = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    table = pd.read_csv(results / f"{name}.tsv", sep="\t", keep_default_na=False)
    names, numbers = OTHERS[name]
    assert list(table.columns[: len(names)]) == names
    for row in config["datasets"]:  # names of single TFs and tracks begin with their dataset's
        of_task = table.loc[table["task"] == row["task"], "dataset"]
        assert of_task.str.match(rf"{row['name']}([:-](supervised|zeroshot).*)?$").any(), row
    for column in numbers:
        text = table[column].astype(str)
        value = text[text != "NA"].astype(float)  # raises on any other word or an empty field
        assert np.isfinite(value).all(), column
    said = "value" if name == "metrics" else {"ablation": "auprc"}.get(name, "difference")
    assert (table[said] != "NA").mean() > 0.5
    assert name != "ablation" or "genebert-shuffled_matrix" in set(table["model"])
    assert name != "comparisons" or {f"P{k}" for k in range(1, 6)} <= set(table["comparison"])


def test_splice_rule_and_pwm_know_splice_sites(tables):
    """GT/AG and position weights are strong on real splice sites; a shifted window kills both."""
    table = tables["splicing"].set_index(["dataset", "model"])["auroc"]
    assert table["sites", "pwm"] > 0.85


def test_promoters_are_found_by_composition(tables):
    """Negatives are GC-matched, so GC says little and k-mers (CpG) still say much."""
    table = tables["promoter"].set_index(["dataset", "model"])["auroc"]
    assert table["refgene", "gc"] < 0.7
    assert table["refgene", "kmer-lr"] > 0.6


def test_nothing_is_left_to_do(results, root, realdata):
    done = snakemake(root, realdata, results.parent, "-n")
    assert "Nothing to be done" in done.stdout + done.stderr
