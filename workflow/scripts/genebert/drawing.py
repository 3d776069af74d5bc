"""What all figures share: one style, colours that can be told apart, files equal byte for byte.

Colours can be told apart with a colour vision deficiency (palette of Okabe and Ito, 2008) and never
carry meaning alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genebert.errors import InputError

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
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
