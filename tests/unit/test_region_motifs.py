"""The motif matrix is read block by block, equal to the whole; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import region_toys
from scipy import sparse

from genebert.errors import InputError
from genebert.region_motifs import RegionMotifs


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    scores = region_toys.random_scores(rng, 103, 7, 0.3)
    return scores, (rng.random((103, 4)) < 0.4) * 0.5


@pytest.mark.parametrize("size", [1, 10, 103, 1000])
def test_blocks_are_the_wanted_rows_of_the_matrix(tmp_path, arrays, size):
    data = region_toys.read(tmp_path, *arrays, held_out=(2,))
    wanted = np.random.default_rng(1).random(103) < 0.5
    wanted[20:50] = False  # some blocks are not read at all
    parts = list(data.scores(wanted, size))
    assert np.concatenate([rows for rows, _ in parts]).tolist() == np.flatnonzero(wanted).tolist()
    whole = sparse.vstack([block for _, block in parts]).toarray()
    np.testing.assert_array_equal(whole, arrays[0][wanted].astype(np.float32))
    np.testing.assert_array_equal(data.strength.toarray(), arrays[1].astype(np.float32))
    np.testing.assert_array_equal(data.breadth, (arrays[1] > 0).sum(axis=1))
    assert data.held_out.tolist() == [False, False, True, False]


def test_files_that_do_not_fit_are_named(tmp_path, arrays):
    paths = region_toys.write(tmp_path, *arrays)
    folder = tmp_path / "other"
    folder.mkdir()
    other = region_toys.write(folder, arrays[0], arrays[1], spacing=2000)
    with pytest.raises(InputError, match=r"other/matrix\.h5ad: regions differ.*103 regions"):
        RegionMotifs.read(other["matrix"], paths["accessibility"])
    with pytest.raises(InputError, match=r"matrix\.h5ad: is not an accessibility matrix|held_out"):
        RegionMotifs.read(paths["matrix"], paths["matrix"])
    for name in paths:
        with pytest.raises(InputError, match=r"none\.h5ad.*is not a"):
            RegionMotifs.read(**{**paths, name: str(tmp_path / "none.h5ad")})


def test_missing_column_is_named(tmp_path, arrays):
    paths = region_toys.write(tmp_path, *arrays)
    with h5py.File(paths["accessibility"], "r+") as file:
        del file["var"]["gc"]
        order = [name for name in file["var"].attrs["column-order"] if name != "gc"]
        file["var"].attrs["column-order"] = order
    with pytest.raises(InputError, match=r"accessibility\.h5ad: column 'gc' is missing"):
        RegionMotifs.read(**paths)


def test_cut_matrix_is_refused(tmp_path, arrays):
    paths = region_toys.write(tmp_path, *arrays)
    content = Path(paths["matrix"]).read_bytes()
    Path(paths["matrix"]).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"matrix\.h5ad: is not a motif matrix"):
        RegionMotifs.read(**paths)


def test_matrix_of_another_form_is_refused(tmp_path, arrays):
    paths = region_toys.write(tmp_path, *arrays)
    with h5py.File(paths["matrix"], "r+") as file:
        file["layers"]["sum"].attrs["encoding-type"] = "csc_matrix"
    with pytest.raises(InputError, match="layer sum has another form; found 'csc_matrix'"):
        RegionMotifs.read(**paths)
    with h5py.File(paths["matrix"], "r+") as file:
        del file["layers"]["sum"]
    with pytest.raises(InputError, match="is not a motif matrix"):
        RegionMotifs.read(**paths)
