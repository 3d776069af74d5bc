"""Rows of a BED get the sequences that the datasets of the tasks have at the same places."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pysam
import pytest

from genebert.genome import Genome, decode, reverse_complement
from genebert.tasks.dataset import oriented_window
from genebert.tasks.splicing import BEFORE, LENGTH
from genebert.use.bed import read_bed, windows
from genebert.use.placing import first_bases

TURNED = str.maketrans("ACGT", "TGCA")
SIZE = 4001
# strand, and the place of the first (donor) and last base of an intron; the site within its context
SITES = {
    "donor +": ("donor", 1000, "+", "CGTAAG"),
    "acceptor +": ("acceptor", 1600, "+", "TTCAGG"),
    "donor -": ("donor", 3000, "-", "CGTAAG"),
    "acceptor -": ("acceptor", 2400, "-", "TTCAGG"),
    "GC donor": ("donor", 2000, "+", "CGCAAG"),
    "GC donor -": ("donor", 3300, "-", "CGCAAG"),
    "acceptor before C": ("acceptor", 700, "+", "TTCAGC"),
}
INSIDE = {"donor": 1, "acceptor": 4}  # of the site's base in its context


def genome_of(folder: Path, text: str) -> Genome:
    path = folder / "g.fa"
    path.write_text(f">c\n{text}\n")
    pysam.faidx(str(path))
    return Genome(path)


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    letters = np.random.default_rng(0).choice(list("ACGT"), SIZE)
    for kind, place, strand, word in SITES.values():
        inside = INSIDE[kind]
        if strand == "-":
            word, inside = word[::-1].translate(TURNED), len(word) - 1 - inside
        letters[place - inside : place - inside + len(word)] = list(word)
    return genome_of(tmp_path_factory.mktemp("g"), "".join(letters))


def network(length: int, focus: tuple[int, int] | None, stranded: bool = True) -> Any:
    about = SimpleNamespace(length=length, focus=focus, strand_specific=stranded)
    return SimpleNamespace(about=about)


SPLICING = network(LENGTH, (BEFORE["acceptor"], BEFORE["donor"]))


def read(folder: Path, genome: Genome, rows: list[tuple[int, int, str]]) -> Any:
    path = folder / "a.bed"
    path.write_text("".join(f"c\t{s}\t{e}\tx\t0\t{strand}\n" for s, e, strand in rows))
    return read_bed(str(path), genome)


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("flank", [0, 1, 5])
def test_a_splice_site_has_the_sequence_of_the_dataset(tmp_path, genome, name, flank):
    """As the dataset has it: the row is the site's base, or lies around the border of its exon."""
    kind, place, strand, _ = SITES[name]
    at_right = (kind == "donor") == (strand == "+")  # the base is on the right of the border
    border = place if at_right else place + 1
    before = BEFORE[kind]
    start, end = oriented_window(place, strand, before, LENGTH - 1 - before)
    codes = genome.window("c", start, end)
    expected = decode(reverse_complement(codes) if strand == "-" else codes)
    assert expected[before - INSIDE[kind] :].startswith(SITES[name][3])
    rows = read(
        tmp_path, genome,
        [(place - flank, place + 1 + flank, strand), (border - 1 - flank, border + 1 + flank, strand),
         (start, end, strand)],
    )  # fmt: skip
    first, known = first_bases(rows, SPLICING, genome)
    assert known.all()
    found = [decode(x) for x in windows(genome, rows, first, LENGTH, oriented=True)]
    assert found == [expected] * 3


def test_a_base_that_is_no_site_or_could_be_two_has_no_sequence(tmp_path):
    text = "".join(np.random.default_rng(1).choice(list("ACGT"), 1000))
    words = {"CAGTA": False, "CTTCA": False, "CAGCA": True, "NNGTA": True, "AGNNN": False}
    for i, word in enumerate(words):
        text = text[: 400 + 10 * i] + word + text[405 + 10 * i :]
    genome = genome_of(tmp_path, text)
    places = [402 + 10 * i for i in range(len(words))]
    _, known = first_bases(
        read(tmp_path, genome, [(p, p + 1, "+") for p in places]), SPLICING, genome
    )
    assert known.tolist() == list(words.values())
    # of even length, or as long as the network's sequences: whatever the bases are
    rows = read(tmp_path, genome, [(p - 1, p + 1, "+") for p in places])
    assert first_bases(rows, SPLICING, genome)[1].all()
    odd = network(201, (99, 100))
    assert first_bases(read(tmp_path, genome, [(300, 501, "+")]), odd, genome)[1].all()


@pytest.mark.parametrize(
    "made",
    [
        SPLICING,
        network(301, (150, 151)),
        network(300, (249, 249)),
        network(70, (34, 34)),
        network(300, None),
        network(301, None),
    ],
)
@pytest.mark.parametrize("length", range(1, 12))
def test_a_row_on_the_other_strand_of_the_turned_genome_is_the_same(tmp_path, genome, made, length):
    text = decode(genome.codes("c", 0, SIZE))
    turned = genome_of(tmp_path, text[::-1].translate(TURNED))
    starts = [*range(1995, 2006), *range(2995, 3006)]
    found = []
    for one, rows in (
        (genome, [(s, s + length, "+-"[s > 2500]) for s in starts]),
        (turned, [(SIZE - s - length, SIZE - s, "-+"[s > 2500]) for s in starts]),
    ):
        given = read(tmp_path, one, rows)
        first, known = first_bases(given, made, one)
        codes = windows(one, given, first, made.about.length, oriented=True)
        found.append(np.where(known[:, None], codes, 9))
    np.testing.assert_array_equal(*found)


def test_without_a_strand_that_counts_the_middle_is_in_the_middle(tmp_path, genome):
    rows = read(tmp_path, genome, [(1000, 1001, "-"), (1000, 1002, "+"), (1000, 1300, "-")])
    first, known = first_bases(rows, network(300, None, stranded=False), genome)
    assert first.tolist() == [850, 851, 1000]
    assert known.all()
