"""Fine-tuning: learns, is reproducible, reads no test label, and changes only what it should."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from task_toys import (
    EFFORT,
    PRETRAIN,
    binary_frame,
    cell_frame,
    flipped,
    job,
    plant,
    random_sequences,
    splice_frame,
    toy_shards,
    write,
)

from genebert import classifier, finetune, finetuned, predict
from genebert.errors import InputError
from genebert.items import Job
from genebert.metrics import auroc
from genebert.model import GeneBert, ModelConfig
from genebert.pretrained import save
from genebert.tasks.dataset import read_dataset


def test_the_validation_items_that_runs_look_at_are_of_all_tfs():
    """Items are sorted by place and TF: every fourth of four TFs would be of one."""
    rows = np.arange(8000)
    seen = finetune.looked_at(rows)
    assert len(seen) == len(set(seen.tolist())) == finetune.MAX_VALID
    assert np.bincount(seen % 4).min() > 400
    assert np.array_equal(finetune.looked_at(rows), seen)
    assert np.array_equal(finetune.looked_at(rows[:50]), rows[:50])


def weights(
    folder: Path, shards: SimpleNamespace, *, objectives: tuple[str, ...] = ("mgm", "srm")
) -> list[str]:
    """Write encoders with the weights of two seeds; returns their paths."""
    paths = []
    for seed in (1, 2):
        config = ModelConfig.from_pretrain(PRETRAIN, len(shards.motifs))
        save(folder / f"seed-{seed}", GeneBert(config, seed), objectives=list(objectives))
        paths.append(str(folder / f"seed-{seed}" / "model.safetensors"))
    return paths


def network_job(model: str, paths: dict[str, str], shards: SimpleNamespace, **changes: Any) -> Job:
    settings: dict[str, Any] = {"effort": EFFORT, "pretrain": PRETRAIN, **changes}
    return job(model, paths, shards, **settings)


def area(made: Job, predictions: pd.DataFrame) -> float:
    frame = read_dataset(made.dataset, made.description)[0]
    both = predictions[predictions["split"] == "test"].merge(frame, on="item")
    return auroc(both["label"].to_numpy() == 1, both["score"].to_numpy())


@pytest.mark.parametrize("model", ["scratch", "cnn"])
def test_learns_a_planted_word(tmp_path: Path, model: str) -> None:
    shards = toy_shards()
    frame = binary_frame(600)
    effort = {**EFFORT, "finetune_steps": 120, "learning_rates": [5e-3]}
    twice = frame["label"].map({0: "", 1: 2 * "GATAAGCA"})
    frame["sequence"] = [
        s[:60] + w + s[76:120] + s[60 + len(w) : 76]
        for s, w in zip(frame["sequence"], twice, strict=True)
    ]
    made = network_job(model, write(tmp_path, frame), shards, effort=effort)
    predictions, info = finetune.predict_network(made)
    assert area(made, predictions) > 0.9
    assert info["collapsed"] == 0
    assert info["runs"][0]["step"] > 0
    assert info["n_parameters"] > 1000


def test_noise_is_not_learned(tmp_path: Path) -> None:
    made = network_job("cnn", write(tmp_path, binary_frame(400, planted=False)), toy_shards())
    assert abs(area(made, finetune.predict_network(made)[0]) - 0.5) < 0.2


def test_items_of_a_sequence_task_have_neighbourhoods_where_a_cell_type_is_named(
    tmp_path: Path,
) -> None:
    """Most items are no region (id -1); with the branch the predictions depend on the cell type."""
    shards = toy_shards(80)
    frame = binary_frame(80)
    files, scores = weights(tmp_path / "full", shards), {}
    for cell in ("", "HSC", "Mono"):
        paths = write(
            tmp_path / f"data{cell}", frame.assign(cell_type=cell), uses_regions=bool(cell)
        )
        made = network_job("genebert", paths, shards, weights=files)
        every, _ = finetune.predict_network(made)
        assert ("genebert-wrongcell" in set(every["model"])) == bool(cell)
        scores[cell] = every.loc[every["model"] == "genebert", "score"].to_numpy()
        assert np.isfinite(scores[cell]).all()
    assert not np.allclose(scores[""], scores["HSC"])
    assert not np.allclose(scores["HSC"], scores["Mono"])


def test_classes_of_a_sequence_task_can_have_neighbourhoods(tmp_path: Path) -> None:
    shards = toy_shards(80)
    frame = splice_frame(90).assign(cell_type="HSC")
    paths = write(tmp_path, frame, kind="multiclass", task="splicing", uses_regions=True)
    made = network_job("genebert", paths, shards, weights=weights(tmp_path / "full", shards))
    found, _ = finetune.predict_network(made)
    assert set(found["model"]) == {"genebert", "genebert-wrongcell"}
    assert np.isfinite(found[["score_0", "score_1", "score_2"]]).all(axis=None)


def cell_paths(folder: Path, shards: SimpleNamespace) -> dict[str, str]:
    return write(folder, cell_frame(shards), uses_regions=True, task="tfbs")


def test_same_seed_same_predictions_and_no_global_state(tmp_path: Path) -> None:
    shards = toy_shards(80)
    paths = cell_paths(tmp_path, shards)
    before = torch.random.get_rng_state()
    first = finetune.predict_network(network_job("scratch", paths, shards))[0]
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(7)
    again = finetune.predict_network(network_job("scratch", paths, shards))[0]
    pd.testing.assert_frame_equal(first, again)
    other = finetune.predict_network(network_job("scratch", paths, shards, seed=2))[0]
    assert not np.allclose(first["score"], other["score"])


@pytest.mark.parametrize("model", ["genebert", "cnn"])
def test_test_labels_are_never_read(tmp_path: Path, model: str) -> None:
    shards = toy_shards(80)
    paths = cell_paths(tmp_path / "a", shards)
    frame = read_dataset(paths["dataset"], paths["description"])[0]
    other = flipped(paths, np.flatnonzero(frame["split"] == "test"), tmp_path / "b")
    files = weights(tmp_path / "full", shards) if model == "genebert" else []
    before, after = (
        finetune.predict_network(network_job(model, p, shards, weights=files))[0]
        for p in (paths, other)
    )
    pd.testing.assert_frame_equal(before, after)


def test_a_hidden_anchor_is_the_placeholder_and_its_neighbours_stay(tmp_path: Path) -> None:
    shards = toy_shards(80)
    tuned = {}
    for anchor in ("shown", "hidden"):
        paths = write(
            tmp_path / anchor, cell_frame(shards), uses_regions=True, task="tfbs", anchor=anchor
        )
        tuned[anchor] = finetune.Finetuning(network_job("scratch", paths, shards))
    rows = torch.arange(len(tuned["shown"].items))
    places = {name: one.inputs.places for name, one in tuned.items()}
    assert places["shown"] is not None
    assert places["hidden"] is not None
    shown, covered, *_ = places["shown"].of(places["shown"].row[rows])
    hidden, placeholder, *_ = places["hidden"].of(places["hidden"].row[rows])
    middle = shown.shape[2] // 2
    others = torch.arange(shown.shape[2]) != middle
    assert torch.equal(shown[:, :, others], hidden[:, :, others])
    assert shown[:, :, middle].any()
    assert not covered.any()
    assert not hidden[:, :, middle].any()
    assert placeholder.all()
    network = tuned["hidden"].network(tuned["hidden"].starts[0], 1)
    for anchor, expected in (("shown", False), ("hidden", True)):
        encoders = tuned[anchor].starts[0].encoders
        about = finetuned.keep(tuned[anchor].job, network, encoders, regions=True).about
        assert about.anchor_hidden == expected  # so that a kept network is used as it was fitted


@pytest.fixture(scope="module")
def genebert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, pd.DataFrame, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("genebert")
    shards = toy_shards(120)
    made = network_job(
        "genebert", cell_paths(folder, shards), shards, weights=weights(folder / "full", shards)
    )
    return made, *finetune.predict_network(made)


def test_genebert_emits_derived_models_for_every_seed(
    genebert: tuple[Job, pd.DataFrame, dict[str, Any]],
) -> None:
    made, predictions, info = genebert
    assert sorted(predictions["model"].unique()) == [
        "cell-average-pred", "genebert", "genebert-wrongcell",
    ]  # fmt: skip
    counts = predictions.groupby(["model", "pretrain_seed", "finetune_seed", "fraction"]).size()
    assert len(counts) == 6
    assert (counts == len(made.items.predicted)).all()
    assert set(predictions["pretrain_seed"]) == {1, 2}
    assert predictions["score"].between(0, 1).all()
    assert info["region_branch"]


def test_seeds_start_from_their_own_weights(
    genebert: tuple[Job, pd.DataFrame, dict[str, Any]],
) -> None:
    wide = (
        genebert[1]
        .query("model == 'genebert'")
        .pivot(index="item", columns="pretrain_seed", values="score")
    )
    assert not np.allclose(wide[1], wide[2])


def test_wrong_cell_differs_only_through_the_matrix(
    genebert: tuple[Job, pd.DataFrame, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = (
        genebert[1].query("pretrain_seed == 1").pivot(index="item", columns="model", values="score")
    )
    assert (wide["genebert"] != wide["genebert-wrongcell"]).mean() > 0.9
    own = lambda shards: {name: name for name in shards.cell_types}  # noqa: E731
    monkeypatch.setattr(finetune, "least_alike", own)
    again = finetune.predict_network(genebert[0])[0].query("pretrain_seed == 1")
    wide = again.pivot(index="item", columns="model", values="score")
    np.testing.assert_array_equal(wide["genebert"], wide["genebert-wrongcell"])


def test_average_over_cell_types_is_zero_where_all_others_are_closed(
    genebert: tuple[Job, pd.DataFrame, dict[str, Any]],
) -> None:
    made, predictions, _ = genebert
    items, context = made.items, made.context
    rows = items.predicted
    opened = np.zeros(len(rows), dtype=int)
    for name in context.training_cells:
        strength = context.strength(context.cells([name] * len(rows)), items.region[rows])
        opened += (strength > 0) & (items.cell_type[rows] != name)
    score = predictions.query("model == 'cell-average-pred' and pretrain_seed == 1")["score"]
    np.testing.assert_array_equal(score.to_numpy() == 0, opened == 0)


def predict_rows(tuned: finetune.Finetuning, network: Any, rows: np.ndarray) -> np.ndarray:
    vectors = classifier.embed_items(network, tuned.inputs, rows)
    return classifier.infer(network, tuned.inputs, tuned.items, rows, vectors)


def test_shared_embeddings_equal_item_by_item(
    genebert: tuple[Job, pd.DataFrame, dict[str, Any]],
) -> None:
    tuned = finetune.Finetuning(genebert[0])
    network = tuned.network(tuned.starts[0], 1).eval()
    rows = tuned.items.predicted[:12]
    together = predict_rows(tuned, network, rows)
    alone = [predict_rows(tuned, network, rows[i : i + 1]) for i in range(12)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_both_strands_give_the_same_prediction(tmp_path: Path) -> None:
    frame = binary_frame(100)
    turned = frame.copy()
    turned["sequence"] = [
        s[::-1].translate(str.maketrans("ACGT", "TGCA")) for s in frame["sequence"]
    ]
    score = []
    for name, part in (("a", frame), ("b", turned)):
        tuned = finetune.Finetuning(
            network_job("scratch", write(tmp_path / name, part), toy_shards())
        )
        network = tuned.network(tuned.starts[0], 1).eval()
        score.append(predict_rows(tuned, network, tuned.items.predicted))
    np.testing.assert_allclose(score[0], score[1], atol=1e-6)


def test_strand_is_kept_where_it_has_a_meaning(tmp_path: Path) -> None:
    window = {"donor_offset": 30, "acceptor_offset": 30}
    paths = write(tmp_path, splice_frame(), kind="multiclass", window=window)
    made = network_job("cnn", paths, toy_shards())
    tuned = finetune.Finetuning(made)
    assert tuned.inputs.sequences.shape[0] == 1
    predictions, _ = finetune.predict_network(made)
    total = predictions[["score_0", "score_1", "score_2"]].sum(axis=1)
    np.testing.assert_allclose(total, 1, atol=1e-9)


@pytest.mark.parametrize(("k", "stride"), [(6, 1), (6, 3), (4, 2)])
def test_focus_tokens_are_those_that_cover_the_site(k: int, stride: int) -> None:
    config = ModelConfig(k=k, stride=stride)
    n = (60 - k) // stride + 1
    for first, last in ((29, 30), (0, 0), (17, 17)):
        found = list(range(1 + n))[classifier.focus_tokens((first, last), config)]
        slow = [1 + i for i in range(n) if i * stride <= last and i * stride + k > first]
        assert found == slow


def test_focus_tells_where_a_word_is(tmp_path: Path) -> None:
    frame = splice_frame(480)
    rng = np.random.default_rng(5)
    place = np.where(frame["label"] == 1, 27, rng.choice([3, 9, 42, 48], len(frame)))
    other = random_sequences(len(frame), 60, rng)  # the word is in every item
    frame["sequence"] = [plant(s, "CAGGTAAGT", at) for s, at in zip(other, place, strict=True)]
    area_of = {}
    effort = {**EFFORT, "finetune_steps": 30, "learning_rates": [5e-3]}
    for name, window in (("seen", {"donor_offset": 30, "acceptor_offset": 30}), ("blind", {})):
        paths = write(tmp_path / name, frame, kind="multiclass", window=window)
        made = network_job("scratch", paths, toy_shards(), effort=effort)
        predictions = finetune.predict_network(made)[0].query("split == 'test'")
        both = predictions.drop(columns="split").merge(frame, on="item")
        area_of[name] = auroc(both["label"].to_numpy() == 1, both["score_1"].to_numpy())
    assert area_of["seen"] > 0.95
    assert area_of["seen"] > area_of["blind"] + 0.1


def test_a_variant_without_srm_has_no_region_branch(tmp_path: Path) -> None:
    shards = toy_shards(80)
    files = weights(tmp_path / "sequence", shards, objectives=("mgm", "ngsp"))
    made = network_job("genebert-sequence", cell_paths(tmp_path, shards), shards, weights=files[:1])
    predictions, info = finetune.predict_network(made)
    assert not info["region_branch"]
    assert set(predictions["model"]) == {"genebert-sequence"}
    tuned = finetune.Finetuning(network_job("scratch", cell_paths(tmp_path, shards), shards))
    assert tuned.with_regions


def test_a_variant_without_accessibility_does_not_get_it(tmp_path: Path) -> None:
    shards = toy_shards(80)
    config = ModelConfig.from_pretrain(PRETRAIN, len(shards.motifs))
    matrices = {}
    for accessibility in (True, False):
        folder = tmp_path / f"{accessibility}" / "seed-1"
        save(folder, GeneBert(config, 1), pretrain={"accessibility": accessibility})
        made = network_job(
            "genebert",
            cell_paths(tmp_path, shards),
            shards,
            weights=[str(folder / "model.safetensors")],
        )
        places = finetune.Finetuning(made).inputs.places
        assert places is not None
        matrices[accessibility] = places.matrix
    assert torch.equal(matrices[True][:, :-1], matrices[False][:, :-1])
    assert set(matrices[False][:, -1].unique().tolist()) == {0.0, 1.0}
    assert len(matrices[True][:, -1].unique()) > 10


def test_a_variant_with_cell_state_gets_that_of_the_matrix_shown(tmp_path: Path) -> None:
    shards = toy_shards(80)
    config = ModelConfig.from_pretrain(PRETRAIN, len(shards.motifs), cell_state=True)
    save(tmp_path / "seed-1", GeneBert(config, 1))
    files = [str(tmp_path / "seed-1" / "model.safetensors")]
    made = network_job("genebert-cell_state", cell_paths(tmp_path, shards), shards, weights=files)
    tuned = finetune.Finetuning(made)
    places, corpus = tuned.inputs.places, tuned.corpus
    assert places is not None
    assert places.state is not None
    assert corpus is not None
    cells = made.context.cells(made.items.cell_type)
    assert torch.equal(places.state[places.row], corpus.cell_state[torch.from_numpy(cells)])
    assert len(set(cells.tolist())) == 4  # the held-out one is among them
    other = tuned.places(np.arange(4), np.array(["HSC", "NK", "HSC", "NK"], dtype=object)).state
    assert other is not None
    assert len(other.unique(dim=0)) == 2
    predictions, info = finetune.predict_network(made)
    assert info["region_branch"]
    assert np.isfinite(predictions["score"]).all()
    plain = finetune.Finetuning(network_job("scratch", cell_paths(tmp_path, shards), shards))
    assert plain.inputs.places is not None
    assert plain.inputs.places.state is None


def test_the_best_learning_rate_is_chosen_on_validation(tmp_path: Path) -> None:
    effort = {**EFFORT, "learning_rates": [1e-9, 5e-3], "finetune_seeds": 2, "finetune_steps": 60}
    made = network_job("cnn", write(tmp_path, binary_frame(400)), toy_shards(), effort=effort)
    predictions, info = finetune.predict_network(made)
    assert info["grid"] == [{"learning_rate": 1e-9}, {"learning_rate": 5e-3}]
    assert info["chosen"] == {"1": {"learning_rate": 5e-3}}
    assert sorted(predictions["finetune_seed"].unique()) == [1, 2]


def test_few_shot_has_two_tracks_on_the_same_draws(tmp_path: Path) -> None:
    effort = {**EFFORT, "label_fractions": [1.0, 0.5], "fraction_draws": 2}
    made = network_job("scratch", write(tmp_path, binary_frame(200)), toy_shards(), effort=effort)
    predictions, _ = finetune.predict_network(made)
    runs = predictions.groupby(["track", "fraction", "finetune_seed"]).size()
    assert list(runs.index) == [
        ("", 0.5, 1),
        ("", 0.5, 2),
        ("", 1.0, 1),
        ("probe", 0.5, 1),
        ("probe", 0.5, 2),
        ("probe", 1.0, 0),  # all labels: the end of its curve
    ]
    assert (runs == len(made.items.predicted)).all()


def test_learning_rate_warms_up_and_ends_at_zero() -> None:
    factors = [finetune.learning_rate(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1
    assert factors[-1] < 0.01
    assert all(a >= b for a, b in itertools.pairwise(factors[9:]))


def test_batches_pass_over_all_rows_before_one_comes_again() -> None:
    settings = finetune.Settings(rate=1e-3, steps=6, batch=8, seed=3)
    seen = torch.cat([batch for batch, _ in finetune.batches(np.arange(100, 124), settings)])
    assert sorted(seen[:24].tolist()) == list(range(100, 124))
    assert sorted(seen[24:].tolist()) == list(range(100, 124))
    few = next(finetune.batches(np.arange(5), settings))[0]
    assert sorted(few.tolist()) == list(range(5))


def test_loss_is_that_of_the_items_own_group() -> None:
    logits = torch.tensor([[100.0, 0.0], [0.0, -100.0]])
    target, group = torch.tensor([1.0, 0.0]), torch.tensor([0, 1])
    assert finetune.item_loss(logits, target, group, multiclass=False) < 1e-6
    assert finetune.item_loss(logits, target, 1 - group, multiclass=False) == pytest.approx(
        0.6931, abs=1e-3
    )


def test_models_without_weights_or_for_other_motifs_are_refused(tmp_path: Path) -> None:
    shards = toy_shards(80)
    paths = cell_paths(tmp_path, shards)
    with pytest.raises(InputError, match="needs pre-trained weights"):
        finetune.predict_network(network_job("genebert", paths, shards))
    files = weights(tmp_path / "full", toy_shards(80, n_motifs=3))
    with pytest.raises(InputError, match="other motifs"):
        finetune.predict_network(network_job("genebert", paths, shards, weights=files))


def test_runs_as_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write(tmp_path, binary_frame(100))
    settings = {
        **paths, "cohort": [], "motif_set": "", "shards": "", "weights": [], "model": "cnn",
        "predictions": str(tmp_path / "p.parquet"), "fit": str(tmp_path / "fit.json"),
        "effort": {**EFFORT, "finetune_steps": 3}, "pretrain": {}, "seed": 1, "threads": 1,
    }  # fmt: skip
    config = tmp_path / "run.json"
    config.write_text(json.dumps(settings))
    command = [sys.executable, str(Path(predict.__file__).with_name("finetune.py")), "--config"]
    done = subprocess.run([*command, str(config)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 40
    config.write_text("{")
    with pytest.raises(SystemExit) as stopped:
        finetune.main(["--config", str(config)])
    assert stopped.value.code == 1
    assert "cannot be read as JSON" in capsys.readouterr().err.splitlines()[-1]
