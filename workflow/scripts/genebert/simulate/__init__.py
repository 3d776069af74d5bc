"""A seeded simulated genome that behaves like one, written as ordinary input files.

In: the block ``simulate`` of the configuration and a seed. Out: genome, genes, peaks, ChIP peaks,
motifs, promoters, variants and a cohort, in the formats that real data come in, and ``truth/``:
the probabilities that the labels were drawn from.

The sequence is final before anything is read off it: site strengths, openness, binding and the
effects of variants are functions of the bases as written, so chance matches count like planted
ones.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Codes, decode
from genebert.simulate import binding, cells, genes, sequence, sites, statistics, writers
from genebert.simulate import variants as variants_module
from genebert.simulate.cells import Openness, Peaks
from genebert.simulate.cohort import Cohort, CohortVariants, choose_variants, sample_cohort, write_vcf
from genebert.simulate.layout import Ints, Layout, Map, Regions, make_layout, place_regions
from genebert.simulate.motifs import NAMES, Panel, load_panel, region_strength
from genebert.simulate.parameters import Parameters, Settings, stream
from genebert.simulate.variants import World

VERSION = 1
log = logging.getLogger("genebert")
Floats = NDArray[np.float64]
HAS_SITE = -2.5  # a region "has a site" of a factor from this strength on: the weakest planted


@dataclass(frozen=True)
class Genome:
    """The finished sequence and what was planted in it."""

    layout: Layout
    codes: Codes
    mask: NDArray[np.bool_]
    blacklist: Ints  # int64[n, 2]
    regions: Regions
    sites: sites.Sites
    tss: genes.Elements
    donors: genes.Elements
    acceptors: genes.Elements
    repeats: dict[str, int]


def _join(parts: list[tuple[Ints, Ints, Floats, NDArray[np.bool_]]]) -> genes.Elements:
    """Join (position, strand, probability, used) and sort by position."""
    position, strand, probability, used = (
        np.concatenate([part[k] for part in parts]) for k in range(4)
    )
    order = np.argsort(position, kind="stable")
    return genes.Elements(
        position[order].astype(np.int64), strand[order], probability[order], used[order]
    )


def build_genome(settings: Settings, p: Parameters, panel: Panel, width: int, seed: int) -> Genome:
    """Lay out the genome, draw its sequence and plant repeats, sites, promoters and splice sites."""
    layout = make_layout(settings, p, width, stream(seed, "layout"))
    space, bodies, contigs = layout.space, layout.genes, layout.map
    n_genes = len(bodies.tss)
    tss = genes.promoters(n_genes, p, stream(seed, "promoters"))
    _, _, splice_strand = genes.splice_positions(bodies)
    n_sites = len(splice_strand)
    donors = genes.donors(n_sites, p, stream(seed, "donors"))
    acceptors = genes.acceptors(n_sites, p, stream(seed, "acceptors"))
    rng = stream(seed, "places")
    black = space.take(
        max(1, round(p.blacklist_per_mb * contigs.total / 1e6)), 4_000, rng, "blacklist"
    )
    blacklist = np.stack([black, black + rng.integers(*p.blacklist_length, len(black))], axis=1)
    regions = place_regions(layout, settings, p, width, stream(seed, "regions"))
    tss_strand = rng.choice(np.array([1, -1]), size=int((~tss.used).sum()))
    unused_tss = genes.place_unused(tss, 250, space, "unused promoters", rng) + np.where(
        tss_strand > 0, 160, 90
    )
    inside = genes.gene_mask(bodies, contigs.total)
    cell = genes.ACCEPTOR_LENGTH + 8
    unused_acceptor = genes.place_unused(acceptors, cell, space, "unused acceptors", rng, inside)
    unused_donor = genes.place_unused(donors, cell, space, "unused donors", rng, inside)
    strand_a = genes.gene_strand(bodies, unused_acceptor)
    strand_d = genes.gene_strand(bodies, unused_donor)
    unused_acceptor = unused_acceptor + np.where(strand_a > 0, 4 + 49, cell - 5 - 49)
    unused_donor = unused_donor + np.where(strand_d > 0, 4 + 62, cell - 5 - 62)

    table = layout.table.copy()
    distal = regions.promoter < 0
    for start, end in zip(regions.start[distal].tolist(), regions.end[distal].tolist(), strict=True):
        part = table[start:end]
        np.maximum(part, p.open_gc_class, out=part)
    if not settings.null_labels:
        at = np.concatenate([bodies.tss[tss.island[tss.used]], unused_tss[tss.island[~tss.used]]])
        size = rng.integers(*p.island_length, size=len(at))
        sequence.islands(table, np.maximum(at - size // 2, 0), at + size // 2)
    orphans = space.free_cells(1_500)
    orphans = rng.permutation(orphans)[: round(p.orphan_islands * n_genes)]
    sequence.islands(table, orphans, orphans + rng.integers(*p.island_length, len(orphans)))

    log.info("drawing %.1f Mb of sequence", contigs.total / 1e6)
    rng = stream(seed, "sequence")
    codes = sequence.background(table, contigs, sequence.transition_tables(p, rng), rng)
    mask = np.zeros(contigs.total, dtype=bool)
    protected = np.zeros(contigs.total, dtype=bool)
    exon = bodies.exon_mask()
    for starts, ends in (
        [side[exon] for side in bodies.interval(bodies.lo - 60, bodies.hi + 60)],
        bodies.interval(np.full(n_genes, -200), np.full(n_genes, 60)),
    ):
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            protected[start:end] = True
    keep = rng.random(len(regions.start)) < p.repeat_open_keep
    for start in regions.start[~keep].tolist():
        protected[start : start + width] = True
    repeats = sequence.add_repeats(codes, mask, protected, contigs, stream(seed, "repeats"))
    sequence.add_satellites(codes, mask, blacklist, stream(seed, "satellites"))

    planted = sites.plant(codes, space, regions, bodies, panel, settings, p, stream(seed, "sites"))
    if settings.null_labels:
        bodies, elements = _null_elements(codes, bodies, stream(seed, "null"))
        layout = replace(layout, genes=bodies)
    else:
        donor, acceptor, strand = genes.splice_positions(bodies)
        elements = []
        for kind, candidates, used_at, used_strand, unused_at, unused_strand, origin in (
            ("tss", tss, bodies.tss, bodies.strand, unused_tss, tss_strand, genes.TSS_UPSTREAM),
            ("donor", donors, donor, strand, unused_donor, strand_d, genes.EXON_SIDE),
            ("acceptor", acceptors, acceptor, strand, unused_acceptor, strand_a,
             genes.ACCEPTOR_INTRON - 1),
        ):  # fmt: skip
            used = candidates.used
            order = stream(seed, f"assign-{kind}").permutation(len(used_at))
            if kind == "tss":
                order = np.arange(len(used_at))  # islands are already laid by gene
            position = np.concatenate([used_at[order], unused_at])
            stranded = np.concatenate([used_strand[order], unused_strand])
            rows = np.concatenate([np.flatnonzero(used), np.flatnonzero(~used)])
            genes.write_footprints(codes, candidates.footprint[rows], origin, position, stranded)
            elements.append(
                _join([(position, stranded, candidates.probability[rows], used[rows])])
            )
    sequence.add_gaps(codes, mask, layout.gaps)
    planted = replace(
        planted,
        strength=sites.measure(codes, panel, planted.motif, planted.start, planted.strand),
    )
    return Genome(layout, codes, mask, blacklist, regions, planted, *elements, repeats)


def _null_elements(
    codes: Codes, bodies: Any, rng: np.random.Generator
) -> tuple[Any, list[genes.Elements]]:
    """Under ``null_labels``: TSS and splice sites without any signal, at any GT or AG."""
    donor, acceptor, strand = genes.splice_positions(bodies)
    donor, acceptor = genes.snap(codes, donor, strand, rng), genes.snap(codes, acceptor, strand, rng)
    later = bodies.exon_mask()[:, 1:]
    tss = np.broadcast_to(bodies.tss[:, None], later.shape)[later]
    lo, hi = bodies.lo.copy(), bodies.hi.copy()
    hi[:, :-1][later] = strand * (donor - tss)
    lo[:, 1:][later] = strand * (acceptor - tss) + 1
    elements = []
    for position, side in ((bodies.tss, bodies.strand), (donor, strand), (acceptor, strand)):
        n = len(position)
        elements.append(_join([(position, side, np.full(n, 0.5), np.ones(n, dtype=bool))]))
    return replace(bodies, lo=lo, hi=hi), elements


@dataclass(frozen=True)
class Atlas:
    """Everything that depends on the cell type."""

    strength: Floats  # float64[n, M]
    centre: NDArray[np.int32]
    cofactor: Floats
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
    log.info("scanning %d regions", len(regions.start))
    windows = genome.codes[regions.start[:, None] + np.arange(regions.width)]
    strength, centre = region_strength(windows, panel)
    cofactor = sites.cofactor_terms(genome.sites, len(windows), len(panel.motifs))
    drawn = cells.draw_cells(settings, panel, p, seed)
    openness = cells.draw_openness(regions, strength, drawn, settings, p, stream(seed, "open"))
    chip = [panel.index(name) for name in settings.chip_tfs]
    probability = binding.probabilities(strength, cofactor, drawn, chip)
    if settings.null_labels:
        probability = np.full_like(probability, p.null_bound)
    labels = binding.label_probability(probability, p)
    rng = stream(seed, "binding")
    bound = rng.random(labels.shape) < labels
    expected = probability.sum(axis=2) * (0.0 if settings.null_labels else 1.0)
    peaks = [
        cells.call_peaks(
            c, regions, openness, expected[:, c], drawn, genome.blacklist, genome.codes, contigs, p,
            stream(seed, f"peaks-{name}"),
        )
        for c, name in enumerate(settings.cell_types)
    ]  # fmt: skip
    chip_peaks = [
        binding.call_chip(
            bound[:, c, k], probability[:, c, k], centre[:, t], c, regions, openness, genome.codes,
            contigs, p, stream(seed, f"chip-{tf}-{name}"),
        )
        for k, (t, tf) in enumerate(zip(chip, settings.chip_tfs, strict=True))
        for c, name in enumerate(settings.cell_types)
    ]  # fmt: skip
    return Atlas(
        strength, centre, cofactor, drawn, openness, probability, labels, bound, peaks, chip_peaks
    )


def achieved(
    genome: Genome, atlas: Atlas, settings: Settings, panel: Panel,
    drawn: variants_module.Variants, people: Cohort,
) -> dict[str, Any]:  # fmt: skip
    """Return the statistics of the simulated genome that SCIENCE names."""
    opened, regions = atlas.openness.open, genome.regions
    known = genome.codes < 4
    contig = genome.layout.map.contig_of(regions.start)
    similar = statistics.jaccard(opened) - 2 * np.eye(opened.shape[1])
    chip = [panel.index(name) for name in settings.chip_tfs]
    factors = {}
    for k, (t, name) in enumerate(zip(chip, settings.chip_tfs, strict=True)):
        has_site = atlas.strength[:, t] >= HAS_SITE
        factors[name] = {
            "regions_with_site": float(has_site.mean()),
            "bound_share_of_open": float(atlas.bound[:, :, k][opened].mean()),
            "discordant_share": statistics.discordance(has_site, opened, atlas.bound[:, :, k]),
            "oracle_auroc": statistics.auroc(
                atlas.label_probability[:, :, k][opened], atlas.bound[:, :, k][opened]
            ),
            "activity": dict(
                zip(settings.cell_types, atlas.cells.activity[:, t].tolist(), strict=True)
            ),
        }
    splice = [genome.donors, genome.acceptors]
    return {
        "genome": {
            "bases": int(len(known)),
            "n_fraction": float((~known).mean()),
            "soft_masked_fraction": float(genome.mask[known].mean()),
            "gc": float(np.isin(genome.codes[known], (1, 2)).mean()),
            "repeat_copies": genome.repeats,
        },
        "regions": {
            "count": len(regions.start),
            "promoters": int((regions.promoter >= 0).sum()),
            "constitutive": float(opened.all(axis=1).mean()),
            "mean_breadth": float(opened.mean()),
            "open_per_cell_type": dict(
                zip(settings.cell_types, opened.sum(axis=0).tolist(), strict=True)
            ),
            "peaks_per_cell_type": dict(
                zip(settings.cell_types, [len(x.start) for x in atlas.peaks], strict=True)
            ),
            "sites_per_region": float((genome.sites.region >= 0).sum() / len(regions.start)),
            "decoy_sites": int((genome.sites.region < 0).sum()),
            "profile_correlation": statistics.profile_correlation(opened, regions, contig),
            "nearest_type": {
                name: [settings.cell_types[int(similar[c].argmax())], float(similar[c].max())]
                for c, name in enumerate(settings.cell_types)
            },
        },
        "binding": factors,
        "elements": {
            "promoters_labelled": int(genome.tss.used.sum()),
            "promoters_candidates": len(genome.tss.used),
            "promoters_oracle_auroc": statistics.auroc(genome.tss.probability, genome.tss.used),
            "splice_used": int(sum(x.used.sum() for x in splice)),
            "splice_candidates": int(sum(len(x.used) for x in splice)),
            "splice_oracle_auroc": statistics.auroc(
                np.concatenate([x.probability for x in splice]),
                np.concatenate([x.used for x in splice]),
            ),
        },
        "variants": {
            "count": len(drawn.label),
            "causal": int(drawn.label.sum()),
            "oracle_auroc": statistics.auroc(drawn.probability, drawn.label),
        },
        "cohort": {
            "cases": int(people.case.sum()),
            "individuals": len(people.case),
            "oracle_auroc": statistics.auroc(people.probability, people.case),
            "genetic_auroc": statistics.auroc(people.genetic, people.case),
            "mean_frequency_difference": float(
                np.abs(people.frequency[0] - people.frequency[1]).mean()
            ),
        },
    }


def simulate(
    *,
    genome: str,
    gtf: str,
    blacklist: str,
    promoters: str,
    motifs: str,
    cell_types: str,
    peaks: list[str],
    chip: str,
    chip_peaks: list[str],
    variants: str,
    cohort: str,
    cohort_index: str,
    phenotypes: str,
    truth_promoters: str,
    truth_binding: str,
    truth_splicing: str,
    truth_variants: str,
    truth_cohort: str,
    truth_sites: str,
    truth_parameters: str,
    settings: dict[str, Any],
    seed: int,
    width: int = 500,
) -> None:
    """Write a simulated genome with its atlas, tasks and truth.

    Parameters
    ----------
    genome : FASTA, repeats in lower case. The other outputs are named as in the configuration.
    peaks : one narrowPeak file per cell type, in the order of ``settings["cell_types"]``.
    chip_peaks : one per factor and cell type, factors outermost.
    settings : the block ``simulate`` of the configuration.
    seed : all randomness comes from it.
    width : bases of a regulatory region.

    Raises
    ------
    InputError
        If a setting is wrong or the genome is too small for what is asked.
    """
    checked = Settings.from_config(settings, NAMES)
    if not 400 <= width <= 2_000:
        raise InputError("is out of range", file="config regions.width", found=width)
    p = Parameters()
    panel = load_panel(p)
    built = build_genome(checked, p, panel, width, seed)
    atlas = build_atlas(built, checked, p, panel, seed)
    contigs = built.layout.map
    world = World(
        built.codes, contigs, built.regions, panel, built.sites, atlas.strength, atlas.cofactor,
        atlas.cells, atlas.openness,
    )  # fmt: skip
    log.info("drawing variants and the cohort")
    drawn = variants_module.draw_variants(
        world, checked, built.layout.genes.tss, p, stream(seed, "variants")
    )
    markers = choose_variants(world, checked, p, stream(seed, "cohort-variants"))
    people = sample_cohort(markers, world, checked, p, stream(seed, "cohort"))

    log.info("writing")
    writers.write_genome(genome, built.codes, built.mask, contigs)
    names = [f"GENE{i:05d}" for i in range(1, len(built.layout.genes.tss) + 1)]
    rng = stream(seed, "transcripts")
    n_exons = built.layout.genes.n_exons
    skipped = np.where(
        (n_exons >= 4) & (rng.random(len(n_exons)) < p.second_transcript),
        1 + (rng.random(len(n_exons)) * (n_exons - 2)).astype(np.int64),
        -1,
    )
    writers.write_gtf(gtf, contigs, built.layout.genes, names, skipped)
    writers.write_bed(
        blacklist, contigs, built.blacklist[:, 0], built.blacklist[:, 1],
        ["High Signal Region"] * len(built.blacklist),
    )  # fmt: skip
    writers.write_promoters(
        promoters, contigs, built.layout.genes.tss, built.layout.genes.strand,
        [f"{name}_1" for name in names],
    )  # fmt: skip
    writers.write_motifs(motifs, panel)
    lines = ["cell_type\tpeaks\tformat"]
    lines += [f"{name}\tpeaks/{name}.narrowPeak\tnarrowPeak" for name in checked.cell_types]
    writers.write_lines(cell_types, lines)
    for path, called, name in zip(peaks, atlas.peaks, checked.cell_types, strict=True):
        writers.write_narrow_peak(path, called, contigs, name)
    pairs = [(tf, name) for tf in checked.chip_tfs for name in checked.cell_types]
    lines = ["tf\tcell_type\tpeaks"]
    lines += [f"{tf}\t{name}\tchip/{tf}.{name}.narrowPeak" for tf, name in pairs]
    writers.write_lines(chip, lines)
    for path, called, (tf, name) in zip(chip_peaks, atlas.chip, pairs, strict=True):
        writers.write_narrow_peak(path, called, contigs, f"{tf}.{name}")
    _write_variants(variants, truth_variants, drawn, world, checked)
    samples = [f"S{i:05d}" for i in range(1, len(people.case) + 1)]
    write_vcf(cohort, cohort_index, markers, people, world, samples)
    writers.write_table(
        phenotypes,
        {
            "sample": samples,
            "phenotype": people.case,
            "population": [f"pop{k + 1}" for k in people.population],
            "sex": people.sex,
            "age": people.age,
        },
    )
    writers.write_table(
        truth_cohort,
        {
            "sample": samples,
            "liability": people.liability,
            "genetic_value": people.genetic,
            "probability": people.probability,
        },
    )
    _write_truth(
        built, atlas, checked, panel, truth_promoters, truth_splicing, truth_binding, truth_sites
    )
    report = {
        "version": VERSION,
        "seed": seed,
        "width": width,
        "settings": asdict(checked),
        "parameters": asdict(p),
        "motifs": {motif.name: motif.matrix_id for motif in panel.motifs},
        "cohort_causal": _causal_markers(markers, contigs),
        "achieved": achieved(built, atlas, checked, panel, drawn, people),
    }
    writers.write_lines(truth_parameters, [json.dumps(report, indent=1, sort_keys=True)])


def _causal_markers(markers: CohortVariants, contigs: Map) -> list[dict[str, Any]]:
    """Return the causal variants of the cohort as plain records."""
    rows = np.flatnonzero(markers.weight)
    contig, local = contigs.local(markers.position[rows])
    return [
        {
            "contig": contig[i],
            "position": int(local[i]) + 1,
            "ref": markers.ref[row],
            "alt": markers.alt[row],
            "effect": round(float(markers.effect[row]), 5),
            "weight": round(float(markers.weight[row]), 5),
        }
        for i, row in enumerate(rows.tolist())
    ]


def _write_variants(
    path: str, truth: str, drawn: variants_module.Variants, world: World, settings: Settings
) -> None:
    """Write the table of variants and its truth."""
    contig, local = world.contigs.local(drawn.position)
    common = {
        "contig": contig,
        "position": local + 1,
        "ref": list(decode(world.codes[drawn.position])),
        "alt": list(decode(drawn.alt)),
    }
    cell = [settings.cell_types[c] for c in drawn.cell]
    writers.write_table(
        path,
        common
        | {
            "label": drawn.label,
            "cell_type": cell,
            "tss_distance": drawn.distance,
            "class": drawn.kind.tolist(),
            "match": drawn.match,
        },
    )
    writers.write_table(
        truth,
        common | {"cell_type": cell, "effect": drawn.effect, "probability": drawn.probability},
    )


def _write_truth(
    genome: Genome,
    atlas: Atlas,
    settings: Settings,
    panel: Panel,
    truth_promoters: str,
    truth_splicing: str,
    truth_binding: str,
    truth_sites: str,
) -> None:
    """Write the probabilities of promoters, splice sites and binding, and the planted sites."""
    contigs, regions = genome.layout.map, genome.regions

    def signs(strand: Ints) -> list[str]:
        return np.where(strand > 0, "+", "-").tolist()

    contig, local = contigs.local(genome.tss.position)
    writers.write_table(
        truth_promoters,
        {
            "contig": contig,
            "position": local,
            "strand": signs(genome.tss.strand),
            "probability": genome.tss.probability,
        },
    )
    kind = np.repeat(["donor", "acceptor"], [len(genome.donors.used), len(genome.acceptors.used)])
    splice = _join(
        [(x.position, x.strand, x.probability, x.used) for x in (genome.donors, genome.acceptors)]
    )
    order = np.argsort(
        np.concatenate([genome.donors.position, genome.acceptors.position]), kind="stable"
    )
    contig, local = contigs.local(splice.position)
    writers.write_table(
        truth_splicing,
        {
            "contig": contig,
            "position": local,
            "strand": signs(splice.strand),
            "class": kind[order].tolist(),
            "probability": splice.probability,
        },
    )
    chip = [panel.index(name) for name in settings.chip_tfs]
    shown = atlas.openness.open[:, :, None] | (atlas.strength[:, None, chip] >= HAS_SITE)
    region, cell, factor = np.nonzero(shown)
    contig, local = contigs.local(regions.start[region])
    writers.write_table(
        truth_binding,
        {
            "contig": contig,
            "start": local,
            "end": local + regions.width,
            "tf": np.array(settings.chip_tfs)[factor],
            "cell_type": np.array(settings.cell_types)[cell],
            "probability": atlas.label_probability[region, cell, factor],
        },
    )
    planted = genome.sites
    contig, local = contigs.local(planted.start)
    inside = planted.region >= 0
    own = np.where(inside, regions.start[np.maximum(planted.region, 0)], -1)
    base = contigs.offsets[contigs.contig_of(planted.start)]
    own = np.where(inside, own - base, -1)
    writers.write_table(
        truth_sites,
        {
            "contig": contig,
            "start": local,
            "end": local + planted.width,
            "strand": signs(planted.strand),
            "motif": np.array(panel.names)[planted.motif],
            "region_start": own,
            "region_end": np.where(inside, own + regions.width, -1),
            "strength": planted.strength,
            "class": np.where(inside, "site", "decoy").tolist(),
        },
    )
