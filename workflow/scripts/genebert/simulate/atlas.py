"""Build the atlas: site strengths, cell types, openness, binding and all peaks.

In: a finished genome. Out: an :class:`Atlas`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.progress import progress
from genebert.simulate import binding, cells, sites
from genebert.simulate.build import Genome
from genebert.simulate.cells import Openness, Peaks
from genebert.simulate.motifs import Panel, region_strength
from genebert.simulate.parameters import Parameters, Settings, stream

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Atlas:
    """Everything that depends on the cell type."""

    strength: Floats  # float64[n, M]
    centre: NDArray[np.int32]
    pairs: sites.Pairs
    cells: cells.Cells
    openness: Openness
    probability: Floats  # float64[n, C, T], P(bound | open)
    label_probability: Floats
    bound: NDArray[np.bool_]  # bool[n, C, T], drawn ChIP label given open
    peaks: list[Peaks]
    chip: list[Peaks]


def build_atlas(
    genome: Genome, settings: Settings, p: Parameters, panel: Panel, seed: int
) -> Atlas:
    """Draw activities, openness and binding, and call the peaks."""
    regions, contigs = genome.regions, genome.layout.map
    windows = genome.codes[regions.start[:, None] + np.arange(regions.width)]
    strength, centre = region_strength(windows, panel)
    pairs = sites.pairs_of(genome.sites, len(windows), len(panel.motifs))
    drawn = cells.draw_cells(settings, panel, p, seed)
    openness = cells.draw_openness(regions, strength, drawn, settings, p, stream(seed, "open"))
    chip = [panel.index(name) for name in settings.chip_tfs]
    probability = np.stack(
        [
            cells.sigmoid(binding.energies(strength, pairs, drawn, openness, panel, p, c))[:, chip]
            for c in progress(range(len(settings.cell_types)), "drawing binding", "cell types")
        ],
        axis=1,
    )
    if settings.null_labels:
        probability = np.full_like(probability, p.null_bound)
        centre = np.full_like(centre, regions.width // 2)
    labels = binding.label_probability(probability, p)
    rng = stream(seed, "binding")
    bound = rng.random(labels.shape) < labels
    expected = probability.sum(axis=2) * (0.0 if settings.null_labels else 1.0)
    peaks = [
        cells.call_peaks(
            c, regions, openness, expected[:, c], drawn, genome.blacklist, genome.codes, contigs, p,
            stream(seed, f"peaks-{name}"),
        )
        for c, name in enumerate(progress(settings.cell_types, "calling peaks", "cell types"))
    ]  # fmt: skip
    chip_peaks = [
        binding.call_chip(
            bound[:, c, k], probability[:, c, k], centre[:, chip[k]], c, regions, openness,
            genome.codes, contigs, p, stream(seed, f"chip-{tf}-{name}"),
        )
        for k, tf in enumerate(progress(settings.chip_tfs, "calling ChIP-seq peaks", "TFs"))
        for c, name in enumerate(settings.cell_types)
    ]  # fmt: skip
    return Atlas(
        strength, centre, pairs, drawn, openness, probability, labels, bound, peaks, chip_peaks
    )
