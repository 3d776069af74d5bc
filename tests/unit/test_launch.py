"""Starting pre-training: the settings file, the command line, signals and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from genebert import launch
from genebert.errors import InputError


def test_settings_file(tmp_path):
    run = tmp_path / "run.json"
    launch.write_run(index="i.json", run=str(run), settings={"name": "full"}, seed=3, steps=9)
    document = json.loads(run.read_text())
    assert document["variant"] == {"name": "full"}
    assert (document["seed"], document["steps"], document["index"]) == (3, 9, "i.json")


def test_command_line_is_a_list_without_a_shell():
    one = launch.command("r $(x).json", "out", launch.Layout())
    assert one == [
        sys.executable,
        str(launch.PROGRAM),
        "--config",
        "r $(x).json",
        "--output",
        "out",
    ]
    many = launch.command("r.json", "out", launch.Layout(4), 90.4)
    assert many[1:4] == ["-m", "torch.distributed.run", "--nproc-per-node=4"]
    assert "--standalone" in many
    assert "SIGTERM,SIGINT,SIGUSR1" in many
    assert many[-2:] == ["--stop-after", "90"]
    assert launch.command("r.json", "out", launch.Layout(), launcher=7) == [
        *launch.command("r.json", "out", launch.Layout()),
        "--launcher",
        "7",
    ]
    told = launch.command("r.json", "out", launch.Layout(), how={"threads": 2, "pretrain": {}})
    assert told[-2:] == ["--how", '{"pretrain": {}, "threads": 2}']
    assert "--launcher" not in launch.command("r.json", "out", launch.Layout(4), launcher=7)


def test_several_nodes_are_started_by_srun_one_launcher_each(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    call = launch.command("r.json", "out", launch.Layout(8, nodes=2, threads=32))
    assert call[0] == "srun"
    head = call[: call.index(sys.executable)]
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=32"} <= set(head)
    assert "--kill-on-bad-exit=0" in head  # a node that is done must not end the one that writes
    rest = call[call.index(sys.executable) :]
    assert {"--nnodes=2", "--nproc-per-node=8", "--rdzv-backend=c10d", "--rdzv-id=17"} <= set(rest)
    assert "--standalone" not in rest


@pytest.mark.parametrize(
    ("processes", "gpus", "nodes", "expected"),
    [
        (1, 0, 1, 1),
        (3, 0, 1, 3),
        (1, 1, 1, 1),
        (4, 1, 1, 4),
        (1, 8, 1, 8),
        (3, 8, 1, 8),
        (1, 16, 2, 8),
        (2, 0, 2, 2),
    ],
)
def test_a_process_per_gpu(processes, gpus, nodes, expected):
    assert launch.Layout.of(processes, gpus, nodes, 4) == launch.Layout(expected, nodes, 4)


def test_gpus_that_do_not_divide_among_the_nodes_are_one_line():
    with pytest.raises(InputError, match="found 'gpu=3, nodes=2'"):
        launch.Layout.of(1, 3, 2, 1)


def test_a_training_stops_before_the_limit_of_its_job(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert launch.stop_after(1440) == 1440 * 60 - 600
    assert launch.stop_after(10) == 450
    assert launch.stop_after(1) == 45
    assert launch.stop_after(None) is None
    monkeypatch.delenv("SLURM_JOB_ID")
    assert launch.stop_after(1440) is None  # nothing enforces it


def test_reason_is_the_last_error_even_if_a_launcher_talks_after_it():
    text = "12:00:00 INFO a\n12:00:01 ERROR loss of mgm is NaN\nTraceback\n=====\n"
    assert launch.reason(text) == "loss of mgm is NaN"
    assert launch.reason("first\nsecond\n") == "second"
    assert launch.reason("") == ""


def test_failure_is_told_with_the_last_line(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import sys; print('first'); print('loss of mgm is NaN'); sys.exit(3)")
    monkeypatch.setattr(launch, "PROGRAM", program)
    log = tmp_path / "log"
    with pytest.raises(InputError, match="exit code 3: loss of mgm is NaN"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(log))


def test_a_killed_program_is_told_as_that(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import os; print('step 7/60', flush=True); os.kill(os.getpid(), 9)")
    monkeypatch.setattr(launch, "PROGRAM", program)
    with pytest.raises(InputError, match="was killed by signal 9; run again, it resumes there"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(tmp_path / "log"))


@pytest.mark.parametrize("missing", ["", "config.json"])
def test_a_program_that_is_killed_after_its_last_output_has_not_failed(
    tmp_path, monkeypatch, caplog, missing
):
    """It has removed its state, and a failed job's outputs would be deleted."""
    program, output = tmp_path / "program.py", tmp_path / "out"
    output.mkdir()
    names = [name for name in launch.OUTPUTS if name != missing]
    program.write_text(
        "import os, pathlib\n"
        f"for name in {names}: (pathlib.Path({str(output)!r}) / name).touch()\n"
        "os.kill(os.getpid(), 15)\n"
    )
    monkeypatch.setattr(launch, "PROGRAM", program)
    call = {"run": "r", "output": str(output), "processes": 1, "log_path": str(tmp_path / "log")}
    if missing:
        with pytest.raises(InputError, match="was killed by signal 15"):
            launch.run_pretrain(**call)
        return
    launch.run_pretrain(**call)
    assert "exit code -15 after its last output" in caplog.text
    for name in launch.OUTPUTS:  # those of an earlier run are no such thing
        os.utime(output / name, (1, 1))
    program.write_text("import os; os.kill(os.getpid(), 15)")
    with pytest.raises(InputError, match="was killed by signal 15"):
        launch.run_pretrain(**call)


def test_the_outputs_of_the_program_are_those_that_are_looked_for():
    from genebert import pretrain

    assert set(launch.OUTPUTS) == {pretrain.WEIGHTS, pretrain.METRICS, pretrain.CONFIG}


def test_signals_reach_the_program(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    ready = tmp_path / "ready"
    program.write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(n, f): print('state written', flush=True); sys.exit(75)\n"
        "signal.signal(signal.SIGUSR1, stop)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(30)\n"
    )
    monkeypatch.setattr(launch, "PROGRAM", program)

    def send() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=send).start()
    with pytest.raises(InputError, match="was stopped at a checkpoint; run again"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(tmp_path / "log"))


def test_a_signal_while_the_program_starts_is_not_lost(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import time; time.sleep(30); print('nobody stopped me')")
    monkeypatch.setattr(launch, "PROGRAM", program)
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **named: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **named))
        os.kill(os.getpid(), signal.SIGTERM)  # as scancel does, before anybody holds the process
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(InputError, match="was killed by signal 15; run again"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(tmp_path / "log"))
    assert started[0].returncode == -signal.SIGTERM
