"""Copies of a variant's window where another fold would learn from them.

In: variants with their windows (:mod:`genebert.tasks.variants`). Out: those without copies on other
contigs, how much each window shares with other folds, and rows of the leak table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.tasks import leaks as leak_checks
from genebert.variant_models import Problem

LeakRow = tuple[str, int, int, float]  # check, found, removed, share


def copies_elsewhere(frame: pd.DataFrame, groups: pd.Series) -> NDArray[np.bool_]:
    """Return bool[N]: windows of other groups hold over half of the window's 31-mers.

    On either strand; ``groups`` names that of each variant.
    """
    windows = frame[["sequence"]].assign(group=groups.astype(str))
    unique = windows.drop_duplicates()
    share = leak_checks.containment_elsewhere(unique["sequence"].tolist(), unique["group"].tolist())
    number = windows.groupby(["group", "sequence"], sort=False).ngroup()  # in the order of unique
    return share[number] > leak_checks.MAX_CONTAINMENT


def drop_copies(frame: pd.DataFrame, *, file: str) -> tuple[pd.DataFrame, list[LeakRow]]:
    """Drop variants whose window stands on another contig too, and count them.

    Folds leave out a contig, so a copy elsewhere, on either strand, would be seen in training.

    Returns
    -------
    frame : without the copies. rows : of the leak table.

    Raises
    ------
    InputError
        If more than a fifth of the variants are copies.
    """
    copies = copies_elsewhere(frame, frame["contig"])
    if copies.mean() > leak_checks.MAX_REMOVED:
        raise InputError(
            "too many variants lie in windows that stand on several contigs",
            file=file,
            found=f"{int(copies.sum())} of {len(frame)}",
            expected=f"at most {leak_checks.MAX_REMOVED:.0%}",
        )
    found = int(copies.sum())
    return frame[~copies], [("copy_on_another_contig", found, found, float(copies.mean()))]


def check_folds(
    frame: pd.DataFrame, info: Mapping[str, Any], seed: int, *, file: str
) -> tuple[NDArray[np.float64], list[LeakRow]]:
    """Compare each variant's window with those of the other folds of the supervised track.

    Folds are those that the models use (:class:`genebert.variant_models.Problem`). Where they are
    not chromosomes, windows overlap those of other folds: such copies are counted and stay.

    Returns
    -------
    similarity : float[N], largest share of the window's 16-mers that one window of another fold
        has. rows : of the leak table.

    Raises
    ------
    InputError
        If all variants are of one fold; ``file`` is named.
    """
    problem = Problem.of(frame, info, seed)
    if np.ptp(problem.fold) == 0:
        size = info["block_bp"]
        raise InputError(
            f"all variants lie in one block of {size} bases, so that none is left to train on",
            file=file,
            found=f"{len(frame)} variants",
            expected="several blocks: a smaller block_bp, or variants of several chromosomes",
        )
    rows: list[LeakRow] = []
    if problem.left_out != "chromosome":
        copies = copies_elsewhere(frame, pd.Series(problem.fold, index=frame.index))
        rows.append(("copy_in_another_fold", int(copies.sum()), 0, float(copies.mean())))
    seen = frame["in_pretraining"].to_numpy()
    rows.append(("transductive", int(seen.sum()), 0, float(seen.mean())))
    return leak_checks.similarity_elsewhere(frame["sequence"].tolist(), problem.fold), rows
