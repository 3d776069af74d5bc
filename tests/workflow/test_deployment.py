"""`--sdm conda` and `--sdm apptainer`, with stand-ins that record what they are asked for.

No channel is reached and no image is built: the stand-in for conda makes an "environment" whose
Python is the one that runs these tests, that for apptainer runs the job outside. What this shows is
the wiring, from a rule to its file in `envs/` or the image, not that anything solves or builds.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workflow_tools import TINY_GENOME, last_line

CONDA = f"""\
#!/usr/bin/env bash
case "$1 $2" in
  "info --json") echo '{{"conda_prefix": "'"$STAND_IN"'", "platform": "linux-64"}}' ;;
  "--version "*) echo "conda 25.1.1" ;;
  "config --get"*) echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create"*)
    while [ $# -gt 0 ]; do
      case "$1" in --file) file=$2 ;; --prefix) prefix=$2 ;; esac; shift
    done
    mkdir -p "$prefix/bin"
    ln -sf {sys.executable} "$prefix/bin/python"
    cp "$file" "$prefix/asked.yaml"
    echo create "$prefix" >> "$STAND_IN/record" ;;
esac
"""
ACTIVATE = 'echo activate "$1" >> "$STAND_IN/record"\nexport PATH="$1/bin:$PATH"\n'
APPTAINER = """\
#!/usr/bin/env bash
if [ "$1" = --version ]; then echo "apptainer version 1.3.4"; exit; fi
while [ "$1" != bash ] && [ "$1" != sh ]; do last=$1; shift; done
echo "$last" >> "$STAND_IN/record"
exec "$@"
"""
GENOME = "results/simulated/genome.fa"
WEIGHTS = "results/pretrain/full/seed-1/model.safetensors"
SETTINGS = "results/pretrain/full/seed-1/run.json"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in first on the path; return its directory."""
    home = tmp_path / "conda"
    (home / "bin").mkdir(parents=True)
    (home / "bin/conda").write_text(CONDA)
    (home / "bin/conda").chmod(0o755)
    (home / "bin/activate").write_text(ACTIVATE)
    monkeypatch.setenv("STAND_IN", str(home))
    python = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{python}:{os.environ['PATH']}")
    return home


def record(home: Path, what: str) -> list[str]:
    """Return the files of `envs/` that were asked for, in order."""
    lines = [line.split() for line in (home / "record").read_text().splitlines()]
    return [(Path(prefix) / "asked.yaml").read_text() for order, prefix in lines if order == what]


def test_all_environments_are_made_before_anything_runs(snakemake, stand_in, root, tmp_path):
    done = snakemake("--cores", "1", "--sdm", "conda", "--conda-create-envs-only")
    assert done.returncode == 0, done.stderr
    asked_for = {"tracks.yaml"}  # by targets of a user's own files only
    paths = (path for path in (root / "envs").glob("*.yaml") if path.name not in asked_for)
    files = {path.read_text() for path in paths}
    assert set(record(stand_in, "create")) == files
    assert len(record(stand_in, "create")) == len(files)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("rule", "target", "name"),
    [
        ("simulate", GENOME, "genomics"),
        ("pretrain_run", SETTINGS, "workflow"),
        ("pretrain", WEIGHTS, "torch"),
    ],
)
def test_a_job_runs_in_the_environment_of_its_rule(
    snakemake, stand_in, root, tmp_path, rule, target, name
):
    if rule != "simulate":
        plan = snakemake("-n", "--", target).stdout
        reasons = re.findall(r"^Reason: Missing output files: (.*)$", plan, re.MULTILINE)
        (reason,) = [text for text in reasons if target in text.partition(";")[0]]
        for file in reason.partition("by another job: ")[2].split(", "):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    small = tmp_path / "small.yaml"
    small.write_text(json.dumps(TINY_GENOME))
    run = ["--cores", "1", "--configfile", small, "--allowed-rules", rule, "--sdm", "conda"]
    done = snakemake(*run, "--", target, GENEBERT_RESUMES="0")
    expected = (root / f"envs/{name}.yaml").read_text()
    assert set(record(stand_in, "activate")) == {expected}, done.stdout + done.stderr
    if rule != "pretrain":  # its inputs are empty files
        assert done.returncode == 0, done.stdout + done.stderr


def test_without_conda_it_is_one_line(snakemake, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("bash", "sh", "env", "uname", "which"):
        (programs / program).symlink_to(f"/usr/bin/{program}")
    done = snakemake("-n", "--sdm", "conda", PATH=str(programs))
    assert done.returncode != 0
    assert "Is conda installed and accessible?" in last_line(done.stdout)
    assert "Traceback" not in done.stderr


def test_every_job_runs_in_the_image_that_is_named(snakemake, stand_in, tmp_path):
    (stand_in / "bin/apptainer").write_text(APPTAINER)
    (stand_in / "bin/apptainer").chmod(0o755)
    image = tmp_path / "genebert.sif"
    image.touch()
    small = tmp_path / "small.yaml"
    small.write_text(json.dumps(TINY_GENOME))
    run = ["--cores", "1", "--configfile", small, "--allowed-rules", "simulate", "--", GENOME]
    done = snakemake("--sdm", "apptainer", *run, GENEBERT_CONTAINER=str(image))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (stand_in / "record").read_text().split() == [str(image)]


def test_jobs_import_the_library_of_their_own_workflow(snakemake, tmp_path):
    """Another copy in the environment, such as that of a clone which shares it, is not used."""
    other = tmp_path / "other" / "genebert"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('the wrong copy')\n")
    done = snakemake("--cores", "1", "--", "check", PYTHONPATH=str(other.parent))
    assert done.returncode == 0, done.stderr[-2000:]
    assert ", 0 wrong (" in done.stdout
