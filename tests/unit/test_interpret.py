"""Interpretation: one base changes at a time, planted words are found, bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from task_toys import WORD, binary_frame, random_sequences, write

from genebert import interpret
from genebert.errors import InputError
from genebert.features import encode_all
from genebert.interpret import (
    MIDDLE,
    SHUFFLED,
    changes,
    choose_items,
    contributions,
    item_aurocs,
    item_rows,
    log_odds,
    planted,
    read_attributions,
    read_sites,
    score_table,
    substitutions,
)

CODES = encode_all([WORD])[0]


def word_scorer(row: int, codes: np.ndarray) -> np.ndarray:
    """Return a probability that rises with the best match of WORD in each sequence."""
    views = np.lib.stride_tricks.sliding_window_view(codes, len(CODES), axis=1)
    best = (views == CODES).sum(axis=2).max(axis=1)
    return 1 / (1 + np.exp(4.0 - best))[:, None]


def null_scorer(row: int, codes: np.ndarray) -> np.ndarray:
    """Return a probability that depends on all of the sequence, but on no word."""
    noise = [np.random.default_rng(c.tolist()).normal() for c in codes]
    return 1 / (1 + np.exp(-np.array(noise)))[:, None]


def toy_items(n: int = 12, length: int = 120) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return test items of TF GATA1 with WORD planted, and the sites."""
    rng = np.random.default_rng(5)
    at = rng.integers(10, length - 20, n)
    made = [
        s[:p] + WORD + s[p + len(WORD) :]
        for s, p in zip(random_sequences(n, length, rng), at, strict=True)
    ]
    start = np.arange(n) * 1000
    frame = binary_frame(n).assign(
        sequence=made, start=start, end=start + length, label=1.0, group="GATA1", split="test",
        contig="chr3",
    )  # fmt: skip
    sites = pd.DataFrame(
        {"contig": "chr3", "start": start + at, "end": start + at + len(WORD), "motif": "GATA1"}
    )
    return frame, sites


def attributions(scorer: Any, model: str = "toy", n: int = 12) -> pd.DataFrame:
    frame, sites = toy_items(n)
    parts = []
    for row, item in enumerate(frame.itertuples()):
        found = changes(scorer, row, encode_all([item.sequence])[0], 0)
        parts.append(item_rows(item, found, planted(item, sites)))
    out = pd.concat(parts, ignore_index=True).assign(task="tfbs", dataset="chip", model=model)
    return out.assign(contribution=contributions(out[list("ACGT")].to_numpy()))


def test_a_substitution_changes_one_base_and_no_n() -> None:
    codes = encode_all(["ACGTNA"])[0]
    mutants, position, base = substitutions(codes)
    assert len(mutants) == 15
    assert ((mutants != codes).sum(axis=1) == 1).all()
    rows = np.arange(15)
    assert (mutants[rows, position] == base).all()
    assert (mutants[rows, position] != codes[position]).all()
    assert 4 not in position
    assert len(np.unique(mutants, axis=0)) == 15


def test_changes_are_those_of_the_score_and_zero_at_the_base() -> None:
    codes = encode_all(["ACGN"])[0]
    weight = np.array([[0.0, 1, 2, 3, 0]] * 3 + [[9.0] * 5])

    def scorer(row: int, rows: np.ndarray) -> np.ndarray:
        assert row == 7
        score = weight[np.arange(4), rows].sum(axis=1) - 10
        return np.stack([np.full(len(rows), 0.5), 1 / (1 + np.exp(-score))], axis=1)

    found = changes(scorer, 7, codes, 1)
    np.testing.assert_allclose(found[:3], weight[:3, :4] - [[0], [1], [2]], atol=1e-9)
    assert np.isnan(found[3]).all()
    np.testing.assert_allclose(contributions(found)[:3], [-2, -2 / 3, 2 / 3], atol=1e-9)
    assert (changes(scorer, 7, codes, 0)[:3] == 0).all()


def test_log_odds_are_finite_at_certainty() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
    np.testing.assert_allclose(log_odds(np.array([0.2])), np.log(0.25))


def test_a_planted_word_is_found_and_a_null_model_is_at_chance() -> None:
    word, null = item_aurocs(attributions(word_scorer)), item_aurocs(attributions(null_scorer))
    assert len(word) == len(null) == 12
    assert word.min() > 0.95
    assert abs(null.mean() - 0.5) < 0.08


def test_table_has_intervals_and_the_control() -> None:
    frame = pd.concat([attributions(word_scorer, "good"), attributions(null_scorer, "null")])
    table = score_table(frame, 1, 500).set_index("model")
    assert list(table.index) == ["good", "null", SHUFFLED, MIDDLE]
    assert (table["items"] == 12).all()
    assert (table["low"] <= table["auroc"]).all()
    assert (table["auroc"] <= table["high"]).all()
    assert table.loc["good", "low"] > table.loc["null", "high"]
    assert table.loc[SHUFFLED, "low"] < 0.5 < table.loc[SHUFFLED, "high"]
    pd.testing.assert_frame_equal(table, score_table(frame, 1, 500).set_index("model"))


def test_nearness_to_the_middle_is_a_control_of_its_own() -> None:
    frame = attributions(null_scorer)
    centre = frame.assign(site=frame["position"].between(55, 64).astype(float))
    assert score_table(centre, 1, 100).set_index("model").loc[MIDDLE, "auroc"] == 1
    ends = frame.assign(site=(frame["position"] < 5).astype(float))
    assert score_table(ends, 1, 100).set_index("model").loc[MIDDLE, "auroc"] < 0.1


def test_few_items_have_no_interval_and_unknown_sites_no_score() -> None:
    frame = attributions(word_scorer, n=3)
    assert np.isnan(score_table(frame, 1, 100)[["low", "high"]].to_numpy()).all()
    table = score_table(frame.assign(site=np.nan), 1, 100)
    assert table["auroc"].isna().all()
    assert (table["items"] == 3).all()


def test_planted_bases_are_clipped_own_only_and_read_along_the_strand() -> None:
    sites = pd.DataFrame(
        {
            "contig": ["chr1", "chr1", "chr1", "chr2"],
            "start": [98, 105, 107, 103],
            "end": [102, 107, 120, 104],
            "motif": ["A", "B", "A", "A"],
        }
    )
    item = {"contig": "chr1", "start": 100, "end": 110, "group": "A"}
    plus = planted(SimpleNamespace(**item, strand="."), sites)
    assert np.flatnonzero(plus).tolist() == [0, 1, 7, 8, 9]
    minus = planted(SimpleNamespace(**item, strand="-"), sites)
    assert np.flatnonzero(minus).tolist() == [0, 1, 2, 8, 9]


def test_decoys_are_no_sites(tmp_path: Path) -> None:
    path = tmp_path / "sites.tsv"
    path.write_text(
        "contig\tstart\tend\tmotif\tclass\nchr1\t1\t5\tA\tsite\nchr1\t9\t12\tA\tdecoy\n"
    )
    assert read_sites(str(path))["start"].tolist() == [1]
    path.write_text("contig\tstart\tend\tmotif\tclass\nchr1\tone\t5\tA\tsite\n")
    with pytest.raises(InputError, match=r"sites.tsv: a coordinate is no integer"):
        read_sites(str(path))
    path.write_text("contig\tstart\tend\tmotif\nchr1\t1\t5\tA\n")
    with pytest.raises(InputError, match="class"):
        read_sites(str(path))


def test_items_are_positive_test_items_dealt_over_groups() -> None:
    frame = binary_frame(400, groups=("CTCF", "GATA1", "SPI1"))
    frame.loc[frame.index[-40:], "stratum"] = "cell-type;transductive"
    rows = choose_items(frame, None, 9, 1)
    chosen = frame.loc[rows]
    assert (chosen["split"] == "test").all()
    assert (chosen["label"] == 1).all()
    assert (chosen["stratum"] == "chromosome").all()
    assert chosen["group"].value_counts().tolist() == [3, 3, 3]
    assert rows.tolist() == choose_items(frame, None, 9, 1).tolist() == sorted(rows)
    assert rows.tolist() != choose_items(frame, None, 9, 2).tolist()
    same = frame.assign(sequence=frame["sequence"].iloc[0])
    assert len(choose_items(same, None, 9, 1)) == 1


def test_items_without_a_site_are_left_out_where_the_truth_is_known() -> None:
    frame, sites = toy_items()
    known = sites.iloc[[2, 7]]
    assert choose_items(frame, known, 5, 1).tolist() == [2, 7]
    assert len(choose_items(frame, sites.iloc[:0], 5, 1)) == 5
    with pytest.raises(InputError, match="no positive test item"):
        choose_items(frame.assign(label=0.0), None, 5, 1)


def stage(tmp_path: Path, model: str, fit: Any, frame: pd.DataFrame | None = None) -> str:
    """Run the stage on a toy dataset; returns the path of the attributions."""
    frame = binary_frame(200) if frame is None else frame
    paths = write(tmp_path, frame)
    (tmp_path / "fit.json").write_text(fit if isinstance(fit, str) else json.dumps(fit))
    out = str(tmp_path / "attributions.parquet")
    interpret.attribute(
        **paths, motif_set="", shards="", weights=[], fit=str(tmp_path / "fit.json"), sites=[],
        fitted=str(tmp_path / "fitted.safetensors"),
        attributions=out, task="promoter", name="toy", model=model,
        effort={"finetune_steps": 150, "learning_rates": [3e-3], "pretrain_seeds": 1},
        pretrain={}, seed=1, threads=1, n_items=2,
    )  # fmt: skip
    return out


@pytest.mark.parametrize(
    ("model", "fit", "message"),
    [
        ("gc", "{", "cannot be read as JSON"),
        ("gc", "[]", "is no description of a fit"),
        ("gc", {"chosen": {"0.1/1": {"C": 1}}}, "no fit of all labels; found '0.1/1'"),
        ("scratch", {"chosen": {}}, "is no fitted network"),
        ("oracle", {"chosen": {}}, "model cannot be interpreted; found 'oracle'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, model: str, fit: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stage(tmp_path, model, fit)
    assert not (tmp_path / "attributions.parquet").exists()


def test_stage_writes_a_row_per_base_that_the_table_reads(tmp_path: Path) -> None:
    items = binary_frame(200)
    items.loc[items["split"] == "test", "sequence"] = items["sequence"].str[:150]  # N at the end
    path = stage(tmp_path, "gc", {"chosen": {"1/0": {"C": 0.1}}}, items)
    frame = read_attributions([path])
    assert len(frame) == 2 * 150
    assert frame["site"].isna().all()
    at = frame["reference"].map("ACGT".index).to_numpy()
    values = frame[list("ACGT")].to_numpy()
    assert (values[np.arange(len(frame)), at] == 0).all()
    strong = frame["reference"].isin(["C", "G"])
    # to the model all that counts is whether a base is one of G and C
    assert (values[strong][:, [1, 2]] == 0).all()
    assert (np.sign(frame["contribution"][strong]).nunique()) <= 2
    with pytest.raises(InputError, match="cannot be read as attributions"):
        read_attributions([str(tmp_path / "dataset.parquet")])
    with pytest.raises(InputError, match="nothing to interpret"):
        read_attributions([])
