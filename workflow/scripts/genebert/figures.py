"""The figures of the report: one function a figure, one style for all.

In: tables, training logs and matrices of the stages before. Out: SVG or PNG files that are equal
byte for byte when their input is (no date, fixed identifiers). Colours can be told apart with a
colour vision deficiency (palette of Okabe and Ito, 2008) and never carry meaning alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import sparse
from scipy.cluster import hierarchy

from genebert.errors import InputError
from genebert.evaluate import CURVES, WIDE
from genebert.scores import model_rank

VERSION = 1

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
BLACK = "#000000"  # the oracle
MARKERS = "osD^vPX"
DASHES = ("-", "--", ":", "-.")
CHANCE = {"mgm": float(np.log(4)), "ngsp": float(np.log(2))}  # loss of a model that guesses
MAX_MOTIFS = 60
WINDOW = 150  # regions of the window that is shown
_STYLE: Any = {
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
    with mpl.rc_context(_STYLE):
        drawing, axes = _grid(max(1, len(names)), columns=3, size=(3.6, 2.7))
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
            _nothing(axes[0], "no losses were logged")
        _legend(drawing, axes)
        _save(drawing, figure)


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
            shown = key in (*CHANCE, "loss", "srm") or key.endswith("_auroc")
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
    with mpl.rc_context(_STYLE):
        drawing, axes = _grid(max(2, 2 * len(names)), columns=2, size=(3.9, 3.4))
        for row, (name, part) in enumerate(names.items()):
            pair = axes[2 * row : 2 * row + 2]
            for ax, curve in zip(pair, ("roc", "pr"), strict=True):
                _draw_curves(ax, part[part["curve"] == curve], models)
                ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=name, aspect="equal")
            pair[0].plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
            pair[0].set(xlabel="false positive rate", ylabel="true positive rate")
            pair[1].set(xlabel="recall", ylabel="precision")
        if not names:
            _nothing(axes[0], "no curves")
        _legend(drawing, axes)
        _save(drawing, figure)


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
    with mpl.rc_context(_STYLE):
        drawing, axes = _grid(max(1, len(names)), columns=3, size=(3.4, 3.4))
        for ax, (name, part) in zip(axes, names.items(), strict=False):
            ax.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=0.8, zorder=0)
            _draw_curves(ax, part, models, markers=True)
            ax.set(title=name, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
            ax.set(xlabel="mean predicted probability", ylabel="share of positives")
        if not names:
            _nothing(axes[0], "no model predicts probabilities")
        _legend(drawing, axes)
        _save(drawing, figure)


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
    with mpl.rc_context(_STYLE):
        height = 0.9 + 0.22 * most
        drawing, axes = _grid(max(1, len(names)), columns=2, size=(5.2, height))
        for ax, (name, part) in zip(axes, names.items(), strict=False):
            _draw_forest(ax, part.reset_index(drop=True))
            ax.set(title=name, xlabel="AUROC", xlim=(low - 0.02, 1.01))
        if not names:
            _nothing(axes[0], "no AUROC is defined")
        _save(drawing, figure)


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


def region_heatmap(*, matrix: str, accessibility: str, figure: str) -> None:
    """Draw motif enrichment per cell type, and a window of the TF x region matrix.

    Above: the mean over the open regions of a cell type of each motif's z-score over all regions,
    for the MAX_MOTIFS motifs that differ most between cell types, both axes ordered by average
    linkage. Below: the same motifs in WINDOW neighbouring regions of the first contig, each scaled
    to its 99th percentile, and which regions are open in each cell type.

    Raises
    ------
    InputError
        If a file cannot be read or the two do not hold the same regions.
    """
    motifs, opened = _read_h5ad(matrix), _read_h5ad(accessibility)
    if list(motifs.obs_names) != list(opened.var_names):
        raise InputError(
            "regions differ from those of the accessibility matrix",
            file=matrix,
            found=f"{motifs.n_obs} regions",
            expected=f"the {opened.n_vars} regions of {accessibility}",
        )
    enrichment_CM = motif_enrichment(motifs.X, opened.X)
    kept = np.argsort(-enrichment_CM.std(axis=0), kind="stable")[:MAX_MOTIFS]
    kept = kept[_leaf_order(enrichment_CM[:, kept].T)]
    cells = _leaf_order(enrichment_CM[:, kept])
    contig = np.array([name.rsplit(":", 1)[0] for name in motifs.obs_names])
    stop = min(WINDOW, int((contig == contig[0]).sum()))
    window_MR = sparse.csr_matrix(motifs.X)[:stop][:, kept].toarray().T
    scale = np.quantile(window_MR, 0.99, axis=1, keepdims=True)
    open_CR = sparse.csr_matrix(opened.X)[:, :stop].toarray()[cells]
    with mpl.rc_context(_STYLE):
        n_cells, n_motifs = len(cells), len(kept)
        heights = (0.16 * n_cells + 0.4, 0.12 * n_motifs + 0.4, 0.12 * n_cells + 0.4)
        drawing = Figure(figsize=(11, sum(heights) + 3), layout="constrained")
        top, middle, bottom = drawing.subplots(3, 1, height_ratios=heights)
        limit = float(np.abs(enrichment_CM[:, kept]).max()) or 1.0
        shade = {"aspect": "auto", "interpolation": "nearest"}
        image = top.imshow(
            enrichment_CM[np.ix_(cells, kept)], cmap="RdBu_r", vmin=-limit, vmax=limit, **shade
        )
        names = [str(motifs.var_names[i]) for i in kept]
        cell_names = [str(opened.obs_names[i]) for i in cells]
        top.set_xticks(range(n_motifs), names, rotation=90, fontsize=6)
        top.set_yticks(range(n_cells), cell_names, fontsize=7)
        top.set_title("motif enrichment in the open regions of each cell type")
        drawing.colorbar(image, ax=top, label="mean z-score", fraction=0.03)
        image = middle.imshow(
            np.clip(window_MR / np.where(scale > 0, scale, 1), 0, 1), cmap="viridis", **shade
        )
        middle.set_yticks(range(n_motifs), names, fontsize=6)
        middle.set_title(f"motif scores of {stop} neighbouring regions of {contig[0]}")
        drawing.colorbar(image, ax=middle, label="share of the 99th percentile", fraction=0.03)
        image = bottom.imshow(open_CR, cmap="Greys", vmin=0, vmax=1, **shade)
        bottom.set_yticks(range(n_cells), cell_names, fontsize=7)
        bottom.set(title="accessibility of the same regions", xlabel="region")
        drawing.colorbar(image, ax=bottom, label="strength", fraction=0.03)
        _save(drawing, figure)


def motif_enrichment(scores_RM: Any, open_CR: Any) -> NDArray[np.float64]:
    """Return float64[C, M]: mean z-score of every motif over the open regions of a cell type.

    Parameters
    ----------
    scores_RM : motif scores, sparse; z-scores are taken per motif over all regions.
    open_CR : accessibility, sparse; a region is open where an entry is stored.
    """
    scores = sparse.csr_matrix(scores_RM, dtype=np.float64)
    opened = sparse.csr_matrix(open_CR, dtype=np.float64, copy=True)
    opened.data[:] = 1.0
    mean_M = np.asarray(scores.mean(axis=0)).ravel()
    square_M = np.asarray(scores.multiply(scores).mean(axis=0)).ravel()
    deviation_M = np.sqrt(np.maximum(square_M - mean_M**2, 0))
    count_C = np.maximum(np.asarray(opened.sum(axis=1)).ravel(), 1)
    mean_CM = (opened @ scores).toarray() / count_C[:, None]
    return np.asarray((mean_CM - mean_M) / np.where(deviation_M > 0, deviation_M, np.inf))


def _leaf_order(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    if len(rows) < 3:
        return np.arange(len(rows))
    tree = hierarchy.linkage(rows, method="average", optimal_ordering=len(rows) <= 200)
    return np.asarray(hierarchy.leaves_list(tree), dtype=np.int64)


def _read_h5ad(path: str) -> anndata.AnnData:
    try:
        return anndata.read_h5ad(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read as AnnData ({error})", file=path) from None


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


def _grid(count: int, *, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of one size (inches), filled row by row."""
    across = min(columns, count)
    down = -(-count // across)
    drawing = Figure(figsize=(size[0] * across, size[1] * down + 0.6), layout="constrained")
    axes = drawing.subplots(down, across, squeeze=False).ravel().tolist()
    for ax in axes[count:]:
        ax.set_axis_off()
    return drawing, axes[:count]


def _legend(drawing: Figure, axes: Sequence[Axes]) -> None:
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


def _nothing(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()


def _save(drawing: Figure, path: str) -> None:
    suffix = Path(path).suffix
    if suffix not in _METADATA:
        raise InputError("unknown kind of figure", file=path, expected=" ".join(_METADATA))
    drawing.savefig(path, format=suffix[1:], metadata=_METADATA[suffix])
