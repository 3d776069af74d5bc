"""Sequence logos of attributions beside the motif instances that the motif set knows.

In: the attributions of all models and the motif set. Out: an SVG or PNG file. Every base is a
letter as high as its contribution, below the line if it is negative; letters are outlines, so no
font is needed to read the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from genebert.drawing import PALETTE, STYLE, nothing, save
from genebert.genome import encode
from genebert.motifs import MotifSet

WINDOW = 70  # bases that are shown of an item
MAX_ITEMS = 3  # items drawn of a dataset
LANES = 5  # motif instances drawn of an item
COLOURS = {"A": PALETTE[2], "C": PALETTE[0], "G": PALETTE[4], "T": PALETTE[1]}
_OWN, _OTHER, _PLANTED = PALETTE[3], "#bbbbbb", "#fff2c4"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Instance:
    """A hit of a motif: [start, end) in the item; ``own`` if it is a motif of the item's TF."""

    name: str
    start: int
    end: int
    score: float
    own: bool


@dataclass(frozen=True)
class View:
    """What is drawn of one item.

    Attributes
    ----------
    title : the item, its dataset and TF.
    first : first base of the window of WINDOW bases.
    sequence : the whole sequence.
    heights : model -> float64[L], contributions.
    site : bool[L], planted sites; all false where nobody knows.
    instances : hits in the window, at most LANES.
    """

    title: str
    first: int
    sequence: str
    heights: Mapping[str, Floats]
    site: NDArray[np.bool_]
    instances: Sequence[Instance]


@cache
def outline(letter: str) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return vertices float64[V, 2] of a letter that fills the unit square, and their codes."""
    path = TextPath(
        (0, 0), letter, size=10, prop=FontProperties(family="DejaVu Sans", weight="bold")
    )
    box, codes = path.get_extents(), np.asarray(path.codes, dtype=np.uint8)
    return (np.asarray(path.vertices) - box.min) / box.size, codes


def letters(sequence: str, heights: Floats, first: int = 0) -> dict[str, Path]:
    """Return one compound path for each base: a letter at every position, as high as its value.

    Parameters
    ----------
    sequence : L bases; N draws nothing.
    heights : float[L]; negative ones hang below 0, letters upside down.
    first : x of the first letter; a letter is 0.9 wide.
    """
    out = {}
    for base in COLOURS:
        vertices, codes = outline(base)
        at = [i for i, letter in enumerate(sequence) if letter == base and np.isfinite(heights[i])]
        if at:
            scaled = [vertices * (0.9, heights[i]) + (first + i + 0.05, 0) for i in at]
            out[base] = Path(np.concatenate(scaled), np.tile(codes, len(at)))
    return out


def is_own(name: str, alternate: str, group: str) -> bool:
    """Tell whether a motif is one of a TF: its name, or ``TF_SPECIES...`` (HOCOMOCO), any case."""
    wanted = group.lower()
    return bool(wanted) and wanted in {
        name.lower(), alternate.lower(), name.lower().split("_")[0]
    }  # fmt: skip


def best_window(weight_L: Floats, width: int) -> int:
    """Return the start of the window with the largest sum of positive weights."""
    if len(weight_L) <= width:
        return 0
    total = np.concatenate([[0.0], np.cumsum(np.maximum(np.nan_to_num(weight_L), 0))])
    return int(np.argmax(total[width:] - total[:-width]))


def instances(
    sequence: str, motif_set: MotifSet, group: str, first: int, width: int
) -> list[Instance]:
    """Return the best hits of different motifs in a window: the TF's own first, then by score."""
    hits = motif_set.hits([encode(sequence)])
    found: dict[str, Instance] = {}
    for index, start, score in zip(hits.motif, hits.start, hits.score, strict=True):
        motif = motif_set.kept[int(index)]
        end = int(start) + motif.width
        if start < first or end > first + width:
            continue
        own = is_own(motif.name, motif.alternate, group)
        label = f"{motif.name} {motif.alternate}".strip()
        if label not in found or score > found[label].score:
            found[label] = Instance(label, int(start), end, float(score), own)
    ordered = sorted(found.values(), key=lambda hit: (not hit.own, -hit.score, hit.name))
    return ordered[:LANES]


def place_of(item: Any, first: int, width: int) -> str:
    """Return where a part of an item lies, 1-based with its last base; empty without coordinates.

    Parameters
    ----------
    item : contig, start, end, strand. first : offset of the part, along the strand.
    """
    if not item.contig:
        return ""
    minus = item.strand == "-"
    left = item.end - first - width if minus else item.start + first
    return f"{item.contig}:{left + 1:,}-{left + width:,}" + (" (-)" if minus else "")


def views(frame: pd.DataFrame, motif_set: MotifSet) -> list[View]:
    """Return what is drawn: the first MAX_ITEMS items of each dataset.

    The window is where the first model's contributions are largest: on data without known sites
    nothing else could choose it, so planted sites do not either.

    Parameters
    ----------
    frame : from :func:`genebert.interpret.read_attributions`.
    """
    out = []
    for (task, dataset), part in frame.groupby(["task", "dataset"], sort=False):
        for name in list(pd.unique(part["item"]))[:MAX_ITEMS]:
            item = part[part["item"] == name].sort_values(["model", "position"], kind="stable")
            models = {model: item[item["model"] == model] for model in pd.unique(part["model"])}
            one = next(iter(models.values()))
            sequence, group = "".join(one["reference"]), str(one["group"].iloc[0])
            heights = {m: rows["contribution"].to_numpy(float) for m, rows in models.items()}
            first = best_window(next(iter(heights.values())), WINDOW)
            place = place_of(one.iloc[0], first, min(WINDOW, len(sequence)))
            title = " ".join(filter(None, [f"{task}/{dataset}", group, place]))
            site = one["site"].to_numpy(float) == 1
            hits = instances(sequence, motif_set, group, first, WINDOW)
            out.append(View(title, first, sequence, heights, site, hits))
    return out


def draw_logos(shown: Sequence[View], path: str) -> None:
    """Draw a block for every item: a logo for each model, the motif instances below.

    Parameters
    ----------
    shown : from :func:`views`.
    path : output, SVG, PNG or PDF.
    """
    ratios = [ratio for view in shown for ratio in (*([1.0] * len(view.heights)), 1.1)]
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(11.0, max(1.0, 0.62 * sum(ratios))), layout="constrained")
        if not shown:
            nothing(drawing.add_subplot(), "no items")
        else:
            grid = drawing.add_gridspec(len(ratios), 1, height_ratios=ratios)
            row = 0
            for view in shown:
                for number, (model, heights) in enumerate(view.heights.items()):
                    ax = drawing.add_subplot(grid[row])
                    _draw_logo(ax, view, model, heights)
                    if number == 0:
                        ax.set_title(view.title, loc="left")
                    row += 1
                _draw_instances(drawing.add_subplot(grid[row]), view)
                row += 1
        save(drawing, path)


def _frame(ax: Axes, view: View) -> None:
    """Set the window and shade the planted sites."""
    ax.set_xlim(view.first, view.first + WINDOW)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], view.site.astype(int), [0]])))
    for start, end in edges.reshape(-1, 2):
        if end > view.first and start < view.first + WINDOW:
            ax.axvspan(start, end, color=_PLANTED, zorder=0)
    ax.set_xticks([])
    ax.spines[["bottom"]].set_visible(False)


def _draw_logo(ax: Axes, view: View, model: str, heights: Floats) -> None:
    _frame(ax, view)
    window = slice(view.first, view.first + WINDOW)
    part = heights[window]
    for base, path in letters(view.sequence[window], part, view.first).items():
        ax.add_patch(PathPatch(path, facecolor=COLOURS[base], linewidth=0))
    known = part[np.isfinite(part)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    room = max(high - min(low, 0), 1e-9) * 0.05
    ax.set_ylim(min(low, 0) - room, max(high, 0) + room)
    ax.axhline(0, color="#888888", linewidth=0.5)
    ax.set_ylabel(model, rotation=0, ha="right", va="center", fontsize=8)
    ax.locator_params(axis="y", nbins=2)
    ax.tick_params(axis="y", labelsize=6)


def _draw_instances(ax: Axes, view: View) -> None:
    _frame(ax, view)
    for lane, hit in enumerate(view.instances):
        colour = _OWN if hit.own else _OTHER
        ax.barh(-lane, hit.end - hit.start, left=hit.start, height=0.75, color=colour)
        ax.text(hit.end + 0.3, -lane, hit.name, fontsize=6, va="center")
    ax.set_ylim(-LANES + 0.4, 0.6)
    ax.set_yticks([])
    ax.set_ylabel("motifs", rotation=0, ha="right", va="center", fontsize=8)
    ax.spines[["left"]].set_visible(False)
