"""docs/tutorial.md, word by word, in a fresh copy of the repository."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_tools import blocks, copy_repository

pytestmark = pytest.mark.tutorial
TABLE = "runs/tutorial/results/accessibility.tsv"


def typed(text: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a block as somebody types it in a folder, with the installed programs on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, timeout=900, check=False,
        env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(root: Path) -> Path:
    return root / "docs/tutorial.md"


@pytest.fixture(scope="module")
def clone(
    root: Path, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Return the folder in which every block was typed, and what each printed."""
    folder = copy_repository(root, tmp_path_factory.mktemp("tutorial") / "genebert")
    said = []
    for text in blocks(page, "bash"):
        done = typed(text, folder)
        assert done.returncode == 0, text + done.stdout[-3000:] + done.stderr[-3000:]
        said.append(done.stdout + done.stderr)
    return folder, said


def shape(text: str) -> str:
    """Return a text in which every number is 0: they differ from machine to machine."""
    return re.sub(r"\s+", " ", re.sub(r"\d+(?:[.,]\d+)*", "0", text)).strip()


def test_the_check_says_what_the_page_shows(clone: tuple[Path, list[str]], page: Path) -> None:
    _, said = clone
    printed = next(text for text in said if "to look at, 0 wrong" in text)
    (shown,) = [text for text in blocks(page, "text") if text.startswith("ok ")]
    for line in shown.splitlines():
        assert line in printed  # peaks are the same to the last one everywhere


def test_the_table_has_the_rows_that_the_page_shows(
    clone: tuple[Path, list[str]], page: Path
) -> None:
    folder, said = clone
    (shown,) = [text for text in blocks(page, "text") if text.startswith("dataset")]
    assert shape(said[-1]) == shape(shown)
    for printed, line in zip(said[-1].splitlines()[1:], shown.splitlines()[1:], strict=True):
        numbers = ([float(x) for x in row.split()[2:]] for row in (printed, line))
        assert next(numbers) == pytest.approx(next(numbers), abs=0.1), line
    with (folder / TABLE).open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert all("few_seeds" in row["flags"] for row in rows if row["model"] == "genebert")
    assert {row["dataset"] for row in rows} == {"atlas"}


def test_the_last_lines_name_the_table_and_the_report(clone: tuple[Path, list[str]]) -> None:
    _, said = clone
    end = said[-2].partition("Finished: ")[2]
    assert "jobs in" in end
    assert "\nCost: " in end
    assert "\nTables: results/accessibility.tsv\n" in end
    assert "\nReport: snakemake --report report.html --configfile runs/tutorial/mine.yaml" in end


def test_the_mistake_that_the_page_proposes(clone: tuple[Path, list[str]]) -> None:
    folder, _ = clone
    config = folder / "runs/tutorial/mine.yaml"
    text = config.read_text()
    config.write_text(text.replace("[NK]", "[nk]"))
    done = typed(
        "snakemake --configfile runs/tutorial/mine.yaml --directory runs/tutorial check", folder
    )
    config.write_text(text)
    assert done.returncode != 0
    assert "did you mean 'NK'?" in done.stdout + done.stderr


def test_every_file_that_the_page_names_is_there(root: Path, page: Path) -> None:
    for name in re.findall(r"`((?:config|docs)/[\w./-]+)`", page.read_text()):
        assert (root / name).exists(), name


@pytest.mark.realdata
def test_the_same_with_real_peaks(root: Path, page: Path, realdata: Path, tmp_path: Path) -> None:
    """What is special of them: paths with a variable, gzipped, intervals as splits."""
    folder = copy_repository(root, tmp_path / "genebert")
    (text,) = blocks(page, "bash", "real data")
    text = text.replace(
        " results/accessibility.tsv", " results/regions/regions.bed"
    )  # the quick part
    done = typed(text, folder, GENEBERT_REALDATA=str(realdata))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "0 wrong" in done.stdout
    assert (folder / "runs/blood/results/regions/regions.bed").read_text().count("\n") > 500


@pytest.fixture(scope="module")
def results(clone: tuple[Path, list[str]]) -> Path:
    """What the tutorial has made: real outputs of every kind, for the tools of the field to open."""
    return clone[0] / "runs/tutorial/results"


def test_matrices_open_as_anndata_does_and_slice_as_scanpy_wants(results: Path) -> None:
    import anndata
    import numpy as np

    motifs = anndata.read_h5ad(results / "motifs/matrix.h5ad", backed="r")
    accessibility = anndata.read_h5ad(results / "regions/accessibility.h5ad", backed="r")
    assert motifs.n_obs == accessibility.n_vars
    assert list(motifs.obs_names) == list(accessibility.var_names)  # chr1:100-600
    for names in (motifs.obs_names, motifs.var_names, accessibility.obs_names):
        assert names.is_unique
        assert all(isinstance(name, str) for name in names)
    assert set(motifs.layers) >= {"count", "best", "sum"}
    train = motifs[np.flatnonzero(motifs.obs["split"] == "train")[:20]].to_memory()
    assert train.shape == (20, motifs.n_vars)
    assert (train.layers["count"].toarray() >= 0).all()
    some = accessibility.to_memory()
    assert some.X.dtype == np.float32
    assert list(some.obs_names) == ["HSC", "Mono", "B", "NK"]
    assert some.obs["held_out"].tolist() == [False, False, False, True]
    assert (some.X.getnnz(axis=1) == some.obs["n_open"]).all()
    for backed in (motifs, accessibility):
        backed.file.close()


def test_regions_and_genome_open_in_htslib_and_bedtools(results: Path, tmp_path: Path) -> None:
    import pandas as pd
    import pybedtools
    import pysam

    bed = results / "regions/regions.bed"
    table = pd.read_csv(bed, sep="\t", header=None, names=["contig", "start", "end", "region"])
    assert (table["region"] == range(len(table))).all()
    assert (table["end"] - table["start"] == 500).all()
    copy = tmp_path / "regions.bed"
    copy.write_bytes(bed.read_bytes())
    packed = pysam.tabix_index(str(copy), preset="bed")  # fails if it is not sorted
    with pysam.TabixFile(packed) as tabix:
        first = table.iloc[0]
        (line,) = tabix.fetch(first["contig"], int(first["start"]), int(first["start"]) + 1)
        assert line.split("\t")[:3] == [first["contig"], str(first["start"]), str(first["end"])]
        assert tabix.contigs == ["chr1", "chr2", "chr3"]
    peaks = pybedtools.BedTool(str(results.parent / "B.narrowPeak"))
    assert 0 < pybedtools.BedTool(str(bed)).intersect(peaks, u=True).count() <= len(table)
    with pysam.FastaFile(str(results / "reference/genome.fa.gz")) as genome:
        assert list(genome.references) == ["chr1", "chr2", "chr3"]
        assert len(genome.fetch("chr1", int(first["start"]), int(first["end"]))) == 500


def test_motifs_open_in_biopython_and_come_back_the_same(results: Path, tmp_path: Path) -> None:
    import numpy as np
    from Bio import motifs as bio

    from genebert.motif_files import read_motifs, write_meme

    path = results / "motifs/motifs.meme"
    ours = read_motifs(path, "meme")
    with path.open() as handle:
        theirs = bio.parse(handle, "minimal")
    assert [motif.name.split()[0] for motif in theirs] == [motif.name for motif in ours]
    assert [motif.length for motif in theirs] == [motif.width for motif in ours]
    write_meme(tmp_path / "again.meme", ours)
    for one, other in zip(ours, read_motifs(tmp_path / "again.meme", "meme"), strict=True):
        assert one.name == other.name
        assert np.array_equal(one.probabilities, other.probabilities)


def test_tables_weights_and_datasets_open_in_pandas_and_safetensors(results: Path) -> None:
    import json

    import pandas as pd
    import pyarrow.parquet
    from safetensors import safe_open

    for path in [results / "accessibility.tsv", results / "regions/qc.tsv", results / "regions/regions.tsv"]:  # fmt: skip
        assert len(pd.read_csv(path, sep="\t")) > 3
    items = pd.read_parquet(results / "tasks/accessibility/atlas/dataset.parquet")
    assert {"contig", "start", "end", "label", "split", "cell_type"} <= set(items)
    scores = pd.read_parquet(results / "tasks/accessibility/atlas/genebert/predictions.parquet")
    assert len(scores)
    assert pyarrow.parquet.read_schema(results / "tasks/accessibility/atlas/dataset.parquet").names == list(items)  # fmt: skip
    weights = results / "pretrain/full/seed-1"
    with safe_open(weights / "model.safetensors", "np") as file:
        names = list(file.keys())
        assert all(file.get_tensor(name).size for name in names)
    assert json.loads((weights / "config.json").read_text())
    metrics = pd.read_json(weights / "metrics.jsonl", lines=True)
    assert len(metrics) > 1
