"""A tiny run of the workflow from the simulated genome to a table, and what happens after it."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from browser import Browser, find_chromium
from genebert import html, report_layout
from workflow_tools import TINY_EFFORT, TINY_GENOME, last_line

TINY = {
    **TINY_GENOME,
    "pretrain": {"batch_size": 8, "checkpoint_seconds": 0.2},
    "effort": {**TINY_EFFORT, "max_items": 150, "variants": ["full", "sequence"]},
    "interpret": {"items": 1, "models": ["genebert", "motif-lr"]},
}
TABLE = "results/splicing.tsv"
SMALL = {"task": "splicing", "name": "sites", "kind": "gtf"}  # the dataset of TABLE
TRUTH = "results/simulated/truth/splicing.tsv"


def snakemake_in(
    directory: Path, root: Path, *arguments: str, more: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the tiny configuration, with ``more`` on top of it."""
    configs = [directory / "tiny.yaml"]
    if not configs[0].exists():
        configs[0].write_text(yaml.safe_dump(TINY))
    if more is not None:
        configs.append(directory / "more.yaml")
        configs[1].write_text(yaml.safe_dump(more))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "Snakefile")]
    command += ["--configfile", *map(str, configs), "--directory", str(directory), "--cores", "2"]
    return subprocess.run(
        [*command, *arguments],
        cwd=root,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    done = snakemake_in(directory, root, TABLE)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return directory


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    directory = tmp_path / "run"
    shutil.copytree(finished, directory, symlinks=True)
    return directory


def rules_run(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(
        r"^Finished jobid: \d+ \(Rule: (\w+)\)", done.stdout + done.stderr, re.MULTILINE
    )


def test_table_has_a_row_for_every_model(finished):
    with (finished / TABLE).open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert {"genebert", "scratch", "cnn", "gc", "pwm", "gt-ag", "oracle"} <= {
        r["model"] for r in rows
    }


def test_nothing_is_left_to_do(finished, root):
    done = snakemake_in(finished, root, "-n", TABLE)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_how_a_run_is_made_makes_nothing_again(finished, root):
    how = {"torch_threads": 2, "pretrain": {"checkpoint_seconds": 600, "memory_gb": 7.0}}
    done = snakemake_in(finished, root, "-n", "--", TABLE, more=how)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_more_draws_or_one_more_variant_fit_no_model_again(finished, root):
    draws = {"effort": {"bootstrap_draws": 177}}
    done = snakemake_in(finished, root, "-n", "--", TABLE, more=draws)
    assert rules_planned(done) == {"metrics": 1, "task_table": 1}
    variants = {"effort": {"variants": ["full", "sequence", "shuffled_matrix"]}}
    again = rules_planned(snakemake_in(finished, root, "-n", "--", TABLE, more=variants))
    assert (again["predict"], again["pretrain"]) == (1, 1)
    names = variants["effort"]["variants"]
    own = {"datasets": [SMALL | {"truth": TRUTH, "variants": names}], **variants}
    again = rules_planned(snakemake_in(finished, root, "-n", "--", TABLE, more=own))
    assert (again["predict"], again["pretrain"], again.get("dataset", 0)) == (1, 1, 0)


def rules_planned(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return how many jobs of each rule a dry run plans."""
    table = (done.stdout + done.stderr).partition("Job stats:")[2].partition("total")[0]
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def test_a_deleted_table_is_rebuilt_alone_and_identical(run, root):
    before = (run / TABLE).read_bytes()
    (run / TABLE).unlink()
    done = snakemake_in(run, root, TABLE)
    assert rules_run(done) == ["task_table"]
    assert (run / TABLE).read_bytes() == before


def test_pretraining_again_gives_the_same_bytes(run, root):
    weights = "results/pretrain/full/seed-1/model.safetensors"
    before = (run / weights).read_bytes()
    done = snakemake_in(run, root, "--forcerun", "pretrain", "--", weights)
    assert done.returncode == 0, done.stderr
    assert "pretrain" in rules_run(done)
    assert (run / weights).read_bytes() == before


def test_interpretation_scores_the_models_of_the_tables(run, root):
    done = snakemake_in(run, root, "results/interpretation.tsv")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    with (run / "results/interpretation.tsv").open() as handle:
        rows = {row["model"]: row for row in csv.DictReader(handle, delimiter="\t")}
    assert list(rows) == ["genebert", "motif-lr", "shuffled-positions", "distance-to-middle"]
    assert {row["items"] for row in rows.values()} == {"1"}
    assert all(0 <= float(row["auroc"]) <= 1 for row in rows.values())
    fitted = run / "results/tasks/tfbs/chip/genebert/fitted.safetensors"
    assert fitted.stat().st_mtime < (run / "results/interpretation.tsv").stat().st_mtime
    assert (run / "results/figures/logos.svg").read_text().startswith("<?xml")


MEDIA = {".svg": "img", ".html": "html"}


def test_report_opens_in_a_browser(run, root, tmp_path):
    """Every figure and page is shown without an error and without anything from elsewhere.

    Screenshots are kept in the folder ``artefacts`` of the repository, which git ignores.
    """
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium here: apt install chromium")
    config = yaml.safe_load((run / "tiny.yaml").read_text())
    config |= {"datasets": [SMALL | {"truth": TRUTH}], "interpret": {"items": 0}}
    (run / "tiny.yaml").write_text(yaml.safe_dump(config))
    done = snakemake_in(run, root, "--rerun-triggers", "mtime")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    made = snakemake_in(run, root, "--report", str(run / "report.html"))
    assert made.returncode == 0, made.stderr[-4000:]
    pictures = root / "artefacts"
    with Browser(program, tmp_path / "profile") as browser:
        browser.open(run / "report.html")
        browser.wait("document.querySelectorAll('#app li').length > 5")
        browser.screenshot(pictures / "report.png")
        shown = browser.run("Object.keys(results)")
        assert {f"results/figures/{name}.svg" for name in report_layout.FIGURES} <= set(shown)
        assert {f"results/report/{name}.html" for name in report_layout.PAGES} <= set(shown)
        sections = browser.run("Object.keys(categories)")
        wanted = {
            key: name for key, name in report_layout.SECTIONS.items() if key != "interpretation"
        }
        assert set(sections) == set(wanted.values())
        for path in shown:
            kind = MEDIA.get(Path(path).suffix)
            if kind is None:
                continue
            place = f"contentPath: results['{path}'].data_uri, resultPath: '{path}'"
            browser.run(f"app.setView({{content: '{kind}', {place}}}), 0")
            if kind == "img":
                picture = f"[...document.images].find(i => i.src === results['{path}'].data_uri)"
                browser.wait(f"{picture}?.naturalWidth > 100")
                top = f"{picture}.getBoundingClientRect().top"
                assert browser.run(top) >= 0, f"{path}: what is above the window cannot be reached"
            else:
                browser.wait("document.querySelector('iframe') !== null")
            browser.screenshot(pictures / f"{Path(path).stem}.png")
        assert browser.errors == []
        for path in [*run.glob("results/report/*.html"), *run.glob("results/tables/*.html")]:
            browser.open(path)
            assert browser.run("document.body.innerText.length") > 100
            browser.run("document.querySelectorAll('th button').forEach(b => b.click()), 0")
            assert browser.run("document.querySelectorAll('th[aria-sort]').length") >= 1
            browser.screenshot(pictures / f"{path.parent.name}-{path.stem}.png")
        assert browser.errors == []
        schemes = {address.split(":")[0] for address in browser.requests}
        assert schemes <= {"file", "data", "blob", "about"}


def test_a_table_is_sorted_and_filtered_in_a_browser(tmp_path):
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium here: apt install chromium")
    rows = [[f"row{i}", f"{value}", "NA", "NA"] for i, value in enumerate((3, 10, 2, 9) * 4)]
    rows.append(["last", "NA", "NA", "NA"])
    columns = ["name", "auroc", "auroc_low", "auroc_high"]
    (tmp_path / "t.html").write_text(html.page("t", "", columns, rows))
    column = "Array.from(document.querySelectorAll('tbody tr')).map(r => r.cells[1].textContent)"
    with Browser(program, tmp_path / "profile") as browser:
        browser.open(tmp_path / "t.html")
        browser.run("document.querySelectorAll('th button')[1].click(), 0")
        assert browser.run(column) == [
            *(["2"] * 4),
            *(["3"] * 4),
            *(["9"] * 4),
            *(["10"] * 4),
            "NA",
        ]
        browser.run("document.querySelectorAll('th button')[1].click(), 0")
        assert browser.run(column)[:5] == ["10"] * 4 + ["9"]
        assert browser.run(column)[-1] == "NA"
        search = "const box = document.querySelector('input'); box.value = 'ROW1 '"
        browser.run(f"{search}; box.dispatchEvent(new Event('input')), 0")
        seen = "Array.from(document.querySelectorAll('tbody tr:not([hidden])')).length"
        assert browser.run(seen) == 7  # row1 and row10 to row15
        assert browser.errors == []


def test_a_flipped_byte_in_a_shard_is_one_line(run, root):
    shard = run / "results/shards/regions-00001-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    times = shard.stat()
    shard.write_bytes(bytes(data))
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    target = "results/tasks/splicing/sites/scratch/predictions.parquet"
    before = (run / target).read_bytes()
    done = snakemake_in(
        run,
        root,
        "--forcerun",
        "pretrain",
        "--retries",
        "0",
        "--",
        target.replace("scratch", "genebert"),
    )
    assert done.returncode != 0
    log = (run / "logs/pretrain/full.1.log").read_text()
    assert shard.name in last_line(log)
    assert not (run / "results/pretrain/full/seed-1/model.safetensors").exists()
    assert (run / target).read_bytes() == before


def test_a_bad_input_file_is_one_line_and_leaves_nothing(run, root):
    peaks = run / "results/simulated/peaks/B.narrowPeak"
    lines = peaks.read_text().splitlines()
    fields = lines[4].split("\t")
    fields[1], fields[2] = "999999999", "1000000000"
    lines[4] = "\t".join(fields)
    peaks.write_text("\n".join(lines) + "\n")
    done = snakemake_in(run, root, "results/regions/regions.bed", "--rerun-triggers", "mtime")
    assert done.returncode != 0
    line = last_line((run / "logs/regions.log").read_text())
    assert "B.narrowPeak" in line
    assert "line 5" in line
    assert not (run / "results/regions/regions.bed").exists()
    assert not list((run / "results/regions").glob(".part*"))


def test_a_trained_model_on_files_of_a_user(run, root):
    """Every target of docs/use.md, then its Python examples as they stand there."""
    (run / "data").mkdir()
    regions = (run / "results/regions/regions.bed").read_text().splitlines()[:4]
    (run / "data/peaks.bed").write_text("\n".join([*regions, "chrUn\t1\t9"]) + "\n")
    with (run / "results/simulated/variants.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))[:4]
    lines = [f"{r['contig']}\t{r['position']}\t.\t{r['ref']}\t{r['alt']}\t.\t.\t.\n" for r in rows]
    lines.append(lines[-1].replace(f"\t{rows[-1]['alt']}\t", "\t<DEL>\t"))
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    (run / "data/gwas.vcf").write_text(head + "".join(lines))
    (run / "mine.tsv").write_text(
        "name\tkind\tpath\tcell_types\tmethod\n"
        "peaks\tbed\tdata/peaks.bed\tHSC,B\tgradient\n"
        "gwas\tvcf\tdata/gwas.vcf\t\t\n"
    )
    mine = ("--config", "user_files=mine.tsv", "--")
    done = snakemake_in(
        run,
        root,
        *mine,
        "results/embeddings/peaks.h5ad",
        "results/variants/gwas.tsv",
        "results/predictions/peaks/splicing/sites/genebert.tsv",
        "results/attributions/peaks.bw",
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    used = {
        "accessibility_head",
        "embed_bed",
        "score_vcf",
        "predict_bed",
        "attribute_bed",
        "bigwig",
    }
    assert set(rules_run(done)) == used
    with (run / "results/variants/gwas.tsv").open() as handle:
        scored = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["skipped"] for row in scored] == [""] * 4 + ["symbolic allele"]
    examples = re.findall(
        r"<!-- run -->\n```python\n(.*?)```", (root / "docs/use.md").read_text(), re.DOTALL
    )
    assert len(examples) == 4
    shown = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=run,
        env={**os.environ, "PYTHONPATH": str(root / "workflow/scripts")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert (run / "gwas.vcf.gz.tbi").exists()
    lost = snakemake_in(run, root, "-n", *mine, "results/embeddings/peeks.h5ad")
    assert lost.returncode != 0
    assert "did you mean 'peaks'" in last_line(lost.stderr)


def test_a_model_that_was_trained_elsewhere_needs_nothing_of_this_directory(run, root, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "v.vcf").touch()
    (here / "mine.tsv").write_text("name\tkind\tpath\ngwas\tvcf\tv.vcf\n")
    model = run / "results/pretrain/full"
    keys = ("--config", "user_files=mine.tsv", f"pretrained={model}", "--")
    plan = snakemake_in(here, root, "-n", *keys, "results/variants/gwas.vcf.gz")
    assert plan.returncode == 0, plan.stderr
    counts = re.findall(r"^(\w+) +\d+$", plan.stdout, re.MULTILINE)
    assert set(counts) == {"accessibility_head", "score_vcf", "total"}
