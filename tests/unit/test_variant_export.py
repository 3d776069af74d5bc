"""Scores of variants in the form of TraitGym: its columns, its rows, its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.errors import InputError
from genebert.tasks.dataset import LEAK_COLUMNS, write_dataset
from genebert.variant_export import export_scores


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Four variants, one of them asked for in two cell types; predictions of two models."""
    rows: list[dict[str, Any]] = []
    for contig, position, cell in (
        ("chr2", 7, ""), ("chr10", 5, "B"), ("chr10", 5, "NK"), ("chrX", 9, "")
    ):  # fmt: skip
        rows.append(
            {
                "item": f"{contig}:{position}:A>G@{cell}", "contig": contig, "start": position,
                "end": position + 4, "strand": ".", "sequence": "ACGT", "alternative": "GCGT",
                "label": float(position == 7), "group": "", "cell_type": cell, "split": "test",
                "in_pretraining": False, "region": -1, "stratum": "", "oracle": np.nan,
                "position": position, "ref": "A", "alt": "G", "tss_distance": 1.0,
            }
        )  # fmt: skip
    info = {
        "task": "disease", "dataset": "v", "kind": "variants", "classes": ["neutral", "causal"],
        "label": "binary", "uses_regions": False, "strand_specific": False, "block_bp": 100,
        "n_in": 4, "dropped": {}, "captions": {},
    }  # fmt: skip
    paths = (tmp_path / "dataset.parquet", tmp_path / "dataset.json", tmp_path / "leaks.tsv")
    leaks = pd.DataFrame([("none", 0, 0, 0.0)], columns=list(LEAK_COLUMNS))
    frame = pd.DataFrame(rows)
    write_dataset(frame, info, *paths, leaks)
    parts = []
    for model, seed, track in (("cnn", 1, "supervised"), ("cnn", 2, "supervised"),
                               ("gc", 1, "zeroshot:accessibility")):  # fmt: skip
        for split in ("valid", "test"):
            part = pd.DataFrame({"item": frame["item"], "model": model, "track": track})
            part["score"] = seed + np.arange(4.0) + (100 if split == "valid" else 0)
            parts.append(part.assign(split=split, finetune_seed=seed, fraction=1.0))
    every = pd.concat(parts, ignore_index=True)
    for model, part in every.groupby("model"):
        part.sample(frac=1, random_state=1).to_parquet(tmp_path / f"{model}.parquet")
    return tmp_path


def export(home: Path, labels: Path, **columns: str) -> pd.DataFrame:
    export_scores(
        dataset=str(home / "dataset.parquet"), description=str(home / "dataset.json"),
        predictions=[str(home / "cnn.parquet"), str(home / "gc.parquet")], labels=str(labels),
        table=str(home / "scores.parquet"), row={"columns": columns},
    )  # fmt: skip
    return pd.read_parquet(home / "scores.parquet")


def test_a_row_per_item_with_the_mean_over_seeds(home: Path) -> None:
    found = export(home, home / "variants.tsv")
    assert list(found.columns) == [
        "chrom", "pos", "ref", "alt", "label", "scored", "cnn.supervised",
        "gc.zeroshot-accessibility",
    ]  # fmt: skip
    assert found["chrom"].tolist() == ["2", "10", "10", "X"]
    assert found["cnn.supervised"].tolist() == [1.5, 2.5, 3.5, 4.5]
    assert found["gc.zeroshot-accessibility"].tolist() == [1, 2, 3, 4]
    assert found["scored"].all()


def test_rows_and_order_of_a_parquet_label_file_are_kept(home: Path) -> None:
    source = pd.DataFrame(
        {
            "chrom": ["X", "10", "7", "2"], "pos": [9, 5, 3, 7], "ref": ["A", "a", "A", "A"],
            "alt": "G", "label": [False, False, True, True], "consequence": "x",
        }
    )  # fmt: skip
    source.to_parquet(home / "traits.parquet")
    found = export(home, home / "traits.parquet", contig="chrom", position="pos")
    assert found["chrom"].tolist() == source["chrom"].tolist()
    assert found["label"].tolist() == source["label"].tolist()
    assert found["scored"].tolist() == [True, True, False, True]
    # two cell types of one variant: their mean; not scored: the median
    assert found["cnn.supervised"].tolist() == [4.5, 3.0, 3.0, 1.5]


@pytest.mark.parametrize("broken", ["gc.parquet", "traits.parquet"])
def test_a_damaged_table_is_one_line(home: Path, broken: str) -> None:
    (home / "traits.parquet").write_bytes((home / "cnn.parquet").read_bytes())
    (home / broken).write_bytes(b"PAR1 no table")
    with pytest.raises(InputError, match=f"{broken}.*cannot be read as parquet"):
        export(home, home / "traits.parquet")
    assert not (home / "scores.parquet").exists()
