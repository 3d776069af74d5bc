"""Read text files line by line or in blocks of lines, plain or gzipped, with one-line errors.

Comes in: the path of any text file (BED, FASTA, GTF, TSV), recognised as gzip by its first bytes.
Goes out: numbered lines. Nothing is unpacked to disk and nothing is read as a whole. What takes
longer than ten seconds tells the log how far it is.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from genebert.errors import InputError
from genebert.hints import file_kind, similar_file
from genebert.progress import Progress

FIRST_BLOCK = 1 << 16  # bytes: small, for whatever stands at the head of a file
BLOCK = 1 << 24
_HEAD = re.compile(r" *(#|(track|browser)(\s|$))")
# the empty block at the end of a file of bgzip (SAM specification, 4.1.2)
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def is_cut_bgzf(plain: IO[bytes]) -> bool:
    """Whether an open file was written by bgzip and has lost its end.

    Every block is a whole gzip member, so that a cut between two of them breaks no checksum.
    """
    plain.seek(0)
    head = plain.read(14)
    found = head[:2] == b"\x1f\x8b" and head[3:4] == b"\x04" and head[12:] == b"BC"
    if found:
        size = plain.seek(0, os.SEEK_END)
        plain.seek(max(0, size - len(BGZF_END)))
        found = plain.read() != BGZF_END
    plain.seek(0)
    return found


def _unzipped(plain: IO[bytes], path: str | Path, page: bool) -> IO[bytes]:
    """Return the open file, or the text within if its first bytes are those of gzip.

    Parameters
    ----------
    page : the file may be a web page.

    Raises
    ------
    InputError
        If the first bytes, or those within, are those of another well-known format.
    """
    head = plain.read(16)
    plain.seek(0)
    handle: IO[bytes] = plain
    if head[:2] == b"\x1f\x8b":
        handle = gzip.GzipFile(fileobj=plain)  # type: ignore[assignment]
        with contextlib.suppress(EOFError, OSError, zlib.error):  # told later, with the line
            head = handle.read(16)
        plain.seek(0)
        handle = gzip.GzipFile(fileobj=plain)  # type: ignore[assignment]
        if is_cut_bgzf(plain):
            raise InputError(
                "bgzip file is truncated",
                file=path,
                found="no end mark",
                expected="the block that bgzip writes last; compress the file again if it is whole",
            )
    if not page and (kind := file_kind(head)):
        raise InputError(f"is not a text file in UTF-8 but {kind[0]}", file=path, expected=kind[1])
    if head.startswith(codecs.BOM_UTF8):  # of an editor; no part of the first field
        handle.read(len(codecs.BOM_UTF8))
    return handle


def _progress(plain: IO[bytes], path: str | Path) -> Progress:
    """Return what tells how far a file is read, in MB as it lies on disk."""
    size = os.fstat(plain.fileno()).st_size
    return Progress(f"reading {Path(path).name}", size / 1e6, "MB")


def numbered_lines(path: str | Path, page: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line without its line end) of a plain or gzipped file.

    Parameters
    ----------
    page : the file may be a web page; else that is told as a download that went wrong.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or is a truncated or corrupt gzip file.
    """
    number = 0
    try:
        with open(path, "rb") as plain, _unzipped(plain, path, page) as handle:
            told = _progress(plain, path)
            for number, line in enumerate(handle, start=1):
                yield number, line.rstrip(b"\r\n")
                if not number & 0x1FFF:  # asking at every line would be felt
                    told.at(plain.tell() / 1e6)
    except FileNotFoundError:
        raise InputError(f"no such file{similar_file(path)}", file=path) from None
    except EOFError:
        raise InputError("gzip file is truncated", file=path, row=number + 1) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"gzip file is corrupt ({error})", file=path, row=number + 1) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def text_of(line: bytes, path: str | Path, number: int) -> str:
    """Return a line as text.

    Raises
    ------
    InputError
        If it is not text in UTF-8.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise InputError("is not a text file in UTF-8", file=path, row=number) from None
    if "\0" in text:
        raise InputError("is not a text file (NUL byte)", file=path, row=number)
    return text


def text_lines(path: str | Path, page: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (1-based line number, line) of a plain or gzipped file in UTF-8.

    Parameters
    ----------
    page : as for :func:`numbered_lines`.

    Raises
    ------
    InputError
        As :func:`numbered_lines`, and if the file is not text.
    """
    for number, line in numbered_lines(path, page):
        yield number, text_of(line, path, number)


def is_head(line: str) -> bool:
    """Whether a line of a BED is no row: empty, a comment, or a line ``track`` or ``browser``.

    The whole word counts: ``track1`` may be a contig.
    """
    return not line.strip() or _HEAD.match(line) is not None


def line_blocks(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first line, whole lines with their ends) of a plain or gzipped file.

    Raises
    ------
    InputError
        As :func:`numbered_lines`.
    """
    number, left, size = 1, b"", FIRST_BLOCK
    try:
        with open(path, "rb") as plain, _unzipped(plain, path, False) as handle:
            told = _progress(plain, path)
            while piece := handle.read(size):
                told.at(plain.tell() / 1e6)
                cut = piece.rfind(b"\n") + 1
                if cut:
                    block = left + piece[:cut]
                    yield number, block
                    number += block.count(b"\n")
                    left = b""
                left += piece[cut:]
                size = BLOCK
    except (EOFError, OSError, zlib.error):
        for _ in numbered_lines(path):  # once more, for the error that names the line
            pass
        raise
    if left:
        yield number, left
