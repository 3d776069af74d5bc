"""Single-base variants: the change of binding they cause, causal ones and their matched neutrals.

The effect of a variant in cell type c is the change of the binding probability of the factor that
changes most, 0 where the region is closed in c. A variant is causal with probability
sigmoid(slope * (|effect| - midpoint)). Each causal variant gets nine neutral ones with the same
substitution and flanking bases (up to strand), of the same class of region where there is one and
at the nearest distance to a TSS: three of each class of neutrals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Codes
from genebert.progress import progress
from genebert.simulate.binding import energies
from genebert.simulate.cells import Cells, Openness, sigmoid
from genebert.simulate.layout import Ints, Map, Regions
from genebert.simulate.motifs import Panel, region_strength
from genebert.simulate.parameters import KEY, Parameters, Settings
from genebert.simulate.sites import Pairs, Sites

Floats = NDArray[np.float64]
NEUTRAL_CLASSES = ("low_information", "inactive", "elsewhere")
MARGIN = 30  # variants stay this far from the end of a region, so that every placement counts


@dataclass(frozen=True)
class World:
    """What the effect of a variant depends on."""

    codes: Codes
    contigs: Map
    regions: Regions
    panel: Panel
    sites: Sites
    strength: Floats  # float64[n, M]
    pairs: Pairs
    cells: Cells
    openness: Openness
    parameters: Parameters

    def energies(self, strength: Floats, rows: Ints, cell: int) -> Floats:
        """Return the binding logits of regions ``rows`` with the given strengths."""
        return energies(
            strength, self.pairs.rows(rows), self.cells, self.openness, self.panel,
            self.parameters, cell,
        )  # fmt: skip


def strength_with(world: World, region: Ints, position: Ints, alt: Codes) -> Floats:
    """Return float64[n, M]: the site strengths of regions in which one base is another.

    The whole region is scanned anew: what an allele takes from the sum over placements is too large
    a part of it to be subtracted.

    Parameters
    ----------
    region : int64[n]. position : int64[n], global, inside the region. alt : uint8[n].
    """
    start = world.regions.start[region]
    windows = world.codes[start[:, None] + np.arange(world.regions.width)]
    windows[np.arange(len(windows)), position - start] = alt
    return region_strength(windows, world.panel)[0]


def effects(world: World, position: Ints, alt: Codes, cell: Ints) -> Floats:
    """Return float64[n], the change of binding probability in the given cell types.

    That of the factor that changes most; 0 outside regions and where the region is closed.
    """
    out = np.zeros(len(position))
    region = world.regions.containing(position)
    inside = region >= 0
    inside[inside] = world.openness.open[region[inside], cell[inside]]
    for c in np.unique(cell[inside]):
        own = np.flatnonzero(inside & (cell == c))
        for first in range(0, len(own), 4_000):
            part = own[first : first + 4_000]
            row = region[part]
            changed = strength_with(world, row, position[part], alt[part])
            change = sigmoid(world.energies(changed, row, int(c)))
            change -= sigmoid(world.energies(world.strength[row], row, int(c)))
            out[part] = change[np.arange(len(row)), np.abs(change).argmax(axis=1)]
    return out


def substitution_class(codes: Codes, position: Ints, alt: Codes) -> Ints:
    """Return 0..95: reference, both flanks and alternative, equal for both strands."""
    left, ref, right = (codes[position + k].astype(np.int64) for k in (-1, 0, 1))
    other = alt.astype(np.int64)
    flip = ref >= 2  # describe G and T from the other strand
    left, right = np.where(flip, 3 - right, left), np.where(flip, 3 - left, right)
    ref, other = np.where(flip, 3 - ref, ref), np.where(flip, 3 - other, other)
    return np.asarray(((ref * 4 + left) * 4 + right) * 4 + other)


@dataclass(frozen=True)
class Variants:
    """Variants in the order of the table; ``match`` numbers a causal variant and its neutrals."""

    position: Ints  # global
    alt: Codes
    label: Ints
    cell: Ints
    distance: Ints  # to the nearest TSS
    kind: NDArray[np.str_]
    match: Ints
    effect: Floats
    probability: Floats


def tss_distance(position: Ints, tss: Ints, contigs: Map) -> Ints:
    """Return the distance to the nearest TSS on the same contig (the contig's length if none)."""
    tss = np.sort(tss)
    own = contigs.contig_of(position)
    best = np.diff(contigs.offsets)[own]
    right = np.searchsorted(tss, position)
    for index in (right - 1, right):
        valid = (index >= 0) & (index < len(tss))
        other = tss[np.clip(index, 0, len(tss) - 1)]
        valid &= contigs.contig_of(other) == own
        best = np.where(valid, np.minimum(best, np.abs(position - other)), best)
    return np.asarray(best)


def site_bases(world: World, rows: Ints) -> tuple[Ints, Ints, Floats]:
    """Return all bases of sites: their global position, the row of the site, information (nats)."""
    sites = world.sites
    width = sites.width[rows]
    row = np.repeat(rows, width)
    column = np.arange(len(row)) - np.repeat(np.cumsum(width) - width, width)
    position = sites.start[row] + column
    column = np.where(sites.strand[row] > 0, column, sites.width[row] - 1 - column)
    most = world.panel.max_width
    table = np.zeros((len(world.panel.motifs), most))
    for index, motif in enumerate(world.panel.motifs):
        table[index, : motif.width] = (motif.probability * motif.log_odds).sum(axis=1)
    return position, row, table[sites.motif[row], column]


def _interior(world: World, position: Ints) -> NDArray[np.bool_]:
    return (world.regions.containing(position, MARGIN) >= 0) & (world.codes[position] < 4)


def _other_base(codes: Codes, position: Ints, rng: np.random.Generator) -> Codes:
    """Return a random base that differs from the reference."""
    return ((codes[position] + rng.integers(1, 4, size=len(position))) % 4).astype(np.uint8)


def site_classes(world: World, cell: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which sites are active in a cell type and which are not (bool[S] each).

    Active: the region is open and the factor is bound there with probability >= 0.3. Inactive:
    the region is closed, or probability < 0.1 in spite of a site of strength >= -1. Members of
    a cofactor pair are in neither class where only the partner is active.
    """
    sites = world.sites
    inside = sites.region >= 0
    row = np.maximum(sites.region, 0)
    everywhere = np.arange(len(world.regions.start))
    bound = sigmoid(world.energies(world.strength, everywhere, cell))[row, sites.motif]
    opened = world.openness.open[row, cell] & inside
    active = opened & (bound >= 0.3)
    strong = inside & (sites.strength >= -1)
    return active, strong & (~opened | ((bound < 0.1) & (sites.cofactor == 0)))


def draw_causal(
    world: World,
    count: int,
    cell_types: list[int],
    p: Parameters,
    rng: np.random.Generator,
    taken: set[int],
) -> tuple[Ints, Codes, Ints, Floats]:
    """Draw causal variants at active sites, evenly over cell types.

    Returns
    -------
    position, alt, cell, effect.
    """
    parts: list[tuple[Ints, Codes, Ints, Floats]] = []
    share = -(-count // len(cell_types))
    for cell in cell_types:
        active, _ = site_classes(world, cell)
        position, _, _ = site_bases(world, np.flatnonzero(active))
        position = np.unique(position[_interior(world, position)])
        position = rng.permutation(position)[: 40 * share]
        alt = _other_base(world.codes, position, rng)
        effect = effects(world, position, alt, np.full(len(position), cell))
        odds = sigmoid(p.causal_slope * (np.abs(effect) - p.causal_midpoint))
        hit = np.flatnonzero(rng.random(len(position)) < odds)
        fresh = [i for i in hit.tolist() if int(position[i]) not in taken][:share]
        taken.update(position[fresh].tolist())
        parts.append((position[fresh], alt[fresh], np.full(len(fresh), cell), effect[fresh]))
    position, alt, cell_index, effect = (
        np.concatenate([part[k] for part in parts]) for k in range(4)
    )
    if len(position) < count:
        raise InputError(
            "not enough sites for the causal variants",
            file=f"{KEY}.variants",
            found=len(position),
            expected=f"{count}: use a larger genome",
        )
    keep = np.sort(rng.permutation(len(position))[:count])
    return position[keep], alt[keep], cell_index[keep], effect[keep]


def _neutral_pool(
    world: World, cell: int, kind: str, size: int, rng: np.random.Generator
) -> tuple[Ints, Codes]:
    """Return candidate neutral variants (position, alt) of one class in one cell type."""
    active, inactive = site_classes(world, cell)
    if kind == "elsewhere":
        rows = np.flatnonzero(world.openness.open[:, cell])
        width = world.regions.width
        position = world.regions.start[rng.choice(rows, size=size)] + rng.integers(
            MARGIN, width - MARGIN, size=size
        )
        inside = np.flatnonzero(world.sites.region >= 0)
        covered, _, _ = site_bases(world, inside)
        position = position[~np.isin(position, covered)]
    else:
        rows = np.flatnonzero(active if kind == "low_information" else inactive)
        position, _, information = site_bases(world, rows)
        position = position[information < 0.35 if kind == "low_information" else information > 0.7]
    position = np.unique(position[_interior(world, position)])
    alts = [((world.codes[position] + k) % 4).astype(np.uint8) for k in (1, 2, 3)]
    every, alt = np.tile(position, 3), np.concatenate(alts)
    chosen = rng.permutation(len(every))[:size]
    return every[chosen], alt[chosen]


def draw_variants(
    world: World,
    settings: Settings,
    tss: Ints,
    p: Parameters,
    rng: np.random.Generator,
) -> Variants:
    """Draw causal variants and nine matched neutral ones for each.

    Raises
    ------
    InputError
        If the genome holds too few sites.
    """
    cell_types = [settings.cell_types.index(name) for name in settings.variant_cell_types]
    taken: set[int] = set()
    wanted = settings.causal_variants
    position, alt, cell, effect = draw_causal(
        world, int(wanted * 1.6) + 5, cell_types, p, rng, taken
    )
    group = np.full(len(position), -1)
    columns: list[list[NDArray[np.generic]]] = []
    complete = np.ones(len(position), dtype=bool)
    kinds = region_kind(world.regions)
    for c in progress(cell_types, "drawing variants", "cell types"):
        own = np.flatnonzero(cell == c)
        if not len(own):
            continue
        for kind in NEUTRAL_CLASSES:
            pool, pool_alt = _neutral_pool(world, c, kind, 60_000, rng)
            chosen, counts = _match(
                world, pool, pool_alt, position[own], alt[own], c, kinds, tss, taken, p, rng
            )
            complete[own] &= counts == p.neutrals // 3
            index, of, value = chosen
            columns.append(
                [pool[index], pool_alt[index], own[of], value, np.full(len(index), kind)]
            )
    # Causal variants without nine neutrals go, and so do those beyond the wanted number.
    keep = np.flatnonzero(complete)
    if len(keep) < wanted:
        raise InputError(
            "not enough matched neutral variants",
            file=f"{KEY}.variants",
            found=len(keep),
            expected=f"{wanted}: use a larger genome",
        )
    keep = _even(cell, keep, wanted)
    group[keep] = np.arange(wanted)
    n_position, n_alt, n_of, n_effect, n_kind = (
        np.concatenate([part[k] for part in columns]) for k in range(5)
    )
    used = group[n_of] >= 0
    every_position = np.concatenate([position[keep], n_position[used]]).astype(np.int64)
    every_cell = np.concatenate([cell[keep], cell[n_of[used]]])
    label = np.repeat([1, 0], [wanted, int(used.sum())])
    match = np.concatenate([group[keep], group[n_of[used]]])
    every_effect = np.concatenate([effect[keep], n_effect[used]]).astype(np.float64)
    if settings.null_labels:  # one of every ten, whatever its effect
        order = np.lexsort((rng.random(len(match)), match))
        label = np.zeros(len(match), dtype=np.int64)
        label[order[np.searchsorted(match[order], np.arange(wanted))]] = 1
        probability = np.full(len(match), 1 / (1 + p.neutrals))
    else:
        probability = calibrated(np.abs(every_effect), label)
    order = np.lexsort((match, every_position))
    return Variants(
        every_position[order],
        np.concatenate([alt[keep], n_alt[used]]).astype(np.uint8)[order],
        label[order],
        every_cell[order],
        tss_distance(every_position, tss, world.contigs)[order],
        np.concatenate([np.full(wanted, "causal"), n_kind[used]]).astype(str)[order],
        match[order],
        every_effect[order],
        probability[order],
    )


def region_kind(regions: Regions) -> Ints:
    """Return 2 for promoters, 1 for constitutive distal regions, 0 for others."""
    return np.where(regions.promoter >= 0, 2, np.where(regions.constitutive, 1, 0))


def _even(cell: Ints, keep: Ints, count: int) -> Ints:
    """Return ``count`` of ``keep``, as evenly over the cell types as they allow."""
    rank = np.zeros(len(keep), dtype=np.int64)
    for c in np.unique(cell[keep]):
        own = cell[keep] == c
        rank[own] = np.arange(own.sum())
    return np.sort(keep[np.lexsort((cell[keep], rank))[:count]])


def _match(
    world: World,
    pool: Ints,
    pool_alt: Codes,
    position: Ints,
    alt: Codes,
    cell: int,
    kinds: Ints,
    tss: Ints,
    taken: set[int],
    p: Parameters,
    rng: np.random.Generator,
) -> tuple[tuple[Ints, Ints, Floats], Ints]:
    """Choose the nearest neutrals of one class for each causal variant.

    Returns
    -------
    (index into the pool, index of the causal variant, effect), number found per causal variant.
    """
    need = p.neutrals // 3
    pool_class = substitution_class(world.codes, pool, pool_alt)
    pool_kind = kinds[world.regions.containing(pool)]
    pool_distance = np.log10(10 + tss_distance(pool, tss, world.contigs))
    own_class = substitution_class(world.codes, position, alt)
    own_kind = kinds[world.regions.containing(position)]
    own_distance = np.log10(10 + tss_distance(position, tss, world.contigs))
    # A neutral lies on the contig of its causal variant: otherwise a model that leaves a contig
    # out is trained on the neutrals of the causal variants that it is then asked for.
    pool_contig = world.contigs.contig_of(pool)
    own_contig = world.contigs.contig_of(position)
    lists = []
    for i in range(len(position)):
        rows = np.flatnonzero((pool_class == own_class[i]) & (pool_contig == own_contig[i]))
        cost = np.abs(pool_distance[rows] - own_distance[i]) + (pool_kind[rows] != own_kind[i])
        lists.append(rows[np.argsort(cost, kind="stable")[: 8 * need]])
    flat = np.unique(np.concatenate(lists)) if lists else np.zeros(0, dtype=np.int64)
    value = np.zeros(len(pool))
    value[flat] = effects(world, pool[flat], pool_alt[flat], np.full(len(flat), cell))
    causal = sigmoid(p.causal_slope * (np.abs(value) - p.causal_midpoint))
    refused = rng.random(len(pool)) < causal  # this one would have been causal
    index, of = [], []
    counts = np.zeros(len(position), dtype=np.int64)
    for i, rows in enumerate(lists):
        for row in rows.tolist():
            if counts[i] == need:
                break
            if refused[row] or int(pool[row]) in taken:
                continue
            taken.add(int(pool[row]))
            index.append(row)
            of.append(i)
            counts[i] += 1
    at = np.array(index, dtype=np.int64)
    return (at, np.array(of, dtype=np.int64), value[at]), counts


def calibrated(effect: Floats, label: Ints) -> Floats:
    """Return P(causal | |effect|) by logistic regression on |effect| (Newton's method)."""
    design = np.stack([np.ones(len(effect)), effect], axis=1)
    weights = np.zeros(2)
    for _ in range(50):
        probability = sigmoid(design @ weights)
        gradient = design.T @ (label - probability) - 1e-3 * weights
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-3 * np.eye(2), gradient)
        weights = weights + np.clip(step, -5, 5)
    return sigmoid(design @ weights)
