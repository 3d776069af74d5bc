"""Motif rows that stay in their files: the same rows, samples and states; when they do."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert import mapped_rows, shards
from genebert.errors import InputError
from genebert.mapped_rows import MappedRows, row_budget
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretrain import StopFlag, run
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus
from genebert.shards import Shards
from pretrain_toys import toy_block, toy_shards, written_shards


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    return written_shards(toy_shards(), tmp_path_factory.mktemp("shards"), files=3)


def both(index):
    return Shards.open(index), Shards.open(index, memory_gb=0)


def test_rows_over_the_budget_stay_in_their_files(index, monkeypatch, caplog):
    rows = Shards.open(index).motif_rows
    assert isinstance(rows, np.ndarray)
    with caplog.at_level(logging.INFO):
        for given_ in ({"memory_gb": rows.nbytes / 1e9}, {}):
            assert isinstance(Shards.open(index, **given_).motif_rows, np.ndarray)
        assert not caplog.messages
        assert isinstance(
            Shards.open(index, memory_gb=(rows.nbytes - 1) / 1e9).motif_rows, MappedRows
        )
        monkeypatch.setattr(shards, "row_budget", lambda: rows.nbytes - 1)
        assert isinstance(Shards.open(index).motif_rows, MappedRows)
    assert "motif rows stay in their files" in caplog.text


def test_everything_else_is_the_same(index):
    resident, mapped = both(index)
    for name in Shards.__dataclass_fields__:
        one, two = getattr(resident, name), getattr(mapped, name)
        if name == "motif_rows":
            one, two = one[np.arange(len(one))], two[np.arange(len(two))]
        np.testing.assert_array_equal(one, two, err_msg=name)


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_asking_for_rows_is_indexing(sizes, data):
    whole = np.arange(3 * sum(sizes), dtype=np.float16).reshape(-1, 3)
    rows = MappedRows(np.split(whole, np.cumsum(sizes)[:-1]))
    n = len(whole)
    asked = data.draw(st.lists(st.integers(-n, n - 1), max_size=20))
    assert (len(rows), rows.shape, rows.nbytes) == (n, (n, 3), whole.nbytes)
    np.testing.assert_array_equal(rows[np.array(asked, dtype=np.int64)], whole[asked])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"samples": "pairs"},
        {"model": {"size": "tiny", "cell_state": True}, "matrix": "permuted_tfs"},
    ],
)
def test_samples_are_the_same_bit_for_bit(index, changes):
    plan = Plan.from_pretrain(toy_block(**changes), 1)
    one, two = (
        Sampler(build_population(Corpus.from_shards(s), plan, TRAIN, "training"))
        for s in both(index)
    )
    assert isinstance(two.corpus.motif_rows, MappedRows)
    for step in (0, 1, 40):
        a, b = one.batch(step).tensors(), two.batch(step).tensors()
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_learns_the_same_weights(index, tmp_path):
    for name, shards_ in zip(("resident", "mapped"), both(index), strict=True):
        settings_ = {"variant": toy_block(evaluation_loci=16), "seed": 1, "steps": 3}
        run(settings_, shards_, tmp_path / name, index_sha256="x", stop=StopFlag(None))
    one, two = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("resident", "mapped"))
    assert one == two


def test_a_changed_row_is_found_though_it_is_not_read(index, tmp_path):
    for path in index.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    name = json.loads(index.read_text())["region_files"][1]["name"]
    content = bytearray((tmp_path / name).read_bytes())
    content[-1] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*sha256 is wrong"):
        Shards.open(tmp_path / "index.json", memory_gb=0)


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/job/step\n", {"job/step/memory.max": "max\n", "job/memory.max": "3000\n"}, [3000]),
        ("4:cpu,memory:/job\n0::/\n", {"memory/job/memory.limit_in_bytes": "500\n"}, [500]),
        ("2:cpu:/job\n", {"memory/job/memory.limit_in_bytes": "500\n"}, []),
        ("0::/elsewhere\n", {"memory.max": "7\n"}, [7]),
    ],
)
def test_limits_of_a_job_are_found(tmp_path, lines, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(lines)
    assert mapped_rows._limits(tmp_path / "cgroup", tmp_path) == expected
    assert mapped_rows._limits(tmp_path / "none", tmp_path) == []


def test_the_budget_is_half_of_the_least_and_shared_by_the_processes(monkeypatch):
    monkeypatch.setattr(mapped_rows, "_free", lambda: 1000)
    monkeypatch.setattr(mapped_rows, "_limits", lambda: [800, 5000])
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert row_budget() == 400
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert row_budget() == 100


def test_files_are_kept_as_they_were(index):
    """The maps are read-only: what they hold cannot be changed through the rows."""
    _, mapped = both(index)
    assert not any(part.flags.writeable for part in mapped.motif_rows.parts)
