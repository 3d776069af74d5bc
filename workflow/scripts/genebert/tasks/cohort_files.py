"""Read the files of a case/control cohort: genotypes from a VCF, phenotypes from a table.

Every check of these files is here; positions are 1-based as in the VCF.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pysam
from numpy.typing import NDArray

from genebert.errors import InputError, nearest, reading
from genebert.genome import Genome
from genebert.hints import contig_hint, is_misnamed
from genebert.progress import progress
from genebert.tables import check_unique, read_rows
from genebert.tasks.variant_files import (
    NOT_IN_GENOME,
    PREFIX,
    Record,
    check_reference,
    prefixed,
    skip_reason,
)

log = logging.getLogger("genebert")

MISSING = -1
MOST_LEVELS = 20  # of a covariate of words; more where there are ten people to a level
MISSING_NUMBERS = {-9.0, -99.0, -999.0}  # as PLINK and others write them
NO_VALUE = ("", "na", "n/a", "nan", "null", "-", ".")  # of a covariate, in lower case
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


@dataclass(frozen=True)
class Phenotypes:
    """Labels and covariates of the people, in the order of the VCF's samples."""

    samples: list[str]
    labels: NDArray[np.int8]
    covariates: NDArray[np.float32]
    covariate_names: list[str]
    population: list[str]


@dataclass(frozen=True)
class Genotypes:
    """Usable variants (V) and the alleles of n people.

    Attributes
    ----------
    records : the variants, sorted by contig and position.
    alleles : int8[V, n, 2], 0 reference, 1 alternative, -1 missing.
    """

    records: list[Record]
    alleles: NDArray[np.int8]


def open_vcf(path: str) -> pysam.VariantFile:
    """Open a bgzipped, indexed VCF.

    Raises
    ------
    InputError
        If it is missing, not bgzipped, truncated, without an index, not a VCF, or holds no people.
    """
    if not os.path.exists(path):
        raise InputError("no such file", file=path)
    with open(path, "rb") as handle:
        head = handle.read(14)
        if head[:4] != b"\x1f\x8b\x08\x04" or head[12:14] != b"BC":
            raise InputError("is not bgzipped", file=path, expected="bgzip, then tabix -p vcf")
        handle.seek(-min(os.path.getsize(path), len(_BGZF_END)), os.SEEK_END)
        if handle.read() != _BGZF_END:
            raise InputError("is truncated: the end marker of bgzip is missing", file=path)
    if not any(os.path.exists(path + suffix) for suffix in (".tbi", ".csi")):
        raise InputError("has no index", file=path, expected=f"{path}.tbi (tabix -p vcf)")
    level = pysam.set_verbosity(0)
    try:
        with reading(path, "cannot be read as a VCF"):
            vcf = pysam.VariantFile(path)
    finally:
        pysam.set_verbosity(level)
    if not len(vcf.header.samples):
        vcf.close()
        raise InputError("has no samples", file=path, expected="the genotypes of people")
    return vcf


def read_phenotypes(path: str, samples: Sequence[str], vcf: str) -> tuple[Phenotypes, int]:
    """Read ``sample, phenotype`` (0 or 1) and covariates: numbers, or words made into 0/1 columns.

    Returns
    -------
    phenotypes : in the order of ``samples``.
    unknown : rows of people that are not in the VCF.

    A warning tells of covariates whose only negative value is a missing one of other programs (-9).

    Raises
    ------
    InputError
        If a sample has no row, a phenotype is not 0 or 1, a covariate is empty, a word among
        numbers or has too many levels (identifiers would take the place of all other features), or
        all people are cases or all controls.
    """
    rows = read_rows(path, ("sample", "phenotype"))
    check_unique(rows, ("sample",), path)
    lines = {row["sample"]: number for number, row in enumerate(rows, start=2)}
    by_sample = {row["sample"]: row for row in rows}
    absent = [name for name in samples if name not in by_sample]
    if absent:
        raise InputError(
            f"{len(absent)} of {len(samples)} samples of {vcf} have no phenotype"
            + nearest(absent[0], by_sample),
            file=path,
            found=absent[0],
        )
    kept = [by_sample[name] for name in samples]
    for row in kept:
        if row["phenotype"] not in ("0", "1"):
            raise InputError(
                "phenotype is neither 0 nor 1",
                file=path,
                row=lines[row["sample"]],
                found=row["phenotype"],
                expected="1 for a case, 0 for a control (PLINK writes 2 and 1)",
            )
    labels = np.array([int(row["phenotype"]) for row in kept], dtype=np.int8)
    if len(set(labels.tolist())) < 2:
        raise InputError(
            "all people are " + ("cases" if labels[0] else "controls"),
            file=path,
            expected="both phenotypes",
        )
    names, columns = [], []
    for column in (name for name in rows[0] if name not in ("sample", "phenotype")):
        values = [row[column] for row in kept]
        for row, value in zip(kept, values, strict=True):
            if value.lower() in NO_VALUE:
                raise InputError(
                    f"covariate {column} is missing",
                    file=path,
                    row=lines[row["sample"]],
                    found=value or None,
                )
        numbers = np.array([as_number(value) for value in values])
        words = np.flatnonzero(~np.isfinite(numbers))
        if not len(words):
            negative = set(numbers[numbers < 0].tolist())
            if len(negative) == 1 and negative <= MISSING_NUMBERS:
                log.warning(
                    "%s: covariate %s is %g for %d people, and taken as that number; if it stands"
                    " for a missing value, leave the people or the column out",
                    path, column, *negative, int((numbers < 0).sum()),
                )  # fmt: skip
            names.append(column)
            columns.append(numbers)
            continue
        levels = sorted(set(values))
        if len(words) < len(values) and len(levels) > min(MOST_LEVELS, len(values) // 2):
            raise InputError(
                f"covariate {column} has a word among numbers",
                file=path,
                row=lines[kept[words[0]]["sample"]],
                found=values[words[0]],
                expected=f"numbers alone, or up to {MOST_LEVELS} levels",
            )
        if len(levels) > (most := max(MOST_LEVELS, len(values) // 10)):
            raise InputError(
                f"covariate {column} has a level for nearly every person",
                file=path,
                found=f"{len(levels)} levels of {len(values)} people, such as {levels[0]}",
                expected=f"at most {most}; leave identifiers out of the table",
            )
        # one level is left out: it is what the others are compared with
        for level in levels[1:]:
            names.append(f"{column}={level}")
            columns.append(np.array([value == level for value in values], dtype=float))
    covariates = np.array(columns, dtype=np.float32).reshape(len(columns), len(kept)).T
    population = [row.get("population", "") for row in kept]
    found = Phenotypes(list(samples), labels, covariates, names, population)
    return found, len(by_sample) - len(kept)


def as_number(text: str) -> float:
    """Return the finite number that a text is, else NaN."""
    try:
        number = float(text)
    except ValueError:
        return float("nan")
    return number if np.isfinite(number) else float("nan")


@lru_cache(maxsize=1024)
def parse_call(text: str) -> tuple[int, int, str]:
    """Return (allele, allele, what is wrong with the call or an empty string) of a GT field.

    A haploid call, of the one copy of a sex chromosome, reads as two of it. The alleles of a call
    that is incomplete (``./1``) or neither haploid nor diploid are both missing (-1).
    """
    alleles = text.replace("|", "/").split("/")
    if "." in alleles:
        return MISSING, MISSING, "calls missing"
    if len(alleles) == 1:
        return int(text), int(text), "calls haploid (read as two copies)"
    if len(alleles) != 2:
        return MISSING, MISSING, "calls neither haploid nor diploid (taken as missing)"
    first, second = int(alleles[0]), int(alleles[1])
    unphased = first != second and "/" in text
    return first, second, "heterozygous calls without phase (order of the file)" * unphased


def read_genotypes(
    vcf: pysam.VariantFile, path: str, genome: Genome, prefix: str = ""
) -> tuple[Genotypes, Counter, Counter, int]:
    """Read all variants with one alternative allele.

    Unphased heterozygous calls keep the order in which they stand and are counted; records on
    contigs that the genome lacks (decoys, HLA, viruses) are skipped and counted.

    Parameters
    ----------
    prefix : put before names of contigs that lack it.

    Returns
    -------
    genotypes, dropped (reason -> variants), calls (kind -> calls), n_in (records).

    Raises
    ------
    InputError
        If a contig is named otherwise than in the genome or none is in it, REF disagrees, records
        are not sorted or the file ends in the middle of one.
    """
    dropped, calls = Counter[str](), Counter[str]()
    records, alleles = [], []
    strange: Record | None = None
    order: dict[str, int] = {}
    last, n_in = 0, 0
    seen: set[tuple[str, int, str, str]] = set()
    try:
        for n_in, variant in enumerate(progress(vcf, "reading genotypes", "records"), start=1):
            if variant.contig not in order:
                order[variant.contig] = len(order)
                last = 0
            if order[variant.contig] != len(order) - 1 or variant.pos < last:
                raise InputError(
                    "records are not sorted",
                    file=path,
                    found=f"record {n_in}, {variant.contig}:{variant.pos}",
                    expected=f"one block per contig, positions from {last} on",
                )
            last = variant.pos
            alts = variant.alts or (".",)
            record = Record(
                n_in, variant.contig, variant.pos, (variant.ref or "").upper(),
                ",".join(alts).upper(), {"id": variant.id or ""},
            )  # fmt: skip
            record = prefixed(record, prefix)
            reason = skip_reason(record)
            if record.contig not in genome.lengths:
                if is_misnamed(record.contig, genome.lengths):
                    raise _not_in_genome(record, path, genome)
                strange, reason = strange or record, NOT_IN_GENOME
            key = (record.contig, record.position, record.ref, record.alt)
            if not reason:
                reason = _check_reference(genome, record, path)
            if not reason and key in seen:
                reason = "repeated"
            if reason:
                dropped[reason] += 1
                continue
            seen.add(key)
            records.append(record)
            # the text is 10 times faster to read than pysam's objects of every sample
            fields = str(variant).rstrip("\n").split("\t")
            if not fields[8].startswith("GT"):
                raise InputError(
                    "record has no genotypes", file=path, found=f"record {n_in}", expected="GT"
                )
            found = [parse_call(field.split(":", 1)[0]) for field in fields[9:]]
            calls.update(wrong for _, _, wrong in found if wrong)
            pairs = [pair[:2] for pair in found]
            alleles.append(np.array(pairs, dtype=np.int8))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"is damaged after record {n_in} ({error})", file=path) from None
    if strange is not None and dropped[NOT_IN_GENOME] == n_in:
        raise _not_in_genome(strange, path, genome)
    n = len(vcf.header.samples)
    stacked = np.array(alleles, dtype=np.int8).reshape(len(records), n, 2)
    return Genotypes(records, stacked), dropped, calls, n_in


def _not_in_genome(record: Record, path: str, genome: Genome) -> InputError:
    return InputError(
        f"contig of record {record.row} is not in the genome"
        + contig_hint(record.contig, genome.lengths, PREFIX),
        file=path,
        found=record.contig,
        expected=f"a contig of {genome.path}, such as {next(iter(genome.lengths))}",
    )


def _check_reference(genome: Genome, record: Record, path: str) -> str:
    """As `check_reference`; the record's number is named, for a VCF's lines are compressed."""
    try:
        return check_reference(genome, record, f"{path} (record {record.row})")
    except InputError as error:
        raise InputError(str(error).replace(f", line {record.row}:", ":")) from None
