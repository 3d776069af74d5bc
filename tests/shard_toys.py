"""A tiny genome with regions, accessibility and motif matrix, as the stage ``shards`` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pysam
from scipy import sparse

SPLITS = {"train": ["a"], "valid": ["b"], "test": ["c"], "held_out_cell_types": ["NK"]}
CELLS = ("HSC", "B", "NK")
MOTIFS = ("SPI1", "GATA1", "never")
WIDTH = 20


@dataclass
class Toy:
    """What lies in the folder, and the same as arrays."""

    folder: Path
    table: pd.DataFrame
    openness: np.ndarray  # float32[C, R], 0 where closed
    sums: np.ndarray  # float32[R, M]
    genome: dict[str, str]

    def write(self) -> None:
        """Write the inputs of the stage."""
        self.table.to_csv(self.folder / "regions.tsv", sep="\t", index=False)
        t = self.table
        (self.folder / "regions.bed").write_text(
            "".join(
                f"{c}\t{s}\t{e}\t{i}\n"
                for i, (c, s, e) in enumerate(zip(t["contig"], t["start"], t["end"], strict=True))
            )
        )
        names = [f"{c}:{s}-{e}" for c, s, e in zip(t["contig"], t["start"], t["end"], strict=True)]
        regions = pd.DataFrame(index=pd.Index(names, dtype=object))
        obs = pd.DataFrame(
            {"held_out": [cell == "NK" for cell in CELLS]}, index=pd.Index(CELLS, dtype=object)
        )
        x = sparse.csr_matrix(self.openness)
        anndata.AnnData(X=x, obs=obs, var=regions).write_h5ad(self.folder / "open.h5ad")
        sums = sparse.csr_matrix(self.sums)
        var = pd.DataFrame(index=pd.Index(MOTIFS, dtype=object))
        anndata.AnnData(X=sums, obs=regions, var=var, layers={"sum": sums}).write_h5ad(
            self.folder / "matrix.h5ad"
        )
        fasta = self.folder / "genome.fa"
        fasta.write_text("".join(f">{name}\n{text}\n" for name, text in self.genome.items()))
        pysam.faidx(str(fasta))

    def job(self, shards: int = 2, flank: int = 8) -> dict[str, Any]:
        """Return the keyword arguments of ``export_shards``."""
        out = self.folder / "shards"
        out.mkdir(exist_ok=True)
        return {
            "table": str(self.folder / "regions.tsv"),
            "accessibility": str(self.folder / "open.h5ad"),
            "matrix": str(self.folder / "matrix.h5ad"),
            "genome": str(self.folder / "genome.fa"),
            "index": str(self.folder / "genome.fa.fai"),
            "block_index": "",
            "shards": [
                str(out / f"regions-{i:05d}-of-{shards:05d}.safetensors") for i in range(shards)
            ],
            "cell_types": str(out / "cell_types.safetensors"),
            "shard_index": str(out / "index.json"),
            "settings": {"count": shards, "flank": flank},
            "splits": SPLITS,
            "config_hash": "abc",
        }


def make_toy(folder: Path, seed: int = 1, per_contig: tuple[int, int, int] = (4, 2, 2)) -> Toy:
    """Make and write a toy; the first and the last region of a contig touch its ends."""
    rng = np.random.default_rng(seed)
    rows, genome = [], {}
    for (contig, split), count in zip((("a", "train"), ("b", "valid"), ("c", "test")), per_contig, strict=True):  # fmt: skip
        gaps = rng.integers(0, 30, size=max(count - 1, 0))
        starts = np.concatenate([[0], np.cumsum(gaps + WIDTH)])[:count]
        length = int(starts[-1]) + WIDTH if count else 50
        letters = rng.choice(list("ACGTNacgtn"), size=length, p=[0.15] * 4 + [0.1] + [0.07] * 4 + [0.02])  # fmt: skip
        genome[contig] = "".join(letters)
        rows += [(contig, int(start), int(start) + WIDTH, split) for start in starts]
    table = pd.DataFrame(rows, columns=["contig", "start", "end", "split"])
    table.insert(0, "region", np.arange(len(table)))
    openness = rng.random((len(CELLS), len(table))).astype(np.float32)
    openness[rng.random(openness.shape) < 0.4] = 0
    openness[0, openness.sum(axis=0) == 0] = 0.5
    table["n_cell_types"] = (openness > 0).sum(axis=0)
    table["n_train_cell_types"] = (openness[:2] > 0).sum(axis=0)
    table["gc"] = rng.random(len(table)).round(4)
    table["repeat"] = rng.random(len(table)).round(4)
    table["held_out_only"] = (table["n_train_cell_types"] == 0).astype(int)
    sums = (rng.random((len(table), len(MOTIFS))) * 30).astype(np.float32)
    sums[rng.random(sums.shape) < 0.3] = 0
    sums[:, 2] = 0
    toy = Toy(folder, table, openness, sums, genome)
    toy.write()
    return toy
