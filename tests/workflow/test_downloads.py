"""Downloads as a user meets them: `snakemake fetch_all` against a server on this machine.

The repository is copied and its manifest replaced by rows of that server, so that the rules, the
scripts and the library are those that are shipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert.downloads import MANIFEST
from servers import BODY, Server, cut, drip, ranged, send, whole
from workflow_tools import last_line

SHA = hashlib.sha256(BODY).hexdigest()
PARTS = ("Snakefile", "rules", "workflow", "config", "envs", "resources", "profiles")


class Site:
    """A copy of the pipeline whose configuration needs one download, ``file.bin``."""

    def __init__(self, root: Path, folder: Path, server: Server) -> None:
        self.pipeline, self.run, self.server = folder / "pipeline", folder / "run", server
        self.run.mkdir()
        skip = shutil.ignore_patterns("__pycache__", ".*cache", "downloads")
        for name in PARTS:
            if (root / name).is_dir():
                shutil.copytree(root / name, self.pipeline / name, ignore=skip)
            else:
                self.pipeline.mkdir(exist_ok=True)
                shutil.copy(root / name, self.pipeline / name)
        shutil.copy(root / "requirements.lock", self.pipeline)
        changes = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
        changes["genome"]["fasta"] = "resource:file.bin"
        self.config = folder / "mine.yaml"
        self.config.write_text(yaml.safe_dump(changes))
        self.environment = {
            **os.environ,
            "GENEBERT_REALDATA": str(folder / "no-data"),
            "NO_PROXY": "127.0.0.1",
        }
        self.manifest()
        self.file = self.run / "resources/downloads/file.bin"
        self.provenance = self.file.with_name("file.bin.provenance.json")
        self.part = self.file.parent / ".partial" / "file.bin-1.part"
        self.log = self.run / "logs/download/file.bin.log"

    def manifest(self, **row: str) -> None:
        """Write a manifest of one row."""
        values = {"name": "file.bin", "version": "1", "url": self.server.url, "licence": "CC0"}
        header = (self.pipeline / "resources/manifest.tsv").read_text().splitlines()[0].split("\t")
        assert set(MANIFEST) <= set(header)
        values |= row
        fields = [values.get(column, "") for column in header]
        text = "\t".join(header) + "\n" + "\t".join(fields) + "\n"
        (self.pipeline / "resources/manifest.tsv").write_text(text)

    def command(self, *arguments: str) -> list[str]:
        command = [sys.executable, "-m", "snakemake", "-s", str(self.pipeline / "Snakefile")]
        command += ["--directory", str(self.run), "--configfile", str(self.config)]
        return [*command, "--cores", "1", *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake to its end."""
        return subprocess.run(
            self.command(*arguments), cwd=self.run, env=self.environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def right(self, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
        """Assert that the file is there, whole and recorded; return the record."""
        assert done.returncode == 0, done.stderr
        assert self.file.read_bytes() == BODY
        assert not self.part.exists()
        record: dict[str, Any] = json.loads(self.provenance.read_text())
        assert record["sha256"] == SHA
        return record


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Iterator[Site]:
    server = Server()
    yield Site(root, tmp_path, server)
    server.close()


def test_fetch_all_survives_a_bad_line_and_runs_once(site: Site) -> None:
    site.manifest(mirror_url=f"{site.server.url}?mirror", sha256=SHA)
    wrong = send(200, b"something else")
    site.server.answers = [send(500), cut(20_000), ranged]
    assert site.right(site("fetch_all"))["source"] == site.server.url
    assert site.server.requests[2][1]["range"] == "bytes=20000-"
    site.server.requests.clear()
    assert "Nothing to be done" in site("fetch_all").stderr
    assert not site.server.requests
    for path in (site.file, site.provenance):
        path.unlink()
    site.server.answers = [wrong, whole()]
    assert site.right(site("fetch_all"))["source"].endswith("?mirror")


def test_a_file_that_cannot_be_had_is_one_line(site: Site) -> None:
    site.manifest(mirror_url=f"{site.server.url}?mirror", sha256="0" * 64)
    site.server.answers = [send(404), whole()]
    done = site("fetch_all")
    assert done.returncode != 0
    line = last_line(site.log.read_text())
    assert "ERROR file.bin: cannot be fetched: " in line
    assert "HTTP 404" in line
    assert f"?mirror: wrong content, sha256 {SHA}, expected 000" in line
    assert "Traceback" not in site.log.read_text()
    assert [path.name for path in site.file.parent.iterdir()] == [".partial"]
    assert not site.part.exists()


def test_a_killed_download_is_resumed(site: Site) -> None:
    """SIGKILL to snakemake and its job, as by a node that goes down."""
    site.server.answers = [drip(pieces=1, pause=120, upto=20_000), ranged]
    running = subprocess.Popen(
        site.command("fetch_all"), cwd=site.run, env=site.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (site.part.exists() and site.part.stat().st_size == 20_000):
        assert running.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not site.file.exists()
    assert site("--unlock").returncode == 0
    site.right(site("fetch_all", "--rerun-incomplete"))
    assert len(site.server.requests) == 2
    assert site.server.requests[1][1]["range"] == "bytes=20000-"


@pytest.mark.parametrize("old", [True, False])
def test_offline_with_a_file_placed_by_hand_makes_no_request(site: Site, old: bool) -> None:
    site.server.answers = [whole()]
    site.manifest(sha256=SHA)
    site.file.parent.mkdir(parents=True)
    site.file.write_bytes(BODY)
    if old:  # older than the script of the rule: Snakemake wants to run the rule again
        os.utime(site.file, (1e9, 1e9))
    record = site.right(site("fetch_all", "--config", "offline=True"))
    assert (record["source"], record["checked_against"]) == ("placed by hand", ["sha256"])
    again = site("fetch_all", "--config", "offline=True")
    assert "Nothing to be done" in again.stderr
    assert not site.server.requests


def test_a_wrong_file_placed_by_hand_is_refused_and_left_alone(site: Site) -> None:
    site.server.answers = [whole()]
    site.manifest(sha256=SHA)
    site.file.parent.mkdir(parents=True)
    site.file.write_bytes(BODY[:-1])
    done = site("fetch_all", "--config", "offline=True")
    assert done.returncode != 0
    line = last_line(site.log.read_text())
    assert "the file that lies here is not file.bin 1: sha256 " in line
    assert site.file.read_bytes() == BODY[:-1]
    assert not site.provenance.exists()
    site.file.unlink()  # as the line says
    site.right(site("fetch_all"))


def test_a_new_release_replaces_the_old_one_and_a_new_address_does_not(site: Site) -> None:
    site.server.answers = [send(200, b"old"), whole()]
    assert site("fetch_all").returncode == 0
    site.manifest(url=f"{site.server.url}?moved")
    assert site("fetch_all").returncode == 0
    assert site.file.read_bytes() == b"old"
    assert len(site.server.requests) == 1
    site.manifest(url=f"{site.server.url}?moved", version="2")
    assert site.right(site("fetch_all"))["version"] == "2"


def test_what_came_from_where(site: Site) -> None:
    site.server.answers = [whole()]
    own = site.run / "own.bed"
    own.write_text("chr1\t1\t2\n")
    changes = yaml.safe_load(site.config.read_text())
    changes["genome"]["blacklist"] = str(own)
    changes["genome"]["gtf"] = str(own)
    for key in ("motifs", "datasets", "atlas"):
        changes.pop(key)
    changes["motifs"] = {"sources": [{"path": "jaspar:2026", "format": "pyjaspar"}]}
    changes["datasets"] = [{"task": "splicing", "name": "sites", "kind": "gtf"}]
    changes["atlas"] = {"cell_types": str(site.run / "cells.tsv")}
    (site.run / "cells.tsv").write_text(f"cell_type\tpeaks\tformat\nA\t{own}\tbed\n")
    changes["splits"]["held_out_cell_types"] = []
    site.config.write_text(yaml.safe_dump(changes))
    done = site("results/provenance.json")
    site.right(done)
    found = json.loads((site.run / "results/provenance.json").read_text())
    assert [(d["name"], d["sha256"], d["licence"]) for d in found["downloads"]] == [
        ("file.bin", SHA, "CC0")
    ]
    assert {Path(d["path"]).name for d in found["local_files"]} == {"own.bed", "cells.tsv"}
    assert found["stages"]["fetch"] >= 1
    assert len(found["config_hash"]) == 16


def test_checksums_of_downloads_are_recorded_on_request(site: Site) -> None:
    site.server.answers = [whole()]
    done = site("checksums")
    site.right(done)
    table = site.pipeline / "resources/checksums.tsv"
    assert f"file.bin\t1\t{len(BODY)}\t{SHA}" in table.read_text().splitlines()
