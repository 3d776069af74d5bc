"""In-silico mutagenesis: which bases of a sequence does a fitted model go by?

In: a dataset, a fitted model (:mod:`genebert.scorers`) and, on the simulated genome, the planted
sites. Out: for every base of some test items the change of the model's score by each of the three
substitutions (``attributions.parquet``); over all models a table of how well the bases that matter
to the model agree with the planted sites, and sequence logos (:mod:`genebert.logos`).

The score is the log-odds of the probability that inference gives, averaged over both strands; the
contribution of a base is the mean loss of score over its three substitutions. A base that speaks
against the label has a negative one.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError, reading
from genebert.genome import N
from genebert.items import Job
from genebert.metrics import auroc, percentile_interval
from genebert.progress import Progress
from genebert.tables import read_rows
from genebert.tasks.dataset import read_dataset

VERSION = 2
log = logging.getLogger("genebert")

BASES = "ACGT"
SHUFFLED, MIDDLE = "shuffled-positions", "distance-to-middle"  # controls
MIN_ITEMS = 5  # no interval over fewer items
COLUMNS = (
    *("task", "dataset", "model", "item", "group", "contig", "start", "end", "strand", "position"),
    "site",
)
SITE_COLUMNS = ("contig", "start", "end", "motif", "class")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# (row of the item, codes uint8[M, L] that stand in its place) -> probabilities float64[M, K]
Scorer = Callable[[int, NDArray[np.uint8]], Floats]


def substitutions(codes_L: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Ints, Ints]:
    """Return every sequence with one base replaced; an N is never replaced.

    Returns
    -------
    mutants : uint8[M, L], M = 3 times the number of known bases.
    position, base : int64[M], where it was replaced and by what; sorted by both.
    """
    grid = np.arange(4) != codes_L[:, None]
    position, base = np.nonzero(grid & (codes_L != N)[:, None])
    mutants = np.repeat(codes_L[None], len(position), axis=0)
    mutants[np.arange(len(position)), position] = base
    return mutants, position, base


def log_odds(probability: Floats) -> Floats:
    """Return ln(p / (1 - p)) of probabilities; those nearer to 0 or 1 than 1e-12 count as that."""
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def changes(scorer: Scorer, row: int, codes_L: NDArray[np.uint8], column: int) -> Floats:
    """Return float64[L, 4]: the score of each substitution minus that of the sequence.

    0 at the base that is there; NaN in all four where it is N.

    Parameters
    ----------
    row : the item, as the scorer knows it.
    column : column of the scorer's probabilities.
    """
    mutants, position, base = substitutions(codes_L)
    score = log_odds(scorer(row, np.vstack([codes_L[None], mutants]))[:, column])
    out = np.where(codes_L == N, np.nan, 0.0)[:, None].repeat(4, axis=1)
    out[position, base] = score[1:] - score[0]
    return out


def contributions(changes_L4: Floats) -> Floats:
    """Return float64[L]: the mean loss of score over the three substitutions of each base."""
    return np.asarray(-changes_L4.sum(axis=1) / 3)


def read_sites(path: str) -> pd.DataFrame:
    """Read the planted sites; decoys are left out.

    Raises
    ------
    InputError
        If the table is missing, lacks a column, or has a coordinate that is no number.
    """
    frame = pd.DataFrame(read_rows(path, SITE_COLUMNS))
    try:
        frame = frame.astype({"start": np.int64, "end": np.int64})
    except ValueError as error:
        raise InputError(f"a coordinate is no integer ({error})", file=path) from None
    return frame[frame["class"] == "site"].reset_index(drop=True)


def planted(item: Any, sites: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[L]: the base lies in a planted site of the item's own TF, read along its strand.

    Parameters
    ----------
    item : a row of the dataset with contig, start, end, strand, group.
    """
    near = sites[
        (sites["contig"] == item.contig)
        & (sites["motif"] == item.group)
        & (sites["start"] < item.end)
        & (sites["end"] > item.start)
    ]
    out = np.zeros(item.end - item.start, dtype=bool)
    for start, end in zip(near["start"], near["end"], strict=True):
        out[max(0, start - item.start) : end - item.start] = True
    return out[::-1].copy() if item.strand == "-" else out


def choose_items(frame: pd.DataFrame, sites: pd.DataFrame | None, count: int, seed: int) -> Ints:
    """Return the rows of the items to interpret, the same for every model.

    Positive test items, no sequence twice, on test chromosomes where there are any; dealt evenly
    over groups (TFs) and classes, drawn by the seed. Where the planted sites are known, items
    without one of their own TF are left out: their positions cannot be scored.

    Parameters
    ----------
    frame : a dataset.
    sites : from :func:`read_sites`, or None.
    count : number of items; fewer where there are no more.

    Raises
    ------
    InputError
        If there is no such item.
    """
    test = frame[(frame["split"] == "test") & (frame["label"] > 0)]
    tags = test["stratum"].str.split(";")
    headline = tags.map(lambda tag: bool({"chromosome", "both"} & set(tag)))
    test = test[headline] if headline.any() else test
    if sites is not None and len(test):
        own = np.array([planted(item, sites).any() for item in test.itertuples()])
        test = test[own] if own.any() else test
    if not len(test):
        raise InputError("no positive test item to interpret", file="dataset")
    test = test.sample(frac=1, random_state=np.random.RandomState(seed))
    test = test.drop_duplicates("sequence")
    turn = test.groupby(["group", "label"], sort=True).cumcount()
    order = test.assign(turn=turn).sort_values(["turn", "group", "label"], kind="stable")
    return np.sort(order.index.to_numpy(dtype=np.int64)[:count])


def attribute(
    *,
    dataset: str,
    description: str,
    motif_set: str,
    shards: str,
    weights: Sequence[str],
    fit: str,
    fitted: str,
    sites: Sequence[str],
    attributions: str,
    task: str,
    name: str,
    model: str,
    effort: Mapping[str, Any],
    pretrain: Mapping[str, Any],
    seed: int,
    threads: int,
    n_items: int,
) -> None:
    """Mutate every base of some test items in a model that the stage `predict` has fitted.

    Parameters
    ----------
    dataset, description, motif_set, shards, weights : as in :func:`genebert.predict.predict`.
    fit, fitted : ``fit.json`` and ``fitted.safetensors`` of the model.
    sites : the table of planted sites in a list, or an empty list.
    attributions : output, ``attributions.parquet``: a row per base.
    task, name : of the dataset.
    model, effort, pretrain, seed, threads : as in :func:`genebert.predict.predict`.
    n_items : number of items.

    Raises
    ------
    InputError
        If the model or the dataset cannot be interpreted, or an input is damaged.
    """
    from genebert.scorers import scorer as function_of

    job = Job(
        model=model, dataset=dataset, description=description, motif_set=motif_set, shards=shards,
        weights=list(weights), effort=effort, pretrain=pretrain, seed=seed, threads=threads,
        fitted=fitted,
    )  # fmt: skip
    frame, info = read_dataset(dataset, description)
    known = read_sites(sites[0]) if sites else None
    rows = choose_items(frame, known, n_items, seed)
    scorer = function_of(job, fit)
    parts, told = [], Progress(f"{model}: mutating", len(rows), "items")
    for count, row in enumerate(rows.tolist()):
        item = next(frame.iloc[[row]].itertuples())
        column = int(item.label) if info["kind"] == "multiclass" else 0
        codes = job.items.codes[job.items.sequence[row]]  # with the N that fill up short ones
        found = changes(scorer, row, codes, column)[: len(item.sequence)]
        own = None if known is None else planted(item, known)
        parts.append(item_rows(item, found, own))
        told.at(count + 1)
    out = pd.concat(parts, ignore_index=True).assign(task=task, dataset=name, model=model)
    out[[*COLUMNS, "reference", *BASES]].to_parquet(attributions, index=False)
    log.info("%s: %d items, %d bases", model, len(rows), len(out))


def item_rows(item: Any, changes_L4: Floats, own: NDArray[np.bool_] | None) -> pd.DataFrame:
    """Return one row per base of an item; `site` is 1, 0 or, where nobody knows, NaN."""
    length = len(item.sequence)
    unknown = own is None or len(own) != length or not own.any()
    frame = pd.DataFrame(
        {
            "item": item.item,
            "group": item.group,
            "contig": item.contig,
            "start": item.start,
            "end": item.end,
            "strand": item.strand,
            "position": np.arange(length),
            "site": np.full(length, np.nan) if unknown else np.asarray(own, dtype=np.float64),
            "reference": list(item.sequence),
        }
    )
    return frame.assign(**dict(zip(BASES, changes_L4.T, strict=True)))


def read_attributions(paths: Sequence[str]) -> pd.DataFrame:
    """Read the attributions of all models and add the column `contribution`.

    Raises
    ------
    InputError
        If a file is missing or is none.
    """
    frames = []
    for path in paths:
        with reading(path, "cannot be read as attributions"):
            frame = pd.read_parquet(path, columns=[*COLUMNS, "reference", *BASES])
        frames.append(frame)
    if not frames:
        raise InputError("nothing to interpret", file="config interpret")
    out = pd.concat(frames, ignore_index=True)
    return out.assign(contribution=contributions(out[list(BASES)].to_numpy()))


def item_aurocs(frame: pd.DataFrame) -> Floats:
    """Return float64[items]: AUROC of the contributions over the positions of each item.

    Positions in planted sites of the item's own TF against all others with a known base; items
    without a known site are left out.
    """
    values = []
    for _, item in frame.groupby("item", sort=True):
        part = item[np.isfinite(item["contribution"]) & np.isfinite(item["site"])]
        labels = part["site"].to_numpy() == 1
        if labels.any() and not labels.all():
            values.append(auroc(labels, part["contribution"].to_numpy(dtype=np.float64)))
    return np.array(values)


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return a model's attributions with the positions of each item in random order."""
    rng = np.random.default_rng([seed, 4])
    mixed = frame.groupby("item", sort=True)["contribution"].transform(
        lambda values: values.to_numpy()[rng.permutation(len(values))]
    )
    return frame.assign(model=SHUFFLED, contribution=mixed)


def middle(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a model's attributions with the nearness to the middle of the item as contribution."""
    length = frame.groupby("item")["position"].transform("max") + 1
    nearness = -(frame["position"] - (length - 1) / 2).abs()
    known = nearness.where(np.isfinite(frame["contribution"]))
    return frame.assign(model=MIDDLE, contribution=known)


def score_table(frame: pd.DataFrame, seed: int, draws: int) -> pd.DataFrame:
    """Return one row per (dataset, model): mean AUROC over items, and its bootstrap over items.

    Models are in the order of the attributions, then two controls: the first model's values in
    random order, and the nearness to the middle of the item, where peaks have their sites. The
    draws of the items are the same for all models of a dataset. Without known sites the AUROC is
    NaN and `items` the number of items drawn; below `MIN_ITEMS` there is no interval.
    """
    rows = []
    for (task, dataset), part in frame.groupby(["task", "dataset"], sort=False):
        stream = zlib.crc32(f"{task}/{dataset}".encode())
        names = list(pd.unique(part["model"]))
        models = [part[part["model"] == name] for name in names]
        for model in [*models, shuffled(models[0], seed), middle(models[0])]:
            values = item_aurocs(model)
            low = high = float("nan")
            if len(values) >= MIN_ITEMS:
                rng = np.random.default_rng([seed, stream, 5])
                drawn = rng.integers(len(values), size=(draws, len(values)))
                low, high = percentile_interval(values[drawn].mean(axis=1))
            rows.append(
                {
                    "task": task,
                    "dataset": dataset,
                    "model": model["model"].iloc[0],
                    "items": len(values) or model["item"].nunique(),
                    "auroc": values.mean() if len(values) else float("nan"),
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def interpretation(
    *,
    attributions: Sequence[str],
    motif_set: str,
    table: str,
    figure: str,
    seed: int,
    draws: int,
) -> None:
    """Score the attributions of all models against the planted sites, and draw logos.

    Parameters
    ----------
    attributions : outputs of :func:`attribute`, models of a dataset in the order of the table.
    motif_set : ``motif_set.json``; its hits are drawn beside the logos.
    table : output, TSV: task, dataset, model, items, auroc, low, high.
    figure : output, see :func:`genebert.logos.draw_logos`.
    seed, draws : of the bootstrap over items.

    Raises
    ------
    InputError
        If an input cannot be read.
    """
    from genebert.logos import draw_logos, views
    from genebert.motifs import MotifSet

    frame = read_attributions(attributions)
    rows = score_table(frame, seed, draws)
    rows.to_csv(table, sep="\t", index=False, float_format="%.4f", na_rep="NA")
    draw_logos(views(frame, MotifSet.read(motif_set)), figure)
    log.info("%d rows in %s", len(rows), Path(table).name)
