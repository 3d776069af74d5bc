"""Read a dataset and the predictions of all models, and align them item by item.

In: ``dataset.parquet`` + ``dataset.json`` (a cohort: ``cohort.npz``) and, of every model,
``predictions.parquet`` + ``fit.json``. Out: one :class:`Items` and one :class:`Track` per track,
whose fits hold scores in the same order of items. What is missing, doubled or unknown is an
:class:`InputError` that names the file; the order of rows in a file never matters.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError, nearest, reading
from genebert.metrics import Bools, Floats, Ints
from genebert.tasks.dataset import read_dataset

SIMILARITY = (0.0, 0.02, 0.1, 0.5, 1.0)  # edges of the bins of nearest-neighbour similarity
# models that are given labels, or the truth, by their definition: bounds, never candidates
BOUNDS = ("oracle", "cell-average", "mean-breadth", "nearest-type")
RANKS = ("accessibility", "nearest-type")  # models whose scores are ranks, no probabilities
CENTRED = "lopo"  # track whose scores are centred in each population: no probabilities either
KEYS = ("model", "track", "fraction", "pretrain_seed", "finetune_seed")
MODEL_ORDER = (
    *("genebert", "genebert-sequence", "scratch", "cnn", "kmer-lr", "motif-lr", "gc", "oracle"),
    *("accessibility", "context-lr", "cell-average", "cell-average-pred", "genebert-wrongcell"),
    *("mean-breadth", "nearest-type", "gt-ag", "pwm"),
    *("covariates", "dosage-lr", "dosage-lr-weighted", "tss-distance"),
)


def model_rank(model: str) -> tuple[int, str]:
    """Return the sort key of a model: the order of the tables, then by name."""
    return (MODEL_ORDER.index(model) if model in MODEL_ORDER else len(MODEL_ORDER), model)


@dataclass(frozen=True)
class Items:
    """A dataset as far as scoring needs it, sorted by item; every array is [N].

    ``block`` numbers the bootstrap blocks (genome blocks, elements of a reporter assay of several,
    people of a cohort, relatives together, or items that have no coordinates), ``locus`` the places
    that are compared across cell types; ``seen`` tells whether pre-training read the sequence;
    ``tags`` are the strata of an item; ``flags`` are those of the dataset; ``missed`` counts, per
    class, sites that no item stands for; ``negatives`` is how negatives were drawn (``matched``
    unless told).
    """

    task: str
    name: str
    kind: str
    classes: tuple[str, ...]
    item: NDArray[np.object_]
    label: Floats
    group: NDArray[np.object_]
    contig: NDArray[np.object_]
    block: Ints
    locus: Ints
    split: NDArray[np.object_]
    seen: Bools
    tags: tuple[frozenset[str], ...]
    effect: Floats | None
    flags: tuple[str, ...]
    missed: Mapping[str, int]
    negatives: str

    @property
    def multiclass(self) -> bool:
        """Whether there is one score per class."""
        return self.kind == "multiclass"

    @property
    def unplaced(self) -> bool:
        """Whether the items have no coordinates (ready-made sets of sequences)."""
        return self.kind != "cohort" and bool((self.contig == "").all())

    @property
    def groups(self) -> list[str]:
        """The outputs that metrics are averaged over, e.g. TFs; empty if there is one only."""
        return sorted({str(group) for group in self.group} - {""})

    @property
    def by_element(self) -> bool:
        """Whether the groups are elements of a reporter assay: each lies in one block."""
        return self.kind == "variants" and bool(self.groups)


@dataclass(frozen=True)
class Fit:
    """The scores of one fitted model: one pre-training seed, fine-tuning seed and label share.

    ``scores`` are float64[T, K] in the order of the track's rows, K = 1 unless multi-class;
    ``valid_rows`` int[V] and ``valid_scores`` float64[V, K] are those of validation.
    """

    model: str
    track: str
    fraction: float
    pretrain_seed: int
    finetune_seed: int
    scores: Floats
    valid_rows: Ints
    valid_scores: Floats


@dataclass(frozen=True)
class ModelInfo:
    """What ``fit.json`` says about a model.

    ``collapsed`` has, by (track, label share), whether each fine-tuning run learned nothing; models
    that are not fine-tuned have none.
    """

    model: str
    pretraining: str
    n_train: int | None
    collapsed: Mapping[tuple[str, float], tuple[bool, ...]]
    too_few: tuple[float, ...]  # label shares with too few labels to be trained on
    permutation: Mapping[str, float]  # of a cohort: auroc, low, high, tuned_auroc, ... if permuted


@dataclass(frozen=True)
class Track:
    """All fits scored on the same test items; ``rows`` int[T] are rows of :class:`Items`."""

    name: str
    rows: Ints
    fits: tuple[Fit, ...]
    models: Mapping[str, ModelInfo]


def read_items(dataset: str | Path, description: str | Path, cohort: Sequence[str] = ()) -> Items:
    """Read a dataset; for a cohort the items are the individuals of ``cohort[0]``.

    Raises
    ------
    InputError
        If a file cannot be read or lacks a column.
    """
    frame, info = read_dataset(dataset, description)
    missed: Counter[str] = Counter()
    for key in ("missed_noncanonical", "missed_unscanned"):
        missed.update({str(name): int(count) for name, count in (info.get(key) or {}).items()})
    common: dict[str, Any] = {
        "task": str(info["task"]),
        "name": str(info["dataset"]),
        "kind": str(info["kind"]),
        "classes": tuple(str(name) for name in info["classes"]),
        "missed": missed,
        "negatives": str(info.get("negatives") or "matched"),
        "flags": tuple(str(flag) for flag in info.get("flags") or ()),
    }
    if info["kind"] == "cohort":
        if len(cohort) != 1:
            raise InputError(
                "a cohort needs its table of individuals",
                file=description,
                found=list(cohort),
                expected="one cohort.npz",
            )
        return _read_cohort(cohort[0], common)
    frame = frame.sort_values("item", kind="stable")
    # an item without coordinates is a block and a locus of its own
    contig = frame["contig"].where(frame["contig"] != "", "item " + frame["item"])
    bins = frame["start"] // int(info["block_bp"])
    blocks = contig.astype(str) + " " + bins.astype(str)
    if "element" in frame:  # of a reporter assay of several: resampled as a whole
        blocks = blocks.where(frame["element"] < 0, "element " + frame["element"].astype(str))
    sites = np.where(
        frame["region"] >= 0,
        "region " + frame["region"].astype(str),
        contig + " " + frame["start"].astype(str) + " " + frame["end"].astype(str),
    )
    return Items(
        **common,
        item=frame["item"].to_numpy(dtype=object),
        label=frame["label"].to_numpy(dtype=float),
        group=frame["group"].to_numpy(dtype=object),
        contig=frame["contig"].to_numpy(dtype=object),
        block=_numbered(blocks),
        locus=_numbered(pd.Series(sites)),
        split=frame["split"].to_numpy(dtype=object),
        seen=frame["in_pretraining"].to_numpy(dtype=bool),
        tags=_tags(frame),
        effect=frame["effect"].to_numpy(dtype=float) if "effect" in frame else None,
    )


def _tags(frame: pd.DataFrame) -> tuple[frozenset[str], ...]:
    """Return the strata of each item; a bin of similarity where the test items fill several."""
    tags = [frozenset(filter(None, text.split(";"))) for text in frame["stratum"]]
    if "similarity" not in frame:
        return tuple(tags)
    value = frame["similarity"].to_numpy(dtype=float)
    bins = np.clip(np.searchsorted(SIMILARITY, value, "right") - 1, 0, len(SIMILARITY) - 2)
    known = np.isfinite(value)
    if len(set(bins[known])) < 2:
        return tuple(tags)
    names = [f"similarity={a:g}-{b:g}" for a, b in itertools.pairwise(SIMILARITY)]
    return tuple(
        own | {names[place]} if there else own
        for own, place, there in zip(tags, bins, known, strict=True)
    )


def _numbered(keys: pd.Series) -> Ints:
    return np.unique(keys.to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)


def _read_cohort(path: str | Path, common: dict[str, Any]) -> Items:
    with (
        reading(path, "cannot be read as a cohort", KeyError),
        np.load(path, allow_pickle=False) as file,
    ):
        samples, labels = file["samples"].astype(str), file["labels"].astype(float)
        cluster = file["cluster"]
        population = file["population"].astype(str) if "population" in file else None
    order = np.argsort(samples, kind="stable")
    count = len(samples)
    none: frozenset[str] = frozenset()
    tags = (
        (none,) * count
        if population is None or not (population != "").all()
        else tuple(frozenset([f"population={population[i]}"]) for i in order)
    )
    return Items(
        **common,
        item=samples[order].astype(object),
        label=labels[order],
        group=np.full(count, "", dtype=object),
        contig=np.full(count, "", dtype=object),
        block=pd.factorize(cluster[order])[0].astype(np.int64),
        locus=np.arange(count),
        split=np.full(count, "test", dtype=object),
        seen=np.zeros(count, dtype=bool),
        tags=tags,
        effect=None,
    )


def read_tracks(items: Items, predictions: Sequence[str], fits: Sequence[str]) -> list[Track]:
    """Read the predictions of all models and align them; tracks are sorted by name.

    The test items of a track are those that its models scored as ``test``: they must be the same
    for all of them and hold every test item of the dataset.

    Raises
    ------
    InputError
        If a file is damaged, an item is missing, doubled or unknown, or a score is not a number.
    """
    if len(predictions) != len(fits):
        raise InputError(
            "not one description for every file of predictions",
            file=predictions[0] if predictions else None,
            found=f"{len(fits)} for {len(predictions)} files",
        )
    parts: dict[str, list[tuple[str, pd.DataFrame]]] = defaultdict(list)
    infos: dict[str, dict[str, ModelInfo]] = defaultdict(dict)
    for path, info_path in zip(predictions, fits, strict=True):
        frame, info = _read_predictions(path, items), _read_info(info_path)
        for (track, model), part in frame.groupby(["track", "model"], sort=True):
            if model in infos[str(track)]:
                raise InputError("model is in two files of predictions", file=path, found=model)
            infos[str(track)][str(model)] = info
            parts[str(track)].append((path, part))
    return [_align(items, name, parts[name], infos[name]) for name in sorted(parts)]


def _read_info(path: str | Path) -> ModelInfo:
    with reading(path, "cannot be read as a description", AttributeError, TypeError, KeyError):
        info = json.loads(Path(path).read_text(encoding="utf-8"))
        pretraining, n_train = info.get("pretraining"), info.get("n_train")
        return ModelInfo(
            model=str(info.get("model")),
            pretraining=str(pretraining) if pretraining else "none",
            n_train=int(n_train) if isinstance(n_train, int | float) else None,
            collapsed=_collapsed_runs(info.get("runs") or ()),
            too_few=tuple(float(share) for share in info.get("too_few") or ()),
            permutation={k: float(v) for k, v in (info.get("permutation") or {}).items()},
        )


def _collapsed_runs(
    runs: Sequence[Mapping[str, Any]],
) -> dict[tuple[str, float], tuple[bool, ...]]:
    out: dict[tuple[str, float], tuple[bool, ...]] = {}
    for run in runs:
        key = (str(run.get("track", "")), float(run["fraction"]))
        out[key] = (*out.get(key, ()), bool(run["collapsed"]))
    return out


def _read_predictions(path: str | Path, items: Items) -> pd.DataFrame:
    with reading(path, "cannot be read as parquet"):
        frame = pd.read_parquet(path)
    columns = score_columns(items)
    for column in (*KEYS, "item", "split", *columns):
        if column not in frame:
            raise InputError(
                f"column {column!r} is missing{nearest(column, map(str, frame.columns))}",
                file=path,
                found=" ".join(map(str, frame.columns)),
            )
    if frame.empty:
        raise InputError("has no predictions", file=path)
    frame = frame[[*KEYS, "item", "split", *columns]]
    other = sorted(set(frame["split"]) - {"valid", "test"})
    if other:
        raise InputError("unknown split", file=path, found=other[0], expected="valid or test")
    row = pd.Index(items.item).get_indexer(frame["item"])
    if (row < 0).any():
        name = frame["item"].iloc[int(np.argmax(row < 0))]
        raise InputError("item is not in the dataset", file=path, found=name)
    wrong = ~np.isfinite(frame[columns].to_numpy(dtype=float)).all(axis=1)
    if wrong.any():
        name = frame["item"].iloc[int(np.argmax(wrong))]
        raise InputError(f"score of item {name!r} is not a finite number", file=path)
    twice = frame.duplicated([*KEYS, "item", "split"])
    if twice.any():
        name = frame["item"].iloc[int(np.argmax(twice))]
        raise InputError("item is predicted twice by one fit", file=path, found=name)
    if items.kind not in ("variants", "cohort"):
        # those two are fitted by leaving parts out, and so predict every item once as a test
        leaked = (frame["split"] != items.split[row]).to_numpy()
        if leaked.any():
            at = int(np.argmax(leaked))
            raise InputError(
                f"item {frame['item'].iloc[at]!r} is predicted in another split than its own",
                file=path,
                found=frame["split"].iloc[at],
                expected=items.split[row[at]],
            )
    return frame.assign(row=row)


def score_columns(items: Items) -> list[str]:
    """Return the names of the score columns of a dataset's predictions."""
    if items.multiclass:
        return [f"score_{k}" for k in range(len(items.classes))]
    return ["score"]


def _align(
    items: Items,
    name: str,
    parts: Sequence[tuple[str, pd.DataFrame]],
    infos: Mapping[str, ModelInfo],
) -> Track:
    tested = [part.loc[part["split"] == "test", "row"].to_numpy() for _, part in parts]
    rows_T = np.unique(np.concatenate([*tested, np.flatnonzero(items.split == "test")]))
    columns = score_columns(items)
    fits = []
    for path, part in parts:
        for key, fit in part.groupby(list(KEYS), sort=True):
            fit = fit.sort_values("row", kind="stable")
            test, valid = fit[fit["split"] == "test"], fit[fit["split"] == "valid"]
            lacking = np.setdiff1d(rows_T, test["row"].to_numpy())
            if len(lacking):
                raise InputError(
                    f"model {key[0]!r}{f', track {name!r}' if name else ''}, seeds {key[3]} and "
                    f"{key[4]}: test items are missing, the first is {items.item[lacking[0]]!r}",
                    file=path,
                    found=f"{len(test)} items",
                    expected=f"{len(rows_T)} items",
                )
            fits.append(
                Fit(
                    model=str(key[0]),
                    track=str(key[1]),
                    fraction=float(key[2]),
                    pretrain_seed=int(key[3]),
                    finetune_seed=int(key[4]),
                    scores=test[columns].to_numpy(dtype=float),
                    valid_rows=valid["row"].to_numpy(dtype=np.int64),
                    valid_scores=valid[columns].to_numpy(dtype=float),
                )
            )
    fits.sort(key=lambda fit: (model_rank(fit.model), -fit.fraction, fit.pretrain_seed))
    return Track(name, rows_T.astype(np.int64), tuple(fits), dict(infos))
