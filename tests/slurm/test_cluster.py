"""The pipeline on a real SLURM (`lab.py`): `make test-slurm`, never `make test`.

Everything is started as a user does, by `snakemake --profile slurm`, on a small simulated genome,
and compared with the same run without SLURM. What only waits (a time limit, a requeue, the whole
pipeline) is started early and runs side by side: two runs in two directories must not disturb each
other anyway. `GENEBERT_SLURM_FULL=1` adds the long ones.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from slurm_runs import (
    FULL,
    RUN,
    WEIGHTS,
    Run,
    accounts,
    ask,
    checkpointed,
    copied,
    lab,
    launch,
    until,
)

pytestmark = pytest.mark.slurm
long_one = pytest.mark.skipif(not FULL, reason="long: GENEBERT_SLURM_FULL=1")
STEPS = 150  # of a training that is interrupted


# -- fixtures ----------------------------------------------------------------------------------------


@dataclass
class Interrupted:
    """Trainings that were interrupted, each its own way, and the one that was not."""

    reference: bytes
    runs: dict[str, Run]


@pytest.fixture(scope="session")
def interrupted(local: Run, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Start five trainings side by side and interrupt each; wait for all."""
    runs: dict[str, Run] = {}
    for name in ("limit", "itself", "requeued", "killed", "cancelled"):
        directory = copied(local, tmp_path_factory.mktemp(name))
        limited = name in ("limit", "itself")  # two minutes; it stops itself after 90 seconds
        minutes = ["--set-resources", "pretrain:runtime=2"] if limited else []
        runs[name] = launch(directory, *minutes, "--", WEIGHTS, steps=STEPS)
    waiting = {**runs}
    asleep: dict[str, tuple[int, float]] = {}  # process, since when
    end = time.monotonic() + 300
    while waiting and time.monotonic() < end:
        for name, run in list(waiting.items()):
            if not checkpointed(run):
                continue
            pids = run.processes("genebert/pretrain.py")
            if name in ("limit", "itself") and pids:  # sleeps, so that its limit comes early
                os.kill(pids[0], signal.SIGSTOP)
                asleep[name] = pids[0], time.monotonic()
            elif name == "requeued":
                subprocess.run(["scontrol", "requeue", run.jobs[0]], check=True)
            elif name == "cancelled":
                subprocess.run(["scancel", run.jobs[0]], check=True)
            elif name == "killed" and pids:
                os.kill(pids[0], signal.SIGKILL)
            else:
                continue
            del waiting[name]
        time.sleep(0.05)
    reference = launch(
        copied(local, tmp_path_factory.mktemp("whole")), "--", WEIGHTS, profile=False, steps=STEPS
    )
    if "itself" in asleep:
        process, since = asleep[
            "itself"
        ]  # its clock ran on for 90 seconds, however slow its start was
        until(lambda: time.monotonic() - since > 91, "a sleep of 91 seconds")
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    reference.well()
    weights = (reference.directory / WEIGHTS).read_bytes()
    assert not waiting, f"never had a checkpoint to be interrupted at: {list(waiting)}"
    return Interrupted(weights, runs)


TIMES = ("cost.tsv", "pretraining_cost.tsv")  # tables of what a run took


# -- tests -------------------------------------------------------------------------------------------


def ends_like_an_uninterrupted_one(interrupted: Interrupted, name: str) -> None:
    run = interrupted.runs[name].well()
    log = (run.directory / "logs/pretrain/full.1.log").read_text()
    assert "resuming at step" in log
    assert (run.directory / WEIGHTS).read_bytes() == interrupted.reference
    states = [state.split()[0] for (state,) in accounts(run.jobs, "State")]
    limits = {limit for (limit,) in accounts(run.jobs, "Timelimit")}
    assert len(limits) == 1  # a resumed training asks for what it asked for before
    assert states[-1] == "COMPLETED"
    expected = {
        "itself": ("FAILED", 2),
        "killed": ("FAILED", 2),
        "requeued": ("REQUEUED", 1),
        "cancelled": ("CANCELLED", 2),
        "limit": ("TIMEOUT", 2),
    }[name]
    assert (states[0], len(run.jobs)) == expected
    if name == "itself":
        assert "was stopped at step" in run.log
    if name == "cancelled":
        assert "SLURM status is: 'CANCELLED'" in run.log
    assert not (run.directory / RUN / "state").exists()


@pytest.mark.parametrize("name", ["itself", "killed", "requeued", "cancelled"])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(interrupted, name):
    ends_like_an_uninterrupted_one(interrupted, name)


def test_a_killed_driver_is_followed_by_the_documented_commands(interrupted, copy):
    first = launch(copy, "--", WEIGHTS, steps=STEPS)
    until(lambda: checkpointed(first), "a checkpoint")
    first.process.kill()
    first.process.wait()
    assert ask("squeue", "-h", "-j", first.jobs[0], "-o", "%T") == ["RUNNING"]
    name = re.findall(r"^SLURM run ID: (\S+)$", first.log, re.MULTILINE)[0]
    subprocess.run(["scancel", "--name", name], check=True)
    until(lambda: not ask("squeue", "-h", "-j", first.jobs[0]), "no job is left", 30)
    locked = launch(copy, "--", WEIGHTS, steps=STEPS)
    assert locked.end(60) != 0
    assert "cannot be locked" in locked.log
    launch(copy, "--unlock", steps=STEPS).well(60)
    launch(copy, "--", WEIGHTS, steps=STEPS).well()
    assert "resuming at step" in (copy / "logs/pretrain/full.1.log").read_text()
    assert (copy / WEIGHTS).read_bytes() == interrupted.reference


def test_two_nodes_agree_with_one_process(copy, local, tmp_path):
    alone = launch(copied(local, tmp_path / "alone"), "--", WEIGHTS, profile=False, steps=20)
    run = launch(copy, "--", WEIGHTS, steps=20, GENEBERT_NODES="2").well()
    alone.well()
    assert len(run.jobs) == 1, run.log
    steps = {name: nodes for name, nodes in accounts(run.jobs, "JobName", "NNodes", steps=True)}
    assert steps["python3" if "python3" in steps else "python"] == "2"
    log = (copy / "logs/pretrain/full.1.log").read_text()
    assert "--nnodes=2" in log
    one, two = alone.losses(), run.losses()
    assert len(one) == len(two) == 20
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_all_gpus_of_a_node_are_in_one_task(copy):
    run = launch(
        copy, "--", WEIGHTS, steps=6, GENEBERT_GPU_PARTITION="gpu", GENEBERT_GPUS="2",
        GENEBERT_CPUS_PER_GPU="2",
    ).well()  # fmt: skip
    log = (copy / "logs/pretrain/full.1.log").read_text()
    assert "CUDA_VISIBLE_DEVICES is 0,1" in log
    assert "--nproc-per-node=2" in log
    ((used, partition, cpus),) = accounts(run.jobs, "AllocTRES", "Partition", "NCPUS")
    assert "gres/gpu=2" in used
    assert (partition, cpus) == ("gpu", "4")


@long_one
def test_two_nodes_of_two_gpus(copy):
    run = launch(
        copy, "--", WEIGHTS, steps=6, GENEBERT_GPU_PARTITION="gpu", GENEBERT_GPUS="2",
        GENEBERT_NODES="2", GENEBERT_CPUS_PER_GPU="1",
    ).well()  # fmt: skip
    ((used,),) = accounts(run.jobs, "AllocTRES")
    assert "gres/gpu=4" in used
    assert "node=2" in used


def test_a_job_killed_for_memory_is_retried_with_more(copy):
    target = "results/regions/regions.bed"
    before = (copy / target).read_bytes()
    arguments = ["--forcerun", "regions", "--set-resources", "regions:mem_mb=230*attempt*attempt"]
    run = launch(copy, *arguments, "--", target).well()
    asked = accounts(run.jobs, "State", "ReqMem")
    assert [memory for _, memory in asked][:2] == ["230M", "920M"]
    assert asked[0][0] in ("FAILED", "OUT_OF_MEMORY")
    assert asked[-1][0] == "COMPLETED"
    assert (copy / target).read_bytes() == before


def test_ctrl_c_cancels_all_jobs_of_this_run_and_no_other(copy):
    other = ask("sbatch", "--parsable", "--mem=100", "--output=/dev/null", "--wrap", "sleep 300")[0]
    targets = [WEIGHTS, WEIGHTS.replace("full", "sequence")]
    run = launch(copy, "--", *targets, steps=20000)
    until(lambda: len(run.jobs) == 2 and checkpointed(run), "two running trainings")
    run.process.send_signal(signal.SIGINT)
    assert run.end(60) != 0
    mine = ",".join(run.jobs)
    until(lambda: not ask("squeue", "-h", "-j", mine), "no job is left", 30)
    until(
        lambda: not run.processes("pretrain"), "no process is left", 30,
        lambda: ask("ps", "-eo", "pid,ppid,stat,etimes,args"),
    )  # fmt: skip
    assert ask("squeue", "-h", "-j", other, "-o", "%T") == ["RUNNING"]
    subprocess.run(["scancel", other], check=True)
    assert not (copy / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ({"GENEBERT_PARTITION": "cup"}, "no partition 'cup'; did you mean 'cpu'?"),
        ({"GENEBERT_GPU_PARTITION": "gpu", "GENEBERT_GPUS": "3"}, "found 3; expected at most 2"),
        ({"GENEBERT_ACCOUNT": "lob"}, "may not use the account 'lob'; did you mean 'lab'?"),
    ],
)
def test_what_the_site_does_not_have_is_one_line(cluster, tmp_path, site, words):
    run = launch(tmp_path, "--", "results/simulated/genome.fa", **site)
    assert run.end(60) != 0
    assert run.jobs == []
    last = [line for line in run.log.splitlines() if line.strip()][-1]
    assert words in last
    assert "Traceback" not in run.log


def test_the_whole_pipeline_gives_the_tables_of_the_local_run(everything, local, capsys):
    everything.well(600)
    seconds = time.monotonic() - everything.started
    tables = sorted(
        path.relative_to(local.directory)
        for path in (local.directory / "results").glob("*.tsv")
        if path.name not in TIMES
    )
    assert {"splicing.tsv", "metrics.tsv", "ablation.tsv"} <= {table.name for table in tables}
    for table in tables:
        ours, theirs = everything.directory / table, local.directory / table
        assert ours.read_bytes() == theirs.read_bytes(), table
    assert (everything.directory / WEIGHTS).read_bytes() == (local.directory / WEIGHTS).read_bytes()
    states = {state for (state,) in accounts(everything.jobs, "State")}
    assert states == {"COMPLETED"}
    assert {account for (account,) in accounts(everything.jobs, "Account")} == {"lab"}
    assert "Error" not in everything.log
    again = launch(everything.directory, "-n", GENEBERT_ACCOUNT="lab")
    assert again.end(60) == 0
    assert "Nothing to be done" in again.log
    waits = [int(seconds) for (seconds,) in accounts(everything.jobs, "ElapsedRaw")]
    works = [
        json.loads(path.read_text().splitlines()[-1])["s"]
        for path in (everything.directory / "benchmarks").rglob("*.jsonl")
    ]
    with capsys.disabled():
        print(
            f"\n{len(everything.jobs)} SLURM jobs in {seconds:.0f} s (other tests beside them); "
            f"a job took {sum(waits) / len(waits):.1f} s, its script {sum(works) / len(works):.1f} s"
        )


def test_a_training_at_its_time_limit_ends_with_the_same_weights(interrupted):
    ends_like_an_uninterrupted_one(interrupted, "limit")  # late: its limit took two minutes


def test_temporary_files_go_to_the_scratch_of_the_node(copy, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run = launch(
        copy,
        "--forcerun",
        "regions",
        "--",
        "results/regions/regions.bed",
        GENEBERT_TMPDIR=str(scratch),
    ).well()
    told = base64.b64encode(f"tmpdir={scratch}".encode()).decode()  # as jobs are told resources
    assert told in (copy / f"logs/slurm/rule_regions/{run.jobs[0]}.log").read_text()


def test_without_accounting_a_run_ends(cluster, copy):
    lab.stop()
    lab.start(accounting=False)
    target = "results/regions/regions.bed"
    run = launch(copy, "--forcerun", "regions", "--", target)
    run.well(120)
    assert len(run.jobs) == 1
    assert (copy / target).exists()
