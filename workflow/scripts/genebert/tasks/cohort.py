"""The case/control dataset: every person's two sequences of every regulatory element.

In: a bgzipped, indexed VCF with genotypes, a table of phenotypes and covariates, the regions.
Out: ``dataset.parquet``, one row per (element, distinct sequence), and ``cohort.npz``, which says
who carries which row. The first row of an element is its reference sequence; each variant alone
on the reference has a row too, so that single variants can be scored.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.cohort_models import FEATURES, OUTER_FOLDS
from genebert.errors import InputError
from genebert.genome import Genome, decode
from genebert.job import as_list
from genebert.progress import progress
from genebert.tasks import dataset as ds
from genebert.tasks.cohort_files import (
    MISSING,
    Genotypes,
    open_vcf,
    read_genotypes,
    read_phenotypes,
)
from genebert.tasks.relatives import find_relatives
from genebert.tasks.variant_files import Record

VERSION = 3

UNEVEN = 0.01  # difference of the call rates of cases and controls from which on it is flagged

log = logging.getLogger("genebert")


def apply_alleles(
    bases: str, start: int, width: int, variants: Sequence[Record]
) -> tuple[str, int]:
    """Put alternative alleles into a sequence and cut it to ``width``.

    Parameters
    ----------
    bases : the genome from ``start`` (0-based) to beyond ``start + width``, by at least the bases
        that the alleles delete.
    variants : to apply, sorted by position. One that touches an allele already applied is left out.

    Returns
    -------
    sequence : the first ``width`` bases. clashes : variants left out.
    """
    parts, done, clashes = [], start, 0
    for record in variants:
        first = record.position - 1
        if first < done:
            clashes += 1
            continue
        parts.append(bases[done - start : first - start])
        parts.append("" if record.alt == "-" else record.alt)
        done = first + len(record.ref)
    parts.append(bases[done - start :])
    return "".join(parts)[:width], clashes


@dataclass(frozen=True)
class Haplotypes:
    """Distinct sequences of the elements and who carries them.

    Attributes
    ----------
    rows : one dict per sequence (columns of dataset.parquet).
    hap_index : int32[n, 2, E], row of each person's two haplotypes; the reference's where missing.
    missing : bool[n, E], whether any allele of the element is missing in a person.
    reference_row : int32[E], row of the reference sequence.
    variant_row : int32[V], row of each variant alone on its first element, -1 without element.
    variant_reference : int32[V], row of that element's reference, -1 without element.
    """

    rows: list[dict[str, Any]]
    hap_index: NDArray[np.int32]
    missing: NDArray[np.bool_]
    reference_row: NDArray[np.int32]
    variant_row: NDArray[np.int32]
    variant_reference: NDArray[np.int32]


def members(records: Sequence[Record], regions: pd.DataFrame) -> dict[int, list[int]]:
    """Return region id -> variants that start inside the region, in ascending order."""
    found = ds.region_at([r.contig for r in records], [r.position - 1 for r in records], regions)
    out: dict[int, list[int]] = {}
    for index, region in enumerate(found.tolist()):
        if region >= 0:
            out.setdefault(region, []).append(index)
    return dict(sorted(out.items()))


def build_haplotypes(
    genotypes: Genotypes, regions: pd.DataFrame, genome: Genome, calls: Counter
) -> Haplotypes:
    """Make the distinct sequences of all elements with a variant."""
    records, n = genotypes.records, genotypes.alleles.shape[1]
    elements = members(records, regions)
    rows: list[dict[str, Any]] = []
    hap_index = np.zeros((n, 2, len(elements)), dtype=np.int32)
    missing = np.zeros((n, len(elements)), dtype=bool)
    reference_row = np.zeros(len(elements), dtype=np.int32)
    variant_row = np.full(len(records), -1, dtype=np.int32)
    variant_reference = np.full(len(records), -1, dtype=np.int32)
    columns = (regions[name].to_numpy() for name in ("contig", "start", "end"))
    contigs, starts, ends = columns
    rows_of = progress(elements.items(), "making haplotypes", "elements")
    for e, (region, variants) in enumerate(rows_of):
        contig, start, end = str(contigs[region]), int(starts[region]), int(ends[region])
        here = [records[v] for v in variants]
        reach = sum(max(0, len(r.ref) - len(r.alt.replace("-", ""))) for r in here)
        bases = decode(genome.window(contig, start, end + reach))
        alleles = genotypes.alleles[variants]
        missing[:, e] = (alleles < 0).any(axis=(0, 2))
        carried = (alleles == 1) & ~missing[:, e, None]
        carried = carried.reshape(len(variants), 2 * n).T
        wanted = np.vstack(
            [np.zeros((1, len(variants)), bool), np.eye(len(variants), dtype=bool), carried]
        )
        patterns, first, inverse = np.unique(wanted, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # reference first, then single variants
        row_of: dict[str, int] = {}
        row_of_pattern = np.zeros(len(patterns), dtype=np.int32)
        for p in order:
            chosen = [here[i] for i in np.flatnonzero(patterns[p])]
            sequence, clashes = apply_alleles(bases, start, end - start, chosen)
            calls["alleles on top of another (left out)"] += clashes
            if sequence not in row_of:
                row_of[sequence] = len(rows)
                rows.append(
                    {
                        "item": f"{contig}:{start}-{end}#{len(row_of) - 1}",
                        "region": region,
                        "contig": contig,
                        "start": start,
                        "end": end,
                        "sequence": sequence,
                        "split": "all",
                    }
                )
            row_of_pattern[p] = row_of[sequence]
        found = row_of_pattern[inverse.ravel()]
        reference_row[e] = found[0]
        variant_row[variants] = found[1 : 1 + len(variants)]
        variant_reference[variants] = found[0]
        hap_index[:, :, e] = found[1 + len(variants) :].reshape(n, 2)
    return Haplotypes(rows, hap_index, missing, reference_row, variant_row, variant_reference)


def read_oracle(path: str, samples: Sequence[str]) -> NDArray[np.float64]:
    """Return float64[n]: the generator's probability of being a case (NaN where not listed)."""
    truth = pd.read_csv(path, sep="\t", dtype={"sample": str})
    for column in ("sample", "probability"):
        if column not in truth:
            raise InputError(f"column {column!r} is missing", file=path, row=1)
    return truth.set_index("sample")["probability"].reindex(list(samples)).to_numpy(float)


def build(
    *,
    genome: str,
    regions: str,
    labels: str,
    phenotypes: list[str],
    truth: list[str],
    dataset: str,
    description: str,
    leaks: str,
    cohort: str,
    row: Mapping[str, Any],
    **_: Any,
) -> None:
    """Build the cohort dataset.

    Parameters
    ----------
    genome : indexed FASTA. regions : ``regions.tsv``.
    labels : bgzipped VCF with its index beside it.
    phenotypes : one TSV: sample, phenotype (1 case, 0 control), covariates; a column
        ``population`` also names the groups of leave-one-population-out.
    truth : none or one table of the generator's probabilities.
    dataset, description, leaks, cohort : outputs. row : the dataset's row of the configuration.

    Raises
    ------
    InputError
        See :func:`open_vcf`, :func:`read_phenotypes`, :func:`read_genotypes`; or if people are so
        related that they do not fill the folds.
    """
    reference, table = Genome(genome), ds.read_regions(regions)
    vcf = open_vcf(labels)
    samples = list(vcf.header.samples)
    if not samples:
        raise InputError("has no genotypes", file=labels, expected="samples after FORMAT")
    if not phenotypes:
        raise InputError("key phenotypes is missing", file=f"config datasets, {row['name']}")
    table_of_people = as_list(phenotypes)[0]
    people, unknown = read_phenotypes(table_of_people, samples, labels)
    if unknown:
        log.warning("%s: %d people are not in %s: left out", table_of_people, unknown, labels)
    genotypes, dropped, calls, n_in = read_genotypes(
        vcf, labels, reference, str(row.get("contig_prefix") or "")
    )
    if not genotypes.records:
        raise InputError("no variant can be used", file=labels, found=dict(dropped))
    haplotypes = build_haplotypes(genotypes, table, reference, calls)
    if not haplotypes.rows:
        raise InputError("no variant lies in a region", file=labels, found=f"{n_in} records")
    alleles = genotypes.alleles
    dosage = np.where((alleles < 0).any(axis=2), MISSING, (alleles == 1).sum(axis=2))
    dosage = dosage.T.astype(np.int8)
    inside = haplotypes.variant_row >= 0
    truths = as_list(truth)
    oracle = read_oracle(truths[0], samples) if truths else np.full(len(samples), np.nan)
    records = genotypes.records
    contigs = [r.contig for r in records]
    relatives = find_relatives(dosage, contigs)
    rates = {
        name: round(float((dosage[people.labels == label] >= 0).mean()), 4)
        for label, name in enumerate(("controls", "cases"))
    }
    uneven = abs(rates["cases"] - rates["controls"]) > UNEVEN
    if uneven:
        log.warning("%s: cases and controls differ in their call rate: %s", labels, rates)
    if relatives.people and (count := int(relatives.cluster.max()) + 1) < OUTER_FOLDS:
        raise InputError(
            "nearly all people are copies or relatives of each other",
            file=labels,
            found=f"{count} clusters of {len(samples)} people",
            expected=f"at least {OUTER_FOLDS} that have nothing to do with each other",
        )
    if relatives.people:
        log.warning("%s: people are copies or close relatives: %s", labels, relatives)
    else:
        log.info("%s: copies and close relatives: %s", labels, relatives)
    arrays: dict[str, Any] = {
        "samples": np.array(samples),
        "labels": people.labels,
        "covariates": people.covariates,
        "covariate_names": np.array(people.covariate_names, dtype=str),
        "population": np.array(people.population),
        "oracle": oracle,
        "cluster": relatives.cluster,
        "hap_index": haplotypes.hap_index,
        "missing": haplotypes.missing,
        "reference_row": haplotypes.reference_row,
        "dosage": dosage,
        "variants": np.array([f"{r.contig}:{r.position}:{r.ref}>{r.alt}" for r in records]),
        "variant_contig": np.array(contigs),
        "variant_row": haplotypes.variant_row,
        "variant_reference": haplotypes.variant_reference,
    }
    with Path(cohort).open("wb") as handle:
        np.savez_compressed(handle, **arrays)
    info = {
        "task": "disease",
        "dataset": row["name"],
        "kind": "cohort",
        "classes": ["control", "case"],
        "uses_regions": False,
        "strand_specific": False,
        "block_bp": 0,
        "n_in": n_in,
        "dropped": {reason: int(count) for reason, count in sorted(dropped.items())},
        "features": ds.row_option(row, "features", FEATURES),
        "calls": {kind: int(count) for kind, count in sorted(calls.items()) if count},
        "phenotypes_of_unknown_people": unknown,
        "people": len(samples),
        "cases": int(people.labels.sum()),
        "populations": sorted(set(people.population) - {""}),
        "variants": len(records),
        "variants_in_elements": int(inside.sum()),
        "elements": len(haplotypes.reference_row),
        "call_rate": rates,
        "relatives": relatives.to_dict(),
        "flags": ["call_rate_differs"] if uneven else [],
        "captions": {
            "sequence": "one row per element and distinct sequence in the cohort",
            "call rate": f"{rates['cases']:.2%} in cases, {rates['controls']:.2%} in controls",
            "copies and close relatives": str(relatives),
        },
    }
    related = ("people_related", relatives.people, 0, relatives.people / len(samples))
    looked_for = relatives.least_kinship is not None
    checks = pd.DataFrame([related] if looked_for else [], columns=list(ds.LEAK_COLUMNS))
    ds.write_dataset(pd.DataFrame(haplotypes.rows), info, dataset, description, leaks, checks)
