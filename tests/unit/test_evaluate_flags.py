"""Flags of the result tables: what makes a number weak, and when it is said."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import BLOCK, make_frame, predict, run, value, write_home


def test_few_blocks_and_few_positives(tmp_path):
    frame = make_frame(300, blocks=10)
    frame.loc[(frame["split"] == "test") & (np.arange(300) % 7 > 0), "label"] = 0.0
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0), n_train=None)
    row = run(home)[0].iloc[0]
    assert row["n_blocks"] == 10
    assert 0 < row["n_positive"] < 50
    assert row["flags"] == "few_blocks;few_positives"
    assert np.isfinite(row["auroc"])
    assert np.isnan(row[["auroc_low", "auroc_high", "auprc_low", "mcc_high"]].astype(float)).all()
    assert np.isnan(row["n_train"])


def test_few_blocks_of_a_stratum_are_flagged_in_the_long_table(tmp_path):
    frame = make_frame(2000, groups=("CTCF", "MAX"), blocks=40)
    few = frame["start"] < 6 * BLOCK
    frame["stratum"] = np.where(few, "both;discordant", "both")
    frame["region"] = frame["start"] // 2000  # several cell types at one place
    natural = {"task": "tfbs", "name": "chip", "negatives": "natural"}
    home = write_home(tmp_path, frame, **natural)
    home.add("cnn", predict(frame, "cnn", 1.0))
    wide, long = run(home)
    assert wide["flags"].isna().all()

    def flags(long: pd.DataFrame, stratum: str) -> object:
        return value(long, dataset="chip", metric="auroc", stratum=stratum)["flags"]

    assert pd.isna(flags(long, "all"))
    assert flags(long, "discordant") == "few_blocks"
    assert pd.isna(flags(long, "within-locus"))
    frame["region"] = np.where(few, frame["region"], 10_000 + np.arange(2000))
    home = write_home(tmp_path / "few", frame, **natural)
    home.add("cnn", predict(frame, "cnn", 1.0))
    assert flags(run(home)[1], "within-locus") == "few_blocks"


def test_one_block_makes_no_interval(tmp_path):
    """Every draw takes it, so that an interval would have no width, or that of seeds alone."""
    frame = make_frame(400, blocks=1)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0, finetune_seeds=(1, 2)))
    wide, long = run(home)
    row = wide.iloc[0]
    assert row["flags"] == "few_blocks"
    assert np.isfinite(row["auroc"])
    assert np.isnan(row[["auroc_low", "auprc_high", "mcc_low"]].astype(float)).all()
    assert long["low"].isna().all()


def test_few_negatives_make_no_interval_either(tmp_path):
    frame = make_frame(400)
    frame["label"] = (np.arange(400) % 9 > 0).astype(float)
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.0))
    row = run(home)[0].iloc[0]
    assert row["n_test"] - row["n_positive"] < 50 < row["n_positive"]
    assert row["flags"] == "few_positives"
    assert np.isnan(row[["auroc_low", "auprc_high"]].astype(float)).all()


def test_a_small_part_of_an_average_is_flagged(tmp_path):
    frame = make_frame(1200, groups=("CTCF", "SPI1"))
    test = (frame["split"] == "test").to_numpy()
    small = np.flatnonzero((frame["group"] == "SPI1") & test)
    wanted = {10: "", 9: "few_positives_in_part"}
    for rarer, (positives, flags) in itertools.product((0.0, 1.0), wanted.items()):
        frame.loc[small, "label"] = 1 - rarer
        frame.loc[small[:positives], "label"] = rarer
        home = write_home(tmp_path / f"{rarer}{positives}", frame, task="tfbs", name="chip")
        home.add("cnn", predict(frame, "cnn", 1.0))
        wide, long = run(home)
        found = wide.set_index("dataset")["flags"].astype(object).fillna("")
        assert found["chip"] == flags
        assert "in_part" not in found["chip:SPI1"] + found["chip:CTCF"]
        shown = value(long, dataset="chip", metric="auroc")["flags"]
        assert shown == flags if flags else pd.isna(shown)
        assert np.isfinite(wide.loc[0, "auroc_low"])  # the flag changes no interval


def test_few_draws_of_the_labels_are_flagged(tmp_path):
    frame = make_frame(400)
    home = write_home(tmp_path, frame)
    draws = {1.0: (0,), 0.1: (1, 2, 3, 4), 0.5: (1, 2, 3, 4, 5)}
    parts = [predict(frame, "cnn", 1.0, finetune_seeds=d, fraction=f) for f, d in draws.items()]
    home.add("cnn", pd.concat(parts))
    wide, long = run(home)
    assert wide["flags"].isna().all()
    flagged = long[long["flags"].notna()]
    assert set(flagged["flags"]) == {"few_draws"}
    assert set(flagged["stratum"]) == {"fraction=0.1"}
    assert set(flagged["finetune_seed"]) == {"all"}
    assert {"auroc", "auprc", "mcc"} <= set(flagged["metric"])


def test_sequences_without_coordinates_are_their_own_blocks_and_flagged(tmp_path):
    frame = make_frame(500).assign(contig="", start=0, end=200)
    home = write_home(tmp_path, frame, flags=["items_as_blocks"])
    home.add("cnn", predict(frame, "cnn", 1.0))
    home.add("genebert", predict(frame, "genebert", 1.0), pretraining="full")
    wide, _ = run(home)
    wide = wide.set_index("model")
    assert (wide["n_blocks"] == wide["n_test"]).all()
    assert wide["auroc_low"].notna().all()
    assert wide.loc["cnn", "flags"] == "items_as_blocks"
    assert "pretraining_unknown" in wide.loc["genebert", "flags"]


def test_sequences_seen_in_pretraining_are_flagged(tmp_path):
    frame = make_frame(300).assign(in_pretraining=True)
    home = write_home(tmp_path, frame)
    home.add(
        "genebert", predict(frame, "genebert", 1.0, pretrain_seeds=(1, 2, 3)), pretraining="full"
    )
    home.add("cnn", predict(frame, "cnn", 1.0), runs=[{"fraction": 1.0, "collapsed": True}])
    home.add("cell-average", predict(frame, "cell-average", 1.0))
    flags = run(home)[0].set_index("model")["flags"].to_dict()
    wanted = {"genebert": "transductive", "cnn": "collapsed=1", "cell-average": "oracle-labels"}
    assert flags == wanted


def test_collapsed_runs_are_counted_by_track_and_label_share(tmp_path):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    parts = [
        predict(frame, "genebert", 1.0, finetune_seeds=(1, 2), fraction=fraction, track=track)
        for track in ("", "probe")
        for fraction in (0.1, 1.0)
    ]
    runs = [
        {"fraction": fraction, "finetune_seed": seed, "collapsed": seed <= collapsed}
        for fraction, collapsed in ((1.0, 0), (0.1, 2))
        for seed in (1, 2)
    ]
    home.add("genebert", pd.concat(parts), pretraining="full", runs=runs, collapsed=2)
    home.add("gc", pd.concat(part.assign(model="gc") for part in parts))
    wide, long = run(home)
    assert not wide["flags"].astype(str).str.contains("collapsed").any()  # with all labels none is
    counts = long[long["metric"] == "collapsed"].set_index("stratum")
    assert (counts["model"] == "genebert").all()
    assert (counts["dataset"] == "epd").all()  # the probe, a regression, has no runs
    assert counts["value"].to_dict() == {"all": 0, "fraction=0.1": 2}
    assert (counts["n"] == 2).all()


def test_permuted_labels_of_a_cohort_stand_in_the_long_table(tmp_path):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    permutation = {"auroc": 0.49, "low": 0.4, "high": 0.6}
    permutation |= {"tuned_auroc": 0.51, "tuned_low": 0.45, "tuned_high": 0.57}
    home.add("gc", predict(frame, "gc", 0.1), permutation=permutation)
    home.add("cnn", predict(frame, "cnn", 1.0))
    _, long = run(home)
    row = value(long, metric="auroc_permuted")
    assert (row["model"], row["value"], row["low"], row["high"]) == ("gc", 0.49, 0.4, 0.6)
    row = value(long, metric="auroc_permuted_tuned")
    assert (row["model"], row["value"], row["low"], row["high"]) == ("gc", 0.51, 0.45, 0.57)


@pytest.mark.parametrize(
    ("low", "high", "tuned_high", "flagged"),
    [
        (0.4, 0.6, 0.6, []),
        (0.51, 0.6, 0.6, [""]),
        (0.3, 0.49, 0.6, [""]),
        (0.4, 0.6, 0.4, ["_tuned"]),
    ],
)
def test_permuted_labels_away_from_chance_are_flagged(tmp_path, low, high, tuned_high, flagged):
    frame = make_frame(300)
    home = write_home(tmp_path, frame)
    permutation = {"auroc": 0.5, "low": low, "high": high}
    permutation |= {"tuned_auroc": 0.5, "tuned_low": 0.3, "tuned_high": tuned_high}
    rows = [predict(frame, "gc", 0.1, track=track) for track in ("", "lopo")]
    home.add("gc", pd.concat(rows), permutation=permutation)
    wide, long = run(home)
    raised = long[long["flags"] == "permuted_off_chance"]
    assert raised["metric"].tolist() == [f"auroc_permuted{part}" for part in flagged]
    shown = wide.set_index("dataset")["flags"].astype(object).fillna("")
    assert shown["epd"] == "permuted_off_chance" * bool(flagged)
    assert "permuted" not in shown["epd-lopo"]
