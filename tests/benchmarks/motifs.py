"""How fast regions are scanned: MOODS as we drive it, and one scan per region at window 7.

The rival is what pychromVAR does (``match_motif``): a scanner of window 7 called region by region,
whose hits become one binary cell each. We join regions, scan at window 8 and return count, best and
sum. Both use the same matrices, thresholds and regions, in one process and turn by turn; the ratio
is that of the CPU times, table building left out on both sides.

    PYTHONPATH=workflow/scripts python tests/benchmarks/motifs.py [regions] [rounds]

Prints ``RESULT name value bar pass|short`` and ends with 1 if the ratio is short of its bar.
"""

from __future__ import annotations

import statistics
import sys
import time

import MOODS.scan
import numpy as np

from genebert.genome import decode
from genebert.motif_files import read_motifs
from genebert.motifs import MotifSet

BAR = 1.2
WIDTH = 500
SOURCE = "jaspar:2024:vertebrates"


def regions(count: int, motifs: MotifSet, seed: int = 1) -> list[np.ndarray]:
    """Regions of order-1 sequence, short of CpG, of varying GC, with three sites each."""
    rng = np.random.default_rng(seed)
    gc = rng.beta(12, 13, size=count)
    step = np.empty((count, 4, 4))
    step[:] = np.stack([(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2], axis=-1)[:, None]
    step[:, 1, 2] *= 0.3
    limits = np.cumsum(step / step.sum(axis=-1, keepdims=True), axis=-1)
    codes = np.zeros((count, WIDTH), dtype=np.uint8)
    draws, every = rng.random((count, WIDTH)), np.arange(count)
    for i in range(1, WIDTH):
        codes[:, i] = (draws[:, i, None] > limits[every, codes[:, i - 1]]).sum(axis=-1).clip(max=3)
    for region in codes:
        for motif in rng.choice(len(motifs.kept), 3):
            site = motifs.kept[motif].log_odds.argmax(axis=0)
            start = rng.integers(0, WIDTH - len(site) + 1)
            region[start : start + len(site)] = site
    return list(codes)


class PerRegion:
    """One scan per region at window 7, one binary cell per motif."""

    def __init__(self, motifs: MotifSet) -> None:
        forward = [motif.log_odds for motif in motifs.kept]
        both = [m.tolist() for m in (*forward, *(m[::-1, ::-1] for m in forward))]
        thresholds = [motif.threshold for motif in motifs.kept]
        self.scanner = MOODS.scan.Scanner(7)
        self.scanner.set_motifs(both, list(motifs.background), thresholds * 2)
        self.motifs = len(forward)

    def scan(self, sequences: list[str]) -> np.ndarray:
        """Return uint8[n, M]: 1 where a motif has a hit."""
        out = np.zeros((len(sequences), self.motifs), dtype=np.uint8)
        for i, sequence in enumerate(sequences):
            results = self.scanner.scan(sequence)
            for j in range(self.motifs):
                if len(results[j]) > 0 or len(results[j + self.motifs]) > 0:
                    out[i, j] = 1
        return out


def main(count: int = 1000, rounds: int = 5) -> int:
    """Run the benchmark; return the exit code."""
    motifs = MotifSet.build(read_motifs(SOURCE, "pyjaspar"))
    codes = regions(count, motifs)
    texts = [decode(region) for region in codes]
    rival = PerRegion(motifs)
    motifs.scan(codes[:1])  # build the table
    ours, theirs = [], []
    for _ in range(rounds):
        started = time.process_time()
        rows = motifs.scan(codes)
        middle = time.process_time()
        binary = rival.scan(texts)
        theirs.append(time.process_time() - middle)
        ours.append(middle - started)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    started = time.process_time()
    motifs.best_dense(codes)
    dense = time.process_time() - started
    differing = int(((rows.count.toarray() > 0) != binary).sum())
    print(f"{count} regions of {WIDTH} bp, {len(motifs.kept)} motifs, p = {motifs.p_value:g}")
    print(f"joined, window 8: {count / min(ours):.0f} regions/s (count, best, sum)")
    print(f"one by one, window 7: {count / min(theirs):.0f} regions/s (binary)")
    print(f"best score without a threshold: {count / dense:.0f} regions/s")
    print(f"cells that the one-by-one scan lost: {differing} of {binary.size}")
    passed = ratio >= BAR
    print(f"RESULT motif_scan_ratio {ratio:.2f} {BAR} {'pass' if passed else 'short'}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(*(int(value) for value in sys.argv[1:])))
