"""Scan sequences with log-odds matrices: hits, sums of hits per cell, best scores.

In: matrices float64[4, width] with thresholds, and sequences as codes. Out: arrays.

A hit is a (start, strand) whose score reaches the threshold of the matrix; it never covers an N nor
leaves its sequence. Candidates (:mod:`genebert.motif_candidates`) are scored again in float64,
column by column from the first of the matrix, so that decisions and scores are those of a plain
loop, and the same on both strands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genebert.genome import Codes, N
from genebert.motif_candidates import WIDE, LookupFinder, MoodsFinder, known_bases

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 50_000  # bases that are joined for one scan
_PIECE = 5  # columns that one look-up scores in best_scores
_GROUP = 4  # matrices that are looked up together: 4 float64 are one cache half-line


@dataclass(frozen=True, eq=False)
class Hits:
    """Hits, one element each.

    Attributes
    ----------
    row : int64[H], index of the sequence.
    motif : int64[H], index of the matrix.
    start : int64[H], leftmost base of the hit in its sequence, whatever the strand.
    reverse : bool[H], whether the reverse complement of the sequence matches.
    score : float64[H], log-odds.
    """

    row: Ints
    motif: Ints
    start: Ints
    reverse: NDArray[np.bool_]
    score: Floats

    def take(self, index: Ints | NDArray[np.bool_]) -> Hits:
        """Return the hits of an index or mask."""
        return Hits(*(getattr(self, name)[index] for name in Hits.__dataclass_fields__))

    @staticmethod
    def join(parts: Sequence[Hits]) -> Hits:
        """Return the hits of all parts, one after the other."""
        fields = {"row": int, "motif": int, "start": int, "reverse": bool, "score": float}
        return Hits(
            *(
                np.concatenate([np.zeros(0, dtype), *(getattr(part, name) for part in parts)])
                for name, dtype in fields.items()
            )
        )


@dataclass(frozen=True, eq=False)
class MotifRows:
    """Hits per cell: float32 CSR[n, columns], with the same cells stored in all three.

    Attributes
    ----------
    count : number of hits.
    best : highest log-odds of a hit.
    sum : sum of the log-odds of the hits.
    """

    count: sparse.csr_matrix
    best: sparse.csr_matrix
    sum: sparse.csr_matrix


def blocks(
    sequences: Sequence[Codes], bases: int = _BLOCK
) -> Iterator[tuple[int, Sequence[Codes]]]:
    """Yield (index of the first, consecutive sequences) of about ``bases`` bases together."""
    first = total = 0
    for last, sequence in enumerate(sequences):
        total += len(sequence)
        if total >= bases:
            yield first, sequences[first : last + 1]
            first, total = last + 1, 0
    if first < len(sequences):
        yield first, sequences[first:]


class Scanner:
    """Some matrices on both strands, ready to scan. Keep it: its tables take a second to build."""

    def __init__(
        self, log_odds: Sequence[Floats], thresholds: Sequence[float], background: Sequence[float]
    ) -> None:
        """Build the tables.

        Parameters
        ----------
        log_odds : M finite float64[4, width], natural logarithms, rows A, C, G, T.
        thresholds : M lowest scores of a hit.
        background : 4 probabilities; they change the speed only.
        """
        width = np.array([matrix.shape[1] for matrix in log_odds])
        # Scanner order: widest first, so that the hits that reach column j are a prefix of all.
        # Index 2i is the matrix, 2i + 1 its reverse complement.
        self._motif = np.repeat(np.argsort(-width, kind="stable"), 2)
        self._reverse = np.arange(len(self._motif)) % 2 == 1
        self._width = width[self._motif]
        self._threshold = np.asarray(thresholds, dtype=np.float64)[self._motif]
        # What each base adds at column j of the matrix as given, for either strand.
        self._table = np.zeros((len(self._motif), int(width.max()), 4))
        matrices = []
        for index, motif in enumerate(self._motif):
            matrix = log_odds[int(motif)]
            reverse = self._reverse[index]
            self._table[index, : matrix.shape[1]] = (matrix[::-1] if reverse else matrix).T
            matrices.append(matrix[::-1, ::-1] if reverse else matrix)
        self._wide = int((self._width >= WIDE).sum())
        self._lookup = LookupFinder(matrices[: self._wide], self._threshold[: self._wide])
        self._moods = MoodsFinder(matrices[self._wide :], self._threshold[self._wide :], background)

    def hits(self, sequences: Sequence[Codes]) -> Hits:
        """Return the hits in sequences of any lengths (uint8 codes), ordered by (row, motif)."""
        hits = Hits.join([self._hits(block, first) for first, block in blocks(sequences)])
        return hits.take(np.lexsort((hits.motif, hits.row)))

    def _candidates(self, codes: Codes) -> tuple[Ints, Ints]:
        """Return (scanner index, position) of a superset of the hits, in scanner order."""
        bases = known_bases(codes)
        wide, narrow = self._lookup.find(bases), self._moods.find(bases)
        return (
            np.concatenate([wide[0], narrow[0] + self._wide]),
            np.concatenate([wide[1], narrow[1]]),
        )

    def _hits(self, sequences: Sequence[Codes], first_row: int) -> Hits:
        codes = np.concatenate(list(sequences))
        index, position = self._candidates(codes)
        ends = np.cumsum([len(sequence) for sequence in sequences])
        row = np.searchsorted(ends, position, side="right")
        end = position + self._width[index]
        inside = end <= ends[np.minimum(row, len(ends) - 1)]
        unknown = np.concatenate([[0], np.cumsum(codes == N)])  # N before each base
        inside &= unknown[np.minimum(end, len(codes))] == unknown[np.minimum(position, len(codes))]
        index, position, row = index[inside], position[inside], row[inside]
        score = self._scores(codes, index, position)
        reached = score >= self._threshold[index]
        index, position, row = index[reached], position[reached], row[reached]
        starts = np.concatenate([[0], ends[:-1]])
        return Hits(
            row + first_row,
            self._motif[index],
            position - starts[row],
            self._reverse[index],
            score[reached],
        )

    def _scores(self, codes: Codes, index: Ints, position: Ints) -> Floats:
        """Return float64[H], added from the first column of the matrix to its last."""
        width, reverse = self._width[index], self._reverse[index]
        base_at = np.where(reverse, position + width - 1, position)
        step = np.where(reverse, -1, 1)
        columns = self._table.shape[1]
        cell, table = index * columns * 4, self._table.ravel()
        score = np.zeros(len(index))
        for column in range(columns):
            n = int(np.searchsorted(-width, -column))  # hits of matrices wider than `column`
            base = codes[base_at[:n] + column * step[:n]]
            score[:n] += table[cell[:n] + 4 * column + base]
        return score


def merge_strands(hits: Hits) -> Hits:
    """Keep the better strand of each (row, motif, start); the given strand where they are equal."""
    order = np.lexsort((hits.reverse, -hits.score, hits.start, hits.motif, hits.row))
    keys = np.stack([hits.row, hits.motif, hits.start])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (keys[:, 1:] != keys[:, :-1]).any(axis=0)
    return hits.take(np.sort(order[first]))


def merge_sites(hits: Hits, radius: int) -> Hits:
    """Keep the best hit of each site of a (row, motif), where ``start`` is the centre of the hit.

    From the best hit down, a hit is kept if no kept hit of the same row and motif has its centre
    within ``radius`` bases; of equal scores the leftmost comes first.
    """
    left = hits.take(np.lexsort((hits.reverse, -hits.score, hits.start, hits.motif, hits.row)))
    kept: list[Hits] = []
    while len(left.row):
        # Rounds of the greedy rule: a hit that beats all its neighbours is kept, they go.
        rank = np.empty(len(left.row), dtype=np.int64)
        rank[np.lexsort((np.arange(len(rank)), -left.score))] = np.arange(len(rank))
        loses, near_pairs = np.zeros(len(rank), dtype=bool), []
        for offset in range(1, len(rank)):
            near = (
                (left.row[offset:] == left.row[:-offset])
                & (left.motif[offset:] == left.motif[:-offset])
                & (left.start[offset:] - left.start[:-offset] <= radius)
            )
            if not near.any():
                break
            a = np.flatnonzero(near)
            near_pairs.append((a, a + offset))
            loses[np.where(rank[a] < rank[a + offset], a + offset, a)] = True
        gone = ~loses
        for a, b in near_pairs:
            gone[b[~loses[a]]] = gone[a[~loses[b]]] = True
        kept.append(left.take(~loses))
        left = left.take(~gone)
    merged = Hits.join(kept)
    return merged.take(np.lexsort((merged.start, merged.motif, merged.row)))


def cells(hits: Hits, shape: tuple[int, int]) -> MotifRows:
    """Return count, best and sum of the hits per (row, motif).

    Parameters
    ----------
    hits : their ``motif`` is the column; hits of a cell are added in the order given.
    shape : (sequences, columns).
    """
    order = np.lexsort((hits.motif, hits.row))
    row, motif, score = hits.row[order], hits.motif[order], hits.score[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (row[1:] != row[:-1]) | (motif[1:] != motif[:-1])
    first = np.flatnonzero(new)
    cell = np.cumsum(new) - 1
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[first], minlength=shape[0]))])
    values = (
        np.bincount(cell, minlength=len(first)),
        np.maximum.reduceat(score, first) if len(first) else score,
        np.bincount(cell, weights=score, minlength=len(first)),
    )
    indices = motif[first].astype(np.int32)
    return MotifRows(
        *(
            sparse.csr_matrix((v.astype(np.float32), indices, indptr), shape=shape, copy=True)
            for v in values
        )
    )


def stack(parts: Sequence[MotifRows], columns: int) -> MotifRows:
    """Return the rows of all parts, one after the other."""
    empty = sparse.csr_matrix((0, columns), dtype=np.float32)
    return MotifRows(
        *(
            sparse.vstack([empty, *(getattr(part, name) for part in parts)], format="csr")
            for name in MotifRows.__dataclass_fields__
        )
    )


def best_scores(log_odds: Sequence[Floats], sequences: Sequence[Codes]) -> Floats:
    """Return the best score over all starts and both strands, without a threshold.

    Windows with an N do not count; where no window is left, the lowest score of the matrix stands.

    Parameters
    ----------
    log_odds : M float64[4, width].
    sequences : n arrays of codes, of any lengths.

    Returns
    -------
    float64[n, M].
    """
    out = np.empty((len(sequences), len(log_odds)))
    for first, block in blocks(sequences, bases=4 * _BLOCK):
        out[first : first + len(block)] = _best_of_block(log_odds, block)
    return np.maximum(out, [matrix.min(axis=0).sum() for matrix in log_odds])


def _best_of_block(log_odds: Sequence[Floats], sequences: Sequence[Codes]) -> Floats:
    """Score all windows of both strands by look-ups of 5-mers (over A, C, G, T, N)."""
    widest = max(matrix.shape[1] for matrix in log_odds)
    gap = np.full(max(widest, _PIECE), N, dtype=np.uint8)  # parts the sequences: N scores -inf
    codes = np.concatenate([part for sequence in sequences for part in (sequence, gap)] + [gap])
    count = len(codes) - len(gap)
    lengths = np.array([len(sequence) + len(gap) for sequence in sequences])
    first = np.cumsum(lengths) - lengths
    kmer = np.zeros(len(codes) - _PIECE + 1, dtype=np.intp)
    for j in range(_PIECE):
        kmer = kmer * 5 + codes[j : len(codes) - _PIECE + 1 + j]
    kmer = np.concatenate([kmer, np.zeros(_PIECE, dtype=np.intp)])
    order = sorted(range(len(log_odds)), key=lambda i: log_odds[i].shape[1])
    out = np.empty((len(sequences), len(log_odds)))
    score, piece = np.empty((count, _GROUP)), np.empty((count, _GROUP))
    for i in range(0, len(order), _GROUP // 2):
        pair = order[i : i + _GROUP // 2]
        strands = [log_odds[m] for m in pair] + [log_odds[m][::-1, ::-1] for m in pair]
        strands += strands[: _GROUP - len(strands)] * _GROUP
        for number, table in enumerate(_piece_tables(strands[:_GROUP])):
            at = kmer[number * _PIECE : number * _PIECE + count]
            np.take(table, at, axis=0, out=piece if number else score, mode="clip")
            if number:
                score += piece
        best = np.maximum.reduceat(score, first, axis=0)
        for j, motif in enumerate(pair):
            out[:, motif] = np.maximum(best[:, j], best[:, j + len(pair)])
    return out


def _piece_tables(matrices: Sequence[Floats]) -> Iterator[Floats]:
    """Yield float64[5**_PIECE, _GROUP] for each run of _PIECE columns, scores of all k-mers."""
    columns = -(-max(matrix.shape[1] for matrix in matrices) // _PIECE) * _PIECE
    weight = np.zeros((columns, 5, len(matrices)))
    for m, matrix in enumerate(matrices):
        weight[: matrix.shape[1], :4, m] = matrix.T
        weight[: matrix.shape[1], N, m] = -np.inf
    for start in range(0, columns, _PIECE):
        table = np.zeros((1, len(matrices)))
        for column in weight[start : start + _PIECE]:
            table = (table[:, None] + column[None]).reshape(-1, len(matrices))
        yield table
