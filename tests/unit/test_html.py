"""Pages escape what they show, join values with their intervals, and need nothing from elsewhere."""

from __future__ import annotations

import re

from genebert import html


def test_intervals_stand_beside_their_values():
    columns = ["model", "auroc", "auroc_low", "auroc_high", "difference", "low", "high", "note"]
    rows = [["a", "0.51", "0.4", "0.6", "0.1", "NA", "NA", ""]]
    head, body = html.with_intervals(columns, rows)
    assert head == ["model", "auroc (95 %)", "difference (95 %)", "note"]
    assert body == [["a", "0.51\t0.510 (0.400 to 0.600)", "0.1", ""]]


def test_columns_without_both_ends_stay_as_they_are():
    columns = ["low", "value", "value_low"]
    assert html.with_intervals(columns, [["1", "2", "3"]]) == (columns, [["1", "2", "3"]])


def test_cells_are_sorted_by_value_marked_and_escaped():
    text = html.table(
        ["a&b"], [["0.5\t0.5 <x>"], ["fine"], ["NA"], ["w " * 40]], marks={"fine": "fine"}
    )
    assert '<td class=number data-value="0.5">0.5 &lt;x&gt;</td>' in text
    assert "<td class=fine>fine</td>" in text
    assert "<td class=missing>NA</td>" in text
    assert "<td class=long>" in text
    assert "a&amp;b" in text
    assert 'type="search"' not in text
    assert 'type="search"' in html.table(["a"], [["1"]] * html.FILTERED)


def test_a_document_needs_nothing_from_elsewhere():
    text = html.document(
        "t", html.section("s"), html.paragraph(""), html.facts({"k": "<v>"}),
        html.table(["a"], [["1"]], file="t.tsv", tsv="a\n1\n"),
    )  # fmt: skip
    assert "<dd>&lt;v&gt;</dd>" in text
    assert not re.search(r"https?:|@import|url\(|src=", text)
    assert 'href="data:text/tab-separated-values;base64,YQoxCg=="' in text
