"""Markov chains as the reference of masked genome modelling (MGM).

In: codes of sequences, some bases of which cannot be seen. Out: the posterior of every such base
given all bases that can be seen, on both sides: the exact forward-backward recursion over the
unseen bases of a chain of order k with interpolated smoothing.

The state at a base are the unseen ones among the k bases before it, so a run of m unseen bases has
at most 4**min(m, k) states, and bases that k seen ones or more keep apart are independent. Runs
with the same pattern of seen and unseen bases are done together. One run of 10 unseen bases costs
about 4**(k + 1) * (4 + 2 * (10 - k)) multiplications: at order 7 a third of a millisecond.
Letters of shapes: G runs done together, S states, L bases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNSEEN = 4
MAX_ORDER = 7
# weight of the next lower order, in observations; the best is chosen on validation counts
STRENGTHS = tuple(4.0**i for i in range(-1, 9))
_ELEMENTS = 1 << 20  # states times runs that are done together

Codes = NDArray[np.uint8]
Floats = NDArray[np.floating]
Ints = NDArray[np.int64]


def word_counts(codes_NL: Codes, n: int) -> Ints:
    """Count the words of n known bases on both strands, int64[4**n], first base most significant.

    Parameters
    ----------
    codes_NL : uint8[N, L]; a word with a base above 3 is not counted.
    """
    total = np.zeros(4**n, dtype=np.int64)
    places = codes_NL.shape[1] - n + 1
    if places > 0 and len(codes_NL):
        word = np.zeros((len(codes_NL), places), dtype=np.int64)
        known = np.ones(word.shape, dtype=bool)
        for i in range(n):
            part = codes_NL[:, i : i + places]
            word = word * 4 + (part & 3)
            known &= part < UNSEEN
        total = np.bincount(word[known], minlength=4**n)
    # the reverse complement of a word: digits in reverse order, each 3 - digit
    axes = tuple(range(n - 1, -1, -1))
    reverse = total.reshape((4,) * n)[(slice(None, None, -1),) * n].transpose(axes).reshape(-1)
    return np.asarray(total + reverse)


@dataclass(frozen=True)
class Chain:
    """P(base | the bases before it) of every order up to the chain's own.

    Attributes
    ----------
    tables : float[4**(j + 1)] for j = 0 .. order: probability of the last base of a word given
        the first j. Bases that fewer than `order` bases precede take the table of that length.
    strengths : weight of the next lower order in each table.
    """

    tables: tuple[Floats, ...]
    strengths: tuple[float, ...] = ()

    @property
    def order(self) -> int:
        """Bases that the next one depends on."""
        return len(self.tables) - 1

    def of_order(self, order: int) -> Chain:
        """Return the chain of a lower order."""
        return Chain(self.tables[: order + 1], self.strengths[: order + 1])

    @classmethod
    def fit(cls, train: Ints, valid: Ints | None = None) -> Chain:
        """Fit by interpolation: (count + strength * lower order) / (total + strength).

        Parameters
        ----------
        train, valid : int64[4**(order + 1)] from :func:`word_counts`. The strength of each order
            is the one that codes the validation words best, from the lowest order up; without
            validation words it is 16.
        """
        order = (len(train).bit_length() - 1) // 2 - 1
        marginal = [train]
        judge = [train if valid is None else valid]
        for _ in range(order):
            marginal.append(marginal[-1].reshape(4, -1).sum(axis=0))
            judge.append(judge[-1].reshape(4, -1).sum(axis=0))
        lower = np.full((1, 4), 0.25)
        tables, chosen = [], []
        for count, seen in zip(reversed(marginal), reversed(judge), strict=True):
            count_S4, seen_S4 = count.reshape(-1, 4), seen.reshape(-1, 4)
            prior = np.tile(lower, (len(count_S4) // len(lower), 1))
            total = count_S4.sum(axis=1, keepdims=True)
            best = None
            for strength in STRENGTHS if valid is not None else (16.0,):
                table = (count_S4 + strength * prior) / (total + strength)
                cost = -float((seen_S4 * np.log(table)).sum())
                if best is None or cost < best[0]:
                    best = cost, strength, table
            assert best is not None
            chosen.append(best[1])
            lower = best[2]
            tables.append(lower.reshape(-1))
        return cls(tuple(tables), tuple(chosen))

    def entropy(self, counts: Ints) -> float:
        """Return the mean cost in nats of the last base of words, given the bases before it."""
        counts = counts.reshape(-1, 4 ** (self.order + 1)).sum(axis=0)
        return -float((counts * np.log(self.tables[-1])).sum() / counts.sum())

    def posterior(self, codes_NL: Codes) -> Floats:
        """Return P(base | all seen bases of its row), float64[N, L, 4].

        Parameters
        ----------
        codes_NL : uint8[N, L], 0 to 3, or UNSEEN. A seen base has probability 1.
        """
        out = np.zeros((*codes_NL.shape, 4))
        row, at = np.nonzero(codes_NL < UNSEEN)
        out[row, at, codes_NL[row, at]] = 1.0
        if self.order == 0:
            out[codes_NL >= UNSEEN] = self.tables[0]
            return out
        single = Chain(tuple(t.astype(np.float32) for t in self.tables))  # half the memory
        for hidden, rows, first in _runs(codes_NL, self.order):
            window = first[:, None] + np.arange(len(hidden))
            seen_LG = codes_NL[rows[:, None], window].T.astype(np.int64)
            for part in _parts(hidden, self.order, len(rows)):
                found = single._forward_backward(hidden, seen_LG[:, part])
                for place, probability_4G in found.items():
                    out[rows[part], first[part] + place] = probability_4G.T
        return out

    def _forward_backward(self, hidden_L: NDArray[np.bool_], seen_LG: Ints) -> dict[int, Floats]:
        """Return {place: posterior float64[4, G]} of the unseen bases of G windows.

        `forward[t]` is, up to a factor, the probability of all seen bases before t and of the
        unseen ones among the `order` before t; `backward[t]` that of the seen ones from t on,
        given those. Both are [states, G]; the base nearest to t is the last digit of the state.
        """
        k, L, G = self.order, len(hidden_L), seen_LG.shape[1]
        start = int(np.argmax(hidden_L))
        forward: dict[int, Floats] = {start: np.ones((1, G), dtype=np.float32)}
        factors: dict[int, Floats] = {}
        for t in range(start, L):
            factors[t] = factor_SxG = self._factor(t, hidden_L, seen_LG)
            leaves = 4 if t >= k and hidden_L[t - k] else 1  # the oldest base leaves the state
            forward_oRG = forward[t].reshape(leaves, -1, G)
            factor_oRxG = factor_SxG.reshape(leaves, -1, *factor_SxG.shape[1:])
            if leaves == 4 and factor_SxG.shape[2] == 1:  # the same for all windows
                after = factor_oRxG[..., 0].transpose(1, 2, 0) @ forward_oRG.transpose(1, 0, 2)
            else:
                after = (forward_oRG[:, :, None, :] * factor_oRxG).sum(axis=0)
            after_SG = after.reshape(-1, G)
            forward[t + 1] = after_SG / after_SG.sum(axis=0)
        out: dict[int, Floats] = {}
        backward_SG = np.ones_like(forward[L])
        for t in range(L - 1, start - 1, -1):
            if hidden_L[t]:
                both = (forward[t + 1] * backward_SG).reshape(-1, 4, G).sum(axis=0)
                out[t] = both / both.sum(axis=0)
            after_RxG = backward_SG.reshape(-1, 4 if hidden_L[t] else 1, G)
            factor_SxG = factors.pop(t)
            leaves = len(factor_SxG) // len(after_RxG)
            factor_oRxG = factor_SxG.reshape(leaves, -1, *factor_SxG.shape[1:])
            if leaves == 4 and factor_SxG.shape[2] == 1:
                before_RoG = factor_oRxG[..., 0].transpose(1, 0, 2) @ after_RxG
                before_oRG = before_RoG.transpose(1, 0, 2)
            else:
                before_oRG = (factor_oRxG * after_RxG).sum(axis=2)
            before = before_oRG.reshape(-1, G)
            backward_SG = before / before.sum(axis=0)
        return out

    def _factor(self, t: int, hidden_L: NDArray[np.bool_], seen_LG: Ints) -> Floats:
        """Return P(base at t | state), float64[S, 4 or 1, G or 1]; 1: the base at t is seen."""
        order = min(self.order, t)
        table = self.tables[order]
        state_S, seen_G = np.zeros(1, dtype=np.int64), np.zeros(seen_LG.shape[1], dtype=np.int64)
        for place in range(t - order, t):
            weight = 4 ** (t - place)
            if hidden_L[place]:
                state_S = (state_S[:, None] + weight * np.arange(4)).reshape(-1)
            else:
                seen_G = seen_G + weight * seen_LG[place]
        if not hidden_L[t]:
            return table[state_S[:, None] + (seen_G + seen_LG[t])][:, None, :]
        if len(state_S) == 4**order:  # nothing that was seen matters
            return table.reshape(-1, 4, 1)
        word_SxG = state_S[:, None, None] + np.arange(4)[:, None] + seen_G
        return table[word_SxG]


def _runs(codes_NL: Codes, order: int) -> Iterator[tuple[NDArray[np.bool_], Ints, Ints]]:
    """Group unseen bases into runs that `order` seen bases keep apart, equal patterns together.

    Yields
    ------
    hidden : bool[window], the bases of a run and up to `order` seen ones on either side.
    rows, first : int64[G], row of each run and where its window begins.
    """
    row, at = np.nonzero(codes_NL >= UNSEEN)
    if not len(row):
        return
    length = codes_NL.shape[1]
    begins = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(at, prepend=-1) > order))
    groups: dict[tuple[int, int, bytes], list[tuple[int, int]]] = {}
    for begin, end in zip(begins, [*begins[1:], len(row)], strict=True):
        first, last = int(at[begin]), int(at[end - 1])
        left, right = min(first, order), min(length - 1 - last, order)
        key = left, right, (at[begin:end] - first).tobytes()
        groups.setdefault(key, []).append((int(row[begin]), first - left))
    for (left, right, inside), members in groups.items():
        place = np.frombuffer(inside, dtype=np.int64)
        hidden = np.zeros(left + int(place[-1]) + 1 + right, dtype=bool)
        hidden[left + place] = True
        pair = np.array(members, dtype=np.int64)
        yield hidden, pair[:, 0], pair[:, 1]


def _parts(hidden: NDArray[np.bool_], order: int, n: int) -> Iterator[slice]:
    """Cut n runs into parts of at most _ELEMENTS states."""
    widest = int(np.convolve(hidden, np.ones(order)).max())
    step = max(8, _ELEMENTS // 4**widest)
    for begin in range(0, n, step):
        yield slice(begin, begin + step)
