"""The regions x motifs matrix: scanned in chunks of regions, gathered into one AnnData file.

In: the motif set, the regions and the genome. Out: ``matrix.h5ad`` with obs = regions, var =
columns of the motif set and the layers ``count``, ``best`` and ``sum`` (``X`` is ``sum``). Both the
chunks and the whole are written piece by piece, so that memory does not grow with the regions.

The layers have the same cells, and ``X`` is ``sum``: the file holds their indices once and names
them by hard links, which HDF5, anndata and scanpy read as if each had its own.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from genebert.disk import sha256
from genebert.errors import InputError, reading
from genebert.genome import Genome
from genebert.job import as_list
from genebert.lines import text_lines
from genebert.motifs import VERSION, MotifSet
from genebert.progress import Progress, progress
from genebert.shards import read_region_table, region_names

log = logging.getLogger("genebert")

LAYERS = ("count", "best", "sum")
_BATCH = 1000  # regions that are scanned between two heartbeats at the earliest
_CELLS = 1 << 18  # cells in one piece of a dataset: 1 MB, the unit of compression and of writing
_PASSING: dict[str, Any] = {"compression": "lzf", "fletcher32": True}  # of chunks: fast, checked
_LASTING: dict[str, Any] = {"compression": "gzip", "compression_opts": 1}  # any HDF5 reads it
_DTYPES = {"indices": np.int32} | dict.fromkeys(LAYERS, np.float32)


def chunk_range(count: int, chunk: int, chunks: int) -> tuple[int, int]:
    """Return the first row and the end of a chunk; chunks differ in size by one at most."""
    if not 0 <= chunk < chunks:
        raise ValueError(f"chunk {chunk} is not one of {chunks}")
    return count * chunk // chunks, count * (chunk + 1) // chunks


def read_regions(path: str | Path) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Read ``regions.bed``: contigs, starts, ends; the name of each row must be its number.

    Raises
    ------
    InputError
        If a row has other fields, or rows are not numbered from 0.
    """
    contigs: list[str] = []
    names: dict[str, str] = {}  # one object a contig, not one a region
    starts, ends = array("q"), array("q")
    for row, line in text_lines(path):
        try:
            contig, start, end, name = line.split("\t")
            bounds, number = (int(start), int(end)), int(name)
        except ValueError:
            raise InputError(
                "is not a row of regions", file=path, row=row, found=line[:60], expected="BED4"
            ) from None
        if number != len(contigs):
            raise InputError(
                "region id is not the row number",
                file=path,
                row=row,
                found=number,
                expected=len(contigs),
            )
        contigs.append(names.setdefault(contig, contig))
        starts.append(bounds[0])
        ends.append(bounds[1])
    if not contigs:
        raise InputError("has no regions", file=path)
    return contigs, np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)


def scan_chunk(
    *,
    motif_set: str,
    regions: str,
    genome: str,
    index: str,
    block_index: str,
    hits: str,
    chunk: int,
    chunks: int,
) -> None:
    """Scan one contiguous slice of the regions.

    Parameters
    ----------
    motif_set, regions, genome, index, block_index : input paths.
    hits : output, HDF5: the CSR arrays ``indptr``, ``indices``, ``count``, ``best``, ``sum``, and
        the attributes ``rows`` (first, end) and the sha256 of ``motif_set`` and ``regions``.
    chunk, chunks : which slice (from 0) of how many.
    """
    import h5py

    motifs, sequence = MotifSet.read(motif_set), Genome(genome)
    contigs, starts, ends = read_regions(regions)
    first, end = chunk_range(len(contigs), chunk, chunks)
    indptr = np.zeros(end - first + 1, dtype=np.int64)
    told = Progress("scanning motifs", end - first, "regions")
    with h5py.File(hits, "w") as file:
        writers = {name: _Writer(file, name, _DTYPES[name], _PASSING) for name in _DTYPES}
        for at in range(first, end, _BATCH):
            stop = min(at + _BATCH, end)
            slices = zip(contigs[at:stop], starts[at:stop], ends[at:stop], strict=True)
            rows = motifs.scan([sequence.codes(c, int(s), int(e)) for c, s, e in slices])
            writers["indices"].write(rows.sum.indices)
            for layer in LAYERS:
                writers[layer].write(getattr(rows, layer).data)
            indptr[at - first + 1 : stop - first + 1] = indptr[at - first] + rows.sum.indptr[1:]
            told.at(stop - first)
        for writer in writers.values():
            writer.close()
        file["indptr"] = indptr
        file.attrs["rows"] = [first, end]
        file.attrs.update({"motif_set": sha256(motif_set), "regions": sha256(regions)})
    log.info("%d regions x %d motifs", end - first, len(motifs.columns))


class _Writer:
    """Appends to a dataset in whole pieces, so that the file does not depend on the parts given."""

    def __init__(self, group: Any, name: str, dtype: Any, filters: dict[str, Any]) -> None:
        """Make the dataset, empty."""
        self._left = np.zeros(0, dtype=dtype)
        self._dataset = group.create_dataset(
            name, (0,), dtype, maxshape=(None,), chunks=(_CELLS,), shuffle=True, **filters
        )

    def write(self, values: NDArray[Any]) -> None:
        """Append values; what does not fill a piece waits."""
        values = np.concatenate([self._left, values])
        whole = len(values) // _CELLS * _CELLS
        self._append(values[:whole])
        self._left = values[whole:]

    def close(self) -> None:
        """Append what waits."""
        self._append(self._left)

    def _append(self, values: NDArray[Any]) -> None:
        if len(values):
            at = len(self._dataset)
            self._dataset.resize(at + len(values), axis=0)
            self._dataset[at:] = values


@dataclass(frozen=True)
class Chunk:
    """What a file of :func:`scan_chunk` says of itself: its rows [first, end) and their cells."""

    path: str
    first: int
    end: int
    motif_set: str  # sha256
    regions: str  # sha256
    row_cells: NDArray[np.int64]  # int64[end - first]

    @classmethod
    def read(cls, path: str, columns: int) -> Chunk:
        """Read and check all but the values.

        Raises
        ------
        InputError
            If the file is damaged or its arrays do not fit each other.
        """
        import h5py

        with (
            reading(path, "is not a chunk of the motif matrix", KeyError),
            h5py.File(path, "r") as file,
        ):
            first, end = (int(value) for value in file.attrs["rows"])
            row_cells = np.diff(file["indptr"][:])
            lengths = {len(file[name]) for name in _DTYPES}
            digests = str(file.attrs["motif_set"]), str(file.attrs["regions"])
        fits = len(row_cells) == end - first and lengths == {int(row_cells.sum())}
        if not fits or ((row_cells < 0) | (row_cells > columns)).any():
            raise InputError("is not a chunk of the motif matrix (arrays disagree)", file=path)
        return cls(path, first, end, *digests, row_cells)

    def values(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield ``indices`` or a layer, some pieces at a time."""
        import h5py

        try:
            with h5py.File(self.path, "r") as file:
                for at in range(0, len(file[name]), 16 * _CELLS):
                    yield file[name][at : at + 16 * _CELLS]
        except OSError as error:
            raise InputError(
                f"is not a chunk of the motif matrix ({error})", file=self.path
            ) from None


def gather_matrix(
    *, motif_set: str, regions: str, table: str, chunks: Sequence[str], matrix: str
) -> None:
    """Put the chunks together as AnnData.

    Parameters
    ----------
    motif_set, regions, table : input paths.
    chunks : the files of :func:`scan_chunk`, in any order.
    matrix : output, ``.h5ad``; ``uns`` holds p_value, pseudocount, background and version.

    Raises
    ------
    InputError
        If the chunks do not cover the regions once, belong to another motif set, or the regions
        disagree with their table.
    """
    motifs, frame = MotifSet.read(motif_set), read_region_table(table)
    contigs, starts, ends = read_regions(regions)
    same = (
        len(frame) == len(contigs)
        and (
            (frame["contig"] == contigs) & (frame["start"] == starts) & (frame["end"] == ends)
        ).all()
    )
    if not same:
        raise InputError("rows are not those of the table", file=regions, expected=table)
    parts = [Chunk.read(path, len(motifs.columns)) for path in as_list(chunks)]
    parts.sort(key=lambda part: (part.first, part.end))
    done, digests = 0, (sha256(motif_set), sha256(regions))
    for part in parts:
        if part.motif_set != digests[0]:
            raise InputError(
                "was scanned with another motif set", file=part.path, expected=motif_set
            )
        if part.regions != digests[1]:
            raise InputError("was scanned over other regions", file=part.path, expected=regions)
        if part.first != done:
            raise InputError(
                "rows of the chunks have a gap", file=part.path, found=part.first, expected=done
            )
        done = part.end
    if done != len(frame):
        raise InputError("chunks are not all regions", file=table, found=done, expected=len(frame))
    _write_description(matrix, motifs, frame)
    _write_layers(matrix, parts, (len(frame), len(motifs.columns)))
    filled = sum(int(part.row_cells.sum()) for part in parts) / len(frame) / len(motifs.columns)
    shape = len(frame), len(motifs.columns)
    log.info("%d regions x %d motifs, %.1f %% of cells filled", *shape, 100 * filled)


def _write_description(matrix: str, motifs: MotifSet, frame: pd.DataFrame) -> None:
    """Write all but the values: obs, var and uns."""
    import anndata

    obs = frame.set_index(pd.Index(region_names(frame), dtype=object, name="name"))
    var = pd.DataFrame(
        {
            "alternate": [
                "" if column.cluster else motifs.kept[column.members[0]].alternate
                for column in motifs.columns
            ],
            "width": [column.width for column in motifs.columns],
            "threshold": [column.threshold for column in motifs.columns],
            "attainable_p": [column.attainable_p for column in motifs.columns],
            "cluster": [column.cluster for column in motifs.columns],
        },
        index=pd.Index(motifs.names, dtype=object, name="name"),
    )
    for described in (obs, var):
        for name in described.columns[[not is_numeric_dtype(dtype) for dtype in described.dtypes]]:
            described[name] = described[name].astype(object)  # anndata writes no Arrow strings
    uns = {
        "p_value": motifs.p_value,
        "pseudocount": motifs.pseudocount,
        "background": np.array(motifs.background),
        "merge_strands": motifs.merge_strands,
        "order": motifs.order,
        "version": VERSION,
    }
    anndata.AnnData(obs=obs, var=var, uns=uns).write_h5ad(
        matrix, compression="gzip", convert_strings_to_categoricals=False
    )


def _write_layers(matrix: str, parts: Sequence[Chunk], shape: tuple[int, int]) -> None:
    """Add the layers, and X, to the file, one array after the other and one chunk after the other.

    The encoding is AnnData's of a CSR matrix, version 0.1.0.
    """
    import h5py

    indptr = np.concatenate([[0], np.cumsum(np.concatenate([part.row_cells for part in parts]))])
    with h5py.File(matrix, "r+") as file:
        layers = file["layers"]
        for layer in LAYERS:
            group = layers.create_group(layer)
            group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
            group.attrs["shape"] = np.array(shape, dtype=np.int64)
            _fill(group, "data", layer, parts)
            if layer == LAYERS[0]:
                group.create_dataset("indptr", data=indptr, shuffle=True, **_LASTING)
                _fill(group, "indices", "indices", parts)
            else:
                for name in ("indptr", "indices"):
                    group[name] = layers[LAYERS[0]][name]
        if "X" in file:  # anndata marks its absence
            del file["X"]
        file["X"] = layers["sum"]


def _fill(group: Any, name: str, source: str, parts: Sequence[Chunk]) -> None:
    """Write one array of all chunks as a dataset of the group."""
    writer = _Writer(group, name, _DTYPES[source], _LASTING)
    for part in progress(parts, f"writing {group.name}/{name}", "chunks"):
        for values in part.values(source):
            writer.write(values)
    writer.close()
