"""A tiny run of the workflow from the simulated genome to a table, and what happens after it."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_tools import TINY_EFFORT, TINY_GENOME, last_line

TINY = {
    **TINY_GENOME,
    "pretrain": {"batch_size": 8, "checkpoint_seconds": 0.2},
    "effort": {**TINY_EFFORT, "max_items": 150, "variants": ["full", "sequence"]},
    "interpret": {"items": 1, "models": ["genebert", "motif-lr"]},
}
TABLE = "results/splicing.tsv"


def snakemake_in(directory: Path, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = directory / "tiny.yaml"
    if not config.exists():
        config.write_text(yaml.safe_dump(TINY))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--directory", str(directory), "--configfile", str(config), "--cores", "2"]
    return subprocess.run(
        [*command, *arguments],
        cwd=root,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    done = snakemake_in(directory, root, TABLE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return directory


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    directory = tmp_path / "run"
    shutil.copytree(finished, directory, symlinks=True)
    return directory


def rules_run(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(
        r"^Finished jobid: \d+ \(Rule: (\w+)\)", done.stdout + done.stderr, re.MULTILINE
    )


def test_table_has_a_row_for_every_model(finished):
    with (finished / TABLE).open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert {"genebert", "scratch", "cnn", "gc", "pwm", "gt-ag", "oracle"} <= {
        r["model"] for r in rows
    }


def test_nothing_is_left_to_do(finished, root):
    done = snakemake_in(finished, root, "-n", TABLE)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_deleted_table_is_rebuilt_alone_and_identical(run, root):
    before = (run / TABLE).read_bytes()
    (run / TABLE).unlink()
    done = snakemake_in(run, root, TABLE)
    assert rules_run(done) == ["task_table"]
    assert (run / TABLE).read_bytes() == before


def test_pretraining_again_gives_the_same_bytes(run, root):
    weights = "results/pretrain/full/seed-1/model.safetensors"
    before = (run / weights).read_bytes()
    done = snakemake_in(run, root, "--forcerun", "pretrain", "--", weights)
    assert done.returncode == 0, done.stderr
    assert "pretrain" in rules_run(done)
    assert (run / weights).read_bytes() == before


def test_interpretation_scores_models_fitted_again(run, root):
    done = snakemake_in(run, root, "results/interpretation.tsv")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with (run / "results/interpretation.tsv").open() as handle:
        rows = {row["model"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert list(rows) == ["genebert", "motif-lr", "shuffled-positions", "distance-to-middle"]
    assert {row["items"] for row in rows.values()} == {"1"}
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows.values())
    log = (run / "logs/tasks/tfbs/chip.genebert.attribute.log").read_text()
    assert "sister" not in log  # the same weights as in the tables
    assert (run / "results/figures/logos.svg").read_text().startswith("<?xml")


def test_a_flipped_byte_in_a_shard_is_one_line(run, root):
    shard = run / "results/shards/regions-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    times = shard.stat()
    shard.write_bytes(bytes(data))
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    target = "results/tasks/splicing/sites/scratch/predictions.parquet"
    before = (run / target).read_bytes()
    done = snakemake_in(
        run,
        root,
        "--forcerun",
        "pretrain",
        "--retries",
        "0",
        "--",
        target.replace("scratch", "genebert"),
    )
    assert done.returncode != 0
    log = (run / "logs/pretrain/full.1.log").read_text()
    assert shard.name in last_line(log)
    assert not (run / "results/pretrain/full/seed-1/model.safetensors").exists()
    assert (run / target).read_bytes() == before


def test_a_bad_input_file_is_one_line_and_leaves_nothing(run, root):
    peaks = run / "results/simulated/peaks/B.narrowPeak"
    lines = peaks.read_text().splitlines()
    fields = lines[4].split("\t")
    fields[1], fields[2] = "999999999", "1000000000"
    lines[4] = "\t".join(fields)
    peaks.write_text("\n".join(lines) + "\n")
    done = snakemake_in(run, root, "results/regions/regions.bed", "--rerun-triggers", "mtime")
    assert done.returncode != 0
    line = last_line((run / "logs/regions.log").read_text())
    assert "B.narrowPeak" in line
    assert "line 5" in line
    assert not (run / "results/regions/regions.bed").exists()
    assert not list((run / "results/regions").glob(".part*"))
