"""The figures of the regions, of the motif matrix and of its two checks.

In: the tables of :mod:`genebert.region_qc`, :mod:`genebert.enrichment` and
:mod:`genebert.motif_ridge`, and the matrix itself. Out: SVG or PNG files. All stay readable with
some 200 cell types: panels grow with their number. Cell types that are held out are marked with a
dagger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from genebert.drawing import PALETTE, STYLE, nothing, save
from genebert.region_motifs import RegionMotifs

TOP_MOTIFS = 5  # of each cell type, fewer where these were more than
MAX_MOTIFS = 90
SIGNIFICANT = 0.05
WINDOW = 150  # regions of the window that is shown
_MODELS = {
    "motif": (PALETTE[0], "o"),
    "gc": (PALETTE[4], "s"),
    "shuffled": (PALETTE[6], "x"),
    "cell-average": (PALETTE[2], "^"),
}
_LOST = {  # reason: (colour, hatch)
    "overlap": ("#d9d9d9", ""),
    "no_split": (PALETTE[5], ""),
    "blacklist": ("#000000", ""),
    "unknown_contig": (PALETTE[1], ""),
    "duplicate": (PALETTE[3], ""),
    "replicates": (PALETTE[4], ""),
    "n_fraction": (PALETTE[2], "//"),
    "contig_edge": (PALETTE[0], ""),
    "lift_unmapped": (PALETTE[1], "//"),
    "lift_split": (PALETTE[3], "//"),
    "lift_width": (PALETTE[4], "//"),
}


def labels(names: Sequence[str], held_out: Sequence[bool] | NDArray[Any]) -> list[str]:
    """Return the names of cell types, a dagger after those that are held out."""
    return [
        f"{name} \u2020" if held else str(name) for name, held in zip(names, held_out, strict=True)
    ]


def draw_regions(cells: pd.DataFrame, distributions: pd.DataFrame, path: str) -> None:
    """Draw counts, losses, peak widths and GC content per cell type, and four distributions.

    Parameters
    ----------
    cells, distributions : see :func:`genebert.region_qc.cell_type_table` and
        :func:`genebert.region_qc.distribution_table`.
    """
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(max(9.0, _across(len(cells))), 11.5), layout="constrained")
        grid = drawing.add_gridspec(5, 4, height_ratios=(1.2, 1, 1, 1, 1.6))
        rows = [drawing.add_subplot(grid[i, :]) for i in range(4)]
        _draw_counts(rows[0], cells)
        _draw_lost(rows[1], cells)
        _draw_widths(rows[2], cells)
        place = np.arange(len(cells))
        if "gc_median" in cells:
            rows[3].vlines(place, cells["gc_q25"], cells["gc_q75"], color=PALETTE[0])
            rows[3].plot(place, cells["gc_median"], "o", color=PALETTE[0], markersize=3)
        rows[3].set(ylabel="GC of open\nregions")
        for ax in rows:
            ax.set_xlim(-0.7, len(cells) - 0.3)
            ax.grid(axis="y", color="#eeeeee")
            ax.set_axisbelow(True)
        for ax in rows[:3]:
            ax.set_xticks(place, [""] * len(cells))
        names = labels(cells["cell_type"], cells["held_out"])
        rows[3].set_xticks(place, names, rotation=90, fontsize=_font(len(cells)))
        panels = [drawing.add_subplot(grid[4, i]) for i in range(4)]
        for ax, quantity in zip(panels, ("breadth", "gc", "tss", "repeat"), strict=True):
            _draw_distribution(ax, distributions, quantity)
        panels[0].set_ylabel("regions")
        panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=7.5)
        save(drawing, path)


def _draw_counts(ax: Axes, cells: pd.DataFrame) -> None:
    place = np.arange(len(cells))
    ax.bar(place - 0.2, cells["n_peaks"], 0.4, color="#bbbbbb", label="peaks read")
    ax.bar(place + 0.2, cells["n_open"], 0.4, color=PALETTE[0], label="regions open")
    rare = "of these, open in fewer than half of the cell types"
    ax.bar(place + 0.2, cells["n_rare"], 0.4, color=PALETTE[5], hatch="//", label=rare)
    ax.set(ylabel="number")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _draw_lost(ax: Axes, cells: pd.DataFrame) -> None:
    place, bottom = np.arange(len(cells)), np.zeros(len(cells))
    total = np.maximum(cells["n_peaks"].to_numpy(dtype=float), 1)
    for reason, (colour, hatch) in _LOST.items():
        if f"lost_{reason}" in cells and cells[f"lost_{reason}"].any():
            share = cells[f"lost_{reason}"].to_numpy(dtype=float) / total
            ax.bar(place, share, 0.8, bottom, color=colour, hatch=hatch, label=reason)
            bottom += share
    ax.set(ylabel="share of peaks\nwithout own region", ylim=(0, 1))
    if bottom.any():
        ax.legend(ncols=len(_LOST), loc="lower left", bbox_to_anchor=(0, 1), columnspacing=1)


def _draw_widths(ax: Axes, cells: pd.DataFrame) -> None:
    place = np.arange(len(cells))
    for low, high, width in (("q05", "q95", 0.8), ("q25", "q75", 2.4)):
        if f"peak_width_{low}" in cells:
            ends = (cells[f"peak_width_{end}"] for end in (low, high))
            ax.vlines(place, *ends, color=PALETTE[0], linewidth=width)
    ax.plot(place, cells["peak_width_median"], "o", color=PALETTE[0], markersize=3)
    ax.set(ylabel="peak width\n(bases)")


def _draw_distribution(ax: Axes, table: pd.DataFrame, quantity: str) -> None:
    names = {
        "breadth": "cell types that a region is open in",
        "gc": "GC content of regions",
        "tss": "bases to the nearest TSS",
        "repeat": "soft-masked share of regions",
    }
    part = table[table["quantity"] == quantity]
    if part.empty:
        nothing(ax, "no GTF was given")
        return
    for group, colour, style in (("rare", PALETTE[5], "-"), ("broad", PALETTE[1], "--")):
        own = part[part["group"] == group]
        edges = np.append(own["low"].to_numpy(), own["high"].to_numpy()[-1])
        if quantity == "tss":
            edges[0], edges[-1] = 30, 3e7  # a logarithmic axis has no 0
        label = f"open in {'fewer than' if group == 'rare' else 'at least'} half"
        ax.stairs(own["count"], edges, color=colour, linestyle=style, label=label)
    if quantity == "tss":
        ax.set_xscale("log")
    ax.set(xlabel=names[quantity], ylim=(0, None))


def draw_overlap(
    jaccard_CC: NDArray[np.float64],
    names: Sequence[str],
    held_out: NDArray[np.bool_],
    path: str,
) -> None:
    """Draw the Jaccard index of every two cell types, ordered by average linkage, with the tree.

    Parameters
    ----------
    jaccard_CC : float64[C, C], symmetric, 1 on the diagonal.
    """
    count = len(names)
    with mpl.rc_context(STYLE):
        side = max(4.0, 0.115 * count)
        drawing = Figure(figsize=(side + 3.5, side + 1.5), layout="constrained")
        grid = drawing.add_gridspec(1, 2, width_ratios=(max(0.8, 0.12 * side), side))
        tree, ax = (drawing.add_subplot(grid[0, i]) for i in range(2))
        order = np.arange(count)
        tree.set_axis_off()
        if count > 1:
            distance = squareform(1 - jaccard_CC, checks=False)
            linked = hierarchy.linkage(distance, method="average", optimal_ordering=count <= 500)
            drawn = hierarchy.dendrogram(
                linked,
                ax=tree,
                orientation="left",
                no_labels=True,
                color_threshold=0,
                above_threshold_color="#666666",
            )
            order = np.array(drawn["leaves"])
            tree.set_ylim(10 * count, 0)  # the first leaf on top, as in the heat map
        shown = jaccard_CC[np.ix_(order, order)].copy()
        np.fill_diagonal(shown, np.nan)
        shades = mpl.colormaps["viridis"].with_extremes(bad="#dddddd")
        image = ax.imshow(shown, cmap=shades, vmin=0, aspect="auto", interpolation="nearest")
        text = labels([str(name) for name in np.array(names)[order]], held_out[order])
        ax.set_xticks(range(count), text, rotation=90, fontsize=_font(count))
        ax.set_yticks(range(count), text, fontsize=_font(count))
        ax.yaxis.tick_right()
        ax.set_title("regions open in both / open in either")
        drawing.colorbar(image, ax=ax, label="Jaccard index", fraction=0.03, location="bottom")
        save(drawing, path)


def top_motifs(table: pd.DataFrame) -> list[str]:
    """Return the motifs that the heat map shows: the first few of each cell type.

    As many of each as fit below ``MAX_MOTIFS`` (at most ``TOP_MOTIFS``); if the first ones alone
    are more, those with the largest z.
    """
    ranked = table[table["rank"].notna() & (table["z"] > 0)]
    for most in range(TOP_MOTIFS, 0, -1):
        found = sorted(set(ranked.loc[ranked["rank"] <= most, "motif"]))
        if len(found) <= MAX_MOTIFS:
            return found
    first = ranked[ranked["rank"] == 1].groupby("motif")["z"].max()
    return sorted(first.sort_values(ascending=False, kind="stable").index[:MAX_MOTIFS])


def draw_enrichment(table: pd.DataFrame, path: str) -> None:
    """Draw the top motifs of each cell type: observed over expected number of open regions.

    Colour: log2(1 + deviation), comparable between cell types; a dot where the odds ratio within
    the cell type is above 1 with q below ``SIGNIFICANT``. Both axes are ordered by average linkage.

    Parameters
    ----------
    table : see :func:`genebert.enrichment.enrichment_table`.
    """
    motifs = top_motifs(table)
    cells = list(dict.fromkeys(table["cell_type"]))
    with mpl.rc_context(STYLE):
        size = (3.5 + 0.14 * max(len(motifs), 10), 2.5 + 0.14 * max(len(cells), 6))
        drawing = Figure(figsize=size, layout="constrained")
        ax = drawing.subplots()
        if not motifs:
            nothing(ax, "no motif could be tested")
            save(drawing, path)
            return
        shown = table[table["motif"].isin(motifs)]
        value, q, z = (
            shown.pivot(index="cell_type", columns="motif", values=name)
            .loc[cells, motifs]
            .to_numpy(dtype=float)
            for name in ("deviation", "q", "z")
        )
        value = np.log2(np.maximum(np.nan_to_num(value) + 1, 0.25))
        rows, columns = _leaf_order(value), _leaf_order(value.T)
        limit = max(0.5, float(np.quantile(np.abs(value), 0.99)))
        image = ax.imshow(
            value[np.ix_(rows, columns)],
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
        )
        with np.errstate(invalid="ignore"):
            marked = ((q < SIGNIFICANT) & (z > 0))[np.ix_(rows, columns)]
        y, x = np.nonzero(marked)
        ax.plot(x, y, ".", color="black", markersize=3)
        held = table.drop_duplicates("cell_type").set_index("cell_type")["held_out"]
        text = labels([cells[i] for i in rows], [bool(held[cells[i]]) for i in rows])
        ax.set_xticks(range(len(motifs)), [motifs[i] for i in columns], rotation=90, fontsize=6)
        ax.set_yticks(range(len(cells)), text, fontsize=_font(len(cells)))
        ax.set_title("motifs in regions open in fewer than half of the cell types")
        drawing.colorbar(image, ax=ax, label="log2 observed / expected", fraction=0.03)
        save(drawing, path)


def draw_ridge(table: pd.DataFrame, path: str) -> None:
    """Draw the Pearson correlation of every cell type and model with its interval.

    Above: strengths; below: strengths minus the mean of the other training cell types. Cell types
    are sorted by the correlation of the model ``motif`` with the strengths; lines are the means
    over training cell types.

    Parameters
    ----------
    table : see :func:`genebert.motif_ridge.ridge_table`.
    """
    own = table[table["cell_type"] != "*"]
    chosen = own[(own["model"] == "motif") & (own["target"] == "strength")]
    chosen = chosen.sort_values("pearson", ascending=False, kind="stable")
    cells, held = chosen["cell_type"].tolist(), chosen["held_out"].to_numpy(dtype=bool)
    titles = {
        "strength": "strength of accessibility",
        "specific": "strength minus the mean of the other training cell types",
    }
    with mpl.rc_context(STYLE):
        size = (max(7.0, _across(len(cells))), 7.0)
        drawing = Figure(figsize=size, layout="constrained")
        axes = drawing.subplots(2, 1, sharex=True)
        for ax, (target, title) in zip(axes, titles.items(), strict=True):
            ax.axhline(0, color="#666666", linestyle="--", linewidth=0.9, zorder=0.5)
            for number, (model, (colour, marker)) in enumerate(_MODELS.items()):
                part = table[(table["target"] == target) & (table["model"] == model)]
                if part.empty:
                    continue
                mean = part[(part["cell_type"] == "*") & (part["held_out"] == 0)]["pearson"]
                ax.axhline(mean.iloc[0], color=colour, linewidth=0.8, alpha=0.6, zorder=0.6)
                part = part.set_index("cell_type").loc[cells]
                place = np.arange(len(cells)) + 0.16 * (number - 1.5)
                ax.vlines(place, part["pearson_low"], part["pearson_high"], colour, linewidth=0.9)
                ax.plot(place, part["pearson"], marker, color=colour, markersize=3.5, label=model)
            ax.set(ylabel="Pearson correlation", xlim=(-0.7, len(cells) - 0.3))
            ax.set_title(title)
        text = labels(cells, held)
        axes[1].set_xticks(range(len(cells)), text, rotation=90, fontsize=_font(len(cells)))
        handles, names = axes[0].get_legend_handles_labels()
        drawing.legend(handles, names, loc="outside lower center", ncols=len(names))
        save(drawing, path)


def draw_window(data: RegionMotifs, motifs: Sequence[str], path: str) -> None:
    """Draw the TF x region matrix in WINDOW neighbouring regions, and where they are open.

    Each motif is scaled to its 99th percentile in the window; motifs and cell types are ordered by
    average linkage. The regions are the first of the first contig.

    Parameters
    ----------
    motifs : the motifs to show; if empty, the first ones of the matrix.
    """
    contig = data.regions["contig"].to_numpy(dtype=object)
    window = np.arange(len(contig)) < WINDOW
    window &= contig == contig[0]
    shown = list(motifs) or data.motifs[:MAX_MOTIFS]
    columns = [data.motifs.index(name) for name in shown]
    parts = [scores[:, columns].toarray() for _, scores in data.scores(window)]
    scores_MR = np.concatenate(parts).T.astype(np.float64)
    open_CR = data.strength[window].toarray().T
    scale = np.quantile(scores_MR, 0.99, axis=1, keepdims=True)
    share_MR = np.clip(scores_MR / np.where(scale > 0, scale, 1), 0, 1)
    rows, cells = _leaf_order(share_MR), _leaf_order(open_CR)
    with mpl.rc_context(STYLE):
        heights = (0.12 * len(rows) + 0.4, 0.12 * len(cells) + 0.4)
        drawing = Figure(figsize=(11, sum(heights) + 2), layout="constrained")
        upper, lower = drawing.subplots(2, 1, height_ratios=heights)
        shade: Any = {"aspect": "auto", "interpolation": "nearest", "vmin": 0, "vmax": 1}
        image = upper.imshow(share_MR[rows], cmap="viridis", **shade)
        upper.set_yticks(range(len(rows)), [shown[i] for i in rows], fontsize=6)
        upper.set_title(f"motif scores of {int(window.sum())} neighbouring regions of {contig[0]}")
        drawing.colorbar(image, ax=upper, label="share of the 99th percentile", fraction=0.03)
        image = lower.imshow(open_CR[cells], cmap="Greys", **shade)
        text = labels([data.cell_types[i] for i in cells], data.held_out[cells])
        lower.set_yticks(range(len(cells)), text, fontsize=_font(len(cells)))
        lower.set(title="accessibility of the same regions", xlabel="region")
        drawing.colorbar(image, ax=lower, label="strength", fraction=0.03)
        save(drawing, path)


def _across(cells: int) -> float:
    """Return the width in inches of a panel with a column for every cell type."""
    return 1.5 + 0.13 * cells


def _font(count: int) -> float:
    return 7 if count <= 60 else 5.5


def _leaf_order(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    if len(rows) < 3:
        return np.arange(len(rows))
    tree = hierarchy.linkage(rows, method="average", optimal_ordering=len(rows) <= 500)
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)
