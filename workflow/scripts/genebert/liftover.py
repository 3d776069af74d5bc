"""Carry peaks from one assembly to another by a UCSC chain file.

Comes in: a chain file (plain or gzipped) and :class:`~genebert.peaks.Peaks` in the coordinates of
its source. Goes out: :class:`~genebert.peaks.Peaks` in the coordinates of the genome of the run,
with counts of what was lost.

A peak is lifted as a whole by the rule of UCSC liftOver: it is kept if one chain, and one only,
aligns at least ``min_ratio`` of its bases; it then reaches from the first to the last of its bases
that this chain aligns. A base that several chains align belongs to the one with the highest score
(the file's order breaks ties), so files that are not netted can be used too; in netted files
(``*.over.chain``) no base is aligned twice and the peaks kept are those of liftOver.

Words: *source* is what the format calls target or reference ("t"), *genome* is its query ("q").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.lines import text_lines
from genebert.peaks import Peaks

Ints = NDArray[np.int64]

# -minMatch of UCSC liftOver, its default for assemblies of one species.
MIN_RATIO = 0.95
# A peak that has grown or shrunk by more is lost. 20 % of a region of 500 bases are the 100 bases
# by which a peak may miss the centre of a region that it opens (regions.open_tolerance); what
# grows by more has an insertion in it in which nothing was measured.
MAX_WIDTH_CHANGE = 0.2

_HEADER = "chain score source size + start end contig size strand start end id"


class _Header(NamedTuple):
    """The header line of a chain: source [start, end) and genome [q_start, q_end) by strand."""

    row: int
    score: float
    source: str
    source_size: int
    start: int
    end: int
    contig: str
    size: int
    reverse: bool
    q_start: int
    q_end: int


def _integer(text: str, name: str, path: str | Path, row: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise InputError(
            f"{name} is not a position", file=path, row=row, found=text, expected="an integer"
        )
    return int(text)


def _header(fields: list[str], path: str | Path, row: int) -> _Header:
    """Return the checked header line of a chain."""
    if len(fields) not in (12, 13):
        raise InputError(
            "chain has the wrong number of fields",
            file=path,
            row=row,
            found=len(fields),
            expected=f"13 ({_HEADER})",
        )
    try:
        score = float(fields[1])
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise InputError("score is not a number", file=path, row=row, found=fields[1])
    if fields[4] != "+" or fields[9] not in ("+", "-"):
        raise InputError(
            "strand is wrong",
            file=path,
            row=row,
            found=f"{fields[4]} {fields[9]}",
            expected="+ of the source, + or - of the genome",
        )
    places = {3: "size", 5: "start", 6: "end", 8: "size", 10: "start", 11: "end"}
    size, start, end, q_size, q_start, q_end = (
        _integer(fields[i], name, path, row) for i, name in places.items()
    )
    for low, high, length, name in (
        (start, end, size, fields[2]),
        (q_start, q_end, q_size, fields[7]),
    ):
        if not low < high <= length:
            raise InputError(
                f"chain leaves {name}",
                file=path,
                row=row,
                found=f"{low}-{high}",
                expected=f"start < end <= {length}",
            )
    reverse = fields[9] == "-"
    return _Header(
        row, score, fields[2], size, start, end, fields[7], q_size, reverse, q_start, q_end
    )


def _read_chains(path: str | Path) -> tuple[list[_Header], Ints]:
    """Read a chain file.

    Returns
    -------
    headers : of the chains.
    blocks : int64[B, 4], chain, start on the source, start on the strand of the genome, size.
    """
    headers: list[_Header] = []
    blocks: list[tuple[int, int, int, int]] = []
    here: _Header | None = None  # the chain whose blocks are being read
    row = source = genome = 0
    for row, line in text_lines(path):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if fields[0] == "chain":
            if here is not None:
                break
            here = _header(fields, path, row)
            headers.append(here)
            source, genome = here.start, here.q_start
            continue
        if here is None:
            raise InputError(
                "is not a chain", file=path, row=row, found=line[:60], expected=_HEADER
            )
        if len(fields) not in (1, 3):
            raise InputError(
                "block of a chain has the wrong number of fields",
                file=path,
                row=row,
                found=line[:60],
                expected="size gap gap, or size alone in the last",
            )
        size, *gaps = (_integer(text, "block", path, row) for text in fields)
        blocks.append((len(headers) - 1, source, genome, size))
        source, genome = source + size + sum(gaps[:1]), genome + size + sum(gaps[1:])
        if source > here.end or genome > here.q_end or not gaps:
            if (source, genome) != (here.end, here.q_end) or gaps:
                raise InputError(
                    f"blocks of the chain of line {here.row} do not fit its header",
                    file=path,
                    row=row,
                    found=f"end at {source} and {genome}",
                    expected=f"{here.end} and {here.q_end}",
                )
            here = None
    if here is not None:
        raise InputError(
            f"chain of line {here.row} is truncated",
            file=path,
            row=row,
            expected=f"blocks up to {here.end}",
        )
    if not headers:
        raise InputError("holds no chain", file=path, expected=_HEADER)
    return headers, np.array(blocks, dtype=np.int64)


def _check_genome(headers: list[_Header], contigs: Mapping[str, int], path: str | Path) -> None:
    """Raise if the chains do not lead to the genome ``contigs``."""
    shared = [h for h in headers if h.contig in contigs]
    if not shared:
        raise InputError(
            "no chain leads to a contig of the genome; other assembly?",
            file=path,
            row=headers[0].row,
            found=", ".join(list(dict.fromkeys(h.contig for h in headers))[:3]),
            expected=f"contigs such as {', '.join(list(contigs)[:3])}",
        )
    for h in shared:
        if h.size != contigs[h.contig]:
            backward = contigs.get(h.source) == h.source_size
            raise InputError(
                "chain leads "
                + ("away from the genome: wrong direction" if backward else "to another assembly"),
                file=path,
                row=h.row,
                found=f"{h.contig} of {h.size} bases",
                expected=f"{contigs[h.contig]} as in the genome",
            )


def _source_contigs(headers: list[_Header], path: str | Path) -> dict[str, int]:
    """Return {contig: length} of the source, in the order of the file."""
    out: dict[str, int] = {}
    for h in headers:
        if out.setdefault(h.source, h.source_size) != h.source_size:
            raise InputError(
                f"{h.source} has two lengths",
                file=path,
                row=h.row,
                found=h.source_size,
                expected=out[h.source],
            )
    return out


def _winners(start: Ints, end: Ints, rank: Ints) -> tuple[Ints, Ints, Ints]:
    """Cut blocks so that every base is in one: that of the lowest rank.

    Parameters
    ----------
    start, end, rank : int64[B]; blocks of one rank do not overlap.

    Returns
    -------
    start, end, block : int64[S], sorted and disjoint; ``block`` indexes the parameters.
    """
    order = np.lexsort((end, start))
    if (end[order][:-1] <= start[order][1:]).all():
        return start[order], end[order], order
    edges = np.unique(np.concatenate([start, end]))
    owner = np.full(len(edges) - 1, -1, dtype=np.int64)
    first, last = np.searchsorted(edges, start), np.searchsorted(edges, end)
    for i in np.argsort(-rank, kind="stable").tolist():  # the best last: it overwrites
        owner[first[i] : last[i]] = i
    held = owner >= 0
    return edges[:-1][held], edges[1:][held], owner[held]


@dataclass(frozen=True)
class Chain:
    """The alignment of a source assembly to the genome, as disjoint segments without gaps.

    The contigs of the source lie end to end on one axis: base p of contig i is ``base[i] + p``.

    Attributes
    ----------
    source_contigs : {contig: length} of the source.
    base : int64[len(source_contigs)], where each contig begins on the axis.
    start, end : int64[S], segments on the axis, sorted and disjoint.
    chain : int64[S], chain of each segment; chains are numbered from the highest score.
    sign, offset : int64[S], base t of the axis lies at ``sign * t + offset`` of its contig.
    contig : int64[K], contig of each chain in the genome, -1 where the genome lacks it.
    """

    source_contigs: dict[str, int]
    base: Ints
    start: Ints
    end: Ints
    chain: Ints
    sign: Ints
    offset: Ints
    contig: Ints

    @classmethod
    def read(cls, path: str | Path, contigs: Mapping[str, int]) -> Chain:
        """Read a chain file.

        Parameters
        ----------
        path : chain file as UCSC publishes it, plain or gzipped.
        contigs : {contig: length} of the genome that the chains must lead to.

        Raises
        ------
        InputError
            If the file cannot be read, is truncated or not a chain file, if a chain does not add
            up, or if it leads to another assembly or the other way round.
        """
        headers, blocks = _read_chains(path)
        _check_genome(headers, contigs, path)
        source = _source_contigs(headers, path)
        base = np.concatenate([[0], np.cumsum(list(source.values()))[:-1]]).astype(np.int64)
        index = {name: i for i, name in enumerate(source)}
        target = {name: i for i, name in enumerate(contigs)}

        # The best chain gets rank 0.
        order = np.argsort([-h.score for h in headers], kind="stable")
        rank = np.empty(len(headers), dtype=np.int64)
        rank[order] = np.arange(len(headers))
        shift = base[[index[h.source] for h in headers]]
        reverse = np.array([h.reverse for h in headers])
        size = np.array([h.size for h in headers], dtype=np.int64)

        blocks = blocks[blocks[:, 3] > 0]
        number, begin, genome, length = blocks.T
        begin = begin + shift[number]
        sign = np.where(reverse[number], -1, 1)
        offset = np.where(reverse[number], size[number] - 1 - genome + begin, genome - begin)
        start, end, block = _winners(begin, begin + length, rank[number])
        contig = np.array([target.get(headers[i].contig, -1) for i in order], dtype=np.int64)
        return cls(
            source, base, start, end, rank[number][block], sign[block], offset[block], contig
        )


def _groups(key: Ints) -> Ints:
    """Return where the runs of equal values of a sorted int64[N] begin."""
    return np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])


def lift_peaks(peaks: Peaks, chain: Chain, *, min_ratio: float = MIN_RATIO) -> Peaks:
    """Carry peaks from the source of a chain to the genome.

    Parameters
    ----------
    peaks : read with ``chain.source_contigs``.
    chain : read with the contigs of the genome.
    min_ratio : share of the bases of a peak that one chain must align.

    Returns
    -------
    Peaks
        Sorted; strengths as they were. On a chain of the reverse strand a peak is mirrored. A
        summit that is not aligned moves to the nearest base of the peak that is (the lower one
        of two). ``counts`` gains ``lift_split`` (at least two chains align parts of the peak, and
        not just one of them enough), ``lift_unmapped`` (too few bases are aligned, or to a contig
        that the genome lacks) and ``lift_width`` (the width changed by more than
        ``MAX_WIDTH_CHANGE``); peaks that have become equal are counted as ``duplicate`` and the
        strongest is kept.

    Raises
    ------
    InputError
        If ``min_ratio`` is not above 0 and at most 1.
    """
    if not 0 < min_ratio <= 1:
        raise InputError(
            "share is out of range",
            file="config atlas.chain_min_ratio",
            found=min_ratio,
            expected="above 0, at most 1",
        )
    count = len(peaks)
    base = chain.base[peaks.contig]
    start, end, summit = (base + place for place in (peaks.start, peaks.end, peaks.summit))

    # Pairs of a peak and a segment that overlap, sorted by peak, chain and place.
    first = np.searchsorted(chain.end, start, side="right")
    number = np.searchsorted(chain.start, end, side="left") - first
    peak = np.repeat(np.arange(count), number)
    segment = np.arange(number.sum()) + np.repeat(first - np.cumsum(number) + number, number)
    order = np.lexsort((segment, chain.chain[segment], peak))
    peak, segment = peak[order], segment[order]
    low = np.maximum(start[peak], chain.start[segment])
    high = np.minimum(end[peak], chain.end[segment]) - 1  # the last base

    # Groups: the pairs of one peak and one chain.
    begin = _groups(peak * (len(chain.contig) + 1) + chain.chain[segment])
    group = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(peak))))
    owner, through = peak[begin], chain.chain[segment[begin]]
    sign, offset = chain.sign[segment], chain.offset[segment]
    aligned = np.add.reduceat(high - low + 1, begin) if len(begin) else begin
    enough = aligned >= min_ratio * (end - start)[owner]
    hits = np.bincount(owner[enough], minlength=count)
    chains = np.bincount(owner, minlength=count)
    split = (hits > 1) | ((hits == 0) & (chains > 1))

    ends = np.stack([sign * low + offset, sign * high + offset])
    nearest = np.clip(summit[peak], low, high)
    away = np.lexsort((low, np.abs(nearest - summit[peak]), group))
    best = away[_groups(group[away])]  # of each group, the pair with the base next to the summit
    mapped_start = np.minimum.reduceat(ends.min(axis=0), begin) if len(begin) else begin
    mapped_end = np.maximum.reduceat(ends.max(axis=0), begin) + 1 if len(begin) else begin
    mapped_summit = (sign * nearest + offset)[best]

    found = enough & (hits[owner] == 1) & (chain.contig[through] >= 0)
    width = (end - start)[owner]
    change = np.abs(mapped_end - mapped_start - width) > MAX_WIDTH_CHANGE * width
    keep = np.flatnonzero(found & ~change)
    strength = peaks.strength[owner[keep]]
    places = np.stack(
        [chain.contig[through], mapped_start, mapped_end, mapped_summit]
    )[:, keep].astype(np.int32)  # fmt: skip
    order = np.lexsort((-strength, *places[::-1]))
    places, strength = places[:, order], strength[order]
    same = np.zeros(len(keep), dtype=bool)
    same[1:] = (places[:, 1:] == places[:, :-1]).all(axis=0)
    counts = {
        **peaks.counts,
        "duplicate": peaks.counts.get("duplicate", 0) + int(same.sum()),
        "lift_unmapped": count - int(split.sum()) - int(found.sum()),
        "lift_split": int(split.sum()),
        "lift_width": int((found & change).sum()),
    }
    contig, start, end, summit = places[:, ~same]
    return Peaks(contig, start, end, summit, strength[~same], peaks.score_source, counts)
