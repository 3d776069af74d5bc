"""The figures of the evaluation, all drawn by one job.

In: the tables of all datasets. Out: SVG or PNG files that are equal byte for byte when their input
is: ROC and precision-recall curves, calibration, forest plots of models and of pre-training
variants, paired differences, few-shot curves, and what similarity to the training items is worth.
Style and palette: :mod:`genebert.drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genebert.bootstrap import ALL
from genebert.drawing import (
    FAINT,
    STYLE,
    heading,
    is_variant,
    model_styles,
    nothing,
    panels,
    save,
    shared_legend,
    shorten,
)  # fmt: skip
from genebert.evaluate import CURVES, LONG, WIDE
from genebert.forests import draw_ablation, draw_differences, draw_forest
from genebert.frames import by_dataset, read_frame, read_frames
from genebert.result_tables import COMPARISONS
from genebert.scores import model_rank

VERSION = 3

PROBE = "-probe"  # ends the name of a dataset in the track of frozen encoders
Styles = Mapping[str, dict[str, Any]]  # of every model
_GUIDE: dict[str, Any] = {"color": FAINT, "linewidth": 0.8, "zorder": 0}


def evaluation_figures(
    *,
    curves: Sequence[str],
    tables: Sequence[str] | str,
    long: str,
    ablations: str,
    differences: str,
    roc_pr: str,
    calibration: str,
    forest: str,
    ablation: str,
    comparisons: str,
    few_shot: str,
    similarity: str,
) -> None:
    """Draw the figures of the evaluation.

    Parameters
    ----------
    curves : inputs, ``curves.tsv`` of every dataset.
    tables : inputs, the result tables of all tasks.
    long, ablations, differences : inputs, ``metrics.tsv``, ``ablation.tsv``, ``comparisons.tsv``.
    roc_pr, calibration, forest, ablation, comparisons, few_shot, similarity : outputs.

    Raises
    ------
    InputError
        If a table is missing or has other columns.
    """
    points = read_frames(curves, CURVES)
    points = points[~points["model"].map(is_variant).astype(bool)]
    wide = read_frames(tables, WIDE)
    variants = read_frame(ablations, WIDE)
    paired = read_frame(differences, COMPARISONS)
    columns = ("task", "dataset", "stratum", "model", "pretrain_seed", "metric")
    summary = read_frame(long, LONG, (*columns, "value", "low", "high", "n"))
    summary = summary[(summary["pretrain_seed"] == ALL) & ~summary["model"].map(is_variant)]
    styles = model_styles([*points["model"], *summary["model"]])
    with mpl.rc_context(STYLE):
        draw_roc_pr(points, styles, roc_pr)
        draw_calibration(points, styles, calibration)
        draw_forest(wide, forest)
        draw_ablation(variants, ablation)
        draw_differences(paired, comparisons)
        draw_few_shot(summary, wide, styles, few_shot)
        draw_similarity(summary, styles, similarity)


def _models(table: pd.DataFrame) -> list[str]:
    return sorted(set(table["model"]), key=model_rank)


def draw_roc_pr(points: pd.DataFrame, styles: Styles, path: str) -> None:
    """Draw, of every dataset, the ROC curves (left) and the precision-recall curves (right)."""
    names = by_dataset(points)
    drawing, axes = panels(max(2, 2 * len(names)), columns=4, height=2.9)
    for row, (name, part) in enumerate(names.items()):
        pair = axes[2 * row : 2 * row + 2]
        for ax, curve in zip(pair, ("roc", "pr"), strict=True):
            _draw_curves(ax, part[part["curve"] == curve], styles, every=5 + (curve == "roc"))
            ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        pair[0].plot([0, 1], [0, 1], **_GUIDE)
        pair[0].set(xlabel="false positive rate", ylabel="true positive rate")
        pair[0].set_title(shorten(name, 60), loc="left")
        pair[1].set(xlabel="recall", ylabel="precision")
    if not names:
        nothing(axes[0], "no curves")
        axes[1].set_axis_off()
    shared_legend(drawing, axes)
    save(drawing, path)


def draw_calibration(points: pd.DataFrame, styles: Styles, path: str) -> None:
    """Draw the share of positives against the mean predicted probability of ten equal bins."""
    names = by_dataset(points[points["curve"] == "reliability"])
    drawing, axes = panels(max(1, len(names)), columns=3, height=3.4)
    for ax, (name, part) in zip(axes, names.items(), strict=False):
        ax.plot([0, 1], [0, 1], **_GUIDE)
        _draw_curves(ax, part, styles, every=1)
        heading(ax, name)
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        ax.set(xlabel="mean predicted probability", ylabel="share of positives")
    if not names:
        nothing(axes[0], "no model predicts probabilities")
    shared_legend(drawing, axes)
    save(drawing, path)


def _draw_curves(ax: Axes, part: pd.DataFrame, styles: Styles, *, every: int) -> None:
    """Draw one line a model, a marker at every so many points, shifted from model to model."""
    for number, model in enumerate(_models(part)):
        curve = part[part["model"] == model]
        marks = (number * 3 % every, every) if every > 1 else 1
        ax.plot(
            curve["x"], curve["y"], label=model, markevery=marks, markersize=3.2,
            **styles[model],
        )  # fmt: skip


def draw_few_shot(summary: pd.DataFrame, wide: pd.DataFrame, styles: Styles, path: str) -> None:
    """Draw the AUROC against the number of labels, one row a dataset: both tracks.

    Parameters
    ----------
    summary : rows of ``metrics.tsv`` over all seeds.
    wide : the result tables, for the number of training items.
    styles : of every model.
    """
    curves = few_shot_points(summary, wide)
    bases = dict.fromkeys(
        (task, name.removesuffix(PROBE))
        for task, name in zip(curves["task"], curves["dataset"], strict=True)
    )
    drawing, axes = panels(max(1, 2 * len(bases)), columns=2, height=3.0)
    for row, (task, base) in enumerate(bases):
        pair = axes[2 * row : 2 * row + 2]
        for ax, name in zip(pair, (base, base + PROBE), strict=True):
            track = curves[(curves["task"] == task) & (curves["dataset"] == name)]
            what = "frozen encoders, linear probe" if name != base else "all weights fitted"
            heading(ax, f"{task}: {base} ({what})", most=64)
            if track.empty:
                nothing(ax, "no curve in this track")
            else:
                _draw_few_shot(ax, track, styles)
        both = curves[(curves["task"] == task) & curves["dataset"].isin([base, base + PROBE])]
        ends = both[["low", "high", "value"]].to_numpy()
        for ax in pair:
            ax.set_ylim(np.nanmin(ends) - 0.02, np.nanmax(ends) + 0.02)
    if not bases:
        nothing(axes[0], "no few-shot curves: all labels only, or too few positives")
    shared_legend(drawing, axes)
    save(drawing, path)


def few_shot_points(summary: pd.DataFrame, wide: pd.DataFrame) -> pd.DataFrame:
    """Return the AUROC by number of labels: task, dataset, model, labels, value, low, high.

    A share of the labels becomes their number; models without a point below all labels are left
    out, and so are points without a value (too few labels).
    """
    rows = summary[(summary["metric"] == "auroc") & summary["value"].notna()]
    shared = rows["stratum"].str.extract(r"^(fraction|labels)=(.+)$")
    rows = rows.assign(kind=shared[0].fillna(""), share=pd.to_numeric(shared[1]))
    rows = rows[(rows["kind"] != "") | (rows["stratum"] == ALL)]
    n_train = wide.set_index(["task", "dataset", "model"])["n_train"]
    n_train = n_train[~n_train.index.duplicated()]
    keys = pd.MultiIndex.from_frame(rows[["task", "dataset", "model"]])
    total = n_train.reindex(keys).to_numpy(dtype=float)
    labels = np.where(rows["kind"] == "labels", rows["share"], total)
    labels = np.where(rows["kind"] == "fraction", np.round(rows["share"] * total), labels)
    rows = rows.assign(labels=labels)
    few = rows.groupby(["task", "dataset", "model"])["kind"].transform(lambda kind: any(kind))
    rows = rows[few.astype(bool) & rows["labels"].notna() & (rows["labels"] > 0)]
    columns = ["task", "dataset", "model", "labels", "value", "low", "high"]
    return rows.sort_values("labels", kind="stable")[columns]


def _draw_few_shot(ax: Axes, track: pd.DataFrame, styles: Styles) -> None:
    models = _models(track)
    for number, model in enumerate(models):
        curve = track[track["model"] == model]
        shifted = curve["labels"] * 1.025 ** (number - (len(models) - 1) / 2)
        style = styles[model]
        ax.plot(shifted, curve["value"], label=model, markersize=4, **style)
        ax.vlines(shifted, curve["low"], curve["high"], color=style["color"], linewidth=0.9)
    ax.axhline(0.5, **_GUIDE)
    ax.set_xscale("log")
    ticks = sorted(set(track["labels"].astype(int)))
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="labels that a model is fitted to", ylabel="AUROC")


def draw_similarity(summary: pd.DataFrame, styles: Styles, path: str) -> None:
    """Draw the AUROC by the similarity of a test item to its nearest train or valid item."""
    rows = summary[(summary["metric"] == "auroc") & summary["value"].notna()]
    rows = rows[rows["stratum"].str.startswith("similarity=")]
    rows = rows.assign(bin=rows["stratum"].str.removeprefix("similarity="))
    names = {
        name: part for name, part in by_dataset(rows).items() if not name.endswith(PROBE)
    }  # fmt: skip
    drawing, axes = panels(max(1, len(names)), columns=3, height=2.9)
    for ax, (name, part) in zip(axes, names.items(), strict=False):
        bins = sorted(set(part["bin"]), key=lambda text: float(text.split("-")[0]))
        size: Mapping[str, Any] = part.groupby("bin")["n"].max().to_dict()
        models = _models(part)
        for number, model in enumerate(models):
            own = part[part["model"] == model]
            place = own["bin"].map(bins.index) + 0.7 * ((number + 0.5) / len(models) - 0.5)
            style = styles[model] | {"linestyle": "none"}
            ax.vlines(place, own["low"], own["high"], color=style["color"], linewidth=0.9)
            ax.plot(place, own["value"], label=model, markersize=4, **style)
        ax.axhline(0.5, **_GUIDE)
        ax.set_xticks(range(len(bins)), [f"{text}\n{size[text]:,.0f} items" for text in bins])
        heading(ax, name)
        ax.set(ylabel="AUROC", xlabel="share of 16-mers in the nearest known item")
    if not names:
        nothing(axes[0], "all test items are alike in this: no strata")
    shared_legend(drawing, axes)
    save(drawing, path)
