"""The figure of pre-training is drawn from its table, the same every time."""

from __future__ import annotations

import pytest

from genebert.errors import InputError
from genebert.evaluate import write_table
from genebert.pretraining_figures import beyond_references
from genebert.pretraining_table import COLUMNS


def row(variant, metric, stratum, value, low=None, high=None, split="valid"):
    values = (variant, 1, split, "x", stratum, metric, value, low, high, 0.0, 100, "NA")
    return dict(zip(COLUMNS, values, strict=True))


def test_the_figure_shows_every_objective_set_and_variant(tmp_path):
    rows = [
        row(variant, metric, stratum, 0.1, 0.0, 0.2, split)
        for variant in ("full", "shuffled_matrix")
        for split in ("valid", "held_out")
        for metric, stratum in (
            ("nats_minus_markov", "span-5"), ("auroc_minus_p0", "n2"), ("auroc_minus_probe", ""),
        )
    ]  # fmt: skip
    rows.append(row("full", "nats_minus_markov", "span-10", 0.1))  # without an interval
    table, figures = tmp_path / "t.tsv", [tmp_path / f"{i}.svg" for i in (1, 2)]
    write_table(table, COLUMNS, rows)
    for figure in figures:
        beyond_references(table=str(table), figure=str(figure))
    assert figures[0].read_bytes() == figures[1].read_bytes()
    assert figures[0].read_text().count('<g id="axes_') == 6


def test_no_figures_and_no_table(tmp_path):
    write_table(tmp_path / "t.tsv", COLUMNS, [])
    beyond_references(table=str(tmp_path / "t.tsv"), figure=str(tmp_path / "f.svg"))
    assert (tmp_path / "f.svg").exists()
    with pytest.raises(InputError):
        beyond_references(table=str(tmp_path / "none.tsv"), figure=str(tmp_path / "f.svg"))
