"""The measures of pre-training on a GPU: what they hold to a bar, how they are chosen, what fits."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest
import torch


@pytest.fixture
def measure(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "tests" / "benchmarks"))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    yield importlib.import_module("pretrain")
    for name in ("pretrain", "peers", "library"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("device", "bar"), [("cpu", 20.0), ("cuda", None)])
def test_seconds_of_the_demo_have_a_bar_on_a_cpu_and_ratios_anywhere(
    measure, monkeypatch, device, bar
):
    timing = {"tokens_per_second": 1e6, "data_wait_fraction": 0.0, "sampler_fraction": 0.0}
    rows = [{"kind": "train", "timing": timing}] * 9
    monkeypatch.setattr(measure, "trained", lambda *_: rows)
    for added, passed in ((1.1, True), (1.2, False)):
        monkeypatch.setattr(measure, "beside_a_bare_loop", lambda *_, added=added: added)
        found = {name: (bar, fine) for name, _, bar, fine in measure.demo(device)}
        assert found["demo-seconds"] == found["demo-cpu-seconds"] == (bar, True)
        assert found["demo-rows-per-second"] == (200.0, True)
        assert found["data-wait"] == (0.01, True)
        assert found["step-times-the-model-alone"] == (1.15, passed)


@pytest.mark.parametrize(
    ("call", "measured"),
    [
        ("--device cuda --only bench", ["bench.py"]),
        ("--only leaks demo", ["leaks", "demo"]),
        ("--device cuda", ["leaks", "demo", "rival", "bench.py"]),
        ("", ["leaks", "demo", "rival"]),
    ],
)
def test_measures_are_chosen_by_name(measure, monkeypatch, call, measured):
    begun = []
    for name in ("kills", "leaks", "resuming", "processes", "controls", "learns", "demo", "rival"):
        monkeypatch.setattr(measure, name, lambda *_, name=name: begun.append(name) or [])

    def program(arguments, **_):
        begun.append(arguments[-1].rpartition("/")[2])
        return subprocess.CompletedProcess(arguments, 0)

    monkeypatch.setattr(measure.subprocess, "run", program)
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *call.split()])
    assert measure.main() == 0
    chosen = [name for name in begun if name in ("leaks", "demo", "rival", "bench.py")]
    assert chosen == measured
    assert len(begun) == len(measured) or "--only" not in call


@pytest.mark.parametrize("call", ["--only bench", "--only lerns"])
def test_what_cannot_be_measured_is_told(measure, monkeypatch, capsys, call):
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *call.split()])
    with pytest.raises(SystemExit):
        measure.main()
    assert call.split()[-1] in capsys.readouterr().err.splitlines()[-1]


def test_the_batch_is_halved_for_all_peers_until_it_fits(measure):
    peers, tried = importlib.import_module("peers"), []

    def turns(rows):
        tried.append(rows)
        if rows > 32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return {"published": [1.0]}

    assert peers.fitting(turns, 128) == (32, {"published": [1.0]})
    assert tried == [128, 64, 32]


def test_the_tuned_rival_has_the_fused_optimizer_of_ours(measure, monkeypatch):
    peers, made = importlib.import_module("peers"), []

    class Bert(torch.nn.Linear):
        def __init__(self, config):
            super().__init__(2, 2)

    library = types.SimpleNamespace(BertConfig=lambda **_: None, BertForMaskedLM=Bert)
    monkeypatch.setitem(sys.modules, "transformers", library)
    monkeypatch.setattr(peers, "Collator", lambda fast: None)
    monkeypatch.setattr(peers, "DataLoader", lambda *_, **__: [])
    monkeypatch.setattr(torch.optim, "AdamW", lambda *_, fused, **__: made.append(fused))
    for kind in ("published", "tuned"):
        peers.rival(kind, "small", 2, [], torch.device("cpu"))
    assert made == [False, True]
