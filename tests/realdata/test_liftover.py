"""Real peaks and sequence through an assembly with known edits: every lifted peak reads as before.

No chain file is small enough to lie beside the real data, so the other assembly is made here: the
real chromosome 22 with pieces cut out, put in, and turned round.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genebert.genome import encode, reverse_complement
from genebert.liftover import Chain, lift_peaks
from genebert.peaks import read_peaks

pytestmark = pytest.mark.realdata

EDITS = 2000  # about one in 3,000 bases, 30 times as many as between hg19 and hg38


def chr22(realdata: Path) -> np.ndarray:
    with gzip.open(realdata / "hg19.mini.fa.gz", "rt") as handle:
        text = handle.read().split(">chr22")[1].split(">")[0]
    return encode("".join(text.split("\n")[1:]))


def test_peaks_read_as_before(realdata: Path, tmp_path: Path) -> None:
    source = chr22(realdata)
    length = len(source)
    random = np.random.default_rng(22)
    cuts = np.sort(random.choice(np.arange(16_050_000, length, 10), EDITS, replace=False))
    genome = [source[: cuts[0]]]
    blocks = [(0, 0, int(cuts[0]), "+")]  # start on the source, in the genome, size, strand
    at = int(cuts[0])
    for start, end in zip(cuts, np.append(cuts[1:], length), strict=True):
        start += random.integers(0, 9)  # bases that the other assembly lacks
        put_in = random.integers(0, 4, random.integers(0, 9)).astype(np.uint8)
        turned = random.random() < 0.2
        piece = source[start:end]
        genome += [put_in, reverse_complement(piece) if turned else piece]
        blocks.append((int(start), at + len(put_in), len(piece), "-" if turned else "+"))
        at += len(put_in) + len(piece)
    target = np.concatenate(genome)
    # What lies on the + strand is one chain with gaps; every piece that was turned is its own.
    forward = [block for block in blocks if block[3] == "+"]
    gaps = [
        f"{size} {after[0] - start - size} {after[1] - there - size}\n"
        for (start, there, size, _), after in zip(forward[:-1], forward[1:], strict=True)
    ]
    last = forward[-1]
    text = (
        f"chain 9999 chr22 {length} + 0 {last[0] + last[2]} chr22 {at} + 0 {last[1] + last[2]} 1\n"
    )
    text += "".join(gaps) + f"{last[2]}\n\n"
    for number, (start, there, size, strand) in enumerate(blocks, start=2):
        if strand == "-":
            text += (
                f"chain 10 chr22 {length} + {start} {start + size} chr22 {at} - "
                f"{at - there - size} {at - there} {number}\n{size}\n\n"
            )
    path = tmp_path / "edits.over.chain.gz"
    path.write_bytes(gzip.compress(text.encode()))

    contigs = {"chr22": at}
    chain = Chain.read(path, contigs)
    peaks = read_peaks(
        realdata / "atac/Mono_peaks.narrowPeak.gz", "narrowPeak", {"chr22": length}, max_unknown=0.9
    )
    assert len(peaks) > 100
    out = lift_peaks(peaks, chain)
    lifted = set(zip(out.start.tolist(), out.end.tolist(), out.summit.tolist(), strict=True))
    whole = turned_peaks = 0
    for start, end, summit in zip(peaks.start, peaks.end, peaks.summit, strict=True):
        block = next(b for b in reversed(blocks) if b[0] <= start)
        if end > block[0] + block[2]:
            continue  # the peak is cut
        whole += 1
        first, at_summit = block[1] + start - block[0], block[1] + summit - block[0]
        if block[3] == "-":
            turned_peaks += 1
            first = block[1] + block[0] + block[2] - end
            at_summit = block[1] + block[0] + block[2] - 1 - summit
        assert (first, first + end - start, at_summit) in lifted
        here, there = source[start:end], target[first : first + end - start]
        assert (there == (reverse_complement(here) if block[3] == "-" else here)).all()
    assert whole > 50
    assert turned_peaks > 5
    lost = sum(out.counts[key] for key in ("lift_unmapped", "lift_split", "lift_width"))
    assert len(out) + lost == len(peaks)
    assert len(out) >= whole
