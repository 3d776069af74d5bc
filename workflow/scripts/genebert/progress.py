"""How far a long loop is and when it will be done, told in the log every ten seconds.

In: how much of a work of known size is done. Out: a line such as
``scanning motifs: 2,000 of 10,000 regions, 1 min 20 s to go``. One line every ten seconds at most,
none for what takes less; asking costs well below a microsecond.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

log = logging.getLogger("genebert")

SECONDS = 10.0  # between two lines
Item = TypeVar("Item")


def duration(seconds: float) -> str:
    """Return a time as a short text: ``42 s``, ``3 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    left = max(0, round(seconds))
    for unit, name, smaller, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if left >= unit:
            rest = left % unit // smaller
            return f"{left // unit} {name}" + (f" {rest} {small}" if rest else "")
    return f"{left} s"


class Progress:
    """The progress of one loop.

    Parameters
    ----------
    what : what is being done, the beginning of every line.
    total : how much there is to do; None if that is not known.
    unit : what is counted.
    tell : called with every line; by default the log.
    clock : the time in seconds.
    """

    def __init__(
        self,
        what: str,
        total: float | None = None,
        unit: str = "",
        *,
        tell: Callable[[str], None] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.what, self.total, self.unit = what, total, f" {unit}" if unit else ""
        self.tell = tell or (lambda line: log.info("%s", line))
        self.clock = clock or time.monotonic
        self.began = self.told = self.clock()

    def at(self, done: float, note: str = "") -> None:
        """Say that ``done`` of ``total`` is done; a line is written if it is time for one."""
        now = self.clock()
        if now - self.told >= SECONDS:
            self.told = now
            self.tell(self.line(done, now - self.began) + (f" ({note})" if note else ""))

    def line(self, done: float, seconds: float) -> str:
        """Return the line for ``done`` after some seconds."""
        if not self.total:
            return f"{self.what}: {done:,.0f}{self.unit}, {duration(seconds)} so far"
        digits = 1 if isinstance(self.total, float) and self.total < 100 else 0  # MB, Mb
        text = f"{self.what}: {done:,.{digits}f} of {self.total:,.{digits}f}{self.unit}"
        if done <= 0:
            return f"{text}, {duration(seconds)} so far"
        return f"{text}, {duration(seconds * (self.total - done) / done)} to go"


def progress(
    items: Iterable[Item], what: str, unit: str = "", total: float | None = None
) -> Iterator[Item]:
    """Yield ``items`` and tell how many of them are done.

    Parameters
    ----------
    total : their number; by default ``len(items)``, where it has one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    told = Progress(what, total, unit)
    for number, item in enumerate(items, start=1):
        yield item
        told.at(number)
