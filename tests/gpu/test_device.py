"""Training on a CUDA device: the same samples as on the CPU, losses that agree, a run that resumes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from genebert.ahead import Ahead
from genebert.model import ModelConfig
from genebert.plan import Plan
from genebert.population import background_population, build_population
from genebert.pretrain import EXIT_STOPPED, StopFlag, run
from genebert.pretrained import Pretrained
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.shards import Shards
from genebert.trainer import Place, Trainer
from pretrain_toys import toy_block, toy_shards, written_shards

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
SHARDS = toy_shards()


@pytest.fixture(autouse=True)
def fresh_compiler():
    """Forget what other tests compiled: there is a limit to the versions of one function."""
    torch.compiler.reset()


MODEL = {"size": "tiny", "d_model": 64, "n_heads": 2, "region_depths": [2, 2]}


def trainer_on(device, **changes):
    block = toy_block(**{"model": MODEL, **changes})
    corpus = Corpus.from_shards(SHARDS, device)
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    where = torch.device("cuda", 0) if device == "cuda" else torch.device("cpu")
    return Trainer(Sampler(population), block, 100, Place(where))


@pytest.mark.parametrize("matrix", ["real", "shuffled", "shuffled_cells", "permuted_tfs"])
@pytest.mark.parametrize("loss", ["bce", "infonce"])
def test_samples_are_identical_on_both_devices(matrix, loss):
    changes = {"matrix": matrix, "objectives": {"mgm": {}, "ngsp": {}, "srm": {"loss": loss}}}
    cpu, gpu = (trainer_on(d, compile=False, **changes).sampler for d in ("cpu", "cuda"))
    assert torch.equal(cpu.population.loci, gpu.population.loci.cpu())
    assert torch.equal(cpu.population.pair_weight, gpu.population.pair_weight.cpu())
    for step in (0, 7, 60):
        a, b = cpu.batch(step).tensors(), gpu.batch(step).tensors()
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert torch.equal(value, b[name].cpu()), name


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": "pairs"},
        {"cell_type_weights": "inverse_size"},
        {"model": {**MODEL, "cell_state": True}, "matrix": "permuted_tfs"},
    ],
)
def test_variants_have_the_same_samples_on_both_devices(changes):
    cpu, gpu = (trainer_on(d, compile=False, **changes).sampler for d in ("cpu", "cuda"))
    assert torch.equal(cpu.population.visits, gpu.population.visits.cpu())
    for step in (0, 7, 60):
        a, b = cpu.batch(step).tensors(), gpu.batch(step).tensors()
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert torch.equal(value, b[name].cpu()), name


@pytest.mark.parametrize("model", [{}, {"cell_state": True}])
def test_a_compiled_step_takes_the_cell_state(model):
    trainer = trainer_on("cuda", model={**MODEL, **model})
    trainer.train_step(trainer.sample(0))
    assert trainer.compiled
    assert bool(torch.isfinite(trainer.totals).all())


def test_windows_outside_the_regions_train_on_the_device():
    windows = dataclasses.replace(
        SHARDS, indptr=np.zeros(7, np.int64), open_regions=SHARDS.open_regions[:0],
        strengths=SHARDS.strengths[:0], split=np.zeros_like(SHARDS.split),
    )  # fmt: skip
    block = toy_block(samples="background", objectives=["mgm"])
    plan, batches = Plan.from_pretrain(block, 1), []
    for device in ("cpu", "cuda"):
        corpus = Corpus.from_shards(windows, device, resident=False)
        batches.append(Sampler(background_population(corpus, plan)).batch(3).tensors())
    for name, value in batches[0].items():
        assert torch.equal(value, batches[1][name].cpu()), name


def test_motif_rows_in_host_memory_give_the_same_batch():
    plan = Plan.from_pretrain(toy_block(), 1)
    batches = []
    for resident in (True, False):
        corpus = Corpus.from_shards(SHARDS, "cuda", resident=resident)
        assert corpus.motif_rows.is_cuda == resident
        batches.append(Sampler(build_population(corpus, plan, TRAIN, "training")).batch(3))
    for name, value in batches[0].tensors().items():
        assert torch.equal(value, batches[1].tensors()[name]), name


@pytest.mark.parametrize("resident", [True, False])
def test_mapped_motif_rows_give_the_same_batch(tmp_path, resident):
    index = written_shards(SHARDS, tmp_path)
    plan = Plan.from_pretrain(toy_block(), 1)
    batches = []
    for memory_gb in (None, 0.0):
        shards = Shards.open(index, memory_gb=memory_gb)
        corpus = Corpus.from_shards(shards, "cuda", resident=resident)
        batches.append(Sampler(build_population(corpus, plan, TRAIN, "training")).batch(3))
    for name, value in batches[0].tensors().items():
        assert torch.equal(value, batches[1].tensors()[name]), name


def test_a_batch_made_ahead_is_the_batch():
    trainer = trainer_on("cuda")
    with Ahead(trainer.sample, 4, trainer.place.device) as batches:
        for step in range(4):
            (ahead,), (now,) = batches(step), trainer.sample(step)
            trainer.train_step([ahead])
            for name, value in now.tensors().items():
                assert torch.equal(value, ahead.tensors()[name]), name


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
def test_compiled_bf16_losses_agree_with_float32_on_the_cpu(encoder):
    model = {**MODEL, "region_encoder": encoder}
    losses = {}
    for device in ("cpu", "cuda"):
        trainer = trainer_on(device, model=model)
        trainer.train_step(trainer.sample(0))
        trainer.train_step(trainer.sample(1))
        losses[device] = (trainer.totals[:, 0] / trainer.totals[:, 1]).tolist()
        if device == "cuda":
            assert trainer.bf16
            assert trainer.compiled  # no fall-back to eager
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=0.01)


def test_float32_on_the_device_agrees_closely():
    losses = {}
    for device in ("cpu", "cuda"):
        torch.set_float32_matmul_precision("highest")
        trainer = trainer_on(device, precision="float32", compile=False)
        for step in range(3):
            trainer.train_step(trainer.sample(step))
        losses[device] = (trainer.totals[:, 0] / trainer.totals[:, 1]).tolist()
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=1e-4)


def test_a_run_stops_resumes_and_learns(tmp_path):
    class Once(StopFlag):
        looks = 100

        def __bool__(self):
            self.looks -= 1
            return self.looks < 0

    shards = toy_shards(chain=True)
    block = toy_block(
        model=MODEL, objectives={"mgm": {"span": 1}, "ngsp": {}, "srm": {}},
        optimizer={"learning_rate": 4e-3}, evaluations=1,
    )  # fmt: skip
    settings = {"variant": block, "seed": 1, "steps": 300}

    def go(stop):
        return run(settings, shards, Path(tmp_path), index_sha256="x", stop=stop, device="cuda")

    assert go(Once(None)) == EXIT_STOPPED
    assert go(StopFlag(None)) == 0
    text = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in text]
    trained = [row for row in rows if row["kind"] == "train"]
    assert trained[-1]["step"] == 300
    assert trained[-1]["loss"]["mgm"] < math.log(4) - 0.1
    assert trained[0]["timing"]["memory_gb"] > 0


def test_embeddings_agree_on_both_devices():
    config = ModelConfig(k=3, d_model=64, n_heads=2, n_features=12, n_columns=7)
    codes = np.random.default_rng(0).integers(0, 5, (9, 80)).astype(np.uint8)
    matrix = np.random.default_rng(1).random((9, 12, 7)).astype(np.float32)
    torch.set_float32_matmul_precision("highest")
    cpu, gpu = (Pretrained.random(config, 1, device=device) for device in ("cpu", "cuda"))
    assert np.allclose(cpu.embed_sequences(codes), gpu.embed_sequences(codes), atol=1e-4)
    assert np.allclose(cpu.embed_regions(matrix, True), gpu.embed_regions(matrix, True), atol=1e-4)
