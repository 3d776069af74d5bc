"""Logos: letters are where and as high as they should be, and files are equal byte for byte."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from genebert import interpret, logos
from genebert.genome import decode, encode, reverse_complement
from genebert.logos import best_window, draw_logos, instances, is_own, letters, views
from genebert.motif_files import Motif
from genebert.motifs import MotifSet

WORD = "GATAAGCA"


def motif(name: str, word: str) -> Motif:
    probabilities = np.full((4, len(word)), 0.01)
    probabilities["ACGT".index(word[0]), 0] = 0.97
    for i, letter in enumerate(word):
        probabilities[:, i] = 0.01
        probabilities["ACGT".index(letter), i] = 0.97
    return Motif(name=name, source="toy", alternate="", probabilities=probabilities)


@pytest.fixture(scope="module")
def motif_set() -> MotifSet:
    return MotifSet.build([motif("GATA1_HUMAN.H11MO", WORD), motif("CTCF", "TTGGCCAC")])


def frame(
    models: tuple[str, ...] = ("good", "bad"), items: int = 2, strand: str = "."
) -> pd.DataFrame:
    sequence = "A" * 60 + WORD + "C" * 20 + "TTGGCCAC" + "T" * 60
    site = np.zeros(len(sequence))
    site[60 : 60 + len(WORD)] = 1
    parts: list[pd.DataFrame] = []
    for model in models:
        for number in range(items):
            item: Any = SimpleNamespace(
                item=f"i{number}", group="GATA1", contig="chr1", start=1000, sequence=sequence,
                end=1000 + len(sequence), strand=strand,
            )  # fmt: skip
            change = np.zeros((len(sequence), 4)) - (site[:, None] if model == "good" else 0.1)
            part = interpret.item_rows(item, change, site == 1)
            parts.append(part.assign(model=model, task="tfbs", dataset="chip"))
    out = pd.concat(parts, ignore_index=True)
    return out.assign(contribution=interpret.contributions(out[list("ACGT")].to_numpy()))


def test_a_letter_fills_its_place_and_hangs_below_zero_if_negative() -> None:
    found = letters("ANCA", np.array([2.0, 9.0, -1.0, np.nan]), first=10)
    assert sorted(found) == ["A", "C"]
    a, c = (found[base].get_extents() for base in "AC")
    np.testing.assert_allclose([a.x0, a.x1, a.y0, a.y1], [10.05, 10.95, 0, 2], atol=1e-9)
    np.testing.assert_allclose([c.x0, c.x1, c.y0, c.y1], [12.05, 12.95, -1, 0], atol=1e-9)


def test_window_is_where_the_weight_is() -> None:
    weight = np.zeros(100)
    weight[[50, 55]], weight[80] = 1, np.nan
    first = best_window(weight, 10)
    assert first <= 50
    assert first + 10 > 55
    assert best_window(weight[:8], 10) == 0


@pytest.mark.parametrize(
    ("name", "alternate", "group", "own"),
    [
        ("CTCF", "", "CTCF", True),
        ("CTCF_HUMAN.H11MO.0.A", "", "CTCF", True),
        ("MA0139.1", "ctcf", "CTCF", True),
        ("CTCFL", "", "CTCF", False),
        ("CTCF", "", "", False),
    ],
)
def test_own_motif(name: str, alternate: str, group: str, own: bool) -> None:
    assert is_own(name, alternate, group) is own


def test_instances_are_in_the_window_own_first(motif_set: MotifSet) -> None:
    sequence = "A" * 10 + "TTGGCCAC" + "A" * 10 + WORD + "A" * 10 + WORD
    found = instances(sequence, motif_set, "GATA1", 0, 40)
    assert [(hit.start, hit.end, hit.own) for hit in found] == [(28, 36, True), (10, 18, False)]
    assert instances(sequence, motif_set, "GATA1", 11, 20) == []


def test_views_show_every_model_and_some_items(motif_set: MotifSet) -> None:
    shown = views(frame(items=logos.MAX_ITEMS + 2), motif_set)
    assert len(shown) == logos.MAX_ITEMS
    view = shown[0]
    assert list(view.heights) == ["good", "bad"]
    assert view.first <= 60
    assert view.first + logos.WINDOW >= 60 + len(WORD)
    assert view.sequence[60 : 60 + len(WORD)] == WORD
    assert view.heights["good"][60] == pytest.approx(4 / 3)  # the toy changes all four bases
    assert view.instances[0].own
    assert "GATA1" in view.title


@pytest.mark.parametrize("strand", [".", "+", "-"])
def test_the_title_is_the_place_of_the_bases_in_a_browser(motif_set: MotifSet, strand: str) -> None:
    table = frame(items=1, strand=strand)
    (view,) = views(table, motif_set)
    found = re.fullmatch(r"tfbs/chip GATA1 chr1:([\d,]+)-([\d,]+)( \(-\))?", view.title)
    assert found is not None
    assert (found[3] is not None) == (strand == "-")
    first, last = (int(text.replace(",", "")) for text in found.groups()[:2])
    genome = "N" * 1000 + (
        view.sequence if strand != "-" else decode(reverse_complement(encode(view.sequence)))
    )
    shown = genome[first - 1 : last]  # 1-based, the last base included
    if strand == "-":
        shown = decode(reverse_complement(encode(shown)))
    assert shown == view.sequence[view.first : view.first + logos.WINDOW]
    assert len(shown) == logos.WINDOW
    (view,) = views(table.assign(contig=""), motif_set)
    assert view.title == "tfbs/chip GATA1"  # sequences without coordinates


def test_figure_is_svg_and_the_same_every_time(motif_set: MotifSet, tmp_path: Path) -> None:
    shown = views(frame(), motif_set)
    for name in ("one.svg", "two.svg"):
        draw_logos(shown, str(tmp_path / name))
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert ElementTree.fromstring(one).tag.endswith("svg")
    text = one.decode()
    for word in ("good", "bad", "GATA1_HUMAN.H11MO"):
        assert f"<!-- {word} -->" in text
    for colour in logos.COLOURS.values():
        assert colour.lower() in text.lower()
    draw_logos([], str(tmp_path / "none.png"))
    assert (tmp_path / "none.png").stat().st_size > 0


def test_stage_writes_the_table_and_the_figure(motif_set: MotifSet, tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    frame().drop(columns="contribution").to_parquet(path)
    motif_set.write(tmp_path / "motif_set.json")
    interpret.interpretation(
        attributions=[path], motif_set=str(tmp_path / "motif_set.json"),
        table=str(tmp_path / "t.tsv"), figure=str(tmp_path / "f.svg"), seed=1, draws=100,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert list(table.columns) == ["task", "dataset", "model", "items", "auroc", "low", "high"]
    assert table["model"].tolist() == ["good", "bad", interpret.SHUFFLED, interpret.MIDDLE]
    assert table["auroc"].tolist()[:2] == [1.0, 0.5]
    assert (tmp_path / "f.svg").exists()
