from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from genome_toys import CONTIGS, Toy

from genebert import tasks
from genebert.errors import InputError
from genebert.genome import Genome
from genebert.tasks import dataset

INFO: dict[str, Any] = {
    "task": "promoter",
    "dataset": "toy",
    "kind": "binary",
    "classes": ["other", "promoter"],
    "uses_regions": False,
    "strand_specific": True,
    "block_bp": 1000,
    "n_in": 3,
    "dropped": {},
    "captions": {},
}
LEAKS = pd.DataFrame({"check": ["x"], "found": [0], "removed": [0], "share": [0.0]})


def frame(n: int = 3, **columns: Any) -> pd.DataFrame:
    values = {
        "stratum": "",
        "item": [f"i{k}" for k in range(n)],
        "contig": "chr1",
        "start": np.arange(n),
        "end": np.arange(n) + 4,
        "strand": "+",
        "sequence": "ACGN",
        "label": np.arange(n) % 2,
        "group": "",
        "cell_type": "",
        "split": "train",
        "in_pretraining": False,
        "region": -1,
    }
    return pd.DataFrame({**values, **columns}, index=range(n))


def paths(folder: Path) -> list[Path]:
    return [folder / name for name in ("dataset.parquet", "dataset.json", "leaks.tsv")]


def test_what_is_written_is_read_back_in_the_order_of_the_schema(tmp_path: Path) -> None:
    given = frame(gene="g")
    dataset.write_dataset(given, INFO, *paths(tmp_path), LEAKS)
    back, info = dataset.read_dataset(*paths(tmp_path)[:2])
    assert list(back) == [*dataset.COLUMNS, "oracle", "gene"]
    assert info == INFO
    assert back["label"].tolist() == [0.0, 1.0, 0.0]
    assert back["oracle"].isna().all()
    assert {k: str(v) for k, v in back.dtypes.items() if k in dataset.COLUMNS} == dict(
        dataset.COLUMNS
    )
    first = paths(tmp_path)[0].read_bytes()
    dataset.write_dataset(given, INFO, *paths(tmp_path), LEAKS)
    assert paths(tmp_path)[0].read_bytes() == first


def test_a_multiclass_dataset_has_one_oracle_column_per_class(tmp_path: Path) -> None:
    info = {**INFO, "kind": "multiclass", "classes": ["a", "b", "c"]}
    dataset.write_dataset(frame(), info, *paths(tmp_path), LEAKS)
    back, _ = dataset.read_dataset(*paths(tmp_path)[:2])
    assert list(back)[-3:] == ["oracle_0", "oracle_1", "oracle_2"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item": "same"}, "is twice"),
        ({"end": 0}, "empty interval"),
        ({"split": "tset"}, "splits"),
        ({"sequence": "acgt"}, "upper-case"),
        ({"label": 2.0}, "labels must be"),
        ({"group": None}, "empty field"),
    ],
)
def test_a_frame_that_breaks_the_schema_is_not_written(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataset.write_dataset(frame(**columns), INFO, *paths(tmp_path), LEAKS)
    with pytest.raises(ValueError, match="no column"):
        dataset.write_dataset(frame().drop(columns="region"), INFO, *paths(tmp_path), LEAKS)
    assert not paths(tmp_path)[0].exists()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    dataset.write_dataset(frame(), INFO, *paths(tmp_path), LEAKS)
    data, description, _ = paths(tmp_path)
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputError, match=r"dataset\.parquet: cannot be read as parquet"):
        dataset.read_dataset(data, description)
    description.write_text("{")
    with pytest.raises(InputError, match=r"dataset\.json: cannot be read as JSON"):
        dataset.read_dataset(data, description)
    description.write_text(json.dumps({"kind": "binary"}))
    dataset.write_dataset(frame(), INFO, data, tmp_path / "other.json", tmp_path / "l", LEAKS)
    with pytest.raises(InputError, match="is not a dataset"):
        dataset.read_dataset(data, description)


def test_overlap_is_by_one_base_also_under_long_intervals() -> None:
    intervals = pd.DataFrame({"contig": ["c", "c", "d"], "start": [0, 50, 0], "end": [100, 60, 5]})
    items = pd.DataFrame(
        {
            "contig": ["c", "c", "c", "d", "e"],
            "start": [99, 100, 70, 5, 0],
            "end": [120, 120, 80, 9, 9],
        }
    )
    assert dataset.overlaps_any(items, intervals).tolist() == [True, False, True, False, False]


def test_in_pretraining_looks_at_training_regions_that_are_not_held_out_only() -> None:
    regions = pd.DataFrame(
        {
            "region": range(3),
            "contig": "c",
            "start": [0, 100, 200],
            "end": [50, 150, 250],
            "split": ["train", "test", "train"],
            "held_out_only": [0, 0, 1],
        }
    )
    items = pd.DataFrame({"contig": "c", "start": [49, 100, 200], "end": [60, 110, 210]})
    assert dataset.in_pretraining(items, regions).tolist() == [True, False, False]
    found = dataset.region_at(["c"] * 4, [0, 149, 150, 249], regions)
    assert found.tolist() == [0, 1, -1, 2]


@pytest.mark.parametrize("strand", ["+", "-"])
def test_an_oriented_window_has_its_position_at_the_offset(tmp_path: Path, strand: str) -> None:
    toy = Toy(tmp_path)
    toy.put("chr1", 505, "AAAAAGCAAA", strand)
    genome = Genome(toy.write().folder / "genome.fa")
    position = 510 if strand == "+" else 509
    start, end = dataset.oriented_window(position, strand, 5, 3)
    window = pd.DataFrame({"contig": ["chr1"], "start": start, "end": end, "strand": strand})
    text = dataset.sequences(window, genome)[0]
    assert text == "AAAAAGCAA"


def test_fair_quota_gives_what_one_cannot_use_to_the_others() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    assert dataset.fair_quota({"a": 9, "b": 9, "c": 9}, shares, 10) == {"a": 5, "b": 3, "c": 2}
    assert dataset.fair_quota({"a": 1, "b": 9, "c": 9}, shares, 11) == {"a": 1, "b": 6, "c": 4}
    assert dataset.fair_quota({"a": 1, "b": 2, "c": 3}, shares, 10) == {"a": 1, "b": 2, "c": 3}


def test_a_row_that_no_builder_reads_is_named() -> None:
    with pytest.raises(InputError, match=r"cannot read labels of kind 'epd'.*mean 'epdnew'"):
        tasks.build_dataset(row={"task": "promoter", "name": "x", "kind": "epd"})
    with pytest.raises(InputError, match=r"unknown negatives; did you mean 'matched'"):
        dataset.row_option({"name": "x", "negatives": "matchd"}, "negatives", ["matched"])


def test_sort_follows_the_genome(tmp_path: Path) -> None:
    given = frame(
        4, contig=["chr3", "chr1", "chr1", "chr2"], split=["train", "test", "train", "train"]
    )
    order = dataset.sort_items(given, CONTIGS)
    assert order["item"].tolist() == ["i2", "i3", "i0", "i1"]
