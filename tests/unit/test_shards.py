"""Shards: what is in them, what a damaged one gets, and that only training sets the normaliser."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from genebert.errors import InputError
from genebert.genome import encode
from genebert.shard_export import export_shards
from genebert.shards import Shards, read_region_table
from shard_toys import CELLS, MOTIFS, SPLITS, WIDTH, Toy, make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return make_toy(tmp_path)


def exported(toy: Toy, **changes: Any) -> Path:
    job = toy.job(**changes)
    export_shards(**job)
    return Path(job["shard_index"])


def test_what_is_written_is_read(toy: Toy) -> None:
    shards = Shards.open(exported(toy))
    table = toy.table
    assert (shards.cell_types, shards.motifs, shards.contigs) == (
        list(CELLS),
        list(MOTIFS),
        ["a", "b", "c"],
    )
    assert (shards.width, shards.flank, shards.config_hash) == (WIDTH, 8, "abc")
    assert shards.splits == SPLITS
    assert [shards.contigs[i] for i in shards.contig] == table["contig"].tolist()
    assert [("train", "valid", "test")[i] for i in shards.split] == table["split"].tolist()
    np.testing.assert_array_equal(shards.start, table["start"])
    np.testing.assert_array_equal(shards.held_out_only, table["held_out_only"] == 1)
    np.testing.assert_array_equal(shards.gc, table["gc"].astype(np.float32))
    np.testing.assert_array_equal(shards.repeat, table["repeat"].astype(np.float32))
    np.testing.assert_array_equal(shards.breadth, (toy.openness[:2] > 0).sum(axis=0))
    np.testing.assert_array_equal(shards.motif_rows, toy.sums.astype(np.float16))
    np.testing.assert_array_equal(shards.motif_count, (shards.motif_rows > 0).sum(axis=1))
    np.testing.assert_array_equal(shards.held_out, [False, False, True])
    np.testing.assert_array_equal(shards.openness().toarray(), toy.openness)
    opened = shards.open_regions[slice(*shards.indptr[1:3])]
    np.testing.assert_array_equal(opened, np.flatnonzero(toy.openness[1]))  # ascending


def test_dtypes_are_those_of_the_contract(toy: Toy) -> None:
    shards = Shards.open(exported(toy))
    dtypes = {
        "packed": "uint8", "n_mask": "uint8", "repeat_mask": "uint8", "motif_rows": "float16",
        "normaliser": "float32", "contig": "int16", "start": "int32", "split": "int8",
        "held_out_only": "bool", "gc": "float32", "repeat": "float32", "breadth": "int32",
        "indptr": "int64", "open_regions": "int32", "strengths": "float32", "held_out": "bool",
    }  # fmt: skip
    assert {name: str(getattr(shards, name).dtype) for name in dtypes} == dtypes


@pytest.mark.parametrize("flank", [0, 3, 8])
def test_sequences_and_their_flanks(toy: Toy, flank: int) -> None:
    shards = Shards.open(exported(toy))
    ids = np.array([0, 3, 7])  # the first of a contig, the last of a contig, the last
    found = shards.sequences(ids, flank)
    for i, codes in zip(ids, found, strict=True):
        row = toy.table.iloc[i]
        text = "N" * 8 + toy.genome[row["contig"]] + "N" * 8
        window = text[row["start"] + 8 - flank : row["end"] + 8 + flank]
        np.testing.assert_array_equal(codes, encode(window))
    with pytest.raises(ValueError, match="flank 9"):
        shards.sequences(ids, 9)


def test_repeats_are_the_lower_case_bases(toy: Toy) -> None:
    shards = Shards.open(exported(toy))
    masks = np.unpackbits(shards.repeat_mask, axis=1, count=WIDTH + 16, bitorder="little")
    for mask, row in zip(masks, toy.table.itertuples(), strict=True):
        text = "N" * 8 + toy.genome[row.contig] + "N" * 8
        window = text[row.start : row.end + 16]
        np.testing.assert_array_equal(mask, [letter.islower() for letter in window])


def test_normaliser_is_that_of_the_training_regions(toy: Toy) -> None:
    toy.table["held_out_only"] = [1, 0, 0, 0, 0, 0, 0, 0]
    toy.sums[0, 0] = 500  # open in a held-out cell type only
    toy.sums[2, 0] = 12.5
    toy.sums[4:, 1] = 900  # validation and test
    toy.write()
    shards = Shards.open(exported(toy))
    expected = toy.sums[1:4].astype(np.float16).max(axis=0).astype(np.float32)
    expected[2] = 1  # never above 0
    np.testing.assert_array_equal(shards.normaliser, expected)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 1.0])
def test_normaliser_can_be_a_quantile_of_the_values_above_0(toy: Toy, quantile: float) -> None:
    toy.table["held_out_only"] = 0
    toy.sums[:4, 0] = [3, 0, 1, 2]
    toy.sums[4:, 0] = 900  # validation and test
    toy.write()
    job = toy.job()
    job["settings"]["normaliser_quantile"] = quantile
    export_shards(**job)
    shards = Shards.open(job["shard_index"])
    assert shards.normaliser[0] == np.quantile([1, 2, 3], quantile, method="inverted_cdf")
    assert shards.normaliser[2] == 1  # never above 0
    assert json.loads(Path(job["shard_index"]).read_text())["normaliser_quantile"] == quantile


def test_negative_sums_do_not_count(toy: Toy) -> None:
    toy.sums[:, 0] = -3
    toy.write()
    shards = Shards.open(exported(toy))
    np.testing.assert_array_equal(shards.motif_rows[:, 0], np.full(8, -3))
    np.testing.assert_array_equal(shards.motif_count, (toy.sums > 0).sum(axis=1))
    assert shards.normaliser[0] == 1


def test_cells_of_a_motif_matrix_may_come_in_any_order_and_in_parts(toy: Toy) -> None:
    whole = Shards.open(exported(toy))
    with h5py.File(toy.folder / "matrix.h5ad", "r+") as file:
        layer = file["layers"]["sum"]
        indptr, indices = layer["indptr"][:], layer["indices"][:]
        order = np.concatenate(
            [np.arange(a, b)[::-1] for a, b in zip(indptr[:-1], indptr[1:], strict=True)]
        )
        split = {
            "indptr": 2 * indptr,
            "indices": np.repeat(indices[order], 2),
            "data": np.repeat(layer["data"][:][order] / 2, 2),
        }
        for name, values in split.items():
            del layer[name]
            layer[name] = values
    found = Shards.open(exported(toy))
    np.testing.assert_array_equal(found.motif_rows, whole.motif_rows)
    np.testing.assert_array_equal(found.motif_count, whole.motif_count)


def test_large_sums_stay_finite(toy: Toy) -> None:
    toy.sums[1, 0] = 1e6
    toy.write()
    assert np.isfinite(Shards.open(exported(toy)).motif_rows).all()


@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_number_of_shards_does_not_matter(toy: Toy, count: int) -> None:
    one, other = Shards.open(exported(toy)), Shards.open(exported(toy, shards=count))
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def test_bytes_are_the_same_each_time(toy: Toy) -> None:
    folder = exported(toy).parent
    before = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    export_shards(**toy.job())
    assert {path.name: path.read_bytes() for path in sorted(folder.iterdir())} == before


def test_index_names_files_by_their_base_names(toy: Toy, tmp_path: Path) -> None:
    index = exported(toy)
    record = json.loads(index.read_text())
    assert [entry["name"] for entry in record["region_files"]] == [
        "regions-00000-of-00002.safetensors",
        "regions-00001-of-00002.safetensors",
    ]
    moved = tmp_path / "moved"
    index.parent.rename(moved)
    assert len(Shards.open(moved / "index.json").start) == 8


def test_splits_may_hold_numbers(toy: Toy) -> None:
    job = toy.job()
    export_shards(**{**job, "splits": {**SPLITS, "held_out_share": 0.25}})
    assert Shards.open(job["shard_index"]).splits == {**SPLITS, "held_out_share": 0.25}


def test_a_file_that_is_no_safetensors_is_named(toy: Toy) -> None:
    index = exported(toy)
    name = index.parent / "regions-00000-of-00002.safetensors"
    name.write_bytes(b"\xff" * name.stat().st_size)
    with pytest.raises(InputError, match="cannot be read as safetensors") as caught:
        Shards.open(index, verify=False)
    assert name.name in str(caught.value)


def test_others_may_read_the_files(toy: Toy) -> None:
    umask = os.umask(0o022)
    try:
        folder = exported(toy).parent
    finally:
        os.umask(umask)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("name", ["regions-00001-of-00002.safetensors", "cell_types.safetensors"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [(flip, "sha256 is wrong"), (cut, "is truncated or changed"), (Path.unlink, "is missing")],
)
def test_damaged_shards_are_named(
    toy: Toy, name: str, damage: Callable[[Path], None], message: str
) -> None:
    index = exported(toy)
    damage(index.parent / name)
    with pytest.raises(InputError, match=message) as caught:
        Shards.open(index)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_verification_sizes_and_shapes_are_checked(toy: Toy) -> None:
    index = exported(toy)
    name = index.parent / "regions-00000-of-00002.safetensors"
    flip(name)
    Shards.open(index, verify=False)
    tensors = load_file(name)
    size = name.stat().st_size
    tensors["motif_rows"] = tensors["motif_rows"].reshape(-1, 4)
    save_file(tensors, name)
    record = json.loads(index.read_text())
    record["region_files"][0]["bytes"] = name.stat().st_size
    index.write_text(json.dumps(record))
    assert size == name.stat().st_size
    with pytest.raises(InputError, match="shape of motif_rows is wrong") as caught:
        Shards.open(index, verify=False)
    assert name.name in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format=1), "format version of the shards is wrong"),
        (lambda r: r.pop("normaliser"), "normaliser is missing"),
        (lambda r: r["region_files"].pop(), "number of regions in all shards is wrong"),
        (lambda r: r["region_files"].reverse(), "first region is wrong"),
        (lambda r: r["motifs"].pop(), "number of motifs is wrong"),
        (lambda r: r["cell_types"].pop(), "number of cell_types is wrong"),
        (lambda r: r["region_files"][0].update(name="../x"), "names a file elsewhere"),
        (lambda r: r.pop("format"), "is not a shard index"),
    ],
)
def test_damaged_index(toy: Toy, change: Callable[[Any], None], message: str) -> None:
    index = exported(toy)
    record = json.loads(index.read_text())
    change(record)
    index.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message) as caught:
        Shards.open(index)
    assert str(index.parent) in str(caught.value)


def test_truncated_and_missing_index(toy: Toy) -> None:
    index = exported(toy)
    cut(index)
    with pytest.raises(InputError, match="is not a shard index"):
        Shards.open(index)
    index.unlink()
    with pytest.raises(InputError, match="no such shard index"):
        Shards.open(index)


def test_inputs_must_describe_the_same_regions(toy: Toy) -> None:
    other = toy.table.copy()
    other.loc[3, ["start", "end"]] -= 1
    other.to_csv(toy.folder / "regions.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"open\.h5ad: region is wrong"):
        export_shards(**toy.job())
    other.loc[3, "start"] += 1
    other.to_csv(toy.folder / "regions.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"regions\.tsv: number of region widths is wrong"):
        export_shards(**toy.job())


def test_more_shards_than_regions(toy: Toy) -> None:
    with pytest.raises(InputError, match=r"config shards\.count: more shards than regions"):
        exported(toy, shards=9)


def test_files_that_are_not_anndata(toy: Toy) -> None:
    (toy.folder / "matrix.h5ad").write_text("no")
    with pytest.raises(InputError, match=r"matrix\.h5ad: cannot be read as AnnData"):
        export_shards(**toy.job())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("held_out_only", "holdout", "column 'held_out_only' is missing"),
        ("\ttrain\t", "\ttrian\t", "line 2: unknown split"),
        ("\n1\ta", "\n2\ta", "not numbered from 0"),
        ("\n1\ta\t", "\n1\ta\tx", "is not a table of regions"),
    ],
)
def test_bad_tables(toy: Toy, old: str, new: str, message: str) -> None:
    path = toy.folder / "regions.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_region_table(path)
