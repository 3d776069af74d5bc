"""Write the shards: each region once, with its sequence and motif row, and who has it open.

In: the table of regions, their accessibility and motif matrix (AnnData) and the genome. Out: the
files that :class:`genebert.shards.Shards` reads.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import sparse

from genebert.errors import InputError
from genebert.genome import Genome, encode, pack
from genebert.job import as_list
from genebert.progress import progress
from genebert.shard_files import FORMAT, REGION_TENSORS, expect, save_tensors
from genebert.shards import read_region_table, region_names
from genebert.splits import SPLITS, Splits

VERSION = 4
_VALUES = 0x7C00  # finite float16 that are not negative

log = logging.getLogger("genebert")


def export_shards(
    *,
    table: str,
    accessibility: str,
    matrix: str,
    genome: str,
    index: str,
    block_index: str,
    shards: Sequence[str],
    cell_types: str,
    shard_index: str,
    settings: Mapping[str, Any],
    splits: Mapping[str, Any],
    config_hash: str,
) -> None:
    """Write the shards, one at a time, and their index.

    Parameters
    ----------
    table, accessibility, matrix, genome, index, block_index : input paths.
    shards, cell_types, shard_index : output paths, all in one directory.
    settings, splits : the blocks ``shards`` and ``splits`` of the configuration.
    config_hash : of the configuration of this stage and those before it.

    Raises
    ------
    InputError
        If the inputs do not describe the same regions.
    """
    from anndata.io import read_elem

    frame, sequence, flank = read_region_table(table), Genome(genome), int(settings["flank"])
    intervals = Splits.from_config(splits)
    paths = as_list(shards)
    if len(paths) > len(frame):
        raise InputError(
            "more shards than regions",
            file="config shards.count",
            found=len(paths),
            expected=f"at most {len(frame)}",
        )
    widths = (frame["end"] - frame["start"]).unique()
    expect(table, "number of region widths", len(widths), 1)
    width = int(widths[0])
    contigs = list(dict.fromkeys(frame["contig"]))
    most = int(np.iinfo(np.int16).max)
    if len(contigs) > most:
        raise InputError(
            "regions lie on more contigs than can be numbered",
            file=table,
            found=len(contigs),
            expected=f"at most {most}: leave small scaffolds out of the genome or the peaks",
        )

    names = region_names(frame)
    with _open_h5ad(accessibility) as file:
        obs, strengths = read_elem(file["obs"]), read_elem(file["X"])
        _check_names(accessibility, read_elem(file["var"]).index, names)
    strengths = sparse.csr_matrix(strengths, dtype=np.float32)
    strengths.sort_indices()
    held_out = obs["held_out"].to_numpy(dtype=bool)
    log.info("%d regions, open in %d cell types: %d", len(frame), len(obs), strengths.nnz)
    columns = {
        "region": frame["region"],
        "contig": frame["contig"].map({name: i for i, name in enumerate(contigs)}),
        "start": frame["start"],
        "split": frame["split"].map({name: i for i, name in enumerate(SPLITS)}),
        "held_out_only": frame["held_out_only"],
        "gc": frame["gc"],
        "repeat": frame["repeat"],
        "breadth": strengths[~held_out].getnnz(axis=0),
    }
    typed = {name: np.asarray(v).astype(REGION_TENSORS[name]) for name, v in columns.items()}
    trained = (typed["split"] == 0) & ~typed["held_out_only"]

    with _open_h5ad(matrix) as file:
        motifs = [str(name) for name in read_elem(file["var"]).index]
        _check_names(matrix, read_elem(file["obs"]).index, names)
        layer = file["layers"]["sum"]
        expect(matrix, "encoding of layer sum", layer.attrs["encoding-type"], "csr_matrix")
        counts = np.zeros((len(motifs), _VALUES), dtype=np.int64)
        entries = []
        for number, path in enumerate(progress(paths, "writing", "shards")):
            rows = slice(*(len(frame) * k // len(paths) for k in (number, number + 1)))
            tensors = {name: values[rows] for name, values in typed.items()}
            tensors |= sequence_tensors(sequence, frame[rows], flank, intervals)
            tensors |= _motif_tensors(layer, rows, len(motifs))
            count_values(tensors["motif_rows"][trained[rows]], counts)
            entries.append(save_tensors(tensors, path))
    quantile = float(settings.get("normaliser_quantile", 1.0))
    normaliser = quantiles(counts, quantile)
    cell_type_entry = save_tensors(
        {
            "indptr": strengths.indptr.astype(np.int64),
            "open_regions": strengths.indices.astype(np.int32),
            "strengths": strengths.data,
            "held_out": held_out,
        },
        cell_types,
    )
    record = {
        "format": FORMAT,
        "version": VERSION,
        "config_hash": config_hash,
        "counts": {
            "regions": len(frame),
            "motifs": len(motifs),
            "cell_types": len(obs),
            "open": int(strengths.nnz),
        },
        "width": width,
        "flank": flank,
        "contigs": contigs,
        "cell_types": [str(name) for name in obs.index],
        "motifs": motifs,
        "normaliser_quantile": quantile,
        "normaliser": np.where(normaliser > 0, normaliser, 1).tolist(),
        "splits": dict(splits),
        "region_files": entries,
        "cell_type_file": cell_type_entry,
    }
    Path(shard_index).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def sequence_tensors(
    genome: Genome, frame: pd.DataFrame, flank: int, splits: Splits
) -> dict[str, NDArray[Any]]:
    """Return packed bases, N mask and repeat mask of some regions with their flanks.

    Bases of a flank that lie outside the interval of the region's split are N: where splits are
    intervals of one contig, they may be another split's.
    """
    length = int(frame["end"].iloc[0] - frame["start"].iloc[0]) + 2 * flank
    letters = np.full((len(frame), length), ord("N"), dtype=np.uint8)
    first, contig = frame["start"].to_numpy() - flank, frame["contig"].to_numpy()
    for name in dict.fromkeys(contig):
        whole = genome.raw(name, 0, genome.lengths.get(name, 0))
        here = np.flatnonzero(contig == name)
        inside = (first[here] >= 0) & (first[here] + length <= len(whole))
        if inside.any():
            letters[here[inside]] = sliding_window_view(whole, length)[first[here[inside]]]
        for row in here[~inside]:
            part = whole[max(first[row], 0) : max(first[row] + length, 0)]
            at = max(-first[row], 0)
            letters[row, at : at + len(part)] = part
    split, last = frame["split"].to_numpy(), first + length
    for name, intervals in splits.intervals.items():
        for interval in intervals:
            row = (contig == interval.contig) & (split == name)
            row &= (first + flank >= interval.start) & (last - flank <= interval.end)
            for i in np.flatnonzero(row & ((first < interval.start) | (last > interval.end))):
                letters[i, : max(0, interval.start - first[i])] = ord("N")
                letters[i, length - max(0, last[i] - interval.end) :] = ord("N")
    packed, n_mask = pack(encode(letters.tobytes()).reshape(letters.shape))
    repeat_mask = np.packbits(letters >= ord("a"), axis=-1, bitorder="little")
    return {"packed": packed, "n_mask": n_mask, "repeat_mask": repeat_mask}


def _motif_tensors(layer: Any, rows: slice, motifs: int) -> dict[str, NDArray[Any]]:
    """Return motif_rows and motif_count of a CSR layer on disk, clipped to what float16 holds."""
    indptr = layer["indptr"][rows.start : rows.stop + 1].astype(np.int64)
    cells = slice(int(indptr[0]), int(indptr[-1]))
    shape = (rows.stop - rows.start, motifs)
    sums = sparse.csr_matrix(
        (layer["data"][cells], layer["indices"][cells], indptr - indptr[0]), shape=shape
    )
    sums.sum_duplicates()
    limit = np.finfo(np.float16).max
    values = np.clip(sums.data, -limit, limit).astype(np.float16)
    dense = np.zeros(shape, dtype=np.float16)
    filled = np.diff(sums.indptr)
    dense[np.repeat(np.arange(shape[0]), filled), sums.indices] = values
    above = np.concatenate([[0], np.cumsum(values > 0)])
    return {
        "motif_rows": dense,
        "motif_count": np.diff(above[sums.indptr]).astype(np.int32),
    }


def count_values(rows_NM: NDArray[np.float16], counts_MV: NDArray[np.int64]) -> None:
    """Add the values above 0 of motif rows to a table of how often each float16 occurs."""
    # the order of float16 that are not negative is that of their bits as integers
    bits_NM = np.ascontiguousarray(rows_NM).view(np.int16)
    row, motif = np.nonzero(bits_NM > 0)
    place = motif * _VALUES + bits_NM[row, motif]
    counts_MV += np.bincount(place, minlength=counts_MV.size).reshape(counts_MV.shape)


def quantiles(counts_MV: NDArray[np.int64], quantile: float) -> NDArray[np.float32]:
    """Return float32[M], a quantile of each motif's values above 0; 0 where there are none.

    The smallest value that at least this share of them does not exceed; 1 is the largest.
    """
    normaliser = np.zeros(len(counts_MV), dtype=np.float32)
    for motif, count_V in enumerate(counts_MV):
        total_V = count_V.cumsum()
        bits = np.searchsorted(total_V, math.ceil(quantile * total_V[-1]))
        normaliser[motif] = np.array(bits, dtype=np.int16).view(np.float16)
    return normaliser


def _open_h5ad(path: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"cannot be read as AnnData ({error})", file=path) from None


def _check_names(path: str, found: pd.Index, names: list[str]) -> None:
    """Raise :class:`InputError` unless the names are those of the regions, in their order."""
    expect(path, "number of regions", len(found), len(names))
    if (listed := [str(name) for name in found]) != names:
        row = next(i for i, name in enumerate(names) if listed[i] != name)
        expect(path, "region", listed[row], names[row])
