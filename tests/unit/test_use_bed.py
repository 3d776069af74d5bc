"""BED files of users: rows as they are, windows in any order, bad rows in one line."""

from __future__ import annotations

import numpy as np
import pysam
import pytest

from genebert.errors import InputError
from genebert.genome import Genome, decode
from genebert.use import bed

TEXT = {"chr1": "ACGTACGGTTAACCNNGATTACAGGTCA" * 3, "chr2": "TTGACATTGCAGACCATTGA" * 2}


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in TEXT.items()))
    pysam.faidx(str(path))
    return Genome(path)


def read(tmp_path, genome, text):
    path = tmp_path / "a.bed"
    path.write_text(text)
    return bed.read_bed(str(path), genome)


def test_a_contig_may_begin_like_a_head(tmp_path):
    path = tmp_path / "a.bed"
    path.write_text("track name=x\nbrowser hide all\ntrack1\t1\t5\nbrowser_x\t2\t7\n")
    rows = bed.rows_of(str(path), {"track1": 10, "browser_x": 10})
    assert [rows.contigs[i] for i in rows.contig] == ["track1", "browser_x"]
    assert rows.line.tolist() == [3, 4]


def test_rows_keep_their_order_and_lines(tmp_path, genome):
    text = "track name=x\n#c\nchr2\t5\t9\tb\t0\t-\nchr1\t1\t2\n\nchrUn\t0\t5\nchr1\t0\t84\ta\n"
    rows = read(tmp_path, genome, text)
    assert rows.line.tolist() == [3, 4, 7]
    assert [rows.contigs[i] for i in rows.contig] == ["chr2", "chr1", "chr1"]
    assert rows.name.tolist() == ["b", "", "a"]
    assert rows.strand.tolist() == ["-", ".", "."]
    assert rows.skipped == {"chrUn": 1}
    assert rows.middle.tolist() == [7, 1, 42]
    assert rows.frame()["contig"].tolist() == ["chr2", "chr1", "chr1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("#only a comment\n", "has no rows"),
        ("chr1\t5\n", "line 1: is not a row of a BED"),
        ("chr1\t0\t4\nchr1\tx\t5\n", "line 2: is not a row of a BED"),
        ("chr1\t7\t7\n", "is not a row of a BED"),
        ("chr1\t-1\t7\n", "is not a row of a BED"),
        ("chr2\t0\t41\n", "line 1: row leaves chr2"),
        ("1\t0\t5\n", "did you mean 'chr1'"),
    ],
)
def test_bad_files_are_one_line(tmp_path, genome, text, message):
    with pytest.raises(InputError, match=message) as error:
        read(tmp_path, genome, text)
    assert "a.bed" in str(error.value)


def test_windows_are_the_bases_of_the_genome_and_n_beyond_its_ends(tmp_path, genome):
    rows = read(tmp_path, genome, "chr2\t0\t2\tx\t0\t-\nchr1\t30\t40\nchr2\t36\t40\n")
    first = rows.middle - 4
    got = [decode(codes) for codes in bed.windows(genome, rows, first, 8)]
    assert got == ["NNN" + TEXT["chr2"][:5], TEXT["chr1"][31:39], TEXT["chr2"][34:] + "NN"]
    turned = bed.windows(genome, rows, first, 8, oriented=True)
    assert decode(turned[0]) == "GTCAANNN"  # the reverse complement of NNNTTGAC
    assert np.array_equal(turned[1:], bed.windows(genome, rows, first, 8)[1:])


def test_blocks_are_all_rows_once(tmp_path, genome):
    rows = read(tmp_path, genome, "".join(f"chr1\t{i}\t{i + 3}\n" for i in range(10)))
    parts = list(bed.blocks(rows, 4))
    assert [at for at, _ in parts] == [0, 4, 8]
    assert np.concatenate([part.start for _, part in parts]).tolist() == list(range(10))
