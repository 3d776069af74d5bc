"""Ready-made sets of sequences: files and columns in, a dataset without coordinates out."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from genome_toys import Toy
from task_toys import job, random_sequences

from genebert import baselines, finetune, scores, tasks
from genebert.errors import InputError

ROW = {"task": "promoter", "kind": "sequences"}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path).write(every=5000)


def table(n: int, seed: int, classes: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"sequence": random_sequences(n, 120, rng), "label": np.arange(n) % classes}
    )


def build(toy: Toy, path: Path, row: dict[str, Any] | None = None, **more: Any) -> Any:
    row = {**ROW, **(row or {})}
    extra = [row[split] for split in ("valid", "test") if split in row]
    tasks.build_dataset(**toy.arguments(row, path, **{"extra": extra, **more}))
    return toy.read()


def three_files(folder: Path, classes: int = 2) -> tuple[Path, dict[str, Any]]:
    paths = {}
    for seed, (split, n) in enumerate({"train": 120, "valid": 40, "test": 60}.items()):
        paths[split] = folder / f"{split}.csv"
        table(n, seed, classes).to_csv(paths[split], index=False)
    return paths["train"], {"valid": str(paths["valid"]), "test": str(paths["test"])}


def test_files_of_the_splits(toy: Toy) -> None:
    frame, info, leaks = build(toy, *three_files(toy.folder))
    assert frame["split"].value_counts().to_dict() == {"train": 120, "valid": 40, "test": 60}
    expected = table(60, 2).set_index("sequence")["label"]
    test = frame[frame["split"] == "test"].set_index("sequence")["label"]
    assert (test == expected[test.index]).all()
    assert info["kind"] == "binary"
    assert info["uses_regions"] is False
    assert info["valid_drawn"] is False
    assert info["in_pretraining"] == "unknown"
    assert not frame["in_pretraining"].any()
    assert (frame["contig"] == "").all()
    assert leaks["removed"]["any_copy"] == 0


def test_a_column_of_splits_and_other_names_and_parquet(toy: Toy) -> None:
    whole = table(200, 5, classes=3)
    whole["part"] = np.where(np.arange(200) % 5 == 0, "test", "train")
    whole = whole.rename(columns={"sequence": "text", "label": "y"})
    whole["y"] = whole["y"].map({0: "none", 1: "donor", 2: "acceptor"})
    path = toy.folder / "all.parquet"
    whole.to_parquet(path)
    columns = {"sequence": "text", "label": "y", "split": "part"}
    frame, info, _ = build(toy, path, {"task": "splicing", "columns": columns})
    assert info["kind"] == "multiclass"
    assert info["classes"] == ["acceptor", "donor", "none"]
    assert info["valid_drawn"] is True
    assert (frame["split"] == "test").sum() == 40
    valid = frame[frame["split"] == "valid"]
    assert len(valid) == 15  # a tenth of each class of 160, rounded
    assert set(valid["label"]) == {0.0, 1.0, 2.0}
    words = dict(zip(whole["text"], whole["y"], strict=True))
    assert [info["classes"][int(k)] for k in frame["label"]] == [
        words[s] for s in frame["sequence"]
    ]


def test_repeats_and_odd_letters_are_dropped_and_counted(toy: Toy) -> None:
    path, row = three_files(toy.folder)
    train = pd.read_csv(path)
    train.loc[0, "sequence"] = "ACGTU"
    train.loc[1, "sequence"] = train.loc[2, "sequence"].lower()
    train.to_csv(path, index=False)
    frame, info, _ = build(toy, path, row)
    assert info["dropped"] == {"no_dna": 1, "repeated_in_its_split": 1}
    assert info["n_in"] == 220
    assert len(frame) == 218


@pytest.mark.parametrize("parquet", [False, True])
def test_rows_without_a_label_are_dropped_and_counted(toy: Toy, parquet: bool) -> None:
    path, row = three_files(toy.folder)
    train = pd.read_csv(path, dtype={"label": object})
    train.loc[:2, "label"] = [None, float("nan"), None] if parquet else ["", "NA", " nan "]
    if parquet:
        path = path.with_suffix(".parquet")
        train["label"] = train["label"].astype(float)
        train.to_parquet(path, index=False)
    else:
        train.to_csv(path, index=False)
    frame, info, _ = build(toy, path, row)
    assert info["dropped"] == {"no_label": 3}
    assert info["classes"] == ["0", "1"]
    assert len(frame) == 217


def test_copies_are_removed_or_kept_with_a_flag(toy: Toy) -> None:
    path, row = three_files(toy.folder)
    test = pd.read_csv(row["test"])
    test.loc[:3, "sequence"] = pd.read_csv(path)["sequence"][:4].to_numpy()
    test.to_csv(row["test"], index=False)
    frame, info, leaks = build(toy, path, row)
    assert (frame["split"] == "test").sum() == 56
    assert leaks["removed"]["any_copy"] == 4
    assert info["flags"] == ["items_as_blocks"]
    frame, info, leaks = build(toy, path, {**row, "copies": "keep"})
    assert (frame["split"] == "test").sum() == 60
    assert leaks["found"]["any_copy"] == 4
    assert leaks["removed"]["any_copy"] == 0
    assert "copies_kept" in info["flags"]
    assert (frame["similarity"][frame["split"] == "test"] == 1).sum() == 4
    test.loc[:19, "sequence"] = pd.read_csv(path)["sequence"][:20].to_numpy()
    test.to_csv(row["test"], index=False)
    with pytest.raises(InputError, match="too many test items are copies"):
        build(toy, path, row)


def test_the_tss_is_tested(toy: Toy) -> None:
    path, row = three_files(toy.folder)
    for file in (path, row["valid"], row["test"]):
        frame = pd.read_csv(file)
        hit = frame["label"] == 1
        frame.loc[hit, "sequence"] = [s[:49] + "CA" + s[51:] for s in frame["sequence"][hit]]
        frame.to_csv(file, index=False)
    _, info, _ = build(toy, path, {**row, "tss_offset": 50})
    assert info["tss_check"]["ok"] is True
    assert info["tss_check"]["share_at_tss"] == 1
    _, info, _ = build(toy, path, {**row, "tss_offset": 80})
    assert info["tss_check"]["ok"] is False
    assert info["tss_check"]["best_offset"] == -30
    with pytest.raises(InputError, match="tss_offset lies outside a sequence"):
        build(toy, path, {**row, "tss_offset": 120})


def test_max_items_and_seed(toy: Toy) -> None:
    path, row = three_files(toy.folder)
    frame, info, _ = build(toy, path, row, max_items=100)
    assert len(frame) <= 100
    assert info["dropped"]["over_max_items"] == 120
    again, _, _ = build(toy, path, row, max_items=100)
    pd.testing.assert_frame_equal(frame, again)


def test_items_are_their_own_blocks(toy: Toy) -> None:
    build(toy, *three_files(toy.folder))
    paths = (str(toy.folder / "dataset.parquet"), str(toy.folder / "dataset.json"))
    items = scores.read_items(*paths)
    assert len(np.unique(items.block)) == len(np.unique(items.locus)) == 220
    assert items.unplaced
    assert items.flags == ("items_as_blocks",)


def test_models_of_sequences_run_without_regions(toy: Toy) -> None:
    build(toy, *three_files(toy.folder))
    paths = {"dataset": str(toy.folder / "dataset.parquet")}
    made = job("kmer-lr", paths | {"description": str(toy.folder / "dataset.json")})
    frame, _ = baselines.kmer_lr(made)
    assert len(frame) == 100
    assert not finetune.uses_regions(made, object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "row", "text"),
    [
        ({"sequence": "sequences"}, {}, "did you mean 'sequences'?"),
        ({}, {"columns": {"sequnce": "x"}}, "unknown field 'sequnce' in columns; did you mean"),
        ({}, {"columns": {"split": "part"}}, "column 'part' is missing"),
        ({"label": "sequence"}, {}, "train.csv, line 1: column 'sequence' stands twice"),
        ({}, {"copies": "kep"}, "unknown copies; did you mean 'keep'?"),
    ],
)
def test_one_line_for_each_mistake(toy: Toy, change: dict, row: dict, text: str) -> None:
    path, files = three_files(toy.folder)
    pd.read_csv(path).rename(columns=change).to_csv(path, index=False)
    with pytest.raises(InputError) as error:
        build(toy, path, {**files, **row})
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_labels_and_splits(toy: Toy) -> None:
    path, row = three_files(toy.folder)
    with pytest.raises(InputError, match="there is no test split"):
        build(toy, path, {"valid": row["valid"]})
    frame = pd.read_csv(path)
    frame.assign(label=1).to_csv(path, index=False)
    with pytest.raises(InputError, match="split train has no item of class '0'"):
        build(toy, path, row)
    frame.assign(label=frame["label"] + 0.5).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"label is no class: found '0\.5'|label is no class"):
        build(toy, path, row)
    for value in ("inf", "1e30"):
        numbers = frame["label"].astype(str)
        numbers[0] = value
        frame.assign(label=numbers).to_csv(path, index=False)
        with pytest.raises(InputError, match=f"label is no class; found '{value}'"):
            build(toy, path, row)
    frame.assign(split="tets").to_csv(path, index=False)
    with pytest.raises(InputError, match=r"line 2: unknown split; did you mean 'test'\?"):
        build(toy, path, {})
    path.write_text("")
    with pytest.raises(InputError, match="cannot be read as a table"):
        build(toy, path, row)
    path.write_text("sequence,label\n")
    with pytest.raises(InputError, match="split train has no item"):
        build(toy, path, row)
    whole = gzip.compress(("sequence,label\n" + "ACGTACGT,1\n" * 5000).encode())
    damaged = whole[:40] + bytes(20) + whole[60:]
    for content in (whole[: len(whole) // 2], damaged):
        cut = toy.folder / "cut.csv.gz"
        cut.write_bytes(content)
        with pytest.raises(InputError, match=r"cut\.csv\.gz: cannot be read as a table"):
            build(toy, cut, row)
    (toy.folder / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="cannot be read as a table"):
        build(toy, toy.folder / "x.parquet", row)
