"""Predictions of a fine-tuned network for the rows of a BED.

In: a BED, the genome, a fine-tuned network (:mod:`genebert.finetuned`) and, where it has a region
branch, the shards and the cell types to predict for. Out: a table, one row per row of the BED.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from genebert import finetuned, tokens
from genebert.classifier import mean_probability
from genebert.errors import InputError
from genebert.finetuned import Fitted
from genebert.genome import Codes, Genome, reverse_complement
from genebert.pretrained import INFERENCE_BATCH, best_device
from genebert.progress import Progress
from genebert.shards import Shards
from genebert.use.bed import Ints, Rows, blocks, read_bed, windows
from genebert.use.embed import Neighbourhoods
from genebert.use.placing import first_bases, warn_of_strands
from genebert.use.provenance import origin, write

log = logging.getLogger("genebert")

Floats = NDArray[np.float64]


def rows_of_network(codes: Codes, fitted: Fitted) -> list[torch.Tensor]:
    """Return what the network reads of B sequences: one tensor per strand that counts."""
    strands = [codes] if fitted.about.strand_specific else [codes, reverse_complement(codes)]
    parts = [torch.as_tensor(strand) for strand in strands]
    if fitted.encoders is None:
        return parts
    config = fitted.encoders.config
    return [tokens.single_row(tokens.tokenize(part, config.k, config.stride)) for part in parts]


@torch.inference_mode()
def probabilities(
    fitted: Fitted, codes: Codes, matrices: Sequence[tuple[torch.Tensor, ...] | None] = (None,)
) -> Floats:
    """Return float64[B, K, n]: probabilities of the K outputs, mean over strands, n contexts.

    Parameters
    ----------
    codes : uint8[B, L].
    matrices : per context (cell type) the arguments of ``embed_region``; None without a branch.
    """
    network = fitted.network
    device = next(network.parameters()).device
    regions = [None if given is None else network.embed_region(*given) for given in matrices]
    logits = []
    for rows in rows_of_network(codes, fitted):
        vectors = network.embed_sequence(rows.to(device))
        per_context = [network.logits(vectors, one).double() for one in regions]
        logits.append(torch.stack(per_context, dim=2))
    return np.asarray(mean_probability(logits, fitted.about.multiclass).cpu().numpy())


def anchors(shards: Shards, contig_N: Ints, position_N: Ints) -> Ints:
    """Return int64[N]: the region that holds each place, -1 where there is none.

    Parameters
    ----------
    contig_N : indices into the contigs of the shards, -1 for none.
    """
    line = shards.contig.astype(np.int64) << 32 | shards.start.astype(np.int64)
    at = np.searchsorted(line, contig_N << 32 | position_N, side="right") - 1
    inside = (contig_N >= 0) & (at >= 0)
    at = np.maximum(at, 0)
    inside &= (shards.contig[at] == contig_N) & (position_N < shards.start[at] + shards.width)
    return np.where(inside, at, -1)


class Contexts:
    """The region branch's input of a fitted network, for places of the genome.

    Parameters
    ----------
    fitted : a network with a region branch. shards : path of ``index.json``.
    cell_types : to predict for. bed : the file of the rows, named in errors.

    Raises
    ------
    InputError
        If no cell type is named, or one is unknown.
    """

    def __init__(self, fitted: Fitted, shards: str, cell_types: Sequence[str], bed: str) -> None:
        if not cell_types:
            raise InputError(
                "the model reads the cell type, so one must be named",
                file="user_files, column cell_types",
                found="nothing",
                expected="cell types, separated by commas",
            )
        assert fitted.encoders is not None
        self.about, self.bed = fitted.about, bed
        self.places = Neighbourhoods(fitted.encoders, shards)
        self.cells = self.places.cells(cell_types)

    def placed(self, rows: Rows) -> NDArray[np.bool_]:
        """Return bool[n]: the row lies on a contig that has regions."""
        return (self.places.contig_codes(rows.contigs) >= 0)[rows.contig]

    def check(self, rows: Rows) -> None:
        """Raise :class:`InputError` if a row lies on a contig without regions."""
        placed = self.placed(rows)
        if not placed.all():
            row = int(np.argmin(placed))
            raise InputError(
                "row lies on a contig without regions",
                file=self.bed,
                row=int(rows.line[row]),
                found=rows.contigs[rows.contig[row]],
                expected="a contig of one of the splits",
            )

    def own_regions(self, rows: Rows, first_B: Ints) -> NDArray[np.bool_]:
        """Return bool[B]: the sequence is that of the anchor, whose motif row the branch sees.

        Parameters
        ----------
        first_B : leftmost bases of the rows' sequences. The rows are :meth:`placed`.
        """
        shards = self.places.shards
        if self.about.anchor_hidden or self.about.length != shards.width:
            return np.zeros(len(rows), dtype=bool)
        contig_B = self.places.contig_codes(rows.contigs)[rows.contig]
        anchor_B = anchors(shards, contig_B, first_B + self.about.length // 2)
        return (anchor_B >= 0) & (shards.start[anchor_B] == first_B)

    def matrices(self, rows: Rows, position_B: Ints) -> list[tuple[torch.Tensor, ...]]:
        """Return per cell type the arguments of ``embed_region`` around the rows' places.

        The rows are :meth:`placed`.
        """
        contig_B = self.places.contig_codes(rows.contigs)[rows.contig]
        anchor_B = None
        if not self.about.anchor_hidden:
            anchor_B = anchors(self.places.shards, contig_B, position_B)
        return [
            self.places.matrices(int(cell), contig_B, position_B, anchor_B, self.about.exclude)
            for cell in self.cells
        ]


def predict_bed(
    *,
    bed: str,
    genome: str,
    index: str,
    block_index: str,
    fitted: str,
    shards: str,
    table: str,
    summary: str,
    name: str,
    cell_types: Sequence[str],
    threads: int,
) -> None:
    """Predict the rows of a BED with the fine-tuned network of a task.

    Parameters
    ----------
    bed : the rows; strand (column 6) matters where the task has one. genome, index, block_index :
        indexed FASTA. fitted : ``fitted.safetensors``. shards : ``index.json`` of its run.
    table : output, TSV: contig, start, end, name, strand and a probability for every output, named
        ``OUTPUT`` or, with a region branch, ``OUTPUT@CELL_TYPE`` (then ``NA`` on contigs without
        regions); ``NA`` too where a row of odd length has no splice site in its middle
        (:func:`genebert.use.placing.first_bases`). summary : output, JSON.
    name : of the file in the user's table. cell_types : needed where there is a region branch.

    Raises
    ------
    InputError
        If the BED is none, or a cell type is missing or unknown.
    """
    device = best_device(threads)
    network, sequence = finetuned.load(fitted, device), Genome(genome)
    about = network.about
    contexts = Contexts(network, shards, list(cell_types), bed) if about.regions else None
    rows = read_bed(bed, sequence)
    warn_of_strands(rows, about.strand_specific, bed)
    labels = [f"@{cell}" for cell in cell_types] if contexts else [""]
    columns = [f"{output}{label}" for output in about.outputs for label in labels]
    step = INFERENCE_BATCH[device.type]
    told = Progress("predicting", len(rows), "rows")
    placed = contexts.placed(rows) if contexts else np.ones(len(rows), dtype=bool)
    nowhere = int((~placed).sum())
    if nowhere:
        log.warning("%s: %d rows lie on contigs without regions and get NA", bed, nowhere)
    undecided = 0
    with open(table, "w", encoding="utf-8") as out:
        for first, block in blocks(rows):
            starts, sure = first_bases(block, network, sequence)
            undecided += int((~sure).sum())
            codes = windows(sequence, block, starts, about.length, oriented=about.strand_specific)
            scores = np.full((len(block), len(columns)), np.nan)
            known = np.flatnonzero(placed[first : first + len(block)] & sure)
            for at in range(0, len(known), step):
                part = known[at : at + step]
                given: Sequence[tuple[torch.Tensor, ...] | None] = (None,)
                if contexts is not None:
                    middle = starts[part] + about.length // 2
                    given = contexts.matrices(block.take(part), middle)
                found = probabilities(network, codes[part], given)
                scores[part] = found.reshape(len(part), -1)
                told.at(first + int(part[-1]) + 1)
            frame = pd.concat(
                [block.frame().drop(columns="line"), pd.DataFrame(scores, columns=columns)], axis=1
            )
            frame.to_csv(
                out, sep="\t", index=False, header=first == 0, float_format="%.6g", na_rep="NA"
            )
    if undecided:
        log.warning("%s: the middle of %d rows is no splice site; they get NA", bed, undecided)
    write(
        summary,
        origin(
            fitted,
            name=name,
            bed=str(bed),
            genome=str(genome),
            model=about.model,
            dataset=f"{about.task}/{about.dataset}",
            rows=len(rows),
            rows_on_unknown_contigs=sum(rows.skipped.values()),
            rows_on_contigs_without_regions=nowhere,
            rows_without_splice_site=undecided,
            cell_types=list(cell_types) if contexts else [],
        ),
    )
    log.info("%d rows, %d columns of probabilities", len(rows), len(columns))
