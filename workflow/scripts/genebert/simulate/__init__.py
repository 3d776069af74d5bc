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
from dataclasses import asdict
from typing import Any

import numpy as np

from genebert.errors import InputError
from genebert.simulate import tree, truth, writers
from genebert.simulate.atlas import build_atlas
from genebert.simulate.build import build_genome
from genebert.simulate.cohort import choose_variants, sample_cohort, write_vcf
from genebert.simulate.motifs import NAMES, load_panel
from genebert.simulate.parameters import Parameters, Settings, stream
from genebert.simulate.variants import World, draw_variants

VERSION = 3
log = logging.getLogger("genebert")


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
    truth_openness: str,
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
    tree.correlation(checked.cell_type_tree, checked.cell_types)  # a bad tree ends here
    p = Parameters()
    panel = load_panel(p)
    built = build_genome(checked, p, panel, width, seed)
    atlas = build_atlas(built, checked, p, panel, seed)
    contigs = built.layout.map
    world = World(
        built.codes, contigs, built.regions, panel, built.sites, atlas.strength, atlas.pairs,
        atlas.cells, atlas.openness, p,
    )  # fmt: skip
    log.info("drawing variants")
    drawn = draw_variants(world, checked, built.layout.genes.tss, p, stream(seed, "variants"))
    log.info("drawing the variants of the cohort")
    markers = choose_variants(world, checked, p, stream(seed, "cohort-variants"))
    log.info("drawing the people of the cohort")
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
    truth.write_variants(variants, truth_variants, drawn, world, checked)
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
    truth.write_truth(
        built, atlas, checked, panel, truth_promoters, truth_splicing, truth_binding,
        truth_openness, truth_sites,
    )  # fmt: skip
    report = {
        "version": VERSION,
        "seed": seed,
        "width": width,
        "settings": asdict(checked),
        "parameters": asdict(p),
        "motifs": {motif.name: motif.matrix_id for motif in panel.motifs},
        "cohort_causal": truth.causal_markers(markers, contigs),
        "achieved": truth.achieved(built, atlas, checked, panel, drawn, people),
    }
    writers.write_lines(truth_parameters, [json.dumps(report, indent=1, sort_keys=True)])
