"""Cost is counted from what Snakemake measured and from the logs of pre-training."""

from __future__ import annotations

import json

import pytest

from genebert import cost, stages
from genebert.errors import InputError


@pytest.fixture
def benchmarks(tmp_path):
    jobs = {
        "regions": {"s": 60.0, "cpu_time": 30.0, "max_rss": 1000.0},
        "pretrain/full.1": {
            "s": 3600.0,
            "cpu_time": 10.0,
            "max_rss": 10.0,
            "resources": {"gpu": 2},
        },
        "tasks/tfbs/chip.gc": {"s": 0.2, "cpu_time": "NA", "max_rss": "NA"},
        "tasks/tfbs/chip.dataset": {"s": 1.0},
        "tasks/tfbs/chip.metrics": {"s": 1.0},
        "new/thing": {"s": 1.0},
    }
    for name, record in jobs.items():
        path = tmp_path / "benchmarks" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record) + "\n")
    return tmp_path / "benchmarks"


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "full" / "seed-2" / "metrics.jsonl"
    path.parent.mkdir(parents=True)
    lines = [
        {"kind": "train", "step": step, "loss": {}, "timing": {
            "seconds": 10.0 * step, "tokens_per_second": 1000.0 * step, "memory_gb": step,
            "gpus": 4, "mfu": 0.4, "data_wait_fraction": 0.01}}
        for step in (1, 2)
    ]  # fmt: skip
    lines.append({"kind": "evaluation", "step": 2, "set": "valid"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_jobs_are_counted_by_stage(benchmarks):
    rows = {row["stage"]: row for row in cost.stage_rows(cost.read_jobs(benchmarks))}
    assert list(rows) == ["regions", "pretrain", "datasets", "models", "evaluation", "other", "all"]
    assert rows["all"]["jobs"] == 6
    assert rows["all"]["longest_job"] == "pretrain/full.1"
    assert rows["pretrain"]["gpu_hours"] == pytest.approx(2.0)
    assert rows["regions"]["gpu_hours"] is None
    assert rows["regions"]["hours"] == pytest.approx(1 / 60)
    assert rows["regions"]["max_memory_gb"] == pytest.approx(1000 * 1024**2 / 1e9)
    assert rows["models"]["max_memory_gb"] == 0


def test_a_run_is_counted_over_all_its_laps(log):
    row = cost.run_row(log)
    assert (row["variant"], row["seed"], row["steps"]) == ("full", "2", 2)
    assert row["hours"] == pytest.approx(30 / 3600)
    assert row["tokens"] == 10 * 1000 + 20 * 2000
    assert row["tokens_per_second"] == round(50000 / 30)
    assert row["gpu_hours"] == pytest.approx(4 * 30 / 3600)
    assert row["memory_gb"] == 2
    assert row["mfu"] == pytest.approx(0.4)
    assert row["tflops"] is None


def arguments(tmp_path, benchmarks, log):
    (tmp_path / "index.json").write_text(
        json.dumps({"counts": {"regions": 1234, "motifs": 5, "cell_types": 8}})
    )
    names = {"table": "cost.tsv", "runs": "runs.tsv", "page": "c.html", "stages": "s.svg"}
    return {
        "done": [], "metrics": [log], "index": str(tmp_path / "index.json"),
        "benchmarks": str(benchmarks), "plan": {"pretrain": "3 variants"}, "caption": "demo",
    } | {key: str(tmp_path / name) for key, name in names.items()}  # fmt: skip


def test_tables_page_and_picture(tmp_path, benchmarks, log):
    cost.cost(**arguments(tmp_path, benchmarks, log))
    table = (tmp_path / "cost.tsv").read_text().splitlines()
    assert table[0].split("\t") == list(cost.STAGE_COLUMNS)
    assert table[1].split("\t")[:2] == ["regions", "1"]
    assert (tmp_path / "runs.tsv").read_text().splitlines()[1].startswith("full\t2\t2\t")
    page = (tmp_path / "c.html").read_text()
    assert "pretrain/full.1" in page
    assert "save cost.tsv" in page
    drawn = (tmp_path / "s.svg").read_text()
    for text in ("1,234 regions", "3 variants", "60 min", "not in this run"):
        assert f"<!-- {text} -->" in drawn, text


def test_without_benchmarks_there_is_a_report_all_the_same(tmp_path, log):
    cost.cost(**arguments(tmp_path, tmp_path / "none", log))
    assert (tmp_path / "cost.tsv").read_text().count("\n") == 1


def test_damaged_measurements_and_logs_are_named(tmp_path, benchmarks, log):
    (benchmarks / "regions.jsonl").write_text('{"s": 1}\n{"seconds": 1}\n')
    with pytest.raises(InputError, match=r"regions\.jsonl, line 2: no measurement of a job"):
        cost.read_jobs(benchmarks)
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(InputError, match=r"index\.json: is no index of shards"):
        cost.stage_notes([], {}, str(tmp_path / "index.json"))
    with open(log, "a") as handle:
        handle.write("{")
    with pytest.raises(InputError, match="is no training log"):
        cost.run_row(log)


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("simulate.jsonl", "sources"),
        ("motifs/scan-3.jsonl", "motifs"),
        ("tasks/tfbs/chip.dataset.jsonl", "datasets"),
        ("tasks/tfbs/chip.genebert.jsonl", "models"),
        ("tasks/tfbs/chip.genebert.attribute.jsonl", "interpretation"),
        ("tasks/tfbs/chip.metrics.jsonl", "evaluation"),
        ("something.jsonl", "other"),
    ],
)
def test_stage_of_a_benchmark(file, stage):
    assert stages.stage_of(file) == stage


def test_boxes_do_not_overlap():
    places = [stage.place for stage in stages.STAGES]
    for i, (x, y) in enumerate(places):
        for other_x, other_y in places[:i]:
            assert abs(x - other_x) > stages._WIDE or abs(y - other_y) > stages._HIGH
