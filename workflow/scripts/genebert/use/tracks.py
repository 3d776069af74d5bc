"""Contributions of bases as a track for genome browsers.

In: a BED, the genome, and what predicts: pre-trained encoders with their accessibility read-out, or
a fine-tuned network. Out: the contribution of every base (:mod:`genebert.use.attributions`) as a
sorted bedGraph.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genebert import finetuned
from genebert.errors import InputError
from genebert.finetune import check_motifs
from genebert.genome import Codes, Genome
from genebert.job import as_list
from genebert.motifs import MotifSet
from genebert.pretrained import best_device
from genebert.progress import Progress
from genebert.use.attributions import (
    Floats,
    Target,
    accessibility_target,
    attribute,
    network_target,
)
from genebert.use.bed import Rows, read_bed, windows
from genebert.use.head import Head, load_encoders
from genebert.use.names import output_of
from genebert.use.placing import around_middle, first_bases, warn_of_strands
from genebert.use.predictions import Contexts
from genebert.use.provenance import origin, write
from genebert.use.sources import region_width

log = logging.getLogger("genebert")

BLOCK = 256  # rows of a BED whose windows are in memory at a time


@dataclass(frozen=True)
class Source:
    """What the rows of a BED are attributed to.

    Attributes
    ----------
    label : what is explained, in words. length : bases of a sequence.
    first : rows -> int64[n], leftmost base of each. oriented : '-' rows are read reversed.
    targets : rows -> the target of each row.
    matrix : whether there is a matrix of the neighbourhood. anchored : rows -> bool[n], those
        in which the anchor's motif row follows the mutated sequence (``ism``).
    """

    label: str
    length: int
    first: Callable[[Rows], NDArray[np.int64]]
    oriented: bool
    targets: Callable[[Rows], list[Target]]
    matrix: bool = False
    anchored: Callable[[Rows], NDArray[np.bool_]] = lambda rows: np.zeros(len(rows), dtype=bool)


def accessibility_source(
    weights: str, head: str, shards: str, cell_types: Sequence[str], threads: int
) -> Source:
    """Return the accessibility that pre-trained encoders predict, as a source."""
    encoders, width = load_encoders(weights, threads), region_width(shards)
    target = accessibility_target(encoders, Head.load(head, weights), cell_types)
    label = f"accessibility in {', '.join(cell_types) or 'all training cell types, mean'}"
    return Source(
        label,
        width,
        lambda rows: rows.middle - width // 2,
        False,
        lambda rows: [target] * len(rows),
    )


def network_source(
    path: str,
    shards: str,
    cell_types: Sequence[str],
    output: str,
    threads: int,
    bed: str,
    genome: Genome,
    motif_set: str,
) -> Source:
    """Return one output of a fitted network as a source.

    If ``output`` is empty it is the first one; of classes the second, as the first is "none".
    Where a region branch sees the row's own region its motif row is that of the mutated sequence.

    Raises
    ------
    InputError
        If it has no such output, or needs one cell type and gets none or several. Of rows: if one
        lies on a contig without regions, or has no splice site in its middle.
    """
    fitted = finetuned.load(path, best_device(threads))
    about = fitted.about
    name = output or about.outputs[int(about.multiclass)]  # the first class is "none"
    column = output_of(name, about.outputs)
    label = f"{name} by {about.model} of {about.task}/{about.dataset}"
    contexts, motifs = None, None
    if about.regions:
        if len(cell_types) > 1:
            raise InputError(
                "one track is of one cell type",
                file="user_files, column cell_types",
                found=", ".join(cell_types),
                expected="one name; a further row of the table for every other one",
            )
        contexts = Contexts(fitted, shards, cell_types, bed)
        motifs = MotifSet.read(motif_set)
        assert fitted.encoders is not None
        check_motifs(fitted.encoders, motifs.names, motif_set)
        label += f" in {cell_types[0]}"

    def targets(rows: Rows) -> list[Target]:
        if contexts is None:
            return [network_target(fitted, column)] * len(rows)
        with torch.inference_mode(False), torch.no_grad():
            (given,) = contexts.matrices(rows, first(rows) + about.length // 2)
        return [
            network_target(
                fitted, column, tuple(m[i : i + 1] for m in given), scanned if own else None
            )
            for i, own in enumerate(anchored(rows))
        ]

    def scanned(codes: Codes) -> torch.Tensor:
        assert contexts is not None
        assert motifs is not None
        return contexts.places.corpus.rows_of(motifs.scan(list(codes)).sum.toarray())

    def anchored(rows: Rows) -> NDArray[np.bool_]:
        if contexts is None:
            return np.zeros(len(rows), dtype=bool)
        return contexts.own_regions(rows, first(rows))

    def first(rows: Rows) -> NDArray[np.int64]:
        if contexts is not None:
            contexts.check(rows)  # of all rows, before the first is attributed
        left, known = first_bases(rows, fitted, genome)
        if not known.all():
            row = rows.take(np.flatnonzero(~known)[:1])
            raise InputError(
                "the middle of the row is no splice site",
                file=bed,
                row=int(row.line[0]),
                found=around_middle(row, genome)[0],
                expected="GT or GC from its middle base on, AG up to it, or a row of even length "
                "whose middle is the border of exon and intron",
            )
        return left

    return Source(
        label, about.length, first, about.strand_specific, targets, contexts is not None, anchored
    )


def in_window_order(rows: Rows, source: Source) -> Rows:
    """Return the rows sorted by contig and leftmost base of their windows.

    Windows lie around the middles of rows, or (strand by strand) around sites, so that their order
    is not that of the rows.
    """
    return rows.take(np.lexsort((source.first(rows), rows.contig)))


def attribute_rows(
    source: Source, genome: Genome, rows: Rows, method: str
) -> Iterator[tuple[int, int, Floats]]:
    """Yield (contig, leftmost base, contributions float64[L]) of rows, in their order.

    What lies outside the contig is cut off.
    """
    for at in range(0, len(rows), BLOCK):
        part = rows.take(np.arange(at, min(at + BLOCK, len(rows)), dtype=np.int64))
        first = source.first(part)
        codes = windows(genome, part, first, source.length, oriented=source.oriented)
        for i, target in enumerate(source.targets(part)):
            values = attribute(target, codes[i], method)
            if source.oriented and part.strand[i] == "-":
                values = values[::-1]
            length = genome.lengths[part.contigs[part.contig[i]]]
            left, right = max(0, -int(first[i])), min(source.length, length - int(first[i]))
            yield int(part.contig[i]), int(first[i]) + left, values[left:right]


def merged(pieces: Iterator[tuple[int, int, Floats]]) -> Iterator[tuple[int, int, Floats]]:
    """Yield pieces that do not overlap: the mean where several hold a base, NaN where none knows.

    Parameters
    ----------
    pieces : (contig, first base, values), ascending by contig and first base.
    """
    contig, start = -1, 0
    total, count = np.zeros(0), np.zeros(0)

    def upto(end: int) -> tuple[int, int, Floats]:
        nonlocal start, total, count
        n = min(end - start, len(total))
        with np.errstate(invalid="ignore"):
            mean = np.where(count[:n] > 0, total[:n] / np.maximum(count[:n], 1), np.nan)
        piece = (contig, start, mean)
        total, count, start = total[n:], count[n:], start + n
        return piece

    for number, first, values in pieces:
        if number != contig or first >= start + len(total):
            if len(total):
                yield upto(start + len(total))
            contig, start = number, first
        elif first > start:
            yield upto(first)
        room = first + len(values) - start - len(total)
        if room > 0:
            total, count = np.pad(total, (0, room)), np.pad(count, (0, room))
        part = slice(first - start, first - start + len(values))
        total[part] += np.nan_to_num(values)
        count[part] += np.isfinite(values)
    if len(total):
        yield upto(start + len(total))


def attribute_bed(
    *,
    bed: str,
    genome: str,
    index: str,
    block_index: str,
    weights: str,
    shards: str,
    motif_set: str,
    head: str,
    fitted: Sequence[str],
    bedgraph: str,
    summary: str,
    name: str,
    cell_types: Sequence[str],
    output: str,
    method: str,
    threads: int,
) -> None:
    """Write the contribution of every base around the rows of a BED as bedGraph.

    Parameters
    ----------
    bed : the rows, in any order. genome, index, block_index : indexed FASTA.
    weights, head, shards : encoders, their accessibility read-out, ``index.json`` of their run.
    motif_set : ``motif_set.json`` of that run: rows of a network's matrix that change with a base.
    fitted : a fine-tuned network in a list, which is explained instead; or an empty list.
    bedgraph : output, sorted, a line per base; where windows overlap, the mean.
    summary : output, JSON.
    name : of the file in the user's table.
    cell_types : accessibility in these (mean), or the one that a network's region branch sees.
    output : output of the network (TF, class). method : ``ism`` or ``gradient``.

    Raises
    ------
    InputError
        If the BED is none, or a cell type or an output is unknown.
    """
    cells, networks = list(cell_types), as_list(fitted)
    sequence = Genome(genome)
    if networks:
        source = network_source(
            networks[0], shards, cells, output, threads, bed, sequence, motif_set
        )
    else:
        source = accessibility_source(weights, head, shards, cells, threads)
    rows = read_bed(bed, sequence)
    warn_of_strands(rows, source.oriented, bed)
    rows = in_window_order(rows, source)
    told = Progress("attributing", len(rows), "rows")

    def counted() -> Iterator[tuple[int, int, Floats]]:
        for number, piece in enumerate(attribute_rows(source, sequence, rows, method), start=1):
            yield piece
            told.at(number)

    bases = 0
    with open(bedgraph, "w", encoding="utf-8") as out:
        for contig, start, values in merged(counted()):
            known = np.flatnonzero(np.isfinite(values))
            label = rows.contigs[contig]
            out.writelines(
                f"{label}\t{start + i}\t{start + i + 1}\t{values[i]:.5g}\n" for i in known.tolist()
            )
            bases += len(known)
    followed = int(source.anchored(rows).sum()) if method == "ism" else 0
    record = origin(
        networks[0] if networks else weights,
        name=name,
        bed=str(bed),
        genome=str(genome),
        explains=source.label,
        method=method,
        matrix="none" if not source.matrix else "anchor follows" if followed else "fixed",
        rows_whose_anchor_follows=followed,
        rows=len(rows),
        bases=bases,
        rows_on_unknown_contigs=sum(rows.skipped.values()),
    )
    write(summary, record)
    log.info("%s: %d rows, %d bases", source.label, len(rows), bases)
