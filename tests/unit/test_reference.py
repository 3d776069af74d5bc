"""The reference genome: what is written, and what bad FASTA files get."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from genebert import reference
from genebert.errors import InputError
from genebert.genome import Genome
from genebert.reference import build_reference, check_build, read_contigs

SPLITS = {"train": ["chr1"], "valid": ["chr2:0-50"], "test": ["chr3"]}
RNG = np.random.default_rng(1)
LETTERS = {
    name: "".join(RNG.choice(list("ACGTacgtN"), size))
    for name, size in (("chr1", 301), ("chr2", 120), ("chr3", 60), ("chrM", 7))
}


def fasta(letters: dict[str, str] = LETTERS, width: int = 50, end: str = "\n") -> bytes:
    out = ""
    for name, text in letters.items():
        out += f">{name} some words{end}"
        out += "".join(text[i : i + width] + end for i in range(0, len(text), width))
    return out.encode()


class Job:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fasta = folder / "in.fa"
        self.out = folder / "out"
        self.out.mkdir()
        self.genome = self.out / "genome.fa.gz"
        self.contigs = self.out / "contigs.tsv"

    def __call__(self, content: bytes, splits: dict[str, Any] = SPLITS, **more: str) -> None:
        self.fasta.write_bytes(content)
        build_reference(
            fasta=str(self.fasta),
            genome=str(self.genome),
            index=f"{self.genome}.fai",
            block_index=f"{self.genome}.gzi",
            contigs=str(self.contigs),
            splits=splits,
            **more,
        )


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_letters_survive(job: Job) -> None:
    job(fasta())
    genome = Genome(job.genome)
    assert genome.lengths == {name: len(text) for name, text in LETTERS.items()}
    for name, text in LETTERS.items():
        assert genome.raw(name, 0, len(text)).tobytes().decode() == text
    assert sorted(path.name for path in job.out.iterdir()) == [
        "contigs.tsv",
        "genome.fa.gz",
        "genome.fa.gz.fai",
        "genome.fa.gz.gzi",
    ]


def test_contigs_table(job: Job) -> None:
    job(fasta())
    rows = [line.split("\t") for line in job.contigs.read_text().splitlines()]
    assert rows[0] == ["contig", "length", "n_bases", "split"]
    assert [row[3] for row in rows[1:]] == ["train", "mixed", "test", "none"]
    assert [int(row[2]) for row in rows[1:]] == [t.count("N") for t in LETTERS.values()]
    assert read_contigs(job.contigs) == {name: len(text) for name, text in LETTERS.items()}


def test_a_contig_tiled_by_one_split_is_of_that_split(job: Job) -> None:
    job(fasta(), SPLITS | {"valid": ["chr2:0-50", "chr2:50-120"]})
    assert "chr2\t120" in job.contigs.read_text()
    assert job.contigs.read_text().splitlines()[2].endswith("valid")


@pytest.mark.parametrize("kind", ["gzip", "bgzip", "wide", "narrow", "windows", "no-last-newline"])
def test_same_letters_same_bytes(job: Job, tmp_path: Path, kind: str) -> None:
    job(fasta())
    expected = [path.read_bytes() for path in sorted(job.out.iterdir())]
    content = {
        "gzip": gzip.compress(fasta()),
        "wide": fasta(width=10_000),
        "narrow": fasta(width=7),
        "windows": fasta(end="\r\n"),
        "no-last-newline": fasta().rstrip(b"\n"),
    }.get(kind)
    if content is None:
        with pysam.BGZFile(str(tmp_path / "x.gz"), "wb") as handle:
            handle.write(fasta())
        content = (tmp_path / "x.gz").read_bytes()
    job(content)
    assert [path.read_bytes() for path in sorted(job.out.iterdir())] == expected


@pytest.mark.parametrize("chunk", [60, 120, 600])
def test_pieces_do_not_show(job: Job, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    job(fasta())
    expected = job.genome.read_bytes(), job.contigs.read_bytes()
    monkeypatch.setattr(reference, "CHUNK", chunk)
    for width in (7, 60, 1000):
        job(fasta(width=width))
        assert (job.genome.read_bytes(), job.contigs.read_bytes()) == expected


def test_ambiguity_codes_count_as_n(job: Job) -> None:
    job(fasta(LETTERS | {"chrM": "ACRYkmNn"}))
    assert "chrM\t8\t6\tnone" in job.contigs.read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"contig\tstart\n", "line 1: is not a FASTA.*expected a line '>name'"),
        (b">chr1\nACGT\n>chr1\nACGT\n", "contig name is repeated; found 'chr1'"),
        (b">chr1\n>chr2\nACGT\n", "contig has no sequence; found 'chr1'"),
        (b">chr1\nACGT\n>chr2\n", "contig has no sequence; found 'chr2'"),
        (b">chr1\nACGT\n>\nACGT\n", "line 3: contig has no name"),
        (b"> chr1\nACGT\n", "line 1: contig has no name"),
        (b">chr1\nACGT\nAC-T\n", "line 3: letter is not a DNA base; found '-'"),
        (b">chr1\nACGT\nMKLVEF*\n", "line 3: letter is not a DNA base; found '[LEF]'"),
        (b">chr1\nAC GT\n", "line 2: letter is not a DNA base; found ' '"),
        (b">chr1\nACGU\n", "line 2: letter is not a DNA base; found 'U'"),
        (gzip.compress(fasta())[:-20], "gzip file is truncated"),
        (gzip.compress(fasta())[:60] + b"\0" * 80, "gzip file is (corrupt|truncated)"),
        (fasta({"1": "ACGT"}), "contig of split train is not in the genome.*'chr1'"),
        (fasta(LETTERS | {"chr2": "ACGT"}), "interval of split valid ends beyond chr2; found 50"),
    ],
)
def test_bad_fasta(job: Job, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        job(content)
    assert str(error.value).startswith(str(job.fasta))
    assert not job.contigs.exists()


def test_missing_file(job: Job) -> None:
    with pytest.raises(InputError, match="no such file"):
        reference.write_bgzip(job.folder / "absent.fa", job.genome)


def test_row_of_a_bad_letter_far_into_the_file(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", 120)
    lines = [b">chr1", *[b"ACGTACGTACG"] * 100, b"ACGJ", *[b"ACGT"] * 50]
    with pytest.raises(InputError, match="line 102: letter is not a DNA base; found 'J'"):
        job(b"\n".join(lines))


@pytest.mark.parametrize(
    ("name", "chr1", "message"),
    [
        ("hg38", 249_250_621, "length of chr1 is not that of hg38; this looks like hg19"),
        ("GRCh37", 248_956_422, "not that of GRCh37; this looks like hg38"),
        ("mm10", 5, "length of chr1 is not that of mm10; found 5; expected 195471971"),
    ],
)
def test_wrong_build(name: str, chr1: int, message: str) -> None:
    for contig in ("chr1", "1"):
        with pytest.raises(InputError, match=message):
            check_build(name, {contig: chr1, "chrUn": 3}, file="x.fa")


def test_right_and_unknown_builds() -> None:
    check_build("hg19", {"chr1": 249_250_621, "chrX": 155_270_560}, file="x.fa")
    check_build("hg38", {"chr21": 46_709_983}, file="x.fa")  # a subset: nothing to compare
    check_build("sim1", {"chr1": 5}, file="x.fa")


def test_build_is_checked(job: Job) -> None:
    with pytest.raises(InputError, match="length of chr1 is not that of hg19"):
        job(fasta(), name="hg19")


def test_index_that_does_not_fit(job: Job) -> None:
    job(fasta())
    contigs = reference.write_bgzip(job.fasta, job.folder / "again.fa.gz")
    contigs[1].length += 1
    with pytest.raises(AssertionError, match="does not fit its contig chr2"):
        reference._check_index(str(job.genome), contigs)


@pytest.mark.parametrize("text", ["chr1\t0", "chr1\tx", "chr1\t-5"])
def test_bad_contigs_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "contigs.tsv"
    path.write_text(f"contig\tlength\n{text}\n")
    with pytest.raises(InputError, match="line 2: length is not a positive integer"):
        read_contigs(path)
