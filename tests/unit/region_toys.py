"""Small motif and accessibility matrices, as the stages write them, with planted truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from genebert.region_motifs import RegionMotifs


def text(values: Any) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object)


def write(
    folder: Path,
    scores_RM: np.ndarray,
    strength_RC: np.ndarray,
    *,
    gc: np.ndarray | None = None,
    held_out: tuple[int, ...] = (),
    contigs: int = 5,
    spacing: int = 1000,
) -> dict[str, str]:
    """Write both files and ``regions.tsv``; contigs 1-3 are train, 4 valid, 5 test."""
    regions, cells = strength_RC.shape
    contig = np.arange(regions) * contigs // regions
    start = (np.arange(regions) - np.searchsorted(contig, contig)) * spacing
    split = np.array(["train", "train", "train", "valid", "test"], dtype=object)[contig]
    breadth = (strength_RC > 0).sum(axis=1)
    frame = pd.DataFrame(
        {
            "region": np.arange(regions),
            "contig": text(f"chr{1 + c}" for c in contig),
            "start": start,
            "end": start + 500,
            "split": split,
            "n_cell_types": breadth,
            "n_train_cell_types": breadth,
            "gc": np.full(regions, 0.5) if gc is None else gc,
            "repeat": np.zeros(regions),
            "held_out_only": np.zeros(regions, dtype=np.int64),
        }
    )
    frame.to_csv(folder / "regions.tsv", sep="\t", index=False)
    names = [
        f"{contig}:{first}-{first + 500}"
        for contig, first in zip(frame["contig"], start, strict=True)
    ]
    frame.index = pd.Index(text(names), dtype=object, name="name")
    for column in ("contig", "split"):
        frame[column] = frame[column].astype(object)
    motifs = pd.DataFrame(index=pd.Index(text(f"M{i}" for i in range(scores_RM.shape[1]))))
    motifs.index = motifs.index.astype(object)
    matrix = sparse.csr_matrix(scores_RM, dtype=np.float32)
    layers = {"sum": matrix}
    anndata.AnnData(matrix, obs=frame, var=motifs, layers=layers).write_h5ad(folder / "matrix.h5ad")
    obs = pd.DataFrame({"held_out": np.isin(np.arange(cells), held_out)})
    obs.index = pd.Index(text("ABCDEFGHIJKL"[:cells]), dtype=object, name="cell_type")
    opened = sparse.csr_matrix(strength_RC.T, dtype=np.float32)
    anndata.AnnData(opened, obs=obs, var=frame).write_h5ad(folder / "accessibility.h5ad")
    return {
        "matrix": str(folder / "matrix.h5ad"),
        "accessibility": str(folder / "accessibility.h5ad"),
    }


def read(folder: Path, *arrays: np.ndarray, **options: Any) -> RegionMotifs:
    """Write both files and read them back."""
    return RegionMotifs.read(**write(folder, *arrays, **options))


def random_scores(rng: np.random.Generator, regions: int, motifs: int, share: float) -> np.ndarray:
    """Return scores of about 6 to 12 in a share of the cells, 0 in the others."""
    return (rng.random((regions, motifs)) < share) * (6 + rng.exponential(2, (regions, motifs)))
