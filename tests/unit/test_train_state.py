"""Checkpoints: whole or not taken for whole, whatever happens while they are written."""

from __future__ import annotations

import json
import os
import signal
import time

import numpy as np
import pytest
import torch

from genebert.errors import InputError
from genebert.train_state import StateDirectory, run_hash


def state_of(step, n=1000):
    return {"step": step, "model": {"w": torch.full((n,), float(step))}, "rows": "[1]"}


def test_the_last_state_comes_back_and_older_ones_go(tmp_path):
    states = StateDirectory(tmp_path / "state" / "abc")
    assert states.load() is None
    for step in (3, 7):
        states.save(step, state_of(step))
    loaded = states.load()
    assert loaded["step"] == 7
    assert torch.equal(loaded["model"]["w"], torch.full((1000,), 7.0))
    assert [p.name for p in states.path.glob("*.pt")] == ["step-000000007.pt"]
    states.remove()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "manifest", "swap"])
def test_a_damaged_state_is_not_used(tmp_path, damage):
    states = StateDirectory(tmp_path)
    states.save(3, state_of(3))
    file, manifest = tmp_path / "step-000000003.pt", tmp_path / "manifest.json"
    raw = bytearray(file.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    elif damage == "cut":
        file.write_bytes(raw[:-10])
    elif damage == "gone":
        file.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        record = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**record, "step": 4}))
    assert states.load() is None


def written_step(path):
    """Return the step that the manifest names, 0 where there is none."""
    try:
        return json.loads((path / "manifest.json").read_text())["step"]
    except FileNotFoundError:
        return 0


def test_a_process_killed_while_writing_leaves_a_whole_state(tmp_path):
    """Kill -9 at three random moments of a process that does nothing but write checkpoints."""
    rng = np.random.default_rng(0)
    last = 0
    for kill in range(3):
        child = os.fork()
        if child == 0:
            try:
                step = last
                while True:
                    step += 1
                    StateDirectory(tmp_path).save(step, state_of(step, 200_000))
            finally:
                os._exit(1)
        deadline = time.monotonic() + 30
        while written_step(tmp_path) <= last and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.1 * rng.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        loaded = StateDirectory(tmp_path).load()
        assert loaded is not None, kill
        assert loaded["step"] > last
        assert bool((loaded["model"]["w"] == loaded["step"]).all())
        last = loaded["step"]


def test_the_marker_ends_a_retry_with_the_same_line(tmp_path):
    states = StateDirectory(tmp_path / "s")
    states.check_marker()
    states.mark_diverged("diverged at step 3: loss of mgm is not finite", 3, "mgm")
    with pytest.raises(InputError, match="diverged at step 3: loss of mgm is not finite"):
        states.check_marker()


def test_the_hash_does_not_depend_on_the_order_of_keys():
    assert run_hash({"a": 1, "b": {"c": 2, "d": 3}}) == run_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert run_hash({"a": 1}) != run_hash({"a": 2})
