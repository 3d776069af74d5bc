"""Pairs of cell types, open and closed at a locus, whose geometry does not tell which is which.

The contrast n2 of SRM shows the surroundings of a locus in both and asks which is right. Two things
would tell without any biology: that some cell types have more open regions than others, and that
the open neighbours of an open locus are nearer (regions are open in domains) and open in fewer
other cell types. Against the first, :func:`balanced_weights` has both directions of every pair of
cell types drawn equally often. Against the second, :class:`Geometry` holds the propensity score
(Rosenbaum & Rubin 1983, Biometrika 70:41) of a window: the logit of being the right one of a pair,
given its :func:`window_shapes`, for its cell type. Of the drawn pairs so many are used that
(score a is right, score b is wrong) and its reverse are equally frequent. As that leaves more of
one direction of two cell types than of the other (:func:`pair_rates`), :func:`accepted` evens the
directions out once more.

In: the lists of open regions. Out: integer tables, so that every device draws the same.
Shapes: n loci, c cell types, N windows, R neighbours, G groups of the score, H shapes of a window.
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

BINS = 32  # quantiles of a shape
GROUPS = 16  # quantiles of the score
WEIGHT_UNIT = 2**18  # weights of the score are whole numbers, so that every device sums the same
PRIOR = 50.0  # draws that the expected share of a pair of cell types weighs
SHAPES = ("span", "nearest", "farther", "distance", "breadth")


def window_shapes(
    corpus: Corpus, view: View, cell_N: Tensor, place_N: Tensor, R: int, exclude: int
) -> Tensor:
    """Return int64[H, N] of the complete windows of R regions around places, as SHAPES names them.

    span: from the first to the last start, in bases; nearest and farther: distance of the two
    flanking starts; distance: of all, summed; breadth: of the regions, summed.
    """
    start_N = corpus.start[place_N]
    contig_N, centre_N = corpus.contig[place_N], start_N + corpus.width // 2
    entry_NR, _ = neighbours(view, corpus.width, cell_N, contig_N, centre_N, R, exclude)
    region_NR = view.region[entry_NR]
    start_NR = corpus.start[region_NR]
    away_NR = (start_NR - start_N[:, None]).abs()
    flank_N2 = away_NR[:, R // 2 - 1 : R // 2 + 1]
    shapes = (
        start_NR[:, -1] - start_NR[:, 0],
        flank_N2.min(dim=1).values,
        flank_N2.max(dim=1).values,
        away_NR.sum(dim=1),
        corpus.breadth[region_NR].long().sum(dim=1),
    )
    return torch.stack(shapes)


def _terms(level_NH: Tensor) -> Tensor:
    """Return the whole levels of N windows, their squares and products, int64[N, H (H + 3) / 2]."""
    H = level_NH.shape[1]
    first, second = torch.triu_indices(H, H, device=level_NH.device)
    return torch.cat([level_NH, level_NH[:, first] * level_NH[:, second]], dim=1)


@dataclass(frozen=True)
class Geometry:
    """What the place of its regions says about a window, as tables.

    Shapes are taken by their quantile within the cell type: cell types with more open regions have
    shorter windows everywhere, which is not what is to be balanced here.

    Attributes
    ----------
    edges : int64[H, c, BINS - 1], quantiles of every shape in each cell type (by its number in the
        population).
    weight : int64[H (H + 3) / 2], of the terms of the score (:func:`_terms`).
    limits : int64[GROUPS - 1], of the score between its groups.
    accept : int64[GROUPS * GROUPS], of 2**16 pairs (group of the right window, of the wrong one)
        so many are used.
    """

    edges: Tensor
    weight: Tensor
    limits: Tensor
    accept: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Geometry:
        """Return tables that accept every pair."""
        nothing = torch.zeros(0, dtype=torch.int64, device=device)
        return cls(nothing, nothing, nothing, nothing)

    @classmethod
    def fit(cls, shapes_H2N: Array, cells_2N: Array, n_cells: int) -> Geometry:
        """Fit on drawn pairs.

        Parameters
        ----------
        shapes_H2N : int64, :func:`window_shapes` of the right and of the wrong windows.
        cells_2N : int64, number of the cell type of the right and of the wrong windows.
        n_cells : cell types of the population.
        """
        shapes = torch.from_numpy(shapes_H2N.reshape(len(shapes_H2N), -1))
        cell = torch.from_numpy(cells_2N.reshape(-1))
        edges = torch.zeros(len(shapes), n_cells, BINS - 1, dtype=torch.int64)
        at = np.arange(1, BINS) / BINS
        for c in np.unique(cells_2N):
            edges[:, c] = torch.from_numpy(np.quantile(shapes[:, cell == c], at, axis=1).T).long()
        terms = _terms(_levels(edges, shapes, cell))
        # by what the windows of a pair differ in: they share how dense their locus is
        right, wrong = terms.double().numpy().reshape(2, -1, terms.shape[1])
        more = right - wrong
        fit = fit_logistic(np.concatenate([more, -more]), np.arange(2 * len(more)) < len(more))
        weight = torch.from_numpy(np.rint(fit.weights[:-1] / fit.scale * WEIGHT_UNIT)).long()
        score = (terms * weight).sum(dim=1)
        at = np.arange(1, GROUPS) / GROUPS
        limits = torch.from_numpy(np.rint(np.quantile(score.numpy(), at))).long()
        group = torch.searchsorted(limits, score, right=True).numpy()
        pair = group[: len(more)] * GROUPS + group[len(more) :]
        count = np.bincount(pair, minlength=GROUPS**2).reshape(GROUPS, GROUPS)
        accept = np.minimum(count, count.T) / np.maximum(count, 1)
        whole = np.rint(accept * 2**16).astype(np.int64).reshape(-1)
        return cls(edges, weight, limits, torch.from_numpy(whole))

    def to(self, device: torch.device) -> Geometry:
        """Return the tables on a device."""
        tables = self.edges, self.weight, self.limits, self.accept
        return Geometry(*(table.to(device) for table in tables))

    def accepts(self, shapes_H2B: Tensor, cells_2B: Tensor, word_B: Tensor) -> Tensor:
        """Return bool[B], the pairs that are used.

        Parameters
        ----------
        shapes_H2B, cells_2B : as for :meth:`fit`.
        word_B : random words; the lower 16 bits are used.
        """
        if self.accept.numel() == 0:
            return torch.ones_like(word_B, dtype=torch.bool)
        return (word_B & 0xFFFF) < self.chances(shapes_H2B, cells_2B)

    def chances(self, shapes_H2B: Tensor, cells_2B: Tensor) -> Tensor:
        """Return int64[B]: of 2**16 pairs like each of these so many are used."""
        level_NH = _levels(self.edges, shapes_H2B.flatten(1), cells_2B.flatten())
        score_N = (_terms(level_NH) * self.weight).sum(dim=1)
        right_B, wrong_B = torch.searchsorted(self.limits, score_N, right=True).chunk(2)
        return self.accept[right_B * GROUPS + wrong_B]


def _levels(edges_HcE: Tensor, shapes_HN: Tensor, cell_N: Tensor) -> Tensor:
    """Return int64[N, H], the quantile of every shape of windows within their cell type."""
    at_HNE = edges_HcE[:, cell_N]
    return torch.searchsorted(at_HNE, shapes_HN[:, :, None].contiguous()).squeeze(2).T


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
