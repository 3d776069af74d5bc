"""Plans: every shipped configuration and profile, and one line for what cannot be planned."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from workflow_tools import last_line

TABLES = [f"results/{t}.tsv" for t in ("promoter", "tfbs", "disease", "splicing", "ablation")]


def test_default_plan(snakemake):
    started = time.monotonic()
    done = snakemake("-n", "--quiet", "rules")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    full = snakemake("-n")
    for table in TABLES:
        assert table in full.stdout + full.stderr
    assert seconds < 30  # the promise of 5 s is measured by tests/benchmarks/workflow.py


def test_smoke_run_is_at_most_about_120_jobs(snakemake):
    done = snakemake("-n")
    total = next(
        line for line in (done.stdout + done.stderr).splitlines() if line.startswith("total")
    )
    assert int(total.split()[1]) <= 120


def test_one_task_plans_without_the_others(snakemake):
    done = snakemake("-n", "results/promoter.tsv")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "results/tasks/promoter/epd" in text
    assert "results/tasks/splicing" not in text


def test_real_configuration_plans_without_the_simulated_genome(snakemake, root, realdata):
    done = snakemake(
        "-n", "--configfile", root / "config/hg19_test.yaml", GENEBERT_REALDATA=str(realdata)
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "simulated" not in text
    assert "rule simulate" not in text


def test_study_plans_with_all_its_variants(snakemake, root):
    done = snakemake("-n", "--configfile", root / "config/study.yaml")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "results/pretrain/no_accessibility/seed-3/model.safetensors" in text


def test_a_resource_of_the_manifest_is_downloaded(snakemake, root, tmp_path):
    changes = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    changes["genome"]["fasta"] = "resource:hg19.fa.gz"
    config = override(tmp_path, root, changes)
    done = snakemake(
        "-n", "--configfile", config, "--", "fetch_all", GENEBERT_REALDATA=str(tmp_path)
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Downloading hg19.fa.gz" in text


def test_offline_makes_no_request_and_says_so(snakemake, root, tmp_path):
    done = snakemake(
        "--cores", "1", "--retries", "0", "--config", "offline=True",
        "--", "resources/downloads/hg19.fa.gz",
    )  # fmt: skip
    assert done.returncode != 0
    line = last_line((tmp_path / "logs/download/hg19.fa.gz.log").read_text())
    assert "offline" in line
    assert not (tmp_path / "resources/downloads/hg19.fa.gz").exists()


def test_an_unknown_resource_is_named(snakemake, root, tmp_path):
    done = snakemake("-n", "resources/downloads/hg19.fa.gzz")
    assert done.returncode != 0
    assert "did you mean 'hg19.fa.gz'" in done.stdout + done.stderr


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm", "profiles/default"])
def test_profiles_plan(snakemake, profile):
    done = snakemake("-n", "--profile", profile)
    assert done.returncode == 0, done.stderr


def test_slurm_profile_from_a_fresh_clone(root, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    done = subprocess.run(
        ["snakemake", "-n", "--profile", "slurm"],
        cwd=clone,
        env={**os.environ, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def override(tmp_path: Path, root: Path, changes: dict) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changes))
    return path


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sed": 3}, "unknown key 'sed'; did you mean 'seed'?"),
        ({"splits": {"test": ["chr1"]}}, "chr1 is in train and again in test"),
        ({"genome": {"source": "files"}}, "still names the simulated genome"),
        ({"effort": {"variants": ["fulll"]}}, "did you mean 'full'?"),
        ({"simulate": {"cell_types": ["a/b", "c"]}}, "key simulate.cell_types[0]"),
        ({"simulate": {"cell_types": ["ab\n", "c"]}}, "key simulate.cell_types[0]"),
    ],
)
def test_bad_configuration_ends_in_one_line(snakemake, root, tmp_path, changes, text):
    done = snakemake("-n", "--configfile", override(tmp_path, root, changes))
    assert done.returncode != 0
    assert last_line(done.stderr).startswith("error: ")
    assert text in last_line(done.stderr)
    assert not (tmp_path / "results").exists()


def test_bad_cell_type_table_ends_in_one_line(snakemake, root, tmp_path, realdata):
    table = tmp_path / "cells.tsv"
    table.write_text("cell_type\tpeaks\nB\tb.bed\n")
    changes = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    changes["atlas"]["cell_types"] = str(table)
    done = snakemake(
        "-n",
        "--configfile",
        override(tmp_path, root, changes),
        GENEBERT_REALDATA=str(realdata),
    )
    assert done.returncode != 0
    assert "column 'format' is missing" in last_line(done.stderr)


def test_unset_variable_is_named(snakemake, root, monkeypatch):
    monkeypatch.delenv("GENEBERT_REALDATA", raising=False)
    done = snakemake("-n", "--configfile", root / "config/hg19_test.yaml")
    assert done.returncode != 0
    assert "'GENEBERT_REALDATA' is not set" in last_line(done.stderr)


def test_lint_and_format(root):
    done = subprocess.run(
        [os.sys.executable, "-m", "snakemake", "--lint"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
