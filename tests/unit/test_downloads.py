"""What a run downloads: resources, files that listings name, the manifest of their addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from genebert import downloads
from genebert.errors import InputError
from genebert.fetch import fetch


def test_files_of_a_dataset_are_used(config):
    row = {"task": "promoter", "name": "gue", "kind": "sequences", "path": "train.csv"}
    config["datasets"].append(row | {"test": "resource:test.csv"})
    assert {"train.csv", "resources/downloads/test.csv"} <= set(downloads.files_used(config))
    assert downloads.resources_used(config) == ["resources/downloads/test.csv"]


def test_files_that_listings_name_are_downloads_too(config, tmp_path):
    config["genome"] = {"source": "files", "fasta": "resource:hg38.fa.gz", "gtf": "mine.gtf"}
    config["resources_dir"] = str(tmp_path)
    config["atlas"] |= {"cell_types": "listing:catlas", "chain": "resource:x.chain"}
    config["splits"]["held_out_cell_types"] = []
    config["motifs"]["sources"] = [{"path": "jaspar:2024", "format": "pyjaspar"}]
    config["datasets"] = [{"task": "splicing", "name": "sites", "kind": "gtf"}]
    assert downloads.listings_used(config) == ["catlas"]
    with pytest.raises(InputError, match="no such table"):
        downloads.resources_used(config)
    (tmp_path / "catlas.table.tsv").write_text(
        "cell_type\tpeaks\tformat\nB\tresource:catlas/B.bed\tbed\nT\tmine/T.bed\tbed\n"
    )
    wanted = ["catlas/B.bed", "hg38.fa.gz", "mine/T.bed", "x.chain"]
    assert downloads.resources_used(config) == [str(tmp_path / name) for name in wanted]
    assert downloads.local_files(config) == [str(tmp_path / "catlas.table.tsv"), "mine.gtf"]


def test_simulated_files_are_not_local_files(config):
    assert downloads.local_files(config) == []
    assert downloads.resources_used(config) == []


def test_files_of_the_user_must_be_there_whatever_was_made_of_them(config, tmp_path):
    downloads.check_local_files(config)  # simulated: none
    (tmp_path / "genome.fa").touch()
    config["genome"] = {"source": "files", "fasta": str(tmp_path / "genom.fa")}
    config["splits"]["held_out_cell_types"] = []
    config["datasets"] = []
    (tmp_path / "cells.tsv").write_text("cell_type\tpeaks\tformat\nB\tgenome.fa\tbed\n")
    config["atlas"]["cell_types"] = str(tmp_path / "cells.tsv")
    config["motifs"]["sources"] = [{"path": "jaspar:2024", "format": "pyjaspar"}]
    with pytest.raises(InputError, match="genom.fa: no such file; did you mean 'genome.fa'"):
        downloads.check_local_files(config)
    config["genome"]["fasta"] = str(tmp_path / "genome.fa")
    downloads.check_local_files(config)
    config["atlas"]["cell_types"] = "listing:catlas"  # the run may be what makes it
    config["genome"]["gtf"] = "resource:genes.gtf.gz"
    downloads.check_local_files(config)


def test_own_manifest_replaces_rows(tmp_path):
    header = "\t".join(downloads.MANIFEST) + "\n"
    shipped, own = tmp_path / "manifest.tsv", tmp_path / "own.tsv"
    shipped.write_text(
        header + "a\t1\thttp://one" + "\t" * 6 + "\nb\t1\thttp://two" + "\t" * 6 + "\n"
    )
    own.write_text(header + "b\t2\t/mirror/b" + "\t" * 6 + "\n")
    rows = downloads.manifest_rows({"manifest": str(own)}, shipped)
    assert [(row["name"], row["url"]) for row in rows] == [("a", "http://one"), ("b", "/mirror/b")]
    own.write_text(own.read_text() * 1 + "b\t3\t/mirror/c" + "\t" * 6 + "\n")
    with pytest.raises(InputError, match="line 3: row repeats line 2"):
        downloads.manifest_rows({"manifest": str(own)}, shipped)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    ("url", "mirror"),
    [
        ("copies/b.bed", ""),
        ("./copies/b.bed", ""),
        ("$COPIES/b.bed", ""),
        ("none.bed", "${COPIES}/b.bed"),
        ("none.bed", "$ABSOLUTE/b.bed"),
        ("copies/$$5.bed", ""),
    ],
)
def test_paths_of_an_own_manifest_start_at_it(tmp_path, monkeypatch, url, mirror, absolute):
    """The plan and the job run in the working directory, the table and its files lie below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPIES", "copies")
    monkeypatch.setenv("ABSOLUTE", str(tmp_path / "sub/copies"))
    folder = tmp_path / "sub/copies"
    folder.mkdir(parents=True)
    for name in ("b.bed", "$5.bed"):
        (folder / name).write_text("chr1\t1\t5\n")
    own = tmp_path / "sub/own.tsv" if absolute else Path("sub/own.tsv")
    own.write_text("\t".join(downloads.MANIFEST) + f"\nb\t1\t{url}\t{mirror}" + "\t" * 5 + "\n")
    (tmp_path / "manifest.tsv").write_text("\t".join(downloads.MANIFEST) + "\na" + "\t" * 8 + "\n")
    rows = downloads.manifest_rows({"manifest": str(own)}, tmp_path / "manifest.tsv")
    (row,) = [row for row in rows if row["name"] == "b"]
    monkeypatch.delenv("COPIES")  # a job on another node may not have it
    fetch(
        file="b", provenance="b.json", row=row, checksums="none.tsv", part_directory="parts", retries=0
    )  # fmt: skip
    assert Path("b").read_text() == "chr1\t1\t5\n"


def test_addresses_of_an_own_manifest_stay_as_they_are(tmp_path):
    own = tmp_path / "own.tsv"
    table = "\t".join(downloads.MANIFEST) + "\nb\t1\t{}" + "\t" * 6 + "\n"
    own.write_text(table.format("https://example.org/$NONE/b"))
    (row,) = downloads.manifest_rows({"manifest": str(own)}, own)
    assert row["url"] == "https://example.org/$NONE/b"
    own.write_text(table.format("$NONE/b"))
    with pytest.raises(InputError, match="own.tsv, line 2: environment variable 'NONE' is not set"):
        downloads.manifest_rows({"manifest": str(own)}, own)


def test_every_source_of_the_shipped_manifest_says_what_a_user_needs(root):
    rows = downloads.manifest_rows({}, root / "resources/manifest.tsv")
    assert len(rows) > 30
    for row in rows:
        assert row["version"], row["name"]
        assert row["licence"], row["name"]
        assert row["used_by"], row["name"]
        assert row["url"].startswith(("https://", "http://")), row["name"]
        assert not row["mirror_url"] or row["mirror_url"].startswith(("https://", "http://"))
        assert row["url"] != row["mirror_url"], row["name"]
