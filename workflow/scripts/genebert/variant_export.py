"""The scores of all models on a set of variants, in the form of TraitGym.

In: a dataset of kind ``variants`` and the predictions of its models. Out: one parquet table: chrom
(without ``chr``), pos, ref, alt, label, and a column of scores per model and track (mean over
seeds), e.g. ``genebert.supervised`` or ``context-lr.zeroshot-motif``. Where the label file is
itself a parquet table, the rows are those of that file, in its order, so that a column is what
TraitGym's own evaluation reads as scores; a variant that could not be scored has the column's
median, and ``scored`` tells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import reading
from genebert.tasks.dataset import read_dataset

VERSION = 1
KEY = ["chrom", "pos", "ref", "alt"]

log = logging.getLogger("genebert")


def export_scores(
    *,
    dataset: str,
    description: str,
    predictions: Sequence[str],
    labels: str,
    table: str,
    row: Mapping[str, Any],
) -> None:
    """Write the scores of all models on a dataset of variants as one parquet table.

    Parameters
    ----------
    dataset, description : ``dataset.parquet`` and ``dataset.json``.
    predictions : ``predictions.parquet`` of every model.
    labels : the label file; its rows are kept if it is a parquet table.
    table : the table to write.
    row : of the configuration; ``columns`` names the fields of the label file.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    frame, _ = read_dataset(dataset, description)
    out = pd.DataFrame(
        {
            "chrom": bare(frame["contig"]),
            "pos": frame["position"].astype(np.int64),
            "ref": frame["ref"].astype(str).str.upper(),
            "alt": frame["alt"].astype(str).str.upper(),
            "label": frame["label"].to_numpy(float),
        }
    )
    scores = pd.concat([mean_scores(path) for path in predictions], axis=1)
    out = out.join(scores.reindex(frame["item"]).reset_index(drop=True)).assign(scored=True)
    out = out[[*KEY, "label", "scored", *scores.columns]]
    if str(labels).endswith(".parquet"):
        out = in_order_of(out, labels, row.get("columns") or {})
    out.to_parquet(table, index=False)
    log.info("%d variants, %d columns of scores", len(out), len(scores.columns))


def bare(contig: pd.Series) -> pd.Series:
    """Return contig names without ``chr``."""
    return contig.astype(str).str.removeprefix("chr")


def mean_scores(path: str) -> pd.DataFrame:
    """Return the mean test score of every item over seeds: a column per model and track."""
    with reading(path, "cannot be read as parquet"):
        rows = pd.read_parquet(path)
    rows = rows[(rows["split"] == "test") & (rows["fraction"] == 1)]
    name = rows["model"] + "." + rows["track"].str.replace(":", "-")
    return rows.assign(name=name).pivot_table(index="item", columns="name", values="score")


def in_order_of(out: pd.DataFrame, labels: str, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return a row for every row of the label file, in its order.

    A variant that stands there for several cell types has the mean of their scores.
    """
    names = {columns.get(old, old): new for old, new in _FIELDS.items()}
    with reading(labels, "cannot be read as parquet"):
        source = pd.read_parquet(labels, columns=list(names)).rename(columns=names)
    source["chrom"], source["pos"] = bare(source["chrom"]), source["pos"].astype(np.int64)
    for allele in ("ref", "alt"):
        source[allele] = source[allele].astype(str).str.upper()
    known = out.drop(columns="label").groupby(KEY, as_index=False, sort=False).mean()
    merged = source.merge(known, on=KEY, how="left")
    scored = merged["scored"].notna()
    scores = merged.columns.difference([*KEY, "label", "scored"], sort=False)
    merged[scores] = merged[scores].fillna(merged[scores].median())
    return merged.assign(scored=scored)[[*KEY, "label", "scored", *scores]]


_FIELDS = {"contig": "chrom", "position": "pos", "ref": "ref", "alt": "alt", "label": "label"}
