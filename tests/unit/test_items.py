"""Items of a dataset: blanked test labels, nested label subsets, selection score, rows written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from task_toys import binary_frame, splice_frame, write

from genebert import items as module
from genebert.errors import InputError
from genebert.items import label_subsets, prediction_rows, read_items, selection_score


def test_labels_of_the_test_split_are_blank(tmp_path: Path) -> None:
    paths = write(tmp_path, binary_frame())
    items = read_items(**paths)
    assert np.isnan(items.label[items.rows("test")]).all()
    assert np.isfinite(items.label[items.split != "test"]).all()


def test_focus_is_where_the_label_is_about(tmp_path: Path) -> None:
    window = {"length": 60, "donor_offset": 30, "acceptor_offset": 29}
    items = read_items(**write(tmp_path / "a", splice_frame(), kind="multiclass", window=window))
    assert items.focus == (29, 30)
    assert read_items(**write(tmp_path / "b", binary_frame())).focus is None
    paths = write(tmp_path / "c", binary_frame(), window={"tss_offset": 10})
    assert read_items(**paths).focus is None  # both strands are read: no fixed place


def test_equal_sequences_are_stored_once(tmp_path: Path) -> None:
    frame = binary_frame(100)
    frame.loc[7, "sequence"] = frame.loc[3, "sequence"]
    items = read_items(**write(tmp_path, frame))
    assert len(items.codes) == 99
    assert [items.sequences[i] for i in items.sequence] == list(frame["sequence"])


def test_refuses_a_dataset_without_train_or_valid_or_of_another_kind(tmp_path: Path) -> None:
    frame = binary_frame()
    with pytest.raises(InputError, match="no item in split 'valid'"):
        read_items(**write(tmp_path / "a", frame[frame["split"] != "valid"]))
    with pytest.raises(InputError, match="no label per sequence"):
        read_items(**write(tmp_path / "b", frame, kind="variants"))


def test_label_subsets_are_nested_stratified_and_all_at_1(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path, binary_frame(600, groups=("CTCF", "SPI1"))))
    found = list(label_subsets(items, [0.25, 1.0, 0.5], 3, seed=1))
    assert [(s.fraction, s.draw) for s in found] == [
        (1.0, 0), (0.5, 1), (0.5, 2), (0.5, 3), (0.25, 1), (0.25, 2), (0.25, 3),
    ]  # fmt: skip
    by_key = {(s.fraction, s.draw): set(s.rows.tolist()) for s in found}
    for draw in (1, 2, 3):
        assert by_key[0.25, draw] < by_key[0.5, draw] < by_key[1.0, 0]
    assert by_key[0.5, 1] != by_key[0.5, 2]
    rows = found[-1].rows
    assert (items.split[rows] == "train").all()
    for group in (0, 1):
        every = items.rows("train")[items.group[items.rows("train")] == group]
        share = items.label[rows[items.group[rows] == group]].mean()
        assert share == pytest.approx(items.label[every].mean(), abs=0.02)


def test_a_fraction_above_1_is_a_number_of_labels(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path, binary_frame(300)))
    found = list(label_subsets(items, [50, 1.0, 0.5, 1000], 1, seed=1))
    assert [s.fraction for s in found] == [50, 1.0, 0.5]
    assert len(found[0].rows) == pytest.approx(50, abs=1)
    assert set(found[0].rows) < set(found[2].rows)


def test_subsets_with_few_positives_are_left_out(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path, binary_frame(600)))
    found = list(label_subsets(items, [1.0, 0.05], 3, seed=1))
    assert [(s.fraction, s.draw) for s in found] == [(1.0, 0)]


def test_selection_score_is_the_mean_average_precision_of_groups(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path, binary_frame(200, groups=("CTCF", "SPI1"))))
    rows = items.rows("valid")
    label, group = items.label[rows], items.group[rows]
    right = np.where(group == 0, label, 0.5)
    prevalence = label[group == 1].mean()
    assert selection_score(items, rows, right[:, None]) == pytest.approx((1 + prevalence) / 2)
    # shifting one group's scores changes no rank inside a group
    shifted = np.where(group == 0, label + 5, 0.5)
    assert selection_score(items, rows, shifted[:, None]) == pytest.approx((1 + prevalence) / 2)
    assert selection_score(items, rows, np.full((len(rows), 1), np.nan)) == 0


def test_collapsed_runs_are_told_from_others(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path, binary_frame()))
    rows = items.predicted
    label = np.nan_to_num(items.label[rows])[:, None]
    assert not module.is_collapsed(items, rows, label)
    assert module.is_collapsed(items, rows, np.full((len(rows), 1), 0.7))
    assert module.is_collapsed(items, rows, 1 - label)
    assert module.is_collapsed(items, rows, label * np.nan)


def test_prediction_rows_have_the_schema(tmp_path: Path) -> None:
    items = read_items(**write(tmp_path / "a", binary_frame()))
    score = np.linspace(0, 1, len(items.predicted))[:, None]
    frame = prediction_rows(items, score, model="gc", track="probe", pretrain_seed=2, fraction=0.1)
    assert list(frame.columns) == [
        "model", "track", "item", "split", "pretrain_seed", "finetune_seed", "fraction", "score",
    ]  # fmt: skip
    assert set(frame["split"]) == {"valid", "test"}
    assert (frame["pretrain_seed"] == 2).all()
    three = read_items(
        **write(tmp_path / "b", splice_frame(), kind="multiclass", window={"donor_offset": 30})
    )
    frame = prediction_rows(three, np.full((len(three.predicted), 3), 1 / 3), model="gc")
    assert list(frame.columns)[-3:] == ["score_0", "score_1", "score_2"]
