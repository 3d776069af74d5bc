"""The regions x motifs matrix: scanned in chunks of regions, gathered into one AnnData file.

In: the motif set, the regions and the genome. Out: ``matrix.h5ad`` with obs = regions, var =
columns of the motif set and the layers ``count``, ``best`` and ``sum`` (``X`` is ``sum``).
"""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from scipy import sparse

from genebert.errors import InputError
from genebert.genome import Genome
from genebert.lines import text_lines
from genebert.motif_scan import MotifRows, stack
from genebert.motifs import VERSION, MotifSet
from genebert.shards import read_region_table

log = logging.getLogger("genebert")

LAYERS = ("count", "best", "sum")
_BATCH = 1000  # regions that are scanned between two heartbeats at the earliest
_HEARTBEAT = 10.0  # seconds


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
    bounds: list[tuple[int, int]] = []
    for row, line in text_lines(path):
        try:
            contig, start, end, name = line.split("\t")
            bounds.append((int(start), int(end)))
            number = int(name)
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
        contigs.append(contig)
    if not contigs:
        raise InputError("has no regions", file=path)
    starts, ends = np.array(bounds, dtype=np.int64).T
    return contigs, starts, ends


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
    hits : output, npz (no pickles): ``rows`` (first, end, number of regions), ``digest`` of the
        motif set, and the CSR arrays ``indptr``, ``indices``, ``count``, ``best``, ``sum``.
    chunk, chunks : which slice (from 0) of how many.
    """
    motifs, sequence = MotifSet.read(motif_set), Genome(genome)
    contigs, starts, ends = read_regions(regions)
    first, end = chunk_range(len(contigs), chunk, chunks)
    parts = []
    started = told = time.monotonic()
    for at in range(first, end, _BATCH):
        stop = min(at + _BATCH, end)
        codes = [sequence.codes(contigs[i], int(starts[i]), int(ends[i])) for i in range(at, stop)]
        parts.append(motifs.scan(codes))
        now = time.monotonic()
        if now - told > _HEARTBEAT:
            told = now
            rate = (stop - first) / (now - started)
            log.info("%d of %d regions, %.0f a second", stop - first, end - first, rate)
    rows = stack(parts, len(motifs.columns))
    np.savez_compressed(
        hits,
        rows=np.array([first, end, len(contigs)]),
        digest=np.array(_digest(motif_set)),
        indptr=rows.sum.indptr.astype(np.int64),
        indices=rows.sum.indices.astype(np.int32),
        **{layer: getattr(rows, layer).data for layer in LAYERS},
    )
    log.info("%d regions x %d motifs", end - first, len(motifs.columns))


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_chunk(path: str, columns: int) -> tuple[NDArray[np.int64], str, MotifRows]:
    """Read the rows, the digest of the motif set and the layers of a chunk.

    Raises
    ------
    InputError
        If the file is damaged or its arrays do not fit each other.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, digest = file["rows"], str(file["digest"])
            shape = (int(rows[1] - rows[0]), columns)
            layers = [
                sparse.csr_matrix((file[layer], file["indices"], file["indptr"]), shape=shape)
                for layer in LAYERS
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"is not a chunk of the motif matrix ({error})", file=path) from None
    return rows, digest, MotifRows(*layers)


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
    import anndata

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
    parts = []
    for path in [chunks] if isinstance(chunks, str) else chunks:
        bounds, digest, part = read_chunk(path, len(motifs.columns))
        if digest != _digest(motif_set):
            raise InputError("was scanned with another motif set", file=path, expected=motif_set)
        parts.append((int(bounds[0]), int(bounds[1]), path, part))
    done = 0
    parts.sort(key=lambda part: part[:2])
    for first, end, path, _ in parts:
        if first != done:
            raise InputError("rows of the chunks have a gap", file=path, found=first, expected=done)
        done = end
    if done != len(frame):
        raise InputError("chunks are not all regions", file=table, found=done, expected=len(frame))
    rows = stack([part[3] for part in parts], len(motifs.columns))
    layers = {layer: getattr(rows, layer) for layer in LAYERS}
    obs = frame.set_index(pd.Index(region_names(frame), dtype=object, name="name"))
    var = pd.DataFrame(
        {
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
        "version": VERSION,
    }
    adata = anndata.AnnData(X=layers["sum"], obs=obs, var=var, uns=uns, layers=layers)
    adata.write_h5ad(matrix, compression="gzip", convert_strings_to_categoricals=False)
    filled = layers["sum"].nnz / max(1, layers["sum"].shape[0] * layers["sum"].shape[1])
    log.info("%d regions x %d motifs, %.1f %% of cells filled", *adata.shape, 100 * filled)


def region_names(frame: pd.DataFrame) -> list[str]:
    """Return ``contig:start-end`` of each region."""
    columns = (frame[name] for name in ("contig", "start", "end"))
    return [f"{contig}:{start}-{end}" for contig, start, end in zip(*columns, strict=True)]
