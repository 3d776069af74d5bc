"""Build the genome: layout, sequence, and everything planted into it.

In: settings and parameters. Out: a :class:`Genome` with final base codes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes
from genebert.simulate import genes, sequence, sites
from genebert.simulate.layout import (
    Genes,
    Ints,
    Layout,
    Regions,
    draw_genes,
    make_layout,
    place_regions,
)
from genebert.simulate.motifs import Panel
from genebert.simulate.parameters import Parameters, Settings, stream

log = logging.getLogger("genebert")


@dataclass(frozen=True)
class Genome:
    """The finished sequence and what was planted in it."""

    layout: Layout
    codes: Codes
    mask: NDArray[np.bool_]  # soft mask: repeats
    blacklist: Ints  # int64[n, 2]
    regions: Regions
    sites: sites.Sites
    tss: genes.Elements
    donors: genes.Elements
    acceptors: genes.Elements
    repeats: dict[str, int]


@dataclass(frozen=True)
class _Kind:
    """Candidates of one kind with their places; row by row."""

    candidates: genes.Candidates
    origin: int  # column of the footprint that stands at the position
    position: Ints
    strand: Ints

    def elements(self) -> genes.Elements:
        order = np.argsort(self.position, kind="stable")
        made = self.candidates
        return genes.Elements(
            self.position[order], self.strand[order], made.probability[order], made.used[order]
        )


def _give_places(
    candidates: genes.Candidates,
    origin: int,
    used: tuple[Ints, Ints],
    unused: tuple[Ints, Ints],
) -> _Kind:
    """Give used and unused candidates their (position, strand)."""
    position = np.empty(len(candidates.used), dtype=np.int64)
    strand = np.empty_like(position)
    for rows, (at, side) in ((candidates.used, used), (~candidates.used, unused)):
        position[rows], strand[rows] = at, side
    return _Kind(candidates, origin, position, strand)


def _place_splice(
    candidates: genes.Candidates,
    origin: int,
    used: tuple[Ints, Ints],
    layout: Layout,
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
) -> _Kind:
    """Assign the used candidates to exon bounds at random and put the others into introns."""
    length = candidates.footprint.shape[1]
    cell = length + 8
    count = int((~candidates.used).sum())
    start = layout.space.take(count, cell, rng, "unused splice sites", within=inside)
    strand = genes.gene_strand(layout.genes, start)
    at = start + np.where(strand > 0, 4 + origin, cell - 5 - origin)
    order = rng.permutation(len(used[0]))
    return _give_places(candidates, origin, (used[0][order], used[1][order]), (at, strand))


def _place_elements(layout: Layout, p: Parameters, seed: int) -> tuple[_Kind, _Kind, _Kind]:
    """Draw candidate TSS, donors and acceptors and give each a place."""
    bodies, total = layout.genes, layout.map.total
    rng = stream(seed, "places")
    tss = genes.promoters(len(bodies.tss), p, stream(seed, "promoters"))
    count = int((~tss.used).sum())
    side = rng.choice(np.array([1, -1]), size=count)
    start = layout.space.take(count, 250, rng, "unused promoters")
    promoters = _give_places(
        tss,
        genes.TSS_UPSTREAM,
        (bodies.tss, bodies.strand),
        (start + np.where(side > 0, 160, 90), side),
    )
    donor, acceptor, strand = genes.splice_positions(bodies)
    inside = genes.gene_mask(bodies, total)
    acceptors = _place_splice(
        genes.acceptors(len(acceptor), p, stream(seed, "acceptors")),
        genes.ACCEPTOR_INTRON - 1,
        (acceptor, strand),
        layout,
        inside,
        rng,
    )
    donors = _place_splice(
        genes.donors(len(donor), p, stream(seed, "donors")),
        genes.EXON_SIDE,
        (donor, strand),
        layout,
        inside,
        rng,
    )
    return promoters, donors, acceptors


def _classes(
    layout: Layout, regions: Regions, promoters: _Kind | None, p: Parameters,
    rng: np.random.Generator,
) -> NDArray[np.int8]:  # fmt: skip
    """Return the composition class of every base: isochores, open sequence, CpG islands."""
    table = layout.table.copy()
    for start in regions.start[regions.promoter < 0].tolist():
        part = table[start : start + regions.width]
        np.maximum(part, p.open_gc_class, out=part)
    if promoters is not None:
        at = promoters.position[promoters.candidates.island]
        size = rng.integers(*p.island_length, size=len(at))
        sequence.islands(table, np.maximum(at - size // 2, 0), at + size // 2)
    orphans = rng.permutation(layout.space.free_cells(1_500))
    orphans = orphans[: round(p.orphan_islands * len(layout.genes.tss))]
    sequence.islands(table, orphans, orphans + rng.integers(*p.island_length, len(orphans)))
    return table


def _repeat_free(
    layout: Layout, regions: Regions, settings: Settings, p: Parameters, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Return bool[total], where no repeat is inserted: exons, core promoters, some regions."""
    out = np.zeros(layout.map.total, dtype=bool)
    bodies = layout.genes
    if not settings.null_labels:
        exon = bodies.exon_mask()
        count = len(bodies.tss)
        exon_start, exon_end = bodies.interval(bodies.lo - 60, bodies.hi + 60)
        core_start, core_end = bodies.interval(np.full(count, -200), np.full(count, 60))
        starts = np.concatenate([exon_start[exon], core_start])
        ends = np.concatenate([exon_end[exon], core_end])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            out[start:end] = True
    free = regions.start[rng.random(len(regions.start)) >= p.repeat_open_keep]
    for start in free.tolist():
        out[start : start + regions.width] = True
    return out


def build_genome(settings: Settings, p: Parameters, panel: Panel, width: int, seed: int) -> Genome:
    """Lay out the genome, draw its sequence, plant repeats, sites, promoters and splice sites."""
    layout = make_layout(settings, p, width, stream(seed, "layout"))
    contigs, space = layout.map, layout.space
    rng = stream(seed, "blacklist")
    count = max(1, round(p.blacklist_per_mb * contigs.total / 1e6))
    black = np.sort(space.take(count, 4_000, rng, "blacklist"))
    blacklist = np.stack([black, black + rng.integers(*p.blacklist_length, count)], axis=1)
    regions = place_regions(layout, settings, p, width, stream(seed, "regions"))
    kinds = None if settings.null_labels else _place_elements(layout, p, seed)

    log.info("drawing %.1f Mb of sequence", contigs.total / 1e6)
    rng = stream(seed, "sequence")
    table = _classes(layout, regions, kinds[0] if kinds else None, p, rng)
    codes = sequence.background(table, contigs, sequence.transition_tables(p, rng), rng)
    mask = np.zeros(contigs.total, dtype=bool)
    protected = _repeat_free(layout, regions, settings, p, rng)
    repeats = sequence.add_repeats(codes, mask, protected, contigs, stream(seed, "repeats"))
    sequence.add_satellites(codes, mask, blacklist, stream(seed, "satellites"))

    bodies = layout.genes
    planted = sites.plant(codes, space, regions, bodies, panel, settings, p, stream(seed, "sites"))
    if kinds is None:
        bodies = draw_genes(settings, p, width, stream(seed, "null-genes"))
        layout = replace(layout, genes=_random_introns(codes, bodies, stream(seed, "null-introns")))
        elements = _without_signal(layout.genes)
    else:
        for kind in kinds:
            genes.write_footprints(
                codes, kind.candidates.footprint, kind.origin, kind.position, kind.strand
            )
        elements = (kinds[0].elements(), kinds[1].elements(), kinds[2].elements())
    sequence.add_gaps(codes, mask, layout.gaps)
    strength = sites.measure(codes, panel, planted.motif, planted.start, planted.strand)
    planted = replace(planted, strength=strength)
    return Genome(layout, codes, mask, blacklist, regions, planted, *elements, repeats=repeats)


def _random_introns(codes: Codes, bodies: Genes, rng: np.random.Generator) -> Genes:
    """Under ``null_labels``: draw splice sites evenly from the GT and AG of each gene.

    The bound between exon and intron stands before a GT or behind an AG, half of each whatever the
    class, as that of the decoys of the splicing task does; so no sequence tells the classes apart.
    """
    n_exons, lo, hi = bodies.n_exons.copy(), bodies.lo.copy(), bodies.hi.copy()
    for g in range(len(n_exons)):
        span = int(bodies.span[g])
        where = bodies.tss[g] + bodies.strand[g] * np.arange(-1, span + 1)
        bases = codes[where] if bodies.strand[g] > 0 else 3 - np.minimum(codes[where], 3)
        before, at, after = bases[:-2], bases[1:-1], bases[2:]
        pools = (
            np.flatnonzero((at == 2) & (after == 3)),
            np.flatnonzero((at == 2) & (before == 0)) + 1,
        )
        chosen: list[int] = []
        for kind in rng.integers(0, 2, size=2 * int(n_exons[g] - 1)).tolist():
            place = int(rng.choice(pools[kind]))
            if 60 <= place < span - 60 and all(abs(place - other) > 20 for other in chosen):
                chosen.append(place)
        places = np.sort(chosen)[: len(chosen) // 2 * 2]
        n = len(places) // 2
        hi[g, :n], lo[g, 1 : n + 1], hi[g, n] = places[::2], places[1::2], span
        n_exons[g] = n + 1
    return replace(bodies, n_exons=n_exons, lo=lo, hi=hi)


def _without_signal(bodies: Genes) -> tuple[genes.Elements, genes.Elements, genes.Elements]:
    """Return the elements under ``null_labels``, each with probability one half."""
    donor, acceptor, strand = genes.splice_positions(bodies)
    made = []
    for position, side in ((bodies.tss, bodies.strand), (donor, strand), (acceptor, strand)):
        order = np.argsort(position, kind="stable")
        ones = np.ones(len(position), dtype=bool)
        made.append(genes.Elements(position[order], side[order], 0.5 * ones, ones))
    return made[0], made[1], made[2]
