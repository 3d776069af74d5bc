"""Thresholds of log-odds matrices: the lowest score whose p-value is not above a limit.

In: matrices float64[4, width], a background, a p-value. Out: scores. The p-value of a score is the
probability that a word drawn from the background scores at least that much.

Words are counted by what they lack of the best score, in whole units of 2^-40 nats, so that sums
do not depend on their order. As in Touzet and Varré (Algorithms Mol. Biol. 2007), a dynamic
programme over a grid brackets the threshold, and only what the bracket leaves open is looked at
exactly: lists of all words of each half of the columns, joined by look-ups in the sorted one
(Horowitz and Sahni, J. ACM 1974).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Words = tuple[Ints, Floats]  # what words lack, in ascending order, and their probabilities

ROUNDING = 1e-12  # probabilities may pass the limit by this share: they are sums of floats
_UNIT = 2.0**-40  # nats
_EXACT = 20  # widest matrix whose halves are listed: 4^10 words each
_COARSE, _FINE = 12, 19  # bits of the grids: to bracket; to decide about wider matrices
_PAIRS = 1 << 18  # pairs of words that are listed at once; more are bisected first


def best_probability(log_odds: Floats, background: Floats) -> float:
    """Return the probability of the best score; bases that differ by rounding only are equal."""
    lacks = log_odds.max(axis=0) - log_odds
    equal = lacks <= 2 * _near(log_odds) * _UNIT
    return float(np.where(equal, background[:, None], 0).sum(axis=0).prod())


def threshold(log_odds: Floats, background: Floats, p_value: float) -> float:
    """Return a score that the background reaches with a probability of at most ``p_value``.

    Up to 20 columns it is the loosest one, half way between the lowest score of a hit and the next
    score below. Words whose scores differ by rounding (some 1e-11 nats) are tied: all of them are
    hits, or none. For wider matrices a grid decides, on the safe side: what a hit may lack of the
    best score is too little by a share of at most width / 2^18. Where no word is as rare as
    ``p_value``, the best words alone are hits.

    Parameters
    ----------
    log_odds : finite float64[4, width].
    background : float64[4], probabilities.
    p_value : may be passed by a share of 1e-12, the rounding of sums of probabilities.
    """
    best = log_odds.max(axis=0)
    units = np.rint((best - log_odds) / _UNIT).astype(np.int64)
    near = _near(log_odds)
    limit = max(p_value, best_probability(log_odds, background)) * (1 + ROUNDING)
    low, high = _bracket(units, background, limit, _COARSE, int(units.max(axis=0).sum()))
    if log_odds.shape[1] <= _EXACT:
        halves = [_words(units[:, first::2], background, high) for first in (0, 1)]
        lack = _between(halves[0], halves[1], (low, high), limit, near)
    else:
        lack = _bracket(units, background, limit, _FINE, high)[0] - near
    return float(best.sum() - max(lack, near) * _UNIT)


def _near(log_odds: Floats) -> int:
    """Return the units by which a score, summed in any order, may miss what its columns lack."""
    size = float(np.abs(log_odds).max(axis=0).sum())
    width = log_odds.shape[1]
    return width + int(np.ceil(4 * width * np.finfo(float).eps * size / _UNIT))


def _bracket(
    units: Ints, background: Floats, limit: float, bits: int, high: int
) -> tuple[int, int]:
    """Return (low, high): words that lack less than low are rare enough, all up to high are not.

    Columns are rounded down to a grid of 2^bits cells, which is made finer until it reaches no
    farther than it must. ``high``, given and returned, may also be the most that a word can lack.
    """
    step = -1
    while (shift := max(high.bit_length() - bits, 0)) != step:
        step, last = shift, high >> shift
        density = np.ones(1)
        for column in units.T >> shift:
            size = len(density)
            longer = np.zeros(min(size + int(column.max()), last + 1))
            for cell, probability in zip(column.tolist(), background.tolist(), strict=True):
                part = longer[cell : cell + size]
                part += probability * density[: len(part)]
            density = longer
        cells = int(np.searchsorted(np.cumsum(density), limit, side="right"))
        high = min(high, (cells + units.shape[1]) << shift)
    return cells << step, high


def _words(units: Ints, background: Floats, high: int) -> Words:
    """Return what words lack, up to high, each value once."""
    lacks, probability = np.zeros(1, dtype=np.int64), np.ones(1)
    for column in units.T:
        lacks = (column[:, None] + lacks).ravel()
        order = np.argsort(lacks, kind="stable")  # four runs in order: a merge
        order = order[: np.searchsorted(lacks, high, side="right", sorter=order)]
        lacks = lacks[order]
        first = np.flatnonzero(np.diff(lacks, prepend=-1))
        probability = (background[:, None] * probability).ravel()[order]
        lacks, probability = lacks[first], np.add.reduceat(probability, first)
    return lacks, probability


def _between(a: Words, b: Words, bracket: tuple[int, int], limit: float, near: int) -> int:
    """Return the middle between the most that a hit lacks and the least that another word does.

    Words are pairs of one of ``a`` and one of ``b``.
    """
    (a_lacks, a_probability), (b_lacks, b_probability) = a, b
    cumulative = np.concatenate([[0.0], np.cumsum(b_probability)])

    def ends(lack: int) -> Ints:
        """Return int64[a]: how many of b each of a may be joined with to lack at most this."""
        return np.searchsorted(b_lacks, lack - a_lacks, side="right")

    def below(lack: int) -> int:
        """Return the most that a word lacks below this, or -1."""
        at = ends(lack - 1)
        some = at > 0
        return int((a_lacks[some] + b_lacks[at[some] - 1]).max(initial=-1))

    low, high = bracket
    first, last = ends(low - 1), ends(high)
    while (last - first).sum() > _PAIRS and low < high:
        middle = (low + high) // 2
        at = ends(middle)
        if a_probability @ cumulative[at] <= limit:
            low, first = middle + 1, at
        else:
            high, last = middle, at
    number = last - first
    i = np.repeat(np.arange(len(a_lacks)), number)
    j = np.arange(len(i)) + np.repeat(first - np.cumsum(number) + number, number)
    lacks = a_lacks[i] + b_lacks[j]
    order = np.argsort(lacks)
    tail = np.cumsum((a_probability[i] * b_probability[j])[order])
    beyond = np.flatnonzero(a_probability @ cumulative[first] + tail > limit)
    outside = int(lacks[order[beyond[0]]]) if len(beyond) else high + 4 * near
    inside = below(outside)
    while inside >= 0 and outside - inside <= 2 * near:
        outside, inside = inside, below(inside)
    return (inside + outside) // 2
