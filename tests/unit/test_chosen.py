"""The model that validation data choose: never by its test score, never a bound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_toys import make_frame, predict, read, write_home

from genebert.chosen import chosen_table
from genebert.errors import InputError
from genebert.evaluate import evaluate


def spoil(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return predictions whose scores of one split say nothing."""
    out = rows.copy()
    at = (out["split"] == split).to_numpy()
    out.loc[at, "score"] = np.random.default_rng(0).random(int(at.sum()))
    return out


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    root = tmp_path_factory.mktemp("chosen")
    frame = make_frame(1500)
    home = write_home(root, frame)
    home.add("oracle", predict(frame, "oracle", 4.0, 7))
    home.add("gc", predict(frame, "gc", 0.2, 8))
    home.add("cell-average", predict(frame, "cell-average", 3.5, 9))
    home.add("genebert-wrongcell", predict(frame, "genebert-wrongcell", 3.5, 6))
    home.add("cnn", predict(frame, "cnn", 1.5, 2))
    home.add("kmer-lr", spoil(predict(frame, "kmer-lr", 3.0, 3), "valid"))  # best on test only
    two = predict(frame, "genebert", 2.0, 1, pretrain_seeds=(1, 2))
    home.add("genebert", spoil(two, "test"), pretraining="full")  # best on validation only
    home.add("untested", predict(frame, "untested", 5.0, 4).query("split == 'test'"))
    arguments = home.arguments(root / "out")
    evaluate(**arguments)
    table = root / "chosen.tsv"
    chosen_table(long=[arguments["long"]], table=str(table))
    return read(table), read(arguments["long"]), Path(arguments["long"])


def test_validation_chooses_whatever_the_test_says(
    chosen: tuple[pd.DataFrame, pd.DataFrame, Path],
) -> None:
    rows, long, _ = chosen
    assert len(rows) == 1
    row = rows.iloc[0]
    assert row["model"] == "genebert"
    assert row["runner_up"] == "cnn"
    assert row["candidates"] == 4  # genebert, cnn, kmer-lr, gc
    assert row["value"] < 0.6
    headline = long[
        (long["stratum"] == "all") & (long["metric"] == "auroc") & (long["pretrain_seed"] == "all")
    ].set_index("model")["value"]
    assert row["value"] == headline["genebert"]
    assert row["oracle"] == headline["oracle"]
    share = (headline["genebert"] - headline["gc"]) / (headline["oracle"] - headline["gc"])
    assert row["recovered"] == pytest.approx(share, abs=2e-3)
    assert row["recovered_low"] <= row["recovered"] <= row["recovered_high"]


def test_the_validation_score_stands_in_the_long_table_of_every_seed(
    chosen: tuple[pd.DataFrame, pd.DataFrame, Path],
) -> None:
    rows, long, _ = chosen
    own = long[(long["stratum"] == "valid") & (long["model"] == "genebert")]
    assert own["pretrain_seed"].tolist() == ["1", "2", "all"]
    assert set(own["metric"]) == {"auprc"}
    assert own["value"].iloc[2] == pytest.approx(own["value"].iloc[:2].mean(), abs=1e-4)
    assert rows["validation"].iloc[0] == own["value"].iloc[2]
    assert not (long["model"] == "untested")[long["stratum"] == "valid"].any()


def test_few_validation_items_choose_nothing(tmp_path: Path) -> None:
    frame = make_frame(60)  # 12 of validation
    home = write_home(tmp_path, frame)
    home.add("cnn", predict(frame, "cnn", 1.5, 2))
    arguments = home.arguments(tmp_path / "out")
    evaluate(**arguments)
    chosen_table(long=[arguments["long"]], table=str(tmp_path / "chosen.tsv"))
    assert read(tmp_path / "chosen.tsv").empty


def test_a_table_of_another_version_is_refused(
    chosen: tuple[pd.DataFrame, pd.DataFrame, Path], tmp_path: Path
) -> None:
    other = tmp_path / "metrics.tsv"
    other.write_text(chosen[2].read_text().replace("stratum", "layer", 1))
    with pytest.raises(InputError, match="other columns"):
        chosen_table(long=[str(other)], table=str(tmp_path / "chosen.tsv"))
