"""The reference genome: one checked, bgzipped and indexed FASTA for all later stages.

Comes in: a FASTA (plain, gzip or bgzip) and the splits of the configuration. Goes out:
``genome.fa.gz`` (bgzip, lines of 60 bases, soft-masking kept) with ``.fai`` and ``.gzi``, and
``contigs.tsv``: contig, length, n_bases, split. The same letters always give the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyfaidx
import pysam

from genebert.builds import BUILDS, lengths_of
from genebert.errors import InputError
from genebert.genome import IUPAC
from genebert.lines import numbered_lines
from genebert.splits import SPLITS, Splits
from genebert.tables import read_rows

VERSION = 1
log = logging.getLogger("genebert")

LINE = 60  # bases per line of the written FASTA
CHUNK = LINE << 14  # bases checked and written at a time
_KNOWN = b"ACGTacgt"


@dataclass
class Contig:
    """What is counted while a contig is read; ``edges`` are its first and last bases."""

    name: str
    length: int = 0
    n_bases: int = 0
    edges: list[bytes] = field(default_factory=lambda: [b"", b""])

    def add(self, bases: bytes, unknown: int) -> None:
        """Count a piece of sequence that holds ``unknown`` letters other than A, C, G and T."""
        self.length += len(bases)
        self.n_bases += unknown
        self.edges[0] = (
            (self.edges[0] + bases)[:LINE] if len(self.edges[0]) < LINE else self.edges[0]
        )
        self.edges[1] = (self.edges[1] + bases)[-LINE:]


def _pieces(path: str | Path) -> Iterator[tuple[str, bytes, int]]:
    """Yield (contig, bases, unknown) in pieces of CHUNK bases, the last of a contig shorter.

    Every contig begins with an empty piece, so that contigs without sequence are seen too.
    """
    name = ""
    lines: list[tuple[int, bytes]] = []
    size = 0

    def drain(at_end: bool) -> Iterator[tuple[str, bytes, int]]:
        nonlocal lines, size
        joined = b"".join(line for _, line in lines)
        if joined.translate(None, IUPAC):
            raise _bad_letter(path, lines)
        cut = len(joined) if at_end else len(joined) // CHUNK * CHUNK
        for start in range(0, cut, CHUNK):
            piece = joined[start : min(start + CHUNK, cut)]
            yield name, piece, len(piece.translate(None, _KNOWN))
        lines = [(lines[-1][0], joined[cut:])] if cut < len(joined) else []
        size = len(joined) - cut

    for row, line in numbered_lines(path):
        if line[:1] == b">":
            if name:
                yield from drain(at_end=True)
            words = line[1:].split()
            if not words or line[1:2].isspace():
                raise InputError("contig has no name", file=path, row=row, expected=">name")
            name = words[0].decode("utf-8", "replace")
            if not name.isascii() or not name.isprintable():
                raise InputError("contig name is not plain text", file=path, row=row, found=name)
            yield name, b"", 0
        elif line:
            if not name:
                raise InputError(
                    "is not a FASTA file",
                    file=path,
                    row=row,
                    found=line[:20].decode("utf-8", "replace"),
                    expected="a line '>name'",
                )
            lines.append((row, line))
            size += len(line)
            if size >= CHUNK:
                yield from drain(at_end=False)
    if name:
        yield from drain(at_end=True)


def _bad_letter(path: str | Path, lines: Sequence[tuple[int, bytes]]) -> InputError:
    """Return the error for the first line with a letter that is not a DNA base."""
    row, left = next((r, rest) for r, line in lines if (rest := line.translate(None, IUPAC)))
    return InputError(
        "letter is not a DNA base",
        file=path,
        row=row,
        found=left[:1].decode("ascii", "backslashreplace"),
        expected="A, C, G, T, N or an IUPAC code",
    )


def write_bgzip(fasta: str | Path, genome: str | Path) -> list[Contig]:
    """Write ``genome`` (bgzip, 60 bases a line) from ``fasta`` and return its contigs in order.

    Raises
    ------
    InputError
        If the file is not a FASTA, is empty or truncated, a contig is repeated or has no
        sequence, or a letter is not an IUPAC DNA code.
    """
    contigs: dict[str, Contig] = {}
    contig = Contig("")
    with pysam.BGZFile(str(genome), "wb", None) as out:
        for name, bases, unknown in _pieces(fasta):
            if not bases:
                if contig.name and not contig.length:
                    raise InputError("contig has no sequence", file=fasta, found=contig.name)
                if name in contigs:
                    raise InputError("contig name is repeated", file=fasta, found=name)
                contig = contigs[name] = Contig(name)
                out.write(b">" + name.encode() + b"\n")
                continue
            contig.add(bases, unknown)
            wrapped = [bases[i : i + LINE] for i in range(0, len(bases), LINE)]
            out.write(b"\n".join(wrapped) + b"\n")
    if not contigs:
        raise InputError("is empty", file=fasta, expected="a FASTA file")
    if not contig.length:
        raise InputError("contig has no sequence", file=fasta, found=contig.name)
    return list(contigs.values())


def check_build(name: str, lengths: Mapping[str, int], *, file: str | Path) -> None:
    """Raise :class:`InputError` if ``name`` is a known assembly and the lengths are of another.

    Only names of known assemblies (hg19, GRCh38, ...) are checked; any other name is free.
    """
    expected = lengths_of(name)
    if expected is None:
        return
    for contig, length in expected.items():
        found = lengths.get(contig, lengths.get(contig.removeprefix("chr"), length))
        if found != length:
            like = [b for b, known in BUILDS.items() if known[contig] == found]
            raise InputError(
                f"length of {contig} is not that of {name}"
                + (f"; this looks like {like[0]}" if like else ""),
                file=file,
                found=found,
                expected=length,
            )


def contig_split(splits: Splits, contig: str, length: int) -> str:
    """Return the split that covers the whole contig, ``none`` if none touches it or ``mixed``."""
    covered = {
        name: sum(
            min(i.end, length) - i.start for i in splits.intervals[name] if i.contig == contig
        )
        for name in SPLITS
    }
    whole = [name for name, bases in covered.items() if bases == length]
    if whole:
        return whole[0]
    return "mixed" if any(covered.values()) else "none"


def read_contigs(path: str | Path) -> dict[str, int]:
    """Read ``contigs.tsv`` into {contig: length}, in the order of the genome.

    Raises
    ------
    InputError
        If the table cannot be read or a length is not a positive integer.
    """
    lengths = {}
    for number, row in enumerate(read_rows(path, ["contig", "length"]), start=2):
        if not row["length"].isdecimal() or int(row["length"]) < 1:
            raise InputError(
                "length is not a positive integer", file=path, row=number, found=row["length"]
            )
        lengths[row["contig"]] = int(row["length"])
    return lengths


def _check_index(genome: str, found: Sequence[Contig]) -> None:
    """Read the edges of every contig back through the index and compare with what was written."""
    with pyfaidx.Fasta(genome, as_raw=True, rebuild=False) as fasta:
        for contig in found:
            record = fasta[contig.name]
            size = len(record)
            edges = record[: min(LINE, size)], record[max(0, size - LINE) :]
            if size != contig.length or [edge.encode() for edge in edges] != contig.edges:
                raise AssertionError(f"index of {genome} does not fit its contig {contig.name}")


def build_reference(
    *,
    fasta: str,
    genome: str,
    index: str,
    block_index: str,
    contigs: str,
    splits: Mapping[str, Any],
    name: str = "",
) -> None:
    """Write the bgzipped genome, its indexes and the table of its contigs.

    Parameters
    ----------
    fasta : input, FASTA as plain text, gzip or bgzip.
    genome, index, block_index : outputs ``X.fa.gz``, ``X.fa.gz.fai`` and ``X.fa.gz.gzi``.
    contigs : output, TSV with columns contig, length, n_bases (letters other than ACGT) and split
        (train, valid, test; mixed where only a part belongs to one; none).
    splits : the block ``splits`` of the configuration.
    name : name of the assembly; lengths are checked where it is a known one.

    Raises
    ------
    InputError
        See :func:`write_bgzip`, :func:`check_build` and :meth:`Splits.check_contigs`.
    """
    wanted = Splits.from_config(splits)
    found = write_bgzip(fasta, genome)
    lengths = {contig.name: contig.length for contig in found}
    check_build(name, lengths, file=fasta)
    wanted.check_contigs(lengths, file=fasta)
    for path, suffix in ((index, ".fai"), (block_index, ".gzi")):
        if Path(path) != Path(genome + suffix):
            raise ValueError(f"{path} must be {genome}{suffix}")
    pysam.faidx(genome)
    _check_index(genome, found)
    with open(contigs, "w", encoding="utf-8") as handle:
        handle.write("contig\tlength\tn_bases\tsplit\n")
        for contig in found:
            split = contig_split(wanted, contig.name, contig.length)
            handle.write(f"{contig.name}\t{contig.length}\t{contig.n_bases}\t{split}\n")
    log.info("%d contigs, %.1f Mb", len(found), sum(lengths.values()) / 1e6)
