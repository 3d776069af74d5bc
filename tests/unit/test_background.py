"""Windows outside all peaks, and that no base of another split reaches a training batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from genebert import background
from genebert.background import export_background, gaps, matched, open_background
from genebert.errors import InputError
from genebert.genome import encode, unpack
from genebert.plan import Plan
from genebert.population import background_population, build_population
from genebert.reference import build_reference
from genebert.regions import build_regions
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.shard_export import export_shards
from genebert.shards import Shards
from genebert.splits import Splits
from pretrain_toys import toy_block
from shard_toys import WIDTH, Toy, make_toy

# both contigs hold several splits: their intervals meet
LENGTHS = {"a": 24_000, "b": 24_000, "c": 200}
SPLITS = {
    "train": ["a:0-12000", "b:8000-24000"],
    "valid": ["a:12000-18000"],
    "test": ["a:18000-24000", "b:0-8000", "c"],
    "held_out_cell_types": ["NK"],
}
PEAKS = [("a", 2000, 2900), ("a", 2500, 3300), ("b", 20_000, 20_300)]
BLOCK = toy_block(row_tokens=28, neighbours=2, batch_size=8)


def make(folder: Path, seed: int = 0) -> Toy:
    """Write inputs whose regions touch each other and the ends of intervals."""
    rng = np.random.default_rng(5)
    toy = make_toy(folder)
    splits, rows = Splits.from_config(SPLITS), []
    for contig, length in LENGTHS.items():
        gap = np.where(rng.random(length // 60) < 0.3, 0, rng.integers(0, 160, length // 60))
        start = np.cumsum(gap + WIDTH)
        if contig == "a":
            start = np.concatenate([start, [12_000 - WIDTH, 12_000, 18_000 - WIDTH, 18_000]])
            start = np.unique(start)
        start = start[start + WIDTH <= length]
        start = start[np.diff(start, prepend=-WIDTH) >= WIDTH]
        split = splits.split_of(contig, start, start + WIDTH)
        rows += [(contig, s, s + WIDTH, k) for s, k in zip(start, split, strict=True) if k]
    table = pd.DataFrame(rows, columns=["contig", "start", "end", "split"])
    table.insert(0, "region", np.arange(len(table)))
    openness = rng.random((3, len(table))).astype(np.float32)
    openness[rng.random(openness.shape) < 0.4] = 0
    openness[0, (openness[:2] == 0).all(axis=0)] = 0.5
    table["n_cell_types"] = (openness > 0).sum(axis=0)
    table["n_train_cell_types"] = (openness[:2] > 0).sum(axis=0)
    table["held_out_only"] = 0
    letters = {c: rng.choice(list("ACGTacgt"), n) for c, n in LENGTHS.items()}
    letters["b"][15_000:15_400] = "N"
    if seed:  # every base that no training interval holds becomes another one
        for contig, at in letters.items():
            known = np.zeros(len(at), dtype=bool)
            for interval in splits.intervals["train"]:
                if interval.contig == contig:
                    known[interval.start : interval.end] = True
            turned = dict(zip("ACGTacgtN", "CGTAcgtaN", strict=True))
            at[~known] = [turned[x] for x in at[~known]]
    toy.genome = {c: "".join(x) for c, x in letters.items()}
    text = [
        toy.genome[c][s:e] for c, s, e in zip(table.contig, table.start, table.end, strict=True)
    ]
    table["gc"] = [sum(x in "GCgc" for x in t) / WIDTH for t in text]
    table["repeat"] = 0.1
    sums = rng.gamma(1.0, 4.0, (len(table), 3)).astype(np.float32)
    toy = Toy(folder, table, openness, sums, toy.genome)
    toy.write()
    return toy


def exported(toy: Toy, **changes: Any) -> tuple[Shards, Path]:
    job = {**toy.job(), "splits": SPLITS}
    export_shards(**job)
    path = Path(job["shard_index"]).with_name(background.NAME)
    occupied = toy.folder / "occupied.bed"
    occupied.write_text("".join(f"{c}\t{a}\t{b}\n" for c, a, b in PEAKS))
    export_background(
        **{
            **{key: job[key] for key in ("table", "genome", "index", "block_index", "settings")},
            "background": str(path), "occupied": str(occupied), "splits": SPLITS,
            "config_hash": "abc", "seed": 1, **changes,
        }
    )  # fmt: skip
    return Shards.open(job["shard_index"]), path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Shards, Shards]:
    toy = make(tmp_path_factory.mktemp("background"))
    shards, path = exported(toy)
    return toy, shards, open_background(path, shards)


def sampler(shards: Shards, windows: Shards | None = None, **changes: Any) -> Sampler:
    plan = Plan.from_pretrain({**BLOCK, **changes}, 1)
    if windows is not None:
        return Sampler(background_population(Corpus.from_shards(windows, resident=False), plan))
    return Sampler(build_population(Corpus.from_shards(shards), plan, TRAIN, "training"))


def test_windows_share_no_base_with_a_region_a_peak_or_each_other(
    made: tuple[Toy, Shards, Shards],
) -> None:
    toy, shards, windows = made
    splits = Splits.from_config(SPLITS)
    assert len(windows.start) > 100
    for number, contig in enumerate(shards.contigs):
        here = windows.contig == number
        first, last = windows.start[here] - 8, windows.start[here] + WIDTH + 8
        assert (first[1:] >= last[:-1]).all()
        assert set(splits.split_of(contig, first, last)) <= {"train"}
        used = np.zeros(LENGTHS[contig], dtype=bool)
        for row in toy.table[toy.table["contig"] == contig].itertuples():
            used[row.start : row.end] = True
        for name, start, end in PEAKS:
            used[start:end] |= name == contig
        assert not any(used[a:b].any() for a, b in zip(first, last, strict=True))


def test_windows_hold_the_genome_and_no_unknown_base(made: tuple[Toy, Shards, Shards]) -> None:
    toy, shards, windows = made
    codes = unpack(windows.packed, windows.n_mask, WIDTH + 16)
    assert (codes < 4).all()
    for number, start, found in zip(windows.contig, windows.start, codes, strict=True):
        text = toy.genome[shards.contigs[number]][start - 8 : start + WIDTH + 8]
        assert encode(text).tolist() == found.tolist()
    middle = codes[:, 8:-8]
    np.testing.assert_allclose(windows.gc, ((middle == 1) | (middle == 2)).mean(axis=1), atol=1e-6)


def test_gc_is_that_of_the_regions_where_there_are_enough_windows() -> None:
    rng = np.random.default_rng(0)
    wanted, gc = rng.normal(0.5, 0.08, 2000), rng.normal(0.42, 0.08, 20_000)
    found = matched(gc, wanted, rng)
    assert len(found) == len(set(found.tolist())) > 1950
    assert (np.diff(found) > 0).all()
    assert np.quantile(gc[found], [0.1, 0.5, 0.9]) == pytest.approx(
        np.quantile(wanted, [0.1, 0.5, 0.9]), abs=0.02
    )
    assert len(matched(np.full(5, 0.9), wanted, rng)) <= 5


def test_gaps_are_filled_end_to_end() -> None:
    start, end = np.array([100, 150, 400]), np.array([160, 170, 420])
    splits = Splits.from_config({"train": ["a:50-1000"], "valid": ["b"], "test": ["c"]})
    rng = np.random.default_rng(0)
    first = gaps(start, end, "a", splits, {"a": 1000, "b": 9, "c": 9}, 50, rng)
    inside = [(50, 100), (170, 400), (420, 1000)]
    per_gap = [[x for x in first if lo <= x and x + 50 <= hi] for lo, hi in inside]
    assert [len(x) for x in per_gap] == [1, 4, 11]
    assert sum(map(len, per_gap)) == len(first)
    assert (np.diff(first) >= 50).all()
    assert not len(gaps(start, end, "b", splits, {"a": 1000, "b": 9, "c": 9}, 50, rng))


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    toy = make(tmp_path)
    first, again, other = (exported(toy, seed=s)[1].read_bytes() for s in (1, 1, 2))
    assert first == again != other


def test_rows_are_windows_and_their_successors(made: tuple[Toy, Shards, Shards]) -> None:
    _, shards, windows = made
    sampled = sampler(shards, windows, objectives=["mgm"], samples="background")
    n = len(windows.start)
    seen = torch.cat([sampled.visits(step)[0] for step in range(-(-n // 8))])[:n]
    assert seen.sort().values.tolist() == list(range(n))
    rows = sampled.batch(0)
    assert rows.ids.shape == (8, 28)
    assert rows.matrix is None
    assert torch.equal(rows.partner, (rows.pair_anchor + 1) % n)
    assert bool((rows.weight == 1).all())


@pytest.mark.parametrize("samples", ["loci", "pairs", "background"])
def test_no_base_of_another_split_reaches_a_training_batch(tmp_path: Path, samples: str) -> None:
    """All bases outside the training intervals change; not one training batch does."""
    changes = {"samples": samples, "model": {"size": "tiny", "cell_state": True}}
    if samples == "background":
        changes["objectives"] = ["mgm"]
    batches = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        shards, path = exported(make(tmp_path / str(seed), seed))
        windows = open_background(path, shards) if samples == "background" else None
        sampled = sampler(shards, windows, **changes)
        epochs = 3 if samples == "pairs" else 6
        steps = range(-(-epochs * sampled.population.visits.numel() // 8))
        batches.append([sampled.batch(step).tensors() for step in steps])
        if samples != "background":  # a region at the end of an interval is among the partners
            partners = torch.cat([batch["partner"] for batch in batches[-1]]).unique().numpy()
            assert 12_000 in shards.start[partners] + WIDTH
    for a, b in zip(*batches, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert torch.equal(value, b[name]), name


def test_bad_files_are_one_line(made: tuple[Toy, Shards, Shards], tmp_path: Path) -> None:
    toy, shards, _ = made
    with pytest.raises(InputError, match=r"no such file.*rule `background`"):
        open_background(tmp_path / "none", shards)
    (tmp_path / "text").write_text(json.dumps({}))
    with pytest.raises(InputError, match="no file of background windows"):
        open_background(tmp_path / "text", shards)
    _, path = exported(toy, config_hash="other")
    with pytest.raises(InputError, match=r"config_hash is not that of the shards.*other"):
        open_background(path, shards)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t0\t12000\nb\t8000\t24000\n", "bad.bed: no window outside the peaks.*found '0 windows"),
        ("a\t1\t5\nchrQ\t1\t5\n", "bad.bed: contig is not in the genome; found 'chrQ'"),
        ("a\t5\t5\n", "bad.bed, line 1: interval is empty"),
    ],
)
def test_bad_peaks_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.bed").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        exported(make(tmp_path), occupied=str(tmp_path / "bad.bed"))
    assert "\n" not in str(error.value)


def test_no_room_between_the_regions_is_one_line(tmp_path: Path) -> None:
    toy = make(tmp_path)
    with pytest.raises(InputError, match="no window outside the peaks"):
        exported(toy, settings={"count": 2, "flank": 5000})


# -- from peak files to windows -------------------------------------------------------------------

SIZE, FLANK = 100, 10  # of a region; on each side
AT = range(2000, 24_000, 2000)
# start, end, cell type, signal, summit offset
WIDE = [(x, x + 600, "B", 5, 50) for x in AT]  # six times a region
STRONGER = [(x + 500, x + 620, "B", 9, 30) for x in AT]
DROPPED = [(x + 560, x + 1000, "T", 1, 10) for x in AT]  # overlaps the stronger one
HELD_OUT = [(x + 1200, x + 1350, "NK", 1, 75) for x in AT]
LISTED = [(x + 1500, x + 1800) for x in AT]
IN_LISTED = [(x + 1450, x + 1560, "T", 9, 55) for x in AT]


class Atlas:
    """Peak files of a genome that is rich in GC where the peaks are, and the stages after them."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(8)
        halves = [rng.choice(list("ACGT"), 25_000, p=p) for p in ([0.2, 0.3, 0.3, 0.2], [0.32, 0.18, 0.18, 0.32])]  # fmt: skip
        text = {"t": "".join(np.concatenate(halves)), "v": "ACGT" * 300, "x": "ACGT" * 300}
        (folder / "in.fa").write_text("".join(f">{n}\n{letters}\n" for n, letters in text.items()))
        self.splits = {
            "train": ["t"], "valid": ["v"], "test": ["x"], "held_out_cell_types": ["NK"],
        }  # fmt: skip
        genome = f"{folder}/genome.fa.gz"
        self.reference = {"genome": genome, "index": f"{genome}.fai", "block_index": f"{genome}.gzi"}  # fmt: skip
        contigs = f"{folder}/contigs.tsv"
        build_reference(
            fasta=f"{folder}/in.fa", splits=self.splits, contigs=contigs, **self.reference
        )
        rows = [("t", *peak) for peak in WIDE + DROPPED + STRONGER + HELD_OUT + IN_LISTED]
        rows += [(contig, 500, 600, "B", 5, 50) for contig in "vx"]
        files = {cell: folder / f"{cell}.narrowPeak" for cell in ("B", "T", "NK")}
        for cell, path in files.items():
            peaks = (row for row in rows if row[3] == cell)
            path.write_text(
                "".join(
                    f"{c}\t{a}\t{b}\t.\t0\t.\t{signal}\t-1\t-1\t{offset}\n"
                    for c, a, b, _, signal, offset in peaks
                )
            )
        table = "".join(f"{cell}\t{path.name}\tnarrowPeak\n" for cell, path in files.items())
        (folder / "cells.tsv").write_text("cell_type\tpeaks\tformat\n" + table)
        (folder / "black.bed").write_text("".join(f"t\t{a}\t{b}\n" for a, b in LISTED))
        build_regions(
            cell_types=f"{folder}/cells.tsv", peaks=[str(path) for path in files.values()],
            contigs=contigs, blacklist=f"{folder}/black.bed", splits=self.splits,
            settings={"width": SIZE}, bed=f"{folder}/regions.bed", table=f"{folder}/regions.tsv",
            accessibility=f"{folder}/open.h5ad", occupied=f"{folder}/occupied.bed.gz",
            qc=f"{folder}/qc.tsv", **self.reference,
        )  # fmt: skip

    def windows(self, out: str = "windows", **changes: Any) -> dict[str, Any]:
        """Return the tensors of the windows."""
        path = self.folder / out
        job: dict[str, Any] = {
            "table": f"{self.folder}/regions.tsv", "occupied": f"{self.folder}/occupied.bed.gz",
            "settings": {"count": 1, "flank": FLANK}, "splits": self.splits, "config_hash": "abc",
            "seed": 1, **self.reference,
        }  # fmt: skip
        export_background(**{**job, "background": str(path), **changes})
        return load_file(path)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    return Atlas(tmp_path_factory.mktemp("atlas"))


def touched(windows: dict[str, Any], intervals: list[Any]) -> int:
    """Count the windows that share a base with an interval."""
    start = windows["start"] - FLANK
    last = start + SIZE + 2 * FLANK
    pairs = [(start < end) & (last > first) for first, end, *_ in intervals]
    return int(np.any(pairs, axis=0).sum())


KINDS = {
    "wide": WIDE, "dropped": DROPPED, "held out": HELD_OUT, "blacklist": LISTED,
    "in blacklist": IN_LISTED,
}  # fmt: skip


def test_the_peaks_are_of_the_kinds_that_they_should_be(atlas: Atlas) -> None:
    qc = pd.read_csv(atlas.folder / "qc.tsv", sep="\t").set_index(["cell_type", "reason"])["count"]
    assert (qc["T", "overlap"], qc["T", "blacklist"]) == (len(DROPPED), len(IN_LISTED))
    assert qc["*", "held_out_only_train"] == len(HELD_OUT)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_share_no_base_with_any_peak_or_the_blacklist(atlas: Atlas, kind: str) -> None:
    windows = atlas.windows()
    assert len(windows["start"]) >= 20
    assert touched(windows, KINDS[kind]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_peaks_windows_would_share_bases(atlas: Atlas, kind: str) -> None:
    (atlas.folder / "none.bed").write_text("")
    windows = atlas.windows(occupied=f"{atlas.folder}/none.bed")
    assert touched(windows, KINDS[kind]) > 0


def test_windows_beside_peaks_are_still_as_rich_in_gc(atlas: Atlas) -> None:
    table = pd.read_csv(atlas.folder / "regions.tsv", sep="\t")
    wanted = table["gc"][(table["split"] == "train") & (table["held_out_only"] == 0)]
    windows = atlas.windows()
    assert len(windows["gc"]) > 0.8 * len(wanted)
    assert windows["gc"].mean() == pytest.approx(wanted.mean(), abs=0.03)


def test_no_window_of_that_gc_is_one_line(atlas: Atlas) -> None:
    table = pd.read_csv(atlas.folder / "regions.tsv", sep="\t").assign(gc=0.99)
    table.to_csv(atlas.folder / "rich.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"GC of a training region; found '[1-9]\d* windows, 22 t"):
        atlas.windows(table=f"{atlas.folder}/rich.tsv")


def test_the_same_peaks_write_the_same_bytes(atlas: Atlas) -> None:
    atlas.windows("one")
    atlas.windows("two")
    assert (atlas.folder / "one").read_bytes() == (atlas.folder / "two").read_bytes()
