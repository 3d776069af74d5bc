"""Files that are whole or not there, and what a full disk says, in one line.

Comes in: an error of any library that writes files, and the path that was being written. Goes out:
an :class:`InputError` that names the path, what is free and what is needed, or None where the
error is another one. HDF5, Arrow, torch and htslib do not always pass the error number on, so their
texts are read too.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from genebert.errors import InputError

FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this disk or this shell (ulimit -f) allows",
}
NOTHING = 1 << 20  # bytes: with less than this a disk counts as full
_TEXTS = {os.strerror(number): number for number in FULL}
_NUMBER = re.compile(r"\berrno\s*[=:]?\s*(\d+)", re.IGNORECASE)


class DiskFullError(InputError):
    """A full disk: unlike other bad input it may be gone at the next try."""


def _number(error: BaseException) -> int | None:
    """Return the number of a full disk that an error, or one of its causes, carries."""
    seen: BaseException | None = error
    while seen is not None:
        number = getattr(seen, "errno", None)
        if number in FULL:
            return int(number)
        text = str(seen)
        for found in _NUMBER.findall(text):
            if int(found) in FULL:
                return int(found)
        for words, number in _TEXTS.items():
            if words in text:
                return number
        seen = seen.__cause__ or seen.__context__
    return None


def sha256(path: str | Path) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def free_bytes(path: str | Path) -> int:
    """Return the bytes free for this user where ``path`` lies or will lie."""
    folder = Path(path).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def size_text(size: float) -> str:
    """Return bytes as a short text (kB, MB, GB of 1000)."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.{int(unit != 'bytes')}f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def disk_full(
    error: BaseException, path: str | Path, needed: int | None = None
) -> DiskFullError | None:
    """Return the one line of a full disk, or None where ``error`` is something else.

    Parameters
    ----------
    error : what was raised; its causes are looked at too.
    path : the file that was written. The folder of temporary files is named instead if that one
        is full.
    needed : bytes that are missing, where that is known.
    """
    number, free = _number(error), free_bytes(path)
    temporary = os.environ.get("TMPDIR", "/tmp")
    if free >= NOTHING > free_bytes(temporary):
        path, free = temporary, free_bytes(temporary)
    if number is None:
        # torch and htslib say no more than that a write failed; then the disk itself is asked
        if free >= NOTHING or not isinstance(error, OSError | RuntimeError):
            return None
        number = errno.ENOSPC
    return DiskFullError(
        f"cannot be written, {FULL[number]}",
        file=path,
        found=f"{size_text(free)} free",
        expected="room for the file" if needed is None else f"{size_text(needed)} more",
    )


def sync(path: str | Path) -> None:
    """Let the disk tell of what it could not write, before a file gets its name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; sync it and give it its name, or delete it.

    Raises
    ------
    InputError
        If the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    try:
        yield part
        sync(part)
        os.replace(part, path)
    except InputError:
        raise
    except Exception as error:
        if full := disk_full(error, path):
            raise full from error
        raise
    finally:
        part.unlink(missing_ok=True)
