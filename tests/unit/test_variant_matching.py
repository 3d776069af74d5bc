"""Negatives of variants are like their positives, and what is not alike is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genebert.errors import InputError
from genebert.metrics import auroc
from genebert.tasks.variant_matching import (
    balance,
    drop_incomplete,
    equal_groups,
    is_unbalanced,
    match_negatives,
)


def make_frame(seed: int = 0) -> pd.DataFrame:
    """50 positives near genes, 5,000 negatives mostly far away, of two classes and contigs."""
    rng = np.random.default_rng(seed)
    label = np.repeat([1.0, 0.0], [50, 5000])
    return pd.DataFrame(
        {
            "item": [f"v{i}" for i in range(5050)],
            "label": label,
            "contig": rng.choice(["chr1", "chr2"], 5050),
            "class": rng.choice(["utr", "intron"], 5050),
            "tss_distance": np.where(label == 1, 10 ** rng.normal(2, 0.5, 5050), 0)
            + np.where(label == 0, 10 ** rng.normal(3.5, 1, 5050), 0),
            "score_maf": np.where(label == 1, 0.1, rng.uniform(0, 0.5, 5050)),
            "match": "",
        }
    )


def test_matched_negatives_share_contig_class_and_distance() -> None:
    frame = make_frame()
    found, dropped, number = match_negatives(frame, {"per_positive": 4}, 1, file="v.tsv")
    assert found["item"].is_unique
    positive = found[found["label"] == 1].set_index("item")
    negative = found[found["label"] == 0]
    assert (positive["match"] == positive.index).all()
    own = positive.loc[negative["match"]]
    assert (own["contig"].to_numpy() == negative["contig"].to_numpy()).all()
    assert (own["class"].to_numpy() == negative["class"].to_numpy()).all()
    apart = np.log10(1 + own["tss_distance"].to_numpy()) - np.log10(1 + negative["tss_distance"])
    assert apart.abs().max() < 0.5001  # the next bin and the own one, 0.25 each
    assert number == 4
    assert set(negative["match"].value_counts()) == {4}
    assert len(positive) > 35
    assert dropped["positive without enough matched negatives"] == 50 - len(positive)
    assert dropped["negative matched to no positive"] == 5000 - len(negative)
    before, after = balance(frame, found, (), file="v.tsv")["log10_tss_distance"]
    assert abs(before) > 1
    assert abs(after) < 0.15
    again, *_ = match_negatives(frame, {"per_positive": 4}, 1, file="v.tsv")
    assert again.equals(found)


def scarce(seed: int) -> pd.DataFrame:
    """Positives near genes and of the class utr, where a tenth of the negatives is."""
    rng = np.random.default_rng([3, seed])
    label = np.repeat([1.0, 0.0], [120, 4000])
    near = rng.random(4120) < np.where(label == 1, 0.6, 0.1)
    return pd.DataFrame(
        {
            "item": [f"v{i}" for i in range(4120)],
            "label": label,
            "contig": rng.choice(["chr1", "chr2"], 4120),
            "class": np.where(near, "utr", "intron"),
            "tss_distance": 10 ** rng.normal(np.where(near, 2.5, 4), 0.7),
            "match": "",
        }
    )


def test_what_was_matched_on_does_not_tell_where_negatives_are_rare() -> None:
    areas = []
    for seed in range(6):
        frame = scarce(seed)
        found, *_ = match_negatives(frame, {"per_positive": 9}, 1, file="v.tsv")
        assert found.loc[found["label"] == 0, "match"].value_counts().nunique() == 1
        label = found["label"].to_numpy()
        assert auroc(label, (found["class"] == "utr").to_numpy(float)) == pytest.approx(0.5)
        areas.append(auroc(label, -np.log(found["tss_distance"].to_numpy())))
    assert np.mean(areas) < 0.53


def test_no_positive_is_left_out_that_others_could_spare_for() -> None:
    """Of 85 negatives nine positives can have nine each; turn by turn, five would have them."""
    positive, negative = np.zeros((10, 1)), np.zeros((85, 1))
    found = equal_groups(positive, negative, [1.0], 9, np.random.default_rng(1))
    full = (found >= 0).all(axis=1)
    assert full.sum() == 9
    assert (found[~full] == -1).all()
    assert len(np.unique(found[full])) == 81
    none = equal_groups(positive, np.full((85, 1), 2.0), [1.0], 1, np.random.default_rng(1))
    assert (none == -1).all()  # two bins away


@pytest.mark.parametrize(
    ("sizes", "number", "kept"),
    [
        ([9, 12, 9, 9, 9, 8, 1, 0, 0, 0], 9, 5),
        ([9, 12, 9, 9, 6, 3, 1, 0, 0, 0], 6, 5),
        ([9, 2, 1, 0, 0, 0, 0, 0, 0, 0], 1, 3),
    ],
    ids=["half have nine", "half have six", "less than half have one"],
)
def test_fewer_negatives_each_where_over_half_of_the_positives_would_go(
    sizes: list[int], number: int, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten positives far from each other with these numbers of negatives."""
    place = np.concatenate([np.arange(10), np.repeat(np.arange(10), sizes)])
    frame = pd.DataFrame(
        {
            "item": [f"v{i}" for i in range(len(place))],
            "label": (np.arange(len(place)) < 10).astype(float),
            "contig": "chr1",
            "class": "",
            "tss_distance": 10.0**place,
            "match": "",
        }
    )
    found, dropped, used = match_negatives(frame, {"per_positive": 9}, 1, file="v.tsv")
    assert (used, found["label"].sum()) == (number, kept)
    assert (found["label"] == 0).sum() == number * kept
    assert dropped["positive without enough matched negatives"] == 10 - kept
    assert (f"{number} matched negatives of each positive, not 9" in caplog.text) == (number < 9)


def test_covariates_that_still_differ_are_told() -> None:
    frame = scarce(0)
    assert is_unbalanced(balance(frame, frame, (), file="v.tsv"))
    found, *_ = match_negatives(frame, {"per_positive": 1}, 1, file="v.tsv")
    assert not is_unbalanced(balance(frame, found, (), file="v.tsv"))
    assert not is_unbalanced({})


def test_groups_that_lost_their_positive_or_negatives_go() -> None:
    frame = pd.DataFrame(
        {
            "label": [1.0, 0, 0, 1, 1, 0, 0, 1],
            "match": ["a", "a", "a", "b", "c", "c", "d", ""],
        }
    )
    found, dropped = drop_incomplete(frame, file="v.tsv")
    assert found["match"].tolist() == ["a", "a", "a", "c", "c", ""]
    assert dropped == {
        "matched group without a positive": 1,
        "positive without its matched negatives": 1,
    }
    effects, dropped = drop_incomplete(frame.assign(label=frame["label"] + 0.5), file="v.tsv")
    assert (len(effects), dropped) == (len(frame), {})
    with pytest.raises(InputError, match=r"v.tsv: no matched group has both a positive and a neg"):
        drop_incomplete(frame.assign(match=list("abcdefgh")), file="v.tsv")


def test_scores_are_matched_on_where_asked() -> None:
    settings = {"per_positive": 2, "scores": ["maf"]}
    found, *_ = match_negatives(make_frame(), settings, 1, file="v.tsv")
    spread = make_frame()["score_maf"].std()
    assert (found["score_maf"] - 0.1).abs().max() <= 0.5001 * spread
    before, after = balance(make_frame(), found, ["maf"], file="v.tsv")["maf"]
    assert abs(after) < abs(before)


def test_variants_without_a_covariate_or_a_partner_are_counted() -> None:
    frame = make_frame()
    frame.loc[0, "tss_distance"] = np.nan
    frame.loc[1, "class"] = "promoter"
    found, dropped, _ = match_negatives(frame, {"per_positive": 1}, 1, file="v.tsv")
    assert not {"v0", "v1"} & set(found["item"])
    assert dropped["positive without enough matched negatives"] >= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 0.5}, "v.tsv: labels are numbers"),
        ({"match": "a"}, "v.tsv: has matched groups already"),
        ({"tss_distance": np.nan}, "no variant has the log10_tss_distance"),
        ({"class": [f"c{i}" for i in range(5050)]}, "no positive has a negative of its contig"),
    ],
)
def test_what_cannot_be_matched_is_one_line(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        match_negatives(make_frame().assign(**change), {"per_positive": 1}, 1, file="v.tsv")
    assert "\n" not in str(caught.value)
