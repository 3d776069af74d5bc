"""Baselines: they learn what is planted, nothing from noise, and never read a test label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from task_toys import (
    CELLS,
    binary_frame,
    cell_frame,
    flipped,
    job,
    splice_frame,
    toy_shards,
    write,
)

from genebert import baselines
from genebert.errors import InputError
from genebert.items import Job
from genebert.metrics import auroc
from genebert.tasks.dataset import read_dataset

MODELS = {
    "gc": baselines.gc,
    "kmer-lr": baselines.kmer_lr,
    "motif-lr": baselines.motif_lr,
    "oracle": baselines.oracle,
    "accessibility": baselines.accessibility,
    "context-lr": baselines.context_lr,
}


def scored(made: Job, predictions: pd.DataFrame) -> pd.DataFrame:
    frame = read_dataset(made.dataset, made.description)[0]
    return predictions.merge(frame.drop(columns="split"), on="item", validate="many_to_one")


def area(made: Job, predictions: pd.DataFrame) -> float:
    frame = scored(made, predictions)
    frame = frame[frame["split"] == "test"]
    return auroc(frame["label"].to_numpy() == 1, frame["score"].to_numpy())


@pytest.mark.parametrize("model", ["kmer-lr", "motif-lr"])
def test_learns_a_planted_word_and_nothing_from_noise(tmp_path: Path, model: str) -> None:
    made = job(model, write(tmp_path / "word", binary_frame(400)))
    predictions, info = MODELS[model](made)
    assert area(made, predictions) > (0.97 if model == "motif-lr" else 0.7)
    assert info["chosen"]["1/0"]["C"] in baselines.STRENGTHS
    noise = job(model, write(tmp_path / "noise", binary_frame(400, planted=False)))
    assert abs(area(noise, MODELS[model](noise)[0]) - 0.5) < 0.2


def test_gc_is_blind_to_the_word_and_sees_composition(tmp_path: Path) -> None:
    frame = binary_frame(300, planted=False)
    rich = frame["label"] == 1
    frame.loc[rich, "sequence"] = frame.loc[rich, "sequence"].str.replace("A", "G")
    made = job("gc", write(tmp_path, frame))
    assert area(made, baselines.gc(made)[0]) > 0.97


@pytest.mark.parametrize("model", MODELS)
def test_test_labels_are_never_read(tmp_path: Path, model: str) -> None:
    shards = toy_shards()
    paths = write(tmp_path / "a", cell_frame(shards), uses_regions=True)
    frame = read_dataset(paths["dataset"], paths["description"])[0]
    other = flipped(paths, np.flatnonzero(frame["split"] == "test"), tmp_path / "b")
    before = MODELS[model](job(model, paths, shards))[0]
    after = MODELS[model](job(model, other, shards))[0]
    pd.testing.assert_frame_equal(before, after)


def test_training_labels_are_read(tmp_path: Path) -> None:
    paths = write(tmp_path / "a", binary_frame())
    frame = read_dataset(paths["dataset"], paths["description"])[0]
    other = flipped(paths, np.flatnonzero(frame["split"] == "train"), tmp_path / "b")
    before, after = (baselines.kmer_lr(job("kmer-lr", p))[0] for p in (paths, other))
    assert not np.allclose(before["score"], after["score"])


def test_each_group_has_its_own_regression(tmp_path: Path) -> None:
    frame = binary_frame(400, groups=("CTCF", "SPI1"))
    swap = frame["group"] == "SPI1"
    frame.loc[swap, "label"] = 1 - frame.loc[swap, "label"]
    made = job("motif-lr", write(tmp_path, frame.assign(group=frame["group"])))
    result = scored(made, baselines.motif_lr(made)[0])
    part = result[(result["group"] == "CTCF") & (result["split"] == "test")]
    assert auroc(part["label"].to_numpy() == 1, part["score"].to_numpy()) > 0.97


def test_context_lr_knows_the_cell_type_through_its_state(tmp_path: Path) -> None:
    shards = toy_shards(600)
    frame = cell_frame(shards)
    frame = frame[frame["cell_type"] != "NK"]
    made = job("context-lr", write(tmp_path, frame, uses_regions=True), shards)
    blind = baselines.context_features(made, 4, cell_state=False)
    seeing = baselines.context_features(made, 4)
    assert blind.shape == (len(made.items), 2 + 1 + 5 + 1)
    assert seeing.shape == (len(made.items), 2 + 1 + 3 * 5 + 1)
    without = area(made, baselines.predict_logistic(made, lambda subset: blind)[0])
    assert area(made, baselines.context_lr(made)[0]) > without + 0.1


def test_accessibility_is_the_strength_of_the_anchor(tmp_path: Path) -> None:
    shards = toy_shards()
    made = job("accessibility", write(tmp_path, cell_frame(shards), uses_regions=True), shards)
    result = scored(made, baselines.accessibility(made)[0])
    for row in result.sample(10, random_state=0).itertuples():
        c = CELLS.index(row.cell_type)
        span = slice(shards.indptr[c], shards.indptr[c + 1])
        at = list(shards.open_regions[span]).index(row.region)
        assert row.score == pytest.approx(shards.strengths[span][at])


def test_cell_average_is_the_column_of_the_dataset(tmp_path: Path) -> None:
    """Where no other cell type is labelled, it is the share of positives of the training split."""
    frame = cell_frame(toy_shards())
    rows = np.arange(len(frame))
    frame["cell_average"] = np.where(rows % 5, rows % 7 / 7, np.nan)
    made = job("cell-average", write(tmp_path, frame, uses_regions=True))
    predictions, info = baselines.cell_average(made)
    assert info["flags"] == ["oracle-labels"]
    result = scored(made, predictions)
    share = frame[frame["split"] == "train"].groupby("group")["label"].mean()
    expected = result["cell_average"].fillna(result["group"].map(share))
    assert result["score"].tolist() == pytest.approx(expected.tolist())
    assert info["unknown"] == result["cell_average"].isna().sum() > 0
    bare = write(tmp_path / "bare", frame.drop(columns="cell_average"), uses_regions=True)
    with pytest.raises(InputError, match="no column 'cell_average'"):
        baselines.cell_average(job("cell-average", bare))


def test_no_other_model_sees_the_labels_of_other_cell_types(tmp_path: Path) -> None:
    shards = toy_shards()
    frame = cell_frame(shards)
    for name, function in MODELS.items():
        found = []
        for column in ("label", "start"):
            paths = write(tmp_path / name / column, frame.assign(cell_average=frame[column]))
            found.append(function(job(name, paths, shards))[0])
        pd.testing.assert_frame_equal(*found)


def splice_job(folder: Path, model: str) -> Job:
    return job(
        model,
        write(
            folder,
            splice_frame(),
            kind="multiclass",
            window={"donor_offset": 30, "acceptor_offset": 30},
        ),
    )


def test_gt_ag_is_the_rule(tmp_path: Path) -> None:
    made = splice_job(tmp_path, "gt-ag")
    predictions, info = baselines.gt_ag(made)
    frame = scored(made, predictions)
    assert info["n_parameters"] == 0
    np.testing.assert_allclose(frame[["score_0", "score_1", "score_2"]].sum(axis=1), 1, rtol=1e-6)
    donor = frame["sequence"].str[30:32] == "GT"
    acceptor = frame["sequence"].str[29:31] == "AG"
    np.testing.assert_array_equal(frame["score_1"] > 0, donor)
    np.testing.assert_array_equal(frame["score_2"] > 0, acceptor)
    assert frame.loc[donor & ~acceptor, "score_0"].eq(0.5).all()
    assert frame.loc[~donor & ~acceptor, "score_0"].eq(1.0).all()
    assert (frame.loc[frame["label"] == 1, "score_1"] > 0).all()


def test_pwm_finds_the_sites(tmp_path: Path) -> None:
    made = splice_job(tmp_path, "pwm")
    frame = scored(made, baselines.pwm(made)[0])
    frame = frame[frame["split"] == "test"]
    for k in (1, 2):
        label = frame["label"].to_numpy() == k
        assert auroc(label, frame[f"score_{k}"].to_numpy()) > 0.99


def test_position_weights_are_exact() -> None:
    windows = np.array([[0, 1], [0, 2], [0, 4]], dtype=np.uint8)
    background = np.array([0.4, 0.1, 0.1, 0.4])
    weights = baselines.position_weights(windows, background, pseudocount=1.0)
    assert weights[0, 0] == pytest.approx(np.log((3 + 0.4) / 4 / 0.4))
    assert weights[1, 1] == pytest.approx(np.log((1 + 0.1) / 3 / 0.1))
    assert weights[1, 4] == 0


def test_splice_models_refuse_other_datasets(tmp_path: Path) -> None:
    made = job("pwm", write(tmp_path, binary_frame()))
    with pytest.raises(InputError, match=r"not a dataset of splice sites.*donor and acceptor"):
        baselines.pwm(made)
    unknown = job("oracle", write(tmp_path / "b", binary_frame().assign(oracle=np.nan)))
    with pytest.raises(InputError, match="no true probabilities"):
        baselines.oracle(unknown)


def test_softmax_regression_handles_classes(tmp_path: Path) -> None:
    made = splice_job(tmp_path, "kmer-lr")
    predictions = baselines.kmer_lr(made)[0]
    np.testing.assert_allclose(
        predictions[["score_0", "score_1", "score_2"]].sum(axis=1), 1, rtol=1e-6
    )
    assert "score" not in predictions


def test_few_shot_runs_are_rows_of_their_own(tmp_path: Path) -> None:
    effort = {"label_fractions": [1.0, 0.5], "fraction_draws": 2}
    made = job("gc", write(tmp_path, binary_frame()), effort=effort)
    predictions, info = baselines.gc(made)
    runs = predictions[["fraction", "finetune_seed"]].drop_duplicates().to_numpy().tolist()
    assert runs == [[1.0, 0], [0.5, 1], [0.5, 2]]
    assert set(info["chosen"]) == {"1/0", "0.5/1", "0.5/2"}
