"""A small genome with regions, accessibility and labels, for the tests of the dataset builders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pysam
from scipy import sparse

CONTIGS = ("chr1", "chr2", "chr3")
LENGTH = 120_000
WIDTH = 500
CELLS = ("HSC", "Mono", "Ery", "NK")
HELD_OUT = ("NK",)
SPLITS = {
    "train": ["chr1"],
    "valid": ["chr2"],
    "test": ["chr3"],
    "held_out_cell_types": list(HELD_OUT),
}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def turned(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def bgzipped(folder: Path) -> bytes:
    """Return 60,000 lines as bgzip writes them, in several blocks."""
    (folder / "lines").write_text("".join(f"{i * 7919 % 10007}\n" for i in range(60_000)))
    pysam.tabix_compress(str(folder / "lines"), str(folder / "lines.gz"), force=True)
    return (folder / "lines.gz").read_bytes()


def block_ends(data: bytes) -> list[int]:
    """Return where the blocks of a bgzip file end; the last one is the empty mark."""
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + int.from_bytes(data[ends[-1] + 16 : ends[-1] + 18], "little") + 1)
    return ends[1:]


class Toy:
    """A folder with genome.fa, regions.tsv and accessibility.h5ad, and paths for the outputs."""

    def __init__(self, folder: Path, *, seed: int = 1) -> None:
        self.folder = folder
        self.rng = np.random.default_rng(seed)
        self.letters = {c: self.random_contig() for c in CONTIGS}

    def random_contig(self) -> list[str]:
        """Return bases whose GC content waves between 38 % and 62 %."""
        gc = 0.5 + 0.12 * np.sin(np.arange(LENGTH) / 2500)
        strong = self.rng.random(LENGTH) < gc
        first = self.rng.random(LENGTH) < 0.5
        return np.where(strong, np.where(first, "G", "C"), np.where(first, "A", "T")).tolist()

    def put(self, contig: str, start: int, text: str, strand: str = "+") -> None:
        """Write a text along a strand; ``start`` is its leftmost base."""
        text = text if strand == "+" else turned(text)
        self.letters[contig][start : start + len(text)] = list(text)

    def write(self, *, every: int = 1000) -> Toy:
        path = self.folder / "genome.fa"
        path.write_text(
            "".join(f">{c}\n{''.join(letters)}\n" for c, letters in self.letters.items())
        )
        pysam.faidx(str(path))
        split = {"chr1": "train", "chr2": "valid", "chr3": "test"}
        starts = np.arange(200, LENGTH - WIDTH, every)
        self.regions = pd.DataFrame(
            {
                "contig": np.repeat(CONTIGS, len(starts)),
                "start": np.tile(starts, len(CONTIGS)),
                "end": np.tile(starts, len(CONTIGS)) + WIDTH,
            }
        )
        text = {c: "".join(letters).upper() for c, letters in self.letters.items()}
        windows = [text[r.contig][r.start : r.end] for r in self.regions.itertuples(index=False)]
        self.regions.insert(0, "region", np.arange(len(self.regions)))
        self.regions["split"] = self.regions["contig"].map(split)
        self.regions["gc"] = [sum(map(w.count, "GC")) / WIDTH for w in windows]
        self.regions["repeat"] = 0.0
        is_open = self.rng.random((len(CELLS), len(self.regions))) < 0.8
        held = np.isin(CELLS, HELD_OUT)
        self.regions["n_cell_types"] = is_open.sum(axis=0)
        self.regions["n_train_cell_types"] = is_open[~held].sum(axis=0)
        self.regions["held_out_only"] = (is_open[~held].sum(axis=0) == 0).astype(int)
        self.regions.to_csv(self.folder / "regions.tsv", sep="\t", index=False)
        strength = np.where(is_open, self.rng.uniform(0.01, 1.0, is_open.shape), 0.0)
        self.strength = strength
        names = [f"{r.contig}:{r.start}-{r.end}" for r in self.regions.itertuples(index=False)]
        anndata.AnnData(
            sparse.csr_matrix(strength.astype(np.float32)),
            obs=pd.DataFrame({"held_out": held}, index=pd.Index(CELLS, dtype=object)),
            var=self.regions[["region"]].set_index(pd.Index(names, dtype=object)),
        ).write_h5ad(self.folder / "accessibility.h5ad")
        return self

    def arguments(self, row: dict[str, Any], labels: Path, **more: Any) -> dict[str, Any]:
        """Return what build_dataset is called with."""
        f = self.folder
        return {
            "genome": str(f / "genome.fa"),
            "index": str(f / "genome.fa.fai"),
            "block_index": "",
            "contigs": "",
            "regions": str(f / "regions.tsv"),
            "accessibility": str(f / "accessibility.h5ad"),
            "labels": str(labels),
            "extra": [],
            "truth": [],
            "phenotypes": [],
            "dataset": str(f / "dataset.parquet"),
            "description": str(f / "dataset.json"),
            "leaks": str(f / "leaks.tsv"),
            "row": {"name": "toy", "block_bp": 100_000, **row},
            "splits": SPLITS,
            "seed": 1,
            "max_items": 100_000,
            **more,
        }

    def read(self) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]:
        """Return the frame, the description and the leak table of the last build."""
        return (
            pd.read_parquet(self.folder / "dataset.parquet"),
            json.loads((self.folder / "dataset.json").read_text()),
            pd.read_csv(self.folder / "leaks.tsv", sep="\t").set_index("check"),
        )
