"""The plan of an atlas: scatter counts are those of the configuration, costs those of the rates."""

from __future__ import annotations

import importlib
import json
import re
from types import ModuleType

import pytest


@pytest.fixture
def plan(root, monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "tests/benchmarks"))
    return importlib.import_module("cluster_plan")


@pytest.fixture
def catlas(plan, root):
    return plan.read_config(root / "config/catlas.yaml")


def test_scatter_counts_are_those_of_the_configuration(snakemake, tmp_path):
    counts = {"motifs": {"chunks": 40}, "shards": {"count": 70}}
    (tmp_path / "counts.yaml").write_text(json.dumps(counts))
    done = snakemake("-n", "--configfile", tmp_path / "counts.yaml")
    text = done.stdout.rpartition("Job stats:")[2]
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}
    assert (jobs["scan_motifs"], jobs["shards"]) == (40, 1)
    assert "regions-00069-of-00070.safetensors" in done.stdout


def test_training_costs_its_tokens(plan, catlas):
    rates = plan.Rates()
    hours = plan.pretrain_hours(catlas, rates)
    assert len(hours) == 9  # three variants, three seeds
    tokens = 60_000 * 256 * 512
    assert hours[0] == pytest.approx((tokens / 627_700 + rates.opening_seconds) / 3600)
    assert hours[-1] == pytest.approx((tokens / 688_900 + rates.opening_seconds) / 3600)
    half = plan.merged(catlas, {"effort": {"pretrain_steps": 30_000}})
    assert sum(plan.pretrain_hours(half, rates)) == pytest.approx(sum(hours) / 2, rel=0.01)


def test_rows_grow_with_the_atlas_and_not_the_number_of_jobs(plan, catlas, root):
    jobs = {"regions": 1, "scan_motifs": 16, "motif_matrix": 1, "shards": 1, "pretrain": 9}
    requests = plan.asked(root / "rules")
    small, large = (
        {
            row.rule: row
            for row in plan.rows_of(
                catlas, jobs, requests, peaks=n * 16.8e6, regions=n * 1.15e6, rates=plan.Rates()
            )
        }
        for n in (1, 2)
    )
    assert {rule: row.jobs for rule, row in large.items()} == jobs
    assert small["regions"].hours * 3600 == pytest.approx(57, abs=1)  # as measured
    assert small["regions"].gb == pytest.approx(1.48, abs=0.02)
    assert small["shards"].hours * 3600 == pytest.approx(31)
    assert large["scan_motifs"].hours == pytest.approx(2 * small["scan_motifs"].hours)
    assert large["shards"].disk_gb == pytest.approx(2 * small["shards"].disk_gb)
    assert small["pretrain"].gpu_hours == large["pretrain"].gpu_hours  # it counts steps


def test_more_gpus_end_sooner_and_cost_the_same(plan, catlas):
    assert plan.makespan([3, 2, 2], 1) == 7
    assert plan.makespan([3, 2, 2], 2) == 4
    assert plan.makespan([3, 2, 2], 8) == 3
    walls = [plan.wall_hours(catlas, [], gpus, plan.Rates()) for gpus in (1, 8, 32)]
    assert walls[0][0] == walls[0][1]
    assert walls[0] > walls[1] > walls[2]
    assert all(spread <= single for single, spread in walls)


def test_every_rule_of_the_repository_says_what_it_asks_for(plan, root):
    requests = plan.asked(root / "rules")
    assert requests["pretrain"] == (24.0, 8.0)
    assert requests["scan_motifs"] == (2.0, 2.0)
    assert requests["download"] is None
