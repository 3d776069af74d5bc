"""A case-control cohort: two populations, haplotype blocks, a liability and its oracle.

Haplotypes of a block come from a small pool whose frequencies drift apart between populations
(Dirichlet with the Balding-Nichols variance), so that variants of a block are in linkage
disequilibrium. Liability = genetic value + covariates + noise, of total variance 1; each
population has its own threshold. Cases and controls are then sampled in equal numbers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import erf

import numpy as np
import pysam
from numpy.typing import NDArray

from genebert.genome import Codes, decode
from genebert.simulate.layout import Ints
from genebert.simulate.parameters import Parameters, Settings
from genebert.simulate.variants import World, draw_causal

Floats = NDArray[np.float64]
SPACING = 12  # one variant in 12 bases at most


@dataclass(frozen=True)
class CohortVariants:
    """Variants of the cohort, sorted by position (global, of the first REF base)."""

    position: Ints
    ref: list[str]
    alt: list[str]
    effect: Floats  # change of binding probability; 0 for variants that do not matter
    weight: Floats  # liability per ALT allele, before scaling


def _left_align(codes: Codes, position: int, bases: Codes) -> tuple[int, Codes]:
    """Shift an insertion or deletion of ``bases`` after ``position`` as far left as it goes."""
    while codes[position] == bases[-1] and codes[position - 1] < 4:
        bases = np.concatenate([codes[position : position + 1], bases[:-1]])
        position -= 1
    return position, bases


def choose_variants(
    world: World, settings: Settings, p: Parameters, rng: np.random.Generator
) -> CohortVariants:
    """Choose causal regulatory variants at active sites and neutral ones in and around regions."""
    cell_types = [settings.cell_types.index(name) for name in settings.variant_cell_types]
    pool = draw_causal(world, 3 * settings.cohort_causal, cell_types, p, rng, set())
    order = np.argsort(-np.abs(pool[3]), kind="stable")
    spots: dict[int, int] = {}
    for i in order.tolist():  # one causal variant per region, largest effects first
        region = int(world.regions.containing(pool[0][i : i + 1])[0])
        if region not in spots and len(spots) < settings.cohort_causal:
            spots[region] = i
    chosen = np.array(sorted(spots.values()))
    causal_position, causal_alt, causal_effect = pool[0][chosen], pool[1][chosen], pool[3][chosen]

    missing = settings.cohort_variants - len(chosen)
    rows = rng.integers(0, len(world.regions.start), size=8 * missing)
    near = world.regions.start[rows] + rng.integers(0, world.regions.width, size=len(rows))
    away = near + rng.choice(np.array([-1, 1]), size=len(rows)) * rng.integers(
        400, 3_000, size=len(rows)
    )
    places = np.where(rng.random(len(rows)) < 0.65, near, away)
    places = places[(places > 100) & (places < world.contigs.total - 100)]
    clean = np.ones(len(places), dtype=bool)
    for k in range(-20, 21, 4):
        clean &= world.codes[places + k] < 4
    places = places[clean]
    busy = set((causal_position // SPACING).tolist())
    busy |= {b + k for b in busy for k in (-1, 1)}
    neutral: list[int] = []
    for place in places.tolist():
        if place // SPACING not in busy and len(neutral) < missing:
            neutral.append(place)
            busy |= {place // SPACING + k for k in (-1, 0, 1)}
    neutral_position = np.array(neutral)
    neutral_alt = ((world.codes[neutral_position] + rng.integers(1, 4, len(neutral))) % 4).astype(
        np.uint8
    )
    sign = np.where(rng.random(len(chosen)) < p.risk_from_loss, -1.0, 1.0)
    position = np.concatenate([causal_position, neutral_position])
    alt = np.concatenate([causal_alt, neutral_alt])
    ref_text = [decode(world.codes[i : i + 1]) for i in position.tolist()]
    alt_text = [decode(alt[i : i + 1]) for i in range(len(alt))]
    for i in range(len(chosen), len(position)):  # some neutral ones are insertions or deletions
        if rng.random() < p.indels:
            size = int(rng.integers(1, 5))
            at = int(position[i])
            if rng.random() < 0.5:
                start, bases = _left_align(world.codes, at, world.codes[at + 1 : at + 1 + size])
                inserted = False
            else:
                start, bases = _left_align(
                    world.codes, at, rng.integers(0, 4, size=size).astype(np.uint8)
                )
                inserted = True
            anchor = world.codes[start : start + 1]
            if at - start >= 6:  # stay clear of the neighbours
                continue
            long, short = decode(np.concatenate([anchor, bases])), decode(anchor)
            position[i] = start
            ref_text[i], alt_text[i] = (short, long) if inserted else (long, short)
    effect = np.concatenate([causal_effect, np.zeros(len(neutral))])
    weight = np.concatenate([sign * causal_effect, np.zeros(len(neutral))])
    order = np.argsort(position, kind="stable")
    return CohortVariants(
        position[order],
        [ref_text[i] for i in order],
        [alt_text[i] for i in order],
        effect[order],
        weight[order],
    )


@dataclass(frozen=True)
class Cohort:
    """Sampled people: haplotypes int8[V, n, 2], -1 missing, and what is known about them."""

    haplotypes: NDArray[np.int8]
    case: Ints
    population: Ints
    sex: Ints
    age: Ints
    liability: Floats
    genetic: Floats
    probability: Floats
    frequency: Floats  # float64[populations, V]


def _blocks(variants: CohortVariants, world: World, p: Parameters) -> list[slice]:
    """Return runs of variants of one contig, ``block_variants`` long."""
    contig = world.contigs.contig_of(variants.position)
    blocks = []
    for c in np.unique(contig):
        rows = np.flatnonzero(contig == c)
        for start in range(int(rows[0]), int(rows[-1]) + 1, p.block_variants):
            blocks.append(slice(start, min(start + p.block_variants, int(rows[-1]) + 1)))
    return blocks


def _allele(
    pooled: Floats, ancestry: Ints, floor: float, rng: np.random.Generator
) -> NDArray[np.int8]:
    """Return int8[h], which haplotypes carry ALT, with a minor allele frequency above ``floor``.

    Carriers are neighbours in ``ancestry``; k carriers have weight 1 / k, as a neutral spectrum
    has. The most frequent of 30 tries is taken if none reaches the floor.
    """
    h = len(pooled)
    odds = 1 / np.arange(1, h)
    best, most = np.zeros(h, dtype=np.int8), -1.0
    for _ in range(30):
        carriers = int(rng.choice(np.arange(1, h), p=odds / odds.sum()))
        allele = np.zeros(h, dtype=np.int8)
        allele[np.roll(ancestry, int(rng.integers(0, h)))[:carriers]] = 1
        frequency = float(pooled @ allele)
        minor = min(frequency, 1 - frequency)
        if minor > most:
            best, most = allele, minor
        if minor >= floor:
            return allele
    return best


def _normal_cdf(x: Floats) -> Floats:
    return np.array([0.5 * (1 + erf(value / np.sqrt(2))) for value in x])


def sample_cohort(
    variants: CohortVariants,
    world: World,
    settings: Settings,
    p: Parameters,
    rng: np.random.Generator,
) -> Cohort:
    """Draw a large population, its liability, and equal numbers of cases and controls."""
    n_pop, count = len(p.prevalence), settings.individuals
    blocks = _blocks(variants, world, p)
    h = p.block_haplotypes
    # Alleles of the pool: carriers are neighbours in a random order of the block's haplotypes.
    alleles = np.zeros((len(variants.position), h), dtype=np.int8)
    shares = np.zeros((n_pop, len(blocks), h))
    for b, block in enumerate(blocks):
        ancestry = rng.permutation(h)
        base = rng.dirichlet(np.full(h, 1.5))
        for k in range(n_pop):
            shares[k, b] = rng.dirichlet(base * (1 - p.fst) / p.fst + 0.02)
        pooled = shares[:, b].mean(axis=0)
        for v in range(block.start, block.stop):
            floor = p.causal_frequency if variants.weight[v] else p.least_frequency
            alleles[v] = _allele(pooled, ancestry, floor, rng)
    size = int(count / 2 / min(p.prevalence) * 1.4) + 200
    population = rng.integers(0, n_pop, size=size)
    haplotype = np.empty((size, 2, len(blocks)), dtype=np.uint8)
    for b in range(len(blocks)):
        bounds = np.cumsum(shares[:, b], axis=1)[:, :-1]
        draws = rng.random((size, 2))
        haplotype[:, :, b] = (draws[:, :, None] >= bounds[population][:, None, :]).sum(axis=2)
    block_of = np.repeat(np.arange(len(blocks)), [s.stop - s.start for s in blocks])
    genetic = np.zeros(size)
    for row in np.flatnonzero(variants.weight):
        dosage = alleles[row][haplotype[:, :, block_of[row]]].sum(axis=1)
        genetic += variants.weight[row] * dosage
    for k in range(n_pop):  # thresholds are those of populations: their means cannot matter
        genetic[population == k] -= genetic[population == k].mean()
    genetic /= max(float(genetic.std()), 1e-9)
    genetic *= np.sqrt(settings.heritability)
    sex = rng.integers(0, 2, size=size)
    age = np.clip(np.round(rng.normal(50, 12, size=size)), 18, 90).astype(np.int64)
    covariate = (sex - 0.5) * 2 + (age - 50) / 12
    covariate *= np.sqrt(p.covariate_variance / 2)
    spread = np.sqrt(1 - settings.heritability - p.covariate_variance)
    noise = rng.normal(0, spread, size=size)
    liability = genetic + covariate + noise
    affected = np.zeros(size, dtype=bool)
    risk = np.zeros(size)
    for k in range(n_pop):
        own = population == k
        threshold = np.quantile(liability[own], 1 - p.prevalence[k])
        affected[own] = liability[own] > threshold
        risk[own] = 1 - _normal_cdf((threshold - genetic[own] - covariate[own]) / spread)
    if settings.null_labels:
        affected = rng.random(size) < 0.5
    cases = rng.permutation(np.flatnonzero(affected))[: count // 2]
    controls = rng.permutation(np.flatnonzero(~affected))[: count - len(cases)]
    sampled = rng.permutation(np.concatenate([cases, controls]))
    ratio = (len(cases) / affected.sum()) / (len(controls) / (~affected).sum())
    odds_of_case = risk / (1 - risk) * ratio
    probability = odds_of_case / (1 + odds_of_case)
    if settings.null_labels:
        probability = np.full(size, len(cases) / count)
    out = np.empty((len(variants.position), len(sampled), 2), dtype=np.int8)
    for b, block in enumerate(blocks):
        out[block] = alleles[block][:, haplotype[sampled, :, b]]
    out[rng.random(out.shape[:2]) < p.missing] = -1
    frequency = np.einsum("pbh,bh->pb", shares[:, block_of], alleles.astype(float))
    return Cohort(
        out,
        affected[sampled].astype(np.int64),
        population[sampled],
        sex[sampled],
        age[sampled],
        liability[sampled],
        genetic[sampled],
        probability[sampled],
        frequency,
    )


def write_vcf(
    path: str, index: str, variants: CohortVariants, cohort: Cohort, world: World,
    samples: list[str],
) -> None:  # fmt: skip
    """Write a bgzipped VCF with phased genotypes and its tabix index at ``index``."""
    contigs = world.contigs
    header = ["##fileformat=VCFv4.2", "##source=genebert-simulate"]
    for name, length in zip(contigs.names, np.diff(contigs.offsets).tolist(), strict=True):
        header.append(f"##contig=<ID={name},length={length}>")
    header.append('##FILTER=<ID=PASS,Description="All filters passed">')
    header.append('##FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype">')
    columns = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
    header.append("\t".join(columns + samples))
    contig, local = contigs.local(variants.position)
    letters = np.frombuffer(b"01.", dtype=np.uint8)
    with pysam.BGZFile(path, "wb", None) as handle:
        handle.write(("\n".join(header) + "\n").encode())
        for v in range(len(local)):
            text = np.empty((len(samples), 4), dtype=np.uint8)
            text[:, 0] = ord("\t")
            text[:, 1] = letters[cohort.haplotypes[v, :, 0]]  # -1 takes the last letter
            text[:, 2] = ord("|")
            text[:, 3] = letters[cohort.haplotypes[v, :, 1]]
            fields = [contig[v], str(local[v] + 1), f"v{v + 1:06d}", variants.ref[v]]
            fields += [variants.alt[v], ".", "PASS", ".", "GT"]
            handle.write("\t".join(fields).encode() + text.tobytes() + b"\n")
    pysam.tabix_index(path, preset="vcf", force=True)
    made = f"{path}.tbi"
    if os.path.abspath(made) != os.path.abspath(index):
        os.replace(made, index)
