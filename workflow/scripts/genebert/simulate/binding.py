"""Which factor binds where: probabilities, draws and the ChIP-seq peaks one would call.

Given that region r is open in cell type c, factor t binds with probability

    sigmoid(strength(r, t) + activity(c, t) + cofactor(r, c, t))

and nowhere else. The cofactor term has two parts, so that what binds at a locus depends on the
other factors of the cell type: a bonus for a partner at a cooperative spacing, times the partner's
occupancy and activity; and for factors that are not housekeeping, a share of the drive that the
other factors of the region exert (collaborative binding).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes
from genebert.simulate.cells import Cells, Openness, Peaks, _shape, background_places, sigmoid
from genebert.simulate.layout import Map, Regions
from genebert.simulate.motifs import Panel
from genebert.simulate.parameters import Parameters
from genebert.simulate.sites import Pairs

Floats = NDArray[np.float64]


def energies(
    strength: Floats, pairs: Pairs, cells: Cells, openness: Openness, panel: Panel,
    p: Parameters, cell: int,
) -> Floats:  # fmt: skip
    """Return float64[n, M], the logits of P(bound | open) in one cell type.

    Parameters
    ----------
    strength : float64[n, M], site strengths. pairs : of the same n regions.
    """
    occupied = sigmoid(strength)
    partner_there = np.take_along_axis(occupied, pairs.partner, axis=1)
    bonus = pairs.bonus * partner_there * cells.active[cell][pairs.partner]
    own = occupied * cells.opening[cell]
    others = own.sum(axis=1, keepdims=True) - own - openness.mean_drive[cell]
    help_others = np.where(panel.housekeeping, 0.0, p.collaboration) * others
    return np.asarray(strength + cells.activity[cell] + bonus + help_others)


def label_probability(bound: Floats, p: Parameters) -> Floats:
    """Return P(ChIP peak | open) from P(bound | open), given missed and false peaks."""
    return bound * (1 - p.chip_miss) + (1 - bound) * p.chip_false


def call_chip(
    drawn: NDArray[np.bool_],
    probability: Floats,
    centre: NDArray[np.int32],
    cell: int,
    regions: Regions,
    openness: Openness,
    codes: Codes,
    contigs: Map,
    p: Parameters,
    rng: np.random.Generator,
) -> Peaks:
    """Call the peaks of one factor in one cell type.

    Parameters
    ----------
    drawn : bool[n], the region has a peak (missed and false ones already decided).
    probability : float64[n], gives the signal.
    centre : int32[n], centre of the best site within the region.
    """
    rows = np.flatnonzero(drawn & openness.open[:, cell])
    jitter = np.round(rng.normal(0, p.chip_summit_sd, len(rows))).astype(np.int64)
    inside = np.clip(centre[rows], 100, regions.width - 101)  # the peak stays on its region
    summit = regions.start[rows] + inside + jitter
    signal = np.exp(1.5 + 1.2 * probability[rows] + rng.normal(0, 0.4, len(rows)))
    away = background_places(codes, 4 * round(p.chip_background * len(rows)) + 8, contigs, rng)
    far = regions.containing(away, -1_000) < 0
    away = away[far][: round(p.chip_background * len(rows))]
    return _shape(
        np.concatenate([summit, away]),
        np.concatenate([signal, np.exp(rng.normal(1.4, 0.3, len(away)))]),
        np.concatenate([rows, np.full(len(away), -1)]),
        contigs,
        (280.0, 0.2),
        rng,
    )
