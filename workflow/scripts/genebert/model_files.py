"""Where the files of pre-trained encoders lie. Standard library only: safe while planning."""

from __future__ import annotations

import re
from pathlib import Path

from genebert.errors import InputError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def model_directory(path: str | Path, seed: int | None = None) -> Path:
    """Return the directory with the weights: ``path`` itself or one of its ``seed-*``.

    Parameters
    ----------
    path : a directory with a model, or that of a variant.
    seed : which seed of a variant; by default the first.

    Raises
    ------
    InputError
        If there is no such model.
    """
    path = Path(path)
    if seed is None and (path / CONFIG).exists():
        return path
    found = sorted(
        (int(match[1]), child)
        for child in (path.iterdir() if path.is_dir() else ())
        if (match := re.fullmatch(r"seed-(\d+)", child.name)) and (child / CONFIG).exists()
    )
    for number, child in found:
        if seed is None or number == seed:
            return child
    raise InputError(
        "no pre-trained model here",
        file=path,
        found=", ".join(child.name for _, child in found) or "nothing",
        expected=f"{CONFIG} and {WEIGHTS}, in it or in seed-{'N' if seed is None else seed}",
    )
