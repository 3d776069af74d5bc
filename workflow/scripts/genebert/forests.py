"""Forest plots: points with their 95 % intervals, one row a model or comparison.

In: result tables, ``ablation.tsv`` and ``comparisons.tsv`` as data frames. Out: SVG or PNG files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from genebert.bootstrap import ALL
from genebert.drawing import BLACK, FAINT, PALETTE, heading, is_variant, nothing, panels, save
from genebert.frames import by_dataset

ROW = 0.2  # inches of a row
_HEAD = 0.95  # inches of a panel beside its rows
DIFFERENCES = (ALL, "both;discordant")  # strata whose differences are drawn


def draw_forest(table: pd.DataFrame, path: str) -> None:
    """Draw the AUROC of every model but the variants of pre-training, one panel a dataset.

    Rows of single groups or classes (``dataset:name``) are left out. A model without interval is
    an open marker; the dashed line is chance.
    """
    rows = table[~_is_part(table) & ~table["model"].map(is_variant).astype(bool)]
    _draw_panels(rows, path, reference=None)


def draw_ablation(table: pd.DataFrame, path: str) -> None:
    """Draw the AUROC of every pre-training variant and of ``scratch``, one panel a dataset.

    The dotted line is the value of ``genebert``, all objectives together.
    """
    _draw_panels(table[~_is_part(table)], path, reference="genebert")


def _draw_panels(rows: pd.DataFrame, path: str, reference: str | None) -> None:
    parts = by_dataset(rows[rows["auroc"].notna()])
    heights = [_HEAD + ROW * len(part) for part in parts.values()]
    drawing, axes = panels(max(1, len(parts)), columns=3, height=heights or 2.0)
    lowest = rows[["auroc_low", "auroc"]].to_numpy(dtype=float)
    low = min(0.45, float(np.nanmin(lowest))) if parts else 0.45
    for ax, (name, part) in zip(axes, parts.items(), strict=False):
        own = part.rename(columns={"auroc": "value", "auroc_low": "low", "auroc_high": "high"})
        names = own["model"].tolist()
        if reference:  # variants: by their own names
            names = ["full" if n == reference else n.removeprefix("genebert-") for n in names]
        _draw_rows(ax, own.reset_index(drop=True), names)
        ax.axvline(0.5, color="#666666", linestyle="--", linewidth=0.9, zorder=0.5)
        for value in own.loc[own["model"] == reference, "value"]:
            ax.axvline(value, color=PALETTE[0], linestyle=":", linewidth=0.9, zorder=0.5)
        heading(ax, name)
        ax.set(xlabel="AUROC", xlim=(low - 0.02, 1.01))
    if not parts:
        nothing(axes[0], "no AUROC is defined")
    save(drawing, path)


def _is_part(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[rows]: the row is of one group or class of a dataset in the same table."""
    whole = set(zip(table["task"], table["dataset"], strict=True))
    names = table["dataset"].str.rpartition(":")[0]
    return np.array([key in whole for key in zip(table["task"], names, strict=True)], dtype=bool)


def _draw_rows(ax: Axes, part: pd.DataFrame, labels: list[str]) -> None:
    """Draw the rows of a frame with the columns model, value, low and high from above."""
    own = part["model"].str.startswith("genebert")
    oracle = part["model"] == "oracle"
    kinds = ((own, PALETTE[0], "o"), (oracle, BLACK, "s"), (~own & ~oracle, PALETTE[6], "s"))
    for mask, colour, marker in kinds:
        rows = part[mask]
        ax.hlines(rows.index, rows["low"], rows["high"], color=colour)
        for known, face in ((rows["low"].notna(), colour), (rows["low"].isna(), "white")):
            at = rows[known]
            ax.plot(
                at["value"], at.index, marker, color=colour, markerfacecolor=face, markersize=4.5
            )
    ax.set_yticks(range(len(part)), labels)
    ax.set_ylim(len(part) - 0.4, -0.6)
    ax.grid(axis="x", color="#eeeeee")


def draw_differences(table: pd.DataFrame, path: str) -> None:
    """Draw the paired differences genebert - rival: the primary ones, then a panel a dataset.

    Parameters
    ----------
    table : ``comparisons.tsv``. Of the exploratory ones those in AUROC with all labels are shown.
    """
    primary = table[table["kind"] == "primary"].reset_index(drop=True)
    rest = table[(table["kind"] == "exploratory") & (table["metric"] == "auroc")]
    rest = rest[(rest["fraction"] == 1) & rest["stratum"].isin(DIFFERENCES)]
    rest = rest[rest["difference"].notna()]
    groups = [
        (f"{task}: {name}" + ("" if stratum == ALL else f", {stratum}"), part)
        for (task, name, stratum), part in rest.groupby(["task", "dataset", "stratum"], sort=False)
    ]
    heights = [_HEAD + ROW * len(part) for _, part in groups]
    banner = _HEAD + 0.4 * len(primary)
    drawing, axes = panels(len(groups), columns=3, height=heights, banner=banner)
    _draw_primary(axes[0], primary)
    for ax, (title, part) in zip(axes[1:], groups, strict=True):
        rows = part.rename(columns={"difference": "value"}).reset_index(drop=True)
        rows["model"] = rows["rival"].where(rows["rival"] == "oracle", "rival")
        _draw_rows(ax, rows, part["rival"].tolist())
        ax.axvline(0, color="#666666", linestyle="--", linewidth=0.9, zorder=0.5)
        heading(ax, title)
        ax.set(xlabel="AUROC of genebert - rival")
        ax.locator_params(axis="x", nbins=4)
    save(drawing, path)


def _draw_primary(ax: Axes, primary: pd.DataFrame) -> None:
    labels = []
    for row, values in primary.iterrows():
        share = "" if values["fraction"] == 1 else f", {values['fraction']:.0%} of labels"
        where = "" if values["stratum"] == ALL else f", {values['stratum']}"
        labels.append(
            f"{values['comparison']}: genebert - {values['rival']}\n{values['task']}{where}{share}"
        )
        if np.isfinite(values["difference"]):
            ax.barh(
                row, 2 * values["detectable"], left=-values["detectable"], height=0.55,
                color="#e8eef4", zorder=0,
            )  # fmt: skip
            ax.hlines(row, values["low"], values["high"], color=PALETTE[0])
            ax.plot(values["difference"], row, "o", color=PALETTE[0], markersize=4.5)
        else:
            ax.text(
                0.5, row, values["note"], fontsize=8, ha="center", va="center",
                transform=ax.get_yaxis_transform(), backgroundcolor="white",
            )  # fmt: skip
    ends = primary[["low", "high", "detectable"]].abs().max().max()
    limit = 1.1 * ends if np.isfinite(ends) else 0.1
    ax.set_xlim(-limit, limit)
    ax.axvline(0, color="#666666", linestyle="--", linewidth=0.9, zorder=0.5)
    ax.set_yticks(range(len(primary)), labels)
    ax.set_ylim(len(primary) - 0.4, -0.6)
    ax.set(title="the five primary comparisons", xlabel="difference in AUPRC")
    ax.spines["left"].set_color(FAINT)
