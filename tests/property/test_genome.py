"""Sequence codes: what must hold for every sequence."""

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genebert import genome
from genebert.errors import InputError

dna = st.text(alphabet="ACGTNacgtnRY", max_size=70)


@given(dna)
def test_decode_inverts_encode(text):
    expected = "".join(c if c in "ACGT" else "N" for c in text.upper())
    assert genome.decode(genome.encode(text)) == expected


@given(dna)
def test_reverse_complement(text):
    codes = genome.encode(text)
    twice = genome.reverse_complement(genome.reverse_complement(codes))
    assert np.array_equal(twice, codes)
    table = str.maketrans("ACGT", "TGCA")
    assert (
        genome.decode(genome.reverse_complement(codes))
        == genome.decode(codes).translate(table)[::-1]
    )


@given(st.lists(dna.map(lambda s: (s + "N" * 33)[:33]), min_size=1, max_size=4))
def test_unpack_inverts_pack(texts):
    codes = np.stack([genome.encode(t) for t in texts])
    packed, mask = genome.pack(codes)
    assert packed.shape == (len(texts), 9)
    assert np.array_equal(genome.unpack(packed, mask, 33), codes)


def test_gc_content_ignores_n():
    assert genome.gc_content(genome.encode("GCNNAT")) == 0.5
    assert genome.gc_content(genome.encode("NN")) == 0.5
    assert genome.gc_content(np.stack([genome.encode("GG"), genome.encode("AN")])).tolist() == [
        1,
        0,
    ]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text(">chr1\nACGTacgtNN\nGG\n>chr2\nTTT\n")
    pysam.faidx(str(path))
    return path


def test_genome(fasta):
    g = genome.Genome(fasta)
    assert g.lengths == {"chr1": 12, "chr2": 3}
    assert genome.decode(g.codes("chr1", 2, 12)) == "GTACGTNNGG"
    assert g.repeats("chr1", 2, 6).tolist() == [False, False, True, True]
    assert genome.decode(g.window("chr2", -2, 5)) == "NNTTTNN"
    assert genome.decode(g.window("chr2", 5, 8)) == "NNN"
    assert genome.decode(g.window("chr2", -5, -1)) == "NNNN"
    with pytest.raises(InputError, match="interval leaves chr2; found '0-4'; expected 0-3"):
        g.codes("chr2", 0, 4)
    with pytest.raises(InputError, match="contig is not in the genome"):
        g.codes("chr9", 0, 4)
    with pytest.raises(InputError, match="indexed FASTA"):
        genome.Genome(fasta.with_name("none.fa"))
