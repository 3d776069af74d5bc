"""The directory for `transformers`: what lies in it, and that it gives our own vectors."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from genebert.errors import InputError
from genebert.huggingface import export
from genebert.model import GeneBert, ModelConfig
from genebert.pretrained import Pretrained, save


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small model with random weights."""
    config = ModelConfig(k=3, stride=2, d_model=16, n_layers=2, n_heads=2, n_features=5)
    save(tmp_path / "model", GeneBert(config, seed=3))
    return tmp_path / "model"


def test_weights_and_configuration_are_those_of_the_encoder(model: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "out")
    ours, theirs = (
        load_file(model / "model.safetensors"),
        load_file(tmp_path / "out/model.safetensors"),
    )
    kept = {name for name in ours if name.startswith("sequence.")}
    assert set(theirs) == kept | {"sequence.cos", "sequence.sin"}
    assert all((ours[name] == theirs[name]).all() for name in kept)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["k"], config["stride"], config["d_model"], config["vocabulary"]) == (
        3,
        2,
        16,
        128,
    )


def test_the_code_needs_no_genebert(model: Path, tmp_path: Path) -> None:
    export(model, tmp_path / "out")
    files = sorted((tmp_path / "out").glob("*.py"))
    assert [file.name for file in files] == [
        "modeling_genebert.py",
        "sequence.py",
        "tokenization_genebert.py",
    ]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or not (node.module or "").startswith("genebert")


def test_nothing_is_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("mine")
    with pytest.raises(InputError, match="holds files already"):
        export(model, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_transformers_gives_the_same_vectors(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    transformers = pytest.importorskip(
        "transformers", reason="pip install -r tests/benchmarks/requirements.txt"
    )
    export(model, tmp_path / "out")
    loaded = transformers.AutoModel.from_pretrained(tmp_path / "out", trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    codes = np.random.default_rng(0).integers(0, 5, (4, 61)).astype(np.uint8)
    texts = ["".join("ACGTN"[code] for code in row) for row in codes]
    vectors = loaded.eval()(**tokenizer(texts, return_tensors="pt")).pooler_output
    wanted = Pretrained.load(model).embed_sequences(codes)
    np.testing.assert_allclose(vectors.detach().numpy(), wanted, atol=1e-6)
    assert tokenizer("ACGTA", "TTTTT")["input_ids"] == [1, 11, 49, 2, 68, 68]
    with pytest.raises(ValueError, match="one length"):
        loaded(**tokenizer(["ACGTA", "ACGTACGTA"], padding=True, return_tensors="pt"))
