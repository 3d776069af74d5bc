"""The last lines of a run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from genebert import summary
from genebert.summary import Job


def job(folder: Path, rule: str, seconds: float, memory: float, *outputs: str) -> Job:
    path = folder / f"{rule}{seconds}.jsonl"
    path.write_text(json.dumps({"s": 1.0}) + "\n" + json.dumps({"s": seconds, "max_rss": memory}) + "\n")  # fmt: skip
    return Job(rule, {}, outputs, "", str(path))


def test_a_finished_run_names_tables_report_and_cost(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "pretrain", 100.0, 800.0, "results/pretrain/full/model.safetensors"),
        job(tmp_path, "pretrain", 50.0, 900.0),
        job(tmp_path, "regions", 20.0, 1500.0, "results/regions/regions.tsv"),
        Job("task_table", {"task": "promoter"}, ["results/promoter.tsv"]),
        Job("metrics_table", {}, ["run1/results/metrics.tsv"]),
    ]
    assert summary.finished(jobs, 75, ["--configfile", "my config.yaml", "--cores", "2"]) == [
        "Finished: 5 jobs in 1 min 15 s",
        "Cost: pretrain 2 min 30 s, regions 20 s; most memory: 1.6 GB (regions)",
        "Tables: results/promoter.tsv run1/results/metrics.tsv",
        "Report: snakemake --report report.html --configfile 'my config.yaml' --cores 2",
    ]


def test_without_tables_and_measurements_there_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    jobs = [Job("check"), Job("a", benchmark=str(broken)), Job("b", benchmark=str(tmp_path / "no"))]
    assert summary.finished(jobs, 3, ["check"]) == ["Finished: 3 jobs in 3 s"]


def test_a_failed_run_ends_with_the_log_and_the_command(tmp_path: Path) -> None:
    log = tmp_path / "regions.log"
    log.write_text("\n".join(f"line {i}" for i in range(9)) + "\n\nERROR the last\n")
    jobs = [Job("regions", {}, (), str(log)), Job("pretrain", {"variant": "full", "seed": "1"}, (), str(tmp_path / "none"))]  # fmt: skip
    assert summary.failed(jobs, ["--directory", "runs/a b"]) == [
        f"Failed: regions, log {log}",
        "    line 5", "    line 6", "    line 7", "    line 8", "    ERROR the last",
        f"Failed: pretrain (variant=full, seed=1), log {tmp_path / 'none'}",
        "When it is mended, go on where it stopped: snakemake --directory 'runs/a b'",
    ]  # fmt: skip
    lines = summary.failed([Job(f"r{i}") for i in range(5)], [])
    assert lines == ["Failed: r0", "Failed: r1", "Failed: r2", "and 2 more", "When it is mended, go on where it stopped: snakemake"]  # fmt: skip


def test_a_job_of_snakemake() -> None:
    theirs = SimpleNamespace(
        rule=SimpleNamespace(name="dataset"), wildcards_dict={"task": "tfbs"}, output=["a", "b"],
        log=["logs/a.log"], benchmark=None,
    )  # fmt: skip
    assert Job.of(theirs) == Job("dataset", {"task": "tfbs"}, ["a", "b"], "logs/a.log", "")
    assert str(Job.of(theirs)) == "dataset (task=tfbs)"
