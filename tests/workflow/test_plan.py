"""Plans: every shipped configuration and profile, and one line for what cannot be planned."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from genebert.config import check_config
from genebert.listings import ATLAS, CHIP
from workflow_tools import last_line

TABLES = [f"results/{t}.tsv" for t in ("promoter", "tfbs", "disease", "splicing", "ablation")]


def test_default_plan(snakemake):
    started = time.monotonic()
    done = snakemake("-n", "--quiet", "rules")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    full = snakemake("-n")
    for table in TABLES:
        assert table in full.stdout + full.stderr
    assert "results/accessibility.tsv" not in full.stdout + full.stderr  # no such dataset
    assert seconds < 30  # the promise of 5 s is measured by tests/benchmarks/workflow.py


def test_smoke_run_is_at_most_about_120_jobs(snakemake):
    done = snakemake("-n")
    total = next(
        line for line in (done.stdout + done.stderr).splitlines() if line.startswith("total")
    )
    assert int(total.split()[1]) <= 120


def test_five_hundred_jobs_are_planned_soon(snakemake, tmp_path):
    (tmp_path / "many.yaml").write_text('{"motifs": {"chunks": 420}}')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = snakemake("-n", "--configfile", tmp_path / "many.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert planned(done)["total"] >= 500
    # time of the processor, on a busy machine; tests/benchmarks/workflow.py holds it to 5 seconds
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


def test_one_task_plans_without_the_others(snakemake):
    done = snakemake("-n", "results/promoter.tsv")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "results/tasks/promoter/epd" in text
    assert "results/tasks/splicing" not in text


def test_real_configuration_plans_without_the_simulated_genome(snakemake, root, realdata):
    done = snakemake(
        "-n", "--configfile", root / "config/hg19_test.yaml", GENEBERT_REALDATA=str(realdata)
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "simulated" not in text
    assert "rule simulate" not in text


def test_ready_made_sequences_plan_with_all_their_files(snakemake, root, tmp_path):
    row = {"task": "promoter", "name": "gue", "kind": "sequences", "path": "train.csv"}
    changes = {"datasets": [{**row, "valid": "dev.csv", "test": "test.csv"}]}
    plan = ("-n", "--configfile", override(tmp_path, root, changes), "--", "results/promoter.tsv")
    done = snakemake(*plan)
    assert done.returncode != 0
    for name in ("train.csv", "dev.csv", "test.csv"):
        assert name in done.stdout + done.stderr
        (tmp_path / name).touch()
    done = snakemake(*plan)
    assert done.returncode == 0, done.stdout + done.stderr
    assert planned(done)["dataset"] == 1


def test_study_plans_with_all_its_variants(snakemake, root):
    done = snakemake("-n", "--configfile", root / "config/study.yaml")
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "results/pretrain/no_accessibility/seed-3/model.safetensors" in text
    assert "results/accessibility.tsv" in text
    assert "results/tasks/accessibility/atlas/mean-breadth/predictions.parquet" in text
    assert "results/tasks/tfbs/chip/genebert/attributions.parquet" in text


def planned(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return rule -> number of jobs of a plan."""
    text = (done.stdout + done.stderr).rpartition("Job stats:")[2]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


# datasets, downloads that the configuration names itself (the listing pages too), listings
ATLASES = {"catlas": (10, 9, 1), "descartes": (5, 7, 0), "encode_hg19": (8, 8, 2)}


@pytest.mark.parametrize("name", ATLASES)
def test_atlas_plans_offline_from_a_fresh_clone(snakemake, root, name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = snakemake("-n", "--configfile", root / f"config/{name}.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "simulated" not in text
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    jobs = planned(done)
    datasets, downloads, listings = ATLASES[name]
    assert jobs["dataset"] == jobs["metrics"] == datasets
    assert jobs["download"] == downloads
    assert jobs.get("listing_table", 0) == listings
    assert jobs.get("atlas_peaks", 0) == (name == "descartes")
    assert jobs["pretrain"] == 9  # three variants, three seeds
    assert jobs["scan_motifs"] == 16
    for rule in ("reference", "regions", "motif_matrix", "shards", "region_qc", "provenance"):
        assert jobs[rule] == 1
    assert jobs["total"] < 300


def test_example_plans_on_files_of_its_names(snakemake, root, tmp_path):
    """The commented example, as it is, with a user's files in the working directory."""
    text = (root / "config/example.yaml").read_text()
    for name in re.findall(r"[\w.-]+\.(?:fa|gtf|bed)\.gz", text):
        (tmp_path / name).touch()
    (tmp_path / "cell_types.tsv").write_text(
        "cell_type\tpeaks\tformat\nB\tB_rep1.bed\tbed\nB\tB_rep2.bed\tbed\nMonocytes\tm.bed\tbed\n"
    )
    for name in ("B_rep1.bed", "B_rep2.bed", "m.bed"):
        (tmp_path / name).touch()
    done = snakemake("-n", "--configfile", root / "config/example.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = planned(done)
    assert (jobs["dataset"], jobs["scan_motifs"], jobs["pretrain"]) == (3, 8, 3)
    assert "simulated" not in done.stdout


def test_tutorial_data_plan(snakemake, root):
    done = snakemake(
        "-n", "--configfile", root / "config/tutorial.yaml", "--", "results/simulated/genome.fa"
    )
    assert done.returncode == 0, done.stderr
    assert planned(done) == {"simulate": 1, "total": 1}


@pytest.mark.parametrize("name", [*ATLASES, "hg19_test", "example"])
def test_nothing_of_the_simulated_genome_is_left(root, name, monkeypatch):
    monkeypatch.setenv("GENEBERT_REALDATA", "/data")
    monkeypatch.setenv("GENEBERT_HOME", "/home")
    files = ("config/config.yaml", f"config/{name}.yaml", "workflow/schemas/config.schema.yaml")
    default, own, schema = (yaml.safe_load((root / file).read_text()) for file in files)
    full = check_config(merged(default, own), schema)
    simulated = full.pop("simulate")
    assert not set(full["splits"]["held_out_cell_types"]) & set(simulated["cell_types"])
    assert "simulated" not in str(full)
    assert full["genome"]["name"] != "sim1"
    assert full["regions"]["width"] == 500


@pytest.mark.parametrize("name", ["h5ad", "mtx"])
def test_other_formats_become_a_long_table_first(snakemake, root, tmp_path, name):
    changes = yaml.safe_load((root / "config/descartes.yaml").read_text())
    changes["atlas"] = {"format": name, "cell_types": "mine/data", "chain": "mine/a.chain"}
    if name == "mtx":
        changes["atlas"] |= {"peaks": "resource:catlas_cCREs.bed.gz", "names": "mine/names.txt"}
    plan = (
        "-n",
        "--configfile",
        override(tmp_path, root, changes),
        "--",
        "results/regions/regions.bed",
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.chain").touch()
    done = snakemake(*plan)
    assert done.returncode != 0
    assert "mine/data" in done.stdout + done.stderr
    assert ("mine/names.txt" in done.stdout + done.stderr) == (name == "mtx")
    for file in ("data", "names.txt"):
        (tmp_path / "mine" / file).touch()
    done = snakemake(*plan)
    assert done.returncode == 0, done.stderr
    assert planned(done)["atlas_peaks"] == 1
    (tmp_path / "mine/a.chain").unlink()
    done = snakemake(*plan)
    assert done.returncode != 0
    assert "mine/a.chain" in done.stdout + done.stderr


def merged(base: dict, changes: dict) -> dict:
    """Merge as Snakemake merges configuration files: key by key, lists as a whole."""
    out = dict(base)
    for key, value in changes.items():
        old = out.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        out[key] = merged(old, value) if both else value
    return out


def write_table(path: Path, columns: tuple[str, ...], listing: str, count: int) -> None:
    """Write the table of a listing with rows of the right form, one cell type each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns)]
    for i in range(count):
        row = dict.fromkeys(columns, "") | {
            "peaks": f"resource:{listing}/f{i}.bed",
            "format": "bed",
        }
        row |= {
            "cell_type": "HepG2" if i == 0 else f"c{i}",
            "tf": "CTCF",
            "url": f"http://x/f{i}.bed",
        }
        lines.append("\t".join(row[column] for column in columns))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("catlas", {"catlas": (ATLAS, 222)}),
        ("encode_hg19", {"encode_dnase": (ATLAS, 125), "encode_tfbs": (CHIP, 690)}),
    ],
)
def test_atlas_plans_all_its_files_once_there_is_a_table(snakemake, root, tmp_path, name, tables):
    for listing, (columns, count) in tables.items():
        write_table(tmp_path / f"resources/downloads/{listing}.table.tsv", columns, listing, count)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = snakemake("-n", "--configfile", root / f"config/{name}.yaml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = planned(done)
    assert jobs["download_listed"] == sum(count for _, count in tables.values())
    assert jobs["regions"] == 1
    assert "listing_table" not in jobs  # the table is there: its listing is not asked for
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 20
    jobs = planned(snakemake("-n", "--configfile", root / f"config/{name}.yaml", "--", "fetch_all"))
    assert jobs["download_listed"] == sum(count for _, count in tables.values())


def test_a_resource_of_the_manifest_is_downloaded(snakemake, root, tmp_path):
    changes = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    changes["genome"]["fasta"] = "resource:hg19.fa.gz"
    config = override(tmp_path, root, changes)
    done = snakemake(
        "-n", "--configfile", config, "--", "fetch_all", GENEBERT_REALDATA=str(tmp_path)
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Downloading hg19.fa.gz" in text


@pytest.mark.parametrize(
    ("clean", "same"), [("{tmp}/dl", "{tmp}/dl/"), ("dl", "./dl"), ("{tmp}/dl", "~/dl")]
)
def test_a_folder_of_downloads_may_be_written_in_any_way(snakemake, tmp_path, clean, same):
    plans = []
    for text in (clean, same):
        folder = text.format(tmp=tmp_path)
        target = f"{clean.format(tmp=tmp_path)}/hg19.fa.gz"
        changes = ("--config", f"resources_dir={folder}", "--", target)
        done = snakemake("-n", "--quiet", "host", *changes, HOME=str(tmp_path))
        assert done.returncode == 0, done.stderr
        jobs = re.sub(r"^\[.*\]$", "", done.stdout.partition("DAG of jobs")[2], flags=re.MULTILINE)
        plans.append((jobs, done.stderr))  # without the time
    assert "hg19.fa.gz" in plans[0][0]
    assert plans[0] == plans[1]


def test_offline_makes_no_request_and_says_so(snakemake, root, tmp_path):
    done = snakemake(
        "--cores", "1", "--retries", "0", "--config", "offline=true",
        "--", "resources/downloads/hg19.fa.gz",
    )  # fmt: skip
    assert done.returncode != 0
    line = last_line((tmp_path / "logs/download/hg19.fa.gz.log").read_text())
    assert "offline" in line
    assert not (tmp_path / "resources/downloads/hg19.fa.gz").exists()


GIT = """\
#!/bin/sh
echo "$3" >> "$ASKED"
case "$*" in *--show-toplevel) echo "$TOP" ;; *HEAD) echo "$COMMIT" ;; esac
"""


def test_provenance_is_of_the_commit_and_of_what_results_depend_on(snakemake, root, tmp_path):
    target, how = "results/provenance.json", ("offline=true", "torch_threads=2")
    programs, asked = tmp_path / "bin", tmp_path / "asked.txt"
    programs.mkdir()
    (programs / "git").write_text(GIT)
    (programs / "git").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"

    def run(*words: str, commit: str = "a" * 40) -> str:
        asked.write_text("")
        site = {"PATH": path, "ASKED": str(asked), "TOP": str(root), "COMMIT": commit}
        done = snakemake("--cores", "1", *words, **site)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("--", target)
    assert f'"commit": "{"a" * 40}"' in (tmp_path / target).read_text()
    assert "Nothing to be done" in run("-n", "--config", *how, "--", target)
    assert asked.read_text().split() == ["rev-parse", "rev-parse", "status"]  # once
    assert "Nothing to be done" not in run("-n", "--", target, commit="b" * 40)
    run("-n", "--", "results/simulated/genome.fa")
    assert asked.read_text() == ""


def test_an_unknown_resource_is_named(snakemake, root, tmp_path):
    done = snakemake("-n", "resources/downloads/hg19.fa.gzz")
    assert done.returncode != 0
    assert "did you mean 'hg19.fa.gz'" in done.stdout + done.stderr


@pytest.mark.parametrize("profile", ["slurm", "profiles/slurm", "profiles/default"])
def test_profiles_plan(snakemake, profile):
    done = snakemake("-n", "--profile", profile)
    assert done.returncode == 0, done.stderr


def test_slurm_profile_from_a_fresh_clone(root, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    done = subprocess.run(
        ["snakemake", "-n", "--profile", "slurm"],
        cwd=clone,
        env={**os.environ, "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def override(tmp_path: Path, root: Path, changes: dict) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changes))
    return path


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sed": 3}, "unknown key 'sed'; did you mean 'seed'?"),
        ({"splits": {"test": ["chr1"]}}, "chr1 is in train and again in test"),
        ({"genome": {"source": "files"}}, "still names the simulated genome"),
        ({"effort": {"variants": ["fulll"]}}, "did you mean 'full'?"),
        ({"simulate": {"cell_types": ["a/b", "c"]}}, "key simulate.cell_types[0]"),
        ({"simulate": {"cell_types": ["ab\n", "c"]}}, "key simulate.cell_types[0]"),
    ],
)
def test_bad_configuration_ends_in_one_line(snakemake, root, tmp_path, changes, text):
    done = snakemake("-n", "--configfile", override(tmp_path, root, changes))
    assert done.returncode != 0
    assert last_line(done.stderr).startswith("error: ")
    assert text in last_line(done.stderr)
    assert not (tmp_path / "results").exists()


def test_bad_cell_type_table_ends_in_one_line(snakemake, root, tmp_path, realdata):
    table = tmp_path / "cells.tsv"
    table.write_text("cell_type\tpeaks\nB\tb.bed\n")
    changes = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    changes["atlas"]["cell_types"] = str(table)
    done = snakemake(
        "-n",
        "--configfile",
        override(tmp_path, root, changes),
        GENEBERT_REALDATA=str(realdata),
    )
    assert done.returncode != 0
    assert "column 'format' is missing" in last_line(done.stderr)


def test_a_cohort_needs_an_index_of_either_kind(snakemake, root, tmp_path):
    row = {"task": "disease", "name": "people", "kind": "cohort", "path": "people.vcf.gz"}
    changes = {"datasets": [{**row, "phenotypes": "people.tsv"}]}
    target = "results/tasks/disease/people/dataset.parquet"
    plan = ("-n", "--configfile", override(tmp_path, root, changes), "--", target)
    for name in ("people.vcf.gz", "people.tsv"):
        (tmp_path / name).touch()
    done = snakemake(*plan)
    assert done.returncode != 0
    wanted = "the VCF has no index, make it with 'tabix -p vcf people.vcf.gz'"
    assert wanted in done.stdout + done.stderr
    (tmp_path / "people.vcf.gz.csi").touch()
    done = snakemake(*plan)
    assert done.returncode == 0, done.stderr
    assert planned(done)["cohort_dataset"] == 1


def test_unset_variable_is_named(snakemake, root, monkeypatch):
    monkeypatch.delenv("GENEBERT_REALDATA", raising=False)
    done = snakemake("-n", "--configfile", root / "config/hg19_test.yaml")
    assert done.returncode != 0
    assert "'GENEBERT_REALDATA' is not set" in last_line(done.stderr)


def test_lint_and_format(root):
    done = subprocess.run(
        [os.sys.executable, "-m", "snakemake", "--lint"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
