"""A training that cannot succeed is refused at every retry, with the same line, and at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from genebert import launch, refusal
from genebert.disk import disk_full
from genebert.errors import InputError
from genebert.pretrain import main
from pretrain_toys import toy_block


def write_settings(path, **changes):
    settings = {"variant": toy_block(), "seed": 1, "steps": 2, "index": str(path / "index.json")}
    (path / "run.json").write_text(json.dumps({**settings, **changes}))
    return str(path / "run.json")


def test_a_retry_says_the_same_and_a_new_call_starts_afresh(tmp_path):
    refusal.refuse(tmp_path, InputError("row_tokens is wrong", found=3))
    for attempt in (2, 3, 20):
        with pytest.raises(InputError) as caught:
            refusal.check(tmp_path, attempt)
        assert str(caught.value) == "row_tokens is wrong; found 3"
    refusal.check(tmp_path, 1)
    refusal.check(tmp_path, 2)


def test_a_full_disk_may_pass(tmp_path):
    full = disk_full(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), tmp_path / "x")
    assert isinstance(full, InputError)
    refusal.refuse(tmp_path, full)
    assert not (tmp_path / refusal.MARKER).exists()


def test_bad_input_of_the_program_is_refused_without_starting_it_again(tmp_path, monkeypatch):
    run, output, log = write_settings(tmp_path), tmp_path / "out", tmp_path / "log"
    assert main(["--config", run, "--output", str(output)]) == 1  # there are no shards
    assert "index.json" in json.loads((output / refusal.MARKER).read_text())["message"]
    monkeypatch.setattr(launch, "PROGRAM", tmp_path / "must-not-run.py")
    (tmp_path / "must-not-run.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    log.touch()
    call = {"run": run, "output": str(output), "processes": 1, "log_path": str(log)}
    with pytest.raises(InputError, match=r"index\.json"):
        launch.run_pretrain(**call, attempt=2)
    assert not (tmp_path / "ran").exists()
    launch.run_pretrain(**call, attempt=1)
    assert (tmp_path / "ran").exists()


def test_only_one_of_several_processes_leaves_the_marker(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["--config", write_settings(tmp_path, steps=0), "--output", str(tmp_path)]) == 1
    assert not (tmp_path / refusal.MARKER).exists()


def test_a_refused_retry_loads_nothing_heavy(root):
    code = "import sys; from genebert import launch; sys.exit('torch' in sys.modules)"
    path = str(root / "workflow/scripts")
    environment = {**os.environ, "PYTHONPATH": path}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
