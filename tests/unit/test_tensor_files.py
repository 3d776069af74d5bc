"""Weights are readable for whom the umask lets read, and what is written is what is read."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from genebert.tensor_files import write_tensors


@pytest.fixture
def umask():
    """Set the umask of a laboratory that shares its files."""
    before = os.umask(0o027)
    yield 0o666 & ~0o027
    os.umask(before)


def test_files_get_the_permissions_of_any_new_file(tmp_path, umask):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": np.zeros(3)})
    assert path.stat().st_mode & 0o777 == umask


def test_weights_can_be_read_by_the_group(tmp_path, umask):
    from genebert import pretrained
    from genebert.finetuned import Description, Fitted, build, write
    from genebert.huggingface import export
    from genebert.model import GeneBert, ModelConfig

    config = ModelConfig(k=3, d_model=16, n_layers=1, n_heads=2, n_features=5)
    pretrained.save(tmp_path / "run", GeneBert(config, 1))
    export(tmp_path / "run", tmp_path / "hub")
    about = Description(
        "cnn",
        "promoter",
        "toy",
        None,
        {},
        ("probability",),
        False,
        False,
        None,
        50,
        False,
        False,
        0,
    )
    write(tmp_path / "fitted.safetensors", Fitted(build(about), about))
    written = sorted(tmp_path.rglob("*.safetensors"))
    assert len(written) == 3
    assert {path.stat().st_mode & 0o777 for path in written} == {umask}


def test_nothing_is_written_by_the_function_that_hides_it(root):
    sources = (root / "workflow/scripts").rglob("*.py")
    imports = re.compile(r"^\s*from safetensors.*import.*\bsave_file\b", re.MULTILINE)
    assert [path.name for path in sources if imports.search(path.read_text())] == []


@pytest.mark.parametrize(
    "array", [np.float32(2.5), np.arange(6).reshape(2, 3).T, np.zeros((0, 3), bool)]
)
def test_what_is_written_is_read(tmp_path, array):
    path = tmp_path / "a.safetensors"
    assert write_tensors(path, {"a": array}, genebert="x") == path.read_bytes()
    read = load_file(path)["a"]
    np.testing.assert_array_equal(read, array)
    assert read.shape == np.shape(array)
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"genebert": "x"}
