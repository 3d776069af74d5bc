from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from genebert.errors import InputError
from genebert.tasks import annotation

EXON = 'chr1\tx\texon\t{}\t{}\t.\t{}\t.\tgene_id "{}"; transcript_id "{}";\n'


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_epdnew_takes_the_tss_from_the_thick_part(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.bed",
        "chr1\t100\t160\tA_1\t900\t+\t149\t160\nchr1\t300\t360\tB_1\t900\t-\t300\t311\n",
    )
    assert annotation.read_epdnew(path)["tss"].tolist() == [149, 310]


def test_tss_windows_count_the_offset_from_the_5_prime_end(tmp_path: Path) -> None:
    path = write(tmp_path / "p.bed", "chr1\t100\t351\tA\tx\t+\nchr1\t100\t351\tB\tx\t-\n")
    assert annotation.read_tss_windows(path, 200)["tss"].tolist() == [300, 150]
    with pytest.raises(InputError, match=r"line 1: TSS lies outside the window.*offset 251"):
        annotation.read_tss_windows(path, 251)


def test_summits(tmp_path: Path) -> None:
    narrow = "chr1\t{}\t{}\t.\t0\t.\t1\t-1\t-1\t{}\n"
    path = write(
        tmp_path / "p",
        narrow.format(10, 30, 4) + narrow.format(10, 30, -1) + narrow.format(1, 5, 4),
    )
    assert annotation.read_summits(path)["summit"].tolist() == [14, 20, 4]
    assert annotation.read_summits(write(tmp_path / "b", "chr1\t10\t20\n"))["summit"][0] == 15


def test_a_contig_may_begin_like_a_head(tmp_path: Path) -> None:
    path = write(tmp_path / "p", "track name=x\nbrowser hide\ntrack1\t1\t5\nbrowser_x\t2\t8\n")
    assert annotation.read_summits(path)["contig"].tolist() == ["track1", "browser_x"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t10", "line 2: too few fields; found 2; expected at least 3"),
        ("chr1\t-1\t20", "line 2: start is not a position; found '-1'"),
        ("chr1\t30\t20", "line 2: end lies before start"),
        ("chr1\t30\t30", "line 2: peak is empty"),
        ("chr1\t10\t20\t.\t0\t.\t1\t-1\t-1\t11", "line 2: summit lies outside its peak"),
        ("chr1\t9\t20\t.\t0\t.\t9\t9\t0\t2\t1,1\t0,10", "line 2: is BED12 or gappedPeak"),
    ],
)
def test_a_malformed_peak_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        annotation.read_summits(write(tmp_path / "p", f"# comment\n{line}\n"))


def test_gzip_is_told_by_content_and_truncation_is_an_error(tmp_path: Path) -> None:
    whole = gzip.compress(b"chr1\t10\t20\n" * 5000)
    path = tmp_path / "peaks.txt"
    path.write_bytes(whole)
    assert len(annotation.read_summits(path)) == 5000
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"peaks\.txt, line \d+: gzip file is truncated"):
        annotation.read_summits(path)
    with pytest.raises(InputError, match="no such file"):
        annotation.read_summits(tmp_path / "none")


def test_contigs_of_another_naming_are_an_error_and_some_are_counted() -> None:
    frame = pd.DataFrame({"contig": ["1", "2"], "start": [0, 0], "end": [5, 5]})
    with pytest.raises(InputError, match=r"no contig of this file is in the genome.*found '1'"):
        annotation.keep_known_contigs(frame, {"chr1": 10}, Counter(), file="f")
    dropped: Counter[str] = Counter()
    frame = pd.DataFrame(
        {"contig": ["chr1", "chr1", "chrX"], "start": [0, 0, 0], "end": [5, 11, 5]}
    )
    kept = annotation.keep_known_contigs(frame, {"chr1": 10}, dropped, file="f")
    assert kept["end"].tolist() == [5]
    assert dropped == {"unknown_contig": 1, "off_contig": 1}
    far = pd.DataFrame({"contig": ["chr1"] * 3, "start": [0] * 3, "end": [5, 11, 12]})
    with pytest.raises(InputError, match="another build"):
        annotation.keep_known_contigs(far, {"chr1": 10}, dropped, file="f")


def test_gtf_without_exons_or_attributes(tmp_path: Path) -> None:
    gene = 'chr1\tx\tgene\t1\t9\t.\t+\t.\tgene_id "g";\n'
    with pytest.raises(InputError, match="has no exon line"):
        annotation.read_exons(write(tmp_path / "a.gtf", gene))
    with pytest.raises(InputError, match="line 1: exon without the attribute transcript_id"):
        annotation.read_exons(write(tmp_path / "b.gtf", gene.replace("\tgene\t", "\texon\t")))
    with pytest.raises(InputError, match=r"line 1: no such strand; found 'x'"):
        annotation.read_exons(write(tmp_path / "c.gtf", EXON.format(1, 9, "x", "g", "t")))


def test_exons_without_a_strand_are_skipped_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As StringTie writes transcripts of one exon."""
    none = EXON.format(1, 9, ".", "g", "t")
    found = annotation.read_exons(
        write(tmp_path / "a.gtf", none + EXON.format(4, 9, "+", "h", "u"))
    )
    assert found["gene"].tolist() == ["h"]
    assert "1 exons without a strand are skipped" in caplog.text
    with pytest.raises(InputError, match="has no exon line"):
        annotation.read_exons(write(tmp_path / "b.gtf", none))


def test_introns_are_the_gaps_of_each_transcript_once(tmp_path: Path) -> None:
    lines = [(1, 10, "-", "g", "t1"), (21, 30, "-", "g", "t1"), (41, 50, "-", "g", "t1")]
    lines += [(41, 50, "-", "g", "t2"), (1, 10, "-", "g", "t2"), (60, 70, "-", "g", "t3")]
    path = write(tmp_path / "g.gtf", "".join(EXON.format(*line) for line in lines))
    exons = annotation.read_exons(path)
    introns = annotation.introns(exons)
    assert introns[["start", "end"]].to_numpy().tolist() == [[10, 20], [10, 40], [30, 40]]
    tss = annotation.transcripts(exons).set_index("name")["tss"]
    assert tss.to_dict() == {"t1": 49, "t2": 49, "t3": 69}


def test_a_window_of_no_length_is_a_point_between_bases(tmp_path):
    path = tmp_path / "tss.bed"
    path.write_text("chr1\t11873\t11873\ta\tA\t+\nchr1\t29370\t29370\tb\tB\t-\n")
    assert annotation.read_tss_windows(path, 0)["tss"].tolist() == [11873, 29369]
    with pytest.raises(InputError, match="TSS lies outside the window"):
        annotation.read_tss_windows(path, 1)
