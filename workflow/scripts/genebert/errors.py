"""The one error that bad input raises, and how it reads.

Every check of user input ends in :class:`InputError`, whose text is a single line that names the
file, the row, what was found and what was expected.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike


class InputError(ValueError):
    """Bad input, told in one line.

    Parameters
    ----------
    message : what is wrong, in one clause.
    file : the file (or config key) it is wrong in.
    row : 1-based line of a text file, where there is one.
    found, expected : what stands there and what should.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | PathLike[str] | None = None,
        row: int | None = None,
        found: object = None,
        expected: object = None,
    ) -> None:
        where = "" if file is None else f"{file}" + ("" if row is None else f", line {row}") + ": "
        text = where + message
        if found is not None:
            text += f"; found {found!r}"
        if expected is not None:
            text += f"; expected {expected}"
        super().__init__(" ".join(text.split()))


def check_range(
    value: float, low: float, high: float, *, file: str, message: str = "value is out of range"
) -> None:
    """Raise :class:`InputError` unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise InputError(message, file=file, found=value, expected=f"{low} to {high}")


@contextmanager
def reading(path: str | PathLike[str], message: str, *also: type[Exception]) -> Iterator[None]:
    """Within: a file that cannot be read raises :class:`InputError` ``MESSAGE (REASON)``.

    Parameters
    ----------
    path, message : the file, and what is wrong with it.
    also : what a bad file raises beside OSError and ValueError, such as KeyError.
    """
    bad: tuple[type[Exception], ...] = (OSError, ValueError, *also)
    try:
        yield
    except InputError:
        raise
    except bad as error:
        raise InputError(f"{message} ({error})", file=path) from None


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant, or an empty string."""
    names = list(known)
    close = [other for other in names if other.casefold() == name.casefold()]
    return next(iter(close or difflib.get_close_matches(name, names, n=1)), "")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = closest(name, known)
    return f"; did you mean {close!r}?" if close else ""
