"""Shards: all that pre-training and the tasks read of the regions, in a few checked files.

``regions-NNNNN-of-NNNNN.safetensors`` (each region once), ``cell_types.safetensors`` (the open
regions of each cell type) and ``index.json`` (what is in them, with the sha256 of every file).
:meth:`Shards.open` checks and reads what :mod:`genebert.shard_export` wrote.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genebert.errors import InputError, reading
from genebert.genome import Codes, unpack
from genebert.lines import text_lines
from genebert.mapped_rows import MappedRows, row_budget
from genebert.shard_files import (
    CELL_TENSORS,
    KEPT,
    REGION_TENSORS,
    expect,
    read_index,
    read_tensors,
    region_shapes,
    room,
)
from genebert.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd

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


def read_region_table(path: str | Path) -> pd.DataFrame:
    """Read ``regions.tsv``, typed; the row number is the region id.

    Raises
    ------
    InputError
        If a column is missing, a value is not of its type, or the rows are not numbered from 0.
    """
    import pandas as pd  # late: training reads no table

    _, header = next(iter(text_lines(path)), (1, ""))
    missing = [column for column in _TABLE if column not in header.split("\t")]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing", file=path, row=1, found=header[:60])
    with reading(path, "is not a table of regions"):
        table = pd.read_csv(path, sep="\t", dtype=_TABLE, keep_default_na=False)
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


def region_names(frame: pd.DataFrame) -> list[str]:
    """Return ``contig:start-end`` of each region."""
    columns = (frame[name] for name in ("contig", "start", "end"))
    return [f"{contig}:{start}-{end}" for contig, start, end in zip(*columns, strict=True)]


@dataclass(frozen=True, eq=False)
class Shards:
    """R regions of M motifs in C cell types; W is ``width`` + 2 ``flank`` bases.

    Attributes
    ----------
    packed, n_mask : uint8[R, ceil(W / 4)], uint8[R, ceil(W / 8)]; see :func:`genebert.genome.pack`.
        What lies outside the contig, or outside the interval of the region's split, is N.
    repeat_mask : uint8[R, ceil(W / 8)], little-endian bits, 1 where the base is soft-masked.
    motif_rows : float16[R, M], sums of log-odds; nearly all of the memory. In memory, or
        :class:`~genebert.mapped_rows.MappedRows`, which read the rows that are asked for.
    motif_count : int32[R], number of motifs with a sum above 0.
    normaliser : float32[M], what motif rows are divided by, of the training regions
        (:func:`genebert.shard_export.quantiles`, by default the largest value); 1 where no value is
        above 0.
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
    motif_rows: NDArray[np.float16] | MappedRows
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
    def open(cls, index: str | Path, verify: bool = True, memory_gb: float | None = None) -> Self:
        """Read all shards into memory, but motif rows that are too large for it.

        Parameters
        ----------
        index : ``index.json``; the other files lie beside it.
        verify : compare the sha256 of every file; else only sizes and shapes.
        memory_gb : what the motif rows may take (10**9 bytes); if they take more, they stay in
            their files, mapped. By default :func:`~genebert.mapped_rows.row_budget`.

        Raises
        ------
        InputError
            If a file is missing, truncated, changed, or of another format version; it is named.
        """
        record = read_index(index)
        folder, counts = Path(index).parent, record["counts"]
        files = record["region_files"]
        budget = row_budget() if memory_gb is None else memory_gb * 1e9
        stays = 2 * counts["regions"] * counts["motifs"] > budget
        whole: dict[str, Any] = {}
        mapped: list[Any] = []
        done = 0

        def read(entry: Mapping[str, Any]) -> tuple[dict[str, Any], mmap.mmap]:
            return read_tensors(folder / entry["name"], entry, REGION_TENSORS, verify)

        with ThreadPoolExecutor(2) as pool:  # two files are hashed while one is copied
            for entry, (tensors, file) in zip(files, pool.map(read, files), strict=True):
                path = folder / entry["name"]
                rows = len(tensors["region"])
                expected = region_shapes(
                    rows, record["width"] + 2 * record["flank"], counts["motifs"]
                )
                for name, shape in expected.items():
                    expect(path, f"shape of {name}", tensors[name].shape, shape)
                    if name not in whole and not (stays and name == "motif_rows"):
                        whole[name] = room((counts["regions"], *shape[1:]), tensors[name].dtype)
                expect(path, "number of regions", done + rows <= counts["regions"], True)
                expect(path, "first region", tensors["region"][:1].tolist(), [done] if rows else [])
                for name, values in whole.items():
                    values[done : done + rows] = tensors[name]
                if stays:
                    mapped.append((tensors["motif_rows"], file))
                done += rows
        expect(index, "number of regions in all shards", done, counts["regions"])
        entry = record["cell_type_file"]
        path = folder / entry["name"]
        cells: dict[str, Any] = read_tensors(path, entry, CELL_TENSORS, verify)[0]
        expect(path, "shape of indptr", cells["indptr"].shape, (counts["cell_types"] + 1,))
        expect(path, "shape of held_out", cells["held_out"].shape, (counts["cell_types"],))
        for name in ("open_regions", "strengths"):
            expect(path, f"shape of {name}", cells[name].shape, (int(cells["indptr"][-1]),))
        for name, count in (("cell_types", "cell_types"), ("motifs", "motifs")):
            expect(index, f"number of {name}", len(record[name]), counts[count])
        if stays:
            whole["motif_rows"] = MappedRows(*zip(*mapped, strict=True))
            log.info("motif rows stay in their files: %.1f GB", whole["motif_rows"].nbytes / 1e9)
        whole.pop("region")
        cells = {name: np.array(tensor) for name, tensor in cells.items()}  # no longer mapped
        return cls(
            **whole,
            **cells,
            normaliser=np.array(record["normaliser"], dtype=np.float32),
            **{name: record[name] for name in KEPT},
        )

    def sequences(self, regions: NDArray[np.integer[Any]], flank: int = 0) -> Codes:
        """Return uint8[n, width + 2 flank], the codes of some regions."""
        if not 0 <= flank <= self.flank:
            raise ValueError(f"flank {flank} is not in 0..{self.flank}")
        whole = self.width + 2 * self.flank
        codes = unpack(self.packed[regions], self.n_mask[regions], whole)
        return codes[:, self.flank - flank : whole - self.flank + flank]

    def openness(self) -> sparse.csr_matrix:
        """Return the strengths as float32 CSR[C, R]."""
        shape = (len(self.cell_types), len(self.start))
        return sparse.csr_matrix((self.strengths, self.open_regions, self.indptr), shape=shape)
