"""Embeddings of the rows of a BED as AnnData.

In: a BED, the genome, encoders, and for the region branch the shards. Out: ``.h5ad``: obs = rows of
the BED, X = embedding of the sequence, obsm = embedding of the neighbourhood in chosen cell types.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.genome import Genome, N
from genebert.pretrained import Pretrained
from genebert.progress import Progress
from genebert.shards import Shards
from genebert.use.bed import Rows, blocks, read_bed, windows
from genebert.use.head import load_encoders
from genebert.use.names import in_atlas
from genebert.use.provenance import origin
from genebert.use.sources import motifs_of_run, region_width

log = logging.getLogger("genebert")

STEP = 1024  # rows between two looks at the clock
_ARRAY = {"encoding-type": "array", "encoding-version": "0.2.0"}

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Neighbourhoods:
    """The TF x region matrices around places of the genome, as the region encoder knows them.

    Parameters
    ----------
    encoders : their motifs, number of neighbours, and what pre-training saw.
    shards : path of ``index.json``.

    Raises
    ------
    InputError
        If the encoders were trained on other motifs.
    """

    def __init__(self, encoders: Pretrained, shards: str | Path) -> None:
        from genebert.finetune import check_motifs
        from genebert.samples import Corpus

        opened = Shards.open(shards)
        check_motifs(encoders, opened.motifs, str(shards))
        self.encoders, self.file = encoders, str(shards)
        self.shards = opened
        self.corpus = Corpus.from_shards(opened, encoders.device)
        self.view = self.corpus.view()
        self.accessibility = bool(encoders.record.get("pretrain", {}).get("accessibility", True))

    def cells(self, names: Sequence[str]) -> Ints:
        """Return the indices of cell types; InputError if the atlas lacks one, or one is twice."""
        return np.array(in_atlas(names, self.corpus.cells, file=self.file), dtype=np.int64)

    def contig_codes(self, contigs: Sequence[str]) -> Ints:
        """Return the indices of contigs; -1 for one without regions."""
        known = {name: i for i, name in enumerate(self.corpus.contigs)}
        return np.array([known.get(name, -1) for name in contigs], dtype=np.int64)

    def matrices(
        self,
        cell: int,
        contig_B: Ints,
        position_B: Ints,
        anchor_B: Ints | None = None,
        exclude: int | None = None,
    ) -> tuple[Any, ...]:
        """Return the arguments of ``GeneBert.embed_region`` for places in one cell type.

        Parameters
        ----------
        cell : index of the cell type. contig_B, position_B : places.
        anchor_B : region ids for the anchor's column, -1 (or None) for the placeholder.
        exclude : see :func:`genebert.samples.neighbourhood`.
        """
        import torch

        from genebert.samples import neighbourhood

        def put(values: Any) -> torch.Tensor:
            return torch.as_tensor(np.ascontiguousarray(values)).to(self.corpus.device)

        cell_B = put(np.full(len(contig_B), cell, dtype=np.int64))
        matrix_BFC, hidden_B = neighbourhood(
            self.corpus,
            self.view,
            cell_B,
            put(contig_B),
            put(position_B),
            self.encoders.config.n_columns - 1,
            None if anchor_B is None else put(anchor_B),
            exclude=exclude,
            accessibility=self.accessibility,
        )
        if not self.encoders.config.cell_state:
            return matrix_BFC, hidden_B
        return matrix_BFC, hidden_B, self.corpus.cell_state[cell_B]

    def found(self, cell: int, contig_N: Ints, position_N: Ints) -> Ints:
        """Return int64[N]: neighbours that places have in a cell type; 0 on other contigs.

        At most ``n_columns - 1``, half of them on each side. Pre-training matched only matrices
        that were full.

        Parameters
        ----------
        cell : row of the shards' cell types. contig_N : code of the contig, -1 for one without
            regions. position_N : 0-based base around which the neighbours lie.
        """
        import torch

        from genebert.samples import neighbours

        out = np.zeros(len(contig_N), dtype=np.int64)
        known = np.flatnonzero(contig_N >= 0)
        for at in range(0, len(known), STEP):
            rows = known[at : at + STEP]
            cell_B, contig_B, position_B = (
                torch.as_tensor(values).to(self.corpus.device)
                for values in (np.full(len(rows), cell), contig_N[rows], position_N[rows])
            )
            count, width = self.encoders.config.n_columns - 1, self.corpus.width
            _, there_BR = neighbours(
                self.view, width, cell_B, contig_B, position_B, count, width // 2
            )
            out[rows] = there_BR.sum(dim=1).cpu().numpy()
        return out

    def embed(self, cell: int, contig_N: Ints, position_N: Ints) -> Floats:
        """Return float32[N, D]: the neighbourhood of places, the anchor's column hidden.

        So did pre-training see it. NaN on contigs that have no region.
        """
        out = np.full((len(contig_N), self.encoders.config.d_model), np.nan, dtype=np.float32)
        known = np.flatnonzero(contig_N >= 0)
        for at in range(0, len(known), STEP):
            rows = known[at : at + STEP]
            given = self.matrices(cell, contig_N[rows], position_N[rows])
            out[rows] = self.encoders.embed_regions(*given)
        return out


def embed_bed(
    *,
    bed: str,
    genome: str,
    index: str,
    block_index: str,
    weights: str,
    shards: str,
    embeddings: str,
    name: str,
    cell_types: Sequence[str],
    threads: int,
) -> None:
    """Embed the rows of a BED.

    A window as wide as the regions of pre-training, around the middle of each row, is read on both
    strands. The region branch sees the regions that are accessible around it in a cell type.

    Parameters
    ----------
    bed : the rows; sorted or not. genome, index, block_index : indexed FASTA.
    weights : ``model.safetensors``. shards : ``index.json`` of the run that trained it.
    embeddings : output, ``.h5ad``: X float32[N, D]; obs in the order of the file, with
        ``neighbours_CELL`` int64[N], how many the region branch saw; obsm ``region_CELL``
        float32[N, D]; ``uns["genebert"]`` says what it was made with.
    name : of the file in the user's table. cell_types : of the region branch; may be empty.

    Raises
    ------
    InputError
        If the BED is none, leaves the genome, a cell type is unknown, or the encoders were trained
        on other motifs than those of the shards, so on another run.
    """
    from genebert.finetune import check_motifs

    encoders, sequence = load_encoders(weights, threads), Genome(genome)
    check_motifs(encoders, motifs_of_run(shards), shards)
    width = region_width(shards)
    rows = read_bed(bed, sequence)
    places = Neighbourhoods(encoders, shards) if cell_types else None
    cells = places.cells(cell_types) if places else np.zeros(0, dtype=np.int64)
    record = origin(
        weights,
        name=name,
        bed=str(bed),
        genome=str(genome),
        width=width,
        strands="both, mean",
        cell_types=list(cell_types),
        rows=len(rows),
        rows_on_unknown_contigs=sum(rows.skipped.values()),
        neighbours=encoders.config.n_columns - 1,
        pretraining=str(encoders.record.get("pretrain", {}).get("name", "")),
    )
    with Writer(embeddings, rows, encoders.config.d_model, cell_types, record) as out:
        told = Progress("embedding", len(rows), "regions")
        for at, vectors, unknown in embed_rows(encoders, sequence, rows, width):
            out.write("X", at, vectors)
            out.unknown[at : at + len(unknown)] = unknown
            told.at(at + len(vectors))
        if places is not None:
            contig = places.contig_codes(rows.contigs)[rows.contig]
            total = Progress("embedding neighbourhoods", len(rows) * len(cells), "pairs")
            for number, (label, cell) in enumerate(zip(cell_types, cells, strict=True)):
                out.columns[f"neighbours_{label}"] = places.found(int(cell), contig, rows.middle)
                for at in range(0, len(rows), STEP):
                    part = slice(at, at + STEP)
                    vectors = places.embed(int(cell), contig[part], rows.middle[part])
                    out.write(f"obsm/region_{label}", at, vectors)
                    total.at(number * len(rows) + at + len(vectors))
    log.info("%d regions, %d numbers each", len(rows), encoders.config.d_model)


def embed_rows(
    encoders: Pretrained, genome: Genome, rows: Rows, width: int
) -> Iterator[tuple[int, Floats, Floats]]:
    """Yield (first row, embeddings float32[n, D], share of unknown bases float32[n])."""
    for first, part in blocks(rows):
        codes = windows(genome, part, part.middle - width // 2, width)
        for at in range(0, len(codes), STEP):
            some = codes[at : at + STEP]
            unknown = (some == N).mean(axis=1).astype(np.float32)
            yield first + at, encoders.embed_sequences(some, both_strands=True), unknown


class Writer:
    """An AnnData file whose large arrays are written piece by piece.

    Parameters
    ----------
    path : the file. rows : become obs. width : D. cell_types : one array of obsm each.
    record : becomes ``uns["genebert"]``.
    """

    def __init__(
        self, path: str, rows: Rows, width: int, cell_types: Sequence[str], record: dict[str, Any]
    ) -> None:
        self.path, self.rows, self.width = path, rows, width
        self.arrays = ["X", *(f"obsm/region_{name}" for name in cell_types)]
        self.record = record
        self.unknown = np.zeros(len(rows), dtype=np.float32)
        self.columns: dict[str, Ints] = {}  # more of obs

    def __enter__(self) -> Writer:
        """Make the file and its arrays."""
        import h5py

        self.file = h5py.File(self.path, "w")
        for key in self.arrays:
            shape = (len(self.rows), self.width)
            chunk = (min(len(self.rows), 1024), self.width)
            data = self.file.create_dataset(key, shape, "float32", chunks=chunk)
            data.attrs.update(_ARRAY)
        return self

    def write(self, key: str, first: int, values: Floats) -> None:
        """Write some rows of ``X`` or of an array of obsm."""
        self.file[key][first : first + len(values)] = values

    def __exit__(self, kind: Any, *_: object) -> None:
        """Write obs, var and uns, and close."""
        with self.file as file:
            if kind is not None:
                return
            from anndata.io import write_elem
            from anndata.utils import make_index_unique

            file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
            obs = self.rows.frame().assign(unknown=self.unknown, **self.columns)
            places = zip(obs["contig"], obs["start"], obs["end"], strict=True)
            labels = pd.Index([f"{c}:{s}-{e}" for c, s, e in places])
            obs.index = make_index_unique(labels).astype(object)  # text as AnnData writes it
            write_elem(file, "obs", obs)
            names = pd.Index([f"embedding_{i}" for i in range(self.width)], dtype=object)
            write_elem(file, "var", pd.DataFrame(index=names))
            write_elem(file, "uns", {"genebert": self.record})
            for group in ("obsm", "varm", "layers", "obsp", "varp"):
                found = file.require_group(group)
                found.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
