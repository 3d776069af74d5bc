"""Read and write position frequency matrices.

In: MEME text (version 4 and later), JASPAR (``jaspar`` with letters or raw ``pfm``), HOCOMOCO
``pcm`` (one line a position), or ``jaspar:RELEASE[:TAX_GROUP]``, which pyjaspar answers from the
sqlite files that it ships, without a network. Out: a list of :class:`Motif`, or MEME text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError, nearest
from genebert.lines import text_lines

FORMATS = ("meme", "jaspar", "hocomoco", "pyjaspar")
_MAX_WIDTH = 100
_BANNER = 50  # lines within which `MEME version` stands
_SUM_TOLERANCE = 0.01  # files round to 2-6 digits
_BASES = "ACGT"


@dataclass(frozen=True, eq=False)
class Motif:
    """One motif as the probability of each base at each position.

    Attributes
    ----------
    name : identifier, unique in a motif set, without white space.
    source : the file, or the ``jaspar:`` query, that it was read from.
    probabilities : float64[4, width], rows A, C, G, T; each column sums to 1.
    sites : number of sites behind the matrix; 0 where the source does not tell.
    alternate : a second name (the factor, where the identifier is an accession), or "".
    """

    name: str
    source: str
    probabilities: NDArray[np.float64]
    sites: float = 0.0
    alternate: str = ""

    @property
    def width(self) -> int:
        """Number of positions."""
        return self.probabilities.shape[1]


def read_motifs(path: str | Path, format: str) -> list[Motif]:
    """Read all motifs of a file.

    Parameters
    ----------
    path : the file, or ``jaspar:RELEASE[:TAX_GROUP]``, e.g. ``jaspar:2024:vertebrates``.
    format : ``meme``, ``jaspar`` (also raw pfm), ``hocomoco`` (pcm, or its MEME file) or
        ``pyjaspar`` (a ``jaspar:`` query).

    Raises
    ------
    InputError
        If the file is of another format, truncated, without motifs, or names a motif twice.
    """
    if format not in FORMATS:
        raise InputError(
            f"unknown motif format{nearest(format, FORMATS)}",
            file=path,
            found=format,
            expected=f"one of {', '.join(FORMATS)}",
        )
    if format == "pyjaspar" or str(path).startswith("jaspar:"):
        return read_jaspar_release(str(path))
    readers = {"meme": _read_meme, "jaspar": _read_jaspar, "hocomoco": _read_hocomoco}
    lines = _Lines(path)
    motifs = list(readers[format](lines))
    if not motifs:
        raise InputError("has no motifs", file=path, expected=f"format {format}")
    return motifs


def write_meme(
    path: str | Path, motifs: Sequence[Motif], background: Sequence[float] = (0.25,) * 4
) -> None:
    """Write motifs as MEME text; reading it gives the same float64 probabilities."""
    frequencies = " ".join(f"{b} {float(f)!r}" for b, f in zip(_BASES, background, strict=True))
    with open(path, "w", encoding="utf-8") as out:
        out.write("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n")
        out.write(f"Background letter frequencies\n{frequencies}\n")
        for motif in motifs:
            out.write(f"\nMOTIF {motif.name} {motif.alternate}".rstrip() + "\n")
            sites = f" nsites= {motif.sites:g}" if motif.sites else ""
            out.write(f"letter-probability matrix: alength= 4 w= {motif.width}{sites}\n")
            for row in motif.probabilities.T:
                out.write(" ".join(repr(float(value)) for value in row) + "\n")


def read_jaspar_release(query: str) -> list[Motif]:
    """Read the CORE collection of a JASPAR release from the files that pyjaspar ships.

    Parameters
    ----------
    query : ``jaspar:RELEASE[:TAX_GROUP]``; RELEASE is a year or ``JASPAR2024``; TAX_GROUP is
        ``vertebrates``, ``plants``, ... (default: all).
    """
    from pyjaspar import jaspar_releases, jaspardb

    match = re.fullmatch(r"jaspar:(?:JASPAR)?(\d{4})(?::([A-Za-z]+))?", query)
    if match is None:
        raise InputError(
            "not a JASPAR query",
            file=query,
            expected="jaspar:RELEASE[:TAX_GROUP], e.g. jaspar:2024:vertebrates",
        )
    release = f"JASPAR{match[1]}"
    if release not in jaspar_releases:
        years = ", ".join(sorted(key.removeprefix("JASPAR") for key in jaspar_releases))
        raise InputError("no such JASPAR release", file=query, found=match[1], expected=years)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "zero motifs returned" is told below
        found = jaspardb(release=release).fetch_motifs(
            collection="CORE", tax_group=match[2].lower() if match[2] else None
        )
    motifs = []
    for record in found:
        counts = np.array([record.counts[base] for base in _BASES], dtype=np.float64)
        name = "_".join(str(record.name).split())
        motifs.append(_from_counts(record.matrix_id, query, counts, name, file=query, row=None))
    if not motifs:
        raise InputError(
            "has no motifs of this group",
            file=query,
            found=match[2],
            expected="vertebrates, plants, insects, nematodes, fungi or urochordates",
        )
    return sorted(motifs, key=lambda motif: motif.name)


class _Lines:
    """The stripped lines of a text file with their numbers, and a place to report errors at."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.lines = [line.strip() for _, line in text_lines(path)]
        self.at = 0  # index of the next line
        self.names: dict[str, int] = {}

    def error(self, message: str, **details: Any) -> InputError:
        """Return an error about the line that was read last."""
        return InputError(message, file=self.path, row=max(self.at, 1), **details)

    def peek(self) -> str | None:
        """Return the next line that is not empty, without reading it; None at the end."""
        while self.at < len(self.lines) and not self.lines[self.at]:
            self.at += 1
        return self.lines[self.at] if self.at < len(self.lines) else None

    def read(self) -> str | None:
        """Return the next line that is not empty; None at the end."""
        line = self.peek()
        self.at += line is not None
        return line

    def new_name(self, name: str) -> str:
        """Return the name of a motif if it is new in this file."""
        if not name:
            raise self.error("motif has no name")
        if name in self.names:
            raise self.error(
                f"motif name repeats line {self.names[name]}", found=name, expected="unique names"
            )
        self.names[name] = self.at
        return name

    def header(self, line: str) -> list[str]:
        """Return the fields of a line ``>NAME ...`` if it is not one of HOMER.

        HOMER writes ``>CONSENSUS``, a name and a threshold, separated by tabs, over rows that look
        like those of HOCOMOCO: the consensus would be the name.
        """
        fields = line[1:].split("\t")
        if len(fields) > 2 and re.fullmatch(r"-?\d+(\.\d*)?(e[+-]?\d+)?", fields[2].strip()):
            raise self.error(
                "is a HOMER motif file",
                found=line[:60],
                expected="MEME, JASPAR, or pcm of HOCOMOCO, where >NAME stands alone",
            )
        return line[1:].split()

    def numbers(self, text: str) -> list[float]:
        """Return the numbers of the line read last: finite and not negative."""
        fields = text.split()
        try:
            values = [float(field) for field in fields]
        except ValueError:
            raise self.error("matrix row is not numeric", found=text[:60]) from None
        if not all(0 <= value < float("inf") for value in values):
            raise self.error("matrix value is negative or not finite", found=text[:60])
        return values

    def has_numbers(self) -> bool:
        """Tell whether the next line begins like a row of numbers."""
        line = self.peek()
        return line is not None and (line[0].isdigit() or line[0] in "+-.")


def _read_meme(lines: _Lines) -> Iterator[Motif]:
    """Yield the motifs of MEME text (https://meme-suite.org/meme/doc/meme-format.html).

    MEME, STREME and DREME write a banner, or comments, before the line with the version.
    """
    head = (i for i, line in enumerate(lines.lines[:_BANNER]) if line.startswith("MEME version"))
    lines.at = next(head, 0)
    first = lines.read()
    version = re.match(r"MEME version (\d+)", first or "")
    if version is None or int(version[1]) < 4:
        raise lines.error(
            "is not a MEME motif file", found=(first or "")[:40], expected="MEME version 4 or later"
        )
    while (line := lines.read()) is not None:
        if line.startswith("ALPHABET") and not re.match(r"ALPHABET[=\s]*(ACGT$|\"?DNA)", line):
            raise lines.error("alphabet is not DNA", found=line, expected="ALPHABET= ACGT")
        if not re.match(r"MOTIF(\s|$)", line):
            continue
        fields = line.partition("width =")[0].split()[1:]  # MEME tells of sites and E-value, too
        name = lines.new_name(fields[0] if fields else "")
        yield _meme_matrix(lines, name, " ".join(fields[1:]))


def _meme_matrix(lines: _Lines, name: str, alternate: str) -> Motif:
    """Read the letter-probability matrix of the motif whose MOTIF line was read last."""
    while (line := lines.peek()) is not None and not line.startswith("letter-probability"):
        if line.startswith("MOTIF"):
            break
        lines.read()
    header = lines.read() if line is not None and line.startswith("letter-probability") else None
    if header is None:
        raise lines.error(f"motif {name} has no letter-probability matrix: the file is truncated")
    keys = dict(re.findall(r"(\w+)\s*=\s*(\S+)", header))
    try:
        length, sites = int(keys.get("alength", 4)), float(keys.get("nsites", 0))
        width = int(keys["w"]) if "w" in keys else None
    except ValueError:
        raise lines.error("matrix header is not numeric", found=header) from None
    if length != 4:
        raise lines.error("alphabet is not DNA", found=f"alength= {length}", expected=4)
    rows = []
    while lines.has_numbers():
        values = lines.numbers(lines.read() or "")
        if len(values) != 4:
            raise lines.error(
                f"matrix row of {name} has another length", found=len(values), expected=4
            )
        if abs(sum(values) - 1) > _SUM_TOLERANCE:
            raise lines.error(
                f"matrix row of {name} does not sum to 1", found=round(sum(values), 6), expected=1
            )
        rows.append(values)
    if width is not None and len(rows) != width:
        what = "is truncated" if len(rows) < width else "is longer than its header says"
        raise lines.error(f"matrix of {name} {what}", found=len(rows), expected=f"{width} rows")
    _check_width(len(rows), name, file=lines.path, row=lines.at)
    return Motif(name, lines.path, _normalised(np.array(rows).T), sites, alternate)


def _read_jaspar(lines: _Lines) -> Iterator[Motif]:
    """Yield motifs of JASPAR: ``>ID NAME`` and four rows, ``A [ 1 2 3 ]`` or only the numbers."""
    while (line := lines.read()) is not None:
        if not line.startswith(">"):
            raise lines.error(
                "is not a JASPAR motif file", found=line[:40], expected="a line >ID NAME"
            )
        fields = lines.header(line)
        name = lines.new_name(fields[0] if fields else "")
        start = lines.at
        rows: list[list[float]] = []
        for base in _BASES:
            text = lines.peek()
            if text is None or text.startswith(">"):
                raise lines.error(
                    f"matrix of {name} is truncated", found=len(rows), expected="4 rows"
                )
            lines.read()
            if text[0].isalpha():
                if text[0].upper() != base:
                    raise lines.error(
                        f"row of {name} is out of order", found=text[0], expected=base
                    )
                text = text[1:].strip()
            rows.append(lines.numbers(text.strip("[]| ")))
            if len(rows[-1]) != len(rows[0]):
                raise lines.error(
                    f"rows of {name} differ in width", found=len(rows[-1]), expected=len(rows[0])
                )
        counts = np.array(rows)
        yield _from_counts(name, lines.path, counts, "_".join(fields[1:]), lines.path, start)


def _read_hocomoco(lines: _Lines) -> Iterator[Motif]:
    """Yield motifs of HOCOMOCO: pcm (``>NAME`` and four counts a position a line), or MEME."""
    if (lines.peek() or "").startswith("MEME"):
        yield from _read_meme(lines)
    while (line := lines.read()) is not None:
        if not line.startswith(">"):
            raise lines.error(
                "is not a HOCOMOCO pcm file", found=line[:40], expected="a line >NAME"
            )
        fields = lines.header(line)
        name = lines.new_name(fields[0] if fields else "")
        start = lines.at
        rows: list[list[float]] = []
        while (text := lines.peek()) is not None and not text.startswith(">"):
            lines.read()
            rows.append(lines.numbers(text))
            if len(rows[-1]) != 4:
                raise lines.error(
                    f"row of {name} has another length", found=len(rows[-1]), expected=4
                )
        counts = np.array(rows).reshape(-1, 4).T
        yield _from_counts(name, lines.path, counts, " ".join(fields[1:]), lines.path, start)


def _from_counts(
    name: str,
    source: str,
    counts: NDArray[np.float64],
    alternate: str,
    file: str,
    row: int | None,
) -> Motif:
    """Return a motif of counts[4, width]."""
    _check_width(counts.shape[1], name, file=file, row=row)
    totals = counts.sum(axis=0)
    if (totals <= 0).any():
        raise InputError(
            f"matrix of {name} has a position without counts",
            file=file,
            row=row,
            found=f"position {int(np.argmax(totals <= 0)) + 1}",
        )
    return Motif(name, source, _normalised(counts), float(totals.max()), alternate)


def _check_width(width: int, name: str, *, file: str, row: int | None) -> None:
    if not 1 <= width <= _MAX_WIDTH:
        raise InputError(
            f"matrix of {name} has an unlikely width",
            file=file,
            row=row,
            found=width,
            expected=f"1 to {_MAX_WIDTH}",
        )


def _normalised(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale columns to sum 1, unless they do within rounding (so that text round-trips)."""
    totals = matrix.sum(axis=0)
    return np.where(np.abs(totals - 1) < 1e-9, matrix, matrix / totals)
