"""From a provider's listing to regions: online from nothing, then offline, with a provider of ours.

The provider is a web server of this machine whose directory holds a few BED files with names as
odd as those of real cell types; its index page is the one that Python's own server writes.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import random
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert.downloads import MANIFEST
from workflow_tools import last_line

CELLS = ["Alpha", "T cell (CD8+)", "Islet cell, 10%", "Beta & Gamma"]
NAMES = ["Alpha", "Beta_Gamma", "Islet_cell_10", "T_cell_CD8pos"]
CONTIGS = ["chr1", "chr2", "chr3"]
REGIONS = "results/regions/regions.bed"


class Provider:
    """A directory on the web, and what was asked of it."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[str] = []
        provider = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests.append(self.path)
                super().do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        handler = functools.partial(Handler, directory=str(directory))
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/beds/"


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """Serve four BED files and what else lies in such a directory."""
    beds = tmp_path / "web" / "beds"
    beds.mkdir(parents=True)
    for number, cell in enumerate(CELLS):
        lines = [
            f"{contig}\t{start}\t{start + 400}\tcCRE{number}\t.\t.\n"
            for contig in CONTIGS
            for start in range(2000 + 200 * number, 18_000, 3000)
        ]
        (beds / f"{cell}.bed").write_text("".join(lines))
    (beds / "README.txt").write_text("not a peak file\n")
    server = Provider(tmp_path / "web")
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def config(tmp_path: Path, provider: Provider) -> Path:
    """A genome on disk, an atlas at the provider."""
    draw = random.Random(1)
    with (tmp_path / "genome.fa").open("w") as handle:
        for contig in CONTIGS:
            handle.write(f">{contig}\n{''.join(draw.choices('ACGT', k=20_000))}\n")
    (tmp_path / "promoters.bed").write_text("chr1\t10\t20\tp\t1\t+\t15\t20\n")
    row = dict.fromkeys(MANIFEST, "") | {
        "name": "catlas_cCRE_by_cell_type.html", "version": "test", "url": provider.url
    }  # fmt: skip
    with (tmp_path / "manifest.tsv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, MANIFEST, delimiter="\t")
        writer.writeheader()
        writer.writerow(row)
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "manifest": "manifest.tsv",
                "genome": {"source": "files", "fasta": "genome.fa", "gtf": "", "blacklist": ""},
                "atlas": {"cell_types": "listing:catlas"},
                "splits": {
                    "train": ["chr1"], "valid": ["chr2"], "test": ["chr3"],
                    "held_out_cell_types": [], "held_out_share": 0.25,
                },
                "motifs": {"sources": [{"path": "jaspar:2024", "format": "pyjaspar"}]},
                "datasets": [
                    {"task": "promoter", "name": "p", "kind": "epdnew", "path": "promoters.bed"}
                ],
            }
        )
    )  # fmt: skip
    return path


def jobs(done: Any) -> dict[str, int]:
    """Return rule -> number of jobs of the (last) table of a plan or run."""
    text = (done.stdout + done.stderr).rpartition("Job stats:")[2].partition("total ")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def test_from_a_listing_to_regions(snakemake, config, provider, tmp_path):
    # planned before there is a table, without a request
    done = snakemake("-n", "--configfile", config, "--", REGIONS)
    assert done.returncode == 0, done.stderr
    assert jobs(done) == {"download": 1, "listing_table": 1, "reference": 1, "regions": 1}
    assert provider.requests == []

    # one command from nothing: listing, table, files, regions
    done = snakemake("--cores", "2", "--configfile", config, "--", REGIONS)
    assert done.returncode == 0, done.stderr
    downloads = tmp_path / "resources/downloads"
    with (downloads / "catlas.table.tsv").open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["cell_type"] for row in rows] == NAMES
    assert sorted(row["label"] for row in rows) == sorted(CELLS)
    for row in rows:
        file = downloads / "catlas" / f"{row['cell_type']}.bed"
        assert file.read_bytes() == (tmp_path / "web/beds" / f"{row['label']}.bed").read_bytes()
    assert (tmp_path / REGIONS).read_text().count("\n") > 10
    assert len(provider.requests) == 1 + len(CELLS)
    with (tmp_path / "results/regions/qc.tsv").open() as handle:
        assert {line.split("\t")[0] for line in handle} >= set(NAMES)

    # with the table there the files are planned as any others: nothing is left to do
    done = snakemake("-n", "--configfile", config, "--", REGIONS)
    assert "Nothing to be done" in done.stdout + done.stderr
    shutil.rmtree(tmp_path / "results/regions")
    (downloads / "catlas" / "Alpha.bed").unlink()
    done = snakemake("-n", "--configfile", config, "--", REGIONS)
    assert jobs(done) == {"download_listed": 1, "regions": 1}
    assert "/catlas/Alpha.bed" in done.stdout + done.stderr


def test_fetch_all_then_offline(snakemake, config, provider, tmp_path):
    done = snakemake("--cores", "2", "--configfile", config, "--", "fetch_all")
    assert done.returncode == 0, done.stderr
    downloads = tmp_path / "resources/downloads"
    assert sorted(path.stem for path in (downloads / "catlas").glob("*.bed")) == NAMES
    asked = len(provider.requests)
    assert asked == 1 + len(CELLS)

    # offline is no reason to bring anything again
    offline = ("--cores", "2", "--configfile", config, "--config", "offline=true", "--")
    done = snakemake(*offline, "fetch_all", REGIONS, "results/provenance.json")
    assert done.returncode == 0, done.stderr
    assert jobs(done) == {"provenance": 1, "reference": 1, "regions": 1}
    found = json.loads((tmp_path / "results/provenance.json").read_text())
    text = json.dumps(found)
    for name in ("Alpha.bed", "T_cell_CD8pos.bed", "catlas.table.tsv", "genome.fa"):
        assert name in text
    assert len(provider.requests) == asked

    # the same where the files were placed by hand: no records, no listing, another directory
    for path in [*downloads.rglob("*.json"), downloads / "catlas_cCRE_by_cell_type.html"]:
        path.unlink()
    shutil.rmtree(downloads / ".partial", ignore_errors=True)
    shutil.rmtree(tmp_path / ".snakemake")
    shutil.rmtree(tmp_path / "results")
    done = snakemake(*offline, "fetch_all", REGIONS)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / REGIONS).exists()
    assert (downloads / "catlas" / "Alpha.bed").exists()
    assert len(provider.requests) == asked


def test_offline_without_the_listing_says_so(snakemake, config, provider, tmp_path):
    done = snakemake(
        "--cores", "1", "--configfile", config, "--config", "offline=true", "--", "atlas_table"
    )
    assert done.returncode != 0
    log = tmp_path / "logs/download/catlas_cCRE_by_cell_type.html.log"
    assert "offline" in last_line(log.read_text())
    assert provider.requests == []


def test_atlas_table_alone(snakemake, config, provider, tmp_path):
    done = snakemake("--cores", "1", "--configfile", config, "--", "atlas_table")
    assert done.returncode == 0, done.stderr
    assert provider.requests == ["/beds/"]
    assert (tmp_path / "resources/downloads/catlas.table.tsv").exists()


def test_a_page_that_is_no_index_is_one_line(snakemake, config, provider, tmp_path):
    shutil.rmtree(tmp_path / "web/beds")
    (tmp_path / "web/beds").mkdir()
    (tmp_path / "web/beds/index.html").write_text("<html>moved</html>\n")
    done = snakemake("--cores", "1", "--configfile", config, "--", REGIONS)
    assert done.returncode != 0
    assert "links to no file" in last_line((tmp_path / "logs/atlas/catlas.log").read_text())
    assert not (tmp_path / "resources/downloads/catlas.table.tsv").exists()


def test_descartes_is_converted_first(snakemake, config, tmp_path):
    """Peaks named by a table of the form of File_S4, on the way to the same regions."""
    lines = ["feature\tcell_type\tzscore_filtered\n"]
    for number, cell in enumerate(CELLS):
        for contig in CONTIGS:
            for start in range(2000 + 200 * number, 18_000, 3000):
                lines.append(f"{contig}_{start}_{start + 400}\t{cell}\tFALSE\n")
    (tmp_path / "s4.txt.gz").write_bytes(gzip.compress("".join(lines).encode()))
    changed = yaml.safe_load(config.read_text())
    changed["atlas"] = {"format": "descartes", "cell_types": "s4.txt.gz"}
    config.write_text(yaml.safe_dump(changed))
    done = snakemake("--cores", "1", "--configfile", config, "--", REGIONS)
    assert done.returncode == 0, done.stderr
    assert jobs(done) == {"atlas_peaks": 1, "reference": 1, "regions": 1}
    assert (tmp_path / REGIONS).read_text().count("\n") > 10
    assert (tmp_path / "results/atlas/cell_types.tsv").exists()
