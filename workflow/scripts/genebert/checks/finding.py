"""One line of `snakemake check`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was found, and what to do.

    Attributes
    ----------
    level : ``ok``, ``warn`` or ``error`` (the run would fail).
    topic : genome, peaks, splits, motifs, dataset, disk, ...
    text : what was found.
    advice : what to do, or an empty string.
    """

    level: str
    topic: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        """Return the line."""
        line = f"{self.level:<6}{self.topic:<10}{self.text}"
        return line + (f" -> {self.advice}" if self.advice else "")
