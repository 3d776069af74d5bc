"""The figure of pre-training: what every run knows beyond its references, with intervals.

In: ``pretraining.tsv``. Out: one panel per objective and set of loci; a point is a run (variant and
seed), and left of 0 (MGM: nats below the Markov chain) or right of 0 (AUROC above the probe) is
more than the reference knows.
"""

from __future__ import annotations

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from genebert.drawing import MARKERS, PALETTE, STYLE, nothing, panels, save, shared_legend
from genebert.errors import InputError
from genebert.pretraining_table import COLUMNS

VERSION = 1

_DIFFERENCES = {  # metric: label of the axis
    "nats_minus_markov": "MGM - Markov chain (nats per hidden base)",
    "auroc_minus_probe": "NGSP - probe (AUROC)",
    "auroc_minus_p0": "SRM - P0 (AUROC)",
    "mse_minus_mean": "MRM, motif - mean (squared error)",
}


def beyond_references(*, table: str, figure: str) -> None:
    """Draw the differences of all runs to their references.

    Raises
    ------
    InputError
        If the table is missing or has other columns.
    """
    try:
        rows = pd.read_csv(table, sep="\t", na_values=["NA"], keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", file=table) from None
    if tuple(rows.columns) != COLUMNS:
        raise InputError("has other columns", file=table, expected=", ".join(COLUMNS))
    shown = [
        (metric, split, part)
        for metric in _DIFFERENCES
        for split, part in rows[rows["metric"] == metric].groupby("split", sort=False)
    ]
    variants = list(dict.fromkeys(rows["variant"]))
    with mpl.rc_context(STYLE):
        drawing, axes = panels(max(1, len(shown)), columns=2, size=(4.2, 3.0))
        for ax, (metric, split, part) in zip(axes, shown, strict=False):
            _draw(ax, part, variants)
            ax.set(xlabel=_DIFFERENCES[metric], title=f"{split} loci")
        if not shown:
            nothing(axes[0], "no figures of pre-training")
        shared_legend(drawing, axes)
        save(drawing, figure)


def _draw(ax: Axes, part: pd.DataFrame, variants: list[str]) -> None:
    """Draw one line per stratum; the runs of a stratum lie beside each other."""
    strata = list(dict.fromkeys(part["stratum"]))
    runs = list(dict.fromkeys(zip(part["variant"], part["seed"], strict=True)))
    for row in part.itertuples():
        place = runs.index((row.variant, row.seed)) + 0.5
        y = strata.index(row.stratum) + 0.7 * (place / len(runs) - 0.5)
        which = variants.index(row.variant)
        ax.errorbar(
            row.value, y, xerr=[[row.value - row.low], [row.high - row.value]], capsize=2,
            fmt=MARKERS[which % len(MARKERS)], markersize=3, linewidth=0.9,
            color=PALETTE[which % len(PALETTE)], label=row.variant,
        )  # fmt: skip
    ax.axvline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    names = [str(name) if isinstance(name, str) and name else "all" for name in strata]
    ax.set_yticks(range(len(strata)), names)
    ax.invert_yaxis()
