"""The figures of pre-training and evaluation: one function a figure.

In: tables and training logs of the stages before. Out: SVG or PNG files that are equal byte for
byte when their input is. Style and palette: :mod:`genebert.drawing`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from genebert.drawing import MARKERS, PALETTE, STYLE, nothing, panels, save, shared_legend
from genebert.errors import InputError
from genebert.evaluate import CURVES, WIDE
from genebert.scores import model_rank

VERSION = 1

BLACK = "#000000"  # the oracle
DASHES = ("-", "--", ":", "-.")
LN4, LN2 = float(np.log(4)), float(np.log(2))
CHANCE = {"mgm": LN4, "mgm_masked": LN4, "ngsp": LN2}  # loss of a model that guesses


def training_curves(*, metrics: Sequence[str], figure: str) -> None:
    """Draw the losses of every pre-training run, and its AUROC on fixed sets, against the step.

    Lines of ``kind`` ``evaluation`` belong to a fixed ``set`` of rows (dashed, with markers); all
    others are training. A run's name is taken from its path,
    ``.../{variant}/seed-{seed}/metrics.jsonl``; seeds of a variant share a colour.

    Raises
    ------
    InputError
        If a file cannot be read or holds a line that is not a JSON object.
    """
    runs = [(Path(path).parent.parent.name, _read_log(path)) for path in metrics]
    variants = list(dict.fromkeys(variant for variant, _ in runs))
    points = pd.concat([log.assign(run=i) for i, (_, log) in enumerate(runs)], ignore_index=True)
    names = sorted(set(points["panel"]), key=lambda name: ("auroc" in name, name))
    with mpl.rc_context(STYLE):
        drawing, axes = panels(max(1, len(names)), columns=3, size=(3.6, 2.7))
        for ax, name in zip(axes, names, strict=False):
            shown = points[points["panel"] == name].groupby(["run", "source"], sort=True)
            for (run, source), line in shown:
                style: dict[str, Any] = {
                    "color": PALETTE[variants.index(runs[run][0]) % len(PALETTE)]
                }
                label = runs[run][0]
                if source != "train":
                    style |= {"linestyle": DASHES[1 + (source != "valid")], "marker": "."}
                    label = f"{label}, {source}"
                ax.plot(line["step"], line["value"], label=label, **style)
            level = 0.5 if "auroc" in name else CHANCE.get(name)
            if level is not None:
                ax.axhline(level, color="#bbbbbb", linewidth=0.8, zorder=0)
            ax.set(title=name, xlabel="step", ylabel="AUROC" if "auroc" in name else "loss (nats)")
        if not names:
            nothing(axes[0], "no losses were logged")
        shared_legend(drawing, axes)
        save(drawing, figure)


def _read_log(path: str) -> pd.DataFrame:
    """Return the columns panel, source (train or the name of a set), step and value."""
    rows: list[tuple[str, str, float, float]] = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", file=path) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError("not a JSON object", file=path, row=number, found=line[:40])
        if "step" not in record:
            continue
        source = str(record["set"]) if record.get("kind") == "evaluation" else "train"
        losses = record.get("loss")
        values = {**record, **losses} if isinstance(losses, dict) else record
        for key, value in values.items():
            shown = key in (*CHANCE, "loss", "srm", "mrm", "motif") or key.endswith("_auroc")
            if shown and isinstance(value, int | float):
                rows.append((key, source, float(record["step"]), float(value)))
    return pd.DataFrame(rows, columns=["panel", "source", "step", "value"])


def roc_pr(*, curves: Sequence[str], figure: str) -> None:
    """Draw, of every dataset, ROC curves (left) and precision-recall curves (right).

    Raises
    ------
    InputError
        If a table is missing or has other columns.
    """
    table = pd.concat([_read_table(path, CURVES) for path in curves], ignore_index=True)
    names, models = _datasets(table), _models(table)
    with mpl.rc_context(STYLE):
        drawing, axes = panels(max(2, 2 * len(names)), columns=2, size=(3.9, 3.4))
        for row, (name, part) in enumerate(names.items()):
            pair = axes[2 * row : 2 * row + 2]
            for ax, curve in zip(pair, ("roc", "pr"), strict=True):
                _draw_curves(ax, part[part["curve"] == curve], models)
                ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=name, aspect="equal")
            pair[0].plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
            pair[0].set(xlabel="false positive rate", ylabel="true positive rate")
            pair[1].set(xlabel="recall", ylabel="precision")
        if not names:
            nothing(axes[0], "no curves")
        shared_legend(drawing, axes)
        save(drawing, figure)


def calibration(*, curves: Sequence[str], figure: str) -> None:
    """Draw the share of positives against the mean predicted probability of ten equal bins.

    Raises
    ------
    InputError
        If a table is missing or has other columns.
    """
    table = pd.concat([_read_table(path, CURVES) for path in curves], ignore_index=True)
    models = _models(table)
    table = table[table["curve"] == "reliability"]
    names = _datasets(table)
    with mpl.rc_context(STYLE):
        drawing, axes = panels(max(1, len(names)), columns=3, size=(3.4, 3.4))
        for ax, (name, part) in zip(axes, names.items(), strict=False):
            ax.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
            _draw_curves(ax, part, models, markers=True)
            ax.set(title=name, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            ax.set(xlabel="mean predicted probability", ylabel="share of positives")
        if not names:
            nothing(axes[0], "no model predicts probabilities")
        shared_legend(drawing, axes)
        save(drawing, figure)


def _datasets(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of every dataset under the title of its panel."""
    groups = table.groupby(["task", "dataset"], sort=False)
    return {f"{task}: {name}": part for (task, name), part in groups}


def _models(table: pd.DataFrame) -> list[str]:
    return sorted(set(table["model"]), key=model_rank)


def _draw_curves(
    ax: Axes, part: pd.DataFrame, models: Sequence[str], *, markers: bool = False
) -> None:
    for index, model in enumerate(models):
        curve = part[part["model"] == model]
        if len(curve):
            style = {"color": BLACK, "linestyle": ":"} if model == "oracle" else _line(index)
            if markers:
                style |= {"marker": MARKERS[index % len(MARKERS)], "markersize": 3}
            ax.plot(curve["x"], curve["y"], label=model, **style)


def forest(*, tables: Sequence[str] | str, figure: str) -> None:
    """Draw the AUROC of every model with its interval, one panel a dataset.

    Rows of single groups or classes (``dataset:name``) are left out. A model without interval is
    an open marker; the dashed line is chance.

    Raises
    ------
    InputError
        If a table is missing or has other columns.
    """
    paths = [tables] if isinstance(tables, str) else list(tables)
    table = pd.concat([_read_table(path, WIDE) for path in paths], ignore_index=True)
    table = table[~_is_part(table)]
    table = table[table["auroc"].notna()]
    names = _datasets(table)
    most = max((len(part) for part in names.values()), default=1)
    low = min(0.45, float(np.nanmin(table[["auroc_low", "auroc"]].to_numpy()))) if names else 0.45
    with mpl.rc_context(STYLE):
        height = 0.9 + 0.22 * most
        drawing, axes = panels(max(1, len(names)), columns=2, size=(5.2, height))
        for ax, (name, part) in zip(axes, names.items(), strict=False):
            _draw_forest(ax, part.reset_index(drop=True))
            ax.set(title=name, xlabel="AUROC", xlim=(low - 0.02, 1.01))
        if not names:
            nothing(axes[0], "no AUROC is defined")
        save(drawing, figure)


def _is_part(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[rows]: the row is of one group or class of a dataset in the same table."""
    whole = set(zip(table["task"], table["dataset"], strict=True))
    names = table["dataset"].str.rpartition(":")[0]
    return np.array([key in whole for key in zip(table["task"], names, strict=True)], dtype=bool)


def _draw_forest(ax: Axes, part: pd.DataFrame) -> None:
    for row, values in part.iterrows():
        own = str(values["model"]).startswith("genebert")
        colour = PALETTE[0] if own else BLACK if values["model"] == "oracle" else PALETTE[6]
        known = np.isfinite(values["auroc_low"])
        if known:
            ax.hlines(row, values["auroc_low"], values["auroc_high"], color=colour)
        face = colour if known else "white"
        marker = "o" if own else "s"
        ax.plot(values["auroc"], row, marker, color=colour, markerfacecolor=face, markersize=5)
    ax.axvline(0.5, color="#666666", linestyle="--", linewidth=0.9, zorder=0.5)
    ax.set_yticks(range(len(part)), part["model"])
    ax.set_ylim(len(part) - 0.5, -0.5)
    ax.grid(axis="x", color="#eeeeee")
    ax.set_axisbelow(True)


def _read_table(path: str, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", na_values=["NA"], keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as a table ({error})", file=path) from None
    if tuple(table.columns) != tuple(columns):
        raise InputError("has other columns", file=path, row=1, found=" ".join(table.columns))
    text = ["task", "dataset", "model", "pretraining"]
    return table.astype(dict.fromkeys(text, str))


def _line(index: int) -> dict[str, Any]:
    dashes = DASHES[index // len(PALETTE) % len(DASHES)]
    return {"color": PALETTE[index % len(PALETTE)], "linestyle": dashes}
