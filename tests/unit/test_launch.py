"""Starting pre-training: the settings file, the command line, signals and exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

import pytest

from genebert import launch
from genebert.errors import InputError


def test_settings_file(tmp_path):
    run = tmp_path / "run.json"
    launch.write_run(
        index="i.json", run=str(run), settings={"name": "full"}, seed=3, steps=9, threads=1
    )
    document = json.loads(run.read_text())
    assert document["variant"] == {"name": "full"}
    assert (document["seed"], document["steps"], document["index"]) == (3, 9, "i.json")


def test_command_line_is_a_list_without_a_shell():
    one = launch.command("r $(x).json", "out", 1)
    assert one == [
        sys.executable,
        str(launch.PROGRAM),
        "--config",
        "r $(x).json",
        "--output",
        "out",
    ]
    many = launch.command("r.json", "out", 4)
    assert many[1:4] == ["-m", "torch.distributed.run", "--standalone"]
    assert "--nproc-per-node=4" in many
    assert "SIGTERM,SIGINT,SIGUSR1" in many


def test_failure_is_told_with_the_last_line(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("import sys; print('first'); print('loss of mgm is NaN'); sys.exit(3)")
    monkeypatch.setattr(launch, "PROGRAM", program)
    log = tmp_path / "log"
    with pytest.raises(InputError, match="exit code 3: loss of mgm is NaN"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(log))


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
    with pytest.raises(InputError, match="exit code 75: state written"):
        launch.run_pretrain(run="r", output="o", processes=1, log_path=str(tmp_path / "log"))
