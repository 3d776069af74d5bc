"""What to type instead: guesses behind the errors that people make with files and names.

In: a wrong path, header line, contig name or the first bytes of a file. Out: the end of an error
message that begins with ``"; "``, or an empty string where there is no guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from genebert.errors import nearest

MITOCHONDRIA = ("M", "MT", "chrM", "chrMT")  # which of two names it has tells nothing of the others
# First bytes of files that are often taken for text, and what makes text of them
_KINDS = (
    (b"PK\x03\x04", "a zip file or an Excel sheet", "unzip it, or save it as tab-separated text"),
    (b"BZh", "a bzip2 file", "bunzip2, then gzip"),
    (b"\xfd7zXZ\x00", "an xz file", "unxz, then gzip"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unzstd, then gzip"),
    (b"\xeb\xf2\x89\x87", "a bigBed file", "bigBedToBed IN OUT"),
    (b"\x87\x89\xf2\xeb", "a bigBed file", "bigBedToBed IN OUT"),
    (b"\x26\xfc\x8f\x88", "a bigWig file, which holds no peaks", "its peak calls"),
    (b"\x88\x8f\xfc\x26", "a bigWig file, which holds no peaks", "its peak calls"),
    (b"\x43\x27\x41\x1a", "a 2bit file", "twoBitToFa IN OUT"),
    (b"\x1a\x41\x27\x43", "a 2bit file", "twoBitToFa IN OUT"),
    (b"\x89HDF", "an HDF5 file", "text"),
    (b"PAR1", "a parquet file", "text"),
    (b"BAM\x01", "a BAM file, which holds reads", "peaks called from it (MACS writes narrowPeak)"),
    (b"CRAM", "a CRAM file, which holds reads", "peaks called from it (MACS writes narrowPeak)"),
    (b"\xff\xfe", "one in UTF-16 (Excel's 'Unicode text')", "text in UTF-8"),
    (b"<!DOCTYPE html", "a web page: a download went wrong", "the file itself"),
    (b"<html", "a web page: a download went wrong", "the file itself"),
)  # fmt: skip


def file_kind(head: bytes) -> tuple[str, str] | None:
    """Return (what it is, what is expected) for the first bytes of a file that is not plain text.

    Parameters
    ----------
    head : the first 16 bytes, of what is inside where the file is gzipped.
    """
    for magic, what, instead in _KINDS:
        if head[: len(magic)].lower() == magic.lower():
            return what, f"text, plain or gzipped: {instead}"
    return None


def line_separator(line: str) -> str:
    """Return a hint if a line of one field looks as if it had several."""
    for character, name in ((",", "commas"), (";", "semicolons")):
        if line.count(character) > 1:
            return f"; fields must be separated by tabs, not by {name}"
    return ""


def separator(header: str, columns: Iterable[str]) -> str:
    """Return a hint if the columns of a table are separated by something else than tabs."""
    if "\t" in header:
        return ""
    for character, name in ((",", "commas"), (";", "semicolons"), (" ", "spaces")):
        if character in header and any(column in header for column in columns):
            return f"; columns must be separated by tabs, not by {name}"
    return ""


def similar_file(path: str | PathLike[str]) -> str:
    """Return a hint for a path that does not exist: a file of nearly that name, or the folder."""
    path = Path(path)
    folder = path.parent
    try:
        if not folder.is_dir():
            return f"; there is no folder {str(folder)!r} either (seen from {str(Path.cwd())!r})"
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return ""
    plain = path.name.removesuffix(".gz")
    for name in (plain, f"{plain}.gz", f"{plain}.bgz"):
        if name in names and name != path.name:
            return f"; did you mean {str(folder / name)!r}?"
    close = nearest(path.name, names)
    return close if not close or str(folder) == "." else f"{close} (in {str(folder)!r})"


def contig_twin(contig: str, known: Iterable[str]) -> str:
    """Return the known contig that differs by ``chr`` or case only, or an empty string."""
    names = set(known)
    bare = contig[3:] if contig.lower().startswith("chr") else contig
    mitochondria = MITOCHONDRIA if contig in MITOCHONDRIA else ()
    for twin in (f"chr{contig}", contig.removeprefix("chr"), f"chr{bare}", bare, *mitochondria):
        if twin in names and twin != contig:
            return twin
    return ""


def is_misnamed(contig: str, known: Iterable[str]) -> bool:
    """Tell whether a file's contig is one of the genome's under another name.

    Not so for mitochondria: a genome may call another sequence so (hg19's chrM).
    """
    return contig_twin(contig, known) not in ("", *MITOCHONDRIA)


def _end(contig: str) -> str:
    """Return what tells a chromosome from the others: ``1`` of chr01, ``2R`` of chr2R, ``M``."""
    match = re.search(r"0*(\d+[a-z]*|[a-z]|)$", contig.casefold())
    return match[1] if match else ""


def contig_hint(contig: str, known: Iterable[str], key: str = "") -> str:
    """Return ``"; did you mean 'chr1'?"`` for a contig that others name with or without ``chr``.

    Another chromosome of a similar name is no help.

    Parameters
    ----------
    key : how to put ``chr`` before the names of the file, if there is a simple way.
    """
    names = list(known)
    twin = contig_twin(contig, names)
    if not twin:
        return nearest(contig, (name for name in names if _end(name) == _end(contig)))
    return f"; did you mean {twin!r}?" + (f" ({key})" if key and twin.endswith(contig) else "")


def prefix_hint(
    contig: str, known: Iterable[str], path: str | PathLike[str] | None = None, *, column: int = 0
) -> str:
    """Return how to rename the contigs of a whole text file whose names differ by ``chr``.

    Parameters
    ----------
    path : the file, which may be gzipped: then its text is sent through the command.
    column : 0 for BED and GTF, whose lines begin with the contig; else the column of a
        tab-separated table with a header, from 1.
    """
    twin = contig_twin(contig, known)
    add, cut, how = """awk '!/^(#|track|browser|$)/ {$0 = "chr" $0} 1'""", "sed 's/^chr//'", ""
    if column:
        rows = r"""awk 'BEGIN{FS=OFS="\t"} NR>1"""
        add = f"""{rows}{{${column}="chr"${column}}} 1'"""
        cut = f"""{rows}{{sub(/^chr/, "", ${column})}} 1'"""
    if twin == f"chr{contig}":
        how = f" (the genome has 'chr' before its names: {_command(add, path)} adds it)"
    elif twin and contig == f"chr{twin}":
        how = f" (the genome has no 'chr' before its names: {_command(cut, path)} takes it away)"
    return _twin_hint(twin, how)


def made_table_hint(contig: str, known: Iterable[str]) -> str:
    """Return as :func:`prefix_hint` where contigs differ in a table that the run itself made."""
    how = (
        " (the run makes this table: rename the contigs in atlas.cell_types, in the var_names of"
        " an .h5ad; of a matrix in atlas.peaks)"
    )
    return _twin_hint(contig_twin(contig, known), how)


def _twin_hint(twin: str, how: str) -> str:
    return f"; did you mean {twin!r}?{how}" if twin else "; other assembly?"


def _command(program: str, path: str | PathLike[str] | None) -> str:
    """Return the command that sends a file, which may be gzipped, through a program."""
    try:
        with open(path or "", "rb") as handle:
            zipped = handle.read(2) == b"\x1f\x8b"
    except OSError:
        zipped = False
    return f"gunzip -c IN | {program} > OUT" if zipped else f"{program} IN > OUT"
