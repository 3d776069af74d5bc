"""Predictions that are not those of the dataset must be refused, naming the file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import make_frame, predict, write_home

from genebert.errors import InputError
from genebert.scores import model_rank, read_items, read_tracks


@pytest.fixture
def frame():
    return make_frame(60)


def load(home):
    arguments = home.arguments(home.path)
    items = read_items(*(arguments[key] for key in ("dataset", "description", "cohort")))
    return items, read_tracks(items, home.predictions, home.fits)


def test_scores_lie_in_the_order_of_the_items(tmp_path, frame):
    home = write_home(tmp_path, frame.sample(frac=1, random_state=1))
    rows = predict(frame, "cnn", 1.0, pretrain_seeds=(0,), finetune_seeds=(2, 1))
    home.add("cnn", rows.sample(frac=1, random_state=2))
    items, (track,) = load(home)
    assert items.item.tolist() == sorted(frame["item"])
    assert (items.split[track.rows] == "test").all()
    assert [fit.finetune_seed for fit in track.fits] == [1, 2]
    wanted = rows.set_index(["finetune_seed", "item"])["score"]
    for fit in track.fits:
        ours = fit.scores[:, 0]
        assert ours.tolist() == wanted[fit.finetune_seed][items.item[track.rows]].tolist()
        assert fit.valid_scores[:, 0].tolist() == (
            wanted[fit.finetune_seed][items.item[fit.valid_rows]].tolist()
        )


def broken(rows, what):
    test = rows.index[rows["split"] == "test"][3]
    if what == "missing":
        return rows.drop(index=test)
    if what == "twice":
        return pd.concat([rows, rows.loc[[test]]])
    rows = rows.copy()
    if what == "unknown":
        rows.loc[test, "item"] = "elsewhere"
    elif what == "not a number":
        rows.loc[test, "score"] = np.nan
    elif what == "other split":
        rows.loc[rows["split"] == "valid", "split"] = "test"
    elif what == "odd split":
        rows.loc[test, "split"] = "train"
    elif what == "no column":
        rows = rows.drop(columns="track")
    elif what == "empty":
        rows = rows.iloc[:0]
    return rows


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "missing, the first is 'item00004'"),
        ("twice", "predicted twice"),
        ("unknown", "not in the dataset; found 'elsewhere'"),
        ("not a number", "not a finite number"),
        ("other split", "another split than its own"),
        ("odd split", "unknown split; found 'train'"),
        ("no column", "column 'track' is missing"),
        ("empty", "has no predictions"),
    ],
)
def test_bad_predictions_name_the_file(tmp_path, frame, what, message):
    home = write_home(tmp_path, frame)
    home.add("gc", predict(frame, "gc", 0.5))
    path = home.add("cnn", broken(predict(frame, "cnn", 1.0), what))
    with pytest.raises(InputError, match=message) as error:
        load(home)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_in_two_files_is_refused(tmp_path, frame):
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    home.add("other", predict(frame, "cnn", 1.0))
    with pytest.raises(InputError, match="model is in two files of predictions; found 'cnn'"):
        load(home)


def test_damaged_files_are_named(tmp_path, frame):
    home = write_home(tmp_path, frame)
    path = home.add("cnn", predict(frame, "cnn", 1.0))
    info = path.parent / "fit.json"
    good = info.read_text()
    info.write_text("{")
    with pytest.raises(InputError, match=r"fit\.json: cannot be read as a description"):
        load(home)
    info.write_text(good)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"predictions\.parquet: cannot be read as parquet"):
        load(home)


def test_every_track_is_read_apart_and_one_file_may_hold_several_models(tmp_path, frame):
    home = write_home(tmp_path, frame)
    parts = [
        predict(frame, model, 1.0, track=track)
        for model in ("genebert", "genebert-wrongcell")
        for track in ("supervised", "zeroshot:llr")
    ]
    runs = [{"track": "supervised", "fraction": 1.0, "collapsed": seed < 3} for seed in (1, 2, 3)]
    home.add("genebert", pd.concat(parts), pretraining="full", n_train=7, runs=runs)
    _, tracks = load(home)
    assert [track.name for track in tracks] == ["supervised", "zeroshot:llr"]
    assert {fit.model for fit in tracks[0].fits} == {"genebert", "genebert-wrongcell"}
    info = tracks[1].models["genebert-wrongcell"]
    assert (info.pretraining, info.n_train) == ("full", 7)
    assert info.collapsed == {("supervised", 1.0): (True, True, False)}


def test_variants_may_be_tested_outside_the_test_split(tmp_path, frame):
    home = write_home(tmp_path, frame, task="disease", name="variants", kind="variants")
    home.add("cnn", predict(frame, "cnn", 1.0).assign(split="test"))
    _, (track,) = load(home)
    assert len(track.rows) == len(frame)
    other = predict(frame, "gc", 1.0).assign(split="test")
    path = home.add("gc", other[other["item"] != "item00000"])
    with pytest.raises(InputError, match="the first is 'item00000'") as error:
        load(home)
    assert str(path) in str(error.value)


def test_a_cohort_is_scored_by_individual(tmp_path, frame):
    columns = ["item", "region", "contig", "start", "end", "sequence", "split"]
    home = write_home(tmp_path, frame[columns].assign(split="all"), task="disease", kind="cohort")
    samples = np.array([f"S{i}" for i in range(30)][::-1])
    labels = np.arange(30) % 2
    population = np.where(np.arange(30) < 10, "A", "B")
    arrays = {"samples": samples, "labels": labels, "cluster": np.arange(30)}
    np.savez(home.path / "cohort.npz", **arrays, population=population)
    home.cohort = [str(home.path / "cohort.npz")]
    scores = {"item": samples, "split": "test", "score": labels.astype(float), "track": ""}
    seeds = {"model": "covariates", "pretrain_seed": 0, "finetune_seed": 1, "fraction": 1.0}
    home.add("covariates", pd.DataFrame({**scores, **seeds}))
    items, (track,) = load(home)
    assert items.block.tolist() == list(range(30))
    assert track.fits[0].scores[:, 0].tolist() == items.label.tolist()
    assert items.tags[items.item.tolist().index("S29")] == {"population=A"}
    none = np.full(30, "")  # a table without such a column
    np.savez(home.path / "cohort.npz", **arrays, population=none)
    assert set(load(home)[0].tags) == {frozenset()}
    arrays["cluster"] = np.repeat(np.arange(15), 2)  # relatives are drawn together
    np.savez(home.path / "cohort.npz", **arrays, population=none)
    items, _ = load(home)
    block = dict(zip(items.item, items.block, strict=True))
    assert block["S29"] == block["S28"] != block["S27"] == block["S26"]
    assert sorted(set(items.block)) == list(range(15))
    home.cohort = []
    with pytest.raises(InputError, match="a cohort needs its table of individuals"):
        load(home)


def test_description_of_a_dataset_must_be_whole(tmp_path, frame):
    home = write_home(tmp_path, frame)
    (home.path / "dataset.json").write_text(json.dumps({"task": "promoter"}))
    with pytest.raises(InputError):
        load(home)


def test_order_of_models():
    names = ["zebra", "genebert-mgm", "oracle", "genebert", "pwm", "accessibility", "scratch"]
    assert sorted(names, key=model_rank) == [
        *("genebert", "scratch", "oracle", "accessibility", "pwm", "genebert-mgm", "zebra")
    ]
