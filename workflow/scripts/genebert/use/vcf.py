"""A user's VCF: every allele with the reason why it cannot be scored, and the file annotated.

In: a VCF, plain or gzipped, sorted, and an indexed genome. Out: records, line by line; and the same
lines with more INFO, bgzipped and indexed. Lines are kept as they are: no field is parsed and
written anew but INFO, to which keys are appended.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import pysam

from genebert.errors import InputError
from genebert.genome import Genome, decode
from genebert.hints import contig_hint, contig_twin
from genebert.lines import text_lines
from genebert.tasks.variant_files import (
    NOT_IN_GENOME,
    VCF_COLUMNS,
    Record,
    check_reference,
    disagrees,
    skip_reason,
    windows,
)

PREFIX = "GENEBERT_"
INDEXED = 2**29  # bases of a contig that a .tbi index can hold
MAX_WRONG = 0.5  # share of REF alleles that disagree with the genome: another build
BEYOND, OTHER_REF = "position beyond the contig", "REF disagrees with the genome"


@dataclass(frozen=True)
class Site:
    """A line of a VCF.

    Attributes
    ----------
    line : number in the file. fields : all of them, as text.
    alleles : a record per ALT. reasons : per ALT why it cannot be scored, or an empty text.
    """

    line: int
    fields: tuple[str, ...]
    alleles: tuple[Record, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """What a VCF holds: sites, alleles, and per reason how many alleles cannot be scored.

    ``contigs`` are those of its lines, by the names that they have there, with their lengths (0 if
    the genome does not have them).
    """

    sites: int
    alleles: int
    skipped: Mapping[str, int]
    contigs: Mapping[str, int]

    @property
    def scored(self) -> int:
        """Alleles that can be scored."""
        return self.alleles - sum(self.skipped.values())


def reason_of(genome: Genome, record: Record, width: int) -> str:
    """Return why an allele cannot be scored, or an empty text."""
    reason = "no alternative allele" if record.alt in ("", "-") else skip_reason(record)
    if record.contig not in genome.lengths:
        return NOT_IN_GENOME
    first = record.position - 1
    if not 0 <= first <= genome.lengths[record.contig] - len(record.ref):
        return BEYOND
    known = set(record.ref) <= set("ACGTN") and bool(record.ref)
    if known:
        there = decode(genome.codes(record.contig, first, first + len(record.ref)))
        if disagrees(there, record.ref):
            return OTHER_REF
    if reason:
        return reason
    _, reference, alternative = windows(genome, record, width)
    return "N in the window" if "N" in reference + alternative else ""


def last_base(fields: Sequence[str]) -> int:
    """Return the 1-based last base of a site as an index counts it: of REF, or INFO's END."""
    end, info = int(fields[1]) + len(fields[3]) - 1, fields[7]
    if "END=" in info:
        ends = (item[4:] for item in info.split(";") if item.startswith("END="))
        end = max([end, *(int(text) for text in ends if text.isdecimal())])
    return end


def read_lines(path: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, fields) of the sites of a VCF.

    Raises
    ------
    InputError
        If it is no VCF, has no sites, they are not sorted, or the index cannot hold one.
    """
    header, last, seen = False, ("", 0), set()
    for number, line in text_lines(path):
        if line.startswith("#"):
            header = header or line.startswith("#CHROM")
            continue
        if not line:
            continue
        fields = tuple(line.split("\t"))
        if not header or len(fields) < len(VCF_COLUMNS) or not fields[1].isdecimal():
            raise InputError(
                "is not a VCF line below a #CHROM header",
                file=path,
                row=number,
                found=line[:40],
                expected=f"{' '.join(VCF_COLUMNS)}, after tabs",
            )
        contig, position = fields[0], int(fields[1])
        if (contig == last[0] and position < last[1]) or (contig != last[0] and contig in seen):
            raise InputError(
                "is not sorted",
                file=path,
                row=number,
                found=f"{contig}:{position} after {last[0]}:{last[1]}",
                expected="sites in order; `bcftools sort` makes it so",
            )
        if (end := last_base(fields)) > INDEXED:
            raise InputError(
                "lies beyond what the index of the annotated VCF (.tbi) can hold",
                file=path,
                row=number,
                found=f"{contig}:{position}, which ends at {end}",
                expected=f"an end of at most {INDEXED}: leave such sites out",
            )
        last = (contig, position)
        seen.add(contig)
        yield number, fields
    if not header:
        raise InputError("is not a VCF", file=path, expected="a line that starts with #CHROM")
    if not seen:
        raise InputError("has no variants", file=path, expected="at least one line below #CHROM")


def read_sites(path: str, genome: Genome, width: int) -> Iterator[Site]:
    """Yield the sites of a VCF, read by :func:`read_lines`.

    A contig whose name differs from the genome's by ``chr`` only is taken for that one: REF tells
    whether it is. Lines keep their own names.
    """
    for number, fields in read_lines(path):
        contig, ref = fields[0], fields[3].upper()
        known = contig if contig in genome.lengths else contig_twin(contig, genome.lengths)
        alleles = tuple(
            Record(number, known or contig, int(fields[1]), ref, alt.upper(), {})
            for alt in fields[4].split(",")
        )
        reasons = tuple(reason_of(genome, one, width) for one in alleles)
        yield Site(number, fields, alleles, reasons)


def check(path: str, genome: Genome, width: int, limit: int | None = None) -> Counts:
    """Read a VCF once and count what can be scored.

    Parameters
    ----------
    limit : stop after so many alleles on contigs of the genome.

    Raises
    ------
    InputError
        As :func:`read_lines`; if no allele can be scored, or so many REF alleles disagree with the
        genome that it must be one of another build.
    """
    sites = alleles = 0
    skipped: Counter[str] = Counter()
    first = wrong = None
    contigs: dict[str, int] = {}
    for site in read_sites(path, genome, width):
        sites += 1
        alleles += len(site.alleles)
        skipped.update(reason for reason in site.reasons if reason)
        if wrong is None and OTHER_REF in site.reasons:
            wrong = site.alleles[site.reasons.index(OTHER_REF)]
        first = first or site.alleles[0]
        contigs.setdefault(site.fields[0], genome.lengths.get(site.alleles[0].contig, 0))
        if limit is not None and alleles - skipped[NOT_IN_GENOME] >= limit:
            break
    assert first is not None  # a VCF has sites
    compared = alleles - skipped[NOT_IN_GENOME] - skipped[BEYOND]
    if wrong is not None and skipped[OTHER_REF] > MAX_WRONG * compared:
        check_reference(genome, wrong, path)  # raises, and tells the first of them
    counts = Counts(sites, alleles, dict(sorted(skipped.items())), contigs)
    if not counts.scored:
        hint = ""
        if skipped[NOT_IN_GENOME] == alleles:
            hint = contig_hint(first.contig, genome.lengths)
        raise InputError(
            f"no variant can be scored{hint}",
            file=path,
            found=", ".join(f"{reason}: {n}" for reason, n in counts.skipped.items()),
        )
    return counts


class Annotated:
    """Writes a VCF with more INFO keys, bgzipped; on leaving the block it is indexed.

    Keys of an earlier annotation by this program are replaced.

    Parameters
    ----------
    path : output, ``.vcf.gz``; the index is written beside it as ``.tbi``.
    original : the VCF whose header is kept.
    keys : {INFO key: (type, description)}, a value per ALT each.
    origin : a line of the header that says what the scores were made with.
    contigs : {name: length}, written where the header has no contig.
    """

    def __init__(
        self,
        path: str | Path,
        original: str,
        keys: Mapping[str, tuple[str, str]],
        origin: str,
        contigs: Mapping[str, int],
    ) -> None:
        self.path = str(path)
        head = []
        for _, line in text_lines(original):
            if line and not line.startswith((f"##INFO=<ID={PREFIX}", "##genebert=")):
                head.append(line)
            if line.startswith("#CHROM"):  # read_lines has found one
                break
        if not any(line.startswith("##contig=") for line in head):
            lines = [
                f"##contig=<ID={name},length={n}>" if n else f"##contig=<ID={name}>"
                for name, n in contigs.items()
            ]
            head[-1:-1] = lines
        head[-1:-1] = [
            f"##genebert={origin}",
            *(
                f'##INFO=<ID={PREFIX}{key},Number=A,Type={kind},Description="{text}">'
                for key, (kind, text) in keys.items()
            ),
        ]
        self.head = head

    def __enter__(self) -> Annotated:
        """Open the file and write its header."""
        self.file = pysam.BGZFile(self.path, "wb", None)
        self._lines(self.head)
        return self

    def _lines(self, lines: Sequence[str]) -> None:
        self.file.write("".join(f"{line}\n" for line in lines).encode())

    def write(self, site: Site, values: Mapping[str, Sequence[float | str | None]]) -> None:
        """Write a site with one value per ALT of each key; None and NaN are missing."""
        kept = [
            item
            for item in site.fields[7].split(";")
            if item not in ("", ".") and not item.startswith(PREFIX)
        ]
        for key, per_alt in values.items():
            texts = [text_of(value) for value in per_alt]
            if any(text != "." for text in texts):
                kept.append(f"{PREFIX}{key}={','.join(texts)}")
        fields = [*site.fields[:7], ";".join(kept) or ".", *site.fields[8:]]
        self._lines(["\t".join(fields)])

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        """Close the file and index it."""
        self.file.close()
        if kind is None:
            pysam.tabix_index(self.path, preset="vcf", force=True)


def text_of(value: float | str | None) -> str:
    """Return a value of an INFO key; a missing one is a dot, blanks become underscores."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "."
    if isinstance(value, str):
        return "".join("_" if c in " ;,=" else c for c in value)
    return f"{value:.5g}"
