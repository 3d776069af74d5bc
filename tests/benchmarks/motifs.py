"""How fast and how exactly regions are scanned for motifs, beside three peers, in one run.

Comes in: the real regions of the folder GENEBERT_REALDATA (peaks of all its cell types, made 500 bp
wide, overlaps removed), or synthetic ones where it is missing. Two motif sets: JASPAR 2024
vertebrates and, from that folder, HOCOMOCO v11. Each scanner runs on one core, turn by turn, and its
CPU time is taken; the fewest seconds of all rounds count, once for its tables and once for regions.

* ours: count, best and sum of every cell.
* pychromvar: a MOODS scanner of window 7 called region by region whose hits become one binary cell
  each, as ``match_motif`` of pychromVAR does.
* lightmotif: each matrix over one long string.
* memelite: its FIMO over one-hot sequences, which takes 0.1 as the step of scores and drops the last
  window of a sequence.

The first two and lightmotif get the same matrices and thresholds. Cells are compared with a float64
scan of every window of some of the regions. What the whole atlas costs is the time of 1.15 million
regions in 16 jobs, each of which builds the tables once.

    pip install -r tests/benchmarks/requirements.txt  # lightmotif and memelite
    python tests/benchmarks/motifs.py [regions] [rounds]

Ends with ``RESULT name value bar pass|short`` and with 1 if a measure is short of its bar.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import library  # noqa: F401
import MOODS.scan
import numpy as np
import pysam
from numpy.typing import NDArray

from genebert.consensus import remove_overlaps
from genebert.genome import Codes, Genome, N, decode
from genebert.motif_files import read_motifs
from genebert.motif_scan import MotifRows
from genebert.motifs import MotifSet
from genebert.peaks import read_peaks

ROOT = Path(__file__).resolve().parents[2]
REALDATA = Path(os.environ.get("GENEBERT_REALDATA", ROOT.parent / "shared" / "realdata"))
JASPAR = "jaspar:2024:vertebrates"
HOCOMOCO = REALDATA / "motifs" / "HOCOMOCOv11_core_HUMAN_mono.meme"
WIDTH = 500
RATIO_BAR = 1.2
ATLAS, JOBS = 1_150_000, 16
BRUTE = 200  # regions that are compared with brute force
SLOW = 500  # regions that memelite gets


def real_regions(folder: Path) -> list[Codes]:
    """Windows around the summits of all peaks, the strongest of those that overlap."""
    with tempfile.TemporaryDirectory() as scratch:
        fasta = Path(scratch) / "genome.fa"
        fasta.write_bytes(gzip.decompress((folder / "hg19.mini.fa.gz").read_bytes()))
        pysam.faidx(str(fasta))
        genome = Genome(fasta)
        found = []
        for path in sorted([*folder.glob("dnase/*.gz"), *folder.glob("atac/*.gz")]):
            kind = "narrowPeak" if "narrowPeak" in path.name else "bed"
            found.append(read_peaks(path, kind, genome.lengths))
        contig = np.concatenate([peaks.contig for peaks in found])
        start = np.concatenate([peaks.summit for peaks in found]).astype(np.int64) - WIDTH // 2
        strength = np.concatenate([peaks.strength for peaks in found])
        out = []
        for number, (name, length) in enumerate(genome.lengths.items()):
            on = np.flatnonzero((contig == number) & (start >= 0) & (start <= length - WIDTH))
            taken = bytearray(length + 2 * WIDTH)
            kept = remove_overlaps(start[on], strength[on], np.arange(len(on)), WIDTH, taken)
            out += [genome.codes(name, s, s + WIDTH) for s in sorted(start[on][kept].tolist())]
    return [codes for codes in out if (codes == N).mean() <= 0.1]


def synthetic_regions(count: int, motifs: MotifSet, seed: int = 1) -> list[Codes]:
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


def brute_force(motifs: MotifSet, codes_RL: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Count, best and sum by scoring every window of both strands, column after column."""
    out = {layer: np.zeros((len(codes_RL), len(motifs.kept))) for layer in ("count", "best", "sum")}
    rows = np.arange(len(codes_RL))
    for m, motif in enumerate(motifs.kept):
        starts = codes_RL.shape[1] - motif.width + 1
        table = np.column_stack([motif.log_odds.T, np.full(motif.width, -np.inf)])  # N
        for strand in (1, -1):
            score = np.zeros((len(codes_RL), starts))
            for column in range(motif.width):
                at = column if strand > 0 else motif.width - 1 - column
                base = codes_RL[:, at : at + starts]
                base = base if strand > 0 else np.where(base == N, N, 3 - base)
                score += table[column][base]
            hit = score >= motif.threshold
            out["count"][:, m] += hit.sum(axis=1)
            for start in np.flatnonzero(hit.any(axis=0)):  # in order: sums depend on it
                at = rows[hit[:, start]]
                out["sum"][at, m] += score[at, start]
                out["best"][at, m] = np.where(
                    out["best"][at, m] == 0,
                    score[at, start],
                    np.maximum(out["best"][at, m], score[at, start]),
                )
    return {layer: values.astype(np.float32) for layer, values in out.items()}


class Ours:
    """The pipeline's own scan."""

    def __init__(self, motifs: MotifSet) -> None:
        self.motifs = motifs
        motifs.hits([np.zeros(0, dtype=np.uint8)])  # build the tables

    def scan(self, regions: Any) -> MotifRows:
        return self.motifs.scan(regions)


class PyChromVar:
    """One scan per region at window 7, one binary cell per motif."""

    prepare = staticmethod(lambda regions: [decode(region) for region in regions])

    def __init__(self, motifs: MotifSet) -> None:
        forward = [motif.log_odds for motif in motifs.kept]
        both = [m.tolist() for m in (*forward, *(m[::-1, ::-1] for m in forward))]
        thresholds = [motif.threshold for motif in motifs.kept]
        self.scanner = MOODS.scan.Scanner(7)
        self.scanner.set_motifs(both, list(motifs.background), thresholds * 2)
        self.motifs = len(forward)

    def scan(self, regions: list[str]) -> NDArray[Any]:
        """Return uint8[n, M]: 1 where a motif has a hit."""
        out = np.zeros((len(regions), self.motifs), dtype=np.uint8)
        for i, sequence in enumerate(regions):
            results = self.scanner.scan(sequence)
            for j in range(self.motifs):
                if len(results[j]) > 0 or len(results[j + self.motifs]) > 0:
                    out[i, j] = 1
        return out


class LightMotif:
    """Every matrix over all regions as one string with an N between them."""

    prepare = staticmethod(lambda regions: np.array([np.append(region, N) for region in regions]))

    def __init__(self, motifs: MotifSet) -> None:
        import lightmotif

        self.library, self.motifs = lightmotif, motifs
        self.matrices = [
            lightmotif.ScoringMatrix({b: matrix[i].tolist() for i, b in enumerate("ACGT")})
            for motif in motifs.kept
            for matrix in (motif.log_odds, motif.log_odds[::-1, ::-1])
        ]

    def scan(self, regions: NDArray[np.uint8]) -> NDArray[Any]:
        """Return counts[n, M]; hits that cover an N are dropped."""
        codes, period = regions.ravel(), regions.shape[1]
        unknown = np.concatenate([[0], np.cumsum(codes == N)])
        sequence = self.library.stripe(decode(codes))
        out = np.zeros((len(regions), len(self.motifs.kept)), dtype=np.int64)
        for i, matrix in enumerate(self.matrices):
            motif = self.motifs.kept[i // 2]
            hits = self.library.scan(matrix, sequence, threshold=motif.threshold)
            at = np.fromiter((hit.position for hit in hits), dtype=np.int64)
            at = at[at + motif.width <= len(codes)]
            at = at[unknown[at + motif.width] == unknown[at]]
            out[:, i // 2] += np.bincount(at // period, minlength=len(regions))
        return out


class Memelite:
    """FIMO of memelite: its own thresholds, a flat background."""

    prepare = staticmethod(
        lambda regions: (np.arange(4)[None, :, None] == np.array(regions)[:, None]).astype(np.int8)
    )

    def __init__(self, motifs: MotifSet) -> None:
        os.environ["NUMBA_NUM_THREADS"] = "1"
        from memelite import fimo

        self.fimo, self.p_value = fimo, motifs.p_value
        self.probabilities = {
            str(i): np.exp(motif.log_odds) / 4 for i, motif in enumerate(motifs.kept)
        }
        self.scan(self.prepare([np.zeros(WIDTH, dtype=np.uint8)]))  # compile

    def scan(self, regions: NDArray[np.int8]) -> NDArray[Any]:
        """Return counts[n, M]."""
        out = np.zeros((len(regions), len(self.probabilities)), dtype=np.int64)
        for frame in self.fimo(self.probabilities, regions, threshold=self.p_value):
            rows = frame["sequence_name"].to_numpy(dtype=np.int64)
            np.add.at(out, (rows, frame["motif_name"].to_numpy().astype(np.int64)), 1)
        return out


@dataclass
class Row:
    """What one scanner took: CPU seconds of its tables and per region; cells that differ."""

    name: str
    table: float
    region: float
    differing: int

    @property
    def atlas(self) -> float:
        """Core-minutes of the whole atlas."""
        return (ATLAS * self.region + JOBS * self.table) / 60


PEERS: dict[str, Callable[[MotifSet], Any]] = {
    "ours": Ours,
    "pychromvar": PyChromVar,
    "lightmotif": LightMotif,
    "memelite": Memelite,
}


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return CPU seconds and the result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def compare(motifs: MotifSet, regions: list[Codes], rounds: int) -> tuple[list[Row], str]:
    """Measure all scanners; return their rows and what could not be measured."""
    # Regions with unknown bases first: there scanners disagree.
    subset = sorted(range(len(regions)), key=lambda i: (-(regions[i] == N).sum(), i))[:BRUTE]
    exact = brute_force(motifs, np.array([regions[i] for i in subset]))
    scanners, tables, times, differing, missing = {}, {}, {}, {}, []
    for name, build in PEERS.items():
        try:
            tables[name], scanners[name] = timed(lambda build=build: build(motifs))
        except ImportError:
            missing.append(name)
    for name, scanner in scanners.items():
        prepare = getattr(scanner, "prepare", list)
        found = scanner.scan(prepare([regions[i] for i in subset]))
        if name == "ours":
            cells = [getattr(found, layer).toarray() != exact[layer] for layer in exact]
            differing[name] = int(np.logical_or.reduce(cells).sum())
        elif name == "pychromvar":
            differing[name] = int((found != (exact["count"] > 0)).sum())
        else:
            differing[name] = int((found != exact["count"]).sum())
    for _ in range(rounds):
        for name, scanner in scanners.items():
            given = regions[: SLOW if name == "memelite" else len(regions)]
            prepared = getattr(scanner, "prepare", list)(given)
            seconds, _ = timed(lambda scanner=scanner, prepared=prepared: scanner.scan(prepared))
            times.setdefault(name, []).append(seconds / len(given))
    rows = [Row(name, tables[name], min(times[name]), differing[name]) for name in scanners]
    return rows, ", ".join(missing)


def machine() -> str:
    """Return date, processor and versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    cpu = " ".join(
        f"{name.strip()} {value.strip()}"
        for name, value in fields.items()
        if name.strip() in ("model name", "cpu family", "model")
    )
    versions = []
    for package in ("MOODS-python", "numpy", "lightmotif", "memelite"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{date.today()}, {cpu or 'unknown processor'}, {', '.join(versions)}"


def main(argv: Sequence[str] = ()) -> int:
    """Run the benchmark; return the exit code."""
    count, rounds = [int(value) for value in argv] + [0, 3][len(argv) :]
    sets = {"JASPAR 2024 vertebrates": MotifSet.build(read_motifs(JASPAR, "pyjaspar"))}
    if (REALDATA / "hg19.mini.fa.gz").exists():
        regions, kind = real_regions(REALDATA), "real open regions"
        sets["HOCOMOCO v11 core human"] = MotifSet.build(read_motifs(HOCOMOCO, "meme"))
        regions = regions[:: max(1, len(regions) // count)][:count] if count else regions
    else:
        print(f"no real data at {REALDATA} (set GENEBERT_REALDATA): the sequence is SYNTHETIC and")
        print("HOCOMOCO is not measured; speeds and hits differ from those on a genome")
        regions, kind = synthetic_regions(count or 2000, *sets.values()), "synthetic regions"
    print(machine())
    print(f"{len(regions)} {kind} of {WIDTH} bp, p = 1e-4, flat background, both strands, one core")
    results = []
    for title, motifs in sets.items():
        rows, missing = compare(motifs, regions, rounds)
        of = BRUTE * len(motifs.kept)
        print(f"\n{title}: {len(motifs.kept)} of {len(motifs.motifs)} motifs can reach p")
        print("| scanner | regions/s | tables, s | cells that differ | atlas, core-minutes |")
        print("|---|---|---|---|---|")
        for row in rows:
            print(
                f"| {row.name} | {1 / row.region:,.0f} | {row.table:.2f}"
                f" | {row.differing:,} of {of:,} | {row.atlas:.1f} |"
            )
        for name in missing.split(", ") if missing else ():
            print(
                f"| {name} | not measured: pip install -r tests/benchmarks/requirements.txt | | | |"
            )
        short = title.split()[0].lower()
        results.append((f"motif_scan_ratio_{short}", rows[1].atlas / rows[0].atlas, RATIO_BAR))
        results.append((f"motif_cells_differing_{short}", rows[0].differing, 0))
    print()
    failed = False
    for name, value, bar in results:
        passed = value >= bar if "ratio" in name else value <= bar
        failed |= not passed
        shown = f"{value:.2f}" if isinstance(value, float) else value
        print(f"RESULT {name} {shown} {bar} {'pass' if passed else 'short'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
