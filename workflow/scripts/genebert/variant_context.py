"""What a variant does in a cell type: sites that appear or vanish, activity of factors, openness.

In: motif scores of both alleles, the state of cell types and the regions open in them. Out: a few
features per variant. A site that matters is neither far below nor far above the score at which it
is half occupied, its factor is active in the cell type, and its region is open there. Peaks of the
cell type are known, also of one that is held out; labels of variants are never read.

Letters of shapes: N variants, M motifs, C cell types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from genebert.context import Context
    from genebert.motifs import MotifSet

# Scores at which a site is half occupied, in nats above the threshold of a hit. The true one is
# unknown and differs between factors, so that several are offered.
MIDPOINTS = (0.0, 2.0, 4.0, 6.0)
GAINS = (0.0, 1.0)  # nats that a factor's activity (its z-score in the cell type) adds to a site
_CHUNK = 2048  # variants at a time

Floats = NDArray[np.float64]


def cell_weights(context: Context, named: Sequence[str]) -> Floats:
    """Return float64[N, C], rows that sum to 1: which cell types count for each variant.

    The named one; all training cell types alike where none is named, or one without peaks.
    """
    shards = context.shards
    column = {name: i for i, name in enumerate(shards.cell_types)}
    training = ~np.asarray(shards.held_out)
    out = np.tile(training / training.sum(), (len(named), 1))
    for row, name in enumerate(named):
        if name in column:
            out[row] = 0.0
            out[row, column[name]] = 1.0
    return out


def locus_openness(context: Context, frame: pd.DataFrame) -> Floats:
    """Return float64[N, 2]: strength of the variant's region, and whether it is open.

    Both in the named cell type, or as the mean over training cell types (:func:`cell_weights`);
    0 outside regions.
    """
    weights_NC = cell_weights(context, frame["cell_type"].tolist())
    region_N = frame["region"].to_numpy(np.int64)
    out = np.zeros((len(frame), 2))
    for cell in np.flatnonzero(weights_NC.any(axis=0)):
        rows = np.flatnonzero(weights_NC[:, cell])
        strength = context.strength(np.full(len(rows), cell), region_N[rows])
        out[rows] += weights_NC[rows, cell, None] * np.stack([strength, strength > 0], axis=1)
    return out


def site_margins(sequences: Sequence[str], motif_set: MotifSet) -> NDArray[np.float32]:
    """Return float32[N, M]: the best score of each motif above the threshold of a hit, in nats."""
    from genebert.features import encode_rows

    threshold = np.array([column.threshold for column in motif_set.columns], dtype=np.float32)
    unique, inverse = np.unique(np.asarray(sequences, dtype=str), return_inverse=True)
    return (motif_set.best_dense(encode_rows(unique.tolist())) - threshold)[inverse]


def occupancy(margin: NDArray[np.floating]) -> Floats:
    """Return the occupancy of sites, 0 to 1: the logistic function of nats above the midpoint."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(margin, np.float64) / 2)))


@dataclass(frozen=True)
class Changes:
    """What N variants change, for K pairs of a midpoint and a gain.

    Attributes
    ----------
    openness : float64[N, 2], :func:`locus_openness`.
    change : float64[N, K, 5], of the occupancy of sites: summed over motifs without sign, its
        largest value, both again where the region is open (0 elsewhere), and the sum with its sign
        where open.
    """

    openness: Floats
    change: Floats

    @property
    def features(self) -> Floats:
        """float64[N, 2 + 5 K], for a regression."""
        return np.hstack([self.openness, self.change.reshape(len(self.change), -1)])

    def score(self, signed: bool) -> Floats:
        """Return float64[N], the mean over the pairs where the region is open; not fitted."""
        return np.asarray(self.change[:, :, 4 if signed else 2].mean(axis=1))


def changes(
    context: Context,
    frame: pd.DataFrame,
    reference: NDArray[np.float32],
    alternative: NDArray[np.float32],
) -> Changes:
    """Return what the variants of a dataset change in their cell types.

    Parameters
    ----------
    frame : the dataset; ``cell_type`` and ``region`` are read.
    reference, alternative : float32[N, M], :func:`site_margins` of both alleles.
    """
    weights_NC = cell_weights(context, frame["cell_type"].tolist())
    region_N = frame["region"].to_numpy(np.int64)
    pairs = [(midpoint, gain) for midpoint in MIDPOINTS for gain in GAINS]
    out = np.zeros((len(frame), len(pairs), 5))
    for cell in np.flatnonzero(weights_NC.any(axis=0)):
        state_M = context.cell_state[cell]
        every = np.flatnonzero(weights_NC[:, cell])
        for at in range(0, len(every), _CHUNK):
            rows = every[at : at + _CHUNK]
            is_open = context.strength(np.full(len(rows), cell), region_N[rows]) > 0
            for k, (midpoint, gain) in enumerate(pairs):
                shift_M = gain * state_M - midpoint
                change_NM = occupancy(alternative[rows] + shift_M)
                change_NM -= occupancy(reference[rows] + shift_M)
                size_NM = np.abs(change_NM)
                total, most = size_NM.sum(axis=1), size_NM.max(axis=1)
                signed = change_NM.sum(axis=1)
                values = (total, most, total * is_open, most * is_open, signed * is_open)
                out[rows, k] += weights_NC[rows, cell, None] * np.stack(values, axis=1)
    return Changes(locus_openness(context, frame), out)
