"""Write the simulated inputs in ordinary formats: FASTA, GTF, BED, narrowPeak, MEME, TSV.

All positions come in as global coordinates and go out per contig. Tables go through pyarrow, which
is fast and writes no quotes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from genebert.genome import Codes
from genebert.simulate.cells import Peaks
from genebert.simulate.layout import Genes, Ints, Map
from genebert.simulate.motifs import BACKGROUND, Panel

LINE = 60
_LETTERS = np.frombuffer(b"ACGTN", dtype=np.uint8)


def write_table(path: str, columns: dict[str, Any], header: bool = True) -> None:
    """Write columns as TSV; floats are rounded to 5 decimals before."""
    ready = {}
    for name, values in columns.items():
        array = np.asarray(values)
        ready[name] = pa.array(np.round(array, 5) if array.dtype.kind == "f" else array)
    table = pa.table(ready)
    options = pacsv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with open(path, "wb") as handle:
        if header:
            handle.write(("\t".join(columns) + "\n").encode())
        if table.num_rows:
            pacsv.write_csv(table, handle, options)


def write_lines(path: str, lines: list[str]) -> None:
    """Write lines of text."""
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="ascii")


def write_genome(path: str, codes: Codes, mask: NDArray[np.bool_], contigs: Map) -> None:
    """Write the FASTA, repeats in lower case."""
    with open(path, "wb") as handle:
        for name, start, end in zip(
            contigs.names, contigs.offsets[:-1], contigs.offsets[1:], strict=True
        ):
            letters = _LETTERS[codes[start:end]] | (mask[start:end].astype(np.uint8) << 5)
            handle.write(f">{name}\n".encode())
            whole = len(letters) // LINE * LINE
            lines = np.full((whole // LINE, LINE + 1), ord("\n"), dtype=np.uint8)
            lines[:, :LINE] = letters[:whole].reshape(-1, LINE)
            handle.write(lines.tobytes())
            if whole < len(letters):
                handle.write(letters[whole:].tobytes() + b"\n")


def write_bed(path: str, contigs: Map, starts: Ints, ends: Ints, names: list[str]) -> None:
    """Write BED4, sorted."""
    order = np.argsort(starts, kind="stable")
    contig, start = contigs.local(starts[order])
    length = (ends - starts)[order]
    write_table(
        path,
        {
            "contig": contig,
            "start": start,
            "end": start + length,
            "name": [names[i] for i in order],
        },
        header=False,
    )


def write_narrow_peak(path: str, peaks: Peaks, contigs: Map, name: str) -> None:
    """Write narrowPeak (BED6+4); score is 10 x signal, at most 1000."""
    contig, start = contigs.local(peaks.start)
    n = len(start)
    signal = np.round(peaks.signal, 4)
    write_table(
        path,
        {
            "contig": contig,
            "start": start,
            "end": start + peaks.end - peaks.start,
            "name": [f"{name}_peak_{i}" for i in range(1, n + 1)],
            "score": np.clip(10 * signal, 1, 1_000).astype(np.int64),
            "strand": ["."] * n,
            "signal": signal,
            "p": np.round(2.5 * signal, 4),
            "q": np.round(2.2 * signal, 4),
            "summit": peaks.summit - peaks.start,
        },
        header=False,
    )


def write_promoters(path: str, contigs: Map, tss: Ints, strand: Ints, names: list[str]) -> None:
    """Write EPDnew BED8: 60 bases, -49..+10; the thick part runs from the TSS to the end."""
    plus = strand > 0
    starts = np.where(plus, tss - 49, tss - 10)
    order = np.argsort(starts, kind="stable")
    contig, local = contigs.local(tss[order])
    plus = plus[order]
    start = np.where(plus, local - 49, local - 10)
    end = np.where(plus, local + 11, local + 50)
    write_table(
        path,
        {
            "contig": contig,
            "start": start,
            "end": end,
            "name": [names[i] for i in order],
            "score": np.full(len(order), 900),
            "strand": np.where(plus, "+", "-").tolist(),
            "thick_start": np.where(plus, local, start),
            "thick_end": np.where(plus, end, local + 1),
        },
        header=False,
    )


def write_motifs(path: str, panel: Panel) -> None:
    """Write MEME version 4; the motif's identifier is the factor's name."""
    lines = ["MEME version 4", "", "ALPHABET= ACGT", "", "strands: + -", ""]
    lines += ["Background letter frequencies"]
    lines += [" ".join(f"{b} {f:.3f}" for b, f in zip("ACGT", BACKGROUND, strict=True)), ""]
    for motif in panel.motifs:
        lines.append(f"MOTIF {motif.name} {motif.matrix_id}")
        lines.append(f"letter-probability matrix: alength= 4 w= {motif.width} nsites= 1000 E= 0")
        rows = np.round(motif.published, 6)
        rows[np.arange(len(rows)), rows.argmax(axis=1)] += 1 - rows.sum(axis=1)
        lines += [" " + "  ".join(f"{value:.6f}" for value in row) for row in rows]
        lines.append("")
    write_lines(path, lines)


def write_gtf(
    path: str, contigs: Map, genes: Genes, names: list[str], skipped: NDArray[np.int64]
) -> None:
    """Write genes, transcripts and exons, sorted by gene position.

    Parameters
    ----------
    skipped : int64[G], the exon that the second transcript leaves out, or -1 for no second one.
    """
    lo, hi = genes.interval(genes.lo, genes.hi)
    contig, _ = contigs.local(genes.tss)
    offset = contigs.offsets[contigs.contig_of(genes.tss)]
    lines: list[str] = []
    first = np.minimum(lo[:, 0], lo[np.arange(len(lo)), genes.n_exons - 1])
    for g in np.argsort(first, kind="stable").tolist():
        n = int(genes.n_exons[g])
        strand = "+" if genes.strand[g] > 0 else "-"
        exons = [(int(lo[g, k] - offset[g]) + 1, int(hi[g, k] - offset[g])) for k in range(n)]

        common = f'gene_id "{names[g]}"; '
        label = f'gene_name "{names[g]}"; gene_type "protein_coding";'
        rows = [("gene", *_hull(exons), common + label)]
        kept = [list(range(n))]
        if skipped[g] >= 0:
            kept.append([k for k in range(n) if k != skipped[g]])
        for number, some in enumerate(kept, start=1):
            chosen = [exons[k] for k in some]
            ids = common + f'transcript_id "{names[g]}.{number}"; ' + label
            rows.append(("transcript", *_hull(chosen), ids))
            rows += [
                ("exon", *exon, f"{ids} exon_number {k};") for k, exon in enumerate(chosen, start=1)
            ]
        lines += [
            f"{contig[g]}\tsimulated\t{kind}\t{start}\t{end}\t.\t{strand}\t.\t{attributes}"
            for kind, start, end, attributes in rows
        ]
    write_lines(path, lines)


def _hull(exons: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the first start and the last end."""
    return min(exons)[0], max(exons)[1]
