"""The pipeline as a `module:` of another workflow, from its path, with a prefix."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_tools import blocks

SNAKEFILE = """
configfile: "config.yaml"

module genebert:
    snakefile: "{root}/workflow/Snakefile"
    config: config["genebert"]
    prefix: "encoders"

use rule * from genebert as genebert_*

rule peaks:
    output: "made/B.bed"
    run:
        rows = [f"chr{{i}}\\t{{s}}\\t{{s + 300}}\\n" for i in (1, 2, 3) for s in (300, 900, 1500)]
        open(output[0], "w").write("".join(rows))

rule mine:
    input: "encoders/results/regions/regions.bed"
    output: "mine.txt"
    run:
        open(output[0], "w").write(open(input[0]).read())
"""


@pytest.fixture
def theirs(root: Path, tmp_path: Path) -> Path:
    """A workflow that makes peaks by a rule of its own and counts regions."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(root=root))
    (tmp_path / "genome.fa").write_text(
        "".join(f">chr{i}\n{'ACGTTGCA' * 250}\n" for i in (1, 2, 3))
    )
    (tmp_path / "cells.tsv").write_text(
        "cell_type\tpeaks\tformat\n" + "".join(f"{c}\tmade/B.bed\tbed\n" for c in ("B", "Mono"))
    )
    own = {
        "genome": {"source": "files", "name": "mine", "fasta": str(tmp_path / "genome.fa")},
        "atlas": {"cell_types": str(tmp_path / "cells.tsv")},
        "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": ["Mono"]},
        "motifs": {"sources": [{"path": "jaspar:2024:vertebrates", "format": "pyjaspar"}]},
        "datasets": [{"task": "accessibility", "name": "atlas", "kind": "regions"}],
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"genebert": own}))
    return tmp_path


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_everything_is_planned_below_the_prefix(theirs: Path) -> None:
    (theirs / "made").mkdir()
    (theirs / "made/B.bed").write_text("chr1\t1\t2\n")
    done = snakemake(theirs, "-n", "genebert_all")
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert "genebert_pretrain " in text
    for name in ("encoders/results/accessibility.tsv", "encoders/results/metrics.tsv"):
        assert name in text
    assert " results/" not in text


def test_a_stage_runs_between_rules_of_theirs(theirs: Path, root: Path) -> None:
    table = (theirs / "cells.tsv").read_text()
    (theirs / "cells.tsv").write_text(table.replace("made/", f"{theirs}/made/"))
    snakefile = (theirs / "Snakefile").read_text()
    (theirs / "Snakefile").write_text(snakefile.replace('"made/B.bed"', f'"{theirs}/made/B.bed"'))
    done = snakemake(theirs, "mine")
    assert done.returncode == 0, done.stdout + done.stderr
    regions = (theirs / "mine.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in regions] == sorted(
        line.split("\t")[0] for line in regions
    )
    assert len(regions) == 9
    assert {path.name for path in theirs.iterdir()} >= {"encoders", "made", "mine.txt"}
    assert not (theirs / "results").exists()
    assert not (theirs / "logs").exists()
    assert (theirs / "encoders/logs/regions.log").exists()


def test_nothing_of_a_download_lies_outside_the_prefix(theirs: Path, root: Path) -> None:
    (theirs / "other.bed").write_text("chr1\t1\t2\n")
    head = (root / "resources/manifest.tsv").read_text().split("\n")[0].split("\t")
    row = {"name": "other.bed", "version": "1", "url": str(theirs / "other.bed"), "licence": "CC0"}
    lines = ("\t".join(head), "\t".join(row.get(column, "") for column in head))
    (theirs / "manifest.tsv").write_text("\n".join(lines) + "\n")
    config = yaml.safe_load((theirs / "config.yaml").read_text())
    config["genebert"]["manifest"] = str(theirs / "manifest.tsv")
    (theirs / "config.yaml").write_text(yaml.safe_dump(config))
    before = {path.name for path in theirs.iterdir()}
    done = snakemake(theirs, "encoders/resources/downloads/other.bed")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in theirs.iterdir()} - before == {"encoders", ".snakemake"}


def test_a_mistake_in_their_configuration_is_one_line(theirs: Path) -> None:
    path = theirs / "config.yaml"
    path.write_text(path.read_text().replace("held_out_cell_types", "held_out_cells"))
    done = snakemake(theirs, "-n", "mine")
    assert done.returncode != 0
    assert "unknown key 'splits.held_out_cells'; did you mean 'held_out_cell_types'?" in done.stderr


def test_the_page_shows_a_module_of_this_form(root: Path) -> None:
    (text,) = blocks(root / "docs/module.md", "text", "Snakefile of your workflow")
    for line in (
        '"genebert/workflow/Snakefile"',
        'config["genebert"]',
        "use rule * from genebert as genebert_*",
    ):
        assert line in text  # fmt: skip


def test_the_catalog_finds_what_it_wants(root: Path) -> None:
    usage = yaml.safe_load((root / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    for name in ("workflow/Snakefile", "config/README.md", "README.md", "LICENSE"):
        assert (root / name).exists()
    for text in (usage["mandatory-flags"]["desc"], (root / "docs/module.md").read_text()):
        assert "submodule" in text
        assert "`github(...)`" in text or "github(...), which snakedeploy writes, cannot" in text
