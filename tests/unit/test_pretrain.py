"""Runs of pre-training: resume bit for bit, add up over processes, learn, stop, say what is wrong."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import signal

import numpy as np
import pytest
import torch
from pretrain_runs import CPU, SHARDS, go, rows_of, settings_of

from genebert import pretrain, pretraining_evaluation, run_figures
from genebert.clock import Clock
from genebert.errors import InputError
from genebert.pretrain import EXIT_STOPPED, StopFlag, hash_of, main, open_place, read_settings
from genebert.pretrained import Pretrained
from genebert.train_state import StateDirectory
from genebert.trainer import Trainer
from pretrain_toys import toy_block, toy_shards, toy_trainer, written_shards


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(pretraining_evaluation, "PROBE_VISITS", 300)


class StopAfter(StopFlag):
    """Asks to stop the n-th time it is looked at."""

    def __init__(self, looks):
        super().__init__(None)
        self.looks = looks

    def __bool__(self):
        self.looks -= 1
        return self.looks < 0


# -- resuming ----------------------------------------------------------------------------------


def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(tmp_path):
    kwargs = {"log_every": 5, "evaluations": 3}
    assert go(tmp_path / "whole", **kwargs) == 0
    output = tmp_path / "parts"
    for looks in (2, 4):  # stopped at steps 3 and 8, both between two reports
        assert go(output, StopAfter(looks), **kwargs) == EXIT_STOPPED
        assert not (output / "model.safetensors").exists()
        (state,) = output.glob("state/*")
        done = rows_of(state)
        assert done == rows_of(tmp_path / "whole")[: len(done)]
    assert go(output, **kwargs) == 0
    whole, parts = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert rows_of(tmp_path / "whole") == rows_of(output)
    assert (tmp_path / "whole" / "config.json").read_bytes() == (
        output / "config.json"
    ).read_bytes()
    assert not (output / "state").exists()


def test_a_seed_changes_the_weights(tmp_path):
    for seed in (1, 2):
        go(tmp_path / str(seed), seed=seed, steps=2)
    a, b = ((tmp_path / s / "model.safetensors").read_bytes() for s in "12")
    assert a != b


def test_a_changed_configuration_starts_afresh(tmp_path, caplog):
    go(tmp_path, StopAfter(2))
    old = hash_of(settings_of(), "x")
    assert (tmp_path / "state" / old / "manifest.json").exists()
    assert hash_of(settings_of(neighbours=4), "x") != old
    assert hash_of(settings_of(), "y") != old
    assert hash_of(settings_of(checkpoint_seconds=5), "x") == old
    with caplog.at_level(logging.WARNING):
        go(tmp_path, steps=1)  # another hash: does not resume at step 3
    assert rows_of(tmp_path)[0]["step"] == 1
    (line,) = [text for text in caplog.messages if "another configuration" in text]
    assert old in line
    assert f"(steps: {settings_of()['steps']}, now 1); it is left alone" in line


def test_a_state_of_another_shape_is_one_line(tmp_path):
    go(tmp_path, StopAfter(1))
    states = StateDirectory(tmp_path / "state" / hash_of(settings_of(), "x"))
    state = states.load()
    state["model"]["placeholder"] = torch.zeros(3)
    states.save(state["step"], state)
    with pytest.raises(InputError, match="does not fit"):
        go(tmp_path)


def test_keep_state_keeps_it(tmp_path):
    go(tmp_path, StopAfter(1), keep_state=True)
    go(tmp_path, keep_state=True)
    assert any((tmp_path / "state").iterdir())


def test_a_span_curriculum_resumes_bit_for_bit_and_repeats_weigh_less(tmp_path):
    mgm = {"span": [[0.5, 1], [0.5, 4]], "repeat_weight": 0.1}
    kwargs = {"objectives": {"mgm": mgm}, "steps": 8, "log_every": 1, "evaluation_loci": 16}
    go(tmp_path / "whole", **kwargs)
    for looks in (2, 3):
        assert go(tmp_path / "parts", StopAfter(looks), **kwargs) == EXIT_STOPPED
    go(tmp_path / "parts", **kwargs)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    trainer = toy_trainer(steps=8, objectives={"mgm": mgm})
    lengths = [(trainer.sample(step)[0].index.diff(dim=1) == 1).float().mean() for step in (3, 4)]
    assert lengths[0] < 0.2 < lengths[1]  # spans of 1, then of 4
    rows = trainer.sample(0)[0]
    trainer.train_step([rows])
    expected = (rows.weight * torch.where(rows.repeat, 0.1, 1.0)).sum()
    assert float(trainer.totals[0, 1]) == pytest.approx(float(expected), rel=1e-6)


def test_checkpoints_are_written_by_the_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(StateDirectory, "save", lambda self, step, state: saved.append(step))
    go(tmp_path, steps=4, checkpoint_seconds=0)
    assert saved == [1, 2, 3, 4]  # the last one before the model is judged


def toy_windows():
    """Return windows outside the regions: shards of which nothing is open."""
    chain = toy_shards(seed=5, chain=True)
    n = np.flatnonzero(chain.contig < 2)
    names = ("packed", "n_mask", "repeat_mask", "contig", "start", "gc", "repeat", "split")
    return dataclasses.replace(
        chain,
        **{name: getattr(chain, name)[n] for name in names},
        motif_rows=np.zeros((len(n), 11), np.float16), motif_count=np.zeros(len(n), np.int32),
        held_out_only=np.zeros(len(n), bool), breadth=np.zeros(len(n), np.int32),
        indptr=np.zeros(7, np.int64), open_regions=chain.open_regions[:0],
        strengths=chain.strengths[:0],
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"size": "tiny", "cell_state": True}},
        {"model": {"size": "tiny", "region_encoder": "transformer", "cell_state": True},
         "objectives": ["srm", "mrm"], "matrix": "permuted_tfs"},
        {"samples": "pairs"},
        {"cell_type_weights": "inverse_size"},
        {"samples": "background", "objectives": ["mgm"]},
    ],
    ids=["cell_state", "cell_state_mrm", "pairs", "inverse_size", "background"],
)  # fmt: skip
def test_variants_resume_bit_for_bit_and_are_judged_on_the_same_rows(tmp_path, changes):
    kwargs = {"steps": 4, "log_every": 1, "evaluation_loci": 16, **changes}
    if changes.get("samples") == "background":
        kwargs["windows"] = toy_windows()
    assert go(tmp_path / "whole", **kwargs) == 0
    assert go(tmp_path / "parts", StopAfter(1), **kwargs) == EXIT_STOPPED
    assert go(tmp_path / "parts", **kwargs) == 0
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    names = ("mgm",) if "windows" in kwargs else ("srm",)
    figures = [r for r in rows_of(tmp_path / "whole") if r["kind"] == "figure"]
    assert {row["objective"] for row in figures} >= set(names)
    if "model" in changes:
        return  # its probes see the state
    go(tmp_path / "plain", steps=4, evaluation_loci=16, objectives=changes.get("objectives", ["mgm", "ngsp", "srm"]))  # fmt: skip
    ours, plain = (
        [
            (row["set"], row["metric"], row["n"], row["reference"])
            + ((row["value"],) if row["metric"] in ("auroc_p0", "auroc_p1", "auroc_probe") else ())
            for row in rows_of(tmp_path / name)
            if row["kind"] == "figure"
        ]
        for name in ("whole", "plain")
    )
    assert len(ours) > 10
    assert ours == plain


def test_windows_that_are_not_there_are_one_line(tmp_path, caplog):
    with pytest.raises(InputError, match="windows outside the regions are missing"):
        go(tmp_path, samples="background", objectives=["mgm"])


# -- learning ------------------------------------------------------------------------------------


def test_masked_bases_of_a_chain_are_learned(tmp_path):
    chain = toy_shards(chain=True)
    go(
        tmp_path, shards=chain, steps=150, objectives={"mgm": {"span": 1}}, evaluation_loci=64,
        optimizer={"learning_rate": 4e-3},
    )  # fmt: skip
    figures = [row for row in rows_of(tmp_path) if row["kind"] == "evaluation"][-2:]
    assert {row["set"] for row in figures} == {"valid", "held_out"}
    assert all(row["mgm"] < math.log(4) - 0.1 for row in figures)
    assert "ngsp" not in figures[0]


def test_what_no_objective_reaches_stays_as_it_was(tmp_path):
    go(tmp_path, steps=3, objectives=["mgm", "ngsp"])
    trained = Pretrained.load(tmp_path)
    fresh = Pretrained.random(trained.config, 1)
    for name, value in fresh.model.state_dict().items():
        same = torch.equal(value, trained.model.state_dict()[name])
        assert same == name.startswith(("region", "placeholder", "srm")), name
    assert trained.record["objectives"] == ["mgm", "ngsp"]
    assert trained.record["motifs"] == SHARDS.motifs


def test_what_the_last_evaluation_asked_is_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(run_figures, "ask", lambda *_: pytest.fail("asked again"))
    assert go(tmp_path, steps=2) == 0


def test_the_metrics_name_probes_and_both_validation_sets(tmp_path):
    go(tmp_path, steps=2)
    rows = rows_of(tmp_path)
    probes = {(row["set"], row["probe"]) for row in rows if row["kind"] == "probe"}
    for name in ("ngsp", "srm_p0:n1", "srm_p0:n2", "srm_p1:n2", "srm_matrix:n2"):
        assert ("valid", name) in probes
        assert ("held_out", name) in probes
    last = next(row for row in rows if row["kind"] == "evaluation")
    for name in (
        "mgm_repeat",
        "mgm_unique",
        "mgm_masked",
        "ngsp_auroc",
        "srm_n1_auroc",
        "srm_n2_auroc",
    ):
        assert 0 <= last[name] < 3
    raw = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    timing = raw[0]["timing"]
    assert timing["tokens_per_second"] > 0
    assert 0 < timing["data_wait_fraction"] < 1


def test_figures_have_intervals_references_and_both_sets(tmp_path):
    go(tmp_path, steps=2, evaluation_loci=64)
    found = [row for row in rows_of(tmp_path) if row["kind"] == "figure"]
    keys = {(r["set"], r["objective"], r["stratum"], r["metric"]): r["value"] for r in found}

    def value(name, contrast, metric):
        return keys[name, "srm", contrast, metric]

    for name in ("valid", "held_out"):
        for span in (1, 5, 10):
            assert (name, "mgm", f"span-{span}:unique", "nats_minus_markov") in keys
        assert (name, "ngsp", "", "auroc_minus_probe") in keys
        for negatives in (("ngsp", ""), ("srm", "n1")):
            wider = ("negatives_matched", "negatives_gc_2", "negatives_gc_5")
            shares = [keys[name, *negatives, metric] for metric in wider]
            assert 0 < shares[0] <= shares[1] <= shares[2] <= 1
            assert shares[0] <= keys[name, *negatives, "negatives_breadth"] <= 1
        assert keys[name, "srm", "n1", "negatives_breadth"] == 1
        for contrast in ("n1", "n2"):
            for metric in ("auroc", "auroc_p0", "auroc_sequence", "auroc_p1", "auroc_minus_p0"):
                assert (name, "srm", contrast, metric) in keys
            assert value(name, contrast, "auroc_sequence") == pytest.approx(0.5)
            for probe in ("p0", "matrix", "foreign"):
                excess = value(name, contrast, f"auroc_minus_{probe}")
                beside = value(name, contrast, f"auroc_{probe}")
                assert value(name, contrast, "auroc") == pytest.approx(excess + beside)
    assert len(keys) == len(found)
    by = {(r["objective"], r["stratum"], r["metric"]): r for r in found if r["set"] == "valid"}
    excess, p0 = by["srm", "n2", "auroc_minus_matrix"], by["srm", "n2", "auroc_p0"]
    assert excess["low"] < excess["value"] < excess["high"]
    # the same rows as the plain figures of the evaluation and of the probes
    last = next(r for r in rows_of(tmp_path) if r["kind"] == "evaluation" and r["set"] == "valid")
    probe = {
        r["probe"]: r for r in rows_of(tmp_path) if r["kind"] == "probe" and r["set"] == "valid"
    }
    assert by["srm", "n2", "auroc"]["value"] == pytest.approx(last["srm_n2_auroc"])
    assert by["ngsp", "", "auroc"]["value"] == pytest.approx(last["ngsp_auroc"])
    assert p0["value"] == pytest.approx(probe["srm_p0:n2"]["auroc"])


def test_masked_regions_alone_train_the_region_encoder_alone(tmp_path):
    kwargs = {"objectives": {"mrm": {}}, "steps": 6, "evaluation_loci": 24}
    go(tmp_path / "whole", **kwargs)
    assert go(tmp_path / "parts", StopAfter(2), **kwargs) == EXIT_STOPPED
    go(tmp_path / "parts", **kwargs)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    trained = Pretrained.load(tmp_path / "whole")
    fresh = Pretrained.random(trained.config, 1)
    for name, value in fresh.model.state_dict().items():
        same = torch.equal(value, trained.model.state_dict()[name])
        still = name.startswith(("sequence", "mgm", "ngsp", "srm", "region.out"))
        assert same == still, name
    kinds = {row["kind"] for row in rows_of(tmp_path / "whole")}
    assert "probe" not in kinds
    last = next(row for row in rows_of(tmp_path / "whole") if row["kind"] == "evaluation")
    assert set(last) >= {"mrm", "mrm_r2"}
    assert "mgm" not in last


def test_motif_reading_is_reported_resumes_and_leaves_the_region_encoder_as_it_is(tmp_path):
    kwargs = {"objectives": {"mgm": {}, "motif": {}}, "steps": 6, "evaluation_loci": 24}
    go(tmp_path / "whole", **kwargs)
    assert go(tmp_path / "parts", StopAfter(2), **kwargs) == EXIT_STOPPED
    go(tmp_path / "parts", **kwargs)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    trained = Pretrained.load(tmp_path / "whole")
    fresh = Pretrained.random(trained.config, 1)
    for name, value in fresh.model.state_dict().items():
        same = torch.equal(value, trained.model.state_dict()[name])
        assert same == name.startswith(("region", "ngsp", "srm", "placeholder")), name
    rows = rows_of(tmp_path / "whole")
    last = next(row for row in rows if row["kind"] == "evaluation")
    assert set(last) >= {"motif", "motif_r2", "mgm"}
    figure = next(r for r in rows if r["kind"] == "figure" and r["objective"] == "motif")
    assert figure["metric"] == "mse"
    assert figure["value"] == pytest.approx(last["motif"])


# -- stopping and failing --------------------------------------------------------------------------


def test_a_run_that_diverges_says_where_and_does_not_try_again(tmp_path):
    kwargs = {"steps": 40, "optimizer": {"learning_rate": 1e25, "clip": 0.0}, "log_every": 4}
    with pytest.raises(
        InputError, match=r"full, seed 1, diverged at step \d+: .*(mgm|ngsp|srm)"
    ) as one:
        go(tmp_path, **kwargs)
    with pytest.raises(InputError) as two:
        go(tmp_path, **kwargs)
    assert str(one.value) == str(two.value)
    assert not (tmp_path / "model.safetensors").exists()
    assert list(tmp_path.glob("state/*/metrics.jsonl"))  # how it came to that


def test_mfu_is_the_share_of_the_peak_in_every_lap(tmp_path, monkeypatch):
    def clock(trainer):
        made = Clock(trainer)
        made.peak = 1e12  # FLOP/s; that of a CPU is not known
        return made

    monkeypatch.setattr(pretrain, "Clock", clock)
    go(tmp_path, steps=6, log_every=3)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    laps = [row["timing"] for row in lines if row["kind"] == "train"]
    flops = Clock(toy_trainer()).flops  # of a step
    assert len(laps) == 2
    for lap in laps:
        assert lap["mfu"] == pytest.approx(3 * flops / (lap["seconds"] * 1e12))
        assert lap["mfu"] == pytest.approx(lap["tflops"])


def test_the_work_of_reading_motifs_is_that_of_the_sequence_encoder():
    motif, mgm = (Clock(toy_trainer(objectives=[name])).flops for name in ("motif", "mgm"))
    assert 0.9 * mgm < motif < mgm  # without the head of MGM


def test_a_span_of_which_a_row_does_not_hold_two_is_not_asked_for(tmp_path):
    go(
        tmp_path,
        steps=1,
        tokens={"k": 6, "stride": 1},
        objectives=["mgm"],
        evaluation_spans=[5, 36],
    )
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {row["stratum"] for row in rows if row.get("metric") == "nats"} >= {"span-5"}
    assert not any("36" in str(row.get("stratum")) for row in rows)


def test_the_log_tells_the_formula_of_mfu(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        go(tmp_path, steps=1, objectives=["mgm"])
    (line,) = [text for text in caplog.messages if text.startswith("mfu = ")]
    assert "FLOPs of a step" in line
    raw = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    figures = {"tflops", "memory_gb", "seconds_to_finish", "data_wait_fraction", "sampler_fraction"}
    assert figures | {"tokens_per_second"} <= set(raw["timing"])
    assert 0 < raw["timing"]["sampler_fraction"] < 1
    assert raw["timing"]["memory_gb"] > 0.05


def test_signals_and_the_clock_ask_to_stop():
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        for number in before:
            flag = StopFlag(None)
            flag.listen()
            assert not flag
            os.kill(os.getpid(), number)
            assert flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert StopFlag(0.0)
    assert not StopFlag(1000.0)


def test_before_the_first_step_a_signal_ends_the_program_at_once(tmp_path, caplog, monkeypatch):
    index, config = written_shards(SHARDS, tmp_path), tmp_path / "run.json"
    settings = {**settings_of(steps=3), "index": str(index), "output": str(tmp_path / "out")}
    config.write_text(json.dumps(settings))
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it goes on")

    monkeypatch.setattr(pretrain, "build_population", interrupted)
    try:
        with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as end:
            main(["--config", str(config), "--device", "cpu"])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert end.value.code == EXIT_STOPPED
    assert "stopped before the first step" in caplog.messages
    assert not list((tmp_path / "out").glob("**/*.safetensors"))


def test_a_signal_while_the_model_is_judged_costs_no_step(tmp_path, caplog, monkeypatch):
    index, config = written_shards(SHARDS, tmp_path), tmp_path / "run.json"
    config.write_text(json.dumps({**settings_of(steps=3), "index": str(index)}))
    call = ["--config", str(config), "--device", "cpu", "--output"]
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        assert main([*call, str(tmp_path / "whole")]) == 0
        with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
            patch.setattr(pretrain, "final_rows", lambda *_: os.kill(os.getpid(), signal.SIGUSR1))
            with pytest.raises(SystemExit) as end:
                main([*call, str(tmp_path / "parts")])
        assert end.value.code == EXIT_STOPPED
        assert caplog.messages[-1] == "stopped at step 3 of 3; state is written"
        monkeypatch.setattr(Trainer, "train_step", lambda *_: pytest.fail("it trains again"))
        assert main([*call, str(tmp_path / "parts")]) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "parts")
    whole, parts = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert not (tmp_path / "parts" / "state").exists()


def test_asked_to_stop_in_the_last_step_it_judges_when_run_again(tmp_path):
    assert go(tmp_path, StopAfter(2), steps=3) == EXIT_STOPPED
    assert not (tmp_path / "config.json").exists()
    assert go(tmp_path, steps=3) == 0


def test_a_run_whose_launcher_is_gone_stops():
    assert not StopFlag(None, os.getppid())
    assert StopFlag(None, os.getpid())  # what started this process is another one


def test_the_program_trains_once_resumes_and_reports_bad_input(tmp_path, caplog):
    (tmp_path / "shards").mkdir()
    index, config = written_shards(SHARDS, tmp_path / "shards"), tmp_path / "run.json"
    settings = {**settings_of(steps=3), "index": str(index), "output": str(tmp_path / "out")}
    config.write_text(json.dumps(settings))
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    try:
        arguments = ["--config", str(config), "--device", "cpu"]
        assert main([*arguments, "--stop-after", "0"]) == EXIT_STOPPED
        assert main([*arguments, "--launcher", "1073741824"]) == EXIT_STOPPED  # nobody
        assert main(arguments) == 0
        changed = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
        assert main(arguments) == 0
        assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == changed
        config.write_text(json.dumps({**settings, "variant": toy_block(batch_size=9)}))
        with caplog.at_level(logging.ERROR):
            assert main(arguments) == 1
        assert "out: holds a finished run of another configuration" in caplog.messages[-1]
        assert "variant.batch_size: 16, now 9" in caplog.messages[-1]
        assert main([*arguments, "--output", str(tmp_path / "new")]) == 1
        assert caplog.messages[-1].startswith("batch_size: ")
        config.write_text(json.dumps(settings))
        index.write_text(index.read_text() + "\n")  # other shards
        assert main(arguments) == 1
        assert "found 'other shards'" in caplog.messages[-1]
        assert main(["--config", str(tmp_path / "none.json")]) == 1
        assert caplog.messages[-1].endswith("none.json: no such file")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("{}", "'variant' is missing")],
)
def test_a_bad_settings_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(str(path))


def test_one_process_is_the_default(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert open_place("cpu") == CPU
