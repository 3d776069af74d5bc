"""What people mistype, and the last line that they get; the last lines of runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_tools import last_line


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A configuration of a user's own: a genome, two peak files, JASPAR."""
    (tmp_path / "genome.fa").write_text("".join(f">chr{i}\n{'ACGT' * 6000}\n" for i in (1, 2, 3)))
    starts = range(1200, 22_000, 700)  # enough for the neighbours of a row
    rows = "".join(f"chr{i}\t{start}\t{start + 300}\n" for i in (1, 2, 3) for start in starts)
    for cell in ("B", "Mono"):
        (tmp_path / f"{cell}.bed").write_text(rows)
    (tmp_path / "cells.tsv").write_text(
        "cell_type\tpeaks\tformat\nB\tB.bed\tbed\nMono\tMono.bed\tbed\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "genome": {"source": "files", "name": "mine", "fasta": "genome.fa"},
                "atlas": {"cell_types": "cells.tsv"},
                "splits": {
                    "train": ["chr1"], "valid": ["chr2"], "test": ["chr3"],
                    "held_out_cell_types": ["Mono"],
                },
                "motifs": {"sources": [{"path": "jaspar:2024:vertebrates", "format": "pyjaspar"}]},
                "datasets": [{"task": "accessibility", "name": "atlas", "kind": "regions"}],
            }
        )
    )  # fmt: skip
    return path


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line: the last of stderr, or of stdout, to which plans are written."""
    assert done.returncode != 0
    lines = [last_line(text) for text in (done.stderr, done.stdout) if text.strip()]
    (line,) = [line for line in lines if line.startswith("error: ")]
    return line


def change(path: Path, block: str, **values: object) -> None:
    document = yaml.safe_load(path.read_text())
    if block:
        document[block] |= values
    else:
        document |= values
    path.write_text(yaml.safe_dump(document))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("results/promotor.tsv", "did you mean 'results/promoter.tsv'?"),
        ("chek", "did you mean 'check'?"),
        ("results/tasks/promoter/epdd/table.tsv", "no such dataset; did you mean 'promoter/epd'?"),
    ],
)
def test_mistyped_targets(snakemake, target, text):
    done = snakemake("-n", "--", target)
    assert text in complaint(done)


MISTAKES = {
    "key": (lambda p: change(p, "", effrt={}), "unknown key 'effrt'; did you mean 'effort'?"),
    "kind": (
        lambda p: change(p, "", datasets=[{"task": "tfbs", "name": "a", "kind": "narowpeak"}]),
        "did you mean 'narrowpeak'?",
    ),
    "genome": (lambda p: change(p, "genome", fasta="genom.fa"), "did you mean 'genome.fa'?"),
    "table": (lambda p: change(p, "atlas", cell_types="cell.tsv"), "did you mean 'cells.tsv'?"),
    "cell type": (
        lambda p: change(p, "splits", held_out_cell_types=["mono"]),
        "did you mean 'Mono'?",
    ),
    "separator": (
        lambda p: edit(p.parent / "cells.tsv", "\t", ","),
        "columns must be separated by tabs, not by commas",
    ),
    "peaks": (lambda p: edit(p.parent / "cells.tsv", "B.bed", "b.bd"), "did you mean 'B.bed'?"),
    "motifs": (
        lambda p: change(p, "", motifs={"sources": [{"path": "results/simulated/motifs.meme", "format": "meme"}]}),
        "still names the simulated genome",
    ),
    "twice": (
        lambda p: p.write_text(p.read_text() + "splits: {train: [chr1]}\n"),
        "key 'splits' stands twice in one block",
    ),
    "offline": (lambda p: change(p, "", offline="maybe"), "key offline has a wrong value"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_while_planning(snakemake, own, mistake):
    spoil, text = MISTAKES[mistake]
    spoil(own)
    done = snakemake("-n", "--configfile", own, "--", "results/accessibility.tsv")
    assert text in complaint(done)
    assert "Traceback" not in done.stderr + done.stdout


def test_what_snakemake_says_by_itself_names_the_file(snakemake, tmp_path, root):
    """Read before the Snakefile is: no hook, but the last line tells."""
    done = snakemake("-n", "--configfile", "nope.yaml")
    assert "No such file or directory: 'nope.yaml'" in last_line(done.stderr + done.stdout)
    (tmp_path / "tab.yaml").write_text("genome:\n\tname: a\n")
    done = snakemake("-n", "--configfile", tmp_path / "tab.yaml")
    assert "not valid JSON or YAML" in last_line(done.stderr + done.stdout)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n"], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert "No Snakefile found" in last_line(done.stderr + done.stdout)


def test_a_file_mistyped_in_a_later_run_is_told_although_its_results_are_there(snakemake, own):
    reference = "results/reference/genome.fa.gz"
    assert snakemake("--cores", "1", "--configfile", own, "--", reference).returncode == 0
    change(own, "genome", fasta="genom.fa")
    done = snakemake("--cores", "1", "--configfile", own, "--", "results/regions/regions.bed")
    assert "genom.fa: no such file; did you mean 'genome.fa'?" in complaint(done)


def test_check_says_all_that_is_wrong_and_a_run_ends_with_the_log(snakemake, own, tmp_path):
    edit(tmp_path / "B.bed", "chr", "")
    edit(tmp_path / "Mono.bed", "chr3\t1200\t1500", "chr3\t1200\t150000")
    done = snakemake("--cores", "1", "--configfile", own, "--", "check")
    assert done.returncode != 0
    assert "ok    genome    genome.fa: 3 contigs" in done.stdout
    assert "error peaks     B: B.bed, line 1: no contig is in the genome; did you mean" in (
        done.stdout.replace(f"{tmp_path}/", "")
    )
    assert "peak ends beyond chr3; other assembly?; found 150000" in done.stdout
    assert "this run would fail: " in done.stderr
    assert not (tmp_path / "results").exists()

    done = snakemake("--cores", "1", "--configfile", own, "--", "results/regions/regions.bed")
    end = done.stderr.partition("Failed: regions, log logs/regions.log")[2].splitlines()
    assert "ERROR" in end[1]
    assert "did you mean 'chr1'?" in end[1]
    assert end[2].startswith("When it is mended, go on where it stopped: snakemake --snakefile ")
    assert end[2].endswith(" -- results/regions/regions.bed")


def test_check_of_good_files_and_the_last_lines_of_a_run(snakemake, own):
    done = snakemake("--cores", "1", "--configfile", own, "--", "check", "results/regions/regions.bed")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ", 0 wrong (" in done.stdout
    assert "Finished: 3 jobs in " in done.stderr
    assert "most memory: " in done.stderr
