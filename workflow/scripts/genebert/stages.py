"""The stages of the pipeline: which rules they are, what follows from what, and their picture.

In: the plan of a run (numbers for each stage). Out: a figure of boxes and arrows. The table below
is checked against the rules themselves (tests/workflow/test_report.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from genebert.drawing import PALETTE, STYLE, save


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes
    ----------
    name : as in the table of costs.
    title : what it makes.
    rules : its rules.
    benchmarks : patterns of the files that these write below ``benchmarks/``.
    after : the stages that it reads from.
    place : column and row of its box.
    """

    name: str
    title: str
    rules: tuple[str, ...]
    benchmarks: tuple[str, ...]
    after: tuple[str, ...]
    place: tuple[float, float]


STAGES = (
    Stage(
        "sources", "downloads, listings,\nsimulated genome",
        ("download", "download_listed", "fetch_all", "checksums", "provenance", "simulate",
         "atlas_table", "atlas_peaks"),
        ("simulate.jsonl", "atlas_peaks.jsonl"), (), (0, 1),
    ),
    Stage(
        "reference", "genome, contigs,\nsplits", ("reference",), ("reference.jsonl",),
        ("sources",), (1, 1),
    ),
    Stage(
        "regions", "consensus regions,\naccessibility", ("regions",), ("regions.jsonl",),
        ("sources", "reference"), (2, 1),
    ),
    Stage(
        "motifs", "TF x region matrix", ("motif_set", "scan_motifs", "motif_matrix"),
        ("motifs/*.jsonl",), ("sources", "reference", "regions"), (3, 1),
    ),
    Stage(
        "shards", "packed sequence and\nmotif rows", ("shards", "background"),
        ("shards.jsonl", "background.jsonl"),
        ("reference", "regions", "motifs"), (4, 1),
    ),
    Stage(
        "pretrain", "sequence and region\nencoders", ("pretrain_run", "pretrain"),
        ("pretrain/*.jsonl",), ("shards",), (5, 1),
    ),
    Stage(
        "datasets", "promoter, tfbs, disease,\nsplicing, accessibility",
        ("dataset", "cohort_dataset"), ("tasks/*.dataset.jsonl",),
        ("sources", "reference", "regions"), (3, 2),
    ),
    Stage(
        "models", "fine-tuning and\nbaselines", ("predict",), ("tasks/*.jsonl",),
        ("datasets", "motifs", "shards", "pretrain"), (5, 2),
    ),
    Stage(
        "evaluation", "metrics, tables,\ncomparisons",
        ("metrics", "task_table", "metrics_table", "ablation_table", "comparisons_table",
         "pretraining_table", "chosen_table", "variant_scores"),
        ("tasks/*.metrics.jsonl", "comparisons.jsonl"),
        ("sources", "datasets", "models", "pretrain"), (6, 1.5),
    ),
    Stage(
        "checks", "QC of regions,\nmotif enrichment", ("region_qc", "motif_qc"),
        ("region_qc.jsonl", "motif_qc.jsonl"), ("sources", "regions", "motifs"), (3, 0),
    ),
    Stage(
        "interpretation", "mutagenesis,\nlogos", ("attribute", "interpretation"),
        ("tasks/*.attribute.jsonl",),
        ("sources", "motifs", "shards", "pretrain", "datasets", "models"), (6, 2.6),
    ),
    Stage(
        "report", "figures and pages", ("pretraining_figures", "evaluation_figures", "html_tables",
        "data_pages", "cost", "all"), (),
        ("sources", "reference", "regions", "motifs", "shards", "pretrain", "datasets",
         "evaluation", "checks", "interpretation"), (7, 0.55),
    ),
)  # fmt: skip
_BY_NAME = {stage.name: stage for stage in STAGES}
# arrows that a reader needs; what follows from others is left out
ARROWS = (
    ("sources", "reference"), ("reference", "regions"), ("regions", "motifs"), ("motifs", "shards"),
    ("shards", "pretrain"), ("regions", "datasets"), ("datasets", "models"), ("pretrain", "models"),
    ("models", "evaluation"), ("pretrain", "evaluation"), ("models", "interpretation"),
    ("regions", "checks"), ("motifs", "checks"), ("evaluation", "report"), ("checks", "report"),
    ("interpretation", "report"),
)  # fmt: skip


def stage_of(benchmark: str) -> str:
    """Return the stage of a file below ``benchmarks/``: that of the longest pattern it matches.

    A file of no stage is of ``other``.
    """
    found = [
        (len(pattern), stage.name)
        for stage in STAGES
        for pattern in stage.benchmarks
        if fnmatch(benchmark, pattern)
    ]
    return max(found)[1] if found else "other"


def draw_stages(notes: Mapping[str, str], path: str) -> None:
    """Draw the stages as boxes, what follows from what as arrows.

    Parameters
    ----------
    notes : what is written into the box of a stage, beside its title; a stage without a note did
        not take part in the run and is drawn pale.
    """
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(11.0, 4.9), layout="constrained")
        ax = drawing.add_subplot()
        ax.set_axis_off()
        ax.set(xlim=(-0.5, 7.5), ylim=(3.2, -0.6))
        for start, end in ARROWS:
            _arrow(ax, _BY_NAME[start].place, _BY_NAME[end].place)
        for stage in STAGES:
            _box(ax, stage, notes.get(stage.name))
        save(drawing, path)


_WIDE, _HIGH = 0.86, 0.74  # of a box


def _box(ax: Axes, stage: Stage, note: str | None) -> None:
    x, y = stage.place
    face, edge, ink = ("#e8eef4", PALETTE[0], "black") if note else ("white", "#bbbbbb", "#888888")
    corner = (x - _WIDE / 2, y - _HIGH / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner, _WIDE, _HIGH, boxstyle="round,pad=0,rounding_size=0.06", facecolor=face,
            edgecolor=edge, linewidth=1.1, zorder=2,
        )
    )  # fmt: skip
    style: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 3, "color": ink}
    ax.text(x, y - 0.24, stage.name, fontsize=9, fontweight="bold", **style)
    ax.text(x, y - 0.04, stage.title, fontsize=6.6, **style)
    ax.text(x, y + 0.21, note or "not in this run", fontsize=6.6, fontstyle="italic", **style)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:  # one above the other
        down = 1 if y1 > y0 else -1
        ends = (x0, y0 + down * _HIGH / 2), (x1, y1 - down * _HIGH / 2)
    else:
        ends = (x0 + _WIDE / 2, y0), (x1 - _WIDE / 2, y1)
    ax.add_patch(
        FancyArrowPatch(
            *ends, arrowstyle="-|>", mutation_scale=9, color="#666666", linewidth=1.0, zorder=1,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
