"""The curves of pre-training: losses while training, and figures on held-out loci with references.

In: ``metrics.jsonl`` of all runs. Out: two figures. A run's variant and seed are taken from its
path, ``.../{variant}/seed-{seed}/metrics.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genebert.drawing import (
    BLACK,
    FAINT,
    PALETTE,
    nothing,
    panels,
    save,
    series,
    shared_legend,
    shorten,
)  # fmt: skip
from genebert.errors import InputError, reading

LN4, LN2 = float(np.log(4)), float(np.log(2))
# as in genebert.objectives, which loads torch
MGM, NGSP, SRM, MRM, MOTIF = "mgm", "ngsp", "srm", "mrm", "motif"
CHANCE = {
    MGM: LN4,
    NGSP: LN2,
    MOTIF: 1.0,
}  # loss of a model that guesses; SRM's depends on its kind of loss
TITLES = {
    MGM: "MGM: masked bases", NGSP: "NGSP: next region", SRM: "SRM: sequence and matrix",
    MRM: "MRM: masked regions",
    MOTIF: "motif: reading of the motif row",
}  # fmt: skip
SETS = {  # name in the log: what it is, colour, dashes
    "valid": ("training cell types", PALETTE[0], "-"),
    "held_out": ("held-out cell types", PALETTE[1], (0, (4, 1.5))),
}
WINDOWS = 20  # of the running mean of a training loss


@dataclass(frozen=True)
class Curve:
    """A figure of evaluation, and where the references of a finished run stand in its log.

    Attributes
    ----------
    key : its name in lines of kind ``evaluation``.
    title, unit : of the panel.
    chance : what a model that guesses has.
    reference : objective, metric and stratum of the line of kind ``figure``; ``{span}`` is the
        number of bases of a span that the variant hides.
    field : which field of that line is the reference.
    """

    key: str
    title: str
    unit: str
    chance: float
    reference: tuple[str, str, str]
    field: str = "value"


CURVES = (
    Curve("mgm_masked", "masked bases", "nats", LN4, (MGM, "nats", "span-{span}"), "reference"),
    Curve("ngsp_auroc", "next region", "AUROC", 0.5, (NGSP, "auroc_probe", "")),
    Curve("srm_n1_auroc", "match, other locus", "AUROC", 0.5, (SRM, "auroc_p0", "n1")),
    Curve("srm_n2_auroc", "match, other cell type", "AUROC", 0.5, (SRM, "auroc_p0", "n2")),
    Curve("mrm_r2", "masked regions", "R squared", 0.0, (MRM, "", "")),
    Curve("motif_r2", "motif row", "R squared", 0.0, (MOTIF, "", "")),
)


@dataclass(frozen=True)
class Run:
    """The log of one run.

    Attributes
    ----------
    losses : columns objective, step, value.
    figures : columns set, key, step, value; evaluations on fixed sets.
    finals : the lines of kind ``figure``.
    """

    variant: str
    losses: pd.DataFrame
    figures: pd.DataFrame
    finals: Sequence[dict[str, Any]]


def read_run(path: str) -> Run:
    """Return the log of a run.

    Raises
    ------
    InputError
        If it cannot be read or holds a line that is not a JSON object.
    """
    with reading(path, "cannot be read"):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    losses: list[tuple[str, int, float]] = []
    figures: list[tuple[str, str, int, float]] = []
    finals: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError("not a JSON object", file=path, row=number, found=line[:40])
        kind = record.get("kind")
        if kind == "train":
            losses += [(name, record["step"], value) for name, value in record["loss"].items()]
        elif kind == "evaluation":
            values = ((key, record.get(key)) for key in (curve.key for curve in CURVES))
            figures += [
                (str(record["set"]), key, record["step"], value)
                for key, value in values
                if isinstance(value, int | float)
            ]
        elif kind == "figure":
            finals.append(record)
    return Run(
        Path(path).parent.parent.name,
        pd.DataFrame(losses, columns=["objective", "step", "value"]),
        pd.DataFrame(figures, columns=["set", "key", "step", "value"]),
        finals,
    )


def draw_losses(runs: Sequence[Run], path: str) -> None:
    """Draw the training losses: one panel an objective, one line a variant.

    A line is the mean over seeds, and over a window of a twentieth of the run.
    """
    variants = list(dict.fromkeys(run.variant for run in runs))
    losses = pd.concat([run.losses.assign(variant=run.variant) for run in runs]).astype(
        {"value": float, "step": float}
    )
    names = [name for name in TITLES if name in set(losses["objective"])]
    drawing, axes = panels(max(1, len(names)), columns=3, height=3.6)
    for ax, name in zip(axes, names, strict=False):
        for number, variant in enumerate(variants):
            own = losses[(losses["objective"] == name) & (losses["variant"] == variant)]
            mean = own.groupby("step")["value"].mean()
            window = max(1, len(mean) // WINDOWS)
            line = mean.rolling(window, center=True, min_periods=1).mean()
            if len(line):
                style = series(number) | {"linewidth": 1.2, "markersize": 4}
                every = (number * len(line) // (8 * len(variants)), max(1, len(line) // 8))
                ax.plot(line.index, line, label=variant, markevery=every, **style)
        if name in CHANCE:
            ax.axhline(CHANCE[name], color=BLACK, linewidth=0.8, linestyle=":", label="chance")
        unit = "squared error" if name in (MRM, MOTIF) else "nats"
        ax.set(title=TITLES[name], xlabel="step", ylabel=f"loss ({unit})")
    if not names:
        nothing(axes[0], "no losses were logged")
    shared_legend(drawing, axes)
    save(drawing, path)


def draw_variants(runs: Sequence[Run], path: str, spans: Mapping[str, int]) -> None:
    """Draw every figure of evaluation of every variant against the step, with its references.

    One row a variant, one column a figure; rows share the scale of a column. Lines are seeds;
    colour and dash tell the set of loci; thick marks at the right end are the references of that
    set (mean over seeds), the dotted line is chance. A variant that is not in ``spans`` hides
    bases in another way: for them it has no reference, and a scale of its own.
    """
    variants = list(dict.fromkeys(run.variant for run in runs))
    present = {key for run in runs for key in run.figures["key"]}
    curves = [curve for curve in CURVES if curve.key in present]
    count = len(variants) * len(curves)
    drawing, axes = panels(max(1, count), columns=max(1, len(curves)), height=1.75)
    for number, variant in enumerate(variants if curves else []):
        own = [run for run in runs if run.variant == variant]
        for column, curve in enumerate(curves):
            ax = axes[number * len(curves) + column]
            _draw_variant(ax, own, curve, spans.get(variant))
            if column == 0:
                ax.set_ylabel(shorten(variant, 20))
            if number == 0:
                ax.set_title(f"{curve.title}: {curve.unit}")
            if number == len(variants) - 1:
                ax.set_xlabel("step")
    for column, curve in enumerate(curves):
        alike = [not curve.key.startswith(MGM) or variant in spans for variant in variants]
        _same_scale(list(compress(axes[column :: len(curves)], alike)))
    if not curves:
        nothing(axes[0], "nothing was evaluated")
    shared_legend(drawing, axes, inches=2.6)
    save(drawing, path)


def _draw_variant(ax: Axes, runs: Sequence[Run], curve: Curve, span: int | None) -> None:
    drawn = False
    for name in dict.fromkeys(name for run in runs for name in run.figures["set"]):
        label, colour, dashes = SETS.get(name, (name, PALETTE[2], ":"))
        for run in runs:
            line = run.figures[(run.figures["set"] == name) & (run.figures["key"] == curve.key)]
            if len(line):
                drawn = True
                ax.plot(
                    line["step"], line["value"], color=colour, linestyle=dashes, linewidth=1.1,
                    marker=".", markersize=4, label=label,
                )  # fmt: skip
        known = [value for run in runs for value in _reference(run, curve, name, span)]
        if known:
            ax.plot(
                [0.88, 1.0], [np.mean(known)] * 2, transform=ax.get_yaxis_transform(),
                color=colour, linewidth=3.5, alpha=0.45, solid_capstyle="butt",
                label=f"reference: {label}",
            )  # fmt: skip
    if drawn:
        last = max(run.figures["step"].max() for run in runs if len(run.figures))
        ax.set_xlim(0, 1.14 * last)  # the references stand right of the curves
        ax.axhline(curve.chance, color=FAINT, linewidth=0.9, linestyle=":", label="chance")
    else:
        nothing(ax, "objective\nis off")


def _reference(run: Run, curve: Curve, name: str, span: int | None) -> list[float]:
    """Return the reference of a figure on a set of loci in a list, or an empty list."""
    objective, metric, stratum = curve.reference
    wanted = (objective, metric, stratum.format(span=span), name)
    for record in run.finals:
        found = tuple(record.get(key) for key in ("objective", "metric", "stratum", "set"))
        if found == wanted:
            value = record.get(curve.field)
            return [] if value is None else [float(value)]
    return []


def _same_scale(axes: Sequence[Axes]) -> None:
    shown = [ax for ax in axes if ax.axison]
    if shown:
        low, high = zip(*(ax.get_ylim() for ax in shown), strict=True)
        for ax in shown:
            ax.set_ylim(min(low), max(high))
