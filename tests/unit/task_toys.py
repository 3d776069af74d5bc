"""Small datasets and shards for the tests of the downstream models."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from genebert import features
from genebert.context import Context
from genebert.genome import pack
from genebert.items import Job
from genebert.shards import Shards
from genebert.tasks import dataset

WORD = "GATAAGCA"
CELLS = ("HSC", "GMP", "Mono", "NK")
HELD_OUT = ("NK",)
WIDTH = 200
PRETRAIN = {
    "tokens": {"k": 4, "stride": 2},
    "model": {"size": "tiny", "d_model": 32, "n_layers": 1, "n_heads": 2},
    "neighbours": 4,
}
EFFORT: dict[str, Any] = {
    "pretrain_seeds": 1, "finetune_seeds": 1, "finetune_steps": 20, "finetune_batch": 16,
    "learning_rates": [3e-3], "label_fractions": [1.0],
}  # fmt: skip


def shares(n: int) -> np.ndarray:
    """Return the split of n items: 60 % train, 20 % valid, 20 % test, in this order."""
    cut = np.array([0.6, 0.8]) * n
    return np.array(["train", "valid", "test"], dtype=object)[
        np.searchsorted(cut, np.arange(n), "right")
    ]


def random_sequences(n: int, length: int, rng: np.random.Generator) -> list[str]:
    return ["".join(row) for row in rng.choice(list("ACGT"), (n, length))]


def plant(sequence: str, word: str, at: int) -> str:
    return sequence[:at] + word + sequence[at + len(word) :]


def binary_frame(
    n: int = 200, *, planted: bool = True, groups: tuple[str, ...] = ("",)
) -> pd.DataFrame:
    """Return n items; a positive one holds WORD (the group's rotation of it) if `planted`."""
    rng = np.random.default_rng([n, planted, len(groups)])
    label = rng.permutation(np.arange(n) % 2)
    group = np.arange(n) // 2 % len(groups)
    found = random_sequences(n, WIDTH, rng)
    if planted:
        for i in np.flatnonzero(label):
            word = WORD[group[i] :] + WORD[: group[i]]
            found[i] = plant(found[i], word, int(rng.integers(20, 160)))
    return pd.DataFrame(
        {
            "item": [f"i{i:05d}" for i in range(n)],
            "contig": [{"train": "chr1", "valid": "chr2", "test": "chr3"}[s] for s in shares(n)],
            "start": np.arange(n) * 1000,
            "end": np.arange(n) * 1000 + WIDTH,
            "strand": ".",
            "sequence": found,
            "label": label.astype(float),
            "group": [groups[g] for g in group],
            "cell_type": "",
            "split": shares(n),
            "in_pretraining": False,
            "region": -1,
            "stratum": "chromosome",
            "oracle": np.where(label == 1, 0.9, 0.1),
        }
    )


def splice_frame(n: int = 240) -> pd.DataFrame:
    """Return items of the classes none, donor, acceptor with the site at offset 30 of 60."""
    rng = np.random.default_rng(n)
    frame = binary_frame(n, planted=False)
    label = np.arange(n) % 4 // 2 * (1 + np.arange(n) % 2)  # 0 0 1 2
    made = random_sequences(n, 60, rng)
    for i, k in enumerate(label):
        if k == 1:
            made[i] = plant(made[i], "CAGGTAAGT", 27)
        elif k == 2:
            made[i] = plant(made[i], "TTTTTTTTTTTTTTTCAGG", 13)
        else:
            made[i] = plant(made[i], "GT" if i % 8 < 4 else "CAG", 30 if i % 8 < 4 else 28)
    frame = frame.drop(columns="oracle").assign(
        sequence=made, label=label.astype(float), strand="+", end=frame["start"] + 60
    )
    for k in range(3):
        frame[f"oracle_{k}"] = np.where(label == k, 0.8, 0.1)
    return frame


def write(folder: Path, frame: pd.DataFrame, **info: Any) -> dict[str, str]:
    """Write a dataset; returns the paths ``dataset`` and ``description``."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "task": "promoter",
        "dataset": "toy",
        "kind": "binary",
        "classes": ["no", "yes"],
        "uses_regions": False,
        "strand_specific": False,
        "block_bp": 100_000,
        "n_in": len(frame),
        "dropped": {},
        "captions": {},
        **info,
    }
    if described["kind"] == "multiclass":
        described.update(classes=["none", "donor", "acceptor"], strand_specific=True)
    paths = {
        "dataset": str(folder / "dataset.parquet"),
        "description": str(folder / "dataset.json"),
    }
    leaks = pd.DataFrame(columns=list(dataset.LEAK_COLUMNS))
    dataset.write_dataset(frame, described, *paths.values(), folder / "leaks.tsv", leaks)
    return paths


class SomeShards(Shards):
    """Shards of which a test tells what it needs, and may change it."""

    __setattr__ = object.__setattr__

    def __init__(self, **told: Any) -> None:
        vars(self).update(told)


def toy_shards(n_regions: int = 240, n_motifs: int = 5) -> SomeShards:
    """Return shards of three contigs, with regions every 1000 bases."""
    rng = np.random.default_rng(n_regions)
    contig = np.searchsorted([0.6 * n_regions, 0.8 * n_regions], np.arange(n_regions), "right")
    opened = rng.random((len(CELLS), n_regions)) < 0.5
    opened[0] |= ~opened.any(axis=0)
    row = rng.gamma(1.0, 4.0, (n_regions, n_motifs)) * (rng.random((n_regions, n_motifs)) < 0.5)
    held_out = np.array([c in HELD_OUT for c in CELLS])
    only = opened[held_out].any(axis=0) & ~opened[~held_out].any(axis=0)
    codes = rng.integers(0, 4, (n_regions, WIDTH), dtype=np.uint8)
    packed, n_mask = pack(codes)
    return SomeShards(
        packed=packed,
        n_mask=n_mask,
        repeat_mask=np.zeros_like(n_mask),
        motif_rows=row.astype(np.float16),
        motif_count=(row > 0).sum(axis=1).astype(np.int32),
        normaliser=np.maximum(row.max(axis=0), 1).astype(np.float32),
        contig=contig.astype(np.int16),
        start=(np.arange(n_regions) * 1000).astype(np.int32),
        split=contig.astype(np.int8),
        held_out_only=only,
        gc=np.full(n_regions, 0.5, np.float32),
        repeat=np.zeros(n_regions, np.float32),
        breadth=opened[~held_out].sum(axis=0).astype(np.int32),
        indptr=np.concatenate([[0], np.cumsum(opened.sum(axis=1))]).astype(np.int64),
        open_regions=np.nonzero(opened)[1].astype(np.int32),
        strengths=rng.uniform(0.01, 1, opened.sum()).astype(np.float32),
        held_out=held_out,
        cell_types=list(CELLS),
        motifs=[f"M{m}" for m in range(n_motifs)],
        contigs=["chr1", "chr2", "chr3"],
        width=WIDTH,
        flank=0,
        config_hash="0" * 16,
        splits={},
    )


def cell_frame(shards: SomeShards, groups: tuple[str, ...] = ("CTCF", "SPI1")) -> pd.DataFrame:
    """Return one item per (open region, cell type, group); positive where state and row agree."""
    rng = np.random.default_rng(7)
    activity = np.array([[2.0, -2.0, 2.0, -2.0], [-2.0, 2.0, -2.0, 2.0]])
    rows = []
    for c, name in enumerate(shards.cell_types):
        for region in shards.open_regions[shards.indptr[c] : shards.indptr[c + 1]]:
            for g, group in enumerate(groups):
                p = 1 / (1 + np.exp(-activity[g, c] - shards.motif_rows[region, g] + 2.0))
                rows.append((name, int(region), group, float(rng.random() < p), float(p)))
    frame = pd.DataFrame(rows, columns=["cell_type", "region", "group", "label", "oracle"])
    region = frame["region"].to_numpy()
    contig = shards.contig[region]
    made = random_sequences(len(shards.start), WIDTH, rng)
    split = np.array(["train", "valid", "test"], dtype=object)[contig]
    held = frame["cell_type"].isin(HELD_OUT).to_numpy()
    frame = frame.assign(
        item=[f"{r.region}:{r.cell_type}:{r.group}" for r in frame.itertuples()],
        contig=[shards.contigs[c] for c in contig],
        start=shards.start[region].astype(int),
        end=shards.start[region].astype(int) + WIDTH,
        strand=".",
        sequence=[made[r] for r in region],
        split=np.where(held, "test", split),
        in_pretraining=contig == 0,
        stratum=np.where(held, "cell-type", "chromosome"),
    )
    return frame


class WordMotifs:
    """A motif set of the one word that is planted."""

    names = ("word",)

    def best_dense(self, sequences: list[np.ndarray]) -> np.ndarray:
        word = features.encode_all([WORD])[0]
        views = [np.lib.stride_tricks.sliding_window_view(s, len(word)) for s in sequences]
        return np.array([[(v == word).sum(axis=1).max()] for v in views], dtype=np.float32)

    def scan(self, sequences: list[np.ndarray]) -> SimpleNamespace:
        best = self.best_dense(sequences)
        return SimpleNamespace(sum=sparse.csr_matrix(best * (best == len(WORD))))


def job(model: str, paths: dict[str, str], shards: SomeShards | None = None, **changes: Any) -> Job:
    """Return a job on a toy dataset; shards and motifs are the toys."""
    settings: dict[str, Any] = {
        "motif_set": "",
        "shards": "",
        "weights": [],
        "effort": {},
        "pretrain": {"neighbours": 4},
        "seed": 1,
        "threads": 1,
        **changes,
    }
    made = Job(model=model, **paths, **settings)
    made.__dict__["motifs"] = WordMotifs()
    if shards is not None:
        made.__dict__["context"] = Context(shards)
    return made


def flipped(paths: dict[str, str], rows: np.ndarray, folder: Path) -> dict[str, str]:
    """Return a copy of a binary dataset with the labels of some rows turned round."""
    frame, info = dataset.read_dataset(paths["dataset"], paths["description"])
    frame.loc[rows, "label"] = 1 - frame.loc[rows, "label"]
    return write(folder, frame, **info)
