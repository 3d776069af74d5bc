"""What every model of a task is given, and the form in which it answers.

In: a dataset (``dataset.parquet`` and its description) and the paths of a prediction job. Out: the
items as arrays, the subsets of labels for few-shot curves, the score that selects on validation
data, and the rows of ``predictions.parquet``. Labels of the test split are blanked here, so no
model can use one by mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert import features
from genebert.errors import InputError
from genebert.metrics import auprc, auroc, macro
from genebert.tasks.dataset import read_dataset

if TYPE_CHECKING:
    from genebert.context import Context
    from genebert.motifs import MotifSet

Result = tuple[pd.DataFrame, dict[str, Any]]  # rows of predictions, and what was fitted
CHANCE = 0.01  # a validation AUROC closer to 0.5 than that is chance
MIN_POSITIVES = 20  # a label subset with fewer items of the rarest class is not trained on


@dataclass(frozen=True)
class Items:
    """The items of a dataset; N items, U distinct sequences of at most L bases.

    Attributes
    ----------
    name : str[N], unique names.
    codes : uint8[U, L], the distinct sequences (shorter ones end in N).
    sequence : int64[N], row of ``codes`` of each item.
    label : float64[N]; NaN in the test split.
    group : int64[N], index into ``groups`` (one group, named '', if the dataset has none).
    cell_type, contig, split : str[N].
    start, end, region : int64[N]; region is -1 where there is none.
    oracle : float64[N, K], true probabilities (K = 1 for a binary dataset); NaN where unknown.
    info : the description of the dataset.
    """

    name: NDArray[np.object_]
    codes: NDArray[np.uint8]
    sequence: NDArray[np.int64]
    label: NDArray[np.float64]
    group: NDArray[np.int64]
    groups: tuple[str, ...]
    cell_type: NDArray[np.object_]
    contig: NDArray[np.object_]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    region: NDArray[np.int64]
    split: NDArray[np.object_]
    oracle: NDArray[np.float64]
    info: Mapping[str, Any]
    file: str = field(default="dataset")

    def __len__(self) -> int:
        return len(self.name)

    @property
    def multiclass(self) -> bool:
        """Whether an item has one of several classes instead of a yes or no."""
        return bool(self.info["kind"] == "multiclass")

    @property
    def n_outputs(self) -> int:
        """Number of logits of a network: one per class, or one per group."""
        return len(self.info["classes"]) if self.multiclass else len(self.groups)

    @property
    def strand_specific(self) -> bool:
        """Whether the strand of the sequence carries meaning (no reverse complement then)."""
        return bool(self.info["strand_specific"])

    @property
    def anchor_hidden(self) -> bool:
        """Whether the label is the anchor's accessibility, so that no model may see it."""
        return bool(self.info.get("anchor_hidden", False))

    @property
    def anchor_shown(self) -> bool:
        """Whether the region branch sees the item's own region; else pre-training's placeholder."""
        return not self.anchor_hidden and self.info.get("anchor", "shown") == "shown"

    @property
    def focus(self) -> tuple[int, int] | None:
        """First and last base of the sequence that the label is about (TSS, splice site), if known.

        From the offsets in the description's `window`; None where the strand has no meaning.
        """
        window = self.info.get("window") or {}
        offsets = [int(value) for key, value in window.items() if key.endswith("_offset")]
        return (min(offsets), max(offsets)) if offsets and self.strand_specific else None

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Items that get a prediction: validation and test."""
        return np.flatnonzero(self.split != "train")

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split."""
        return np.flatnonzero(self.split == split)

    @cached_property
    def sequences(self) -> list[str]:
        """The distinct sequences as strings, in the order of ``codes``."""
        letters = np.frombuffer(b"ACGTN", dtype=np.uint8)[self.codes]
        return [row.tobytes().decode("ascii") for row in letters]


def read_items(dataset: str, description: str) -> Items:
    """Read a dataset of kind ``binary`` or ``multiclass``, without the labels of the test split.

    Parameters
    ----------
    dataset, description : paths of ``dataset.parquet`` and ``dataset.json``.

    Raises
    ------
    InputError
        If the dataset is damaged or of another kind, or has no item to train or to select on.
    """
    frame, info = read_dataset(dataset, description)
    if info["kind"] not in ("binary", "multiclass"):
        raise InputError(
            "dataset has no label per sequence",
            file=description,
            found=info["kind"],
            expected="binary or multiclass",
        )
    split = frame["split"].to_numpy(dtype=object)
    for name in ("train", "valid"):
        if not (split == name).any():
            raise InputError(f"no item in split {name!r}", file=dataset)
    sequence, unique = pd.factorize(frame["sequence"], sort=True)
    group, groups = pd.factorize(frame["group"], sort=True)
    label = frame["label"].to_numpy(dtype=np.float64).copy()
    label[split == "test"] = np.nan
    names = [f"oracle_{k}" for k in range(len(info["classes"]))]
    oracle = frame[names if info["kind"] == "multiclass" else ["oracle"]]
    return Items(
        name=frame["item"].to_numpy(dtype=object),
        codes=features.encode_all(list(unique)),
        sequence=sequence.astype(np.int64),
        label=label,
        group=group.astype(np.int64),
        groups=tuple(str(name) for name in groups),
        cell_type=frame["cell_type"].to_numpy(dtype=object),
        contig=frame["contig"].to_numpy(dtype=object),
        start=frame["start"].to_numpy(dtype=np.int64),
        end=frame["end"].to_numpy(dtype=np.int64),
        region=frame["region"].to_numpy(dtype=np.int64),
        split=split,
        oracle=oracle.to_numpy(dtype=np.float64),
        info=info,
        file=str(dataset),
    )


@dataclass(frozen=True)
class Job:
    """One (dataset, model) to fit and predict: paths and settings, read when first used.

    Attributes
    ----------
    model : name of the model as in the tables.
    dataset, description, motif_set, shards : paths.
    weights : ``model.safetensors`` of each pre-training seed; empty for models without.
    effort : the config block of that name.
    pretrain : the merged config block of the variant ``full``.
    seed : seed of every random number.
    threads : CPU threads of the computation.
    fitted : where a network is kept (:mod:`genebert.finetuned`); nowhere if empty.
    cohort : ``cohort.npz``, or nothing.
    """

    model: str
    dataset: str
    description: str
    motif_set: str
    shards: str
    weights: Sequence[str]
    effort: Mapping[str, Any]
    pretrain: Mapping[str, Any]
    seed: int
    threads: int
    fitted: str = ""
    cohort: Sequence[str] = ()

    @cached_property
    def items(self) -> Items:
        """The items, labels of the test split blanked."""
        return read_items(self.dataset, self.description)

    @cached_property
    def context(self) -> Context:
        """What is known of every locus in every cell type."""
        from genebert.context import Context
        from genebert.shards import Shards

        return Context(Shards.open(self.shards))

    @cached_property
    def motifs(self) -> MotifSet:
        """The motif set."""
        from genebert.motifs import MotifSet

        return MotifSet.read(self.motif_set)


@dataclass(frozen=True)
class Subset:
    """Training items of one run: all of them (fraction 1, draw 0) or a few-shot draw.

    A fraction above 1 is a number of items.
    """

    fraction: float
    draw: int
    rows: NDArray[np.int64]


def label_subsets(
    items: Items, fractions: Sequence[float], draws: int, seed: int
) -> Iterator[Subset]:
    """Yield the subsets of the training labels, the same for every model.

    Within each draw the subsets are nested and stratified: the items of each (label, group) are
    shuffled once and a fraction takes the first so many of each. Subsets with fewer than
    `MIN_POSITIVES` items of the rarest class are left out.

    Parameters
    ----------
    fractions : shares of the labels; 1.0 is all of them and is drawn once. A value above 1 is a
        number of labels, left out where there are no more than that.
    draws : draws of each share or number.
    seed : seed of the draws.
    """
    train = items.rows("train")
    stratum = items.label[train] * len(items.groups) + items.group[train]
    for fraction in sorted({float(f) for f in fractions}, reverse=True):
        share = fraction / len(train) if fraction > 1 else fraction
        if fraction == 1:
            yield Subset(1.0, 0, train)
        if share >= 1:
            continue
        for draw in range(1, draws + 1):
            rng = np.random.default_rng([seed, draw])
            order = rng.permutation(len(train))
            chosen = np.zeros(len(train), dtype=bool)
            for value in np.unique(stratum):
                members = order[stratum[order] == value]
                chosen[members[: round(share * len(members))]] = True
            rows = train[chosen]
            if rarest(items, rows) >= MIN_POSITIVES:
                yield Subset(fraction, draw, rows)


def rarest(items: Items, rows: NDArray[np.int64]) -> int:
    """Return the number of items of the rarest class."""
    classes = len(items.info["classes"])
    return int(np.bincount(items.label[rows].astype(np.int64), minlength=classes).min())


def too_few(items: Items, fractions: Sequence[float], draws: int, seed: int) -> list[float]:
    """Return the fractions and numbers of labels that `label_subsets` leaves out as too few.

    Not those that ask for as many labels as there are, or more.
    """
    had = {subset.fraction for subset in label_subsets(items, fractions, draws, seed)}
    count = len(items.rows("train"))
    return [f for f in sorted({float(f) for f in fractions}) if f not in had and f < count]


def selection_score(items: Items, rows: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Return the score that is maximised on validation data: average precision.

    Macro-averaged over groups (binary) or over classes against the rest (multi-class); 0 where a
    score is not finite, so that a diverged run is never chosen.

    Parameters
    ----------
    rows : int64[n] items, with known labels.
    score : float[n, K], K = 1 for a binary dataset.
    """
    if not np.isfinite(score).all():
        return 0.0
    value = macro(auprc, items.label[rows], score, items.group[rows])
    return 0.0 if np.isnan(value) else value


def is_collapsed(items: Items, rows: NDArray[np.int64], score: NDArray[np.float64]) -> bool:
    """Tell whether a run has learned nothing: one value for all items, or chance on validation.

    Parameters
    ----------
    rows : int64[n] items; those of the validation split count for the AUROC.
    score : float[n, K].
    """
    if not np.isfinite(score).all() or (np.ptp(score, axis=0) < 1e-4).all():
        return True
    valid = items.split[rows] == "valid"
    rows, score = rows[valid], score[valid]
    return macro(auroc, items.label[rows], score, items.group[rows]) < 0.5 + CHANCE


def prediction_rows(
    items: Items,
    score: NDArray[np.float64],
    *,
    model: str,
    track: str = "",
    pretrain_seed: int = 0,
    finetune_seed: int = 0,
    fraction: float = 1.0,
) -> pd.DataFrame:
    """Return the rows of ``predictions.parquet`` of one run.

    Parameters
    ----------
    score : float[n, K] of the n items in ``items.predicted``; K = 1 for a binary dataset.
    """
    rows = items.predicted
    frame = pd.DataFrame(
        {
            "model": model,
            "track": track,
            "item": items.name[rows],
            "split": items.split[rows],
            "pretrain_seed": np.int64(pretrain_seed),
            "finetune_seed": np.int64(finetune_seed),
            "fraction": float(fraction),
        }
    )
    names = [f"score_{k}" for k in range(score.shape[1])] if items.multiclass else ["score"]
    for name, column in zip(names, score.T, strict=True):
        frame[name] = column.astype(np.float64)
    return frame
