"""Choose negatives of a set of variants that are like its positives.

Pathogenic variants lie nearer to genes than benign ones and have other consequences: unmatched,
that alone tells them apart. Every positive gets negatives of its contig and class with a like
distance to a TSS and, where asked, like scores (allele frequency), without replacement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import InputError
from genebert.tasks.negatives import imbalance, match

WIDTH_TSS = 0.25  # of a bin of log10 distance: a factor of 1.8
WIDTH_SCORE = 0.25  # of a bin of a score, in standard deviations


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


def match_negatives(
    frame: pd.DataFrame, settings: Mapping[str, Any], seed: int, *, file: str
) -> tuple[pd.DataFrame, dict[str, int], dict[str, list[float]]]:
    """Return the positives that have a matched negative, and these negatives.

    Parameters
    ----------
    frame : variants with label 0 or 1, contig, class, tss_distance and ``score_NAME``.
    settings : ``per_positive``, the negatives of a positive at most, and ``scores``, names.
    file : of the labels, named in errors.

    Returns
    -------
    frame : in its order; ``match`` is the item of the positive.
    dropped : reason -> number of variants.
    balance : covariate -> standardised mean difference before and after.

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
    names = list(table)
    widths = [WIDTH_TSS, *[WIDTH_SCORE] * (len(names) - 1)]
    known = table.notna().all(axis=1).to_numpy()
    positive = (frame["label"] == 1).to_numpy()
    matched = np.full(len(frame), -1, dtype=np.int64)  # row of the positive
    for number, rows in enumerate(frame.groupby(["contig", "class"], sort=True).indices.values()):
        rng = np.random.default_rng([seed, 7002, number])
        rows = rows[known[rows]]
        own, free = rows[positive[rows]], rows[~positive[rows]]
        for _ in range(int(settings["per_positive"])):  # all have one before any has two
            chosen = match(table.to_numpy()[own], table.to_numpy()[free], widths, rng)
            served = chosen >= 0
            matched[free[chosen[served]]] = own[served]
            free = np.delete(free, chosen[served])
    with_negatives = np.unique(matched[matched >= 0])
    matched[with_negatives] = with_negatives
    kept = matched >= 0
    if not kept.any():
        raise InputError(
            "no positive has a negative of its contig and class at a like distance to a TSS",
            file=file,
            found=f"{int(positive.sum())} positives, {int((~positive).sum())} negatives",
        )
    before, after = (
        imbalance(table[part & positive], table[part & ~positive], names) for part in (known, kept)
    )
    dropped = {
        "positive without a matched negative": int((positive & ~kept).sum()),
        "negative matched to no positive": int((~positive & ~kept).sum()),
    }
    balance = {name: [round(before[name], 4), round(after[name], 4)] for name in names}
    items = frame["item"].to_numpy(dtype=object)
    return frame.assign(match=items[matched])[kept], dropped, balance
