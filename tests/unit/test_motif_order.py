"""The order of the motifs: by cluster, and by what they look like on either strand."""

from __future__ import annotations

import numpy as np
import pytest

from genebert.errors import InputError
from genebert.motif_files import Motif
from genebert.motif_order import correlations, ordered


def motif(name, word, weight=0.91):
    probabilities = np.full((4, len(word)), (1 - weight) / 3)
    probabilities[["ACGT".index(base) for base in word], range(len(word))] = weight
    return Motif(name, "toys", probabilities)


MOTIFS = [
    motif("ets1", "ACCGGAAGT"),
    motif("gata1", "AGATAAG"),
    motif("ets2", "CGGAAGTG", 0.85),
    motif("box", "CACGTG"),
    motif("gata2", "CTTATCT"),  # the other strand of GATA
]
NAMES = [m.name for m in MOTIFS]


def test_source_is_the_order_of_the_files():
    assert [m.name for m in ordered(MOTIFS, "source")] == NAMES


def test_members_of_a_cluster_stand_together():
    clusters = {"gata1": "GATA", "gata2": "GATA", "ets2": "ETS", "ets1": "ETS"}
    found = [m.name for m in ordered(MOTIFS, "cluster", clusters)]
    assert found == ["ets1", "ets2", "gata1", "gata2", "box"]


@pytest.mark.parametrize("clusters", [None, {}])
def test_without_clusters_there_is_no_such_order(clusters):
    with pytest.raises(InputError, match="no clusters to order by"):
        ordered(MOTIFS, "cluster", clusters)


def test_motifs_that_look_alike_are_neighbours():
    for start in range(len(MOTIFS)):
        found = [m.name for m in ordered(MOTIFS[start:] + MOTIFS[:start], "correlation")]
        assert sorted(found) == sorted(NAMES)
        for one, two in (("ets1", "ets2"), ("gata1", "gata2")):
            assert abs(found.index(one) - found.index(two)) == 1


def test_correlation_is_that_of_the_best_alignment():
    r = correlations([m.probabilities for m in MOTIFS])
    np.testing.assert_allclose(r, r.T)
    np.testing.assert_allclose(np.diag(r), 1)
    assert r[1, 4] == pytest.approx(1)  # a motif and its reverse complement
    assert 0.8 < r[0, 2] < 1
    assert r[0, 1] < 0.6
    # by hand: two words with the same last base, laid over each other there
    one, two = (motif(n, w).probabilities for n, w in (("a", "AC"), ("b", "CT")))
    overlap = ((one[:, 1] - 0.25) * (two[:, 0] - 0.25)).sum()
    whole = np.sqrt(((one - 0.25) ** 2).sum() * ((two - 0.25) ** 2).sum())
    assert correlations([one, two])[0, 1] == pytest.approx(overlap / whole)


def test_a_motif_without_information_resembles_none():
    flat = Motif("flat", "toys", np.full((4, 3), 0.25))
    r = correlations([MOTIFS[0].probabilities, flat.probabilities])
    assert r[0, 1] == pytest.approx(0)
    assert len(ordered([MOTIFS[0], flat], "correlation")) == 2
