"""Shards: all that pre-training and the tasks read of the regions, in a few checked files.

In: the table of regions, their accessibility and motif matrix (AnnData) and the genome. Out:
``regions-NNNNN-of-NNNNN.safetensors`` (each region once), ``cell_types.safetensors`` (the open
regions of each cell type) and ``index.json`` (what is in them, with the sha256 of every file).
:meth:`Shards.open` checks and reads them back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import mmap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import sparse

from genebert.errors import InputError
from genebert.genome import Codes, Genome, encode, pack, unpack
from genebert.lines import text_lines
from genebert.splits import SPLITS, Splits

VERSION = 4
_VALUES = 0x7C00  # finite float16 that are not negative
FORMAT = 2  # of the files; raised when older readers would misread them

log = logging.getLogger("genebert")

_TABLE: dict[str, Any] = {
    "region": np.int64,
    "contig": object,
    "start": np.int64,
    "end": np.int64,
    "split": object,
    "n_cell_types": np.int64,
    "n_train_cell_types": np.int64,
    "gc": np.float64,
    "repeat": np.float64,
    "held_out_only": np.int64,
}
_REGION_TENSORS: dict[str, str] = {
    "region": "int32",
    "packed": "uint8",
    "n_mask": "uint8",
    "repeat_mask": "uint8",
    "motif_rows": "float16",
    "motif_count": "int32",
    "contig": "int16",
    "start": "int32",
    "split": "int8",
    "held_out_only": "bool",
    "gc": "float32",
    "repeat": "float32",
    "breadth": "int32",
}
_CELL_TENSORS: dict[str, str] = {
    "indptr": "int64",
    "open_regions": "int32",
    "strengths": "float32",
    "held_out": "bool",
}
_DTYPES = {
    "BOOL": "bool", "I8": "int8", "U8": "uint8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "F32": "float32",
}  # fmt: skip
_KEPT = ("cell_types", "motifs", "contigs", "width", "flank", "config_hash", "splits")
_INDEX_KEYS = ("counts", "normaliser", "region_files", "cell_type_file", *_KEPT)


def read_region_table(path: str | Path) -> pd.DataFrame:
    """Read ``regions.tsv``, typed; the row number is the region id.

    Raises
    ------
    InputError
        If a column is missing, a value is not of its type, or the rows are not numbered from 0.
    """
    _, header = next(iter(text_lines(path)), (1, ""))
    missing = [column for column in _TABLE if column not in header.split("\t")]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing", file=path, row=1, found=header[:60])
    try:
        table = pd.read_csv(path, sep="\t", dtype=_TABLE, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"is not a table of regions ({error})", file=path) from None
    if not np.array_equal(table["region"], np.arange(len(table))) or not len(table):
        raise InputError("regions are not numbered from 0", file=path)
    unknown = ~table["split"].isin(SPLITS)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise InputError(
            "unknown split",
            file=path,
            row=row + 2,
            found=table["split"][row],
            expected=", ".join(SPLITS),
        )
    return table


@dataclass(frozen=True, eq=False)
class Shards:
    """R regions of M motifs in C cell types; W is ``width`` + 2 ``flank`` bases.

    Attributes
    ----------
    packed, n_mask : uint8[R, ceil(W / 4)], uint8[R, ceil(W / 8)]; see :func:`genebert.genome.pack`.
        What lies outside the contig, or outside the interval of the region's split, is N.
    repeat_mask : uint8[R, ceil(W / 8)], little-endian bits, 1 where the base is soft-masked.
    motif_rows : float16[R, M], sums of log-odds.
    motif_count : int32[R], number of motifs with a sum above 0.
    normaliser : float32[M], what motif rows are divided by (:func:`quantiles` of the training
        regions, by default the largest value); 1 where no value is above 0.
    contig : int16[R], index into ``contigs``.
    start : int32[R], first base of the region, without the flank.
    split : int8[R], 0 train, 1 valid, 2 test.
    held_out_only : bool[R], open in held-out cell types only.
    gc, repeat : float32[R], shares of the region.
    breadth : int32[R], number of training cell types in which the region is open.
    indptr, open_regions, strengths : CSR of cell types: int64[C + 1], int32[nnz] (ascending in each
        cell type), float32[nnz] in (0, 1].
    held_out : bool[C], cell types that no training may see.
    """

    packed: NDArray[np.uint8]
    n_mask: NDArray[np.uint8]
    repeat_mask: NDArray[np.uint8]
    motif_rows: NDArray[np.float16]
    motif_count: NDArray[np.int32]
    normaliser: NDArray[np.float32]
    contig: NDArray[np.int16]
    start: NDArray[np.int32]
    split: NDArray[np.int8]
    held_out_only: NDArray[np.bool_]
    gc: NDArray[np.float32]
    repeat: NDArray[np.float32]
    breadth: NDArray[np.int32]
    indptr: NDArray[np.int64]
    open_regions: NDArray[np.int32]
    strengths: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    cell_types: list[str]
    motifs: list[str]
    contigs: list[str]
    width: int
    flank: int
    config_hash: str
    splits: dict[str, Any]

    @classmethod
    def open(cls, index: str | Path, verify: bool = True) -> Self:
        """Read all shards into memory.

        Parameters
        ----------
        index : ``index.json``; the other files lie beside it.
        verify : compare the sha256 of every file; else only sizes and shapes.

        Raises
        ------
        InputError
            If a file is missing, truncated, changed, or of another format version; it is named.
        """
        record = _read_index(index)
        folder, counts = Path(index).parent, record["counts"]
        files = record["region_files"]
        whole: dict[str, Any] = {}
        done = 0

        def read(entry: Mapping[str, Any]) -> dict[str, Any]:
            return _read_tensors(folder / entry["name"], entry, _REGION_TENSORS, verify)

        with ThreadPoolExecutor(2) as pool:  # two files are hashed while one is copied
            for entry, tensors in zip(files, pool.map(read, files), strict=True):
                path = folder / entry["name"]
                rows = len(tensors["region"])
                expected = _region_shapes(
                    rows, record["width"] + 2 * record["flank"], counts["motifs"]
                )
                for name, shape in expected.items():
                    _expect(path, f"shape of {name}", tensors[name].shape, shape)
                    if name not in whole:
                        whole[name] = _room((counts["regions"], *shape[1:]), tensors[name].dtype)
                _expect(path, "number of regions", done + rows <= counts["regions"], True)
                _expect(
                    path, "first region", tensors["region"][:1].tolist(), [done] if rows else []
                )
                for name in expected:
                    whole[name][done : done + rows] = tensors[name]
                done += rows
        _expect(index, "number of regions in all shards", done, counts["regions"])
        entry = record["cell_type_file"]
        path = folder / entry["name"]
        cells: dict[str, Any] = _read_tensors(path, entry, _CELL_TENSORS, verify)
        _expect(path, "shape of indptr", cells["indptr"].shape, (counts["cell_types"] + 1,))
        _expect(path, "shape of held_out", cells["held_out"].shape, (counts["cell_types"],))
        for name in ("open_regions", "strengths"):
            _expect(path, f"shape of {name}", cells[name].shape, (int(cells["indptr"][-1]),))
        for name, count in (("cell_types", "cell_types"), ("motifs", "motifs")):
            _expect(index, f"number of {name}", len(record[name]), counts[count])
        whole.pop("region")
        cells = {name: np.array(tensor) for name, tensor in cells.items()}  # no longer mapped
        return cls(
            **whole,
            **cells,
            normaliser=np.array(record["normaliser"], dtype=np.float32),
            **{name: record[name] for name in _KEPT},
        )

    def sequences(self, regions: NDArray[np.integer[Any]], flank: int = 0) -> Codes:
        """Return uint8[n, width + 2 flank], the codes of some regions."""
        if not 0 <= flank <= self.flank:
            raise ValueError(f"flank {flank} is not in 0..{self.flank}")
        whole = self.width + 2 * self.flank
        codes = unpack(self.packed[regions], self.n_mask[regions], whole)
        return codes[:, self.flank - flank : whole - self.flank + flank]

    def open_in(self, cell_type: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the ids (ascending) and strengths of the regions open in a cell type."""
        open_ = slice(*self.indptr[cell_type : cell_type + 2])
        return self.open_regions[open_], self.strengths[open_]

    def openness(self) -> sparse.csr_matrix:
        """Return the strengths as float32 CSR[C, R]."""
        shape = (len(self.cell_types), len(self.start))
        return sparse.csr_matrix((self.strengths, self.open_regions, self.indptr), shape=shape)


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
    paths = [shards] if isinstance(shards, str) else list(shards)
    if len(paths) > len(frame):
        raise InputError(
            "more shards than regions",
            file="config shards.count",
            found=len(paths),
            expected=f"at most {len(frame)}",
        )
    widths = (frame["end"] - frame["start"]).unique()
    _expect(table, "number of region widths", len(widths), 1)
    width = int(widths[0])
    contigs = list(dict.fromkeys(frame["contig"]))
    _expect(
        table, "more contigs than can be numbered", len(contigs) <= np.iinfo(np.int16).max, True
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
    typed = {name: np.asarray(v).astype(_REGION_TENSORS[name]) for name, v in columns.items()}
    trained = (typed["split"] == 0) & ~typed["held_out_only"]

    with _open_h5ad(matrix) as file:
        motifs = [str(name) for name in read_elem(file["var"]).index]
        _check_names(matrix, read_elem(file["obs"]).index, names)
        layer = file["layers"]["sum"]
        _expect(matrix, "encoding of layer sum", layer.attrs["encoding-type"], "csr_matrix")
        counts = np.zeros((len(motifs), _VALUES), dtype=np.int64)
        entries = []
        for number, path in enumerate(paths):
            rows = slice(*(len(frame) * k // len(paths) for k in (number, number + 1)))
            tensors = {name: values[rows] for name, values in typed.items()}
            tensors |= sequence_tensors(sequence, frame[rows], flank, intervals)
            tensors |= _motif_tensors(layer, rows, len(motifs))
            count_values(tensors["motif_rows"][trained[rows]], counts)
            entries.append(_save(tensors, path))
            log.info("shard %d of %d: %d regions", number + 1, len(paths), rows.stop - rows.start)
    quantile = float(settings.get("normaliser_quantile", 1.0))
    normaliser = quantiles(counts, quantile)
    cell_type_entry = _save(
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


def region_names(frame: pd.DataFrame) -> list[str]:
    """Return ``contig:start-end`` of each region."""
    columns = (frame[name] for name in ("contig", "start", "end"))
    return [f"{contig}:{start}-{end}" for contig, start, end in zip(*columns, strict=True)]


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


def _save(tensors: dict[str, NDArray[Any]], path: str) -> dict[str, Any]:
    """Write safetensors with the usual permissions (its own writer lets only the owner read).

    Returns
    -------
    The entry of the index: name, bytes, sha256.
    """
    content = save(tensors)
    Path(path).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return {"name": Path(path).name, "bytes": len(content), "sha256": sha256}


def _region_shapes(rows: int, bases: int, motifs: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_REGION_TENSORS, (rows,))
    mask = (rows, -(-bases // 8))
    return shapes | {
        "packed": (rows, -(-bases // 4)),
        "n_mask": mask,
        "repeat_mask": mask,
        "motif_rows": (rows, motifs),
    }


def _open_h5ad(path: str) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"cannot be read as AnnData ({error})", file=path) from None


def _check_names(path: str, found: pd.Index, names: list[str]) -> None:
    """Raise :class:`InputError` unless the names are those of the regions, in their order."""
    _expect(path, "number of regions", len(found), len(names))
    if (listed := [str(name) for name in found]) != names:
        row = next(i for i, name in enumerate(names) if listed[i] != name)
        _expect(path, "region", listed[row], names[row])


def _expect(path: str | Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise InputError(f"{what} is wrong", file=path, found=found, expected=expected)


def _room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of small pages; for huge ones, NumPy's choice, a busy system takes longer."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(1, size * dtype.itemsize)), dtype, size).reshape(shape)


def _read_index(path: str | Path) -> dict[str, Any]:
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        version = record["format"]
        missing = [key for key in _INDEX_KEYS if key not in record]
    except FileNotFoundError:
        raise InputError("no such shard index", file=path) from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"is not a shard index ({error})", file=path) from None
    _expect(path, "format version of the shards", version, FORMAT)
    if missing:
        raise InputError(f"is not a shard index: {missing[0]} is missing", file=path)
    for entry in (*record["region_files"], record["cell_type_file"]):
        if Path(entry["name"]).name != entry["name"]:
            raise InputError("names a file elsewhere", file=path, found=entry["name"])
    return record


def _read_tensors(
    path: Path, entry: Mapping[str, Any], dtypes: Mapping[str, str], verify: bool
) -> dict[str, Any]:
    """Map a safetensors file after checking its size and, if asked, its sha256."""
    if not path.exists():
        raise InputError("shard is missing", file=path)
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise InputError(
            "shard is truncated or changed",
            file=path,
            found=size,
            expected=f"{entry['bytes']} bytes",
        )
    content = np.memmap(path, dtype=np.uint8, mode="r") if size else np.zeros(0, dtype=np.uint8)
    if verify and (found := hashlib.sha256(content.data).hexdigest()) != entry["sha256"]:
        raise InputError(
            "shard was changed: its sha256 is wrong",
            file=path,
            found=found,
            expected=entry["sha256"],
        )
    tensors = mapped_tensors(content, path)
    for name, dtype in dtypes.items():
        if name not in tensors:
            raise InputError(f"tensor {name} is missing", file=path)
        _expect(path, f"type of {name}", str(tensors[name].dtype), dtype)
    return {name: tensors[name] for name in dtypes}


def mapped_tensors(content: NDArray[np.uint8], path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a mapped safetensors file, as views of it.

    The library copies every tensor, which takes longer than all else when opening.
    """
    try:
        with safe_open(path, framework="numpy"):  # checks the header: all bytes, in their bounds
            pass
        data = 8 + int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8:data].tobytes())
        header.pop("__metadata__", None)
        return {
            name: content[data:][slice(*what["data_offsets"])]
            .view(_DTYPES[what["dtype"]])
            .reshape(what["shape"])
            for name, what in header.items()
        }
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read as safetensors ({error})", file=path) from None
