"""Negatives that are matched to positives of a file of variants, and groups that filters break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from variant_toys import build, make_place, table, write

from genebert.genome import Genome


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("variants"))


@pytest.fixture
def genome(place: Path) -> Genome:
    return Genome(place / "genome.fa")


def matched_source(genome: Genome) -> pd.DataFrame:
    """On each contig two positives near a TSS of either class, six negatives there, ten far away."""
    source = table(genome, list(range(100, 2100, 100)))
    source["label"] = (np.arange(60) % 20 < 4).astype(int)
    source["class"] = np.where(np.arange(60) % 2, "utr", "intron")
    source["tss_distance"] = np.where(np.arange(60) % 20 < 10, 50, 10**6)
    return source.assign(AF=0.1)


MATCHED = {"scores": {"maf": "-AF"}, "matched": {"per_positive": 1, "scores": ["maf"]}}


def test_negatives_are_matched_to_positives_of_their_class(place: Path, genome: Genome) -> None:
    path = write(place, matched_source(genome))
    frame, info = build(place, path, **MATCHED)
    assert info["dropped"] == {"negative matched to no positive": 48 - 12}
    assert info["negatives_of_a_positive"] == 1
    assert info["captions"]["negatives"] == "1 matched to each positive"
    assert info["flags"] == []
    far = -0.625 / (0.375 * 0.625 / 2) ** 0.5  # of 48 negatives 30 are far away, no positive is
    assert info["balance"]["log10_tss_distance"] == pytest.approx([far, 0], abs=1e-4)
    assert info["balance"]["maf"] == [0, 0]
    assert set(frame["tss_distance"]) == {50}
    for name, part in frame.groupby("match"):
        assert part["label"].sum() == 1
        assert part.loc[part["label"] == 1, "item"].item() == name
        assert part["class"].nunique() == part["contig"].nunique() == 1
        assert set(part["stratum"].str.partition(";")[0]) == {f"vs-{part['class'].iloc[0]}"}


def test_max_items_thins_what_is_matched(place: Path, genome: Genome) -> None:
    """Drawn before it, most of the few negatives that are like a positive would be gone."""
    path = write(place, matched_source(genome))
    frame, info = build(place, path, max_items=20, **MATCHED)
    assert info["dropped"] == {"negative matched to no positive": 36, "beyond max_items": 4}
    assert (frame["label"] == 1).sum() == 10
    assert set(frame["match"]) == set(frame.loc[frame["label"] == 1, "item"])
    assert set(frame["match"].value_counts()) == {2}


def test_fewer_negatives_than_asked_for_and_what_still_differs_are_told(
    place: Path, genome: Genome
) -> None:
    source, matched = matched_source(genome), {"per_positive": 9}
    _, info = build(place, write(place, source), matched=matched)
    assert info["negatives_of_a_positive"] == 3
    assert info["dropped"]["positive without enough matched negatives"] == 6
    assert info["flags"] == []
    near = source["tss_distance"] == 50
    source.loc[near & (source["label"] == 0), "tss_distance"] = 75  # in the next bin
    source.loc[near & (source["label"] == 1), "tss_distance"] += np.arange(12) % 2
    _, info = build(place, write(place, source), matched=matched)
    assert info["balance"]["log10_tss_distance"][1] < -0.1
    assert info["flags"] == ["matched_unbalanced"]


def test_no_group_of_the_file_loses_its_positive_or_all_negatives(
    place: Path, genome: Genome
) -> None:
    """Groups of four on each contig; filters take the positive of one, the negatives of another."""
    source = table(genome, list(range(100, 1700, 100)))
    number = np.arange(len(source)) % 16
    source["label"] = (number % 4 == 0).astype(int)
    source["match"] = source["contig"] + "-" + (number // 4).astype(str)
    source["quality"] = np.where((number == 0) | (number // 4 == 1) & (number > 4), "low", "high")
    path = write(place, source)
    columns = {"match": "match"}
    frame, info = build(place, path, columns=columns, only={"quality": ["high"]})
    assert info["dropped"] == {
        "quality: only": 12,
        "matched group without a positive": 9,
        "positive without its matched negatives": 3,
    }
    assert frame.groupby("match")["label"].agg(["sum", "size"]).eq([1, 4]).all(axis=None)
    thinned, _ = build(place, path, columns=columns, only={"quality": ["high"]}, max_items=24)
    assert thinned.equals(frame)  # what filters left alone takes no place
