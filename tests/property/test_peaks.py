"""Peak files are read alike by blocks and by lines, whatever stands in them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import lines
from genebert.errors import InputError
from genebert.peak_lines import _Reader
from genebert.peaks import Peaks, read_atlas, read_peaks

CONTIGS = {"chr2": 1000, "chr1": 2000, "chr10": 300}
position = st.sampled_from(["0", "5", "7", "40", "100", "299"])
far = st.sampled_from(["300", "300", "300", "6", "1001"])
odd = st.sampled_from(
    ["", ".", "-1", " 5", "5 ", "+5", "1e2", "5.0", "x", "é", "NA", "nan", "inf", "1_0"]
)
odd |= st.sampled_from(["#", "track", "a\rb", '"', '"x', "\\", "9" * 20, "007", "0x1", "a\0"])
contig = st.sampled_from(["chr1", "chr2", "chr10", "chr1", "chrUn", "#chr1", "track"])
number = st.sampled_from(["1", "2.5", "-3", "1e3", "7", "."])
label = st.sampled_from(["p", "a b", ".", ""])
signs = st.sampled_from(["+", "-", "."])
summit = st.sampled_from(["-1", "0", "3", "-1", "200"])
FIELDS = [contig, position, far, label, number, signs, number, number, number, summit]
head = st.sampled_from(
    ["", "# x\n", "track name=x\n", "chrom\tstart\tend\t4\t5\t6\t7\t8\t9\t10\n", "\n"]
)


@st.composite
def line(draw: Any, columns: int, oddness: int) -> str:
    fields = [draw(field) for field in FIELDS[:columns]]
    if draw(st.integers(0, 99)) < oddness:
        what = draw(st.integers(0, 3))
        if what == 0:
            return draw(st.sampled_from(["", " ", "#", "# a\tb\tc", "track x", "browser\ty\tz"]))
        if what == 1:
            return " ".join(fields)
        if what == 2:
            return "\t".join(fields[: draw(st.integers(0, columns))])
        fields[draw(st.integers(0, columns - 1))] = draw(odd)
    return "\t".join(fields)


@st.composite
def peak_file(draw: Any) -> tuple[str, str]:
    format, columns = draw(
        st.sampled_from([("bed", 3), ("bed", 4), ("bed", 6), ("narrowPeak", 10)])
    )
    oddness = draw(st.sampled_from([0, 0, 2, 10]))
    rows = draw(st.lists(line(columns, oddness), max_size=30))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return format, draw(head) + end.join(rows) + draw(st.sampled_from(["", end]))


def outcome(read: Any) -> Any:
    """Return all that comes of reading: arrays, or the message."""
    try:
        found = read()
    except InputError as error:
        return str(error)
    tables = found if isinstance(found, dict) else {"": found}

    def content(peaks: Peaks) -> list[Any]:
        arrays = (peaks.contig, peaks.start, peaks.end, peaks.summit, peaks.strength)
        return [*((a.dtype, a.tolist()) for a in arrays), peaks.score_source, peaks.counts]

    return {name: content(peaks) for name, peaks in tables.items()}


@pytest.fixture(autouse=True)
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "FIRST_BLOCK", 30)
        patch.setattr(lines, "BLOCK", 100)
        yield


def both_ways(text: str, read: Any) -> tuple[Any, Any, int]:
    """Return the outcomes with and without the fast way, and how many blocks it read."""
    taken = 0
    quickly = _Reader.quickly

    def counted(self: _Reader, number: int, block: bytes) -> bool:
        nonlocal taken
        done = quickly(self, number, block)
        taken += done
        return done

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "peaks"
        path.write_bytes(text.encode())
        patch.setattr(_Reader, "quickly", counted)
        fast = outcome(lambda: read(path))
        patch.setattr(_Reader, "quickly", lambda self, number, block: False)
        return fast, outcome(lambda: read(path)), taken


@settings(max_examples=400, deadline=None)
@given(peak_file(), st.sampled_from([0.05, 0.5, 1.0]))
def test_peak_files(file: tuple[str, str], unknown: float) -> None:
    format, text = file
    fast, slow, _ = both_ways(
        text, lambda path: read_peaks(path, format, CONTIGS, max_unknown=unknown)
    )
    assert fast == slow


@st.composite
def long_table(draw: Any) -> str:
    cells = st.sampled_from(
        ["B", "T cell", "CD8+", "CD8+", "B", "T_cell", "/"][: draw(st.integers(1, 7))]
    )
    oddness = draw(st.sampled_from([0, 0, 3]))
    rows = ["cell_type\tcontig\tstart\tend\tscore"]
    for text in draw(st.lists(line(5, oddness), max_size=30)):
        fields = text.split("\t")
        if len(fields) == 5:
            fields = [draw(cells), *fields[:3], fields[4]]
        rows.append("\t".join(fields))
    return "\n".join(rows) + draw(st.sampled_from(["", "\n"]))


@settings(max_examples=300, deadline=None)
@given(long_table())
def test_long_tables(text: str) -> None:
    fast, slow, _ = both_ways(text, lambda path: read_atlas(path, CONTIGS, max_unknown=1.0))
    assert fast == slow


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_files_are_read_the_fast_way(end: str) -> None:
    text = "".join(f"chr1\t{i}\t{i + 9}\tp {i}\t{i}\t+\t{i / 7}\t1\t1\t3{end}" for i in range(99))
    fast, slow, taken = both_ways(text, lambda path: read_peaks(path, "narrowPeak", CONTIGS))
    assert fast == slow
    assert taken > 20
    header = f"contig\tstart\tend\tcell_type{end}"
    text = header + "".join(f"chr1\t{i}\t{i + 9}\tT cell{i % 3}{end}" for i in range(99))
    fast, slow, taken = both_ways(text, lambda path: read_atlas(path, CONTIGS))
    assert fast == slow
    assert sorted(fast) == ["T_cell0", "T_cell1", "T_cell2"]
    assert taken > 15


def test_positions_of_more_than_31_bits_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.bed"
    path.write_text("chr1\t1\t5\n" * 20 + f"chr1\t1\t{2**31 + 5}\n")
    with pytest.raises(
        InputError, match=rf"line 21: peak ends beyond chr1.*{2**31 + 5}.*at most 2000"
    ):
        read_peaks(path, "bed", CONTIGS)
    assert np.iinfo(np.int32).max == 2**31 - 1
