"""Read peak files: narrowPeak, BED, and one long table of the peaks of all cell types.

Comes in: text files, plain or gzipped, and the contigs of the genome. Goes out: :class:`Peaks`,
arrays of the peaks of one cell type, sorted and without duplicates, with counts for ``qc.tsv``.
Header, ``track``, ``browser`` and comment lines are skipped; the order of the lines is free.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from genebert.errors import InputError, nearest
from genebert.lines import text_lines
from genebert.tables import check_name

FORMATS = ("narrowPeak", "bed")
MISSING_STRENGTH = 0.5
MAX_UNKNOWN = 0.05  # share of peaks on contigs that the genome lacks, above which it is an error
_COLUMNS = {"narrowPeak": 10, "bed": 3}
_HEADER = {"start", "chromstart", "chrom_start", "chr_start"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Peaks:
    """The peaks of one cell type, sorted by (contig, start, end, summit).

    Attributes
    ----------
    contig : int32[N], index into the contigs of the genome.
    start, end, summit : int32[N], 0-based half-open; ``summit`` is one base inside the peak.
    strength : float64[N] in (0, 1], see :func:`strengths`.
    score_source : where the strengths come from (``signalValue``, ``score`` or ``missing``).
    counts : read, duplicate, unknown_contig, no_summit.
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


@dataclass
class _Rows:
    """Fields of the lines of one cell type, before they are checked together."""

    row: list[int] = field(default_factory=list)
    contig: list[str] = field(default_factory=list)
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)  # of the summit from the start, -1 if not given
    scores: dict[str, list[str]] = field(default_factory=dict)

    def add(self, row: int, interval: tuple[str, int, int], offset: int = -1) -> None:
        self.row.append(row)
        self.contig.append(interval[0])
        self.start.append(interval[1])
        self.end.append(interval[2])
        self.offset.append(offset)


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


def _interval(fields: Sequence[str], path: str | Path, row: int) -> tuple[str, int, int]:
    """Return (contig, start, end) of the first three fields of a line."""
    for name, value in (("start", fields[1]), ("end", fields[2])):
        if not (value.isascii() and value.isdecimal()):
            problem = "is negative" if re.fullmatch(r"-\d+", value) else "is not an integer"
            raise InputError(f"{name} {problem}", file=path, row=row, found=value)
        if len(value) > 12:
            raise InputError(f"{name} is not a position", file=path, row=row, found=value)
    start, end = int(fields[1]), int(fields[2])
    if start >= end:
        raise InputError(
            "peak is empty", file=path, row=row, found=f"{start}-{end}", expected="start < end"
        )
    return fields[0], start, end


def _data_lines(path: str | Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of the lines of a BED-like file that hold an interval."""
    first = True
    for row, line in text_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        if fields[0].split()[0:1] in (["track"], ["browser"]):
            continue
        if len(fields) < columns:
            raise InputError(
                "too few columns", file=path, row=row, found=len(fields), expected=f"{columns}"
            )
        if first and fields[1].lower() in _HEADER:
            continue
        first = False
        yield row, fields


def _numbers(
    texts: Sequence[str], rows: Sequence[int], name: str, path: str | Path
) -> NDArray[np.float64] | None:
    """Return float[N] of a score column; None if it is constant or '.' throughout."""
    if all(text in (".", "") for text in texts):
        return None
    values = np.empty(len(texts))
    for i, text in enumerate(texts):
        try:
            values[i] = float(text)
        except ValueError:
            raise InputError(
                f"{name} is not a number", file=path, row=rows[i], found=text
            ) from None
    if not np.isfinite(values).all():
        i = int(np.argmin(np.isfinite(values)))
        raise InputError(f"{name} is not finite", file=path, row=rows[i], found=texts[i])
    return None if (values == values[0]).all() else values


def _score(rows: _Rows, path: str | Path) -> tuple[str, NDArray[np.float64] | None]:
    """Return the first score column that varies, as (name, float[N]), or ('missing', None)."""
    for name, texts in rows.scores.items():
        if len(texts) == len(rows.row):
            values = _numbers(texts, rows.row, name, path)
            if values is not None:
                return name, values
    return "missing", None


def _check_contigs(
    rows: _Rows,
    known: NDArray[np.bool_],
    contigs: Mapping[str, int],
    path: str | Path,
    limit: float,
) -> None:
    """Raise if no contig, or more than a share of ``limit`` of the peaks, is in the genome."""
    share = 1 - known.mean()
    if share <= limit:
        return
    other = list(dict.fromkeys(n for n, k in zip(rows.contig, known, strict=True) if not k))
    what = (
        "no contig is in the genome; other assembly?"
        if not known.any()
        else f"{share:.0%} of the peaks lie on contigs that are not in the genome"
    )
    raise InputError(
        what,
        file=path,
        row=rows.row[int(np.argmin(known))],
        found=", ".join(other[:3]),
        expected=f"contigs such as {', '.join(list(contigs)[:3])}"
        + ("" if not known.any() else f" in all but {limit:.0%} of the peaks"),
    )


def _assemble(
    rows: _Rows, contigs: Mapping[str, int], path: str | Path, max_unknown: float
) -> Peaks:
    """Check the rows of one cell type against the genome and turn them into :class:`Peaks`."""
    if not rows.row:
        raise InputError("holds no peaks", file=path)
    index = {name: i for i, name in enumerate(contigs)}
    lengths = np.array([*contigs.values(), 0], dtype=np.int64)
    contig = np.array([index.get(name, -1) for name in rows.contig], dtype=np.int32)
    start, end, offset = (np.array(v, dtype=np.int64) for v in (rows.start, rows.end, rows.offset))
    known = contig >= 0
    _check_contigs(rows, known, contigs, path, max_unknown)
    beyond = known & (end > lengths[contig])
    if beyond.any():
        i = int(np.argmax(beyond))
        raise InputError(
            f"peak ends beyond {rows.contig[i]}; other assembly?",
            file=path,
            row=rows.row[i],
            found=rows.end[i],
            expected=f"at most {lengths[contig[i]]}",
        )
    outside = (offset < -1) | (offset >= end - start)
    if outside.any():
        i = int(np.argmax(outside))
        raise InputError(
            "summit is outside the peak",
            file=path,
            row=rows.row[i],
            found=rows.offset[i],
            expected=f"-1 (unknown) or 0 to {end[i] - start[i] - 1}",
        )
    source, score = _score(rows, path)
    summit = np.where(offset < 0, (start + end) // 2, start + offset)
    order_score = np.zeros(len(start)) if score is None else -score
    order = np.lexsort((order_score, summit, end, start, contig))
    order = order[known[order]]
    places = np.stack([contig[order], start[order], end[order], summit[order]])
    repeats = np.zeros(len(order), dtype=bool)
    repeats[1:] = (places[:, 1:] == places[:, :-1]).all(axis=0)
    order = order[~repeats]
    counts = {
        "read": len(start),
        "unknown_contig": int((~known).sum()),
        "duplicate": int(repeats.sum()),
        "no_summit": int((offset[order] < 0).sum()),
    }
    return Peaks(
        contig[order],
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
        columns, is empty (start >= end), negative, not numeric or beyond its contig, a summit
        lies outside its peak, or the contigs are those of another assembly.
    """
    if format not in FORMATS:
        raise InputError(
            f"unknown peak format{nearest(format, FORMATS)}",
            file=path,
            found=format,
            expected=" or ".join(FORMATS),
        )
    rows = _Rows(
        scores={"signalValue": [], "score": []} if format == "narrowPeak" else {"score": []}
    )
    for row, fields in _data_lines(path, _COLUMNS[format]):
        offset = -1
        if format == "narrowPeak":
            try:
                offset = min(int(fields[9]), 10**12)
            except ValueError:
                raise InputError(
                    "summit is not an integer", file=path, row=row, found=fields[9]
                ) from None
            rows.scores["signalValue"].append(fields[6])
        if len(fields) > 4:
            rows.scores["score"].append(fields[4])
        rows.add(row, _interval(fields, path, row), offset)
    return _assemble(rows, contigs, path, max_unknown)


def read_atlas(
    path: str | Path, contigs: Mapping[str, int], *, max_unknown: float = MAX_UNKNOWN
) -> dict[str, Peaks]:
    """Read one long table of the peaks of all cell types.

    Parameters
    ----------
    path : tab-separated with a header: contig, start, end, cell_type and, optionally, score.
        Characters of a cell type that cannot stand in a file name become ``_``.
    contigs, max_unknown : as in :func:`read_peaks`.

    Returns
    -------
    dict of Peaks by cell type, sorted by name.

    Raises
    ------
    InputError
        As :func:`read_peaks`, and if a column is missing or two names become the same.
    """
    tables: dict[str, _Rows] = {}
    names: dict[str, str] = {}
    lines = text_lines(path)
    header = next(lines, (1, ""))[1].lstrip("#").split("\t")
    for column in ("contig", "start", "end", "cell_type"):
        if column not in header:
            raise InputError(
                f"column {column!r} is missing{nearest(column, header)}",
                file=path,
                row=1,
                found="\t".join(header),
            )
    place = [header.index(c) for c in ("contig", "start", "end")]
    cell, score = header.index("cell_type"), header.index("score") if "score" in header else None
    for row, line in lines:
        fields = line.split("\t")
        if not line:
            continue
        if len(fields) != len(header):
            raise InputError(
                "wrong number of fields",
                file=path,
                row=row,
                found=len(fields),
                expected=len(header),
            )
        name = _UNSAFE.sub("_", fields[cell])
        if name not in tables:
            check_name(name, file=str(path), row=row, what="cell_type")
            tables[name] = _Rows(scores={"score": []})
            names[name] = fields[cell]
        elif names[name] != fields[cell]:
            raise InputError(
                f"cell types {names[name]!r} and {fields[cell]!r} have the same name in file names",
                file=path,
                row=row,
            )
        tables[name].add(row, _interval([fields[i] for i in place], path, row))
        if score is not None:
            tables[name].scores["score"].append(fields[score])
    if not tables:
        raise InputError("holds no peaks", file=path)
    return {name: _assemble(tables[name], contigs, path, max_unknown) for name in sorted(tables)}
