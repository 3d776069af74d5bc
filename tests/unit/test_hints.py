"""What to type instead: every guess, and none where there is nothing to guess."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from genebert import hints
from genebert.errors import InputError
from genebert.layout import LONG_TABLE
from genebert.lines import line_blocks, text_lines
from genebert.peaks import Peaks, read_atlas, read_peaks
from genebert.regions import read_blacklist
from genebert.splits import Splits
from genebert.tables import read_rows

CONTIGS = {"chr1": 1000, "chr2": 1000, "chrM": 100}
BARE = {"1": 1000, "2": 1000, "MT": 100}


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"PK\x03\x04rest", "zip file or an Excel sheet"),
        (b"BZh91AY", "bunzip2"),
        (b"\xeb\xf2\x89\x87", "bigBedToBed"),
        (b"\x87\x89\xf2\xeb", "bigBedToBed"),
        (b"\x43\x27\x41\x1a", "twoBitToFa"),
        (b"\x26\xfc\x8f\x88", "holds no peaks"),
        (b"BAM\x01", "MACS"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"<!doctype HTML>", "a download went wrong"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_other_kinds_of_files(tmp_path: Path, head: bytes, text: str, zipped: bool) -> None:
    path = tmp_path / "peaks.bed.gz"
    path.write_bytes(gzip.compress(head + b"\n") if zipped else head + b"\n")
    for read in (text_lines, line_blocks):
        with pytest.raises(InputError, match=text) as error:
            list(read(path))
        assert str(error.value).startswith(f"{path}: is not a text file")
    if not zipped:
        with pytest.raises(InputError, match=text):
            read_rows(path, ("cell_type",))


@pytest.mark.parametrize("head", [b"", b"chr1\t1\t2", b">chr1", b"##gff", b"PK\n", b"\x1f\x8b"])
def test_text_is_no_other_kind(head: bytes) -> None:
    assert hints.file_kind(head) is None


def test_a_name_ending_in_gz_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"plain\n")
    (tmp_path / "b").write_bytes(gzip.compress(b"zipped\n"))
    assert [line for _, line in text_lines(tmp_path / "a.gz")] == ["plain"]
    assert [line for _, line in text_lines(tmp_path / "b")] == ["zipped"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cell_type,peaks,format\nB,b.bed,bed\n", "commas"),
        ("cell_type;peaks;format\nB;b.bed;bed\n", "semicolons"),
        ("cell_type peaks format\nB b.bed bed\n", "spaces"),
    ],
)
def test_wrong_separator_of_a_table(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "cells.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"must be separated by tabs, not by {name}"):
        read_rows(path, ("cell_type", "peaks", "format"))


def test_wrong_separator_of_peaks(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed"
    path.write_text("chr1,100,200\n")
    with pytest.raises(InputError, match="line 1: too few columns; fields must be .* commas"):
        read_peaks(path, "bed", CONTIGS)


def test_what_windows_and_excel_add_does_no_harm(tmp_path: Path) -> None:
    table, peaks = tmp_path / "cells.tsv", tmp_path / "peaks.bed"
    table.write_bytes(b"\xef\xbb\xbfcell_type\tpeaks\tformat\r\nB\tpeaks.bed\tbed\r\n\r\n")
    (row,) = read_rows(table, ("cell_type", "peaks", "format"), paths=("peaks",))
    assert (row["cell_type"], row["format"]) == ("B", "bed")
    peaks.write_bytes(b"chr1\t100\t200\r\nchr2\t100\t200\r\n")
    assert len(read_peaks(row["peaks"], "bed", CONTIGS)) == 2


@pytest.mark.parametrize(
    ("file", "asked", "text"),
    [
        ("genome.fa.gz", "genome.fa", "did you mean '.*/genome.fa.gz'"),
        ("genome.fa", "genome.fa.gz", "did you mean '.*/genome.fa'"),
        ("B.narrowPeak", "b.narowPeak", "did you mean 'B.narrowPeak'"),
        ("genome.fa", "peaks/B.bed", "there is no folder '.*/peaks' either"),
    ],
)
def test_missing_files(tmp_path: Path, file: str, asked: str, text: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(InputError, match=f"no such file; {text}"):
        list(text_lines(tmp_path / asked))
    with pytest.raises(InputError, match=f"no such table; {text}"):
        read_rows(tmp_path / asked, ("a",))


def test_missing_file_unlike_all_others(tmp_path: Path) -> None:
    (tmp_path / "genome.fa").touch()
    assert hints.similar_file(tmp_path / "zzz") == ""


@pytest.mark.parametrize(
    ("contigs", "name", "twin"),
    [(CONTIGS, "1", "chr1"), (BARE, "chr1", "1"), (CONTIGS, "Chr2", "chr2"), (CONTIGS, "MT", "chrM"), (BARE, "chrM", "MT"),
     (CONTIGS, "CHR1", "chr1"), (CONTIGS, "9", ""), (CONTIGS, "chr1", "")],
)  # fmt: skip
def test_contig_twins(contigs: dict[str, int], name: str, twin: str) -> None:
    assert hints.contig_twin(name, contigs) == twin


@pytest.mark.parametrize(
    ("known", "name", "hint"),
    [
        (("chr1", "chr2", "chr3"), "chrM", ""),
        (("chr1", "chr2", "chr3"), "chr4", ""),
        (("chr2L", "chr3L"), "chr2R", ""),
        (("chr1", "chr10", "chr11"), "chr01", "chr1"),
        (("chr1", "chr11"), "chrr1", "chr1"),
        (("chrX", "chrY"), "chrx", "chrX"),
        (("scaffold_1", "scaffold_2"), "scafold_2", "scaffold_2"),
    ],
)
def test_no_other_chromosome_is_offered(known: tuple[str, ...], name: str, hint: str) -> None:
    assert hints.contig_hint(name, known) == (f"; did you mean {hint!r}?" if hint else "")


def test_names_with_and_without_chr(tmp_path: Path) -> None:
    path = tmp_path / "peaks.bed"
    path.write_text("1\t100\t200\n")
    with pytest.raises(InputError, match="did you mean 'chr1'.*awk '.*' IN > OUT") as error:
        read_peaks(path, "bed", CONTIGS)
    program = str(error.value).split("awk '")[1].split("'")[0]
    text = "#!build\ntrack name=x\n\n1\t100\t200\n"
    done = subprocess.run(["awk", program], input=text, capture_output=True, text=True, check=True)
    assert done.stdout == text.replace("\n1", "\nchr1")
    path.write_text("chr1\t100\t200\n")
    with pytest.raises(InputError, match="did you mean '1'.*sed 's/\\^chr//' IN > OUT"):
        read_peaks(path, "bed", BARE)
    splits = Splits.from_config({"train": ["1"], "valid": ["2"], "test": ["3"]})
    with pytest.raises(InputError, match="contig of split train .* did you mean 'chr1'"):
        splits.check_contigs(CONTIGS, file="genome")


BED_TEXT = "#build\ntrack name=x\n\n{0}1\t100\t200\n{0}2\t5\t9\n"
LONG_TEXT = "cell_type\tstart\tcontig\tend\nB\t100\t{0}1\t200\nB\t5\t{0}2\t9\n"


def run_hint(error: str, path: Path) -> Path:
    """Do what a message says with IN and OUT, in the shell."""
    command = error.split("before its names: ")[1].partition(" OUT")[0] + " OUT"
    out = path.with_name("out.txt")
    subprocess.run(
        command.replace(" IN ", f" {path} ").replace("OUT", str(out)), shell=True, check=True
    )
    return out


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("prefix", "known"), [("", CONTIGS), ("chr", BARE)])
@pytest.mark.parametrize("kind", ["bed", "long"])
def test_the_command_of_the_message_mends_the_file(
    tmp_path: Path, kind: str, prefix: str, known: dict[str, int], zipped: bool
) -> None:
    path = tmp_path / ("peaks.gz" if zipped else "peaks")
    text = {"bed": BED_TEXT, "long": LONG_TEXT}[kind].format(prefix)
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())

    def read(file: Path) -> Peaks:
        return read_peaks(file, "bed", known) if kind == "bed" else read_atlas(file, known)["B"]

    with pytest.raises(InputError, match="no contig is in the genome; did you mean") as error:
        read(path)
    found = read(run_hint(str(error.value), path))
    assert found.contig.tolist() == [0, 1]
    assert found.start.tolist() == [100, 5]


@pytest.mark.parametrize("known", [CONTIGS, BARE])
def test_the_command_mends_a_zipped_blacklist(tmp_path: Path, known: dict[str, int]) -> None:
    path = tmp_path / "blacklist.bed.gz"
    path.write_bytes(gzip.compress(BED_TEXT.format("" if known is CONTIGS else "chr").encode()))
    with pytest.raises(InputError, match="gunzip -c IN") as error:
        read_blacklist(path, known)
    assert [*read_blacklist(run_hint(str(error.value), path), known)[0]] == [*known][:2]


@pytest.mark.parametrize("known", [CONTIGS, BARE])
def test_a_table_that_the_run_made_is_not_to_be_edited(
    tmp_path: Path, known: dict[str, int]
) -> None:
    path = tmp_path / LONG_TABLE
    path.parent.mkdir(parents=True)
    text = LONG_TEXT.format("" if known is CONTIGS else "chr")
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=r"rename the contigs in atlas\.cell_types") as error:
        read_atlas(path, known)
    assert " IN " not in str(error.value)
    assert f"did you mean {next(iter(known))!r}?" in str(error.value)
    path.write_bytes(gzip.compress(LONG_TEXT.format("scaffold_").encode()))
    with pytest.raises(InputError, match="no contig is in the genome; other assembly"):
        read_atlas(path, known)


def test_another_assembly_without_a_twin() -> None:
    assert hints.prefix_hint("scaffold_9", CONTIGS) == "; other assembly?"
