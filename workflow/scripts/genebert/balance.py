"""Pairs of cell types, open and closed at a locus, whose geometry does not tell which is which.

The contrast n2 of SRM shows the surroundings of a locus in both and asks which is right. Two things
would tell without any biology: that some cell types have more open regions than others, and that
the open neighbours of an open locus are nearer (regions are open in domains). Against the first,
:func:`balanced_weights` has both directions of every pair of cell types drawn equally often.
Against the second, :class:`Geometry` holds the propensity score (Rosenbaum & Rubin 1983,
Biometrika 70:41) of a window: the logit of being the right one of a pair, given how long its span
is and how near its nearest neighbour, for its cell type. Of the drawn pairs so many are used that
(score a is right, score b is wrong) and its reverse are equally frequent. As that leaves more of
one direction of two cell types than of the other (:func:`pair_rates`), :func:`accepted` evens the
directions out once more.

In: the lists of open regions. Out: integer tables, so that every device draws the same.
Shapes: n loci, c cell types, N windows, R neighbours, G groups of the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genebert.logistic import fit_logistic
from genebert.samples import Corpus, View, neighbours

Array = NDArray[Any]

BINS = 32  # quantiles of a length
GROUPS = 16  # quantiles of the score
DECIMALS = 6  # of a score: other BLAS kernels must not move a window into another group
PRIOR = 50.0  # draws that the expected share of a pair of cell types weighs


def window_lengths(
    corpus: Corpus, view: View, cell_N: Tensor, place_N: Tensor, R: int, exclude: int
) -> Tensor:
    """Return (span, nearest), int64[2, N] in bases, of the windows of R regions around places.

    The span reaches from the first to the last start; nearest is the distance of the nearest start.
    """
    start_N = corpus.start[place_N]
    contig_N, centre_N = corpus.contig[place_N], start_N + corpus.width // 2
    entry_NR, _ = neighbours(view, corpus.width, cell_N, contig_N, centre_N, R, exclude)
    start_NR = corpus.start[view.region[entry_NR]]
    nearest_N = (start_NR - start_N[:, None]).abs().min(dim=1).values
    return torch.stack([start_NR[:, -1] - start_NR[:, 0], nearest_N])


@dataclass(frozen=True)
class Geometry:
    """What the place of its regions says about a window, as tables.

    Lengths are taken by their quantile within the cell type: cell types with more open regions have
    shorter windows everywhere, which is not what is to be balanced here.

    Attributes
    ----------
    edges : int64[2, c, BINS - 1], quantiles of span and nearest neighbour in each cell type (by its
        number in the population).
    group : int64[BINS * BINS], group of the score by both bins.
    accept : int64[GROUPS * GROUPS], of 2**16 pairs (group of the right window, of the wrong one)
        so many are used.
    """

    edges: Tensor
    group: Tensor
    accept: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Geometry:
        """Return tables that accept every pair."""
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return cls(nothing, nothing, nothing)

    @classmethod
    def fit(cls, lengths_22N: Array, cells_2N: Array, n_cells: int) -> Geometry:
        """Fit on drawn pairs.

        Parameters
        ----------
        lengths_22N : int64, span and nearest neighbour (:func:`window_lengths`) of the right and
            of the wrong windows.
        cells_2N : int64, number of the cell type of the right and of the wrong windows.
        n_cells : cell types of the population.
        """
        lengths = torch.from_numpy(lengths_22N.reshape(2, -1))
        cell = torch.from_numpy(cells_2N.reshape(-1))
        edges = torch.zeros(2, n_cells, BINS - 1, dtype=torch.int64)
        at = np.arange(1, BINS) / BINS
        for c in np.unique(cells_2N):
            edges[:, c] = torch.from_numpy(np.quantile(lengths[:, cell == c], at, axis=1).T).long()
        both = _bins(edges, lengths, cell).numpy()
        level = np.stack(np.meshgrid(np.arange(BINS), np.arange(BINS), indexing="ij"), axis=-1)
        table = level.reshape(-1, 2) / BINS
        table = np.concatenate([table, table**2, table[:, :1] * table[:, 1:]], axis=1)
        # by what the windows of a pair differ in: they share how dense their locus is
        more = np.subtract(*table[both].reshape(2, -1, table.shape[1]))
        label = np.arange(2 * len(more)) < len(more)
        fit = fit_logistic(np.concatenate([more, -more]), label)
        score = (table / fit.scale @ fit.weights[:-1]).round(DECIMALS)
        limits = np.quantile(score[both], np.arange(1, GROUPS) / GROUPS)
        group = np.searchsorted(limits, score, side="right")
        right, wrong = group[both].reshape(2, -1)
        count = np.bincount(right * GROUPS + wrong, minlength=GROUPS**2).reshape(GROUPS, GROUPS)
        accept = np.minimum(count, count.T) / np.maximum(count, 1)
        whole = np.rint(accept * 2**16).astype(np.int64).reshape(-1)
        return cls(edges, torch.from_numpy(group), torch.from_numpy(whole))

    def to(self, device: torch.device) -> Geometry:
        """Return the tables on a device."""
        return Geometry(self.edges.to(device), self.group.to(device), self.accept.to(device))

    def accepts(self, lengths_22B: Tensor, cells_2B: Tensor, word_B: Tensor) -> Tensor:
        """Return bool[B], the pairs that are used.

        Parameters
        ----------
        lengths_22B, cells_2B : as for :meth:`fit`.
        word_B : random words; the lower 16 bits are used.
        """
        if self.accept.numel() == 0:
            return torch.ones_like(word_B, dtype=torch.bool)
        return (word_B & 0xFFFF) < self.chances(lengths_22B, cells_2B)

    def chances(self, lengths_22B: Tensor, cells_2B: Tensor) -> Tensor:
        """Return int64[B]: of 2**16 pairs like each of these so many are used."""
        bins_N = _bins(self.edges, lengths_22B.flatten(1), cells_2B.flatten())
        right_B, wrong_B = self.group[bins_N].chunk(2)
        return self.accept[right_B * GROUPS + wrong_B]


def _bins(edges_2cE: Tensor, lengths_2N: Tensor, cell_N: Tensor) -> Tensor:
    """Return int64[N], both bins of windows as one number."""
    at_2NE = edges_2cE[:, cell_N]
    span_N, nearest_N = torch.searchsorted(at_2NE, lengths_2N[:, :, None].contiguous()).squeeze(2)
    return span_N * BINS + nearest_N


def size_weights(sizes: Array) -> Array:
    """Return integers of 1 .. 1023 in proportion to 1 / size (empty cell types: as of size 1)."""
    inverse = 1.0 / np.maximum(sizes, 1)
    return np.clip(np.rint(1023 * inverse / inverse.max()), 1, 1023).astype(np.int64)


def balanced_weights(
    open_nc: Array, closed_nc: Array, roles_cc: Array, given: bool = False
) -> tuple[Array, Array]:
    """Weigh pairs (open in c, closed in c') so that both directions are used equally often.

    A locus draws one pair with probability proportional to the weights of its possible pairs; with
    ``given``, it is visited once for every c in which it is open, and draws c' alone.
    The weight of (c, c') is multiplied by sqrt(expected(c', c) / expected(c, c')) for 20 rounds
    and rounded to integers of 1 .. 1023. Loci with few possible pairs can make it impossible that
    both directions agree; :func:`accepted` leaves out a part of the one that is drawn more often.

    Parameters
    ----------
    open_nc, closed_nc : bool[n, c] of loci.
    roles_cc : bool[c, c], pairs that may be drawn.

    Returns
    -------
    weight_cc : float64; 0 where a pair, or its reverse, never occurs.
    expected_cc : float64, how often each pair is drawn; 0 where the weight is.
    """
    is_open, closed = open_nc.astype(np.float64), closed_nc.astype(np.float64)
    count = is_open.T @ closed
    usable = roles_cc & (count > 0) & (count.T > 0)
    weight = np.where(usable, 1.0 / np.maximum(count, 1.0), 0.0)
    if not usable.any():
        return weight, np.zeros(weight.shape)
    for _ in range(20):
        expected = _expected(is_open, closed, weight, given)
        ratio = np.where(usable, expected.T / np.where(usable, expected, 1.0), 1.0)
        weight = weight * np.sqrt(ratio)
    weight = np.where(usable, np.clip(np.rint(1023 * weight / weight.max()), 1, 1023), 0.0)
    return weight, np.where(usable, _expected(is_open, closed, weight, given), 0.0)


def accepted(expected_cc: Array) -> Array:
    """Return int64[c, c]: of 2**16 draws of a pair so many are used, as often as of its reverse.

    Parameters
    ----------
    expected_cc : float64, how often each pair would be used if all draws were; 0 where never.
    """
    usable = expected_cc > 0
    share = np.minimum(1.0, expected_cc.T / np.where(usable, expected_cc, 1.0))
    return np.rint(np.where(usable, share, 0.0) * 2**16).astype(np.int64)


def pair_rates(chance_N: Array, columns_2N: Array, n_cells: int) -> Array:
    """Return float64[c, c]: which share of the draws of each pair of cell types is used.

    Parameters
    ----------
    chance_N : that a drawn pair of windows is used.
    columns_2N : int64, the cell type of the right and of the wrong window.

    The mean of a pair is drawn towards the product of its cell types' own means (open in c, closed
    in c'), as much as PRIOR draws weigh: with many cell types a pair has few draws of its own.
    """
    whole = max(float(chance_N.mean()), 1e-9)

    def mean(at: Array, size: int, prior: Array | float) -> Array:
        total = np.bincount(at, weights=chance_N, minlength=size)
        return (total + PRIOR * prior) / (np.bincount(at, minlength=size) + PRIOR)

    right, wrong = (mean(column, n_cells, whole) for column in columns_2N)
    own = (right[:, None] * wrong / whole).reshape(-1)
    return mean(columns_2N[0] * n_cells + columns_2N[1], n_cells**2, own).reshape(n_cells, n_cells)


def _expected(is_open: Array, closed: Array, weight: Array, given: bool) -> Array:
    """Return how often each pair of cell types is expected to be drawn, float64[c, c]."""
    total = closed @ weight.T  # of each c by itself
    if not given:
        total = ((is_open @ weight) * closed).sum(axis=1, keepdims=True)
    share = np.where(total > 0, 1.0 / np.maximum(total, 1e-300), 0.0)
    return np.asarray(weight * ((is_open * share).T @ closed))
