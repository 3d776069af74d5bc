"""The figures of pre-training, all drawn by one job.

In: ``metrics.jsonl`` of all runs and ``pretraining.tsv``. Out: training losses, every variant's
figures on held-out loci with their references (:mod:`genebert.training_curves`), and what every run
knows beyond its references at the end, with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genebert.drawing import (
    MARKERS,
    PALETTE,
    STYLE,
    nothing,
    panels,
    save,
    shared_legend,
    shorten,
)  # fmt: skip
from genebert.frames import read_frame
from genebert.pretraining_table import COLUMNS
from genebert.training_curves import SETS, draw_losses, draw_variants, read_run

VERSION = 4

_DIFFERENCES = {  # metric: label of the axis
    "nats_minus_markov": "MGM - Markov chain (nats)",
    "auroc_minus_probe": "NGSP - probe (AUROC)",
    "auroc_minus_p0": "SRM - P0 (AUROC)",
    "auroc_minus_matrix": "SRM - matrix probe (AUROC)",
    "mse_minus_mean": "MRM, motif - mean (squared error)",
}


def pretraining_figures(
    *,
    metrics: Sequence[str],
    table: str,
    training_curves: str,
    variant_curves: str,
    beyond_references: str,
    spans: Mapping[str, int],
) -> None:
    """Draw the figures of pre-training.

    Parameters
    ----------
    metrics : inputs, logs of all runs.
    table : input, ``pretraining.tsv``.
    spans : by variant, the bases of a hidden span while it is evaluated (``layout.hidden_spans``).
    training_curves, variant_curves, beyond_references : outputs.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    runs = [read_run(path) for path in metrics]
    rows = read_frame(table, COLUMNS)
    with mpl.rc_context(STYLE):
        draw_losses(runs, training_curves)
        draw_variants(runs, variant_curves, spans)
        draw_beyond_references(rows, beyond_references)


def draw_beyond_references(rows: pd.DataFrame, path: str) -> None:
    """Draw the differences of all runs to their references: one row a variant, a point a seed.

    One panel a figure and stratum, colour and marker for the set of loci. Left of 0 (MGM: nats
    below the Markov chain; MRM: error below the mean's) or right of 0 (AUROC above the probe) is
    more than the reference knows.
    """
    shown = [
        (metric, objective, stratum, part)
        for metric in _DIFFERENCES
        for (objective, stratum), part in rows[rows["metric"] == metric].groupby(
            ["objective", "stratum"], sort=False
        )
    ]
    variants = list(dict.fromkeys(rows["variant"]))
    points = rows["seed"].nunique() * rows["split"].nunique()
    height = 0.9 + len(variants) * max(0.2, 0.05 * points + 0.05)
    drawing, axes = panels(max(1, len(shown)), columns=3, height=height)
    for number, (ax, one) in enumerate(zip(axes, shown, strict=False)):
        metric, objective, stratum, part = one
        _draw(ax, part, variants)
        ax.set(xlabel=_DIFFERENCES[metric], title=_title(objective, stratum))
        if number % 3:
            ax.set_yticklabels([])
    if not shown:
        nothing(axes[0], "no figures of pre-training")
    shared_legend(drawing, axes)
    save(drawing, path)


def _title(objective: str, stratum: str) -> str:
    """Return the title of a panel: mgm, ``span-5:repeat`` is "mgm, span 5, repeat"."""
    stratum = stratum.replace("span-", "span ").replace(":", ", ")
    return f"{objective}, {stratum}" if stratum else objective


def _draw(ax: Axes, part: pd.DataFrame, variants: list[str]) -> None:
    """Draw one band per variant; its seeds and sets lie below each other."""
    marks = list(dict.fromkeys(sorted(zip(part["split"], part["seed"], strict=True), reverse=True)))
    splits = list(SETS)
    for split, own in part.groupby("split", sort=False):
        place = [marks.index((split, seed)) + 0.5 for seed in own["seed"]]
        y = own["variant"].map(variants.index) + 0.8 * (np.array(place) / len(marks) - 0.5)
        label, colour, _ = SETS.get(split, (split, PALETTE[2], ""))
        marker = MARKERS[splits.index(split) if split in splits else -1]
        ax.hlines(y, own["low"], own["high"], color=colour, linewidth=0.9)
        ax.plot(own["value"], y, marker, color=colour, markersize=3, label=label)
    for edge in range(1, len(variants)):
        ax.axhline(edge - 0.5, color="#eeeeee", linewidth=0.8, zorder=0)
    ax.axvline(0, color="#666666", linestyle="--", linewidth=0.9, zorder=0)
    ax.set_yticks(range(len(variants)), [shorten(name, 20) for name in variants])
    ax.set_ylim(len(variants) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=5)
