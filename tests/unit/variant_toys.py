"""A genome of three contigs, tables of variants on it, and the builder run on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pysam

from genebert.genome import Genome, decode
from genebert.tasks import variants
from genebert.tasks.dataset import read_dataset

WIDTH = 40
LENGTH = 4000
SPLITS = {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": ["NK"]}


def make_place(folder: Path) -> Path:
    """Write a genome of three contigs and its regions."""
    rng = np.random.default_rng(5)
    with (folder / "genome.fa").open("w") as handle:
        for name in ("chr1", "chr2", "chr3"):
            bases = decode(rng.integers(0, 4, LENGTH).astype(np.uint8))
            handle.write(f">{name}\n{bases[:3000]}{'N' * 100}{bases[3100:]}\n")
    pysam.faidx(str(folder / "genome.fa"))
    pd.DataFrame(
        {
            "region": [0, 1, 2],
            "contig": ["chr1", "chr1", "chr3"],
            "start": [480, 1000, 500],
            "end": [480 + WIDTH, 1000 + WIDTH, 500 + WIDTH],
            "split": ["train", "train", "test"],
            "held_out_only": [0, 1, 0],
        }
    ).to_csv(folder / "regions.tsv", sep="\t", index=False)
    obs = pd.DataFrame({"held_out": [True, False]}, index=pd.Index(["NK", "B"], dtype=object))
    var = pd.DataFrame(index=pd.Index(["r0", "r1", "r2"], dtype=object))
    matrix = anndata.AnnData(X=np.zeros((2, 3), dtype=np.float32), obs=obs, var=var)
    matrix.write_h5ad(folder / "open.h5ad")
    return folder


def other(base: str) -> str:
    return "ACGT"[("ACGT".index(base) + 1) % 4]


def table(
    genome: Genome, positions: list[int], contigs: tuple[str, ...] = ("chr1", "chr2", "chr3")
):
    """Right rows of a variant table: alternating labels, one variant per position and contig."""
    rows = []
    for contig in contigs:
        for i, position in enumerate(positions):
            ref = decode(genome.codes(contig, position - 1, position))
            rows.append(
                {
                    "contig": contig,
                    "position": position,
                    "ref": ref,
                    "alt": other(ref),
                    "label": i % 2,
                    "cell_type": "B" if i % 3 else "NK",
                    "tss_distance": 10 * i,
                    "class": "causal" if i % 2 else ["closed", "elsewhere"][i // 2 % 2],
                }
            )
    return pd.DataFrame(rows)


def build(place: Path, labels: Path, name: str = "v", **row: Any) -> tuple[pd.DataFrame, dict]:
    """Run the builder and read what it wrote."""
    truth = row.pop("truth", [])
    most = row.pop("max_items", None)
    extra = row.pop("extra", [])
    out = {key: str(place / f"{name}.{key}") for key in ("dataset", "description", "leaks")}
    variants.build(
        genome=str(place / "genome.fa"), index="", block_index="", accessibility=str(place / "open.h5ad"), contigs="",
        regions=str(place / "regions.tsv"), labels=str(labels), extra=extra, truth=truth,
        phenotypes=[],
        row={"task": "disease", "name": name, "kind": "variants", "block_bp": 2, **row},
        splits=SPLITS, seed=3, max_items=most, **out,
    )  # fmt: skip
    return read_dataset(out["dataset"], out["description"])


def write(place: Path, frame: pd.DataFrame, name: str = "v.tsv") -> Path:
    frame.to_csv(place / name, sep="\t", index=False)
    return place / name
