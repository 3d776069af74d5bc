"""Where the sequence lies that a fine-tuned network reads for a row of a BED.

In: rows, what the network was fitted to do, the genome. Out: the leftmost base of each sequence. A
place is a base (a TSS) or, of splice sites, the border between two bases: what the dataset of the
task had at those offsets, the row's middle has here, on the row's strand.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from genebert.finetuned import Fitted
from genebert.genome import Genome, decode
from genebert.use.bed import Ints, Rows, windows

log = logging.getLogger("genebert")

DONORS, ACCEPTOR = ("GT", "GC"), "AG"  # first and last two bases of an intron


def middle_bases(rows: Rows) -> Ints:
    """Return int64[N]: the middle base of each row; of two the second along the row's strand."""
    half = (rows.end - rows.start) // 2
    return np.where(rows.strand == "-", rows.end - 1 - half, rows.start + half)


def around_middle(rows: Rows, genome: Genome) -> list[str]:
    """Return the middle base of each row with its two neighbours, along the row's strand."""
    codes = windows(genome, rows, middle_bases(rows) - 1, 3, oriented=True)
    return [decode(three) for three in codes]


def first_bases(rows: Rows, fitted: Fitted, genome: Genome) -> tuple[Ints, NDArray[np.bool_]]:
    """Return int64[N], the leftmost base of each row's sequence, and bool[N], whether it is known.

    A row as long as the network's sequences is taken as it is. Of any other the middle counts: it
    becomes the base that the label is about (the TSS) where there is one, on the row's strand;
    else the middle of the sequence.

    Where the label is about a border of two bases (splice sites), the middle of an even row is that
    border. The middle base of an odd row is the first base of the intron if ``GT`` or ``GC`` starts
    there, the last one if ``AG`` ends there; the sequence is not known where neither is so, or both
    ``AG`` and ``GT``.
    """
    about = fitted.about
    width, size, minus = about.length, rows.end - rows.start, rows.strand == "-"
    known = np.ones(len(rows), dtype=bool)
    if not about.strand_specific:
        return np.where(size == width, rows.start, rows.middle - width // 2), known
    left, right = about.focus or (width // 2, width // 2)
    offset = np.full(len(rows), left)
    even = (size % 2 == 0) & (left != right)
    if left != right:
        odd = np.flatnonzero(size % 2 == 1)
        for i, three in zip(odd, around_middle(rows.take(odd), genome), strict=True):
            acceptor, donor = three[:2] == ACCEPTOR, three[1:] in DONORS
            known[i] = donor or acceptor
            if acceptor and three[1:] == DONORS[0]:
                known[i] = False
            elif donor and not acceptor:  # AG is the end of introns, GC hardly their start
                offset[i] = right
        known[size == width] = True
    base = middle_bases(rows) - np.where(minus, width - 1 - offset, offset)
    border = rows.middle - np.where(minus, width - right, right)
    first = np.where(even, border, base)
    return np.where(size == width, rows.start, first), known


def warn_of_strands(rows: Rows, oriented: bool, bed: str) -> None:
    """Warn if no row has a strand where it counts."""
    if oriented and (rows.strand == ".").all():
        log.warning("%s: no row has a strand (column 6); all are read on '+'", bed)
