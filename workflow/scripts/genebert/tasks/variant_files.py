"""Read variants from a TSV, a VCF or a parquet table and make the two sequences of each.

In: a text file, plain or gzipped, or a parquet table, with 1-based positions. Out: records with
their line number, checked against the genome, and windows with either allele.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow
import pyarrow.parquet

from genebert.errors import InputError, nearest
from genebert.genome import Genome, decode
from genebert.hints import contig_hint
from genebert.lines import text_lines
from genebert.progress import Progress
from genebert.tables import check_header

FIELDS = (
    "contig", "position", "ref", "alt", "label", "cell_type", "tss_distance", "class", "match",
    "pvalue", "group",
)  # fmt: skip
REQUIRED = ("contig", "position", "ref", "alt", "label")
VCF_COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
PREFIX = "key contig_prefix adds it"
MISSING = ("", "NA", "NaN", "nan", ".")  # a number or a label that a file does not have
UNKNOWN_BASES = "N in the genome"
NOT_IN_GENOME = "contig not in the genome"
MAX_ALLELE = 50  # bases; longer alleles would leave too little of the window in common


@dataclass(frozen=True)
class Record:
    """One line of the label file: 1-based position, alleles in upper case, raw text fields."""

    row: int
    contig: str
    position: int
    ref: str
    alt: str
    fields: Mapping[str, str]


def columns_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return field -> column (VCF: INFO key) of a dataset's row: ``columns`` and ``label_info``.

    Raises
    ------
    InputError
        If ``columns`` names a field that there is none of.
    """
    columns = {field: str(column) for field, column in (row.get("columns") or {}).items()}
    for field in columns:
        if field not in FIELDS:
            raise InputError(
                f"unknown field {field!r} in columns{nearest(field, FIELDS)}",
                file=f"config datasets, {row.get('name')}",
            )
    if row.get("label_info"):
        columns["label"] = str(row["label_info"])
    return columns


def _position(text: str, path: str, row: int) -> int:
    try:
        position = int(text)
    except ValueError:
        position = 0
    if position < 1:
        raise InputError(
            "position is not a 1-based coordinate",
            file=path,
            row=row,
            found=text,
            expected="a whole number from 1 (BED is 0-based: add 1)",
        )
    return position


def _wanted(columns: Mapping[str, str]) -> dict[str, str]:
    """Return field -> column of a table."""
    return {field: str(columns.get(field, field)).lstrip("#") for field in FIELDS}


def _check_columns(
    header: Sequence[str], columns: Mapping[str, str], path: str, row: int | None
) -> None:
    """Raise :class:`InputError` if a required or named column is missing."""
    wanted = _wanted(columns)
    for field in sorted({*REQUIRED, *columns} & set(wanted), key=FIELDS.index):
        if wanted[field] not in header:
            raise InputError(
                f"column {wanted[field]!r} is missing{nearest(wanted[field], header)}",
                file=path,
                row=row,
                found=" ".join(header),
            )


def _record(number: int, raw: dict[str, str], wanted: Mapping[str, str], path: str) -> Record:
    """Return the record of a row of a table."""
    known = {field: raw[name] for field, name in wanted.items() if name in raw}
    return Record(
        number,
        known["contig"],
        _position(known["position"], path, number),
        known["ref"].upper(),
        known["alt"].upper(),
        {**raw, **known},
    )


def read_table(path: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """Yield the records of a TSV with a header line.

    Parameters
    ----------
    columns : field -> column, for columns named otherwise than the field.

    Raises
    ------
    InputError
        If a column is missing or stands twice, a line has another number of fields or a bad
        position.
    """
    header: list[str] = []
    wanted = _wanted(columns)
    for number, line in text_lines(path):
        if not line or line.startswith("##"):
            continue
        values = line.split("\t")
        if not header:
            header = [value.lstrip("#") for value in values]
            check_header(header, path, number)
            _check_columns(header, columns, path, number)
            continue
        if len(values) != len(header):
            raise InputError(
                "wrong number of fields",
                file=path,
                row=number,
                found=len(values),
                expected=len(header),
            )
        yield _record(number, dict(zip(header, values, strict=True)), wanted, path)
    if not header:
        raise InputError("is empty", file=path, expected=f"columns {', '.join(REQUIRED)}")


def read_parquet(path: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """Yield the records of a parquet table; ``row`` counts its rows from 1.

    Booleans read as 1 and 0, missing values as empty text.

    Raises
    ------
    InputError
        If the file is no parquet table or damaged, or a column is missing.
    """
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            names = [name for name in table.schema_arrow.names]
            _check_columns(names, columns, path, None)
            wanted = _wanted(columns)
            told = Progress(f"reading {path}", table.metadata.num_rows, "rows")
            for batch in table.iter_batches(batch_size=10_000):
                told.at(number)
                for row in batch.to_pylist():
                    number += 1
                    raw = {
                        key: str(int(value)) if isinstance(value, bool) else str(value)
                        for key, value in row.items()
                        if value is not None
                    }
                    raw = {key: raw.get(key, "") for key in names}
                    yield _record(number, raw, wanted, path)
    except (pyarrow.ArrowException, OSError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot be read as parquet ({text})", file=path) from None


def read_vcf(path: str, columns: Mapping[str, str]) -> Iterator[Record]:
    """Yield the sites of a VCF; fields beyond the alleles come from INFO.

    A flag reads as 1, an absent flag as 0; any other label that is absent is no label.

    Raises
    ------
    InputError
        If the header is not that of a VCF, the label's INFO key is not declared, or a line is bad.
    """
    keys = {field: str(columns.get(field, field)) for field in FIELDS}
    declared: dict[str, bool] = {}  # INFO key -> is it a flag
    header = False
    for number, line in text_lines(path):
        if line.startswith("##INFO=<ID="):
            key, *rest = line.removeprefix("##INFO=<ID=").split(",")
            declared[key] = "Type=Flag" in rest
        elif line.startswith("#CHROM"):
            header = True
            if keys["label"] not in declared:
                raise InputError(
                    f"INFO key {keys['label']!r} of the label is not declared"
                    + nearest(keys["label"], declared),
                    file=path,
                    row=number,
                    expected="label_info to name an INFO key",
                )
        elif line and not line.startswith("#"):
            values = line.split("\t")
            if not header or len(values) < len(VCF_COLUMNS):
                raise InputError(
                    "is not a VCF line below a #CHROM header",
                    file=path,
                    row=number,
                    found=line[:40],
                    expected=" ".join(VCF_COLUMNS),
                )
            info = dict([*item.split("=", 1), "1"][:2] for item in values[7].split(";"))
            known = {field: info[key] for field, key in keys.items() if key in info}
            known.setdefault("label", "0" if declared[keys["label"]] else "")
            position = _position(values[1], path, number)
            yield Record(
                number, values[0], position, values[3].upper(), values[4].upper(), {**info, **known}
            )
    if not header:
        raise InputError("is not a VCF", file=path, expected="a line that starts with #CHROM")


def reader_of(path: str) -> Callable[[str, Mapping[str, str]], Iterator[Record]]:
    """Return the reader of a file by the end of its name; what is neither is read as a TSV."""
    if path.endswith((".vcf", ".vcf.gz", ".vcf.bgz")):
        return read_vcf
    return read_parquet if path.endswith(".parquet") else read_table


def number(record: Record, field: str, path: str) -> float:
    """Return a field as a number, NaN where it is missing; InputError if it is none."""
    text = record.fields.get(field, "")
    try:
        return float("nan" if text in MISSING else text)
    except ValueError:
        raise InputError(
            f"{field} is not a number", file=path, row=record.row, found=text
        ) from None


def prefixed(record: Record, prefix: str) -> Record:
    """Return the record with ``prefix`` before the name of its contig where it is missing."""
    return replace(record, contig=with_prefix(record.contig, prefix)) if prefix else record


def with_prefix(contig: str, prefix: str) -> str:
    """Return the name of a contig with ``prefix`` before it, where it is missing."""
    return contig if contig.startswith(prefix) else prefix + contig


class Filter:
    """Tells which records the keys ``only`` and ``without`` of a dataset leave out."""

    def __init__(self, row: Mapping[str, Any], path: str) -> None:
        """Read the keys of a dataset's row; ``path`` is named in errors."""
        self.path = path
        self.rules = [
            (key, str(column), [str(text).lower() for text in texts])
            for key in ("only", "without")
            for column, texts in (row.get(key) or {}).items()
        ]
        self.missing = {column for _, column, _ in self.rules}

    def __call__(self, record: Record) -> str:
        """Return the reason to leave a record out, or an empty string."""
        self.missing.difference_update(record.fields)
        for key, column, texts in self.rules:
            value = record.fields.get(column, "").lower()
            if any(text in value for text in texts) is not (key == "only"):
                return f"{column}: {key}"
        return ""

    def check(self) -> None:
        """Raise :class:`InputError` if no record had a column that the keys name."""
        for column in sorted(self.missing):
            raise InputError(
                f"no record has the column {column!r} of only or without", file=self.path
            )


class GivenScores:
    """Reads the scores that a label file brings along (CADD, phyloP, allele frequency).

    Attributes
    ----------
    columns : name of a score -> column (VCF: INFO key).
    signs : name -> 1, or -1 where the configuration has a minus before the column: small values
        speak for the label then.
    """

    def __init__(self, row: Mapping[str, Any], path: str) -> None:
        """Read the key ``scores`` of a dataset's row; ``path`` is named in errors."""
        given = {str(name): str(column) for name, column in (row.get("scores") or {}).items()}
        self.path = path
        self.columns = {name: column.removeprefix("-") for name, column in given.items()}
        self.signs = {name: -1 if column.startswith("-") else 1 for name, column in given.items()}
        self.empty = set(self.columns.values())
        self.fields: set[str] = set()

    def __call__(self, record: Record) -> dict[str, float]:
        """Return ``score_NAME`` -> value, NaN where it is missing; InputError if it is none."""
        out = {}
        for name, column in self.columns.items():
            out[f"score_{name}"] = value = number(record, column, self.path)
            if math.isinf(value):
                raise InputError(
                    f"{column} is not finite", file=self.path, row=record.row, found=value
                )
            if not math.isnan(value):
                self.empty.discard(column)
        if self.empty:
            self.fields.update(record.fields)
        return out

    def check(self) -> None:
        """Raise :class:`InputError` if no record had a number in a column that the key names."""
        for column in sorted(self.empty):
            close = "" if column in self.fields else nearest(column, self.fields)
            raise InputError(
                f"no record has a number in the column {column!r} of scores{close}", file=self.path
            )


def skip_reason(record: Record) -> str:
    """Return why alleles cannot be scored, or an empty string."""
    if "," in record.alt:
        return "multi-allelic"
    if record.alt in (".", "*") or any(mark in record.alt for mark in "<[]"):
        return "symbolic allele"
    alt = "" if record.alt == "-" else record.alt
    if record.ref in ("-", ".", ""):
        return "no reference base"
    if not set(record.ref + alt) <= set("ACGT"):
        return "allele with other letters than ACGT"
    if max(len(record.ref), len(alt)) > MAX_ALLELE:
        return f"allele longer than {MAX_ALLELE} bases"
    return "" if record.ref != alt else "alternative equals reference"


def check_reference(genome: Genome, record: Record, path: str) -> str:
    """Return why the bases of REF cannot be compared with the genome, or an empty string.

    Raises
    ------
    InputError
        If a known base of the genome at the record's position is another than that of REF.
    """
    if record.contig not in genome.lengths:
        raise InputError(
            f"contig is not in the genome{contig_hint(record.contig, genome.lengths, PREFIX)}",
            file=path,
            row=record.row,
            found=record.contig,
        )
    start, end = record.position - 1, record.position - 1 + len(record.ref)
    if end > genome.lengths[record.contig]:
        raise InputError(
            f"position is beyond {record.contig}",
            file=path,
            row=record.row,
            found=record.position,
            expected=f"at most {genome.lengths[record.contig]}",
        )
    there = decode(genome.codes(record.contig, start, end))
    if disagrees(there, record.ref):
        raise InputError(
            f"REF disagrees with the genome at {record.contig}:{record.position} (1-based)",
            file=path,
            row=record.row,
            found=record.ref,
            expected=f"{there} (is it another build, or a 0-based position?)",
        )
    return UNKNOWN_BASES if "N" in there else ""


def disagrees(there: str, ref: str) -> bool:
    """Tell whether a known base of the genome is another than that of REF."""
    return any(base not in ("N", own) for base, own in zip(there, ref, strict=True))


def length_change(ref: str, alt: str) -> int:
    """Return how many bases ALT is longer than REF; ``-`` is no base."""
    return len(alt.replace("-", "")) - len(ref)


def windows(genome: Genome, record: Record, width: int) -> tuple[int, str, str]:
    """Return (start, reference window, alternative window), both ``width`` bases long.

    The first base of REF has offset ``width // 2``. What follows the variant moves with an indel:
    the alternative window ends earlier or later on the reference, its first half is unchanged.
    """
    first = record.position - 1
    start = first - width // 2
    alt = "" if record.alt == "-" else record.alt
    reach = start + width + max(0, len(record.ref) - len(alt))
    long = decode(genome.window(record.contig, start, reach))
    tail = first - start + len(record.ref)
    return start, long[:width], (long[: first - start] + alt + long[tail:])[:width]
