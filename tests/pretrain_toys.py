"""Shards made up in memory, for tests and benchmarks of pre-training (no file, no pysam)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genebert.genome import pack
from genebert.shards import Shards


@dataclass(frozen=True, eq=False)
class ToyShards(Shards):
    """Shards, made up, and what they were packed from."""

    codes: NDArray[np.uint8]  # uint8[R, width + 2 * flank]
    is_open: NDArray[np.bool_]  # bool[C, R]


def markov(rng: np.random.Generator, n: int, length: int) -> NDArray[np.uint8]:
    """Draw sequences of a first-order chain: after a base, the next in A C G T follows in 70 %."""
    codes = np.empty((n, length), dtype=np.uint8)
    codes[:, 0] = rng.integers(0, 4, n)
    jump = rng.random((n, length)) < 0.7
    other = rng.integers(0, 4, (n, length))
    for i in range(1, length):
        codes[:, i] = np.where(jump[:, i], (codes[:, i - 1] + 1) % 4, other[:, i])
    return codes


def toy_shards(
    per_contig: int = 150,
    cells: int = 6,
    motifs: int = 11,
    width: int = 100,
    flank: int = 20,
    seed: int = 0,
    chain: bool = False,
    n_share: float = 0.01,
    context: bool = False,
    broad: bool = False,
) -> ToyShards:
    """Make shards: contigs c1, c2 (train), c3 (valid), c4 (test); the last cell type is held out.

    Two groups of cell types alternate in domains of 20 regions, so that a place says which cell
    types have many open regions nearby, and motif rows differ between the two groups' regions.
    With ``context`` the sequence tells a region's group (by its GC) and the cell types its
    openness more sharply, so that the matrix of a cell type can be matched to a sequence.
    With ``broad`` a third of the regions is open nearly everywhere and the others in few cell types.
    """
    rng = np.random.default_rng([seed, 4])
    n = 4 * per_contig
    contig = np.repeat(np.arange(4), per_contig).astype(np.int16)
    start = np.concatenate(
        [1000 + np.cumsum(rng.integers(width, 4 * width, per_contig)) for _ in range(4)]
    ).astype(np.int32)
    length = width + 2 * flank
    codes = markov(rng, n, length) if chain else rng.integers(0, 4, (n, length)).astype(np.uint8)
    codes = np.where(rng.random(codes.shape) < n_share, np.uint8(4), codes)
    packed, n_mask = pack(codes)
    repeat = rng.random(codes.shape) < 0.2
    group = rng.integers(0, 2, n)
    domain = (np.arange(n) // 20) % 2
    favoured = (np.arange(cells)[:, None] % 2) == group[None, :]
    chance = np.where(favoured, 0.75, 0.25) + np.where(
        (np.arange(cells)[:, None] % 2) == domain[None, :], 0.15, -0.15
    )
    if context:
        chance = np.where(favoured, 0.85, 0.15)
        weak, strong = rng.integers(0, 2, codes.shape) * 3, rng.integers(1, 3, codes.shape)
        told = np.where(group[:, None] == 1, weak, strong).astype(np.uint8)
        codes = np.where((rng.random(codes.shape) < 0.4) & (codes < 4), told, codes)
        packed, n_mask = pack(codes)
    if broad:
        chance = np.where(rng.random(n) < 1 / 3, 0.95, np.full(chance.shape, 0.2))
    is_open = rng.random((cells, n)) < chance
    is_open[rng.integers(0, cells, n), np.arange(n)] = True  # every region is open somewhere
    held_out = np.zeros(cells, dtype=bool)
    held_out[-1] = True
    rate = np.where((np.arange(motifs)[None, :] % 2) == group[:, None], 0.5, 0.1)
    rows = (rng.random((n, motifs)) < rate) * rng.gamma(2.0, 4.0, (n, motifs))
    lists = [np.flatnonzero(row) for row in is_open]
    breadth = is_open[~held_out].sum(axis=0)
    usable = (contig < 2) & (breadth > 0)
    normaliser = rows[usable].max(axis=0)
    known = codes[:, flank : flank + width]
    return ToyShards(
        packed=packed,
        n_mask=n_mask,
        repeat_mask=np.packbits(repeat, axis=1, bitorder="little"),
        motif_rows=rows.astype(np.float16),
        motif_count=(rows.astype(np.float16) > 0).sum(axis=1).astype(np.int32),
        normaliser=np.where(normaliser > 0, normaliser, 1).astype(np.float32),
        contig=contig,
        start=start,
        split=np.array([0, 0, 1, 2], dtype=np.int8)[contig],
        held_out_only=breadth == 0,
        gc=((known == 1) | (known == 2)).mean(axis=1).astype(np.float32),
        repeat=repeat.mean(axis=1).astype(np.float32),
        breadth=breadth.astype(np.int32),
        indptr=np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64),
        open_regions=np.concatenate(lists).astype(np.int32),
        strengths=rng.random(sum(len(x) for x in lists)).astype(np.float32) * 0.9 + 0.1,
        held_out=held_out,
        cell_types=[f"cell{i}" for i in range(cells)],
        motifs=[f"m{i}" for i in range(motifs)],
        contigs=["c1", "c2", "c3", "c4"],
        width=width,
        flank=flank,
        config_hash="toy",
        splits={},
        codes=codes,
        is_open=is_open,
    )


def toy_block(**changes: Any) -> dict[str, Any]:
    """Return a `pretrain` block that fits the toy shards and trains in seconds."""
    block: dict[str, Any] = {
        "name": "full",
        "tokens": {"k": 3, "stride": 1},
        "model": {"size": "tiny", "region_encoder": "swin", "d_model": 32, "n_heads": 2},
        "neighbours": 6,
        "row_tokens": 64,
        "batch_size": 16,
        "optimizer": {"learning_rate": 2e-3, "schedule": "wsd"},
        "objectives": {"mgm": {}, "ngsp": {}, "srm": {}},
        "evaluation_loci": 32,
    }
    return {**block, **changes}


def toy_trainer(steps: int = 100, place: Any = None, **changes: Any) -> Any:
    """Return a :class:`~genebert.trainer.Trainer` of :func:`toy_block` on the default toy shards.

    Parameters
    ----------
    place : of the process; by default the only one, on the CPU.
    changes : of the block.
    """
    import torch

    from genebert.plan import Plan
    from genebert.population import build_population
    from genebert.sampler import Sampler
    from genebert.samples import TRAIN, Corpus
    from genebert.trainer import Place, Trainer

    block = toy_block(**changes)
    corpus = Corpus.from_shards(toy_shards())
    population = build_population(corpus, Plan.from_pretrain(block, 1), TRAIN, "training")
    return Trainer(Sampler(population), block, steps, place or Place(torch.device("cpu")))


def written_shards(toy: ToyShards, folder: Path, files: int = 2) -> Path:
    """Write made-up shards as the stage ``shards`` does; return their index."""
    from genebert.shard_files import CELL_TENSORS, FORMAT, REGION_TENSORS, save_tensors

    n = len(toy.start)
    names = [f"regions-{i:05d}-of-{files:05d}.safetensors" for i in range(files)]
    arrays = {"region": np.arange(n, dtype=np.int32)}
    arrays |= {name: getattr(toy, name) for name in REGION_TENSORS if name != "region"}
    entries = []
    for i, name in enumerate(names):
        rows = slice(n * i // files, n * (i + 1) // files)
        entries.append(save_tensors({k: v[rows] for k, v in arrays.items()}, str(folder / name)))
    cells = save_tensors(
        {name: getattr(toy, name) for name in CELL_TENSORS}, str(folder / "cell_types.safetensors")
    )
    record = {
        "format": FORMAT,
        "counts": {
            "regions": n, "motifs": len(toy.motifs), "cell_types": len(toy.cell_types),
            "open": len(toy.open_regions),
        },
        "normaliser": toy.normaliser.tolist(),
        "region_files": entries,
        "cell_type_file": cells,
        **{name: getattr(toy, name) for name in (
            "width", "flank", "contigs", "cell_types", "motifs", "splits", "config_hash"
        )},
    }  # fmt: skip
    index = folder / "index.json"
    index.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return index
