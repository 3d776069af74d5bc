"""Choose negatives of a set of variants that are like its positives.

Pathogenic variants lie nearer to genes than benign ones and have other consequences: unmatched,
that alone tells them apart. Every positive gets as many negatives of its contig and class with a
like distance to a TSS and, where asked, like scores (allele frequency), without replacement. With
groups of several sizes, classes and distances of which negatives are rare would tell the label.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.tasks.negatives import imbalance, match

WIDTH_TSS = 0.25  # of a bin of log10 distance: a factor of 1.8
WIDTH_SCORE = 0.25  # of a bin of a score, in standard deviations
MAX_RADIUS = 1  # bins between a positive and its negatives: what is further leans to one side
LEAST_KEPT = 0.5  # share of the positives that fewer negatives each are to save
MAX_IMBALANCE = 0.1  # standardised mean difference that counts as balanced

log = logging.getLogger("genebert")


def covariates(frame: pd.DataFrame, scores: Sequence[str], file: str) -> pd.DataFrame:
    """Return what is matched on: ``log10_tss_distance`` and the scores in standard deviations.

    Raises
    ------
    InputError
        If a covariate is known of no variant.
    """
    out = pd.DataFrame({"log10_tss_distance": np.log10(1 + frame["tss_distance"].abs())})
    for name in scores:
        value = frame[f"score_{name}"]
        out[name] = value / (value.std() or 1.0)
    for name in out:
        if out[name].isna().all():
            raise InputError(
                f"no variant has the {name} that negatives are to be matched on",
                file=file,
                expected="genome.gtf, or columns: {tss_distance: ...}",
            )
    return out


def equal_groups(
    positive_PK: NDArray[np.float64],
    negative_CK: NDArray[np.float64],
    widths: Sequence[float],
    number: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Give each positive ``number`` negatives with like covariates, or none.

    Where there are too few, positives are left out one by one, drawn among those that miss one,
    and the others have the negatives that this frees.

    Parameters
    ----------
    positive_PK, negative_CK : float[P, K] and float[C, K], the covariates, no NaN.
    widths : the K widths of a bin.

    Returns
    -------
    int64[P, number] : rows of ``negative_CK``, no row twice; -1 for positives that are left out.
    """
    chosen = np.full((len(positive_PK), number), -1, dtype=np.int64)
    kept = np.ones(len(positive_PK), dtype=bool)
    free = np.ones(len(negative_CK), dtype=bool)
    for place in range(number):  # all have one before any has two
        waiting, pool = np.flatnonzero(kept), np.flatnonzero(free)
        while len(waiting):
            found = match(
                positive_PK[waiting], negative_CK[pool], widths, rng, max_radius=MAX_RADIUS
            )
            served = found >= 0
            chosen[waiting[served], place] = pool[found[served]]
            free[pool[found[served]]] = False
            waiting = waiting[~served]
            if len(waiting):
                left_out = rng.choice(waiting)
                waiting = waiting[waiting != left_out]
                pool = chosen[left_out, :place].copy()  # out of reach of the others is all else
                kept[left_out], free[pool], chosen[left_out] = False, True, -1
    return chosen


def matched_rows(
    frame: pd.DataFrame, table: pd.DataFrame, number: int, seed: int
) -> NDArray[np.int64]:
    """Return int64[N]: the row of each variant's positive, its own for a positive, or -1.

    Parameters
    ----------
    frame : variants. table : their :func:`covariates`. number : negatives of a positive.
    """
    widths = [WIDTH_TSS, *[WIDTH_SCORE] * (table.shape[1] - 1)]
    values = table.to_numpy()
    known = ~np.isnan(values).any(axis=1)
    positive = (frame["label"] == 1).to_numpy()
    out = np.full(len(frame), -1, dtype=np.int64)
    strata = frame.groupby(["contig", "class"], sort=True).indices.values()
    for stratum, rows in enumerate(strata):
        rng = np.random.default_rng([seed, 7002, stratum])
        rows = rows[known[rows]]
        own, others = rows[positive[rows]], rows[~positive[rows]]
        chosen = equal_groups(values[own], values[others], widths, number, rng)
        full = chosen[:, 0] >= 0
        out[own[full]] = own[full]
        out[others[chosen[full]]] = own[full][:, None]
    return out


def match_negatives(
    frame: pd.DataFrame, settings: Mapping[str, Any], seed: int, *, file: str
) -> tuple[pd.DataFrame, dict[str, int], int]:
    """Return positives with as many matched negatives each, and these negatives.

    Positives that cannot have ``per_positive`` are left out; if that were more than half of those
    whose covariates are known, the number is the largest that keeps half of them, else 1.

    Parameters
    ----------
    frame : variants with label 0 or 1, contig, class, tss_distance and ``score_NAME``.
    settings : ``per_positive``, the negatives of a positive, and ``scores``, names.
    file : of the labels, named in errors.

    Returns
    -------
    frame : in its order; ``match`` is the item of the positive.
    dropped : reason -> number of variants.
    number : negatives of every positive.

    Raises
    ------
    InputError
        If labels are no classes, the file brings matches along, or nothing can be matched.
    """
    if not set(frame["label"]) <= {0.0, 1.0}:
        raise InputError("labels are numbers: no negatives to be matched", file=file)
    if (frame["match"] != "").any():
        raise InputError(
            "has matched groups already", file=file, expected="either columns.match or matched"
        )
    table = covariates(frame, settings.get("scores", ()), file)
    positive = (frame["label"] == 1).to_numpy()
    least = LEAST_KEPT * (positive & table.notna().all(axis=1)).sum()
    asked = int(settings["per_positive"])
    for number in range(asked, 0, -1):
        matched = matched_rows(frame, table, number, seed)
        kept = matched >= 0
        if (positive & kept).sum() >= least:
            break
    if not kept.any():
        raise InputError(
            "no positive has a negative of its contig and class at a like distance to a TSS",
            file=file,
            found=f"{int(positive.sum())} positives, {int((~positive).sum())} negatives",
        )
    if number < asked:
        log.warning(
            "%s: %d matched negatives of each positive, not %d: with more over half of the "
            "positives would be left out", file, number, asked,
        )  # fmt: skip
    dropped = {
        "positive without enough matched negatives": int((positive & ~kept).sum()),
        "negative matched to no positive": int((~positive & ~kept).sum()),
    }
    items = frame["item"].to_numpy(dtype=object)
    return frame.assign(match=items[matched])[kept], dropped, number


def balance(
    before: pd.DataFrame, after: pd.DataFrame, scores: Sequence[str], *, file: str
) -> dict[str, list[float]]:
    """Return what is matched on -> standardised mean difference before and after, rounded.

    Parameters
    ----------
    before, after : variants as of :func:`match_negatives`. scores, file : as there.
    """
    found = []
    for frame in (before, after):
        table = covariates(frame, scores, file).dropna()
        positive = frame.loc[table.index, "label"] == 1
        found.append(imbalance(table[positive], table[~positive], list(table)))
    return {name: [round(one[name], 4) for one in found] for name in found[0]}


def drop_incomplete(frame: pd.DataFrame, *, file: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop the matched groups that filters have left without a positive or without a negative.

    Variants that are in no group stay, as do all where labels are no classes.

    Returns
    -------
    frame : in its order. dropped : reason -> number of variants.

    Raises
    ------
    InputError
        If nothing is left.
    """
    grouped = frame["match"] != ""
    if not set(frame["label"]) <= {0.0, 1.0}:
        return frame, {}
    positives = frame["label"].groupby(frame["match"]).transform("mean")
    dropped = {
        "matched group without a positive": grouped & (positives == 0),
        "positive without its matched negatives": grouped & (positives == 1),
    }
    incomplete = np.logical_or.reduce(list(dropped.values()))
    if len(frame) and incomplete.all():
        raise InputError(
            "no matched group has both a positive and a negative",
            file=file,
            found=f"{frame['match'].nunique()} groups",
            expected="columns.match to name a positive and its negatives alike",
        )
    return frame[~incomplete], {reason: int(rows.sum()) for reason, rows in dropped.items()}


def is_unbalanced(differences: Mapping[str, Sequence[float]]) -> bool:
    """Tell whether anything of a :func:`balance` still differs after matching."""
    return any(abs(after) > MAX_IMBALANCE for _, after in differences.values())
