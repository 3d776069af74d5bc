"""What all figures share: one style, colours that can be told apart, files equal byte for byte.

Colours can be told apart with a colour vision deficiency (palette of Okabe and Ito, 2008) and never
carry meaning alone: dashes and markers change with them. A model looks the same in every figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from genebert.errors import InputError
from genebert.scores import MODEL_ORDER, model_rank

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
BLACK = "#000000"  # the oracle
FAINT = "#bbbbbb"  # chance, references, guides
MARKERS = "osD^vPX"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
WIDTH = 11.0  # inches: what a report shows without scaling down
STYLE: Any = {
    "svg.hashsalt": "genebert",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.4,
    "savefig.dpi": 150,
}
DECIMALS = 5  # of the place of axes in a figure
_METADATA: Mapping[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def series(index: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the line of a number: 28 that differ."""
    turn = index // len(PALETTE)
    return {
        "color": PALETTE[index % len(PALETTE)],
        "linestyle": DASHES[turn % len(DASHES)],
        "marker": MARKERS[(index + turn) % len(MARKERS)],
    }


def model_styles(models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return colour, dashes, marker and width of each model.

    A model of ``MODEL_ORDER`` looks the same in every figure; others (variants, scores that a label
    file brings along) are numbered by name, so that they look the same where the models are.

    Parameters
    ----------
    models : all names of a figure, or of some figures; a name may come more than once.
    """
    listed = [name for name in MODEL_ORDER if name != "oracle"]
    names = sorted(set(models))
    others = listed + [name for name in names if name not in MODEL_ORDER]
    out = {
        name: series(others.index(name)) | {"linewidth": 2.2 if name == "genebert" else 1.3}
        for name in names
        if name != "oracle"
    }
    return out | {"oracle": {"color": BLACK, "linestyle": ":", "marker": "*", "linewidth": 1.4}}


def is_variant(model: str) -> bool:
    """Tell whether a model is a pre-training variant that only the ablation shows."""
    return model.startswith("genebert-") and model not in MODEL_ORDER


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
        if drawing.get_layout_engine() is not None:
            _settle(drawing)
        drawing.savefig(path, format=suffix[1:], metadata=_METADATA[suffix])


def _settle(drawing: Figure) -> None:
    """Lay a figure out and round the places of its axes.

    The solver's last digits differ from call to call, and SVG identifiers are hashes of them.
    """
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")
    for ax in drawing.axes:
        left, bottom, width, height = (
            round(edge, DECIMALS) for edge in ax.get_position(original=True).bounds
        )
        ax.set_position((left, bottom, width, height))


def panels(
    count: int,
    *,
    columns: int,
    height: float | Sequence[float],
    banner: float = 0,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels, filled row by row.

    Parameters
    ----------
    columns : panels beside each other; fewer panels keep their width.
    height : of the panels in inches, one for all or one for each; a row is as high as its highest.
    banner : height of one more panel above the others, as wide as the figure; it comes first.
    """
    across = columns if banner else min(columns, count)
    each = [height] * count if isinstance(height, int | float) else list(height)
    rows = [max(each[i : i + columns]) for i in range(0, count, columns)]
    rows = [banner, *rows] if banner else rows
    size = (WIDTH * across / columns, sum(rows) + 0.6)
    drawing = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08))
    grid = drawing.add_gridspec(len(rows), across, height_ratios=rows)
    first = 1 if banner else 0
    axes = [drawing.add_subplot(grid[first + i // across, i % across]) for i in range(count)]
    return drawing, [drawing.add_subplot(grid[0, :]), *axes] if banner else axes


def shared_legend(drawing: Figure, axes: Sequence[Axes], *, inches: float = 1.9) -> None:
    """Put one legend for all panels below them, in the order of the tables.

    Parameters
    ----------
    inches : room for an entry.
    """
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        labels = sorted(found, key=lambda name: model_rank(name)[0])  # else as they came
        handles = [found[label] for label in labels]
        across = min(len(labels), max(1, int(drawing.get_figwidth() / inches)))
        drawing.legend(handles, labels, loc="outside lower center", ncols=across, handlelength=3.0)


def heading(ax: Axes, text: str, most: int = 38) -> None:
    """Set the title of a panel; a long one goes over two lines, a longer one loses its middle."""
    if len(text) > most and ": " in text:
        first, rest = text.split(": ", 1)
        text = f"{first}:\n{shorten(rest, most)}"
    ax.set_title(text)


def shorten(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters, the middle left out of longer ones."""
    if len(text) <= most:
        return text
    left = (most - 1) // 2
    return f"{text[:left]}\u2026{text[len(text) - (most - 1 - left) :]}"
