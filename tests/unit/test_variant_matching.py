"""Negatives of variants are like their positives, and what is not alike is counted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from genebert.errors import InputError
from genebert.tasks.variant_matching import match_negatives


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
    found, dropped, balance = match_negatives(frame, {"per_positive": 4}, 1, file="v.tsv")
    assert found["item"].is_unique
    positive = found[found["label"] == 1].set_index("item")
    negative = found[found["label"] == 0]
    assert (positive["match"] == positive.index).all()
    own = positive.loc[negative["match"]]
    assert (own["contig"].to_numpy() == negative["contig"].to_numpy()).all()
    assert (own["class"].to_numpy() == negative["class"].to_numpy()).all()
    apart = np.log10(1 + own["tss_distance"].to_numpy()) - np.log10(1 + negative["tss_distance"])
    assert apart.abs().max() < 1.0001  # three bins and the own one, 0.25 each
    assert negative["match"].value_counts().max() == 4
    assert len(positive) > 40
    assert dropped["positive without a matched negative"] == 50 - len(positive)
    assert dropped["negative matched to no positive"] == 5000 - len(negative)
    before, after = balance["log10_tss_distance"]
    assert abs(before) > 1
    assert abs(after) < 0.15
    again, *_ = match_negatives(frame, {"per_positive": 4}, 1, file="v.tsv")
    assert again.equals(found)


def test_scores_are_matched_on_where_asked() -> None:
    settings = {"per_positive": 2, "scores": ["maf"]}
    found, _, balance = match_negatives(make_frame(), settings, 1, file="v.tsv")
    spread = make_frame()["score_maf"].std()
    assert (found["score_maf"] - 0.1).abs().max() <= 1.0001 * spread
    assert abs(balance["maf"][1]) < abs(balance["maf"][0])


def test_variants_without_a_covariate_or_a_partner_are_counted() -> None:
    frame = make_frame()
    frame.loc[0, "tss_distance"] = np.nan
    frame.loc[1, "class"] = "promoter"
    found, dropped, _ = match_negatives(frame, {"per_positive": 1}, 1, file="v.tsv")
    assert not {"v0", "v1"} & set(found["item"])
    assert dropped["positive without a matched negative"] >= 2


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
