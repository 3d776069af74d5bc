"""The columns of peak files, block by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genebert import lines
from genebert.errors import InputError
from genebert.peak_lines import NOT_A_NUMBER, NOT_FINITE, Columns, Fields, read_columns, text_at

CONTIGS = {"chr1": 100, "chr2": 100}
BED = Fields(count=3, scores={"score": 4})


def read(folder: Path, text: str, fields: Fields = BED) -> Columns:
    path = folder / "a"
    path.write_text(text)
    return read_columns(path, fields, CONTIGS)


def test_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_BLOCK", 8)
    monkeypatch.setattr(lines, "BLOCK", 40)
    text = "# x\nchr2\t1\t9\t.\t5\n\nalt\t3\t4\t.\t.\nchr1\t0\t7\t.\tx\nother\t1\t2\t.\tinf\nalt\t8\t9\t.\t-2\n"
    found = read(tmp_path, text)
    assert found.row.tolist() == [2, 4, 5, 6, 7]
    assert found.contig.tolist() == [1, -1, 0, -2, -1]
    assert list(found.unknown) == ["alt", "other"]
    assert found.start.tolist() == [1, 3, 0, 1, 8]
    assert found.start.dtype == np.int32
    assert found.offset.tolist() == [-1] * 5
    np.testing.assert_array_equal(found.scores["score"], [5, np.nan, NOT_A_NUMBER, NOT_FINITE, -2])
    part = found.take(np.array([2, 0]))
    assert part.row.tolist() == [5, 2]
    assert part.scores["score"].tolist() == [NOT_A_NUMBER, 5]
    assert text_at(tmp_path / "a", 5, 4) == "x"


@pytest.mark.parametrize("block", [16, 1 << 20])
def test_a_score_that_some_lines_lack_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(lines, "FIRST_BLOCK", block)
    monkeypatch.setattr(lines, "BLOCK", block)
    for rows in (
        ["chr1\t1\t2\tp\t5"] * 4 + ["chr1\t1\t2"] * 4,
        ["chr1\t1\t2"] + ["chr1\t1\t2\tp\t5"] * 4,
    ):
        found = read(tmp_path, "\n".join(rows))
        assert found.scores == {}
        assert len(found) == len(rows)


def test_the_first_wrong_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "FIRST_BLOCK", 50)
    good = "chr1\t1\t2\n"
    with pytest.raises(InputError, match="line 101: interval is empty; found '5-5'"):
        read(tmp_path, good * 100 + "chr1\t5\t5\nchr1\tx\t5\n", Fields(3, {}, what="interval"))
    with pytest.raises(InputError, match="line 51: start is negative; found '-3'"):
        read(tmp_path, good * 50 + "chr1\t-3\t5\n" + good * 50)


def test_cell_types_are_checked_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_text("start\tend\tcontig\tcell\n" + "1\t2\tchr1\tT\n1\t2\tchr2\tB\n" * 9999)
    fields = Fields(count=4, scores={}, place=(2, 0, 1), cell_type=3, exact=True)
    asked: list[str] = []
    found = read_columns(path, fields, CONTIGS, lambda name, row: asked.append(name))
    assert asked == list(found.cell_types) == ["T", "B"]
    assert found.cell_type.tolist() == [0, 1] * 9999
    assert found.contig.tolist() == [0, 1] * 9999
    assert found.row.tolist() == list(range(2, 2 + 2 * 9999))
