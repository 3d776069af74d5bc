"""Cell types: activities on the tree, which regions are open where, and the peaks one would call.

A variable region r is open in cell type c with probability sigmoid of

    intercept + size(c) + breadth(r) + drive(r, c) + domain(r, c) + cluster(r, c) + noise(r, c)
    drive(r, c) = sum_t opening(t) * active(c, t) * occupied(r, t), less its mean over regions

where active = sigmoid(2 z) of the activity z in units of its spread, occupied = sigmoid(site
strength) comes from the sequence, and domain, cluster and noise are correlated along the tree. So
the motif content of the regions that are open in c carries information about the activities in c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes
from genebert.simulate import tree
from genebert.simulate.layout import Ints, Map, Regions
from genebert.simulate.motifs import Panel
from genebert.simulate.parameters import Parameters, Settings, stream

Floats = NDArray[np.float64]


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), safe for large |x|."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(x) / 2)))


@dataclass(frozen=True)
class Cells:
    """What distinguishes the cell types."""

    activity: Floats  # float64[C, M], logits added to the site strength
    active: Floats  # float64[C, M], between 0 and 1
    opening: Floats  # float64[C, M], logits of openness per occupied site
    size: Floats  # float64[C]
    depth: Floats  # float64[C], log sequencing depth
    root: Floats  # float64[C, C], factor of the correlation along the tree


def draw_cells(settings: Settings, panel: Panel, p: Parameters, seed: int) -> Cells:
    """Draw activities by a Brownian motion on the tree; equal everywhere under ``null_context``."""
    rng = stream(seed, "cells")
    n, m = len(settings.cell_types), len(panel.motifs)
    root = tree.factor(tree.correlation(settings.cell_type_tree, settings.cell_types))
    z = root @ rng.normal(size=(n, m))
    # Standardised per factor, so that even with few types every factor varies between them.
    z = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-9)
    house = panel.housekeeping
    sd = np.where(house, p.activity_sd_housekeeping, rng.uniform(*p.activity_sd, size=m))
    per_site = np.where(house, 0.0, rng.uniform(*p.opening, size=m))
    size = root @ rng.normal(size=n)
    size = p.open_cell_sd * (size - size.mean()) / max(float(size.std()), 1e-9)
    depth = rng.normal(0, p.depth_sd, size=n)
    if settings.null_context:
        z = np.zeros_like(z)
    mean = np.where(house, p.activity_mean + 0.8, p.activity_mean)
    active = sigmoid(2 * z)
    return Cells(mean + sd * z, active, per_site * active, size, depth, root)


@dataclass(frozen=True)
class Openness:
    """Logits and draws, both [n, C], and the mean drive of every cell type, float64[C]."""

    logit: Floats
    open: NDArray[np.bool_]
    mean_drive: Floats


def draw_openness(
    regions: Regions,
    strength: Floats,
    cells: Cells,
    settings: Settings,
    p: Parameters,
    rng: np.random.Generator,
) -> Openness:
    """Draw in which cell types every region is open; every region is open in at least one.

    Parameters
    ----------
    strength : float64[n, M], site strength of each region for each factor.
    """
    n, c = len(regions.start), len(settings.cell_types)

    def along_tree(count: int) -> Floats:
        return rng.normal(size=(count, c)) @ cells.root.T

    domain = along_tree(int(regions.domain.max()) + 1)[regions.domain]
    cluster = along_tree(int(regions.cluster.max()) + 1)[regions.cluster]
    noise = along_tree(n)
    breadth = rng.normal(0, p.open_region_sd, size=(n, 1))
    concordance = 0.0 if settings.null_context else 1.0
    drive = sigmoid(strength) @ cells.opening.T
    mean_drive = drive.mean(axis=0)  # activities shift which regions are open, not how many
    logit = (
        p.open_intercept
        + cells.size
        + breadth
        + drive
        - mean_drive
        + concordance * (p.open_domain_sd * domain + p.open_cluster_sd * cluster)
        + p.open_noise_sd * noise
    )
    logit = np.where(regions.constitutive[:, None], p.open_constitutive + breadth, logit)
    opened = rng.random((n, c)) < sigmoid(logit)
    opened[np.arange(n), logit.argmax(axis=1)] |= ~opened.any(axis=1)
    return Openness(logit, opened, mean_drive)


@dataclass(frozen=True)
class Peaks:
    """Called peaks of one sample, sorted by position; region is -1 for false ones."""

    start: Ints
    end: Ints
    summit: Ints
    signal: Floats
    region: Ints


def _shape(
    summit: Ints, signal: Floats, region: Ints, contigs: Map, width: tuple[float, float],
    rng: np.random.Generator,
) -> Peaks:  # fmt: skip
    """Give peaks a width, clip them to their contig and sort them."""
    size = np.clip(np.exp(rng.normal(np.log(width[0]), width[1], len(summit))), 150, 1_500)
    left = (size * rng.uniform(0.35, 0.65, len(summit))).astype(np.int64)
    contig = contigs.contig_of(summit)
    start = np.maximum(summit - left, contigs.offsets[contig])
    end = np.minimum(summit - left + size.astype(np.int64), contigs.offsets[contig + 1])
    order = np.lexsort((end, start))
    return Peaks(start[order], end[order], summit[order], signal[order], region[order])


def background_places(codes: Codes, count: int, contigs: Map, rng: np.random.Generator) -> Ints:
    """Return ``count`` random positions that are not N and not at a contig's edge."""
    places = rng.integers(0, contigs.total, size=4 * count + 50)
    contig = contigs.contig_of(places)
    inside = (places > contigs.offsets[contig] + 1_000) & (
        places < contigs.offsets[contig + 1] - 1_000
    )
    return np.asarray(places[inside & (codes[places] < 4)][:count])


def call_peaks(
    cell: int,
    regions: Regions,
    openness: Openness,
    bound: Floats,
    cells: Cells,
    blacklist: Ints,
    codes: Codes,
    contigs: Map,
    p: Parameters,
    rng: np.random.Generator,
) -> Peaks:
    """Call the peaks of one cell type: some open regions are missed, some peaks are false.

    Signal rises with the logit of openness and with the expected number of bound factors.

    Parameters
    ----------
    bound : float64[n], expected number of bound factors with ChIP data.
    blacklist : int64[n, 2]; a spurious strong peak stands in each interval.
    """
    rows = np.flatnonzero(openness.open[:, cell])
    log_signal = (
        1.4
        + 0.22 * np.clip(openness.logit[rows, cell], -3, 5)
        + p.signal_bound * bound[rows]
        + rng.normal(0, 0.45, size=len(rows))
    )
    called = rng.random(len(rows)) < sigmoid(
        p.miss_intercept + 1.2 * (log_signal - 1.6) + 2.0 * cells.depth[cell]
    )
    rows, log_signal = rows[called], log_signal[called]
    summit = regions.centre[rows] + np.round(rng.normal(0, p.summit_sd, len(rows))).astype(np.int64)
    false = background_places(codes, round(p.false_peaks * len(rows)), contigs, rng)
    spurious = (blacklist[:, 0] + blacklist[:, 1]) // 2 + rng.integers(-100, 100, len(blacklist))
    return _shape(
        np.concatenate([summit, false, spurious]),
        np.exp(
            np.concatenate(
                [
                    log_signal + 0.5 * cells.depth[cell],
                    rng.normal(0.7, 0.3, len(false)),
                    rng.normal(3.5, 0.2, len(spurious)),
                ]
            )
        ),
        np.concatenate([rows, np.full(len(false) + len(spurious), -1)]),
        contigs,
        p.peak_width,
        rng,
    )
