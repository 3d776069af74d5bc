"""The consensus set of regions and the cell type x region matrix of their strengths.

Comes in: the peaks of every cell type (:mod:`genebert.atlas`), the genome, a blacklist and the
splits. Goes out: ``regions.bed`` and ``regions.tsv`` (row number = region id),
``accessibility.h5ad`` (cell types x regions), ``occupied.bed.gz`` (where any peak or the blacklist
lies) and ``qc.tsv`` (what was dropped and why).

A region is open in a cell type if a peak of it comes within ``open_tolerance`` bases of the
region's centre: if the peak, as it stands in the file, and [centre - tolerance, centre +
tolerance] share at least one base. All peaks of a cell type count here, also those whose own
window was dropped or thinned out. How regions are chosen: :mod:`genebert.consensus`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from scipy.sparse import csr_matrix

from genebert.atlas import Atlas, AtlasSettings, load_atlas
from genebert.consensus import (
    REASONS,
    RegionSettings,
    Selected,
    open_pairs,
    select_regions,
)
from genebert.errors import InputError
from genebert.genome import Genome, encode, gc_content
from genebert.hints import prefix_hint
from genebert.job import as_list
from genebert.overlap import jaccard
from genebert.peak_lines import Fields, read_columns
from genebert.progress import Progress
from genebert.reference import read_contigs
from genebert.splits import SPLITS, Splits

VERSION = 3
PEAK_WIDTHS = (5, 25, 75, 95)  # percentiles in qc.tsv
log = logging.getLogger("genebert")

COLUMNS = [
    "region",
    "contig",
    "start",
    "end",
    "split",
    "n_cell_types",
    "n_train_cell_types",
    "gc",
    "repeat",
    "held_out_only",
]


def read_blacklist(
    path: str | Path, contigs: Mapping[str, int]
) -> tuple[dict[str, list[tuple[int, int]]], int]:
    """Read a BED of regions to leave out; contigs that the genome lacks are skipped.

    Returns
    -------
    intervals : by contig, cut at its end.
    beyond : how many of them end beyond their contig.

    Raises
    ------
    InputError
        If a line is not BED, or no contig of the list is in the genome.
    """
    fields = Fields(count=3, scores={}, what="interval")
    listed = read_columns(path, fields, contigs)
    known = listed.contig >= 0
    if len(listed) and not known.any():
        raise InputError(
            "no contig is in the genome" + prefix_hint(listed.unknown[0], contigs, path),
            file=path,
            found=", ".join(sorted(listed.unknown)[:3]),
            expected=f"contigs such as {', '.join(list(contigs)[:3])}",
        )
    names, lengths = list(contigs), np.array([*contigs.values(), 0], dtype=np.int64)
    length = lengths[np.where(known, listed.contig, -1)]
    out: dict[str, list[tuple[int, int]]] = {}
    for i in np.flatnonzero(known & (listed.start < length)).tolist():
        end = int(min(listed.end[i], length[i]))
        out.setdefault(names[listed.contig[i]], []).append((int(listed.start[i]), end))
    beyond = int((known & (listed.end > length)).sum())
    if beyond:
        log.warning("%s: %d intervals end beyond their contig and are cut", path, beyond)
    return out, beyond


def region_columns(
    genome: Genome, contig: str, selected: Selected, splits: Splits, width: int
) -> pd.DataFrame:
    """Return contig, start, end, split, gc, repeat and held_out_only of the regions of a contig."""
    starts = selected.starts
    gc, repeat = np.empty(len(starts)), np.empty(len(starts))
    if len(starts):  # a contig without regions may be shorter than one
        letters = sliding_window_view(genome.raw(contig, 0, genome.lengths[contig]), width)
    for first in range(0, len(starts), 10_000):
        part = slice(first, first + 10_000)
        windows_NW = letters[starts[part]]
        gc[part] = gc_content(encode(windows_NW.tobytes()).reshape(windows_NW.shape))
        repeat[part] = (windows_NW >= ord("a")).mean(axis=1)
    return pd.DataFrame(
        {
            "contig": np.full(len(starts), contig, dtype=object),
            "start": starts,
            "end": starts + width,
            "split": splits.split_of(contig, starts, starts + width).astype(object),
            "gc": gc.round(4),
            "repeat": repeat.round(4),
            "held_out_only": selected.held_out_only.astype(np.int64),
        }
    )


def merged(start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the union of intervals [start, end) as int64[K, 2], sorted, with gaps in between."""
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    if not len(start):
        return np.zeros((0, 2), dtype=np.int64)
    gap = start[1:] > reach[:-1]
    return np.column_stack([start[np.append(True, gap)], reach[np.append(gap, True)]])


def occupied_intervals(
    contig: str,
    peaks: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]],
    blacklist: Sequence[tuple[int, int]],
) -> pd.DataFrame:
    """Return contig, start, end of all bases of a contig in a peak or the blacklist, merged.

    Parameters
    ----------
    peaks : (starts, ends) of each cell type, held-out ones included.
    """
    listed = np.array(blacklist, dtype=np.int64).reshape(-1, 2)
    start = np.concatenate([listed[:, 0], *(first for first, _ in peaks)])
    end = np.concatenate([listed[:, 1], *(last for _, last in peaks)])
    frame = pd.DataFrame(merged(start, end), columns=["start", "end"])
    frame.insert(0, "contig", contig)
    return frame


def openness(
    atlas: Atlas, table: pd.DataFrame, contigs: Sequence[str], tolerance: int
) -> csr_matrix:
    """Return the CSR float32[C, R] matrix of strengths, stored only where a region is open.

    Parameters
    ----------
    table : the regions, sorted by contig (in the order of ``contigs``) and start.
    """
    centres = ((table["start"] + table["end"]) // 2).to_numpy()
    names = table["contig"].to_numpy()
    spans = [np.flatnonzero(names == contig)[[0, -1]] for contig in table["contig"].unique()]
    found: list[NDArray[np.int32]] = []
    values: list[NDArray[np.float32]] = []
    for peaks in atlas.peaks:
        regions, strength = [], []
        for first, last in spans:
            on = peaks.on(contigs.index(names[first]))
            r, s = open_pairs(
                peaks.start[on].astype(np.int64),
                peaks.end[on].astype(np.int64),
                peaks.strength[on],
                centres[first : last + 1],
                tolerance,
            )
            regions.append(r + first)
            strength.append(s)
        found.append(np.concatenate(regions).astype(np.int32))
        values.append(np.concatenate(strength))
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in found])])
    return csr_matrix(
        (np.concatenate(values), np.concatenate(found), indptr), shape=(len(found), len(table))
    )


def nearest_training(
    matrix: csr_matrix, held_out: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for each cell type, the most similar other training cell type and its Jaccard index.

    Parameters
    ----------
    matrix : [C, R], non-zero where open.
    held_out : bool[C].

    Returns
    -------
    index : int64[C]; -1 where there is no other training cell type.
    jaccard : float64[C], |open in both| / |open in either|, over all regions; 0 with index -1.
    """
    ratio = jaccard(matrix)[2]
    ratio[:, held_out] = -1
    np.fill_diagonal(ratio, -1)
    index, best = ratio.argmax(axis=1), ratio.max(axis=1)
    return np.where(best < 0, -1, index), np.maximum(best, 0)


def check_alignment(table: pd.DataFrame, matrix: csr_matrix, contigs: Sequence[str]) -> None:
    """Raise AssertionError unless regions are sorted, disjoint and in step with the matrix."""
    rank = table["contig"].map({name: i for i, name in enumerate(contigs)}).to_numpy()
    start, end = table["start"].to_numpy(), table["end"].to_numpy()
    same = rank[1:] == rank[:-1]
    if not ((rank[1:] > rank[:-1]) | (same & (start[1:] >= end[:-1]))).all():
        raise AssertionError("regions are not sorted and disjoint")
    if (table["region"].to_numpy() != np.arange(len(table))).any():
        raise AssertionError("region ids are not the row numbers")
    if matrix.shape[1] != len(table) or not matrix.has_sorted_indices:
        raise AssertionError("regions and accessibility are out of step")
    if ((matrix.data <= 0) | (matrix.data > 1)).any():
        raise AssertionError("strengths are not in (0, 1]")
    if (matrix.getnnz(axis=0) != table["n_cell_types"].to_numpy()).any() or (
        table["n_cell_types"].to_numpy() < 1
    ).any():
        raise AssertionError("a region is not open where its own peak is")


def _check_regions(atlas: Atlas, table: pd.DataFrame, matrix: csr_matrix) -> None:
    """Raise :class:`InputError` if a split has no region or a cell type none that is open."""
    usable = table[table["held_out_only"] == 0]
    for split in SPLITS:
        if not (usable["split"] == split).any():
            raise InputError(
                "no region of a training cell type is left in this split",
                file=f"config splits.{split}",
                expected="at least one peak in its intervals",
            )
    for i in np.flatnonzero(matrix.getnnz(axis=1) == 0):
        raise InputError(
            f"no peak of cell type {atlas.names[i]} is left",
            file=atlas.files[i],
            found=f"{len(atlas.peaks[i])} peaks, none at a region",
        )


def qc_rows(
    atlas: Atlas, table: pd.DataFrame, matrix: csr_matrix, counts: NDArray[np.int64]
) -> list[tuple[str, str, int]]:
    """Return the rows (cell_type, reason, count) of ``qc.tsv``.

    For each cell type ``read`` = unknown_contig + duplicate + kept + all reasons for which a
    candidate is dropped; where peaks are lifted or have replicates, + lift_unmapped + lift_split +
    lift_width + replicates + merged. Rows of cell type ``*`` count regions.
    """
    n_open = matrix.getnnz(axis=1)
    rows: list[tuple[str, str, int]] = []
    for i, (name, peaks) in enumerate(zip(atlas.names, atlas.peaks, strict=True)):
        rows += [(name, reason, count) for reason, count in peaks.counts.items()]
        rows += [(name, reason, int(n)) for reason, n in zip(REASONS, counts[i], strict=True)]
        rows.append((name, "open_regions", int(n_open[i])))
        rows.append((name, "median_peak_width", int(np.median(peaks.end - peaks.start))))
        for share in PEAK_WIDTHS:
            width = np.quantile(peaks.end - peaks.start, share / 100)
            rows.append((name, f"peak_width_q{share:02d}", int(width)))
        rows.append((name, f"score_{peaks.score_source}", len(peaks)))
    for split in SPLITS:
        here = table[table["split"] == split]
        rows.append(("*", f"regions_{split}", len(here)))
        rows.append(("*", f"held_out_only_{split}", int(here["held_out_only"].sum())))
        rows.append(("*", f"mean_gc_percent_{split}", round(100 * float(here["gc"].mean()))))
    return rows


def write_accessibility(path: str, atlas: Atlas, table: pd.DataFrame, matrix: csr_matrix) -> None:
    """Write the AnnData file: obs = cell types, var = regions, X = CSR float32 strengths."""
    index, jaccard = nearest_training(matrix, atlas.held_out)
    obs = pd.DataFrame(
        {
            "held_out": atlas.held_out,
            "n_peaks": [len(peaks) for peaks in atlas.peaks],
            "n_open": matrix.getnnz(axis=1),
            "score_source": [peaks.score_source for peaks in atlas.peaks],
            "nearest_training": [atlas.names[i] if i >= 0 else "" for i in index],
            "nearest_jaccard": jaccard,
        }
    )
    obs = pd.concat([obs, atlas.extra], axis=1)
    obs.index = pd.Index(atlas.names, dtype=object, name="cell_type")
    name = [
        f"{contig}:{start}-{end}"
        for contig, start, end in zip(table["contig"], table["start"], table["end"], strict=True)
    ]
    var = table.set_index(pd.Index(name, dtype=object, name="name"))
    for frame in (obs, var):
        for column in frame.columns[[not is_numeric_dtype(dtype) for dtype in frame.dtypes]]:
            frame[column] = frame[column].astype(object)  # anndata writes no Arrow strings
    anndata.AnnData(X=matrix, obs=obs, var=var).write_h5ad(
        path, compression="gzip", convert_strings_to_categoricals=False
    )


def _at_most_one(paths: str | Sequence[str], what: str) -> str | None:
    """Return the path of an input that may be missing."""
    paths = as_list(paths)
    if len(paths) > 1:
        raise ValueError(f"more than one {what}")
    return paths[0] if paths else None


def build_regions(
    *,
    cell_types: str,
    peaks: Sequence[str],
    genome: str,
    index: str,
    block_index: str,
    contigs: str,
    blacklist: str | Sequence[str],
    bed: str,
    table: str,
    accessibility: str,
    occupied: str,
    qc: str,
    splits: Mapping[str, Any],
    settings: Mapping[str, Any],
    chain: str | Sequence[str] = (),
    atlas: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Build the consensus regions and their accessibility in every cell type.

    Parameters
    ----------
    cell_types : input, TSV with cell_type, peaks and format; or, with no ``peaks``, one long
        table with contig, start, end and cell_type.
    peaks : inputs, the peak files in the order of the table.
    genome, index, block_index, contigs : inputs, written by the stage ``reference``.
    blacklist : input, a BED file, or an empty list.
    bed : output, contig, start, end, region id; no header.
    table : output, TSV with the columns ``COLUMNS``; gc is the share among known bases, repeat
        the share of soft-masked bases. A region with held_out_only = 1 was brought by a held-out
        cell type; a peak of a training one may still come near enough to its centre to open it.
    accessibility : output, AnnData cell types x regions.
    occupied : output, gzipped BED, merged: every base of a peak of any cell type (lifted,
        replicates merged) or of the blacklist, whether or not it is in a region.
    qc : output, TSV cell_type, reason, count.
    splits, settings : the blocks ``splits`` and ``regions`` of the configuration.
    chain : input, a UCSC chain file from the assembly of the peaks to the genome, or an empty list.
    atlas : the block ``atlas`` of the configuration, see :class:`AtlasSettings`.
    seed : of the configuration; draws the cell types of ``splits.held_out_share``.

    Raises
    ------
    InputError
        See :func:`load_atlas`, :func:`read_blacklist` and :class:`RegionSettings`; also if no
        region is left at all, a split has none, or a cell type no open one.
    """
    options = RegionSettings.from_config(settings)
    wanted = Splits.from_config(splits)
    lengths = read_contigs(contigs)
    wanted.check_contigs(lengths, file=contigs)
    sequence = Genome(genome)
    if sequence.lengths != lengths:
        raise InputError("contigs are not those of the genome", file=contigs, expected=genome)
    cells = load_atlas(
        cell_types,
        as_list(peaks),
        lengths,
        wanted,
        options.max_unknown_contigs,
        settings=AtlasSettings.from_config(atlas or {}),
        chain=_at_most_one(chain, "chain file"),
        seed=seed,
    )
    path = _at_most_one(blacklist, "blacklist")
    blocked, cut = read_blacklist(path, lengths) if path else ({}, 0)

    by_name = np.argsort(np.array(cells.names))  # names break ties, not the order of the table
    counts = np.zeros((len(cells.names), len(REASONS)), dtype=np.int64)
    parts, taken = [], []
    told = Progress("choosing regions", sum(lengths.values()) / 1e6, "Mb")
    done = 0.0
    for number, (contig, length) in enumerate(lengths.items()):
        told.at(done, contig)
        done += length / 1e6
        here = [cells.peaks[i].on(number) for i in by_name]
        peaked, listed = any(on.stop > on.start for on in here), blocked.get(contig, [])
        if peaked or listed:
            places = [
                (cells.peaks[i].start[on], cells.peaks[i].end[on])
                for i, on in zip(by_name, here, strict=True)
            ]
            taken.append(occupied_intervals(contig, places, listed))
        if not peaked:
            continue
        selected, counted = select_regions(
            contig,
            length,
            sequence.codes(contig, 0, length),
            [
                (cells.peaks[i].summit[on].astype(np.int64), cells.peaks[i].strength[on])
                for i, on in zip(by_name, here, strict=True)
            ],
            cells.held_out[by_name],
            listed,
            wanted,
            options,
        )
        counts[by_name] += counted
        parts.append(region_columns(sequence, contig, selected, wanted, options.width))
    frame = pd.concat(parts, ignore_index=True)
    if frame.empty:
        dropped = zip(REASONS, counts.sum(axis=0).tolist(), strict=True)
        raise InputError(
            "no peak is left",
            file=cell_types,
            found=", ".join(f"{reason} {count}" for reason, count in dropped if count),
            expected="peaks in the intervals of the splits, off the blacklist and contig edges",
        )
    matrix = openness(cells, frame, list(lengths), options.open_tolerance)
    frame["region"] = np.arange(len(frame))
    frame["n_cell_types"] = matrix.getnnz(axis=0)
    frame["n_train_cell_types"] = matrix[~cells.held_out].getnnz(axis=0)
    frame = frame[COLUMNS]
    check_alignment(frame, matrix, list(lengths))
    _check_regions(cells, frame, matrix)

    frame[["contig", "start", "end", "region"]].to_csv(bed, sep="\t", header=False, index=False)
    frame.to_csv(table, sep="\t", index=False, float_format="%.4f")
    pd.concat(taken).to_csv(
        occupied, sep="\t", header=False, index=False,
        compression={"method": "gzip", "compresslevel": 6, "mtime": 0},
    )  # fmt: skip
    write_accessibility(accessibility, cells, frame, matrix)
    rows = [*qc_rows(cells, frame, matrix, counts), ("*", "blacklist_beyond_contig", cut)]
    columns = ["cell_type", "reason", "count"]
    pd.DataFrame(rows, columns=columns).to_csv(qc, sep="\t", index=False)
    log.info("%d regions, %d open pairs in %d cell types", len(frame), matrix.nnz, len(counts))
