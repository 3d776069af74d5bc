"""One optimisation step: micro-batches, what can be learned by heart, the optimizer, bad numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from genebert.errors import InputError
from genebert.sampler import NONE
from genebert.samples import TRAIN
from genebert.trainer import OptimizerConfig, Place, parameter_groups
from pretrain_toys import toy_trainer


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def losses_of(trainer):
    totals = trainer.totals.tolist()
    trainer.totals.zero_()
    return [a / b for a, b in totals]


def test_micro_batches_add_up_to_the_batch():
    whole, parts = toy_trainer(), toy_trainer(micro_batch=4)
    assert len(parts.sample(0)) == 4
    for step in range(3):
        whole.train_step(whole.sample(step))
        parts.train_step(parts.sample(step))
        assert losses_of(parts) == pytest.approx(losses_of(whole), abs=1e-4)
        assert float(parts.grad_norm) == pytest.approx(float(whole.grad_norm), rel=1e-3)


@pytest.mark.parametrize(
    ("world", "changes"),
    [
        (3, {}),
        (1, {"micro_batch": 5}),
        (1, {"micro_batch": -4}),
        (2, {"micro_batch": 16}),
        (4, {"objectives": {"srm": {"loss": "infonce", "group": 8}}}),
    ],
)
def test_a_batch_that_does_not_divide_is_one_line(world, changes):
    with pytest.raises(InputError, match="batch does not divide"):
        toy_trainer(place=Place(torch.device("cpu"), 0, world), **changes)


def uncompilable(error):
    """Stand in for `torch.compile`: its first pass raises."""

    class Uncompilable(torch.nn.Module):
        def forward(self, rows):
            raise error

    return lambda module, **_: Uncompilable()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_that_cannot_be_compiled_goes_on_without(monkeypatch, caplog, resumed):
    plain = toy_trainer()
    monkeypatch.setattr(torch, "compile", uncompilable(RuntimeError("no compiler")))
    trainer = toy_trainer(compile=True)
    if resumed:
        plain.train_step(plain.sample(0))
        trainer.restore(plain.state(), "state")
    for one in (plain, trainer):
        one.train_step(one.sample(one.step))
    assert losses_of(trainer) == losses_of(plain)
    assert not trainer.compiled
    assert "torch.compile failed (RuntimeError: no compiler); going on without" in caplog.text


def test_a_backward_pass_that_cannot_be_compiled_is_no_end_either(monkeypatch, caplog):
    """The backward pass is compiled when it is first run."""

    class Forwards(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, rows):
            sums = self.module(rows)
            sums.register_hook(lambda gradient: (_ for _ in ()).throw(RuntimeError("no way back")))
            return sums

    plain = toy_trainer()
    monkeypatch.setattr(torch, "compile", lambda module, **_: Forwards(module))
    trainer = toy_trainer(compile=True)
    for one in (plain, trainer):
        one.train_step(one.sample(0))
    assert "torch.compile failed (RuntimeError: no way back); going on without" in caplog.text
    assert not trainer.compiled
    assert losses_of(trainer) == losses_of(plain)
    for own, other in zip(trainer.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("loss", ["bce", "infonce"])
def test_a_row_without_a_fair_negative_counts_nothing_in_matching(loss):
    trainer = toy_trainer(objectives={"srm": {"loss": loss, "group": 4}})
    (rows,) = trainer.sample(0)
    some = rows.contrast.clone()
    some[:4] = NONE
    used = int((some != NONE).sum())
    assert 0 < used < len(some)
    expected = trainer.forward(rows)[2].detach()
    vectors = vectors_of(trainer, rows)
    per_row = trainer.losses.match_loss(*vectors, rows.tensors()).flatten().detach()
    assert float(per_row.sum()) == pytest.approx(float(expected), rel=1e-5)
    trainer._count(trainer.backward(replace(rows, contrast=some)), replace(rows, contrast=some))
    total, count = trainer.totals[2].tolist()
    assert count == used
    assert total == pytest.approx(float(per_row[some != NONE].sum()), rel=1e-5)
    trainer.optimizer.zero_grad()
    trainer.backward(replace(rows, contrast=torch.full_like(some, NONE)))
    region = [p for name, p in trainer.model.named_parameters() if name.startswith("region.")]
    assert all(p.grad is None or not bool(p.grad.any()) for p in region)


def vectors_of(trainer, rows):
    """The vectors of the sequences and of the matrices of rows."""
    e_SD = trainer.model.embed_sequence(rows.ids[: rows.anchor.numel()])
    return e_SD, trainer.model.embed_region(rows.matrix, True, rows.state)


def test_similarities_of_infonce_are_never_rounded_to_bf16():
    trainer = toy_trainer(objectives={"srm": {"loss": "infonce", "group": 4}}, precision="bf16")
    (rows,) = trainer.sample(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        e_GND = torch.randn(2, 4, trainer.model.config.d_model)
        similarity = trainer.model.srm.similarity(e_GND, e_GND)
    assert similarity.dtype == torch.float32
    assert trainer.forward(rows).dtype == torch.float32


def test_pre_training_has_no_dropout():
    with pytest.raises(InputError, match="pre-training has no dropout"):
        toy_trainer(model={"size": "tiny", "dropout": 0.1})


@pytest.mark.parametrize("first", [True, False])
def test_what_is_no_failure_to_compile_is_raised(monkeypatch, first):
    error = torch.OutOfMemoryError("out of memory") if first else RuntimeError("later")
    trainer = toy_trainer(compile=True) if first else toy_trainer()
    monkeypatch.setattr(torch, "compile", uncompilable(error))
    if not first:
        trainer.compiled = True
        trainer.train_step(trainer.sample(0))
    trainer._forward = torch.compile(trainer.losses)
    with pytest.raises(type(error)):
        trainer.train_step(trainer.sample(trainer.step))


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
@pytest.mark.parametrize(
    "objectives",
    [
        {"mgm": {}}, {"ngsp": {}}, {"motif": {}}, {"srm": {}}, {"srm": {}, "mrm": {}},
        {"srm": {"loss": "infonce", "group": 4}}, {"srm": {"loss": "infonce"}, "mrm": {}},
    ],
)  # fmt: skip
def test_every_trained_weight_gets_a_gradient_and_no_other(encoder, objectives):
    trainer = toy_trainer(model={"size": "tiny", "region_encoder": encoder}, objectives=objectives)
    (rows,) = trainer.sample(0)
    trainer.forward(rows).sum().backward()
    for name, parameter in trainer.model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize(("encoder", "loss"), [("swin", "bce"), ("transformer", "infonce")])
def test_one_batch_can_be_learned_by_heart(encoder, loss):
    trainer = toy_trainer(
        steps=150,
        model={"size": "tiny", "region_encoder": encoder},
        optimizer={"learning_rate": 4e-3},
        objectives={"mgm": {}, "ngsp": {}, "srm": {"loss": loss, "group": 4}},
    )
    batch = trainer.sample(0)
    trainer.train_step(batch)
    first = losses_of(trainer)
    assert first[:2] == pytest.approx([math.log(4), math.log(2)], abs=0.1)
    while trainer.step < 149:
        trainer.train_step(batch)
    losses_of(trainer)
    trainer.train_step(batch)
    mgm, ngsp, srm, *_ = losses_of(trainer)
    assert mgm < 0.4
    assert ngsp < 0.1
    assert srm < 0.3 * first[2]


@pytest.mark.parametrize("encoder", ["swin", "transformer"])
def test_hidden_columns_can_be_learned_by_heart(encoder):
    trainer = toy_trainer(
        steps=200,
        model={"size": "tiny", "region_encoder": encoder, "d_region": 64},
        optimizer={"learning_rate": 4e-3},
        objectives={"srm": {"weight": 0.1}, "mrm": {"weight": 20.0, "hidden_fraction": 0.34}},
        batch_size=8,
    )
    batch = trainer.sample(0)
    trainer.train_step(batch)
    first = losses_of(trainer)[3]
    while trainer.step < 199:
        trainer.train_step(batch)
    losses_of(trainer)
    trainer.train_step(batch)
    assert losses_of(trainer)[3] < 0.25 * first


def test_motif_rows_can_be_learned_by_heart_and_are_standardised():
    trainer = toy_trainer(
        steps=150, optimizer={"learning_rate": 4e-3}, objectives={"motif": {}}, batch_size=8
    )
    corpus, population = trainer.sampler.corpus, trainer.sampler.population
    usable = (corpus.split == TRAIN) & ~corpus.held_out_only
    rows = corpus.columns(torch.nonzero(usable).squeeze(1))
    mean, spread = population.motif_scale
    assert torch.allclose(mean, rows.mean(dim=0), atol=1e-5)
    assert torch.allclose(spread, rows.std(dim=0, correction=0), atol=1e-5)
    batch = trainer.sample(0)
    expected = (corpus.columns(batch[0].anchor) - mean) / spread
    assert torch.equal(batch[0].motif, expected)
    trainer.train_step(batch)
    first = losses_of(trainer)[4]
    while trainer.step < 149:
        trainer.train_step(batch)
    losses_of(trainer)
    trainer.train_step(batch)
    assert losses_of(trainer)[4] < 0.25 * first


def test_the_first_step_that_is_not_finite_is_named(tmp_path):
    trainer = toy_trainer()
    for step in range(4):
        if step == 2:
            with torch.no_grad():
                trainer.model.ngsp.out.weight.fill_(math.nan)
        trainer.train_step(trainer.sample(step))
    assert trainer.first_bad.tolist()[1] == 2
    assert trainer.first_bad.tolist()[0] in (-1, 3)


def test_a_gradient_that_is_not_finite_is_named():
    trainer = toy_trainer()
    # the loss is finite, its derivative is not
    trainer.model.ngsp.dense.weight.register_hook(lambda gradient: gradient * math.inf)
    trainer.train_step(trainer.sample(0))
    assert trainer.first_bad.tolist() == [-1, -1, -1, -1, -1, 0]


# -- the optimizer ---------------------------------------------------------------------------------


def test_norms_biases_and_embeddings_do_not_decay_and_the_region_encoder_goes_slower():
    model = toy_trainer().model
    config = OptimizerConfig(weight_decay=0.1, region_rate=0.25)
    names = {id(p): name for name, p in model.named_parameters()}
    listed = []
    for group in parameter_groups(model, config):
        for parameter in group["params"]:
            name = names[id(parameter)]
            listed.append(name)
            linear = parameter.ndim == 2 and name.endswith("weight") and "embedding" not in name
            assert group["weight_decay"] == (0.1 if linear else 0.0)
            assert not (linear and "norm" in name)
            assert group["share"] == (0.25 if name.startswith("region.") else 1.0)
    assert sorted(listed) == sorted(names.values())


def test_the_region_encoder_takes_its_share_of_the_learning_rate():
    """Adam's first step is as long as the learning rate, whatever the gradient is."""
    trainer = toy_trainer(
        optimizer={
            "learning_rate": 1e-2, "region_rate": 0.1, "warmup_fraction": 0.0, "weight_decay": 0.0,
        }
    )  # fmt: skip
    weights = {1e-3: trainer.model.region.out.weight, 1e-2: trainer.model.srm.region.weight}
    before = {rate: weight.detach().clone() for rate, weight in weights.items()}
    trainer.train_step(trainer.sample(0))
    for rate, weight in weights.items():
        longest = float((weight.detach() - before[rate]).abs().max())
        assert longest == pytest.approx(rate, rel=0.05)


def test_schedules_warm_up_hold_and_decay():
    wsd = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.1, decay_fraction=0.2)
    rates = [wsd.rate(step, 100) for step in range(100)]
    assert rates[:2] == pytest.approx([0.1, 0.2])
    assert set(rates[10:80]) == {1.0}
    assert rates[80:] == pytest.approx([1 - i / 20 for i in range(20)])
    cosine = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.1, schedule="cosine")
    rates = [cosine.rate(step, 100) for step in range(100)]
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert rates[99] < 0.01


@pytest.mark.parametrize("block", [{"schedule": "step"}, {"lr": 1.0}])
def test_a_bad_optimizer_block_is_one_line(block):
    with pytest.raises(InputError, match="optimizer"):
        OptimizerConfig.from_dict(block)
