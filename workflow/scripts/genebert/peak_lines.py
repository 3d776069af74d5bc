"""Read the columns of peak files in blocks of lines: fast where lines are plain, else one by one.

Comes in: a text file (plain or gzipped) and where in a line the values stand. Goes out:
:class:`Columns`, arrays without text, with the line number of every peak for error messages.

A block of lines is parsed by pyarrow if every line has the same number of tab-separated fields and
plain numbers where numbers belong. Any other block (comments, blanks, spaces, missing fields, a
wrong value, whatever is at the head of the file) is read line by line, and only there errors are
raised. Both ways give the same arrays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from genebert.errors import InputError
from genebert.hints import line_separator
from genebert.lines import is_head, line_blocks, numbered_lines, text_of

NOT_A_NUMBER, NOT_FINITE = -np.inf, np.inf  # stand for a wrong score; NaN is a missing one
MISSING = (".", "")
_MAX_DIGITS = 12
_HEADER = {"start", "chromstart", "chrom_start", "chr_start"}
_BLOCKS = re.compile(r"(?=.*,)\d+(,\d+)*,?")  # sizes or starts of blocks
_EDGES = (b"\t ", b" \t", b" \r", b" \n")  # spaces that pyarrow would strip from numbers


@dataclass(frozen=True)
class Fields:
    """Which fields of a line hold what.

    Attributes
    ----------
    count : number of fields: at least so many, or exactly if ``exact``.
    scores : {name: field}; a field from ``count`` on may be missing.
    summit, cell_type : -1 where there is none.
    place : contig, start, end.
    exact : a table with a header line, split at tabs, rather than BED.
    what : what the lines hold, for error messages.
    """

    count: int
    scores: Mapping[str, int]
    summit: int = -1
    cell_type: int = -1
    place: tuple[int, int, int] = (0, 1, 2)
    exact: bool = False
    what: str = "peak"


@dataclass(frozen=True)
class Columns:
    """The peaks of a file, in its order.

    Attributes
    ----------
    row : int[N], line numbers.
    contig : int32[N], index into the contigs of the genome; -1 - i is ``unknown[i]``.
    start, end : int[N].
    offset : int[N], of the summit from the start; -1 if not given.
    cell_type : int[N], index into ``cell_types``; empty where the file names none.
    scores : {name: float64[N]}; NaN where missing, see ``NOT_A_NUMBER`` and ``NOT_FINITE``; only
        the columns that every line has.
    lacking : {name: line number} of scores that some lines have, and not all the same one: the
        first line that has none.
    unknown, cell_types : names, in the order in which they appear.
    headers : number of lines with column names that were skipped.
    """

    row: NDArray[Any]
    contig: NDArray[np.int32]
    start: NDArray[Any]
    end: NDArray[Any]
    offset: NDArray[Any]
    cell_type: NDArray[Any]
    scores: Mapping[str, NDArray[np.float64]]
    lacking: Mapping[str, int] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    cell_types: Sequence[str] = ()
    headers: int = 0

    def __len__(self) -> int:
        """Return the number of peaks."""
        return len(self.row)

    def take(self, index: NDArray[np.int64]) -> Columns:
        """Return some of the peaks."""
        return replace(
            self,
            row=self.row[index],
            contig=self.contig[index],
            start=self.start[index],
            end=self.end[index],
            offset=self.offset[index],
            cell_type=self.cell_type[index] if len(self.cell_type) else self.cell_type,
            scores={name: values[index] for name, values in self.scores.items()},
        )


def split_line(line: str) -> list[str]:
    """Return the fields of a BED-like line: split at tabs, or at spaces if it has no tab."""
    return line.split("\t") if "\t" in line else line.split()


def text_at(path: str | Path, row: int, place: int) -> str:
    """Return one field of one line of a file, for an error message."""
    line = next(line for number, line in numbered_lines(path) if number == row)
    return split_line(line.decode())[place]


def refuse_blocks(fields: Sequence[str], path: str | Path, row: int) -> None:
    """Raise :class:`InputError` if a line has the blocks of BED12 and gappedPeak.

    Their column 10 is the number of blocks and column 7 a position; in a narrowPeak these are the
    summit and the signal.
    """
    if len(fields) >= 12 and all(map(_BLOCKS.fullmatch, fields[10:12])):
        raise InputError(
            "is BED12 or gappedPeak",
            file=path,
            row=row,
            found=" ".join(fields[9:12]),
            expected="narrowPeak, whose column 10 is the summit",
        )


def _interval(fields: Sequence[str], what: str, path: str | Path, row: int) -> tuple[int, int]:
    """Return start and end, given as text."""
    for name, value in zip(("start", "end"), fields, strict=True):
        if not (value.isascii() and value.isdecimal()):
            problem = "is negative" if re.fullmatch(r"-\d+", value) else "is not an integer"
            raise InputError(f"{name} {problem}", file=path, row=row, found=value)
        if len(value) > _MAX_DIGITS:
            raise InputError(f"{name} is not a position", file=path, row=row, found=value)
    start, end = int(fields[0]), int(fields[1])
    if start >= end:
        raise InputError(
            f"{what} is empty", file=path, row=row, found=f"{start}-{end}", expected="start < end"
        )
    return start, end


def _summit(text: str, path: str | Path, row: int) -> int:
    """Return the offset of a summit, given as text."""
    try:
        return max(min(int(text), 10**_MAX_DIGITS), -(10**_MAX_DIGITS))
    except ValueError:
        raise InputError("summit is not an integer", file=path, row=row, found=text) from None


def _score(text: str) -> float:
    """Return a score, or what stands for a missing or wrong one."""
    if text in MISSING:
        return np.nan
    try:
        value = float(text)
    except ValueError:
        return NOT_A_NUMBER
    return value if np.isfinite(value) else NOT_FINITE


def _small(values: NDArray[np.int64]) -> NDArray[Any]:
    """Return int32 where all values fit."""
    fits = not len(values) or np.abs(values).max() < 2**31
    return values.astype(np.int32) if fits else values


@dataclass
class _Part:
    """The peaks of one block: lists while lines are read, then arrays."""

    row: Any = field(default_factory=list)
    contig: Any = field(default_factory=list)
    start: Any = field(default_factory=list)
    end: Any = field(default_factory=list)
    offset: Any = field(default_factory=list)
    cell_type: Any = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)


class _Reader:
    """Reads one file; the parts of its blocks lie in ``parts``."""

    def __init__(
        self,
        path: str | Path,
        fields: Fields,
        contigs: Mapping[str, int],
        check_cell_type: Callable[[str, int | None], None],
    ) -> None:
        self.path, self.fields, self.check_cell_type = path, fields, check_cell_type
        self.contigs = {name: i for i, name in enumerate(contigs)}
        self.unknown: dict[str, int] = {}
        self.cells: dict[str, int] = {}
        self.lacking: dict[str, int] = {}  # scores that some line does not have: the first one
        self.given: dict[str, tuple[float, float]] = {}  # their lowest and highest where there
        self.headers = self.count = 0
        self.parts: list[_Part] = []

    def contig_code(self, name: str) -> int:
        code = self.contigs.get(name)
        return -1 - self.unknown.setdefault(name, len(self.unknown)) if code is None else code

    def cell_code(self, name: str, row: int | None) -> int:
        if name not in self.cells:
            self.check_cell_type(name, row)
            self.cells[name] = len(self.cells)
        return self.cells[name]

    def add(self, part: _Part) -> None:
        """Keep the arrays of one block."""
        for name in ("row", "start", "end", "offset"):
            setattr(part, name, _small(np.asarray(getattr(part, name), dtype=np.int64)))
        part.contig = np.asarray(part.contig, dtype=np.int32)
        part.cell_type = np.asarray(part.cell_type, dtype=np.int32)
        part.scores = {k: np.asarray(v, dtype=np.float64) for k, v in part.scores.items()}
        for name, values in part.scores.items():
            present = values[~np.isnan(values)]
            if len(present):
                low, high = self.given.get(name, (present[0], present[0]))
                self.given[name] = min(low, present.min()), max(high, present.max())
        for name in self.lacking:
            part.scores.pop(name, None)
        self.count += len(part.row)
        self.parts.append(part)

    def data_lines(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, fields) of the lines that hold a peak."""
        wanted, path = self.fields.count, self.path
        first = not self.count
        for row, raw in lines:
            line = text_of(raw.rstrip(b"\r"), path, row)
            if self.fields.exact:
                if row == 1 or not line:
                    continue
                fields = line.split("\t")
                if len(fields) != wanted:
                    raise InputError(
                        "wrong number of fields",
                        file=path,
                        row=row,
                        found=len(fields),
                        expected=wanted,
                    )
                yield row, fields
                continue
            if is_head(line):
                continue
            fields = split_line(line)
            if len(fields) < wanted:
                raise InputError(
                    "too few columns" + (line_separator(line) if len(fields) == 1 else ""),
                    file=path,
                    row=row,
                    found=len(fields),
                    expected=wanted,
                )
            if first and fields[1].lower() in _HEADER:
                if {"length", "fold_enrichment"} <= {field.strip().lower() for field in fields}:
                    raise InputError(
                        "is the table of MACS, whose starts count from 1",
                        file=path,
                        row=row,
                        found=" ".join(fields),
                        expected="the .narrowPeak or .broadPeak file that MACS writes beside it",
                    )
                self.headers += 1
                continue
            first = False
            yield row, fields

    def slowly(self, number: int, block: bytes) -> None:
        """Read a block line by line; whatever is wrong is raised here."""
        at, part = self.fields, _Part()
        part.scores = {name: [] for name in at.scores}
        for row, fields in self.data_lines(enumerate(block.split(b"\n"), start=number)):
            if at.summit >= 0:
                refuse_blocks(fields, self.path, row)
            if at.cell_type >= 0:
                part.cell_type.append(self.cell_code(fields[at.cell_type], row))
            part.offset.append(-1 if at.summit < 0 else _summit(fields[at.summit], self.path, row))
            start, end = _interval([fields[i] for i in at.place[1:]], at.what, self.path, row)
            part.row.append(row)
            part.contig.append(self.contig_code(fields[at.place[0]]))
            part.start.append(start)
            part.end.append(end)
            for name, place in at.scores.items():
                if place < len(fields):
                    part.scores[name].append(_score(fields[place]))
                else:
                    self.lacking.setdefault(name, row)
        self.add(part)

    def parsed(self, block: bytes) -> dict[int, Any] | None:
        """Return the Arrow arrays of the fields of a block, or None if it is not plain."""
        at, ends = self.fields, block.count(b"\n")
        width = block[: block.find(b"\n")].count(b"\t") + 1
        if (
            not block.isascii()
            or b"\0" in block
            or block.count(b"\r") != block.count(b"\r\n")
            or any(edge in block for edge in _EDGES)
            or width < at.count
            or (at.exact and width != at.count)
        ):
            return None
        text, integer = pa.dictionary(pa.int32(), pa.string()), pa.int64()
        types = {at.place[0]: text, at.place[1]: integer, at.place[2]: integer}
        types |= {at.cell_type: text} if at.cell_type >= 0 else {}
        types |= {at.summit: integer} if at.summit >= 0 else {}
        scores = [place for place in at.scores.values() if place < width]
        types |= dict.fromkeys(scores, pa.float64())
        try:
            table = csv.read_csv(
                pa.BufferReader(block),
                csv.ReadOptions(
                    use_threads=False,
                    block_size=len(block) + 1,
                    column_names=[str(i) for i in range(width)],
                ),
                csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False),
                csv.ConvertOptions(
                    column_types={str(i): type_ for i, type_ in types.items()},
                    include_columns=[str(i) for i in types],
                    null_values=list(MISSING),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != ends + (not block.endswith(b"\n")):
            return None  # blank lines
        arrays = {i: table[str(i)].combine_chunks() for i in types}
        return None if any(arrays[i].null_count for i in types if i not in scores) else arrays

    def quickly(self, number: int, block: bytes) -> bool:
        """Read a block of plain lines by pyarrow; False, and nothing done, if it is not plain."""
        at = self.fields
        column = self.parsed(block)
        if column is None:
            return False
        start, end = (column[i].to_numpy() for i in at.place[1:])
        if not ((start >= 0) & (start < end) & (end < 10**_MAX_DIGITS)).all():
            return False
        contigs = column[at.place[0]].dictionary.to_pylist()
        if not at.exact and any(is_head(name) for name in contigs):
            return False
        part = _Part(number + np.arange(len(start)), start=start, end=end)
        if at.cell_type >= 0:
            cells = column[at.cell_type]
            try:
                codes = [self.cell_code(name, None) for name in cells.dictionary.to_pylist()]
            except InputError:
                return False  # raised again, with the line number
            part.cell_type = np.array(codes, dtype=np.int32)[cells.indices.to_numpy()]
        codes = [self.contig_code(name) for name in contigs]
        part.contig = np.array(codes, dtype=np.int32)[column[at.place[0]].indices.to_numpy()]
        part.offset = column[at.summit].to_numpy() if at.summit >= 0 else np.full(len(start), -1)
        for name, place in at.scores.items():
            if place not in column:
                self.lacking.setdefault(name, number)
                continue
            values = column[place].to_numpy(zero_copy_only=False)
            given = column[place].is_valid().to_numpy(zero_copy_only=False)
            part.scores[name] = np.where(given & ~np.isfinite(values), NOT_FINITE, values)
        self.add(part)
        return True

    def columns(self) -> Columns:
        """Return the parts put together; they are given up one column at a time."""

        def join(name: str) -> NDArray[Any]:
            arrays = [part.__dict__.pop(name) for part in self.parts]
            return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int32)

        scores = {
            name: np.concatenate([part.scores.pop(name) for part in self.parts])
            for name in self.fields.scores
            if self.parts and name not in self.lacking
        }
        return Columns(
            row=join("row"),
            contig=join("contig"),
            start=join("start"),
            end=join("end"),
            offset=join("offset"),
            cell_type=join("cell_type"),
            scores=scores,
            lacking={
                name: row
                for name, row in self.lacking.items()
                if name in self.given and self.given[name][0] < self.given[name][1]
            },
            unknown=list(self.unknown),
            cell_types=list(self.cells),
            headers=self.headers,
        )


def read_columns(
    path: str | Path,
    fields: Fields,
    contigs: Mapping[str, int],
    check_cell_type: Callable[[str, int | None], None] = lambda name, row: None,
) -> Columns:
    """Read the peaks of a file.

    Parameters
    ----------
    path : BED-like lines, or a table with a header line if ``fields.exact``.
    contigs : {contig: length}; other names are kept in ``unknown``.
    check_cell_type : called once with every name in the column of cell types, in their order, and
        the line number where it is known; raises :class:`InputError` for one that cannot be used.

    Raises
    ------
    InputError
        If the file cannot be read or a line is wrong; the first wrong line is named.
    """
    reader = _Reader(path, fields, contigs, check_cell_type)
    for number, block in line_blocks(path):
        if not (reader.count and reader.quickly(number, block)):
            reader.slowly(number, block)
    return reader.columns()
