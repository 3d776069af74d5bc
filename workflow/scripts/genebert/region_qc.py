"""What a reviewer asks of the regions: how many, how wide, where, and how cell types overlap.

In: the regions, their accessibility, the counts of :mod:`genebert.regions` and, where there is one,
the GTF. Out: three tables (per cell type, distributions, overlap of every two cell types) and two
figures of them. Letters of shapes: R regions, C cell types.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genebert.errors import InputError, reading
from genebert.job import as_list
from genebert.overlap import jaccard
from genebert.region_figures import draw_overlap, draw_regions
from genebert.region_motifs import read_accessibility
from genebert.tasks.annotation import nearest_tss, read_exons, transcripts

VERSION = 1
log = logging.getLogger("genebert")

LOST = (  # rows of qc.tsv that tell why a peak made no region, in the order of the pipeline
    "unknown_contig",
    "lift_unmapped",
    "lift_split",
    "lift_width",
    "duplicate",
    "replicates",
    "contig_edge",
    "no_split",
    "blacklist",
    "n_fraction",
    "overlap",
)
WIDTHS = ("q05", "q25", "q75", "q95")  # quantiles of peak widths, where qc.tsv has them
NEAR_TSS = 1000
SHARE_BINS = np.linspace(0, 1, 41)
TSS_BINS = np.array([0, *(10 ** np.arange(2, 7.01, 0.25)).round(), np.inf])

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def tss_distance(regions: pd.DataFrame, tss: pd.DataFrame, *, file: str) -> Floats:
    """Return float64[R]: bases from the middle of each region to the nearest TSS, either side.

    NaN on contigs without a TSS.

    Parameters
    ----------
    regions : contig, start and end. tss : contig and tss (0-based).
    file : where the TSS come from, for the message.

    Raises
    ------
    InputError
        If no region is on a contig with a TSS.
    """
    middle = ((regions["start"] + regions["end"]) // 2).to_numpy(dtype=np.int64)
    out = nearest_tss(regions["contig"], middle, tss)
    if not np.isfinite(out).any():
        raise InputError(
            "no contig with a transcript has regions; other names of contigs?",
            file=file,
            found=", ".join(sorted(tss["contig"].astype(str).unique())[:3]),
            expected=", ".join(regions["contig"].astype(str).unique()[:3]),
        )
    return out


def read_counts(path: str, cell_types: Sequence[str]) -> pd.DataFrame:
    """Return the counts of ``qc.tsv``, one row per cell type, one column per reason.

    Raises
    ------
    InputError
        If it is not such a table, or a cell type of the accessibility matrix is not in it.
    """
    with reading(path, "is not a table of counts", KeyError):
        table = pd.read_csv(path, sep="\t", dtype={"cell_type": str}, keep_default_na=False)
        table = table[table["cell_type"] != "*"]
        counts = table.pivot(index="cell_type", columns="reason", values="count")
    for column in ("read", "median_peak_width"):
        if column not in counts:
            raise InputError(f"has no rows of reason {column!r}", file=path)
    missing = [name for name in cell_types if name not in counts.index]
    if missing:
        raise InputError("has no rows of a cell type", file=path, expected=missing[0])
    return counts.loc[list(cell_types)]


def cell_type_table(
    regions: pd.DataFrame,
    opened: sparse.csr_matrix,
    held_out: NDArray[np.bool_],
    counts: pd.DataFrame,
    overlap: Floats,
) -> pd.DataFrame:
    """Return one row per cell type, in the order of the accessibility matrix.

    Columns
    -------
    n_peaks, n_open : peaks read, regions open. n_rare : of these, open in fewer than half of the
        cell types; n_unique : open in no other.
    peak_width : median, and quantiles where ``qc.tsv`` has them, of the peaks as they came.
    gc, repeat, breadth, tss : quartiles, mean, median and median over the open regions; tss_near
        is the share within ``NEAR_TSS`` bases of a TSS. Missing without a GTF.
    nearest, jaccard : the cell type with the largest overlap.
    lost_* : peaks that made no region, by reason.
    """
    breadth = opened.getnnz(axis=0)
    columns = {name: regions[name].to_numpy(dtype=np.float64) for name in ("gc", "repeat", "tss")}
    names = counts.index.tolist()
    other = overlap.copy()
    np.fill_diagonal(other, -1.0)
    rows = []
    for i, name in enumerate(names):
        own = opened.indices[opened.indptr[i] : opened.indptr[i + 1]]
        row: dict[str, Any] = {
            "cell_type": name,
            "held_out": int(held_out[i]),
            "n_peaks": int(counts["read"].iloc[i]),
            "n_open": len(own),
            "n_rare": int((2 * breadth[own] < len(names)).sum()),
            "n_unique": int((breadth[own] == 1).sum()),
            "peak_width_median": int(counts["median_peak_width"].iloc[i]),
        }
        for quantile in WIDTHS:
            if f"peak_width_{quantile}" in counts:
                row[f"peak_width_{quantile}"] = int(counts[f"peak_width_{quantile}"].iloc[i])
        if len(own):
            gc = np.quantile(columns["gc"][own], [0.25, 0.5, 0.75])
            row |= dict(zip(("gc_q25", "gc_median", "gc_q75"), gc, strict=True))
            row["repeat_mean"] = columns["repeat"][own].mean()
            row["breadth_median"] = float(np.median(breadth[own]))
            tss = columns["tss"][own][np.isfinite(columns["tss"][own])]
            row["tss_median"] = float(np.median(tss)) if len(tss) else np.nan
            row["tss_near"] = float((tss <= NEAR_TSS).mean()) if len(tss) else np.nan
        if len(names) > 1:
            best = int(other[i].argmax())
            row |= {"nearest": names[best], "jaccard": other[i, best]}
        for reason in LOST:
            if reason in counts:
                row[f"lost_{reason}"] = int(np.nan_to_num(counts[reason].iloc[i]))
        rows.append(row)
    return pd.DataFrame(rows)


def distribution_table(regions: pd.DataFrame, cells: int) -> pd.DataFrame:
    """Return histograms of the regions: quantity, group, low, high, count.

    Quantities are gc, repeat, breadth and tss (without a GTF: not there); a bin is [low, high), the
    last one of a share closed. Groups are ``rare`` (open in fewer than half of the cell types) and
    ``broad``.
    """
    rare = 2 * regions["breadth"].to_numpy() < cells
    bins = {
        "gc": SHARE_BINS,
        "repeat": SHARE_BINS,
        "breadth": np.arange(1, cells + 2) - 0.5,
        "tss": TSS_BINS,
    }
    rows = []
    for quantity, edges in bins.items():
        values = regions[quantity].to_numpy(dtype=np.float64)
        for group, part in (("rare", rare), ("broad", ~rare)):
            known = values[part & np.isfinite(values)]
            if quantity == "tss" and not np.isfinite(values).any():
                continue
            found = np.histogram(known, edges)[0]
            for low, high, count in zip(edges[:-1], edges[1:], found, strict=True):
                rows.append((quantity, group, low, high, int(count)))
    return pd.DataFrame(rows, columns=["quantity", "group", "low", "high", "count"])


def describe_regions(
    *,
    table: str,
    accessibility: str,
    qc: str,
    gtf: str | Sequence[str],
    cell_types: str,
    distributions: str,
    overlap: str,
    figure: str,
    heatmap: str,
) -> None:
    """Write the tables and figures that describe the regions.

    Parameters
    ----------
    table, accessibility, qc : inputs, written by the stage ``regions``.
    gtf : input, a GTF with exon lines, or an empty list: then without distances to TSS.
    cell_types, distributions, overlap : outputs, see :func:`cell_type_table`,
        :func:`distribution_table`; overlap has cell_type, other, both, either, jaccard.
    figure, heatmap : outputs, see :func:`genebert.region_figures.draw_regions` and
        :func:`genebert.region_figures.draw_overlap`.

    Raises
    ------
    InputError
        If a file is not what it should be, or the regions of two files differ.
    """
    _, names, cells, held_out, opened = read_accessibility(accessibility)
    regions = _read_regions(table, names, accessibility)
    log.info("read %d regions", len(regions))
    counts = read_counts(qc, cells)
    regions["breadth"] = opened.getnnz(axis=0)
    regions["tss"] = np.nan
    if listed := as_list(gtf):
        sites = transcripts(read_exons(listed[0]))
        regions["tss"] = tss_distance(regions, sites, file=listed[0])
    log.info("comparing %d cell types, %d open regions", len(cells), opened.nnz)
    both, either, ratio = jaccard(opened)
    own = cell_type_table(regions, opened, held_out, counts, ratio)
    spread = distribution_table(regions, len(cells))
    own.to_csv(cell_types, sep="\t", index=False, float_format="%.4g", na_rep="NA")
    spread.to_csv(distributions, sep="\t", index=False, float_format="%g", na_rep="NA")
    first, second = np.triu_indices(len(cells), k=1)
    pairs = {
        "cell_type": np.array(cells, dtype=object)[first],
        "other": np.array(cells, dtype=object)[second],
        "both": both[first, second],
        "either": either[first, second],
        "jaccard": ratio[first, second],
    }
    pd.DataFrame(pairs).to_csv(overlap, sep="\t", index=False, float_format="%.4f")
    draw_regions(own, spread, figure)
    draw_overlap(ratio, cells, held_out, heatmap)
    log.info("described %d regions of %d cell types", len(regions), len(cells))


def _read_regions(path: str, names: NDArray[np.str_], accessibility: str) -> pd.DataFrame:
    """Read ``regions.tsv`` and check that its rows are the regions of the accessibility matrix."""
    with reading(path, "is not a table of regions", KeyError):
        frame = pd.read_csv(path, sep="\t", dtype={"contig": str}, keep_default_na=False)
        own = frame["contig"] + ":" + frame["start"].astype(str) + "-" + frame["end"].astype(str)
        frame = frame[["contig", "start", "end", "gc", "repeat"]].copy()
    if not np.array_equal(own.to_numpy(dtype=str), names):
        raise InputError(
            "regions differ from those of the accessibility matrix",
            file=path,
            found=f"{len(frame)} regions",
            expected=f"the {len(names)} regions of {accessibility}",
        )
    return frame
