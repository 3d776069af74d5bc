"""Runs of snakemake as a user starts them, with and without SLURM, on a small simulated genome."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from workflow_tools import TINY_EFFORT, TINY_GENOME

ROOT = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("lab", ROOT / "tests/slurm/lab.py")
assert SPEC is not None
assert SPEC.loader is not None
lab = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lab)

FULL = bool(os.environ.get("GENEBERT_SLURM_FULL"))

SPLICING = {
    "task": "splicing",
    "name": "sites",
    "kind": "gtf",
    "truth": "results/simulated/truth/splicing.tsv",
}
COHORT = {
    "task": "disease",
    "name": "cohort",
    "kind": "cohort",
    "path": "results/simulated/cohort.vcf.gz",
    "phenotypes": "results/simulated/phenotypes.tsv",
    "truth": "results/simulated/truth/cohort.tsv",
}
SMALL: dict[str, Any] = {
    **TINY_GENOME,
    "pretrain": {
        "batch_size": 8,
        "checkpoint_seconds": 0.2,
        "log_every": 1,
        "evaluation_loci": 16,
    },
    "datasets": [SPLICING, COHORT] if FULL else [SPLICING],
    "effort": {**TINY_EFFORT, "max_items": 150, "variants": ["full", "sequence"]},
}
RUN = "results/pretrain/full/seed-1"
WEIGHTS = f"{RUN}/model.safetensors"
SITE = ("GENEBERT_", "SLURM_", "SBATCH_", "SNAKEMAKE_")


# -- runs ------------------------------------------------------------------------------------------


RUNS: list[Run] = []


@dataclass
class Run:
    """A run of snakemake in a directory of its own."""

    directory: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    started: float = field(default_factory=time.monotonic)

    @property
    def log(self) -> str:
        return (self.directory / "driver.log").read_text(errors="replace")

    @property
    def jobs(self) -> list[str]:
        """The SLURM jobs that it has submitted."""
        return re.findall(r"submitted with SLURM jobid (\d+)", self.log)

    def end(self, seconds: float = 900) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            self.process.kill()
            raise AssertionError(f"no end after {seconds:.0f} s: {self.log[-3000:]}") from None

    def well(self, seconds: float = 900) -> Run:
        """Wait for the end, which must be a good one."""
        assert self.end(seconds) == 0, self.log[-6000:]
        return self

    def processes(self, word: str) -> list[int]:
        """Return the processes of this directory with a word on their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if word in line and (entry / "cwd").resolve() == self.directory:
                        found.append(int(entry.name))
        return found

    def losses(self) -> list[dict[str, float]]:
        lines = (self.directory / RUN / "metrics.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if row["kind"] == "train"]


def launch(
    directory: Path, *arguments: str, profile: bool = True, steps: int = 0, **site: str
) -> Run:
    """Start snakemake as a user does."""
    config = {
        **SMALL,
        "effort": {**SMALL["effort"], **({"pretrain_steps": steps} if steps else {})},
    }
    (directory / "small.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--directory", str(directory)]
    command += ["--configfile", str(directory / "small.yaml")]
    if profile:  # shorter waits than on a cluster, else what a user gets
        command += ["--profile", "slurm", "--slurm-init-seconds-before-status-checks", "3"]
        command += ["--latency-wait", "10"]
    else:
        command += ["--cores", "2"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SITE)}
    with (directory / "driver.log").open("ab") as sink:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=ROOT,
            env={**environment, "GENEBERT_RESUMES": "3", **site},
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    RUNS.append(Run(directory, process))
    return RUNS[-1]


def until(
    true: Callable[[], Any],
    what: str,
    seconds: float = 400,
    found: Callable[[], Any] = lambda: "",
) -> Any:
    """Wait until something is true; return it. What is found instead is told where it fails."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := true():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:.0f} s {found()}")


def ask(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def accounts(jobs: list[str], *columns: str, steps: bool = False) -> list[list[str]]:
    """Return what SLURM's accounting knows of jobs."""
    command = ["sacct", "-n", "-P", "-D", "-j", ",".join(jobs), "-o", ",".join(columns)]
    return [line.split("|") for line in ask(*command, *([] if steps else ["-X"]))]


def checkpointed(run: Run, least: int = 10) -> bool:
    """Whether the training of a run has a checkpoint of at least so many steps."""
    for manifest in (run.directory / RUN).glob("state/*/manifest.json"):
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads(manifest.read_text())["step"]) >= least
    return False


def copied(local: Run, parent: Path) -> Path:
    directory = parent / "run"
    shutil.copytree(local.directory, directory, symlinks=True)
    shutil.rmtree(directory / "results/pretrain")
    shutil.rmtree(directory / "logs")
    (directory / "driver.log").unlink()
    return directory
