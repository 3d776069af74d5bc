"""The tables of variants with measured effects, and of reporter assays with several elements."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_toys import THRESHOLD, make_frame, predict, run, value, write_home

from genebert import metrics


def test_effects_are_correlated(tmp_path):
    frame = make_frame(300)
    frame["effect"] = frame["label"] + np.random.default_rng(1).normal(size=300)
    home = write_home(tmp_path, frame)
    rows = predict(frame, "cnn", 2.0)
    home.add("cnn", rows)
    _, long = run(home)
    test = frame["split"] == "test"
    wanted = metrics.correlations(frame.loc[test, "effect"], rows.loc[test, "score"])
    found = [value(long, metric=name)["value"] for name in ("spearman", "pearson")]
    assert found == pytest.approx(wanted, abs=6e-5)
    row = value(long, metric="spearman")
    assert row["low"] < row["value"] < row["high"]
    assert row["high"] - row["low"] < 0.5


def test_a_label_that_is_a_number_has_an_interval_and_is_chosen_by_correlation(tmp_path):
    frame = make_frame(300)
    rows = predict(frame, "cnn", 2.0)
    frame["label"] += np.random.default_rng(1).normal(size=300)
    frame["effect"] = frame["label"]
    home = write_home(tmp_path, frame, kind="variants", task="disease", label="effect")
    home.add("cnn", rows)
    wide, long = run(home)
    row = value(long, metric="spearman")
    assert row["low"] < row["value"] < row["high"]
    valid = frame["split"] == "valid"
    wanted = metrics.correlations(frame.loc[valid, "label"], rows.loc[valid, "score"])[0]
    assert value(long, stratum="valid", metric="spearman")["value"] == pytest.approx(
        wanted, abs=6e-5
    )
    of_classes = ["auroc", "auprc", *THRESHOLD, "brier", "ece", "prevalence", "n_positive"]
    assert wide.loc[0, of_classes].isna().all()
    assert "few_positives" not in wide.loc[0, "flags"]


def elements_home(tmp_path, inside):
    """A reporter assay of 25 elements of 40 variants; the score knows each element's mean."""
    rng = np.random.default_rng(3)
    frame = make_frame(1000, groups=[f"e{i:02d}" for i in range(25)]).assign(split="test")
    frame["group"] = [f"e{i:02d}" for i in np.arange(1000) // 40]
    frame["element"] = np.arange(1000) // 40
    mean, noise = np.repeat(rng.normal(0, 5, 25), 40), rng.normal(size=1000)
    quality = np.repeat(np.linspace(0, 2, 25), 40) * inside
    frame["label"] = frame["effect"] = mean + noise
    home = write_home(
        tmp_path, frame, kind="variants", task="disease", name="mpra", label="effect", block_bp=10
    )
    scores = predict(frame, "gc", 0.0)
    own = mean + quality * noise + rng.normal(size=1000)
    home.add("gc", scores.assign(score=own))
    return home, frame.assign(score=own)


def test_differences_between_elements_are_no_prediction(tmp_path):
    home, _ = elements_home(tmp_path, 0.0)
    wide, long = run(home)
    row = value(long, dataset="mpra", metric="spearman")
    assert abs(row["value"]) < 0.1  # pooled over elements it is above 0.9
    assert row["low"] < 0 < row["high"]
    assert wide["n_blocks"].tolist() == [25, *[1] * 25]
    assert value(long, dataset="mpra", metric="spearman")["n"] == 1000
    assert set(wide["n_train"]) == {100}


def test_elements_are_resampled_as_a_whole_and_count_as_often_as_drawn(tmp_path):
    home, frame = elements_home(tmp_path, 1.0)
    _, long = run(home, draws=2000)
    own = [
        part[["label", "score"]].corr("spearman").iloc[0, 1] for _, part in frame.groupby("group")
    ]
    row = value(long, dataset="mpra", metric="spearman")
    assert row["value"] == pytest.approx(np.mean(own), abs=1e-4)
    drawn = np.random.default_rng(1).choice(own, (5000, 25)).mean(axis=1)
    np.testing.assert_allclose(
        [row["low"], row["high"]], np.quantile(drawn, [0.025, 0.975]), atol=0.02
    )
    one = value(long, dataset="mpra:e07", metric="spearman")
    assert one["value"] == pytest.approx(own[7], abs=1e-4)
    assert np.isnan(one["low"])  # one block


def test_an_effect_of_one_is_no_class(tmp_path):
    frame = make_frame(300)
    rows = predict(frame, "cnn", 2.0)
    frame["label"] = frame["effect"] = frame["label"] * 2 - 1  # -1 and 1
    home = write_home(tmp_path, frame, kind="variants", task="disease", label="effect")
    home.add("cnn", rows)
    wide, long = run(home)
    assert wide.loc[0, ["auroc", "auprc", "mcc", "n_positive"]].isna().all()
    assert np.isfinite(value(long, metric="spearman")["low"])
