"""Read peak files: narrowPeak, BED, and one long table of the peaks of all cell types.

Comes in: text files, plain or gzipped, and the contigs of the genome. Goes out: :class:`Peaks`,
arrays of the peaks of one cell type, sorted and without duplicates, with counts for ``qc.tsv``.
``track``, ``browser`` and comment lines are skipped; so is a line of column names at the head of a
BED or narrowPeak file, which is counted (``header_line``) and warned of. The order of the lines is
free. How lines are read: :mod:`genebert.peak_lines`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from genebert.errors import InputError, nearest
from genebert.hints import made_table_hint, prefix_hint, separator
from genebert.layout import LONG_TABLE
from genebert.lines import text_lines
from genebert.peak_lines import NOT_A_NUMBER, NOT_FINITE, Columns, Fields, read_columns, text_at
from genebert.tables import check_header, safe_name

log = logging.getLogger("genebert")

FORMATS = {
    "narrowPeak": Fields(count=10, scores={"signalValue": 6, "score": 4}, summit=9),
    "bed": Fields(count=3, scores={"score": 4}),
}
MISSING_STRENGTH = 0.5
MAX_UNKNOWN = 0.05  # share of peaks on contigs that the genome lacks, above which it is an error


@dataclass(frozen=True)
class Peaks:
    """The peaks of one cell type, sorted by (contig, start, end, summit).

    Attributes
    ----------
    contig : int32[N], index into the contigs of the genome.
    start, end, summit : int32[N], 0-based half-open; ``summit`` is one base inside the peak.
    strength : float64[N] in (0, 1], see :func:`strengths`.
    score_source : where the strengths come from (``signalValue``, ``score`` or ``missing``).
    counts : read, duplicate, unknown_contig, no_summit; where there are any, header_line
        and summit_at_end.
    """

    contig: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    summit: NDArray[np.int32]
    strength: NDArray[np.float64]
    score_source: str
    counts: Mapping[str, int]

    def __len__(self) -> int:
        """Return the number of peaks."""
        return len(self.start)

    def on(self, contig: int) -> slice:
        """Return the slice of the peaks of one contig."""
        first, last = np.searchsorted(self.contig, [contig, contig + 1])
        return slice(int(first), int(last))


def strengths(score: NDArray[np.float64] | None, count: int) -> NDArray[np.float64]:
    """Return the rank percentile of each score: mean rank of its ties / number of peaks.

    Parameters
    ----------
    score : float[N], or None where a file has none: every strength is then 0.5.
    count : N.
    """
    if score is None:
        return np.full(count, MISSING_STRENGTH)
    return np.asarray(rankdata(score, method="average") / count, dtype=np.float64)


def _score(
    columns: Columns, places: Mapping[str, int], path: str | Path
) -> tuple[str, NDArray[np.float64] | None]:
    """Return the first score column that varies, as (name, float[N]), or ('missing', None)."""
    for name, row in columns.lacking.items():
        raise InputError(
            f"{name} is missing in this line",
            file=path,
            row=row,
            expected=f"column {places[name] + 1} in every line, or in none; "
            "cut -f 1-3 leaves scores out",
        )
    for name, values in columns.scores.items():
        missing = np.isnan(values)
        if missing.all():
            continue
        for wrong, what in (
            (missing | (values == NOT_A_NUMBER), "is not a number"),
            (values == NOT_FINITE, "is not finite"),
        ):
            if wrong.any():
                row = int(columns.row[int(np.argmax(wrong))])
                found = text_at(path, row, places[name])
                bed = [*places] == ["score"] and not len(columns.cell_type)
                more = "numbers in column 5; cut -f 1-3 leaves scores out" if bed else None
                raise InputError(f"{name} {what}", file=path, row=row, found=found, expected=more)
        if not (values == values[0]).all():
            return name, values
    return "missing", None


def _check_contigs(
    columns: Columns,
    known: NDArray[np.bool_],
    contigs: Mapping[str, int],
    path: str | Path,
    limit: float,
    column: int,
) -> None:
    """Raise if no contig, or more than a share of ``limit`` of the peaks, is in the genome."""
    share = 1 - known.mean()
    if share <= limit:
        return
    first = dict.fromkeys((-1 - columns.contig[~known]).tolist())
    name = columns.unknown[next(iter(first))]
    made = str(path).endswith(LONG_TABLE)
    hint = (
        made_table_hint(name, contigs) if made else prefix_hint(name, contigs, path, column=column)
    )
    what = (
        f"no contig is in the genome{hint}"
        if not known.any()
        else f"{share:.0%} of the peaks lie on contigs that are not in the genome"
    )
    raise InputError(
        what,
        file=path,
        row=int(columns.row[int(np.argmin(known))]),
        found=", ".join([columns.unknown[i] for i in first][:3]),
        expected=f"contigs such as {', '.join(list(contigs)[:3])}"
        + ("" if not known.any() else f" in all but {limit:.0%} of the peaks"),
    )


def _check_places(
    columns: Columns, known: NDArray[np.bool_], contigs: Mapping[str, int], path: str | Path
) -> None:
    """Raise if a peak ends beyond its contig or its summit lies outside it."""
    lengths = np.array([*contigs.values(), 0], dtype=np.int64)
    limit = lengths[np.where(known, columns.contig, -1)]
    beyond = known & (columns.end > limit)
    if beyond.any():
        i = int(np.argmax(beyond))
        raise InputError(
            f"peak ends beyond {list(contigs)[columns.contig[i]]}; other assembly?",
            file=path,
            row=int(columns.row[i]),
            found=int(columns.end[i]),
            expected=f"at most {limit[i]}",
        )
    outside = (columns.offset < -1) | (columns.offset > columns.end - columns.start)
    if outside.any():
        i = int(np.argmax(outside))
        raise InputError(
            "summit is outside the peak",
            file=path,
            row=int(columns.row[i]),
            found=int(columns.offset[i]),
            expected=f"-1 (unknown) or 0 to {columns.end[i] - columns.start[i] - 1}",
        )


def _assemble(
    columns: Columns,
    places: Mapping[str, int],
    contigs: Mapping[str, int],
    path: str | Path,
    max_unknown: float,
    column: int = 0,
) -> Peaks:
    """Check the peaks of one cell type against the genome and turn them into :class:`Peaks`.

    ``column`` is that of the contig in a table with a header, from 1; 0 in a BED.
    """
    if not len(columns):
        raise InputError("holds no peaks", file=path)
    known = columns.contig >= 0
    _check_contigs(columns, known, contigs, path, max_unknown, column)
    _check_places(columns, known, contigs, path)
    source, score = _score(columns, places, path)
    start, end, offset = (v.astype(np.int64) for v in (columns.start, columns.end, columns.offset))
    at_end = offset == end - start  # IDR writes that: the last base is meant
    summit = np.where(offset < 0, (start + end) // 2, start + offset - at_end)
    # (contig, start) and (end, summit) as one number each: all are below 2**31 where known
    first, second = columns.contig.astype(np.int64) << 32 | start, end << 32 | summit
    order = np.flatnonzero(known)
    if not (np.diff(first[order]) > 0).all():
        keys = (second, first) if score is None else (-score, second, first)
        order = np.lexsort(tuple(key[order] for key in keys))
        order = np.flatnonzero(known)[order]
    first, second = first[order], second[order]
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    order = order[~repeats]
    counts = {
        "read": len(start),
        "unknown_contig": int((~known).sum()),
        "duplicate": int(repeats.sum()),
        "no_summit": int((offset[order] < 0).sum()),
    }
    if at_end[order].any():
        counts["summit_at_end"] = int(at_end[order].sum())
    return Peaks(
        columns.contig[order],
        start[order].astype(np.int32),
        end[order].astype(np.int32),
        summit[order].astype(np.int32),
        strengths(None if score is None else score[order], len(order)),
        source,
        counts,
    )


def read_peaks(
    path: str | Path, format: str, contigs: Mapping[str, int], *, max_unknown: float = MAX_UNKNOWN
) -> Peaks:
    """Read one peak file.

    Parameters
    ----------
    path : narrowPeak (10 columns; summit offset in column 10, -1 = unknown) or BED (3 or more).
    format : ``narrowPeak`` or ``bed``.
    contigs : {contig: length} of the genome, in its order.
    max_unknown : share of peaks on contigs that the genome lacks that are dropped and counted;
        more is an error.

    Returns
    -------
    Peaks
        The strength is the rank percentile of column 7 of a narrowPeak (``signalValue``), or of
        column 5 (``score``) where column 7 is constant or in a BED; 0.5 where there is neither.
        A peak without a summit has its centre as the summit. Of peaks that agree in contig,
        start, end and summit the one with the highest score is kept.

    Raises
    ------
    InputError
        If the format is unknown, the file cannot be read or holds no peaks, a line has too few
        columns or lacks the score that others have, is empty (start >= end), negative, not numeric
        or beyond its contig, a summit lies outside its peak, or the contigs are those of another
        assembly.
    """
    if format not in FORMATS:
        raise InputError(
            f"unknown peak format{nearest(format, FORMATS)}",
            file=path,
            found=format,
            expected=" or ".join(FORMATS),
        )
    columns = read_columns(path, FORMATS[format], contigs)
    peaks = _assemble(columns, FORMATS[format].scores, contigs, path, max_unknown)
    if columns.headers:
        log.warning("%s: a line of column names is skipped; BED files have none", path)
        return replace(peaks, counts={**peaks.counts, "header_line": columns.headers})
    return peaks


def read_atlas(
    path: str | Path, contigs: Mapping[str, int], *, max_unknown: float = MAX_UNKNOWN
) -> dict[str, Peaks]:
    """Read one long table of the peaks of all cell types.

    Parameters
    ----------
    path : tab-separated with a header: contig, start, end, cell_type and, optionally, score.
        Cell types get names that can stand in file names, see :func:`genebert.tables.safe_name`.
    contigs, max_unknown : as in :func:`read_peaks`.

    Returns
    -------
    dict of Peaks by cell type, sorted by name.

    Raises
    ------
    InputError
        As :func:`read_peaks`, and if a column is missing or stands twice, or two names become
        the same.
    """
    header = next(text_lines(path), (1, ""))[1].lstrip("#").split("\t")
    check_header(header, path)
    for column in ("contig", "start", "end", "cell_type"):
        if column not in header:
            raise InputError(
                f"column {column!r} is missing"
                + (separator("\t".join(header), ("contig", "start")) or nearest(column, header)),
                file=path,
                row=1,
                found="\t".join(header),
            )
    contig, start, end, cell = (header.index(c) for c in ("contig", "start", "end", "cell_type"))
    fields = Fields(
        count=len(header),
        scores={"score": header.index("score")} if "score" in header else {},
        cell_type=cell,
        place=(contig, start, end),
        exact=True,
    )
    names: dict[str, str] = {}

    def check(text: str, row: int | None) -> None:
        name = safe_name(text, file=str(path) if row is None else f"{path}, line {row}")
        if names.setdefault(name, text) != text:
            raise InputError(
                f"cell types {names[name]!r} and {text!r} have the same name in file names",
                file=path,
                row=row,
            )

    columns = read_columns(path, fields, contigs, check)
    if not len(columns):
        raise InputError("holds no peaks", file=path)
    small = np.int16 if len(names) < 2**15 else np.int32  # int16 is sorted by radix
    order = np.argsort(columns.cell_type.astype(small), kind="stable")
    bounds = np.searchsorted(columns.cell_type[order], np.arange(len(names) + 1))
    found = {}
    for name in sorted(names):
        code = columns.cell_types.index(names[name])
        here = columns.take(order[bounds[code] : bounds[code + 1]])
        found[name] = _assemble(here, fields.scores, contigs, path, max_unknown, contig + 1)
    return found
