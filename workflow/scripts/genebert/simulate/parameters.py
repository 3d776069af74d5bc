"""What the simulated genome is made of: the user's settings and the fixed parameters.

In: the block ``simulate`` of the configuration. Out: a checked :class:`Settings`, the
:class:`Parameters` and independent random streams. The parameters are fixed before any model is
trained; beside each stands a literature value or the statistic of real data that it follows.
"Real blood" means ATAC-seq peaks of 16 sorted blood cell types (Corces 2016) and "real genome"
hg19, both measured on 8.5 Mb; [m] marks a statistic of these data. Literature values are the
commonly quoted ones, not measured again. A parameter without either is a choice, and says for what.
Values that give a profile correlation are means over development seeds 1-5.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genebert.errors import InputError, check_range, nearest
from genebert.tables import check_name

KEY = "config simulate"


@dataclass(frozen=True)
class Parameters:
    """Fixed parameters of the generator; lengths in bases, strengths in logits."""

    # --8<-- [start:parameters]  (shown in docs/simulated.md)
    # sequence
    isochore_gc: tuple[float, ...] = (0.37, 0.40, 0.44, 0.49, 0.53)  # classes L1 L2 H1 H2 H3
    isochore_share: tuple[float, ...] = (0.20, 0.33, 0.25, 0.14, 0.08)  # Costantini 2006
    isochore_length: tuple[int, int] = (100_000, 400_000)  # Bernardi 2000: > 200 kb
    island_gc: float = 0.65  # CpG islands: GC 0.60-0.70
    island_cpg: float = 0.85  # observed / expected CpG in islands; real genome 0.31 elsewhere
    island_length: tuple[int, int] = (500, 1_500)  # Gardiner-Garden 1987: > 200; mean about 1 kb
    orphan_islands: float = 0.5  # per gene; half of the islands are orphan (Illingworth 2010)
    open_gc_class: int = 4  # class of distal open sequence; real blood 0.62 open, 0.47 overall
    trinucleotide_sd: float = 0.14  # sd of log odds given dinucleotides; real genome 0.14
    tetranucleotide_sd: float = 0.13  # sd of log odds given trinucleotides; real genome 0.13
    telomere_gap: int = 10_000  # N at both ends, as in hg19
    centromere_share: float = 0.012  # of the contig, N; hg19 has 7.5 % N, mostly centromeres
    small_gaps_per_mb: float = 3.0  # of 50-500 N
    blacklist_per_mb: float = 0.6  # chosen so that short contigs have one; hg19 v2: 834 in 3.1 Gb
    blacklist_length: tuple[int, int] = (1_000, 3_900)
    # repeats: share of the genome, length of the consensus, divergence (RepeatMasker, hg19)
    repeat_open_keep: float = 0.35  # of regions may hold repeats; real blood: 0.12 of open bases
    # layout
    cell: int = 620  # one region per cell, so that centres are >= 560 apart
    domain_length: tuple[int, int] = (20_000, 200_000)  # topological and regulatory domains
    domain_density_sd: float = 0.5  # log-normal spread of region density between domains
    cluster_length: tuple[int, int] = (1_000, 8_000)  # enhancer clusters within a domain
    constitutive: float = 0.16  # of the regions, besides those open everywhere by chance
    constitutive_promoters: float = 0.80  # of labelled promoters; housekeeping share 0.6-0.9
    # sites
    sites_per_region: tuple[int, int] = (2, 8)  # clusters of sites in enhancers (Spitz 2012)
    sites_spread: float = 0.4  # binomial probability: 4.4 sites on average
    homotypic: float = 0.20  # next site is of the same motif (Gotea 2010: 20-60 % of enhancers)
    cofactor: float = 0.22  # next site is the partner's at one of the two spacings
    cofactor_spacing: tuple[int, int] = (3, 10)  # edge to edge: near, and one helical turn
    cofactor_term: tuple[float, float] = (2.5, 1.25)  # logits (Jolma 2015: up to 10-fold)
    collaboration: float = 0.35  # choice: share of the drive of the other factors of a region
    site_gap: float = 16.0  # mean free bases between sites; nucleosome-free stretch of 150-250
    site_strength: tuple[float, float] = (-2.5, 3.0)  # graded, uniform target
    weak_strength: float = -4.5  # logit of a match at p = 1e-4 (1 in 10 regions has one by chance)
    strong_strength: float = 3.0  # logit of a match at 0.9 of the best score, or before:
    strong_score: float = 7.5  # nats above p = 1e-4, so a nat of score is at least a logit (kT)
    decoys_per_site: float = 1.0  # in closed sequence; most strong matches are unbound in vivo
    # cell types
    activity_mean: float = -0.9  # logit of a site of strength 0
    activity_sd: tuple[float, float] = (2.2, 3.2)  # choice: a factor is on or off, as expression is
    activity_sd_housekeeping: float = 0.25  # CTCF: other cell types predict with AUROC 0.93 [m]
    opening: tuple[float, float] = (3.6, 5.8)  # logits per occupied site of an active factor:
    # motif content alone tells open from closed with AUROC 0.7-0.85 (sequence models: 0.75-0.9)
    open_intercept: float = -5.0  # mean breadth about 0.4; real blood 0.33
    open_cell_sd: float = 1.4  # sizes differ 2-fold (real blood 264-693 peaks); gives profile
    # correlation 0.06 beyond 1 Mb (0.08 [m]; real blood 0.03)
    open_region_sd: float = 0.6  # breadth of regions
    open_domain_sd: float = 2.9  # gives 0.21 at 5-20 kb (0.20 [m]), 0.09 at 50-200 kb (0.11 [m])
    open_cluster_sd: float = 2.2  # gives 0.32 at 0.5-2 kb (0.30 [m]; real blood 0.29)
    open_noise_sd: float = 0.6  # region x cell type, correlated along the tree
    open_constitutive: float = 7.0
    # peaks
    depth_sd: float = 0.45  # log-normal; ENCODE depths differ 3-fold
    miss_intercept: float = 3.2  # 5 % of open regions missed at mean depth
    signal_bound: float = 0.5  # log signal per bound factor: peak strength alone has AUROC 0.6-0.7
    # for binding (0.73 over 45 real sets [m])
    false_peaks: float = 0.02  # of the true ones; IDR 0.02-0.05
    summit_sd: float = 20.0  # MACS2 summit error
    peak_width: tuple[float, float] = (450.0, 0.35)  # median, log sd; real blood median 562, but up
    # to 2 kb, which would cover the neighbouring region

    # binding
    chip_miss: float = 0.03  # bound but no peak; conservative IDR
    chip_false: float = 0.01  # peak at an open region that is not bound
    chip_background: float = 0.02  # further peaks away from any region
    chip_summit_sd: float = 15.0  # 64-74 % of real CTCF summits within 75 bp of the motif
    null_bound: float = 0.30  # prevalence under null_labels
    # genes
    exons: tuple[int, int] = (2, 12)  # human mean 9; fewer, so that genes fit
    exon_length: tuple[int, int] = (125, 400)  # mean internal exon 145
    intron_length: tuple[int, int] = (250, 4_000)  # median 1.5 kb in human
    second_transcript: float = 0.3
    gc_donors: float = 0.008  # GC-AG introns: 0.9 % (Burset 2000)
    splice_mean: float = -0.6  # logits: 1.5 unused candidates for each used one
    splice_sd: float = 2.6
    promoter_mean: float = -0.4
    promoter_sd: float = 2.6
    tata: float = 0.16  # of candidates; 10-20 % of human promoters
    tss_island: float = 0.55  # 60-70 % of labelled human promoters
    # variants
    neutrals: int = 9  # per causal, as in TraitGym
    causal_midpoint: float = 0.28  # |change of binding probability| with even odds to be causal
    causal_slope: float = 10.0
    # cohort
    prevalence: tuple[float, ...] = (0.06, 0.12)  # per population
    fst: float = 0.08  # 0.05-0.15 between continents
    block_variants: int = 10  # per haplotype block; blocks of 5-50 kb
    block_haplotypes: int = 12
    least_frequency: float = 0.01  # of the minor allele in both populations together
    causal_frequency: float = 0.10  # common causal variants, so that 1,000 people can tell
    indels: float = 0.02  # of variants; 15 % in 1000 Genomes
    missing: float = 0.002
    covariate_variance: float = 0.05
    risk_from_loss: float = 0.85  # share of causal alleles that raise risk by losing binding
    # --8<-- [end:parameters]


@dataclass(frozen=True)
class Settings:
    """The block ``simulate`` of the configuration, checked."""

    contigs: tuple[str, ...]
    contig_length: int
    cell_types: tuple[str, ...]
    cell_type_tree: str
    chip_tfs: tuple[str, ...]
    regions_per_mb: float
    genes_per_mb: float
    causal_variants: int
    variant_cell_types: tuple[str, ...]
    individuals: int
    cohort_causal: int
    cohort_variants: int
    heritability: float
    null_context: bool
    null_labels: bool

    @classmethod
    def from_config(cls, block: Mapping[str, Any], known_tfs: tuple[str, ...]) -> Settings:
        """Check the block and return it.

        ``variants.cell_types`` names the disease-relevant cell types; by default every second
        type of the list, from the second on.

        Raises
        ------
        InputError
            If a key is missing, a name is unknown or repeated, or a number is out of range.
        """
        try:
            variants, cohort = block["variants"], block["cohort"]
            cells = tuple(str(name) for name in block["cell_types"])
            settings = cls(
                contigs=tuple(str(name) for name in block["contigs"]),
                contig_length=int(block["contig_length"]),
                cell_types=cells,
                cell_type_tree=str(block["cell_type_tree"]),
                chip_tfs=tuple(str(name) for name in block["chip_tfs"]),
                regions_per_mb=float(block["regions_per_mb"]),
                genes_per_mb=float(block["genes_per_mb"]),
                causal_variants=int(variants["causal"]),
                variant_cell_types=tuple(variants.get("cell_types", cells[1::2])),
                individuals=int(cohort["individuals"]),
                cohort_causal=int(cohort["causal"]),
                cohort_variants=int(cohort["variants"]),
                heritability=float(cohort["heritability"]),
                null_context=bool(block.get("null_context", False)),
                null_labels=bool(block.get("null_labels", False)),
            )
        except KeyError as error:
            raise InputError(f"key {error} is missing", file=KEY) from None
        settings._check(known_tfs)
        return settings

    def _check(self, known_tfs: tuple[str, ...]) -> None:
        for key in ("contigs", "cell_types", "chip_tfs", "variant_cell_types"):
            names = getattr(self, key)
            if not names:
                raise InputError("is empty", file=f"{KEY}.{key}")
            if len(set(names)) != len(names):
                raise InputError("names a thing twice", file=f"{KEY}.{key}", found=list(names))
            for name in names:
                check_name(name, file=f"{KEY}.{key}")
        for tf in self.chip_tfs:
            if tf not in known_tfs:
                raise InputError(
                    "the generator has no motif of this name" + nearest(tf, known_tfs),
                    file=f"{KEY}.chip_tfs",
                    found=tf,
                )
        for name in self.variant_cell_types:
            if name not in self.cell_types:
                raise InputError(
                    "cell type is not simulated" + nearest(name, self.cell_types),
                    file=f"{KEY}.variants.cell_types",
                    found=name,
                )
        if len(self.cell_types) < 2:
            raise InputError("needs two cell types", file=f"{KEY}.cell_types", found=1)
        ranges = (
            ("contig_length", 300_000, 250_000_000),
            ("regions_per_mb", 50, 1_200),
            ("genes_per_mb", 5, 70),
            ("causal_variants", 1, 100_000),
            ("individuals", 20, 100_000),
            ("cohort_causal", 1, self.cohort_variants // 4),
            ("cohort_variants", 40, 1_000_000),
            ("heritability", 0.01, 0.9),
        )
        for key, low, high in ranges:
            check_range(
                getattr(self, key), low, high, file=f"{KEY}.{key}", message="is out of range"
            )


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one named step, independent of all others."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
