"""The stage `predict`: fit one model on one dataset and write its predictions.

In: a dataset, the motif set, the shards and, for pre-trained models, weights. Out:
``predictions.parquet`` (a score of every validation and test item for every seed) and
``fit.json`` (what was fitted). The table MODELS says what each model is; a new model is one row.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from genebert.errors import InputError, nearest, reading
from genebert.items import Job, Result, too_few
from genebert.layout import variant_of
from genebert.tensor_files import write_tensors

VERSION = 8
log = logging.getLogger("genebert")


@dataclass(frozen=True)
class Model:
    """A model of the tables.

    Attributes
    ----------
    function : ``module:function`` in this package, called with a :class:`genebert.items.Job`.
    cell_types : it reads the item's cell type, so the dataset must have one.
    binary : it knows datasets of kind ``binary`` only.
    """

    function: str
    cell_types: bool = False
    binary: bool = False

    def predict(self, job: Job) -> Result:
        """Return rows of predictions and what was fitted."""
        module, function = self.function.split(":")
        result: Result = getattr(import_module(f"genebert.{module}"), function)(job)
        return result


MODELS: Mapping[str, Model] = {
    "genebert": Model("finetune:predict_network"),
    "scratch": Model("finetune:predict_network"),
    "cnn": Model("finetune:predict_network"),
    "kmer-lr": Model("baselines:kmer_lr"),
    "motif-lr": Model("baselines:motif_lr"),
    "gc": Model("baselines:gc"),
    "oracle": Model("baselines:oracle"),
    "accessibility": Model("baselines:accessibility", cell_types=True, binary=True),
    "context-lr": Model("baselines:context_lr", cell_types=True),
    "cell-average": Model("baselines:cell_average", cell_types=True, binary=True),
    "mean-breadth": Model("accessibility_models:mean_breadth", cell_types=True, binary=True),
    "nearest-type": Model("accessibility_models:nearest_type", cell_types=True, binary=True),
    "gt-ag": Model("baselines:gt_ag"),
    "pwm": Model("baselines:pwm"),
}
# kinds of datasets whose items are no sequences; one function for all models
KINDS: Mapping[str, Model] = {
    "variants": Model("disease_models:predict_variants"),
    "cohort": Model("disease_models:predict_cohort"),
}
DECIMALS = 9
SORTED_BY = ["model", "track", "fraction", "pretrain_seed", "finetune_seed", "split", "item"]


def predict(
    *,
    dataset: str,
    description: str,
    cohort: Sequence[str],
    motif_set: str,
    shards: str,
    weights: Sequence[str],
    predictions: str,
    fit: str,
    fitted: str = "",
    model: str,
    effort: Mapping[str, Any],
    pretrain: Mapping[str, Any],
    seed: int,
    threads: int,
) -> None:
    """Fit a model on a dataset, predict its validation and test items, and write both.

    Parameters
    ----------
    dataset, description : ``dataset.parquet`` and ``dataset.json``.
    cohort : ``cohort.npz`` in a list, or an empty list.
    motif_set : ``motif_set.json``.
    shards : ``index.json`` of the shards.
    weights : ``model.safetensors`` of each pre-training seed; empty for models without.
    predictions, fit : outputs, ``predictions.parquet`` and ``fit.json``.
    fitted : output, the network of the first seeds and all labels (:mod:`genebert.finetuned`), or
        a file without tensors; not written if empty.
    model : name of the model, as in the tables.
    effort : the config block of that name.
    pretrain : the merged block ``pretrain`` of the variant ``full`` (architecture of scratch).
    seed : seed of every random number.
    threads : CPU threads.

    Raises
    ------
    InputError
        If the model is unknown or cannot be used on this dataset, or an input is damaged.
    """
    started = time.monotonic()
    kind = dataset_kind(description)
    job = Job(
        model=model,
        dataset=dataset,
        description=description,
        motif_set=motif_set,
        shards=shards,
        weights=list(weights),
        effort=effort,
        pretrain=pretrain,
        seed=seed,
        threads=threads,
        fitted=fitted,
        cohort=list(cohort),
    )
    frame, info = KINDS[kind].predict(job) if kind in KINDS else predict_items(job)
    keep_nothing(fitted)
    info = {
        "model": model,
        "pretraining": variant_of(model),
        "grid": [],
        "chosen": {},
        "collapsed": 0,
        "version": VERSION,
        **info,
        "seconds": round(time.monotonic() - started, 1),
    }
    write(frame, info, predictions, fit)
    log.info("%s: %d predictions", model, len(frame))


def predict_items(job: Job) -> Result:
    """Return the predictions of sequences, and what was fitted on how many."""
    entry = find_model(job.model)
    check_fits(entry, job)
    frame, info = entry.predict(job)
    few = unused_shares(job) if info.get("chosen") else []
    return frame, {"n_train": len(job.items.rows("train")), "too_few": few, **info}


def keep_nothing(fitted: str) -> None:
    """Write a file without tensors where a model has kept no network."""
    if fitted and not Path(fitted).exists():
        write_tensors(fitted, {}, genebert="null")


def unused_shares(job: Job) -> list[float]:
    """Return the label shares and numbers of the few-shot curve that are too few to train on."""
    effort = job.effort
    shares = effort.get("label_fractions", [1.0])
    return too_few(job.items, shares, int(effort.get("fraction_draws", 5)), job.seed)


def write(frame: pd.DataFrame, info: Mapping[str, Any], predictions: str, fit: str) -> None:
    """Write sorted predictions and the description of the fit.

    Scores are rounded: sums in another order (other BLAS kernels) differ by less, and would make
    ranks of what are ties.
    """
    frame = frame.sort_values(SORTED_BY, kind="stable", ignore_index=True)
    scores = [column for column in frame.columns if column.startswith("score")]
    frame[scores] = frame[scores].round(DECIMALS)
    frame.to_parquet(predictions, index=False)
    text = json.dumps(info, indent=1, sort_keys=True)
    Path(fit).write_text(text + "\n", encoding="utf-8")


def dataset_kind(description: str) -> str:
    """Return the kind of a dataset.

    Raises
    ------
    InputError
        If the description cannot be read.
    """
    with reading(description, "is no description of a dataset", KeyError, TypeError):
        return str(json.loads(Path(description).read_text(encoding="utf-8"))["kind"])


def find_model(name: str) -> Model:
    """Return the entry of a model; ``genebert-X`` is genebert with the weights of variant X.

    Raises
    ------
    InputError
        If there is no such model.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith("genebert-"):
        return MODELS["genebert"]
    raise InputError(
        f"no such model{nearest(name, MODELS)}",
        file="model",
        found=name,
        expected=f"one of {', '.join(MODELS)} or genebert-VARIANT",
    )


def check_fits(entry: Model, job: Job) -> None:
    """Raise :class:`InputError` if a model cannot be used on a dataset."""
    items = job.items
    if entry.cell_types and not all(items.cell_type):
        raise InputError(
            f"model {job.model!r} needs a cell type for every item",
            file=job.dataset,
            found=f"{sum(c == '' for c in items.cell_type)} items without",
        )
    if entry.binary and items.multiclass:
        raise InputError(
            f"model {job.model!r} gives one score per item",
            file=job.description,
            found=items.info["kind"],
            expected="binary",
        )
