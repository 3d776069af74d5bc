"""Negative controls: the whole pipeline on simulated genomes that hold nothing to be found.

`null_labels`: labels drawn without regard to anything. Every model of every task must be at chance.
`null_context`: factors are as active in every cell type, openness is not shared between neighbours.
The region branch must add nothing, and matching a locus with its cell type (SRM, n2) must not exceed
its nuisance probe. Many intervals are read at once, so each is tested at 5 % over the size of the
family (Bonferroni), with the half-width of its own bootstrap interval as the scale.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import stats

pytestmark = pytest.mark.control

Rows = list[dict[str, str]]

GENOME: dict[str, Any] = {
    "simulate": {
        "contigs": [f"chr{i}" for i in range(1, 7)],
        "contig_length": 1_200_000,
        "regions_per_mb": 500,
        "variants": {"causal": 80},
        "cohort": {"individuals": 400, "causal": 10, "variants": 300},
    },
    # three test chromosomes: 36 blocks of 100 kb
    "splits": {"train": ["chr1", "chr2"], "valid": ["chr3"], "test": ["chr4", "chr5", "chr6"]},
    "effort": {
        "pretrain_seeds": 1, "pretrain_steps": 40, "finetune_steps": 60, "max_items": 2400,
        "bootstrap_draws": 1000, "variants": ["full", "sequence"],
    },
}  # fmt: skip


def excess(value: float, low: float, high: float, null: float, df: int, tests: int) -> float:
    """Return how far an estimate is from the null value, as a share of what is allowed.

    Above 1 it differs: its distance exceeds the interval at level 1 - 0.05 / tests, which is the
    bootstrap interval widened from the normal 95 % quantile to that of Student's t.
    """
    error = (high - low) / (2 * stats.norm.ppf(0.975))
    allowed = float(stats.t.ppf(1 - 0.025 / tests, df)) * error
    return abs(value - null) / max(allowed, 1e-12)


def read(path: Path) -> Rows:
    with path.open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def run(root: Path, directory: Path, change: dict[str, Any], *targets: str) -> None:
    block = {**GENOME, "simulate": GENOME["simulate"] | change.get("simulate", {})}
    block |= {key: value for key, value in change.items() if key != "simulate"}
    config = directory / "control.yaml"
    config.write_text(yaml.safe_dump(block))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--directory", str(directory), "--configfile", str(config), "--cores", "all"]
    done = subprocess.run(
        [*command, *targets], cwd=root, env=dict(os.environ), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def differing(rows: Rows, value: str, null: float) -> tuple[list[str], int]:
    """Return what differs from the null, and how many rows have an interval."""
    known = [row for row in rows if "NA" not in (row[value], row["low"], row["high"])]
    found = []
    for row in known:
        numbers = (float(row[key]) for key in (value, "low", "high"))
        share = excess(*numbers, null, int(row["df"]), len(known))
        if share > 1:
            found.append(f"{row['name']}: {row[value]} ({row['low']}-{row['high']})")
    return found, len(known)


def test_the_rule_can_fail() -> None:
    strict = excess(0.56, 0.52, 0.60, 0.5, 35, 1)
    assert strict > 1  # one interval that excludes chance
    assert excess(0.56, 0.52, 0.60, 0.5, 35, 60) < 1  # one of sixty may
    assert excess(0.85, 0.79, 0.89, 0.5, 14, 60) > 2  # motif-lr in the demo


@pytest.fixture(scope="module")
def null_labels(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("null_labels")
    tasks = ("promoter", "tfbs", "disease", "splicing")
    run(
        root, directory, {"simulate": {"null_labels": True}},
        *(f"results/{task}.tsv" for task in tasks), "results/metrics.tsv",
    )  # fmt: skip
    return directory


def test_no_model_finds_labels_that_are_not_there(null_labels: Path) -> None:
    rows = []
    for task in ("promoter", "tfbs", "disease", "splicing"):
        for row in read(null_labels / f"results/{task}.tsv"):
            if ":" in row["dataset"] and "zeroshot" not in row["dataset"]:
                continue  # a class or a TF: part of the row above it
            names = {"low": row["auroc_low"], "high": row["auroc_high"]}
            df = max(2, int(row["n_blocks"]) - 1)
            name = f"{task} {row['dataset']} {row['model']}"
            rows.append({**row, **names, "df": str(df), "name": name})
    found, tests = differing(rows, "auroc", 0.5)
    assert tests > 40
    assert not found
    widths = [float(r["high"]) - float(r["low"]) for r in rows if r["high"] != "NA"]
    assert sum(width < 0.2 for width in widths) > 0.9 * len(widths)  # intervals that say something


def test_permuted_labels_of_the_cohort_are_at_chance(null_labels: Path) -> None:
    table = read(null_labels / "results/metrics.tsv")
    # central 95 % of all shuffles; three standard errors of the tuned ones, 5 % over 18 such rows
    for metric in ("auroc_permuted", "auroc_permuted_tuned"):
        rows = [r for r in table if r["metric"] == metric and r["low"] != "NA"]
        assert 0 < len(rows) <= 18
        for row in rows:
            assert float(row["low"]) <= 0.5 <= float(row["high"]), row


@pytest.fixture(scope="module")
def null_context(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("null_context")
    data = yaml.safe_load((root / "config/config.yaml").read_text())
    change = {
        # n2 uses one locus in ten: so many that there are hundreds of its pairs to judge
        "simulate": {"null_context": True, "contig_length": 2_400_000},
        "splits": {"train": ["chr1", "chr2"], "valid": ["chr3", "chr4"], "test": ["chr5", "chr6"]},
        "pretrain": {"evaluation_loci": 4_000},
        # natural prevalence: many loci with bound and unbound cell types, which matching leaves out;
        # hidden: the own motif row tells how strong the sites are, without any context
        "datasets": [
            {**row, "negatives": "natural", "anchor": "hidden"}
            for row in data["datasets"]
            if row["task"] == "tfbs"
        ],
        # so many items that loci come with several cell types; seeds, because networks that have
        # nothing to learn differ by chance more than blocks of one fit tell
        "effort": GENOME["effort"]
        | {"pretrain_steps": 150, "finetune_steps": 150, "finetune_seeds": 3, "max_items": 16_000},
    }
    targets = ("results/comparisons.tsv", "results/metrics.tsv", "results/pretraining.tsv")
    run(root, directory, change, *targets)
    return directory


def region_branch(null_context: Path, strata: tuple[str, ...]) -> tuple[list[str], int]:
    """Return where genebert differs from genebert-sequence, and how many intervals there are."""
    rows = [
        {**row, "df": str(int(row["n_blocks"]) - 1), "name": f"{row['stratum']} {row['metric']}"}
        for row in read(null_context / "results/comparisons.tsv")
        if row["rival"] == "genebert-sequence" and row["stratum"] in strata
    ]
    return differing(rows, "difference", 0.0)


def test_the_region_branch_adds_nothing_within_a_locus(null_context: Path) -> None:
    found, tests = region_branch(null_context, ("within-locus", "both;within-locus"))
    assert tests >= 1
    assert not found


def test_the_region_branch_adds_nothing_over_all_items(null_context: Path) -> None:
    found, tests = region_branch(null_context, ("all",))
    assert tests >= 1
    assert not found


def test_cell_types_of_a_locus_are_alike_without_context(null_context: Path) -> None:
    """Not for `cell-average`: the mean of the other labels is low where the own one is high."""
    rows = [
        {**row, "df": "35", "name": f"{row['stratum']} {row['model']}"}
        for row in read(null_context / "results/metrics.tsv")
        if row["stratum"].endswith("within-locus") and row["model"] not in ("oracle", "cell-average")
        and row["pretrain_seed"] == "all"
    ]  # fmt: skip
    found, tests = differing(rows, "value", 0.5)
    assert tests > 5
    assert not found


def test_matching_cell_types_equals_its_nuisance_probe_without_context(
    null_context: Path,
) -> None:
    rows = [
        {**row, "df": str(int(row["n"]) - 1), "name": f"{row['split']} {row['variant']}"}
        for row in read(null_context / "results/pretraining.tsv")
        if row["stratum"] == "n2" and row["metric"] == "auroc_minus_p0"
    ]
    found, tests = differing(rows, "value", 0.0)
    assert tests >= 2
    assert not found
