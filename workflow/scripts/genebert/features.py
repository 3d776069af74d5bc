"""Features of DNA sequences for the baselines: GC, k-mers, motif scores.

In: upper- or lower-case DNA strings (and a :class:`genebert.motifs.MotifSet`). Out: one row of
numbers per sequence. Pure functions on arrays, no fitting; what is fitted (scaling, weights) is
in :mod:`genebert.baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genebert import genome

if TYPE_CHECKING:
    from genebert.motifs import MotifSet

KMER_SIZES = (3, 4, 5, 6)
_CHUNK_BASES = 8_000_000  # bases worked on at once: bounds memory, changes no result


def encode_all(sequences: Sequence[str]) -> NDArray[np.uint8]:
    """Return uint8[n, L] codes, L the longest length; shorter sequences end in N (code 4)."""
    length = max((len(s) for s in sequences), default=0)
    return genome.encode("".join(s.ljust(length, "N") for s in sequences)).reshape(
        len(sequences), length
    )


def gc_features(sequences: Sequence[str]) -> NDArray[np.float32]:
    """Return float32[n, 1]: the fraction of G and C among the known bases (0.5 if none is)."""
    return genome.gc_content(encode_all(sequences))[:, None].astype(np.float32)


def kmer_ids(codes: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Return int64[n, L - k + 1] k-mer numbers in base 4, first base highest; -1 with an N.

    Parameters
    ----------
    codes : uint8[n, L].
    k : length of a k-mer, 1 to 12.
    """
    windows = codes.shape[1] - k + 1
    if windows <= 0:
        return np.zeros((len(codes), 0), dtype=np.int64)
    ids = np.zeros((len(codes), windows), dtype=np.int64)
    unknown = np.zeros(ids.shape, dtype=bool)
    for offset in range(k):
        base = codes[:, offset : offset + windows]
        ids = ids * 4 + (base & 3)
        unknown |= base == genome.N
    ids[unknown] = -1
    return ids


@lru_cache(maxsize=16)
def kmer_columns(k: int, canonical: bool) -> tuple[NDArray[np.int64], int]:
    """Return the column of every k-mer and the number of columns.

    Parameters
    ----------
    k : length of a k-mer.
    canonical : give a k-mer and its reverse complement one column, that of the smaller one.

    Returns
    -------
    column : int64[4**k]; columns are in the lexicographic order of their k-mers.
    """
    number = np.arange(4**k)
    if canonical:
        place = 4 ** np.arange(k - 1, -1, -1)
        digits = number[:, None] // place % 4
        number = np.minimum(number, ((3 - digits[:, ::-1]) * place).sum(axis=1))
    kept, column = np.unique(number, return_inverse=True)
    return column, len(kept)


def kmer_counts(codes: NDArray[np.uint8], k: int, canonical: bool) -> sparse.csr_matrix:
    """Return float32 csr[n, columns]: how often each k-mer (see `kmer_columns`) occurs."""
    column, columns = kmer_columns(k, canonical)
    ids = kmer_ids(codes, k)
    row = np.repeat(np.arange(len(codes)), ids.shape[1]).reshape(ids.shape)[ids >= 0]
    key, count = np.unique(row * columns + column[ids[ids >= 0]], return_counts=True)
    indptr = np.searchsorted(key, np.arange(len(codes) + 1) * columns)
    return sparse.csr_matrix(
        (count.astype(np.float32), key % columns, indptr), shape=(len(codes), columns)
    )


def kmer_features(
    sequences: Sequence[str],
    ks: Sequence[int] = KMER_SIZES,
    *,
    canonical: bool = True,
    normalise: bool = True,
) -> sparse.csr_matrix:
    """Return float32 csr[n, columns of all ks] of k-mer composition.

    Parameters
    ----------
    sequences : DNA strings; k-mers with an N are not counted.
    ks : lengths of k-mers, blocks of columns in this order.
    canonical : merge a k-mer with its reverse complement; false where the strand matters.
    normalise : give the square root of the frequency within each k (Hellinger transform: the
        counts' variance becomes even and the length drops out); otherwise give counts.
    """
    codes = encode_all(sequences)
    step = max(1, _CHUNK_BASES // max(1, codes.shape[1]))
    blocks = []
    for k in ks:
        parts = [
            kmer_counts(codes[i : i + step], k, canonical)
            for i in range(0, max(1, len(codes)), step)
        ]
        block = sparse.vstack(parts, format="csr", dtype=np.float32)
        if normalise:
            total = np.asarray(block.sum(axis=1)).ravel()
            block = sparse.diags(1 / np.maximum(total, 1)) @ block
            block = block.sqrt()
        blocks.append(block)
    return sparse.csr_matrix(sparse.hstack(blocks, format="csr"), dtype=np.float32)


def motif_features(sequences: Sequence[str], motif_set: MotifSet) -> NDArray[np.float32]:
    """Return float32[n, 2 M]: per motif the summed hits, then per motif the best score.

    The first M columns are the summed log-odds of the hits that pass the motif's threshold (the
    quantity of the motif matrix: counts sites and their strength, 0 without a hit). The last M are
    the best log-odds over all positions and both strands with no threshold, so that a site just
    below the threshold, or a variant inside one, still moves the row.
    """
    codes = list(encode_rows(sequences))
    summed = motif_set.scan(codes).sum
    best = motif_set.best_dense(codes)
    return np.hstack([summed.toarray(), best]).astype(np.float32)


def encode_rows(sequences: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Return the codes of each sequence at its own length."""
    return [genome.encode(s) for s in sequences]
