"""Saved encoders come back the same, and files that do not fit are refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import genebert
from genebert import pretrained, tokens
from genebert.errors import InputError
from genebert.model import GeneBert, ModelConfig
from genebert.pretrained import Pretrained

CONFIG = ModelConfig(k=3, d_model=16, n_heads=2, n_features=5, n_columns=5)


@pytest.fixture
def saved(tmp_path):
    for seed in (10, 2):
        pretrained.save(tmp_path / f"seed-{seed}", GeneBert(CONFIG, seed), seed=seed)
    return tmp_path


def codes(n=5, length=30):
    return np.random.default_rng(0).integers(0, 5, (n, length)).astype(np.uint8)


def test_weights_come_back_exactly(saved):
    loaded = Pretrained.load(saved / "seed-10")
    assert loaded.config == CONFIG
    assert loaded.record["seed"] == 10
    for name, value in GeneBert(CONFIG, 10).state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value)
    assert not loaded.model.training


def test_a_variant_directory_gives_its_first_seed_by_number(saved):
    assert Pretrained.load(saved).record["seed"] == 2
    assert Pretrained.load(saved, seed=10).record["seed"] == 10
    assert genebert.load(str(saved)).record["seed"] == 2


def test_the_random_twin_is_the_architecture_with_fresh_weights(saved):
    twin = Pretrained.random(CONFIG, 10)
    same = Pretrained.load(saved / "seed-10")
    assert np.array_equal(twin.embed_sequences(codes()), same.embed_sequences(codes()))


def test_embeddings_are_those_of_the_model_whatever_the_batch():
    encoders = Pretrained.random(CONFIG, 1)
    out = encoders.embed_sequences(codes(), batch=2)
    assert out.shape == (5, 16)
    assert out.dtype == np.float32
    ids = tokens.single_row(tokens.tokenize(torch.as_tensor(codes()), 3, 1))
    with torch.no_grad():
        assert np.allclose(out, encoders.model.embed_sequence(ids).numpy(), atol=1e-6)


def test_both_strands_give_one_embedding_for_a_sequence_and_its_complement():
    encoders = Pretrained.random(CONFIG, 1)
    reverse = tokens.reverse_complement(torch.as_tensor(codes())).numpy()
    a, b = (encoders.embed_sequences(c, both_strands=True) for c in (codes(), reverse))
    assert np.allclose(a, b, atol=1e-6)
    assert not np.allclose(a, encoders.embed_sequences(codes()), atol=1e-6)


def test_regions_are_embedded_with_and_without_an_anchor():
    encoders = Pretrained.random(CONFIG, 1)
    matrix = np.random.default_rng(1).random((5, 5, 5)).astype(np.float32)
    flags = np.array([True, False, True, False, True])
    out = encoders.embed_regions(matrix, flags, batch=2)
    with torch.no_grad():
        expected = encoders.model.embed_region(torch.as_tensor(matrix), torch.as_tensor(flags))
    assert np.allclose(out, expected.numpy(), atol=1e-6)


def test_no_model_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no pre-trained model here"):
        Pretrained.load(tmp_path)
    with pytest.raises(InputError, match="no pre-trained model here"):
        Pretrained.load(tmp_path / "nothing")


def test_another_seed_than_there_is_is_one_line(saved):
    with pytest.raises(InputError, match="seed-2, seed-10"):
        Pretrained.load(saved, seed=3)


def test_weights_of_another_shape_are_one_line(saved):
    path = saved / "seed-2" / "config.json"
    record = json.loads(path.read_text())
    record["model"]["n_columns"] = 7
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"region\.columns does not fit"):
        Pretrained.load(saved / "seed-2")


@pytest.mark.parametrize("text", ["{", "{}", '{"model": {"no": 1}}', '{"model": {}, "format": 9}'])
def test_a_bad_configuration_is_one_line(saved, text):
    (saved / "seed-2" / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        Pretrained.load(saved / "seed-2")


def test_truncated_or_foreign_weights_are_one_line(saved):
    path = saved / "seed-2" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        Pretrained.load(saved / "seed-2")
    save_file({"other": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="does not fit"):
        Pretrained.load(saved / "seed-2")
