"""What the profile asks of SLURM, read off the `sbatch` line of a stand-in that only records it.

A run on real daemons is not made here; this shows that partition, account, memory, time, threads
and GPUs reach the command line, from the repository and with no other flag than `--profile slurm`.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

RECORDER = (
    '#!/bin/sh\nprintf "%s\\n" "$*" >> "$RECORD"\necho "refused by the recorder" >&2\nexit 1\n'
)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Put recorders of every SLURM client on a path of their own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol", "sacctmgr"):
        program = programs / name
        answer = "echo lab" if name == "sacctmgr" else "exit 0"  # the accounts that exist
        program.write_text(RECORDER if name == "sbatch" else f"#!/bin/sh\n{answer}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return tmp_path / "sbatch.txt"


def submit(root: Path, record: Path, **environment: str) -> str:
    """Run one target that needs a remote job; return the recorded `sbatch` lines."""
    directory = record.parent / "run"
    directory.mkdir()
    path = f"{record.parent / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", "--profile", "slurm"]
    command += ["--directory", str(directory), "results/simulated/genome.fa", "--retries", "0"]
    command += ["--slurm-init-seconds-before-status-checks", "1"]
    subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "PATH": path, "RECORD": str(record), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return record.read_text().split("--wrap")[0]


def test_resources_of_a_cpu_job_reach_sbatch(root, record):
    line = submit(root, record, GENEBERT_PARTITION="short", GENEBERT_ACCOUNT="lab")
    assert "--mem 4000" in line
    assert "-t 60" in line
    assert "--cpus-per-task=1" in line
    assert "-p short" in line
    assert "-A lab" in line or "-A 'lab'" in line or "--account" in line
    assert "--gpus" not in line


def test_no_site_is_named_without_the_environment(root, record, monkeypatch):
    for name in ("GENEBERT_PARTITION", "GENEBERT_ACCOUNT", "GENEBERT_GPU_PARTITION"):
        monkeypatch.delenv(name, raising=False)
    line = submit(root, record)
    assert " -A " not in line
    assert " -p " not in line
