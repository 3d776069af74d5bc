"""Features of sequences: exact values on small strings, and what must not depend on the strand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from scipy import sparse

from genebert import features, genome

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse(sequence: str) -> str:
    return sequence.translate(COMPLEMENT)[::-1]


def random_sequences(n: int, length: int, letters: str = "ACGT") -> list[str]:
    rng = np.random.default_rng([n, length])
    return ["".join(rng.choice(list(letters), length)) for _ in range(n)]


def words(k: int) -> list[str]:
    return ["".join(letters) for letters in product("ACGT", repeat=k)]


def test_gc_is_the_fraction_among_known_bases() -> None:
    gc = features.gc_features(["GGCC", "ggNN", "AATTG", "NNNN", "ACGT"])
    assert gc.dtype == np.float32
    np.testing.assert_allclose(gc[:, 0], [1.0, 1.0, 0.2, 0.5, 0.5])


def test_kmer_counts_equal_a_slow_count() -> None:
    sequences = [*random_sequences(5, 60, "ACGTN"), "ACGTA", "AC"]
    for k in (1, 3, 6):
        counts = features.kmer_features(sequences, (k,), canonical=False, normalise=False)
        for row, sequence in zip(counts.toarray(), sequences, strict=True):
            slow = [sum(sequence[i : i + k] == n for i in range(len(sequence))) for n in words(k)]
            np.testing.assert_array_equal(row, slow)


@pytest.mark.parametrize(("k", "columns"), [(3, 32), (4, 136), (5, 512), (6, 2080)])
def test_canonical_columns(k: int, columns: int) -> None:
    smaller = [min(word, reverse(word)) for word in words(k)]
    column, count = features.kmer_columns(k, True)
    assert count == columns
    assert np.array(sorted(set(smaller)))[column].tolist() == smaller


def test_canonical_features_do_not_see_the_strand_and_plain_ones_do() -> None:
    sequences = random_sequences(6, 80)
    turned = [reverse(s) for s in sequences]
    same = features.kmer_features(sequences) - features.kmer_features(turned)
    assert abs(same).max() < 1e-6
    plain = features.kmer_features(sequences, canonical=False)
    assert abs(plain - features.kmer_features(turned, canonical=False)).max() > 0.01


def test_normalised_rows_have_unit_length_in_each_block() -> None:
    x = features.kmer_features(random_sequences(4, 90), (3, 6)).toarray()
    np.testing.assert_allclose((x[:, :32] ** 2).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose((x[:, 32:] ** 2).sum(axis=1), 1, rtol=1e-5)
    assert not features.kmer_features(["NNNNNN"]).toarray().any()


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sequences = random_sequences(7, 50)
    whole = features.kmer_features(sequences)
    monkeypatch.setattr(features, "_CHUNK_BASES", 110)
    assert abs(whole - features.kmer_features(sequences)).max() == 0
    assert features.kmer_features([]).shape == (0, whole.shape[1])


@dataclass
class Rows:
    sum: sparse.csr_matrix


class OneWord:
    """A motif set of one word: a hit is an exact match, the best score is the matched letters."""

    word = genome.encode("GATA")

    def matches(self, codes: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(codes, 4)
        turned = genome.reverse_complement(self.word)
        return np.concatenate([(windows == w).sum(axis=1) for w in (self.word, turned)])

    def scan(self, sequences: list[np.ndarray]) -> Rows:
        hits = [[4.0 * (self.matches(s) == 4).sum()] for s in sequences]
        return Rows(sparse.csr_matrix(np.array(hits, dtype=np.float32)))

    def best_dense(self, sequences: list[np.ndarray]) -> np.ndarray:
        return np.array([[self.matches(s).max()] for s in sequences], dtype=np.float32)


def test_motif_features_are_the_sum_of_hits_then_the_best_score() -> None:
    x = features.motif_features(["GATAGATA", "TATC", "GATTCC"], OneWord())  # type: ignore[arg-type]
    np.testing.assert_array_equal(x, [[8, 4], [4, 4], [0, 3]])
