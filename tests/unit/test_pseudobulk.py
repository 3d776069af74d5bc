"""Matrices of cells x peaks, in every layout, good and bad."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genebert import pseudobulk
from genebert.errors import InputError
from genebert.pseudobulk import PseudobulkSettings, read_pseudobulk

LABELS = ["B cell", "T cell", "B cell", "rare", "T cell", "B cell"]
COUNTS = np.array(
    [
        [1, 0, 2, 0],
        [0, 3, 1, 0],
        [4, 0, 0, 0],
        [1, 1, 1, 1],
        [0, 1, 0, 0],
        [1, 0, 0, 0],
    ]
)
SETTINGS = PseudobulkSettings(min_cells=1, min_fraction=0, min_cells_per_type=2)
B, T = [3, 0, 1, 0], [0, 2, 1, 0]  # cells in which each peak was seen


def data(counts: object = COUNTS, labels: list[object] | None = None) -> anndata.AnnData:
    n = np.shape(counts)[0]
    obs = pd.DataFrame(
        {"cell_type": np.array(labels or LABELS, dtype=object)[:n]},
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(
        {
            "chrom": ["chr1", "chr1", "chr2", "chrX"],
            "start": [0, 500, 7, 9],
            "end": [9, 900, 8, 10],
        },
        index=pd.Index([f"p{i}" for i in range(4)], dtype=object),
    )
    return anndata.AnnData(X=counts, obs=obs, var=var)


def write(folder: Path, adata: anndata.AnnData, **options: object) -> str:
    path = folder / "cells.h5ad"
    for frame in (adata.obs, adata.var):  # anndata writes no Arrow strings
        frame.index = frame.index.astype(object)
        for column in frame.columns[[dtype == "str" for dtype in frame.dtypes]]:
            frame[column] = frame[column].astype(object)
        for column in frame.columns[[dtype == "category" for dtype in frame.dtypes]]:
            known = frame[column].cat
            frame[column] = known.rename_categories(known.categories.astype(object))
    adata.write_h5ad(path, **options)
    return str(path)


LAYOUTS: dict[str, Callable[[np.ndarray], object]] = {
    "csr": lambda x: sparse.csr_matrix(x.astype(np.float32)),
    "csc": lambda x: sparse.csc_matrix(x.astype(np.uint16)),
    "dense": lambda x: x.astype(np.int32),
    "bool": lambda x: sparse.csr_matrix(x.astype(bool)),
    "csr_array": lambda x: sparse.csr_array(x.astype(np.int64)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [1, 3, 5, 1 << 22])
def test_counts(tmp_path: Path, layout: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudobulk, "BLOCK", block)
    bulk = read_pseudobulk(write(tmp_path, data(LAYOUTS[layout](COUNTS))), SETTINGS)
    assert bulk.labels == ["B cell", "T cell", "rare"]
    assert bulk.cells.tolist() == [3, 2, 1]
    assert bulk.kept.tolist() == [True, True, False]
    assert bulk.seen.tolist() == [B, T]
    assert bulk.peaks.to_numpy().tolist() == [
        ["chr1", 0, 9], ["chr1", 500, 900], ["chr2", 7, 8], ["chrX", 9, 10],
    ]  # fmt: skip


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_random_matrices_equal_pandas(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pseudobulk, "BLOCK", 64)
    random = np.random.default_rng(3)
    counts = random.poisson(0.3, (90, 40))
    labels = random.choice(["a", "b", "c"], 90)
    obs = pd.DataFrame({"kind": labels}, index=[f"c{i}" for i in range(90)])
    var = pd.DataFrame(index=[f"chr{i % 3}:{i * 10}-{i * 10 + 5}" for i in range(40)])
    adata = anndata.AnnData(
        X=sparse.csr_matrix((90, 40)), obs=obs, var=var,
        layers={"counts": LAYOUTS[layout](counts)},
    )  # fmt: skip
    bulk = read_pseudobulk(
        write(tmp_path, adata, compression="gzip"),
        PseudobulkSettings("kind", "counts", min_cells_per_type=1),
    )
    expected = pd.DataFrame(counts > 0).groupby(labels).sum()
    assert bulk.labels == ["a", "b", "c"]
    np.testing.assert_array_equal(bulk.seen, expected.to_numpy())


@pytest.mark.parametrize(
    "names",
    [("chrom", "start", "end"), ("seqnames", "start", "end"), ("chr", "start", "end")],
)
def test_coordinates_in_columns(tmp_path: Path, names: tuple[str, ...]) -> None:
    adata = data()
    adata.var = adata.var.set_axis(list(names), axis=1)
    adata.var[names[0]] = adata.var[names[0]].astype("category")
    adata.var["start"] = adata.var["start"].astype(float)
    adata.var["end"] = adata.var["end"].astype(str).astype(object)
    peaks = read_pseudobulk(write(tmp_path, adata), SETTINGS).peaks
    assert peaks.iloc[1].tolist() == ["chr1", 500, 900]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("chr1:100-600", ["chr1", 100, 600]),
        ("chr1-100-600", ["chr1", 100, 600]),
        ("chr1_100_600", ["chr1", 100, 600]),
        ("chrUn_gl000228_100_600", ["chrUn_gl000228", 100, 600]),
        ("GL000194.1-100-600", ["GL000194.1", 100, 600]),
        ("HLA-A*01:01:01:01:100-600", ["HLA-A*01:01:01:01", 100, 600]),
    ],
)
def test_coordinates_in_names(tmp_path: Path, name: str, place: list[object]) -> None:
    adata = data()
    adata.var = pd.DataFrame(
        index=pd.Index([name, "chr2:1-2", "chr2:5-6", "chr2:7-8"], dtype=object)
    )
    peaks = read_pseudobulk(write(tmp_path, adata), SETTINGS).peaks
    assert peaks.iloc[0].tolist() == place


def test_categories_numbers_and_spaces(tmp_path: Path) -> None:
    adata = data()
    adata.obs["cell_type"] = pd.Categorical(
        ["B ", "T", "B", "x", "T", "B"], categories=["T", "unused", "x", "B", "B "]
    )
    adata.obs["cluster"] = [2, 10, 2, 3, 10, 2]
    path = write(tmp_path, adata)
    bulk = read_pseudobulk(path, SETTINGS)
    assert (bulk.labels, bulk.cells.tolist()) == (["B", "T", "x"], [3, 2, 1])
    by_number = PseudobulkSettings("cluster", min_cells_per_type=2)
    bulk = read_pseudobulk(path, by_number)
    assert (bulk.labels, bulk.seen.tolist()) == (["10", "2", "3"], [T, B])


def test_a_value_written_in_two_pieces_is_one_cell(tmp_path: Path) -> None:
    path = write(tmp_path, data(LAYOUTS["csr"](COUNTS)))
    with h5py.File(path, "r+") as file:
        file["X/indices"][1] = 0  # cell 0 now has peak 0 twice, and no longer peak 2
    assert read_pseudobulk(path, SETTINGS).seen.tolist() == [[3, 0, 0, 0], T]


@pytest.mark.parametrize(
    ("cells", "options", "needed"),
    [
        (50, {}, 5),
        (1000, {}, 10),
        (1001, {}, 11),
        (100, {"min_cells": 1, "min_fraction": 0.07}, 7),  # 0.07 * 100 is a little above 7
        (30, {"min_cells": 1, "min_fraction": 0.0}, 1),
    ],
)
def test_needed(cells: int, options: dict[str, float], needed: int) -> None:
    assert PseudobulkSettings(**options).needed(cells) == needed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"min_cells": 0}, {"min_fraction": 1.1}, {"min_cells_per_type": 0}]
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"config atlas.{next(iter(wrong))}: value is out of"):
        PseudobulkSettings.from_config({**wrong, "format": "h5ad"})


def fails(path: str, message: str, settings: PseudobulkSettings = SETTINGS) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_pseudobulk(path, settings)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(path)


def test_no_such_column(tmp_path: Path) -> None:
    adata = data()
    adata.obs = adata.obs.rename(columns={"cell_type": "celltype"})
    fails(write(tmp_path, adata), "column 'cell_type' is missing in obs; did you mean 'celltype'?")


def test_no_such_layer(tmp_path: Path) -> None:
    adata = data()
    adata.layers["counts"] = COUNTS
    settings = PseudobulkSettings(layer="count")
    fails(write(tmp_path, adata), "has no layers/count; did you mean 'counts'?", settings)


def test_no_matrix(tmp_path: Path) -> None:
    adata = data()
    adata.X = None
    path = write(tmp_path, adata)
    fails(path, "X|no matrix")


@pytest.mark.parametrize("missing", [None, np.nan, "", " "])
def test_missing_labels(tmp_path: Path, missing: object) -> None:
    path = write(tmp_path, data(labels=["a", missing, "a", missing, "b", "b"]))
    fails(path, "2 cells have no cell_type; found 'cell1'")


def test_repeated_cells(tmp_path: Path) -> None:
    adata = data()
    adata.obs.index = pd.Index(["a", "b", "c", "a", "d", "a"], dtype=object)
    fails(write(tmp_path, adata), r"names of cells are repeated \(2 times\); found 'a'")


@pytest.mark.parametrize("layout", ["csr", "csc", "dense"])
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_wrong_counts(tmp_path: Path, layout: str, value: float) -> None:
    counts = COUNTS.astype(float)
    counts[4, 1] = value
    to = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.array}[layout]
    fails(write(tmp_path, data(to(counts))), "count of cell cell4 in peak 2 is negative or not fin")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("start", -5),
        ("start", 500.5),
        ("start", 900),
        ("end", 2**31),
        ("end", np.nan),
        ("chrom", None),
    ],
)
def test_wrong_coordinates(tmp_path: Path, column: str, value: object) -> None:
    adata = data()
    adata.var[column] = adata.var[column].astype(float if column != "chrom" else object)
    adata.var.iloc[1, adata.var.columns.get_loc(column)] = value
    fails(write(tmp_path, adata), r"peak 2 of var \(p1\) has no valid coordinates")


def test_wrong_names(tmp_path: Path) -> None:
    adata = data()
    adata.var = pd.DataFrame(
        index=pd.Index(["chr1:1-2", "chr1:2-3", "chr1:9-3", "chr1:x-3"], dtype=object)
    )
    fails(write(tmp_path, adata), r"peak 3 of var \(chr1:9-3\) has no valid coordinates")


def test_no_coordinates(tmp_path: Path) -> None:
    adata = data()
    adata.var = adata.var.drop(columns="start")
    fails(write(tmp_path, adata), "var has no coordinates of the peaks; found 'p0'")


def test_all_types_too_small(tmp_path: Path) -> None:
    settings = PseudobulkSettings(min_cells_per_type=4)
    fails(write(tmp_path, data()), "every cell type has too few cells; found 'at most 3'", settings)


def test_no_cells(tmp_path: Path) -> None:
    fails(write(tmp_path, data()[:0].copy()), "is empty; found '0 cells, 4 peaks'")


@pytest.mark.parametrize("content", [b"", b"chr1\t1\t2\n", b"\x1f\x8b\x08"])
def test_not_h5ad(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cells.h5ad"
    path.write_bytes(content)
    fails(str(path), "is not an h5ad file, or truncated")


def test_truncated(tmp_path: Path) -> None:
    path = Path(write(tmp_path, data()))
    path.write_bytes(path.read_bytes()[:-2000])
    fails(str(path), "truncated|cannot be read")


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    with h5py.File(path, "w") as file:
        file["matrix"] = np.zeros(3)
    fails(str(path), "has no obs; is it an h5ad file?")


def test_missing_file(tmp_path: Path) -> None:
    fails(str(tmp_path / "none.h5ad"), "no such file")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("X/indices", 4, "corrupt .indices"),
        ("X/indices", -1, "corrupt .indices"),
        ("X/indptr", 1, "corrupt .indptr"),
    ],
)
def test_corrupt_sparse(tmp_path: Path, place: str, value: int, message: str) -> None:
    path = write(tmp_path, data(LAYOUTS["csr"](COUNTS)))
    with h5py.File(path, "r+") as file:
        file[place][0] = value
    fails(path, message)


def test_other_shape(tmp_path: Path) -> None:
    path = write(tmp_path, data(LAYOUTS["csr"](COUNTS)))
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = [6, 5]
    fails(path, "another shape than obs and var; found '6 x 5'; expected 6 x 4")
