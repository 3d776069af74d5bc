"""Read and write the tab-separated tables of the workflow, with one-line errors.

Tables have a header line. Required columns are checked, extra ones are kept as metadata.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TextIO

from genebert.errors import InputError, closest
from genebert.hints import file_kind, separator, similar_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def _plain(label: str) -> str:
    """Return a label with the letters of :data:`NAME` only; empty if none is left."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", label.replace("+", "pos"))
    return name.lstrip("_.-").rstrip("_")  # a last '-' has a meaning (CD4-)


def such_as(label: str) -> str:
    """Return ``", such as 'CD8pos_T'"`` for the label ``CD8+ T``, or an empty string."""
    name = _plain(label)
    return f", such as {name!r}" if name else ""


def check_name(value: str, *, file: str, row: int | None = None, what: str = "name") -> str:
    """Return ``value`` if it can be part of a path, else raise :class:`InputError`."""
    if not NAME.match(value):
        raise InputError(
            f"{what} cannot be used in a file name",
            file=file,
            row=row,
            found=value,
            expected="letters, digits, '.', '_' and '-', first a letter or digit" + such_as(value),
        )
    return value


def safe_name(label: str, *, file: str) -> str:
    """Return a name for file names, made from a provider's own: ``CD8+ T`` is ``CD8pos_T``.

    Raises
    ------
    InputError
        If no letter or digit is left.
    """
    name = _plain(label)
    if not NAME.match(name):
        raise InputError("no name can be made of this label", file=file, found=label)
    return name


def check_resource(value: str, *, file: str, row: int | None = None) -> None:
    """Raise :class:`InputError` unless ``value`` is ``resource:NAME`` or ``resource:LISTING/NAME``.

    Parameters
    ----------
    value : the source, with its prefix.
    """
    parts = value.removeprefix("resource:").split("/")
    if len(parts) > 2 or not all(NAME.match(part) for part in parts):
        raise InputError(
            "is not the name of a download",
            file=file,
            row=row,
            found=value,
            expected="resource:NAME, or resource:LISTING/NAME",
        )


def declare_library(folder: Path) -> None:
    """Have all jobs import the library of this workflow, whatever else their interpreter finds."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = [other for other in others if other and other != str(folder)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *kept])


def declare_home(repository: str | Path) -> None:
    """Let paths start with ``$GENEBERT_HOME``, the folder of the repository."""
    os.environ["GENEBERT_HOME"] = str(repository)


def expand_path(value: str, *, file: str, row: int | None = None) -> str:
    """Return a path as Snakemake wants it: ``$VAR``, ``${VAR}`` and ``~`` replaced, no idle slash.

    ``./dl`` and ``dl/`` are ``dl``; ``..`` stays, since it may follow a link. What is no path
    (``resource:NAME``, a URL, nothing at all) keeps its slashes.

    Raises
    ------
    InputError
        If a variable is not set, or a brace is left, which Snakemake would take for a wildcard.
    """
    try:
        path = Template(value).substitute(os.environ)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"environment variable {error} is not set", file=file, row=row, found=value
        ) from None
    if "{" in path or "}" in path:
        raise InputError("a path cannot have braces", file=file, row=row, found=path)
    if not path or re.match("[A-Za-z]+:", path):
        return path
    return str(Path(os.path.expanduser(path)))


def check_header(header: Sequence[str], file: str | Path, row: int = 1) -> None:
    """Raise :class:`InputError` if two columns have one name; those without a name do not count."""
    for column in header:
        if column and header.count(column) > 1:
            raise InputError(
                f"column {column!r} stands twice", file=file, row=row, found="\t".join(header)
            )


def _meant(column: str, header: Sequence[str], required: Sequence[str]) -> str:
    """Return a hint at the column that was probably meant to be ``column``."""
    others = [name for name in header if name not in required]
    close = closest(column, others)
    return f"; rename {close!r}" if close else ""


def read_rows(
    path: str | Path,
    required: Sequence[str],
    *,
    names: Sequence[str] = (),
    paths: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Read a TSV into a list of dicts of strings (standard library only, safe while planning).

    Parameters
    ----------
    path : the table.
    required : columns that must be there; further ones are kept.
    names : columns whose values must be usable in file names.
    paths : columns with paths: variables are expanded, relative paths are taken from the
        directory of the table; ``resource:NAME`` and ``resource:LISTING/NAME`` stay as they are.

    Raises
    ------
    InputError
        If the file is missing or empty, a column is missing or stands twice, a row has another
        number of fields, or an empty line stands between rows, after which the place of a row no
        longer told its line.
    """
    path = Path(path)
    try:
        with path.open("rb") as head:
            kind = file_kind(head.read(16))
        if kind:
            raise InputError(
                f"is not a text file in UTF-8 but {kind[0]}", file=path, expected=kind[1]
            )
        with path.open(newline="", encoding="utf-8-sig") as handle:  # with or without its mark
            lines = split_lines(handle, path)
    except FileNotFoundError:
        hint = similar_file(path)
        if not hint and not path.is_absolute():
            hint = f"; relative paths are seen from {os.getcwd()!r}"
        raise InputError(f"no such table{hint}", file=path) from None
    except IsADirectoryError:
        raise InputError("is a folder", file=path, expected="a table") from None
    except UnicodeDecodeError:
        raise InputError("is not a text file in UTF-8", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError("is empty", file=path, expected=f"columns {', '.join(required)}")
    header = [column.lstrip("#") for column in lines[0]]
    check_header(header, path)
    for column in required:
        if column not in header:
            raise InputError(
                f"column {column!r} is missing"
                + (separator("\t".join(header), required) or _meant(column, header, required)),
                file=path,
                row=1,
                found="\t".join(header),
            )
    rows = []
    for number, fields in enumerate(lines[1:], start=2):
        if not fields:
            raise InputError("line is empty", file=path, row=number, expected="rows without gaps")
        if len(fields) != len(header):
            raise InputError(
                "wrong number of fields",
                file=path,
                row=number,
                found=len(fields),
                expected=len(header),
            )
        row = dict(zip(header, fields, strict=True))
        for column in names:
            check_name(row[column], file=str(path), row=number, what=column)
        for column in paths:
            if not row.get(column):
                raise InputError(f"{column} is empty", file=path, row=number)
            if row[column].startswith("resource:"):
                check_resource(row[column], file=str(path), row=number)
                continue
            value = expand_path(row[column], file=str(path), row=number)
            row[column] = value if os.path.isabs(value) else str(path.parent / value)
        rows.append(row)
    if not rows:
        raise InputError("has no rows", file=path)
    return rows


def split_lines(handle: TextIO, path: Path) -> list[list[str]]:
    """Return the fields of every line of a TSV, which may be quoted as spreadsheets do.

    Raises
    ------
    InputError
        If a quotation mark is not closed in its line: it would swallow the lines that follow.
    """
    lines: list[list[str]] = []
    problem = ""
    try:
        for fields in csv.reader(handle, delimiter="\t", strict=True):
            if any("\n" in field or "\r" in field for field in fields):
                problem = "a field goes over several lines"
                break
            lines.append(fields)
    except csv.Error as error:
        problem = str(error)
    if problem:
        raise InputError(
            f"cannot be split into fields ({problem})",
            file=path,
            row=len(lines) + 1,
            expected="fields without quotation marks, or each within two of them",
        )
    return lines


def check_unique(
    rows: Sequence[Mapping[str, str]], columns: Sequence[str], file: str | Path
) -> None:
    """Raise :class:`InputError` if two rows agree in all of ``columns``."""
    merge = ""
    if rows and "peaks" in rows[0] and "peaks" not in columns:
        merge = "; merge the peaks of replicates into one file"
    seen: dict[tuple[str, ...], int] = {}
    for number, row in enumerate(rows, start=2):
        key = tuple(row[column] for column in columns)
        if key in seen:
            raise InputError(
                f"row repeats line {seen[key]}",
                file=file,
                row=number,
                found=" ".join(key),
                expected=f"one row for each {' and '.join(columns)}{merge}",
            )
        seen[key] = number
