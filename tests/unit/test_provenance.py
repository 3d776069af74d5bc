"""The record of a run: downloads, own files, versions; the same run gives the same file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from genebert import provenance as module
from genebert.errors import InputError
from genebert.fetch import fetch
from genebert.provenance import commit, package_versions, read_record, write_provenance


def bring(folder: Path, name: str, text: str) -> str:
    """Fetch a file from a local path; return its record."""
    (folder / "source").mkdir(exist_ok=True)
    (folder / "source" / name).write_text(text)
    record = folder / f"{name}.provenance.json"
    fetch(
        file=str(folder / name),
        provenance=str(record),
        row={"name": name, "version": "1", "url": str(folder / "source" / name), "licence": "CC0"},
        checksums=str(folder / "checksums.tsv"),
        part_directory=str(folder / ".partial"),
    )
    return str(record)


def test_everything_is_there(tmp_path):
    records = [bring(tmp_path, "b.bed", "b"), bring(tmp_path, "a.fa", "a")]
    own = [tmp_path / "z.bed", tmp_path / "y.gtf"]
    for path in own:
        path.write_text(path.name)
    out = [tmp_path / "1.json", tmp_path / "2.json"]
    for path in out:
        write_provenance(
            records=records,
            local=[*map(str, own), str(own[0])],
            provenance=str(path),
            config_hash="abc",
            versions={"regions": 3, "atlas": 1},
            code={"commit": "c0ffee", "modified": False},
        )
    assert out[0].read_bytes() == out[1].read_bytes()
    found = json.loads(out[0].read_text())
    assert [d["name"] for d in found["downloads"]] == ["a.fa", "b.bed"]
    assert found["downloads"][1]["sha256"] == hashlib.sha256(b"b").hexdigest()
    assert found["downloads"][1]["source"] == str(tmp_path / "source/b.bed")
    assert found["downloads"][1]["licence"] == "CC0"
    assert [Path(d["path"]).name for d in found["local_files"]] == ["y.gtf", "z.bed"]
    assert found["local_files"][0]["sha256"] == hashlib.sha256(b"y.gtf").hexdigest()
    assert found["local_files"][0]["bytes"] == 5
    assert found["stages"] == {"atlas": 1, "regions": 3}
    assert found["config_hash"] == "abc"
    assert found["genebert"]["version"]
    assert found["genebert"]["commit"] == "c0ffee"
    assert found["packages"]["numpy"][0].isdigit()


def test_one_file_and_none(tmp_path):
    out = tmp_path / "p.json"
    write_provenance(
        records=bring(tmp_path, "a", "x"),
        local=[],
        provenance=str(out),
        config_hash="",
        versions={},
        code={},
    )
    assert len(json.loads(out.read_text())["downloads"]) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"name": "x"}'])
def test_damaged_record(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(
        InputError, match=r"x\.json: not the record of a download; expected the key"
    ):
        read_record(tmp_path / "x.json")


def test_a_package_that_is_not_in_this_environment_is_pinned(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package", "nor-this"))
    (tmp_path / "lock").write_text("no-such-package==4.5\n")
    found = package_versions(tmp_path / "lock")
    assert found["no-such-package"] == "4.5 (pinned)"
    assert found["nor-this"] == "unknown"
    assert "pinned" not in found["numpy"]


def test_commit(tmp_path):
    assert commit(tmp_path) == {"commit": None, "modified": None}
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run([*git, "init", "-q"], check=True, env=env)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x").write_text("1")
    subprocess.run([*git, "add", "code"], check=True, env=env)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True, env=env)
    found = commit(tmp_path)
    assert len(found["commit"]) == 40
    assert found["modified"] is False
    (tmp_path / "code" / "x").write_text("2")
    assert commit(tmp_path)["modified"] is True
    assert commit(tmp_path / "code")["commit"] is None  # inside a checkout of something else
