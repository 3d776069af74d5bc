"""The rows of a user's BED, and windows of one width around their middles.

In: a BED of three or more columns, plain or gzipped, sorted or not; an indexed genome. Out: the
rows as arrays, in their order, and the bases of windows, in blocks. Rows on contigs that the genome
does not have are counted and left out; what is no BED, or leaves its contig, is an error.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Codes, Genome, reverse_complement
from genebert.hints import contig_hint
from genebert.lines import is_head, text_lines

log = logging.getLogger("genebert")

BLOCK = 65_536  # rows whose windows are in memory at a time

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """N rows of a BED.

    Attributes
    ----------
    contigs : names; contig : int32[N], index into them.
    start, end : int64[N], 0-based, half-open.
    line : int64[N], line in the file.
    name, strand : object[N] of str; strand is '+', '-' or '.'.
    skipped : {contig that the genome does not have: rows}.
    """

    contigs: tuple[str, ...]
    contig: NDArray[np.int32]
    start: Ints
    end: Ints
    line: Ints
    name: NDArray[np.object_]
    strand: NDArray[np.object_]
    skipped: dict[str, int]

    def __len__(self) -> int:
        """Return N."""
        return len(self.start)

    @property
    def middle(self) -> Ints:
        """int64[N]: the place that a row stands for."""
        return (self.start + self.end) // 2

    def take(self, rows: Ints) -> Rows:
        """Return some of the rows."""
        arrays = {
            key: getattr(self, key)[rows]
            for key in ("contig", "start", "end", "line", "name", "strand")
        }
        return Rows(self.contigs, skipped=self.skipped, **arrays)

    def frame(self) -> pd.DataFrame:
        """Return contig, start, end, name, strand, line as a table."""
        names = pd.Index(self.contigs, dtype=object)  # text as AnnData writes it
        contig = pd.Categorical.from_codes(self.contig, names)
        return pd.DataFrame(
            {
                "contig": contig.remove_unused_categories(),
                "start": self.start,
                "end": self.end,
                "name": pd.Series(self.name, dtype=object),
                "strand": pd.Categorical(self.strand, pd.Index(["+", "-", "."], dtype=object)),
                "line": self.line,
            }
        )


def bed_lines(path: str) -> Iterator[tuple[int, list[str], int, int]]:
    """Yield (line, fields, start, end) of the rows of a BED; InputError if it is none, or empty."""
    empty = True
    for number, line in text_lines(path):
        if is_head(line):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        try:
            start, end = int(fields[1]), int(fields[2])
        except (IndexError, ValueError):
            start = end = -1
        if not 0 <= start < end:
            raise InputError(
                "is not a row of a BED",
                file=path,
                row=number,
                found=line[:60],
                expected="contig, start, end, with whole numbers 0 <= start < end, after tabs",
            )
        yield number, fields, start, end
        empty = False
    if empty:
        raise InputError("has no rows", file=path, expected="a BED: contig, start, end")


def read_bed(path: str, genome: Genome) -> Rows:
    """Read a BED.

    Raises
    ------
    InputError
        If it is no BED, a row leaves its contig, or no row lies on a contig of the genome.
    """
    return rows_of(path, genome.lengths)


def rows_of(path: str, lengths: Mapping[str, int], limit: int | None = None) -> Rows:
    """Read a BED as :func:`read_bed` does.

    Parameters
    ----------
    lengths : of the contigs of the genome.
    limit : stop after so many rows on these contigs.
    """
    codes = {name: i for i, name in enumerate(lengths)}
    contig: list[int] = []
    numbers: list[tuple[int, int, int]] = []
    names: list[str] = []
    strands: list[str] = []
    skipped: Counter[str] = Counter()
    for number, fields, start, end in bed_lines(path):
        if fields[0] not in codes:
            skipped[fields[0]] += 1
            continue
        if end > lengths[fields[0]]:
            raise InputError(
                f"row leaves {fields[0]}: is the file of another build?",
                file=path,
                row=number,
                found=end,
                expected=f"an end of at most {lengths[fields[0]]}",
            )
        contig.append(codes[fields[0]])
        numbers.append((start, end, number))
        names.append(fields[3] if len(fields) > 3 else "")
        strands.append(fields[5] if len(fields) > 5 and fields[5] in ("+", "-") else ".")
        if len(numbers) == limit:
            break
    if not numbers:
        first = next(iter(skipped))
        raise InputError(
            f"no row lies on a contig of the genome{contig_hint(first, lengths)}",
            file=path, found=first,
            expected=f"names such as {', '.join(list(lengths)[:3])}",
        )  # fmt: skip
    if skipped:
        total = sum(skipped.values())
        log.warning(
            "%s: %d rows on %d contigs that the genome does not have are left out (first: %s)",
            path, total, len(skipped), next(iter(skipped)),
        )  # fmt: skip
    start_N, end_N, line_N = np.array(numbers, dtype=np.int64).T
    return Rows(
        tuple(lengths),
        np.array(contig, dtype=np.int32),
        start_N,
        end_N,
        line_N,
        np.array(names, dtype=object),
        np.array(strands, dtype=object),
        dict(skipped),
    )


def windows(
    genome: Genome, rows: Rows, first: Ints, width: int, *, oriented: bool = False
) -> Codes:
    """Return uint8[N, width]: the bases from ``first`` on; what lies outside a contig is N.

    Parameters
    ----------
    first : int64[N], leftmost base of each window; may be negative.
    oriented : read rows on the strand '-' as the reverse complement.
    """
    out = np.empty((len(rows), width), dtype=np.uint8)
    for i in np.argsort(rows.contig, kind="stable"):  # a contig is read once
        at = int(first[i])
        out[i] = genome.window(rows.contigs[rows.contig[i]], at, at + width)
    if oriented:
        minus = rows.strand == "-"
        out[minus] = reverse_complement(out[minus])
    return out


def blocks(rows: Rows, size: int = BLOCK) -> Iterator[tuple[int, Rows]]:
    """Yield (first row, some rows), in order."""
    for at in range(0, len(rows), size):
        yield at, rows.take(np.arange(at, min(at + size, len(rows)), dtype=np.int64))
