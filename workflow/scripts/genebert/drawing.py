"""What all figures share: one style, colours that can be told apart, files equal byte for byte.

Colours can be told apart with a colour vision deficiency (palette of Okabe and Ito, 2008) and never
carry meaning alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genebert.errors import InputError
from genebert.scores import model_rank

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
MARKERS = "osD^vPX"
STYLE: Any = {
    "svg.hashsalt": "genebert",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "savefig.dpi": 150,
}
_METADATA: Mapping[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def nothing(ax: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()


def save(drawing: Figure, path: str) -> None:
    """Write a figure without dates, in the format of its suffix.

    Raises
    ------
    InputError
        If the suffix is not that of a known format.
    """
    suffix = Path(path).suffix
    if suffix not in _METADATA:
        raise InputError("unknown kind of figure", file=path, expected=" ".join(_METADATA))
    with mpl.rc_context(STYLE):  # the salt of SVG identifiers is read when the file is written
        drawing.savefig(path, format=suffix[1:], metadata=_METADATA[suffix])


def panels(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of one size (inches), filled row by row."""
    across = min(columns, count)
    down = -(-count // across)
    drawing = Figure(figsize=(size[0] * across, size[1] * down + 0.6), layout="constrained")
    axes = drawing.subplots(down, across, squeeze=False).ravel().tolist()
    for ax in axes[count:]:
        ax.set_axis_off()
    return drawing, axes[:count]


def shared_legend(drawing: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels below them."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        labels = sorted(found, key=model_rank)
        handles = [found[label] for label in labels]
        across = min(len(labels), max(1, int(drawing.get_figwidth() / 1.9)))
        drawing.legend(handles, labels, loc="outside lower center", ncols=across)
