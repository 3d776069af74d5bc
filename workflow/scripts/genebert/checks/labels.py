"""What `snakemake check` says of the label files of the datasets.

Small files are read as a whole by the readers of the run, variants by their heads; of a GTF
:func:`head_of_gtf` looks at the first lines.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pysam

from genebert import layout
from genebert.checks.finding import Finding
from genebert.errors import InputError, nearest
from genebert.hints import contig_hint, prefix_hint, similar_file
from genebert.tables import read_rows
from genebert.tasks import (
    annotation,
    cohort_files,
    promoter,
    ready_made,
    splicing,
    tfbs,
    variant_files,
    variants,
)
from genebert.tasks.dataset import row_option

if TYPE_CHECKING:
    from genebert.checks.data import Data

HEAD = 20_000  # lines of a GTF, records of a table of variants
LARGE = 500_000_000  # bytes of a ready-made set that is not read here


def check(data: Data, row: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the findings about one dataset.

    Parameters
    ----------
    data : the configuration, with contigs and cell types as far as they are known.
    row : the dataset.
    """
    topic = "dataset"
    name = f"{row['task']}/{row['name']}"
    if row["kind"] == "regions":
        yield Finding("ok", topic, f"{name}: the labels are the atlas itself")
        return
    keys = [key for key in layout.DATASET_FILES if row.get(key)]
    values = [row[key] for key in keys] or [data.config["genome"]["gtf"]]
    complete = True
    for value in values:
        _, missing = data.there(topic, value)
        if missing:
            yield Finding(missing.level, topic, f"{name}: {missing.text}", missing.advice)
            complete = False
    if not complete:
        return
    path = layout.dataset_labels(data.config, row)
    try:
        for key, known in _OPTIONS.get(row["task"], {}).items():
            row_option(row, key, known)
        yield from _KINDS[row["kind"]](data, row, path, name)
    except InputError as error:
        yield Finding("error", topic, f"{name}: {error}")


def known_contig(
    lengths: Mapping[str, int], contigs: Iterable[str], path: str, how: str = ""
) -> None:
    """Raise if the genome, where it is known, has none of the contigs of a file.

    Parameters
    ----------
    contigs : read until one is known. how : to add ``chr``, if not with awk.
    """
    if not lengths:
        return
    first = ""
    for contig in contigs:
        if contig in lengths:
            return
        first = min(first or contig, contig)
    if first:
        hint = contig_hint(first, lengths, how) if how else prefix_hint(first, lengths, path)
        raise InputError(
            "no contig of this file is in the genome" + hint,
            file=path,
            found=first,
            expected=", ".join(list(lengths)[:3]),
        )


def head_of_gtf(lengths: Mapping[str, int], path: str) -> str:
    """Look at the head of a GTF: exon lines with gene_id and transcript_id, known contigs.

    Returns
    -------
    What was found, in words.

    Raises
    ------
    InputError
        If it is none, or none of its contigs is in the genome, where that is known.
    """
    contigs: set[str] = set()
    exons = lines = 0
    for number, fields in annotation.read_fields(path, columns=9):
        if lines >= HEAD and (not lengths or contigs & lengths.keys()):
            break  # a contig of the genome may come late
        lines += 1
        contigs.add(fields[0])
        if fields[2] == "exon":
            exons += 1
            if not ('gene_id "' in fields[8] and 'transcript_id "' in fields[8]):
                raise InputError(
                    "exon without gene_id or transcript_id",
                    file=path,
                    row=number,
                    found=fields[8][:60],
                    expected='a GTF (not a GFF3): gene_id "..."; transcript_id "...";',
                )
    if not exons:
        raise InputError(f"has no exon among its first {lines:,} lines", file=path)
    known_contig(lengths, contigs, path)
    return f"{exons:,} exons in its first {lines:,} lines"


def _gtf(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Look at the head of a GTF."""
    text = head_of_gtf(data.lengths, path)
    yield Finding("ok", "dataset", f"{name}: {path}, {text}")


def _promoters(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Read all promoters."""
    if row["kind"] == "gtf":
        yield from _gtf(data, row, path, name)
        return
    table = promoter.read_promoters(path, row)
    known_contig(data.lengths, set(table["contig"]), path)
    yield Finding("ok", "dataset", f"{name}: {path}, {len(table):,} promoters")


def _chip(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Read the table of ChIP-seq sets and the first peaks of every file."""
    rows = read_rows(path, ("tf", "cell_type", "peaks"), names=("tf", "cell_type"))
    files = layout.dataset_extra(data.config, row)
    absent = 0
    for number, (line, file) in enumerate(zip(rows, files, strict=True), start=2):
        if not os.path.exists(file):
            if line["peaks"].startswith("resource:"):
                absent += 1
                continue
            raise InputError(f"no such file{similar_file(file)}", file=path, row=number, found=file)
        known_contig(
            data.lengths, (fields[0] for _, fields in annotation.read_fields(file, columns=3)), file
        )
    wanted = {line["cell_type"] for line in rows}
    unknown = sorted(wanted - set(data.cell_types)) if data.cell_types else []
    text = f"{name}: {len(rows)} ChIP-seq sets of {len({line['tf'] for line in rows})} TFs"
    text += f", {absent} would be fetched" if absent else ""
    if len(unknown) == len(wanted):
        close = nearest(unknown[0], data.cell_types)
        raise InputError(
            f"no cell type of this table is in the atlas{close}", file=path, found=unknown[0],
            expected=", ".join(data.cell_types[:5]),
        )  # fmt: skip
    if unknown:
        close = nearest(unknown[0], data.cell_types)
        yield Finding(
            "warn", "dataset", text, f"not in the atlas, skipped: {', '.join(unknown)}{close}"
        )
    else:
        yield Finding("ok", "dataset", text)


def _variants(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Read the first records of a table or VCF of variants."""
    read = variant_files.reader_of(path)
    contigs, cell_types, count = set(), set(), 0
    left_out, given = variant_files.Filter(row, path), variant_files.GivenScores(row, path)
    for record in read(path, variant_files.columns_of(row)):
        record = variant_files.prefixed(record, row.get("contig_prefix", ""))
        if not (left_out(record) or variant_files.skip_reason(record)):
            given(record)
        contigs.add(record.contig)
        cell_types.add(record.fields.get("cell_type", row.get("cell_type") or ""))
        count += 1
        if count >= HEAD and (not data.lengths or contigs & data.lengths.keys()):
            break  # a contig of the genome may come late
    if not count:
        raise InputError("has no variant", file=path)
    if count < HEAD:
        given.check()
    known_contig(data.lengths, contigs, path, variant_files.PREFIX)
    text = f"{count:,} variants" if count < HEAD else f"at least {count:,} variants"
    text = f"{name}: {path}, {text}; REF is compared in the run"
    atlas = data.cell_types or cell_types
    if strange := variants.unknown_cell_types(cell_types, atlas, path):
        yield Finding("warn", "dataset", text, f"not in the atlas: {', '.join(strange)}")
    else:
        yield Finding("ok", "dataset", text)


def _cohort(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Open the VCF of a cohort and read its phenotypes."""
    file = layout.source(data.config, row["phenotypes"])
    with cohort_files.open_vcf(path) as vcf:
        samples = list(vcf.header.samples)
    with pysam.TabixFile(path) as index:
        prefix = row.get("contig_prefix") or ""
        contigs = [variant_files.with_prefix(name, prefix) for name in index.contigs]
    known_contig(data.lengths, contigs, path, variant_files.PREFIX)
    people, unknown = cohort_files.read_phenotypes(file, samples, path)
    cases = int(people.labels.sum())
    text = f"{name}: {len(people.samples)} people, {cases} cases"
    if unknown:
        yield Finding("warn", "dataset", text, f"{unknown} rows of {file} are not in the VCF")
    else:
        yield Finding("ok", "dataset", text)


def _sequences(data: Data, row: Mapping[str, Any], path: str, name: str) -> Iterator[Finding]:
    """Read a ready-made set."""
    files = [path, *layout.dataset_extra(data.config, row)]
    size = sum(map(os.path.getsize, files))
    if size > LARGE:
        yield Finding("ok", "dataset", f"{name}: {size / 1e6:,.0f} MB, read in the run")
        return
    table = ready_made.read_all(path, files[1:], row)
    yield Finding("ok", "dataset", f"{name}: {path}, {len(table):,} sequences")


_OPTIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "promoter": {"negatives": promoter.NEGATIVES, "window": tuple(promoter.WINDOWS)},
    "tfbs": {"negatives": tfbs.NEGATIVES},
    "splicing": {"negatives": splicing.NEGATIVES},
}
_KINDS = {
    "epdnew": _promoters,
    "tss": _promoters,
    "gtf": _promoters,
    "narrowpeak": _chip,
    "variants": _variants,
    "cohort": _cohort,
    "sequences": _sequences,
}
