"""The figures of the regions can be drawn, twice the same, with few and with very many cell types."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import region_toys

from genebert import region_figures
from genebert.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    """Return the comments that matplotlib writes beside text drawn as paths."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    tree = ElementTree.parse(path, parser)
    return [node.text.strip() for node in tree.iter() if node.tag is ElementTree.Comment]


def enrichment(cells, motifs, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "cell_type": np.repeat([f"cell{i}" for i in range(cells)], motifs),
            "motif": np.tile([f"M{i}" for i in range(motifs)], cells),
            "held_out": np.repeat((np.arange(cells) == 1).astype(int), motifs),
            "z": rng.normal(0, 2, cells * motifs),
            "deviation": rng.normal(0, 0.3, cells * motifs),
        }
    )
    table["q"] = np.where(table["z"] > 3, 0.01, 0.5)
    table["rank"] = table.groupby("cell_type")["z"].rank(ascending=False).astype("Int64")
    return table


def ridge(cells):
    rng = np.random.default_rng(0)
    rows = []
    for target in ("strength", "specific"):
        for model in ("motif", "gc", "shuffled", "cell-average")[
            : 4 if target == "strength" else 3
        ]:
            for name in ["*", *(f"cell{i}" for i in range(cells))]:
                value = rng.random()
                rows.append(
                    (name, int(name == "cell1"), target, model, value, value - 0.1, value + 0.1)
                )
    columns = ["cell_type", "held_out", "target", "model", "pearson", "pearson_low", "pearson_high"]
    return pd.DataFrame(rows, columns=columns)


def overlap(cells):
    rng = np.random.default_rng(0)
    ratio = rng.random((cells, cells)) / 2
    ratio = (ratio + ratio.T) / 2
    np.fill_diagonal(ratio, 1)
    return ratio, [f"cell{i}" for i in range(cells)], np.arange(cells) == 1


def draw(name, cells, path):
    if name == "enrichment":
        region_figures.draw_enrichment(enrichment(cells, 40), str(path))
    elif name == "ridge":
        region_figures.draw_ridge(ridge(cells), str(path))
    else:
        region_figures.draw_overlap(*overlap(cells), str(path))


@pytest.mark.parametrize("name", ["enrichment", "ridge", "overlap"])
def test_figures_are_equal_byte_for_byte_and_mark_held_out_cell_types(name, tmp_path):
    for path in (tmp_path / "one.svg", tmp_path / "two.svg"):
        draw(name, 5, path)
    one = (tmp_path / "one.svg").read_bytes()
    assert one == (tmp_path / "two.svg").read_bytes()
    assert b"<dc:date>" not in one
    assert {"cell0", "cell1 \u2020", "cell4"} <= set(texts(tmp_path / "one.svg"))


@pytest.mark.parametrize("name", ["enrichment", "ridge", "overlap"])
def test_names_do_not_overlap_with_very_many_cell_types(name, tmp_path):
    draw(name, 120, tmp_path / "many.svg")
    found = texts(tmp_path / "many.svg")
    assert {"cell0", "cell119"} <= set(found)
    root = ElementTree.parse(tmp_path / "many.svg").getroot()
    points = max(float(root.get(side).removesuffix("pt")) for side in ("width", "height"))
    assert points / 120 > 1.3 * 5.5  # a label of 5.5 points every so many
    assert points < 24 * 72


def test_single_cell_type_and_nothing_tested(tmp_path):
    draw("overlap", 1, tmp_path / "one.svg")
    draw("ridge", 1, tmp_path / "ridge.svg")
    empty = enrichment(3, 4).assign(rank=pd.array([pd.NA] * 12, dtype="Int64"), z=np.nan)
    region_figures.draw_enrichment(empty, str(tmp_path / "empty.svg"))
    assert "no motif could be tested" in texts(tmp_path / "empty.svg")
    region_figures.draw_enrichment(empty.iloc[:0], str(tmp_path / "none.svg"))
    assert "no motif could be tested" in texts(tmp_path / "none.svg")


def test_top_motifs_are_the_first_of_each_cell_type_and_never_too_many():
    few = enrichment(3, 40)
    found = region_figures.top_motifs(few)
    assert set(few.loc[(few["rank"] <= 5) & (few["z"] > 0), "motif"]) == set(found)
    many = enrichment(200, 900)
    found = region_figures.top_motifs(many)
    assert len(found) == region_figures.MAX_MOTIFS
    strongest = many.sort_values("z", ascending=False)["motif"].iloc[0]
    assert strongest in found


def test_window_shows_neighbours_of_one_contig(tmp_path):
    rng = np.random.default_rng(0)
    scores = region_toys.random_scores(rng, 60, 4, 0.5)
    data = region_toys.read(tmp_path, scores, (rng.random((60, 3)) < 0.5) * 1.0, held_out=(1,))
    region_figures.draw_window(data, ["M2", "M0", "M3"], str(tmp_path / "some.svg"))
    found = set(texts(tmp_path / "some.svg"))
    assert {"M0", "M2", "M3", "A", "B \u2020", "C"} <= found
    assert "M1" not in found
    assert "motif scores of 12 neighbouring regions of chr1" in found
    region_figures.draw_window(data, [], str(tmp_path / "all.svg"))
    assert {"M0", "M1", "M2", "M3"} <= set(texts(tmp_path / "all.svg"))


def test_unknown_kind_of_figure(tmp_path):
    with pytest.raises(InputError, match=r"unknown kind of figure.*\.svg"):
        draw("overlap", 3, tmp_path / "figure.jpeg")
