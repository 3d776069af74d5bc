"""Find where log-odds matrices may score at least a threshold: a superset of the hits, fast.

In: matrices float64[4, width] with thresholds, and joined sequences as codes. Out: (matrix,
position) pairs, which :mod:`genebert.motif_scan` scores exactly. Two finders, each the faster one
on its side of ``WIDE``: MOODS (Korhonen et al., Bioinformatics 2009 and 2017) hardly ever looks at
a narrow matrix, because eight bases settle it; of a wide matrix they settle little, and MOODS
visits it at nearly every base, where adding up table look-ups for sixteen matrices at once is 4 to
6 times as fast. Neither knows N: the caller drops what covers one.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import chain

import MOODS.scan
import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes, N

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WIDE = 13  # columns from which look-ups are faster than MOODS
_WINDOW = 8  # bases of MOODS' table; 9 scans no faster, and its table takes four times as long
_SLACK = 1e-6  # candidates may miss the threshold by this much: sums are taken in another order
_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
_POSITION = MOODS.scan.match.pos.fget  # the getter itself: half the cost of the attribute
_PIECE = 5  # columns that one look-up scores
_GROUP = 16  # matrices that are looked up together: 16 uint16 are half a cache line


def known_bases(codes: Codes) -> Codes:
    """Return codes with some base in place of each N."""
    return np.where(codes == N, np.arange(len(codes)) & 3, codes).astype(np.uint8)


class MoodsFinder:
    """A MOODS scanner. Build one and keep it: its table is costly."""

    def __init__(
        self, matrices: Sequence[Floats], thresholds: Floats, background: Sequence[float]
    ) -> None:
        """Build the table; the background changes the speed only."""
        self._scanner = MOODS.scan.Scanner(_WINDOW) if matrices else None
        if self._scanner is not None:
            lists = [matrix.tolist() for matrix in matrices]
            self._scanner.set_motifs(lists, list(background), (thresholds - _SLACK).tolist())

    def find(self, bases: Codes) -> tuple[Ints, Ints]:
        """Return (matrix, position) of all candidates, ordered by (matrix, position).

        MOODS loses hits of matrices shorter than its window that end at the end of the text. So a
        window of bases follows; candidates that reach into it are to be dropped by the caller.
        """
        if self._scanner is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        text = _LETTERS[bases].tobytes().decode("ascii") + "A" * _WINDOW
        collecting = gc.isenabled()
        gc.disable()  # each hit is an object; looking for cycles among them costs 15 %
        try:
            found = self._scanner.scan(text)
            counts = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
            position = np.fromiter(
                map(_POSITION, chain.from_iterable(found)), dtype=np.int64, count=counts.sum()
            )
            del found
        finally:
            if collecting:
                gc.enable()
        return np.repeat(np.arange(len(counts)), counts), position


class LookupFinder:
    """Tables of what each run of bases takes off the best score of a matrix, for all starts.

    What a window lacks of the best score is the sum over its columns; a hit lacks at most
    (best score - threshold). That is mapped to ``limit`` and each piece of columns rounded down to
    an integer, so that no hit is lost; a piece that lacks more by itself counts limit + 1, so that
    no sum leaves 16 bits.
    """

    def __init__(self, matrices: Sequence[Floats], thresholds: Floats) -> None:
        """Build the tables: for each group of matrices (first, limit, uint16[pieces, 4**5, 16])."""
        self._groups: list[tuple[int, int, NDArray[np.uint16]]] = []
        for first in range(0, len(matrices), _GROUP):
            group = matrices[first : first + _GROUP]
            pieces = -(-max(matrix.shape[1] for matrix in group) // _PIECE)
            limit = 65535 // pieces - 1
            tables = np.full((pieces, 4**_PIECE, _GROUP), limit + 1, dtype=np.uint16)
            for i, matrix in enumerate(group):
                best = matrix.max(axis=0)
                lacks = np.zeros((4, pieces * _PIECE))
                lacks[:, : matrix.shape[1]] = best - matrix
                spare = max(best.sum() - thresholds[first + i], 0.0) + _SLACK
                for piece in range(pieces):
                    total = np.zeros(1)
                    for column in lacks[:, piece * _PIECE : (piece + 1) * _PIECE].T:
                        total = (total[:, None] + column).ravel()
                    tables[piece, :, i] = np.minimum(total * (limit / spare), limit + 1)
            self._groups.append((first, limit, tables))

    def find(self, bases: Codes) -> tuple[Ints, Ints]:
        """Return (matrix, position) of all candidates, ordered by (matrix, position).

        Bases past the end count as A; candidates that reach there are to be dropped by the caller.
        """
        count = len(bases)
        pieces = max((len(tables) for _, _, tables in self._groups), default=0)
        padded = np.concatenate([bases, np.zeros(pieces * _PIECE, dtype=np.uint8)]).astype(np.intp)
        kmer = np.zeros(max(len(padded) - _PIECE + 1, 0), dtype=np.intp)
        for j in range(_PIECE):
            kmer = kmer * 4 + padded[j : j + len(kmer)]
        lacks = np.empty((count, _GROUP), dtype=np.uint16)
        more = np.empty_like(lacks)
        index, position = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for first, limit, tables in self._groups:
            for piece, table in enumerate(tables):
                at = kmer[piece * _PIECE : piece * _PIECE + count]
                np.take(table, at, axis=0, out=more if piece else lacks, mode="clip")
                if piece:
                    np.add(lacks, more, out=lacks)
            cell = np.flatnonzero(lacks <= limit)
            member = cell % _GROUP
            order = np.argsort(member.astype(np.uint8), kind="stable")
            index.append(first + member[order])
            position.append(cell[order] // _GROUP)
        return np.concatenate(index), np.concatenate(position)
