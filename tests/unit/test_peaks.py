"""Reading peak files, good and bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genebert import lines as blocks
from genebert.errors import InputError
from genebert.peaks import Peaks, read_atlas, read_peaks, strengths

CONTIGS = {"chr2": 1000, "chr1": 2000, "chr10": 300}


def narrow(contig: str, start: object, end: object, signal: object = 5, summit: object = -1) -> str:
    return f"{contig}\t{start}\t{end}\tpeak\t100\t.\t{signal}\t-1\t-1\t{summit}"


def write(folder: Path, *lines: str, end: str = "\n", zipped: bool = False) -> Path:
    path = folder / "peaks.txt"
    raw = "".join(line + end for line in lines).encode()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    return path


GOOD = (
    narrow("chr1", 100, 200, 3.5, 10),
    narrow("chr2", 700, 900, 9, -1),
    narrow("chr2", 50, 80, 1, 29),
    narrow("chr10", 0, 300, 7, 0),
)


def check_good(peaks: Peaks) -> None:
    assert peaks.contig.tolist() == [0, 0, 1, 2]  # the order of the genome, not of the names
    assert peaks.start.tolist() == [50, 700, 100, 0]
    assert peaks.end.tolist() == [80, 900, 200, 300]
    assert peaks.summit.tolist() == [79, 800, 110, 0]
    assert peaks.strength.tolist() == [0.25, 1.0, 0.5, 0.75]
    assert peaks.score_source == "signalValue"
    assert peaks.counts == {"read": 4, "unknown_contig": 0, "duplicate": 0, "no_summit": 1}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_narrowpeak(tmp_path: Path, end: str, zipped: bool) -> None:
    check_good(read_peaks(write(tmp_path, *GOOD, end=end, zipped=zipped), "narrowPeak", CONTIGS))


def test_order_of_lines_is_free(tmp_path: Path) -> None:
    check_good(read_peaks(write(tmp_path, *GOOD[::-1]), "narrowPeak", CONTIGS))


def test_headers_and_comments_are_skipped(tmp_path: Path) -> None:
    head = (
        "track type=narrowPeak name='x y'",
        "browser position chr1:1-2",
        "# comment",
        "",
        "#x\ty",
    )
    check_good(read_peaks(write(tmp_path, *head, *GOOD), "narrowPeak", CONTIGS))
    path = write(tmp_path, "chrom\tstart\tend", "chr1\t5\t9")
    assert len(read_peaks(path, "bed", CONTIGS)) == 1


@pytest.mark.parametrize("summit", ["abs_summit\t", ""])  # without it where peaks are broad
def test_the_table_of_macs_is_no_bed(tmp_path: Path, summit: str) -> None:
    head = f"chr\tstart\tend\tlength\t{summit}pileup\t-log10(pvalue)\tfold_enrichment"
    path = write(tmp_path, "# effective genome size", "", head, "chr1\t101\t300\t200\t180\t9\t8\t7")
    with pytest.raises(
        InputError, match=r"line 3: is the table of MACS.*expected the \.narrowPeak"
    ):
        read_peaks(path, "bed", CONTIGS)


def test_column_names_are_skipped_counted_and_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = "chrom\tchromStart\tchromEnd\tname\tscore\tstrand\tsignalValue\tp\tq\tpeak"
    peaks = read_peaks(write(tmp_path, head, *GOOD), "narrowPeak", CONTIGS)
    assert peaks.counts["header_line"] == 1
    assert peaks.counts["read"] == 4
    assert "a line of column names is skipped" in caplog.text
    path = write(tmp_path, *GOOD, head)  # not at the head of the file: a wrong line
    with pytest.raises(InputError, match="line 5: summit is not an integer; found 'peak'"):
        read_peaks(path, "narrowPeak", CONTIGS)


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    path = write(tmp_path, *GOOD)
    plain = path.rename(tmp_path / "plain.narrowPeak.gz")
    check_good(read_peaks(plain, "narrowPeak", CONTIGS))
    path = write(tmp_path, *GOOD, zipped=True).rename(tmp_path / "zipped.bed")
    check_good(read_peaks(path, "narrowPeak", CONTIGS))


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
def test_bed3_to_bed6(tmp_path: Path, columns: int) -> None:
    lines = [f"chr1\t{i}\t{i + 9}\tp{i}\t{i}\t+".split("\t")[:columns] for i in range(4)]
    peaks = read_peaks(write(tmp_path, *("\t".join(line) for line in lines)), "bed", CONTIGS)
    assert peaks.start.tolist() == [0, 1, 2, 3]
    assert peaks.summit.tolist() == [4, 5, 6, 7]
    assert peaks.score_source == ("score" if columns > 4 else "missing")


def test_overlapping_peaks_stay(tmp_path: Path) -> None:
    peaks = read_peaks(
        write(tmp_path, "chr1\t10\t50", "chr1\t20\t40", "chr1\t10\t60"), "bed", CONTIGS
    )
    assert list(zip(peaks.start.tolist(), peaks.end.tolist(), strict=True)) == [
        (10, 50),
        (10, 60),
        (20, 40),
    ]


def test_slices_of_contigs(tmp_path: Path) -> None:
    peaks = read_peaks(write(tmp_path, *GOOD), "narrowPeak", CONTIGS)
    assert [peaks.start[peaks.on(i)].tolist() for i in range(3)] == [[50, 700], [100], [0]]


def test_duplicates_keep_the_highest_score(tmp_path: Path) -> None:
    lines = [narrow("chr1", 5, 9, s, 2) for s in (1, 8, 3)] + [narrow("chr1", 5, 9, 2, 1)]
    peaks = read_peaks(write(tmp_path, *lines), "narrowPeak", CONTIGS)
    assert peaks.summit.tolist() == [6, 7]  # another summit is another peak
    assert peaks.strength.tolist() == [0.5, 1.0]
    assert peaks.counts["duplicate"] == 2


def test_a_summit_at_the_end_itself_is_the_last_base(tmp_path: Path) -> None:
    lines = [narrow("chr1", 100, 300, 1, 200), narrow("chr1", 400, 500, 1, 99)]  # as IDR writes
    peaks = read_peaks(write(tmp_path, *lines), "narrowPeak", CONTIGS)
    assert peaks.summit.tolist() == [299, 499]
    assert peaks.counts["summit_at_end"] == 1


def test_bed3_has_no_strength(tmp_path: Path) -> None:
    peaks = read_peaks(write(tmp_path, "chr1\t10\t21", "chr1\t5\t9"), "bed", CONTIGS)
    assert peaks.score_source == "missing"
    assert peaks.strength.tolist() == [0.5, 0.5]
    assert peaks.summit.tolist() == [7, 15]  # (start + end) // 2
    assert peaks.counts["no_summit"] == 2


def test_bed_score_and_spaces(tmp_path: Path) -> None:
    peaks = read_peaks(write(tmp_path, "chr1 10 20 . 7 1.5", "chr1 5 9 . 3 2.5"), "bed", CONTIGS)
    assert peaks.score_source == "score"
    assert peaks.strength.tolist() == [0.5, 1.0]


def test_constant_signal_falls_back_to_score(tmp_path: Path) -> None:
    lines = [narrow("chr1", i, i + 5).replace("\t100\t", f"\t{100 - i}\t") for i in range(3)]
    peaks = read_peaks(write(tmp_path, *lines), "narrowPeak", CONTIGS)
    assert peaks.score_source == "score"
    assert peaks.strength.tolist() == [1.0, 2 / 3, 1 / 3]
    lines = [narrow("chr1", i, i + 5) for i in range(3)]
    assert read_peaks(write(tmp_path, *lines), "narrowPeak", CONTIGS).score_source == "missing"


@pytest.mark.parametrize("dots", ["chr1\t1\t5\t.\t.", "chr1\t1\t5\tname"])
def test_no_score(tmp_path: Path, dots: str) -> None:
    assert read_peaks(write(tmp_path, dots), "bed", CONTIGS).score_source == "missing"


@pytest.mark.parametrize("short", ["chr1\t1\t2", "chr1\t1\t2\tname"])
@pytest.mark.parametrize("place", [0, 1, 23, 39])
@pytest.mark.parametrize("block", [60, 1 << 20])
def test_a_line_without_the_score_that_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, place: int, short: str
) -> None:
    """It is named: without a word, all peaks of the cell type would count alike."""
    monkeypatch.setattr(blocks, "FIRST_BLOCK", block)
    monkeypatch.setattr(blocks, "BLOCK", block)
    lines = [f"chr1\t{i}\t{i + 5}\tp\t{i}" for i in range(40)]
    lines[place] = short
    message = rf"line {place + 1}: score is missing in this line; expected column 5 in every line"
    with pytest.raises(InputError, match=message):
        read_peaks(write(tmp_path, *lines), "bed", CONTIGS)
    for text in (".", "0"):  # of which no strength is made anyway
        same = [line if line == short else line.rpartition("\t")[0] + f"\t{text}" for line in lines]
        assert read_peaks(write(tmp_path, *same), "bed", CONTIGS).score_source == "missing"


def test_strengths_are_rank_percentiles() -> None:
    assert strengths(np.array([10.0, 30.0, 20.0, 20.0]), 4).tolist() == [0.25, 1.0, 0.625, 0.625]
    assert strengths(None, 2).tolist() == [0.5, 0.5]


def test_few_unknown_contigs_are_counted(tmp_path: Path) -> None:
    lines = [narrow("chr1", i, i + 5, i) for i in range(99)]
    peaks = read_peaks(write(tmp_path, *lines, narrow("chrUn", 1, 2, 9)), "narrowPeak", CONTIGS)
    assert peaks.counts == {"read": 100, "unknown_contig": 1, "duplicate": 0, "no_summit": 99}
    assert peaks.strength.max() == 1.0  # ranks are among the peaks that are left
    path = write(tmp_path, *lines, *[narrow("chrUn", i, 50, 9) for i in range(4)])
    with pytest.raises(InputError, match="4% of the peaks lie on contigs that are not"):
        read_peaks(path, "narrowPeak", CONTIGS, max_unknown=0.03)


GAPPED = "chr1\t100\t200\tx\t40\t.\t110\t190\t0\t2\t10,5,\t0,95,\t6.1\t9.3\t7.2"
BAD = [
    ("narrowPeak", ["chr1\t1\t5"], "line 1: too few columns; found 3; expected 10"),
    ("bed", ["chr1\t1\t5", "chr1\t7"], "line 2: too few columns; found 2; expected 3"),
    ("bed", ["chr1\t5\t5"], "line 1: peak is empty; found '5-5'; expected start < end"),
    ("bed", ["chr1\t9\t5"], "line 1: peak is empty"),
    ("bed", ["chr1\t-1\t5"], "line 1: start is negative; found '-1'"),
    ("bed", ["chr1\t1\t5.0"], "line 1: end is not an integer; found '5.0'"),
    ("bed", ["chr1\t1e3\t5"], "line 1: start is not an integer"),
    ("bed", ["chr1\t1_0\t20"], "line 1: start is not an integer"),
    ("bed", ["chr1\t1\t" + "9" * 30], "line 1: end is not a position"),
    ("bed", ["chr1\t1\t5", "chr10\t200\t301"], "line 2: peak ends beyond chr10.*301.*at most 300"),
    (
        "bed",
        ["1\t1\t5", "2\t1\t5"],
        "no contig is in the genome; did you mean 'chr1'.*awk.*'1, 2'.*chr2, chr1",
    ),
    ("bed", ["chr1\t1\t5", "chrQ\t1\t5"], "line 2: 50% of the peaks lie on contigs.*chrQ"),
    ("bed", [], "holds no peaks"),
    ("bed", ["# only a comment"], "holds no peaks"),
    (
        "bed",
        ["chr1\t1\t5\tx\thigh"],
        "line 1: score is not a number; found 'high'.*cut -f 1-3 leaves scores out",
    ),
    ("bed", ["chr1\t1\t5\tx\t1", "chr1\t2\t5\tx\tnan"], "line 2: score is not finite; found 'nan'"),
    ("narrowPeak", [narrow("chr1", 1, 5, "x")], "line 1: signalValue is not a number; found 'x'"),
    ("narrowPeak", [narrow("chr1", 10, 20, 1, 11)], "line 1: summit is outside.*11.*0 to 9"),
    ("narrowPeak", [narrow("chr1", 10, 20, 1, -2)], "line 1: summit is outside the peak"),
    ("narrowPeak", [narrow("chr1", 10, 20, 1, 2.5)], "line 1: summit is not an integer"),
    ("narrowPeak", [narrow("chr1", 10, 20, 1, "9" * 30)], "line 1: summit is outside the peak"),
    ("narrowPeak", [GAPPED], "line 1: is BED12 or gappedPeak; found '2 10,5, 0,95,'.*narrowPeak"),
    ("narrowPeak", [GAPPED.rsplit("\t", 3)[0]], "line 1: is BED12 or gappedPeak"),
    ("narrowpeak", ["chr1\t1\t5"], "unknown peak format; did you mean 'narrowPeak'"),
    ("bed", ["chr1\t1\t5\0"], "line 1: is not a text file"),
]


def test_narrowpeak_may_have_further_columns_and_bed_blocks(tmp_path: Path) -> None:
    plain = read_peaks(write(tmp_path, narrow("chr1", 1, 9, 2, 3)), "narrowPeak", CONTIGS)
    more = read_peaks(
        write(tmp_path, narrow("chr1", 1, 9, 2, 3) + "\ta,b\t1"), "narrowPeak", CONTIGS
    )
    assert more.summit.tolist() == plain.summit.tolist() == [4]
    assert read_peaks(write(tmp_path, GAPPED), "bed", CONTIGS).summit.tolist() == [150]


@pytest.mark.parametrize(("format", "lines", "message"), BAD)
def test_bad_files(tmp_path: Path, format: str, lines: list[str], message: str) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as error:
        read_peaks(path, format, CONTIGS)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_broken_gzip(tmp_path: Path) -> None:
    path = write(tmp_path, *[narrow("chr1", i, i + 5, i) for i in range(500)], zipped=True)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match="gzip file is truncated"):
        read_peaks(path, "narrowPeak", CONTIGS)
    path.write_bytes(raw[:100] + b"\xff" * 50 + raw[150:])
    with pytest.raises(InputError, match="gzip file is corrupt"):
        read_peaks(path, "narrowPeak", CONTIGS)


def test_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_peaks(tmp_path / "absent", "bed", CONTIGS)
    with pytest.raises(InputError, match="cannot be read"):
        read_peaks(tmp_path, "bed", CONTIGS)
    (tmp_path / "binary").write_bytes(b"\x87\x88\xff\xfe")
    with pytest.raises(InputError, match="is not a text file in UTF-8"):
        read_peaks(tmp_path / "binary", "bed", CONTIGS)


def test_atlas(tmp_path: Path) -> None:
    lines = ["contig\tstart\tend\tcell_type\tscore", "chr1\t5\t9\tT cell\t2"]
    lines += ["chr2\t1\t9\tB\t.", "chr1\t3\t5\tT cell\t1"]
    atlas = read_atlas(write(tmp_path, *lines, zipped=True), CONTIGS)
    assert list(atlas) == ["B", "T_cell"]
    assert atlas["T_cell"].start.tolist() == [3, 5]
    assert atlas["T_cell"].strength.tolist() == [0.5, 1.0]
    assert atlas["B"].score_source == "missing"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["contig\tstart\tend\tcell", "x"], "line 1: column 'cell_type' is missing"),
        (["contig\tstart\tend\tend\tcell_type"], "line 1: column 'end' stands twice"),
        (["contig\tstart\tend\tcell_type"], "holds no peaks"),
        (["contig\tstart\tend\tcell_type", "chr1\t1\t2"], "line 2: wrong number of fields"),
        (["contig\tstart\tend\tcell_type", "chr1\t5\t2\tB"], "line 2: peak is empty"),
        (
            ["contig\tstart\tend\tcell_type", "chr1\t1\t2\t/"],
            "line 2: no name can be made of this label; found '/'",
        ),
        (
            ["contig\tstart\tend\tcell_type", "chr1\t1\t2\tT/a", "chr1\t1\t2\tT a"],
            "line 3: cell types 'T/a' and 'T a' have the same name",
        ),
        ([], "column 'contig' is missing"),
    ],
)
def test_bad_atlas(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_atlas(write(tmp_path, *lines), CONTIGS)
