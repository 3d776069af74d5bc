"""What the profile asks of SLURM, read off the `sbatch` line of a stand-in that only records it.

No daemon is started here (`test_cluster.py` does that); this shows that partition, account, memory,
time, threads and GPUs reach the command line, from the repository and with no other flag than
`--profile slurm`.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
import yte

RECORDER = (
    '#!/bin/sh\nprintf "%s\\n" "$*" >> "$RECORD"\necho "refused by the recorder" >&2\nexit 1\n'
)
ANSWERS = {
    "sinfo": """case "$*" in *%G*) printf 'short|(null)\\ngpuq|gpu:a100:8\\n';; *) echo;; esac""",
    "sacctmgr": "echo lab",  # the accounts that exist
}
GENOME = "results/simulated/genome.fa"
WEIGHTS = "results/pretrain/full/seed-1/model.safetensors"
PREDICTIONS = "results/tasks/splicing/sites/scratch/predictions.parquet"
RULES = {GENOME: "simulate", WEIGHTS: "pretrain", PREDICTIONS: "predict"}
INPUTS: dict[str, list[str]] = {}  # of the job of a file, once known
Submit = Callable[..., str]


@pytest.fixture
def run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs snakemake where every client of SLURM is a stand-in."""
    for name in os.environ:
        if name.startswith(("GENEBERT_", "SLURM_", "SBATCH_", "SNAKEMAKE_")):
            monkeypatch.delenv(name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol", "sacctmgr"):
        program = programs / name
        answer = ANSWERS.get(name, "exit 0")
        program.write_text(RECORDER if name == "sbatch" else f"#!/bin/sh\n{answer}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "run").mkdir()

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
        command += ["--directory", str(tmp_path / "run")]
        command += ["--slurm-init-seconds-before-status-checks", "1", *arguments]
        record = str(tmp_path / "sbatch.txt")
        return subprocess.run(
            command,
            cwd=root,
            env={**os.environ, "PATH": path, "RECORD": record, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return call


def inputs_of(plan: str, target: str) -> list[str]:
    """Return the inputs of the job that makes a file, from the text of a plan."""
    reasons = re.findall(r"^Reason: Missing output files: (.*)$", plan, re.MULTILINE)
    (reason,) = [text for text in reasons if target in text.partition(";")[0]]
    return reason.partition("by another job: ")[2].split(", ")


@pytest.fixture
def submit(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Submit:
    """Return a function that asks for one file; it returns the `sbatch` line of its job.

    Only the rule of that file is allowed; its inputs are made up, empty.
    """

    def call(target: str, attempt: int = 1, **site: str) -> str:
        rules = ["--allowed-rules", RULES[target]]
        if target != GENOME:
            if target not in INPUTS:
                INPUTS[target] = inputs_of(run("-n", "--", target).stdout, target)
            for name in INPUTS[target]:
                path = tmp_path / "run" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        done = run("--retries", str(attempt - 1), *rules, "--", target, **site)
        record = tmp_path / "sbatch.txt"
        assert record.exists(), done.stdout + done.stderr
        lines = [line for line in record.read_text().splitlines() if "--parsable" in line]
        return " ".join(shlex.split(lines[attempt - 1].split("--wrap")[0])) + " "

    return call


def test_resources_of_a_cpu_job_reach_sbatch(submit):
    line = submit(
        GENOME,
        GENEBERT_PARTITION="short",
        GENEBERT_ACCOUNT="lab",
        GENEBERT_QOS="calm",
        GENEBERT_CONSTRAINT="avx2",
    )
    assert "--mem 4000 " in line
    assert "-t 60 " in line
    assert "--cpus-per-task=1 " in line
    assert "--ntasks=1 " in line
    assert "-p short " in line
    assert "-A lab " in line
    assert "--qos=calm " in line
    assert "-C avx2 " in line
    assert "--requeue " in line
    assert "--gpus" not in line
    assert "/logs/slurm/rule_simulate/" in line


def test_a_retried_cpu_job_asks_for_more(submit):
    line = submit(GENOME, attempt=2)
    assert "--mem 8000 " in line
    assert "-t 120 " in line


def test_no_site_is_named_without_the_environment(submit):
    line = submit(GENOME)
    for flag in (" -A ", " -p ", " --qos", " -C "):
        assert flag not in line


def test_a_training_without_gpus(submit):
    line = submit(WEIGHTS)
    assert "--signal=TERM@300 " in line
    assert "-t 1440 " in line
    assert "--ntasks=1 " in line
    assert "--gpus" not in line
    assert "--nodes" not in line


def test_all_gpus_of_a_training_are_in_one_task(submit):
    line = submit(
        WEIGHTS,
        GENEBERT_PARTITION="short",
        GENEBERT_GPU_PARTITION="gpuq",
        GENEBERT_GPU_CONSTRAINT="a100",
        GENEBERT_GPUS="8",
        GENEBERT_CPUS_PER_GPU="6",
        GENEBERT_GPU_MINUTES="2880",
    )
    assert "--nodes=1 " in line  # else the GPUs may be of two nodes
    assert "--gpus=8 " in line
    assert "--cpus-per-task=48 " in line
    assert "--mem 96000 " in line
    assert "-p gpuq " in line
    assert "-C a100 " in line
    assert "-t 2880 " in line
    assert "--signal=TERM@300 " in line
    assert "--ntasks-per-gpu" not in line  # else the rule would be run once per GPU


@pytest.mark.parametrize("target", [WEIGHTS, PREDICTIONS])
def test_gpu_jobs_have_no_constraint_of_cpu_nodes(submit, target):
    line = submit(target, GENEBERT_CONSTRAINT="avx2", GENEBERT_GPU_PARTITION="gpuq")
    assert "-p gpuq " in line
    assert " -C " not in line


def test_a_training_on_two_nodes(submit):
    line = submit(WEIGHTS, GENEBERT_GPU_PARTITION="gpuq", GENEBERT_GPUS="8", GENEBERT_NODES="2")
    assert "--nodes=2 " in line
    assert "--ntasks=2 " in line
    assert "--ntasks-per-node=1 " in line
    assert "--gpus=16 " in line
    assert "--gpus-per-node=8 " in line
    assert "--cpus-per-task=32 " in line


def test_the_retries_of_a_training_ask_for_the_same(submit):
    line = submit(WEIGHTS, attempt=3)
    assert "-t 1440 " in line
    assert "--mem 8000 " in line


def test_a_prediction_gets_one_gpu(submit):
    line = submit(PREDICTIONS, GENEBERT_GPU_PARTITION="gpuq", GENEBERT_GPUS="8")
    assert "--gpus=1 " in line
    assert "--cpus-per-task=4 " in line
    assert "-p gpuq " in line


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({"GENEBERT_PARTITION": "shrt"}, "no partition 'shrt'; did you mean 'short'?"),
        ({"GENEBERT_ACCOUNT": "lob"}, "the account 'lob'; did you mean 'lab'?"),
        ({"GENEBERT_GPU_PARTITION": "gpuq", "GENEBERT_GPUS": "9"}, "expected at most 8"),
    ],
)
def test_what_the_site_does_not_have_is_one_line(run, tmp_path, site, words):
    done = run("--", GENOME, **site)
    assert done.returncode != 0
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sbatch.txt").exists()


def test_without_slurm_it_is_one_line(run, tmp_path):
    (tmp_path / "bin/sbatch").unlink()
    hidden = tmp_path / "none"
    hidden.mkdir()
    for name in ("sh", "bash", "env", "which", "uname", "cat"):
        (hidden / name).symlink_to(f"/usr/bin/{name}")
    done = run("--", GENOME, PATH=f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{hidden}")
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "no SLURM here: the program sbatch is not found" in last
    assert "Traceback" not in done.stderr


def test_a_wrong_number_of_gpus_is_found_while_planning(run):
    done = run("-n", "--", GENOME, GENEBERT_GPUS="two")
    assert done.returncode != 0
    assert "two" in (done.stdout + done.stderr).strip().splitlines()[-1]


def test_from_another_directory_the_profile_is_named_by_its_path(root, tmp_path):
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(root / "Snakefile")]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    lost = subprocess.run([*command, "--profile", "slurm"], **options)
    assert lost.returncode != 0
    assert "profile directory given (slurm)" in lost.stderr.strip().splitlines()[-1]
    found = subprocess.run([*command, "--profile", str(root / "slurm")], **options)
    assert found.returncode == 0, found.stderr


def test_the_link_and_the_keys_of_the_profile(root, monkeypatch):
    assert os.readlink(root / "slurm") == "profiles/slurm"
    text = (root / "profiles/slurm/config.v8+.yaml").read_text()
    plain = yaml.safe_load("\n".join(line for line in text.splitlines() if line[:1].isalpha()))
    assert plain["slurm-status-command"] == "squeue"
    assert plain["slurm-init-seconds-before-status-checks"] <= 100  # else it goes back to sacct
    assert set(plain["rerun-triggers"]) == {"mtime", "params", "input"}
    assert plain["slurm-requeue"] is True
    assert not {"software-deployment-method", "sdm", "conda"} & set(plain)
    monkeypatch.setattr(sys, "argv", ["snakemake", "--profile", "slurm"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.chdir(root)
    with open(root / "profiles/default/config.v8+.yaml") as handle:
        default = set(yte.process_yaml(handle))
    theirs = {"executor", "jobs", "default-resources", "set-resources", "retries", "latency-wait"}
    assert default  # its keys would override those of `--profile slurm`
    assert not default & {*theirs, "cores", "resources"}


def test_every_rule_that_can_use_a_gpu_gets_one(root, monkeypatch):
    declared = set()
    for file in (root / "rules").glob("*.smk"):
        for block in re.split(r"^(?=\s*rule )", file.read_text(), flags=re.MULTILINE):
            if re.search(r"^\s+gpu=0,$", block, re.MULTILINE):
                declared.add(block.split()[1].rstrip(":"))
    assert "pretrain" in declared
    monkeypatch.setenv("GENEBERT_GPUS", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("SNAKEMAKE_PROFILE", raising=False)
    monkeypatch.setattr(sys, "argv", ["snakemake"])
    for profile in ("slurm", "default"):
        with open(root / "profiles" / profile / "config.v8+.yaml") as handle:
            resources = yte.process_yaml(handle)["set-resources"]
        assert declared == {rule for rule, values in resources.items() if values.get("gpu")}
