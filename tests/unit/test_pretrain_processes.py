"""Pre-training on two processes: the same samples and losses, one step, one end."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pretrain_runs import go, made_run, rows_of

from genebert import pretrain, pretraining_evaluation
from genebert.pretrain import EXIT_STOPPED
from pretrain_worker import objectives


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(pretraining_evaluation, "PROBE_VISITS", 300)


def two_processes(output, steps, *arguments):
    """Run the worker as two processes; return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    worker = Path(__file__).parent.parent / "pretrain_worker.py"
    path = os.pathsep.join([str(Path(pretrain.__file__).parents[1]), str(worker.parent)])
    processes = [
        subprocess.Popen(
            [sys.executable, str(worker), str(output), str(steps), *arguments],
            env={
                **os.environ, "WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank,
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in "01"
    ]  # fmt: skip
    return [process.wait(timeout=120) for process in processes]


@pytest.mark.parametrize("loss", ["bce", "infonce"])
def test_two_processes_log_the_losses_of_one(tmp_path, loss):
    steps = 4
    go(tmp_path / "one", steps=steps, log_every=1, objectives=objectives(loss))
    assert two_processes(tmp_path / "two", steps, loss) == [0, 0]
    found = {name: rows_of(tmp_path / name) for name in ("one", "two")}
    one, two = ([r for r in rows if r["kind"] == "train"] for rows in found.values())
    assert len(one) == len(two) == steps
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3)
    one, two = ([r for r in rows if r["kind"] == "evaluation"] for rows in found.values())
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        for name in ("mgm", "ngsp"):
            assert b[name] == pytest.approx(a[name], abs=1e-4)


def test_two_processes_go_on_together_where_one_cannot_compile(tmp_path):
    go(tmp_path / "one", steps=2, log_every=1, objectives=objectives("bce"))
    assert two_processes(tmp_path / "two", 2, "bce", "uncompilable") == [0, 0]
    one, two = ([r for r in rows_of(tmp_path / n) if r["kind"] == "train"] for n in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-4)


def test_processes_that_resume_at_different_steps_stop_and_are_tried_again(tmp_path, caplog):
    """As where a file system shows one of them a state that is no more."""
    job = made_run(tmp_path, steps=3)
    assert job.same_step()
    job.summed = lambda value, op: torch.maximum(value, torch.tensor([0]))  # the other is at 0
    job.trainer.step = 2
    assert not job.same_step()
    assert "processes found states of steps 0 to 2; stopped" in caplog.text


@pytest.mark.parametrize(("seconds", "looks"), [(0.001, [1, 11, 21]), (2.0, [1, 3, 5, 7, 9])])
def test_several_processes_look_for_signals_more_often_where_steps_are_slow(
    tmp_path, monkeypatch, seconds, looks
):
    job = made_run(tmp_path, steps=100)
    job.place = dataclasses.replace(job.place, world=2)
    now, found = [job.looked[0]], []
    monkeypatch.setattr(pretrain.time, "monotonic", lambda: now[0])

    def summed(value, op):
        found.append(job.trainer.step)
        return value

    job.summed = summed
    for step in range(1, looks[-1] + 1):
        job.trainer.step = step
        now[0] += seconds
        assert job.agree(True, False) == (step in looks, False)
    assert found == looks


def test_a_signal_while_one_of_two_processes_judges_leaves_the_whole_state(tmp_path):
    assert two_processes(tmp_path, 3, "bce", "judging") == [EXIT_STOPPED, 0]
    assert not (tmp_path / "model.safetensors").exists()
    (manifest,) = tmp_path.glob("state/*/manifest.json")
    assert json.loads(manifest.read_text())["step"] == 3
