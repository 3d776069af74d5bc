"""Read the files that labels come from: BED, narrowPeak and GTF, plain or gzipped.

Out: data frames with 0-based half-open intervals. A malformed line is an error that names it;
what lies on contigs that the genome does not have is counted, and is an error if it is everything.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError, nearest, reading
from genebert.hints import line_separator, prefix_hint
from genebert.lines import is_head, text_lines
from genebert.peak_lines import refuse_blocks

log = logging.getLogger("genebert")

_ATTRIBUTE = {
    name: re.compile(rf'(?:^|[;\s]){name} "([^"]+)"') for name in ("gene_id", "transcript_id")
}


def read_fields(path: str | Path, *, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a tab- or space-separated file.

    Empty lines, comments and the header lines ``track`` and ``browser`` are passed over.

    Raises
    ------
    InputError
        If the file is missing, its gzip is damaged or cut, it is not text, or a line has fewer
        than ``columns`` fields.
    """
    for number, line in text_lines(path):
        if is_head(line):
            continue
        fields = line.split("\t")
        if len(fields) == 1:
            fields = line.split()
        if len(fields) < columns:
            raise InputError(
                "too few fields" + (line_separator(line) if len(fields) == 1 else ""),
                file=path,
                row=number,
                found=len(fields),
                expected=f"at least {columns}",
            )
        yield number, fields


def whole(text: str, *, file: str | Path, row: int, what: str) -> int:
    """Return a field as a whole number that is not negative, else raise :class:`InputError`."""
    if not text.isascii() or not text.isdigit():
        raise InputError(f"{what} is not a position", file=file, row=row, found=text)
    return int(text)


def interval(fields: list[str], *, file: str | Path, row: int) -> tuple[str, int, int]:
    """Return (contig, start, end) of the first three BED fields; zero length is allowed."""
    start = whole(fields[1], file=file, row=row, what="start")
    end = whole(fields[2], file=file, row=row, what="end")
    if end < start:
        raise InputError(
            "end lies before start",
            file=file,
            row=row,
            found=f"{start}-{end}",
            expected="start <= end",
        )
    return fields[0], start, end


def strand_of(text: str, *, file: str | Path, row: int) -> str:
    """Return '+' or '-', else raise :class:`InputError`."""
    if text not in ("+", "-"):
        raise InputError("no such strand", file=file, row=row, found=text, expected="'+' or '-'")
    return text


def keep_known_contigs(
    frame: pd.DataFrame, lengths: Mapping[str, int], dropped: Counter[str], *, file: str | Path
) -> pd.DataFrame:
    """Return the rows on contigs of the genome that end within them; count the others.

    Raises
    ------
    InputError
        If no row is on a known contig, or over half of those that are leave it: another build.
    """
    known = frame["contig"].isin(list(lengths))
    if len(frame) and not known.any():
        name = str(frame["contig"].iloc[0])
        raise InputError(
            "no contig of this file is in the genome" + prefix_hint(name, lengths, file),
            file=file,
            found=name,
            expected=", ".join(list(lengths)[:5]),
        )
    dropped["unknown_contig"] += int((~known).sum())
    frame = frame[known]
    inside = frame["end"] <= frame["contig"].map(dict(lengths))
    if len(frame) and inside.mean() < 0.5:
        first = frame[~inside].iloc[0]
        raise InputError(
            "most intervals end beyond their contig: another build of the genome?",
            file=file,
            found=f"{first['contig']}:{first['start']}-{first['end']}",
            expected=f"end at most {lengths[str(first['contig'])]}",
        )
    dropped["off_contig"] += int((~inside).sum())
    return frame[inside].reset_index(drop=True)


def read_epdnew(path: str | Path) -> pd.DataFrame:
    """Read promoters as EPDnew writes them (BED8); columns contig, start, end, name, tss, strand.

    The thick part runs from the TSS to the end of the transcribed bases: the TSS (0-based) is
    ``thickStart`` on '+' and ``thickEnd - 1`` on '-'.
    """
    rows = []
    for number, fields in read_fields(path, columns=8):
        contig, start, end = interval(fields, file=path, row=number)
        strand = strand_of(fields[5], file=path, row=number)
        thick = [whole(text, file=path, row=number, what="thick part") for text in fields[6:8]]
        tss = thick[0] if strand == "+" else thick[1] - 1
        if not start <= tss < end:
            raise InputError(
                "TSS lies outside the promoter",
                file=path,
                row=number,
                found=tss,
                expected=f"{start}-{end}",
            )
        rows.append((contig, start, end, fields[3], tss, strand))
    return pd.DataFrame(rows, columns=["contig", "start", "end", "name", "tss", "strand"])


def read_tss_windows(path: str | Path, offset: int) -> pd.DataFrame:
    """Read windows (BED6: strand in column 6) whose TSS is ``offset`` bases from their 5' end.

    A window of no length is a point between two bases (as in lists of RefSeq TSS): the TSS is the
    first base downstream of it. Returns the columns of :func:`read_epdnew`.
    """
    rows = []
    for number, fields in read_fields(path, columns=6):
        contig, start, end = interval(fields, file=path, row=number)
        strand = strand_of(fields[5], file=path, row=number)
        tss = start + offset if strand == "+" else end - 1 - offset
        if offset >= max(end - start, 1):
            raise InputError(
                "TSS lies outside the window",
                file=path,
                row=number,
                found=f"offset {offset} in {end - start} bases",
                expected="tss_offset below the length of the window",
            )
        rows.append((contig, start, end, fields[3], tss, strand))
    return pd.DataFrame(rows, columns=["contig", "start", "end", "name", "tss", "strand"])


def read_summits(path: str | Path) -> pd.DataFrame:
    """Read peaks; columns contig, start, end, summit (0-based; the centre where none is given)."""
    rows = []
    for number, fields in read_fields(path, columns=3):
        refuse_blocks(fields, path, number)
        contig, start, end = interval(fields, file=path, row=number)
        if end == start:
            raise InputError("peak is empty", file=path, row=number, found=f"{start}-{end}")
        summit = (start + end) // 2
        if len(fields) >= 10 and fields[9] not in ("-1", "."):
            offset = whole(fields[9], file=path, row=number, what="summit")
            if offset > end - start:
                raise InputError(
                    "summit lies outside its peak",
                    file=path,
                    row=number,
                    found=offset,
                    expected=f"0-{end - start - 1}",
                )
            summit = min(start + offset, end - 1)  # IDR files hold summits at the end itself
        rows.append((contig, start, end, summit))
    return pd.DataFrame(rows, columns=["contig", "start", "end", "summit"])


def read_exons(path: str | Path) -> pd.DataFrame:
    """Read the exon lines of a GTF; columns contig, start, end, strand, gene, transcript.

    Exons without a strand ('.', of assembled transcripts of one exon) are skipped and told.

    Raises
    ------
    InputError
        If no exon line has a strand, or one lacks ``gene_id`` or ``transcript_id`` (as GFF3 does).
    """
    rows = []
    unstranded = 0
    for number, fields in read_fields(path, columns=9):
        if fields[2] != "exon":
            continue
        if fields[6] in (".", "?"):
            unstranded += 1
            continue
        start = whole(fields[3], file=path, row=number, what="start")
        end = whole(fields[4], file=path, row=number, what="end")
        if not 1 <= start <= end:
            raise InputError("exon is empty", file=path, row=number, found=f"{start}-{end}")
        names = []
        for name, pattern in _ATTRIBUTE.items():
            match = pattern.search(fields[8])
            if match is None:
                raise InputError(
                    f"exon without the attribute {name}",
                    file=path,
                    row=number,
                    found=fields[8][:80],
                    expected=f'{name} "...";',
                )
            names.append(match[1])
        strand = strand_of(fields[6], file=path, row=number)
        rows.append((fields[0], start - 1, end, strand, *names))
    if unstranded:
        log.warning("%s: %d exons without a strand are skipped", path, unstranded)
    if not rows:
        raise InputError("has no exon line", file=path, expected="a GTF with exon lines")
    columns = ["contig", "start", "end", "strand", "gene", "transcript"]
    return pd.DataFrame(rows, columns=columns)


def transcripts(exons: pd.DataFrame) -> pd.DataFrame:
    """Return one row per transcript: contig, start, end, name, tss, strand, gene."""
    keys = ["contig", "transcript", "gene", "strand"]
    spans = exons.groupby(keys, sort=True).agg(start=("start", "min"), end=("end", "max"))
    spans = spans.reset_index().rename(columns={"transcript": "name"})
    spans["tss"] = spans["start"].where(spans["strand"] == "+", spans["end"] - 1)
    return spans[["contig", "start", "end", "name", "tss", "strand", "gene"]]


def nearest_tss(
    contigs: pd.Series, positions: NDArray[np.int64], tss: pd.DataFrame
) -> NDArray[np.float64]:
    """Return float64[N]: bases from each position to the nearest TSS of its contig, either side.

    NaN on contigs without a TSS. Positions and the columns contig and tss of ``tss`` are 0-based.
    """
    out = np.full(len(positions), np.nan)
    places = {name: np.sort(part.to_numpy()) for name, part in tss.groupby("contig")["tss"]}
    for contig, rows in contigs.groupby(contigs.to_numpy(), sort=False).indices.items():
        if contig not in places:
            continue
        sites = places[contig]
        after = np.searchsorted(sites, positions[rows])
        left = positions[rows] - sites[np.maximum(after - 1, 0)]
        right = sites[np.minimum(after, len(sites) - 1)] - positions[rows]
        out[rows] = np.minimum(np.abs(left), np.abs(right))
    return out


def introns(exons: pd.DataFrame) -> pd.DataFrame:
    """Return the unique introns of all transcripts: contig, start, end, strand, gene.

    An intron is the gap between two exons of a transcript that follow each other.
    """
    keys = ["contig", "transcript", "gene", "strand"]
    ordered = exons.sort_values([*keys, "start", "end"], kind="stable")
    same = ordered.groupby(keys, sort=False)["end"].shift(1)
    gaps = ordered.assign(previous=same).dropna(subset=["previous"])
    gaps = gaps[gaps["previous"] < gaps["start"]]
    out = pd.DataFrame(
        {
            "contig": gaps["contig"],
            "start": gaps["previous"].astype("int64"),
            "end": gaps["start"],
            "strand": gaps["strand"],
            "gene": gaps["gene"],
        }
    )
    columns = ["contig", "start", "end", "strand"]
    return out.sort_values([*columns, "gene"]).drop_duplicates(columns).reset_index(drop=True)


def read_truth(path: str | Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a truth table of the simulated genome and check that it has the columns."""
    with reading(path, "cannot be read as a table"):
        frame = pd.read_csv(path, sep="\t", dtype={"contig": "str", "cell_type": "str"})
    for column in columns:
        if column not in frame:
            raise InputError(
                f"column {column!r} is missing{nearest(column, list(frame))}",
                file=path,
                row=1,
                found="\t".join(frame),
            )
    return frame


def unlisted_probability(truth: pd.DataFrame) -> float:
    """Return the probability of what a truth table does not list.

    It is 0, unless all rows have one probability: then the labels were drawn without regard to
    the sequence (the control ``null_labels``), and being listed tells nothing.
    """
    first = float(truth["probability"].iloc[0])
    return first if (truth["probability"] == first).all() else 0.0
