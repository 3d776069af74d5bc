"""Where things lie: contigs, gaps, isochores, domains, gene bodies and the free space between.

All contigs are laid end to end in one coordinate ("global" position), so that every later step
works on whole arrays; :class:`Map` turns global positions into contigs. Transcript coordinates
count from the TSS (0) in the direction of transcription.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.simulate.parameters import KEY, Parameters, Settings

Ints = NDArray[np.int64]
ISLAND = 5  # index of the table of CpG islands, after the five isochore classes


@dataclass(frozen=True)
class Map:
    """Contigs laid end to end."""

    names: tuple[str, ...]
    offsets: Ints  # int64[K + 1], global start of each contig

    @property
    def total(self) -> int:
        """Bases of all contigs."""
        return int(self.offsets[-1])

    def contig_of(self, positions: Ints) -> Ints:
        """Return the index of the contig of each global position."""
        return np.searchsorted(self.offsets, positions, side="right") - 1

    def local(self, positions: Ints) -> tuple[list[str], Ints]:
        """Return contig names and 0-based positions within them."""
        index = self.contig_of(np.asarray(positions))
        return [self.names[i] for i in index], np.asarray(positions) - self.offsets[index]


class Space:
    """Which bases are taken; hands out free cells."""

    def __init__(self, total: int) -> None:
        self.taken = np.zeros(total, dtype=bool)

    def mark(self, starts: Ints, ends: Ints) -> None:
        """Take the intervals [start, end)."""
        for start, end in zip(np.maximum(starts, 0).tolist(), ends.tolist(), strict=True):
            self.taken[start:end] = True

    def free_cells(self, size: int, within: NDArray[np.bool_] | None = None) -> Ints:
        """Return the starts of the cells of ``size`` bases (on a grid) that are wholly free."""
        count = len(self.taken) // size
        busy = self.taken[: count * size].reshape(count, size).any(axis=1)
        if within is not None:
            busy |= ~within[: count * size].reshape(count, size).all(axis=1)
        return np.flatnonzero(~busy) * size

    def take(
        self,
        count: int,
        size: int,
        rng: np.random.Generator,
        what: str,
        *,
        weight: NDArray[np.float64] | None = None,
        within: NDArray[np.bool_] | None = None,
    ) -> Ints:
        """Take ``count`` free cells at random and return their starts, in random order.

        Parameters
        ----------
        weight : float64[total], relative density along the genome.
        within : bool[total], where the cells may lie.

        Raises
        ------
        InputError
            If there is not enough free space.
        """
        cells = self.free_cells(size, within)
        if len(cells) < count:
            raise InputError(
                f"no room for {what}: use longer contigs or fewer regions and genes",
                file=KEY,
                found=f"{len(cells)} free places of {size} bases",
                expected=f"at least {count}",
            )
        # Exponential races: the smallest arrival times are a weighted draw without replacement.
        times = rng.exponential(size=len(cells))
        if weight is not None:
            times = times / weight[cells]
        chosen = cells[np.argsort(times, kind="stable")[:count]]
        self.mark(chosen, chosen + size)
        return chosen


@dataclass(frozen=True)
class Genes:
    """Gene bodies; exon bounds are transcript coordinates, [lo, hi)."""

    tss: Ints  # int64[G], global
    strand: Ints  # int64[G], +1 or -1
    n_exons: Ints  # int64[G]
    lo: Ints  # int64[G, E]
    hi: Ints  # int64[G, E]

    def exon_mask(self) -> NDArray[np.bool_]:
        """Return bool[G, E], true where there is such an exon."""
        return np.arange(self.lo.shape[1]) < self.n_exons[:, None]

    @property
    def span(self) -> Ints:
        """Length of each gene."""
        return self.hi[np.arange(len(self.tss)), self.n_exons - 1]

    def interval(self, lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
        """Return the global interval of transcript coordinates [lo, hi), gene by gene."""
        shape = (-1,) + (1,) * (np.ndim(lo) - 1)
        tss, plus = self.tss.reshape(shape), (self.strand > 0).reshape(shape)
        return np.where(plus, tss + lo, tss - hi + 1), np.where(plus, tss + hi, tss - lo + 1)


@dataclass(frozen=True)
class Layout:
    """What is fixed before any sequence is drawn."""

    map: Map
    space: Space
    gaps: Ints  # int64[n, 2], runs of N
    table: NDArray[np.int8]  # int8[total], isochore class of each base
    domains: Ints  # int64[D], ascending global starts
    clusters: Ints
    genes: Genes


def segments(contigs: Map, length: tuple[int, int], rng: np.random.Generator) -> Ints:
    """Cut every contig into pieces of log-uniform length; return the ascending starts."""
    starts = []
    for begin, end in zip(contigs.offsets[:-1], contigs.offsets[1:], strict=True):
        low, high = np.log(length)
        count = int((end - begin) / length[0]) + 1
        cuts = begin + np.cumsum(np.exp(rng.uniform(low, high, size=count))).astype(np.int64)
        starts.append(np.concatenate([[begin], cuts[cuts < end - length[0] // 2]]))
    return np.concatenate(starts)


def _gene_bodies(
    count: int, room: int, p: Parameters, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Return n_exons, lo, hi of genes that are at most ``room`` long."""
    most = p.exons[1]
    exon = np.exp(rng.normal(np.log(150), 0.35, size=(count, most)))
    exon = np.clip(exon, *p.exon_length).astype(np.int64)
    exon[:, 0] = np.clip(exon[:, 0], 180, None)  # the core promoter lies in the first exon
    intron = np.exp(rng.normal(np.log(1_100), 0.75, size=(count, most)))
    intron = np.clip(intron, *p.intron_length).astype(np.int64)
    hi = np.cumsum(exon + intron, axis=1) - intron
    lo = hi - exon
    wanted = np.clip(2 + rng.poisson(4.5, size=count), *p.exons)
    fitting = (hi <= room).sum(axis=1)
    return np.maximum(np.minimum(wanted, fitting), 1), lo, hi


@dataclass(frozen=True)
class _Frame:
    """How a contig is divided: N at both ends and in the middle, one slot per gene between."""

    edge: int
    middle: int
    n_genes: int
    slot: int
    upstream: int  # free bases of a slot before the gene


def _frame(settings: Settings, p: Parameters, width: int) -> _Frame:
    length = settings.contig_length
    n_genes = round(settings.genes_per_mb * length / 1e6)
    edge = min(p.telomere_gap, length // 100)
    middle = max(1_000, round(p.centromere_share * length))
    slot = (length - 2 * edge - middle - 2 * width) // n_genes
    return _Frame(edge, middle, n_genes, slot, int(0.7 * width) + 100)


def contig_map(settings: Settings) -> Map:
    """Return the contigs laid end to end."""
    count = len(settings.contigs)
    return Map(settings.contigs, np.arange(count + 1, dtype=np.int64) * settings.contig_length)


def draw_genes(settings: Settings, p: Parameters, width: int, rng: np.random.Generator) -> Genes:
    """Draw gene bodies, one in each slot.

    Raises
    ------
    InputError
        If a gene of two exons does not fit into its slot.
    """
    contigs, frame = contig_map(settings), _frame(settings, p, width)
    count = frame.n_genes * len(settings.contigs)
    room = frame.slot - frame.upstream - 150
    n_exons, lo, hi = _gene_bodies(count, room, p, rng)
    if (n_exons < 2).any():
        raise InputError(
            "genes do not fit",
            file=f"{KEY}.genes_per_mb",
            found=settings.genes_per_mb,
            expected="fewer genes",
        )
    slack = room - hi[np.arange(count), n_exons - 1]
    begin = frame.upstream + (rng.random(count) * slack).astype(np.int64)
    strand = rng.choice(np.array([1, -1]), size=count)
    index = np.tile(np.arange(frame.n_genes), len(settings.contigs))
    base = np.repeat(contigs.offsets[:-1], frame.n_genes) + frame.edge + width + index * frame.slot
    base += np.where(index >= frame.n_genes // 2, frame.middle, 0)
    tss = np.where(strand > 0, base + begin, base + frame.slot - 1 - begin)
    return Genes(tss, strand, n_exons, lo, hi)


def make_layout(settings: Settings, p: Parameters, width: int, rng: np.random.Generator) -> Layout:
    """Lay out gaps, isochores, domains and genes.

    Raises
    ------
    InputError
        If genes or gaps do not fit.
    """
    contigs, frame = contig_map(settings), _frame(settings, p, width)
    space = Space(contigs.total)
    genes = draw_genes(settings, p, width, rng)
    first, last = contigs.offsets[:-1], contigs.offsets[1:]
    centre = first + frame.edge + width + frame.n_genes // 2 * frame.slot
    gaps = np.concatenate(
        [
            np.stack([first, first + frame.edge], axis=1),
            np.stack([centre, centre + frame.middle], axis=1),
            np.stack([last - frame.edge, last], axis=1),
        ]
    )
    space.mark(gaps[:, 0] - 200, gaps[:, 1] + 200)
    mask, count = genes.exon_mask(), len(genes.tss)
    starts, ends = genes.interval(genes.lo - 60, genes.hi + 60)
    space.mark(starts[mask], ends[mask])
    before, after = int(0.7 * width) + 50, int(0.3 * width) + 50
    starts, ends = genes.interval(np.full(count, -before), np.full(count, after))
    space.mark(starts, ends)

    small = space.take(
        max(1, round(p.small_gaps_per_mb * contigs.total / 1e6)), 600, rng, "assembly gaps"
    )
    sizes = rng.integers(50, 500, size=len(small))
    gaps = np.concatenate([gaps, np.stack([small + 50, small + 50 + sizes], axis=1)])
    gaps = gaps[np.argsort(gaps[:, 0])]

    isochores = segments(contigs, p.isochore_length, rng)
    classes = rng.choice(5, size=len(isochores), p=p.isochore_share).astype(np.int8)
    table = np.repeat(classes, np.diff(np.append(isochores, contigs.total)))
    return Layout(
        contigs,
        space,
        gaps,
        table,
        segments(contigs, p.domain_length, rng),
        segments(contigs, p.cluster_length, rng),
        genes,
    )


@dataclass(frozen=True)
class Regions:
    """The regulatory regions of the generator, sorted by position."""

    start: Ints  # int64[n], global
    width: int
    promoter: Ints  # int64[n], index of the gene or -1
    constitutive: NDArray[np.bool_]
    domain: Ints
    cluster: Ints

    @property
    def end(self) -> Ints:
        """Global ends."""
        return self.start + self.width

    @property
    def centre(self) -> Ints:
        """Global centres."""
        return self.start + self.width // 2

    def containing(self, positions: Ints, margin: int = 0) -> Ints:
        """Return the region that holds each position at least ``margin`` inside, or -1."""
        index = np.searchsorted(self.start, positions, side="right") - 1
        at = np.maximum(index, 0)
        inside = (index >= 0) & (positions >= self.start[at] + margin)
        inside &= positions < self.start[at] + self.width - margin
        return np.where(inside, at, -1)


def place_regions(
    layout: Layout, settings: Settings, p: Parameters, width: int, rng: np.random.Generator
) -> Regions:
    """Place promoter regions at the genes and distal ones in free cells, unevenly over domains."""
    genes, total = layout.genes, layout.map.total
    count = round(settings.regions_per_mb * total / 1e6)
    upstream = np.full(len(genes.tss), -int(0.7 * width))
    promoter_start, _ = genes.interval(upstream, upstream + width)
    if settings.null_labels:  # promoters unrelated to regions
        promoter_start = promoter_start[:0]
    n_distal = max(count - len(promoter_start), count // 4)
    cell = max(p.cell, width + 120)
    density = np.exp(rng.normal(0, p.domain_density_sd, size=len(layout.domains)))
    weight = np.repeat(density, np.diff(np.append(layout.domains, total)))
    cells = layout.space.take(n_distal, cell, rng, "regions", weight=weight)
    distal = cells + rng.integers(30, cell - width - 30, size=n_distal)

    start = np.concatenate([promoter_start, distal])
    promoter = np.concatenate([np.arange(len(promoter_start)), np.full(n_distal, -1)])
    wanted = round(p.constitutive * len(start))
    constitutive = np.zeros(len(start), dtype=bool)
    share = min(p.constitutive_promoters, wanted / max(len(promoter_start), 1))
    constitutive[: len(promoter_start)] = rng.random(len(promoter_start)) < share
    # Distal regions are in random order, so the first ones are a random draw.
    more = max(0, wanted - int(constitutive.sum()))
    constitutive[len(promoter_start) : len(promoter_start) + more] = True
    order = np.argsort(start)
    start = start[order]
    return Regions(
        start,
        width,
        promoter[order],
        constitutive[order],
        np.searchsorted(layout.domains, start, side="right") - 1,
        np.searchsorted(layout.clusters, start, side="right") - 1,
    )
