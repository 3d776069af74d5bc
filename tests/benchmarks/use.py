"""What it costs to use a trained model: regions embedded, variants scored, tracks, per core.

Run as ``python tests/benchmarks/use.py [tiny small base]``. Weights are random, windows are 500 bp,
one thread. Rates are by CPU time, so that a busy machine does not count; a second of an idle core
is a second of the clock. Prints a line per figure: size, work, rows timed, rows a second, and what
1,000,000 regions or 100,000 variants come to.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import library  # noqa: F401  (puts the library on the path)
import numpy as np
import pysam
import torch

from genebert.accessibility_head import Ridge
from genebert.genome import Genome
from genebert.model.config import SIZES, ModelConfig
from genebert.motif_files import read_motifs
from genebert.motifs import MotifSet
from genebert.pretrained import Pretrained
from genebert.use import attributions, bed, embed
from genebert.use.head import Head
from genebert.use.variants import Scorer

WIDTH, CELLS, MOTIFS = 500, 100, 300
ROWS = {"tiny": 64, "small": 16, "base": 2}
LONG = {"regions": 1_000_000, "variants": 100_000, "rows": 10_000}


def seconds(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def tell(size: str, what: str, unit: str, rows: int, taken: float) -> None:
    """Print one figure."""
    rate = rows / taken
    hours = LONG[unit] / rate / 3600
    print(
        f"{size:6s} {what:34s} {rows:7d} timed {rate:10.2f} {unit} a second"
        f" {LONG[unit]:9,d} {unit}: {hours:8.2f} core hours",
        flush=True,
    )


def measure(size: str, motifs: MotifSet) -> None:
    """Time one size of the encoders."""
    rng, n = np.random.default_rng(1), ROWS[size]
    config = ModelConfig(k=6, stride=1, n_features=MOTIFS + 1, n_columns=11, **SIZES[size])
    encoders = Pretrained.random(config, 1)
    codes = rng.integers(0, 4, (n, WIDTH)).astype(np.uint8)
    other = codes.copy()
    other[:, WIDTH // 2] = (other[:, WIDTH // 2] + 1) % 4
    d = config.d_model
    ridge = Ridge(np.zeros(d), np.ones(d), rng.normal(size=(d, CELLS)), np.zeros(CELLS), 1.0)
    head = Head(ridge, tuple(f"c{i}" for i in range(CELLS)))
    encoders.embed_sequences(codes[:1])  # warms up
    embedding = seconds(lambda: encoders.embed_sequences(codes, both_strands=True))
    tell(size, "embedding, both strands", "regions", n, embedding)
    matrices = rng.random((n, MOTIFS + 1, 11), dtype=np.float32)
    tell(size, "neighbourhood, per cell type", "regions", n,
         seconds(lambda: encoders.embed_regions(matrices, True)))  # fmt: skip
    tell(size, "variants, all scores", "variants", n,
         seconds(lambda: Scorer(encoders, head, None, motifs)(codes, other)))  # fmt: skip
    target = attributions.accessibility_target(encoders, head)
    some = max(1, n // 20)
    tell(size, "track by gradient", "rows", some,
         seconds(lambda: [attributions.attribute(target, c, "gradient") for c in codes[:some]]))  # fmt: skip
    if size == "tiny":  # minutes for the others
        began = time.process_time()
        attributions.attribute(target, codes[0])
        tell(size, "track by mutation", "rows", 1, time.process_time() - began)


def files(rows: int = 1_000_000) -> None:
    """Time reading a BED and its windows, and writing AnnData, without any model."""
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        fasta = Path(folder) / "g.fa"
        with fasta.open("w") as out:
            for name in ("chr1", "chr2", "chr3"):
                text = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 20_000_000)]
                out.write(f">{name}\n{text.tobytes().decode()}\n")
        pysam.faidx(str(fasta))
        contig, start = rng.integers(1, 4, rows), rng.integers(0, 19_999_000, rows)
        path = Path(folder) / "a.bed"
        path.write_text(
            "".join(f"chr{c}\t{s}\t{s + 500}\n" for c, s in zip(contig, start, strict=True))
        )
        began = time.process_time()
        genome = Genome(fasta)
        table = bed.read_bed(str(path), genome)
        vectors = np.zeros((bed.BLOCK, 768), np.float32)
        with embed.Writer(str(Path(folder) / "a.h5ad"), table, 768, [], {"a": 1}) as out:
            for first, part in bed.blocks(table):
                bed.windows(genome, part, part.middle - WIDTH // 2, WIDTH)
                out.write("X", first, vectors[: len(part)])
        tell(
            "files", "BED unsorted, windows, AnnData", "regions", rows, time.process_time() - began
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"largest resident size: {peak:.2f} GB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) == 1:
        files()
    found = read_motifs("jaspar:JASPAR2024:vertebrates", "pyjaspar")[:MOTIFS]
    every = MotifSet.build(found, p_value=1e-4)
    for wanted in sys.argv[1:] or ["tiny", "small", "base"]:
        measure(wanted, every)
