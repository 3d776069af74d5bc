"""Motif files: what is read from each format, and the one line that bad ones get."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genebert.errors import InputError
from genebert.motif_files import Motif, read_motifs, write_meme

MEME = """MEME version 5.5.5

ALPHABET= ACGT

strands: + -

Background letter frequencies (from uniform background):
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF MA0001.1 AGL3
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0
 0.1  0.2  0.3  0.4
 0.7\t0.1\t0.1\t0.1
URL http://example.org

MOTIF second
log-odds matrix: alength= 4 w= 1
 1 -2 3 -4
letter-probability matrix: alength= 4 w= 1
 1 0 0 0
"""
JASPAR = """>MA0001.1 AGL3
A  [ 1  2 ]
C  [ 1  2 ]
G  [ 1  4 ]
T  [ 1  2 ]
>MA0002.1 RUNX1 var
A [10]
C [0]
G [0]
T [0]
"""
PFM = ">MA0001.1 AGL3\n 1 2\n 1 2\n 1 4\n 1 2\n"
PCM = ">AHR.H12CORE.0.P.B\n1\t1\t1\t1\n2\t2\t4\t2\n>B.2\n10 0 0 0\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "motifs.txt"
    path.write_text(text)
    return path


def test_meme(tmp_path: Path) -> None:
    path = written(tmp_path, MEME)
    first, second = read_motifs(path, "meme")
    assert (first.name, first.alternate, first.sites, first.source) == (
        "MA0001.1",
        "AGL3",
        20,
        str(path),
    )
    np.testing.assert_allclose(first.probabilities.T, [[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    assert second.name == "second"
    np.testing.assert_array_equal(second.probabilities.T, [[1, 0, 0, 0]])


@pytest.mark.parametrize(
    ("text", "format"), [(JASPAR, "jaspar"), (PFM, "jaspar"), (PCM, "hocomoco")]
)
def test_counts_become_probabilities(tmp_path: Path, text: str, format: str) -> None:
    motif, *_ = read_motifs(written(tmp_path, text), format)
    np.testing.assert_allclose(motif.probabilities.T, [[0.25] * 4, [0.2, 0.2, 0.4, 0.2]])
    assert motif.sites == 10


def test_jaspar_names(tmp_path: Path) -> None:
    motifs = read_motifs(written(tmp_path, JASPAR), "jaspar")
    assert [(m.name, m.alternate) for m in motifs] == [
        ("MA0001.1", "AGL3"),
        ("MA0002.1", "RUNX1_var"),
    ]


BANNERS = {
    "meme": f"{'*' * 80}\nMEME - Motif discovery tool\n{'*' * 80}\n",
    "streme": f"{'*' * 80}\nSTREME - Sensitive, Thorough, Rapid, Enriched Motif Elicitation\n{'*' * 80}\n",
    "dreme": "# DREME 5.0.0\n# command: dreme -p peaks.fa\n\n",
}


@pytest.mark.parametrize("program", BANNERS)
def test_programs_of_meme_write_a_banner(tmp_path: Path, program: str) -> None:
    text = edited(MEME, "MOTIF second", "MOTIF second MEME-2\twidth =   1  sites =  9  E-value = 1")
    first, second = read_motifs(written(tmp_path, BANNERS[program] + text), "meme")
    assert (first.name, first.alternate) == ("MA0001.1", "AGL3")
    assert (second.name, second.alternate) == ("second", "MEME-2")


def test_a_banner_has_an_end_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: is not a MEME motif file; found '\*'"):
        read_motifs(written(tmp_path, "*\n" * 50 + MEME), "meme")
    with pytest.raises(InputError, match=r"line 15: .*not numeric"):
        read_motifs(written(tmp_path, BANNERS["meme"] + edited(MEME, "0.3 ", "abc ")), "meme")
    with pytest.raises(InputError, match=r"line 4: is not .*found 'MEME version 3"):
        read_motifs(
            written(tmp_path, BANNERS["meme"] + edited(MEME, "version 5.5.5", "version 3")), "meme"
        )


def test_hocomoco_may_be_meme_and_files_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "motifs.meme.gz"
    path.write_bytes(gzip.compress(MEME.encode()))
    assert [m.name for m in read_motifs(path, "hocomoco")] == ["MA0001.1", "second"]


HOCOMOCO = {  # one motif as each release and format writes it
    "v11 pcm": (">AHR_HUMAN.H11MO.0.B\n40.5\t18.0\t56.5\t40.0\n10\t120\t15\t10\n", "hocomoco"),
    "v12 pcm": (
        "> AHR.H12CORE.0.P.B\n40.5 18 56.5 40\r\n10 120 15 10\r\n", "hocomoco"
    ),
    "v11 jaspar": (
        ">AHR_HUMAN.H11MO.0.B\n40.5\t10\n18.0\t120\n56.5\t15\n40.0\t10\n", "jaspar"
    ),
    "v12 meme": (
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\n"
        "A 0.25 C 0.25 G 0.25 T 0.25\n\nMOTIF AHR.H12CORE.0.P.B\n"
        "letter-probability matrix: alength= 4 w= 2 nsites= 155\n"
        "\t0.26129\t0.11613\t0.36452\t0.25806\n\t0.06452\t0.77419\t0.09677\t0.06452\n"
        "URL https://hocomoco.autosome.org/motif/AHR.H12CORE.0.P.B\n", "hocomoco"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOCOMOCO)
def test_hocomoco_of_all_releases(tmp_path: Path, case: str) -> None:
    text, format = HOCOMOCO[case]
    (motif,) = read_motifs(written(tmp_path, text), format)
    assert motif.name.startswith("AHR")
    expected = np.array([[40.5, 18, 56.5, 40], [10, 120, 15, 10]]) / 155
    np.testing.assert_allclose(motif.probabilities.T, expected, atol=2e-5)
    assert motif.sites == 155


def test_hocomoco_of_log_odds_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ">AHR_HUMAN.H11MO.0.B\n0.04 -0.76 0.37 0.03\n")
    with pytest.raises(InputError, match="negative"):
        read_motifs(path, "hocomoco")


HOMER = "\t6.049537\t-1782.996\t0\t9805.3,5781.0,3085.1,2715.0,0.00e+00\n"


@pytest.mark.parametrize("format", ["hocomoco", "jaspar"])
@pytest.mark.parametrize("end", [HOMER, "\t3.3775000000000004\n", "\t8\n", "\t1e1\n"])
def test_homer_is_no_hocomoco(tmp_path: Path, format: str, end: str) -> None:
    """Its consensus was taken for the name; four positions would be a JASPAR matrix, turned."""
    text = (
        f">ASTT\tELF1(ETS)/Jurkat-ELF1-ChIP-Seq(SRA014231)/Homer{end}" + "0.1\t0.2\t0.3\t0.4\n" * 4
    )
    with pytest.raises(InputError, match=r"line 1: is a HOMER motif file; found '>ASTT.*MEME"):
        read_motifs(written(tmp_path, text), format)


def test_a_second_name_is_not_taken_for_homer(tmp_path: Path) -> None:
    text = ">MA1.1\tELF1\tthird\n" + "1\t2\t3\t4\n" * 4
    for format in ("hocomoco", "jaspar"):
        assert read_motifs(written(tmp_path, text), format)[0].name == "MA1.1"


@pytest.mark.parametrize(
    ("release", "group"), [(2014, "fungi"), (2022, "nematodes"), (2026, "urochordates")]
)
def test_other_releases_and_groups(release: int, group: str) -> None:
    motifs = read_motifs(f"jaspar:JASPAR{release}:{group.title()}", "pyjaspar")
    assert len({motif.name for motif in motifs}) == len(motifs) > 0
    assert all(motif.width > 3 and motif.alternate for motif in motifs)


def test_jaspar_release_is_read_offline() -> None:
    motifs = read_motifs("jaspar:2024:vertebrates", "pyjaspar")
    assert len(motifs) == 879
    assert [m.name for m in motifs] == sorted({m.name for m in motifs})
    (ctcf,) = (m for m in motifs if m.name == "MA0139.2")
    assert (ctcf.alternate, ctcf.width) == ("CTCF", 15)
    np.testing.assert_allclose(ctcf.probabilities.sum(axis=0), 1)


def test_written_meme_is_read_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    counts = rng.random((4, 9))
    motifs = [Motif("a", "x", counts / counts.sum(axis=0), 12.0, "A B"), Motif("b", "x", np.eye(4))]
    write_meme(tmp_path / "a.meme", motifs, (0.3, 0.2, 0.2, 0.3))
    back = read_motifs(tmp_path / "a.meme", "meme")
    assert [(m.name, m.alternate, m.sites) for m in back] == [("a", "A B", 12), ("b", "", 0)]
    for one, other in zip(motifs, back, strict=True):
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
    write_meme(tmp_path / "b.meme", back, (0.3, 0.2, 0.2, 0.3))
    assert (tmp_path / "a.meme").read_bytes() == (tmp_path / "b.meme").read_bytes()


def edited(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


BAD = {
    "another format": (JASPAR, "meme", 1, "is not a MEME motif file"),
    "old meme": (edited(MEME, "version 5.5.5", "version 3.0"), "meme", 1, "MEME version 4"),
    "meme as jaspar": (MEME, "jaspar", 1, "is not a JASPAR motif file"),
    "meme as counts": (PFM, "hocomoco", 2, "row of MA0001.1 has another length"),
    "no motifs": (MEME.split("MOTIF")[0], "meme", None, "has no motifs"),
    "empty": ("", "jaspar", None, "has no motifs"),
    "empty meme": ("", "meme", 1, "is not a MEME motif file"),
    "duplicate": (edited(MEME, "MOTIF second", "MOTIF MA0001.1"), "meme", 16, "repeats line 10"),
    "duplicate jaspar": (edited(JASPAR, "MA0002.1", "MA0001.1"), "jaspar", 6, "repeats line 1"),
    "sum": (edited(MEME, "0.7\t", "0.9\t"), "meme", 13, "does not sum to 1"),
    "not numeric": (edited(MEME, "0.3 ", "abc "), "meme", 12, "not numeric"),
    "not finite": (edited(MEME, "0.3 ", "nan "), "meme", 12, "not finite"),
    "negative": (edited(JASPAR, "[ 1 ", "[ -1 "), "jaspar", 2, "negative"),
    "short row": (edited(MEME, "  0.4\n", "\n"), "meme", 12, "another length"),
    "fewer rows": (edited(MEME, "w= 2", "w= 3"), "meme", 13, "is truncated"),
    "more rows": (edited(MEME, "w= 2", "w= 1"), "meme", 13, "is longer than its header says"),
    "header": (edited(MEME, "w= 2", "w= x"), "meme", 11, "header is not numeric"),
    "protein": (edited(MEME, "ACGT", "ACDEF"), "meme", 3, "alphabet is not DNA"),
    "rna": (edited(MEME, "ALPHABET= ACGT", "ALPHABET= ACGU"), "meme", 3, "alphabet is not DNA"),
    "long alphabet": (edited(MEME, "alength= 4", "alength= 20"), "meme", 11, "alphabet"),
    "cut in a matrix": (MEME[: MEME.index(" 0.7")], "meme", 12, "is truncated"),
    "cut after a name": (MEME[: MEME.index("log-odds")], "meme", 16, "file is truncated"),
    "cut jaspar": (JASPAR[: JASPAR.index("T  [")], "jaspar", 4, "is truncated"),
    "ragged": (edited(JASPAR, "4 ]", "4 5 ]"), "jaspar", 4, "differ in width"),
    "order": (edited(JASPAR, "C  [", "G  ["), "jaspar", 3, "out of order"),
    "no counts": (edited(PCM, "2\t2\t4\t2", "0\t0\t0\t0"), "hocomoco", 1, "without counts"),
    "no rows": (">A\n>B\n1 1 1 1\n", "hocomoco", 1, "unlikely width"),
    "nameless": (">\n1 1 1 1\n", "hocomoco", 1, "has no name"),
    "format": (MEME, "memes", None, "did you mean 'meme'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_get_one_line(tmp_path: Path, case: str) -> None:
    text, format, row, message = BAD[case]
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_motifs(path, format)
    told = str(caught.value)
    assert message in told
    assert told.startswith(f"{path}: " if row is None else f"{path}, line {row}: ")
    assert "\n" not in told


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_motifs(tmp_path / "none.meme", "meme")
    (tmp_path / "a.meme").write_bytes(b"\xff\xfe\x00\x80" * 10)
    with pytest.raises(InputError, match="is not a text file"):
        read_motifs(tmp_path / "a.meme", "meme")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("jaspar:1999", "no such JASPAR release.*2024"),
        ("jaspar:2024:dragons", "no motifs of this group.*vertebrates"),
        ("jaspar:latest", "not a JASPAR query"),
        ("motifs.meme", "not a JASPAR query"),
    ],
)
def test_bad_queries(query: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=message):
        read_motifs(query, "pyjaspar")
    assert capsys.readouterr().out == ""
