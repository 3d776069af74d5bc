"""Read text files line by line, plain or gzipped, with one-line errors.

Comes in: the path of any text file (BED, FASTA, GTF, TSV), recognised as gzip by its first bytes.
Goes out: numbered lines. Nothing is unpacked to disk and nothing is read as a whole.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from genebert.errors import InputError


def numbered_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line without its line end) of a plain or gzipped file.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or is a truncated or corrupt gzip file.
    """
    number = 0
    try:
        with open(path, "rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            with gzip.GzipFile(fileobj=plain) if zipped else plain as handle:
                for number, line in enumerate(handle, start=1):
                    yield number, line.rstrip(b"\r\n")
    except FileNotFoundError:
        raise InputError("no such file", file=path) from None
    except EOFError:
        raise InputError("gzip file is truncated", file=path, row=number + 1) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"gzip file is corrupt ({error})", file=path, row=number + 1) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def text_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (1-based line number, line) of a plain or gzipped file in UTF-8.

    Raises
    ------
    InputError
        As :func:`numbered_lines`, and if the file is not text.
    """
    for number, line in numbered_lines(path):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            raise InputError("is not a text file in UTF-8", file=path, row=number) from None
        if "\0" in text:
            raise InputError("is not a text file (NUL byte)", file=path, row=number)
        yield number, text
