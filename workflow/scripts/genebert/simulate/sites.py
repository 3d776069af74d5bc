"""Plant motif sites: 2-8 per region with clusters and cofactor spacings, and decoys elsewhere.

In: regions, the panel and the genome's codes (changed in place). Out: :class:`Sites`, the truth
about every planted site.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes, reverse_complement
from genebert.simulate.layout import Genes, Ints, Regions, Space
from genebert.simulate.motifs import Panel
from genebert.simulate.parameters import Parameters, Settings

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sites:
    """Planted sites, sorted by position; region is -1 for decoys in closed sequence."""

    region: Ints
    motif: Ints
    start: Ints  # global
    strand: Ints  # +1 or -1
    width: Ints
    strength: Floats  # logits, of the sequence as written
    cofactor: Floats  # logits that an active partner at a cooperative spacing adds
    partner: Ints  # motif of that partner (its own where there is none)

    def __len__(self) -> int:
        return len(self.region)


def motif_weights(panel: Panel, settings: Settings) -> dict[str, Floats]:
    """Return how often each motif is drawn, by class of region; each sums to 1.

    Factors with ChIP data are over-represented, so that each has a site in about a fifth of the
    regions (share of real open regions with a peak of a typical factor: 0.1-0.3).
    """
    chip = np.isin(panel.names, settings.chip_tfs)
    ctcf = np.array([name == "CTCF" for name in panel.names])
    house = panel.housekeeping
    weights = {
        "distal": np.where(chip, 3.5, np.where(house, 0.5, 1.0)),
        "constitutive": np.where(ctcf, 8.0, np.where(house, 3.0, np.where(chip, 2.0, 0.4))),
        "promoter": np.where(chip & ~ctcf, 2.0, np.where(house, 3.0, 0.4)),
    }
    weights["distal"] = np.where(ctcf, 2.0, weights["distal"])
    return {name: weight / weight.sum() for name, weight in weights.items()}


def _draw_motifs(
    regions: Regions, panel: Panel, settings: Settings, p: Parameters, rng: np.random.Generator
) -> tuple[Ints, Ints, Floats, NDArray[np.bool_]]:
    """Return, per region and rank, the motif, the gap before the site, the bonus that it and the
    site before it get as a pair, and whether there is such a site.

    Shapes: int64[n, 8], int64[n, 8], float64[n, 8], bool[n, 8].
    """
    n, most = len(regions.start), p.sites_per_region[1]
    least = p.sites_per_region[0]
    count = least + rng.binomial(most - least, p.sites_spread, size=n)
    weights = motif_weights(panel, settings)
    kind = np.where(
        regions.promoter >= 0, "promoter", np.where(regions.constitutive, "constitutive", "distal")
    )
    motif = np.zeros((n, most), dtype=np.int64)
    for name, weight in weights.items():
        rows = kind == name
        motif[rows] = rng.choice(len(weight), size=(int(rows.sum()), most), p=weight)
    gap = 2 + rng.exponential(p.site_gap, size=(n, most)).astype(np.int64)
    bonus = np.zeros((n, most))
    step = rng.random((n, most))
    near = rng.random((n, most)) < 0.5
    paired = np.zeros(n, dtype=bool)  # the previous site is already the second of a pair
    for k in range(1, most):
        same = step[:, k] < p.homotypic
        with_partner = ~same & ~paired & (step[:, k] < p.homotypic + p.cofactor)
        motif[:, k] = np.where(same, motif[:, k - 1], motif[:, k])
        motif[:, k] = np.where(with_partner, panel.partner[motif[:, k - 1]], motif[:, k])
        gap[:, k] = np.where(with_partner, np.where(near[:, k], *p.cofactor_spacing), gap[:, k])
        bonus[:, k] = np.where(with_partner, np.where(near[:, k], *p.cofactor_term), 0.0)
        paired = with_partner
    return motif, gap, bonus, np.arange(most) < count[:, None]


def _write(
    codes: Codes,
    panel: Panel,
    motif: Ints,
    start: Ints,
    strand: Ints,
    targets: Floats,
    rng: np.random.Generator,
) -> None:
    """Sample the sites motif by motif and write them into the genome in place."""
    for index, model in enumerate(panel.motifs):
        rows = np.flatnonzero(motif == index)
        if len(rows):
            written = model.sample(targets[rows], rng)
            minus = strand[rows] < 0
            written[minus] = reverse_complement(written[minus])
            codes[start[rows, None] + np.arange(model.width)] = written


def measure(codes: Codes, panel: Panel, motif: Ints, start: Ints, strand: Ints) -> Floats:
    """Return the strengths of placements as they stand in the genome."""
    out = np.zeros(len(motif))
    for index, model in enumerate(panel.motifs):
        rows = np.flatnonzero(motif == index)
        placed = codes[start[rows, None] + np.arange(model.width)]
        minus = strand[rows] < 0
        placed[minus] = reverse_complement(placed[minus])
        out[rows] = model.strength(placed)
    return out


def plant(
    codes: Codes,
    space: Space,
    regions: Regions,
    genes: Genes,
    panel: Panel,
    settings: Settings,
    p: Parameters,
    rng: np.random.Generator,
) -> Sites:
    """Write sites into regions and decoys into free closed cells.

    In a distal region the sites stand around its centre; in a promoter region between 120 bases
    upstream of the TSS and the region's end. Decoys are as strong as true sites.
    """
    widths = np.array([motif.width for motif in panel.motifs])
    motif, gap, bonus, valid = _draw_motifs(regions, panel, settings, p, rng)
    gap[:, 0] = 0
    ends = np.cumsum(np.where(valid, gap + widths[motif], 0), axis=1)
    width = regions.width
    room = np.where(regions.promoter >= 0, int(0.7 * width) - 130, width - 80)
    fits = valid & (ends <= room[:, None])
    term = np.where(fits, bonus, 0.0)
    partner = motif.copy()
    partner[:, 1:] = np.where(term[:, 1:] > 0, motif[:, :-1], motif[:, 1:])
    first = fits[:, 1:] & (bonus[:, 1:] > 0)
    term[:, :-1] = np.where(first, bonus[:, 1:], term[:, :-1])
    partner[:, :-1] = np.where(first, motif[:, 1:], partner[:, :-1])
    total = np.where(fits, ends, 0).max(axis=1)
    spread = np.clip(rng.normal(0, 25, size=len(total)), -40, 40).astype(np.int64)
    origin = (
        regions.start
        + (width - total) // 2
        + np.clip(spread, -(width - total) // 2 + 20, (width - total) // 2 - 20)
    )
    gene = regions.promoter
    at_promoter = gene >= 0
    plus = genes.strand[gene] > 0
    slack = room - total
    shift = (rng.random(len(total)) * (slack + 1)).astype(np.int64)
    tss = genes.tss[gene]
    upstream = np.where(plus, tss - 121 - total - shift, tss + 121 + shift)
    origin = np.where(at_promoter, upstream, origin)

    rows, ranks = np.nonzero(fits)
    site_motif = motif[rows, ranks]
    start = origin[rows] + ends[rows, ranks] - widths[site_motif]
    strand = rng.choice(np.array([1, -1]), size=len(rows))
    low, high = p.site_strength
    targets = rng.uniform(low, high, size=len(rows))
    n_decoys = round(p.decoys_per_site * len(rows))
    decoy_cells = space.free_cells(40)
    n_decoys = min(n_decoys, len(decoy_cells) // 2)
    decoy_start = np.sort(rng.permutation(decoy_cells)[:n_decoys]) + 4
    decoy_motif = rng.permutation(site_motif)[:n_decoys]
    n_decoys = len(decoy_motif)
    decoy_start = decoy_start[:n_decoys]

    all_motif = np.concatenate([site_motif, decoy_motif])
    all_start = np.concatenate([start, decoy_start])
    all_strand = np.concatenate([strand, rng.choice(np.array([1, -1]), size=n_decoys)])
    targets = np.concatenate([targets, rng.uniform(low, high, size=n_decoys)])
    _write(codes, panel, all_motif, all_start, all_strand, targets, rng)
    order = np.argsort(all_start, kind="stable")
    return Sites(
        np.concatenate([rows, np.full(n_decoys, -1)])[order],
        all_motif[order],
        all_start[order],
        all_strand[order],
        widths[all_motif][order],
        measure(codes, panel, all_motif, all_start, all_strand)[order],
        np.concatenate([term[rows, ranks], np.zeros(n_decoys)])[order],
        np.concatenate([partner[rows, ranks], decoy_motif])[order],
    )


@dataclass(frozen=True)
class Pairs:
    """The largest pair bonus of each region and motif: float64 and int64, both [n, M]."""

    bonus: Floats
    partner: Ints

    def rows(self, index: Ints) -> Pairs:
        """Return the pairs of some regions."""
        return Pairs(self.bonus[index], self.partner[index])


def pairs_of(sites: Sites, n_regions: int, n_motifs: int) -> Pairs:
    """Collect the cooperative pairs of every region."""
    bonus = np.zeros((n_regions, n_motifs))
    partner = np.tile(np.arange(n_motifs), (n_regions, 1))
    rows = np.flatnonzero(sites.cofactor > 0)
    rows = rows[np.argsort(sites.cofactor[rows], kind="stable")]  # the largest is written last
    bonus[sites.region[rows], sites.motif[rows]] = sites.cofactor[rows]
    partner[sites.region[rows], sites.motif[rows]] = sites.partner[rows]
    return Pairs(bonus, partner)
