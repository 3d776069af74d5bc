"""Snakemake's complaints, said again with what to type instead."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert import planning
from genebert.config import check_config

TARGETS = ["all", "check", "fetch_all", "results/promoter.tsv", "results/tasks/tfbs/chip/table.tsv"]
NO_RULE = (
    "MissingRuleException:\nNo rule to produce {} (if you use input functions make sure that they "
    "don't raise unexpected exceptions)."
)
MISSING = """MissingInputException in rule reference in file "rules/reference.smk", line 4:
Missing input files for rule reference:
    output: results/reference/genome.fa.gz
    affected files:
        {}
"""


def explain(kind: str, message: str) -> str:
    return planning.explain(kind, message, lambda: TARGETS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("chek", "'chek'; did you mean 'check'?"),
        ("results/promotor.tsv", "did you mean 'results/promoter.tsv'?"),
        ("promoter", "did you mean 'results/promoter.tsv'?"),
        ("promotor.tsv", "did you mean 'results/promoter.tsv'?"),
        ("results/tasks/tfbs/chp/table.tsv", "did you mean 'results/tasks/tfbs/chip/table.tsv'?"),
        ("results/figs/table.tsv", "did you mean 'results/tasks/tfbs/chip/table.tsv'?"),
        ("report.html", "the report is made by --report report.html"),
        ("zzz", "there is no target 'zzz' (`snakemake --list`"),
        ("/home/me/results/promoter.tsv", "relative to the working directory (--directory)"),
    ],
)
def test_targets(name: str, text: str) -> None:
    line = explain("MissingRuleException", NO_RULE.format(name))
    assert text in line
    assert line.startswith("error: ")
    assert "\n" not in line


def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genome.fa").touch()
    text = explain("MissingInputException", MISSING.format("genom.fa\n        genes.gtf"))
    assert text.startswith("MissingInputException in rule reference")  # what it was needed for
    last = text.splitlines()[-1]
    assert last == "error: genom.fa: no such file; did you mean 'genome.fa'? (and 1 more)"
    last = explain("MissingInputException", MISSING.format("zz")).splitlines()[-1]
    assert last == f"error: zz: no such file; relative paths are seen from {str(tmp_path)!r}"


def test_a_missing_index_is_told_by_how_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cohort.vcf.gz").touch()
    last = explain("MissingInputException", MISSING.format("cohort.vcf.gz.tbi")).splitlines()[-1]
    assert last == (
        "error: cohort.vcf.gz.tbi: no such file; the VCF has no index, "
        "make it with 'tabix -p vcf cohort.vcf.gz' (or -C for .csi)"
    )
    both = "\n".join(
        f"MissingInputException: Missing input files for rule {rule}:\n    affected files:\n        zz"
        for rule in ("cohort_dataset", "dataset")
    )
    text = explain("WorkflowError", both)  # what Snakemake says where two rules could make it
    assert text.splitlines()[-1].startswith("error: zz: no such file; relative paths")


def test_our_own_errors_lose_their_traceback() -> None:
    message = (
        'InputFunctionException in rule metrics in file "x", line 96:\nError:\n'
        "  InputError: config datasets: no such dataset; found 'a'\nWildcards:\n  task=promoter\n"
    )
    assert explain("InputFunctionException", message) == (
        "error: config datasets: no such dataset; found 'a'"
    )


@pytest.mark.parametrize("kind", ["MissingRuleException", "MissingInputException", "LockException"])
def test_what_is_not_understood_stays(kind: str) -> None:
    assert explain(kind, "something else") == "something else"


def test_the_filter_changes_records_of_exceptions_only() -> None:
    seen: list[str] = []
    logger = logging.Logger("test")
    logger.addFilter(planning.Explain(lambda: TARGETS))
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    logger.error(NO_RULE.format("chek"))
    logger.error(NO_RULE.format("chek"), extra={"exception": "MissingRuleException"})
    assert seen[0] == NO_RULE.format("chek")
    assert seen[1].startswith("error: there is no target 'chek'")


def test_targets_of_a_configuration(root: Path) -> None:
    files = ("config/config.yaml", "workflow/schemas/config.schema.yaml")
    default, schema = (yaml.safe_load((root / name).read_text()) for name in files)
    config: dict[str, Any] = check_config(default, schema)
    found = planning.targets(config)
    assert len(found) == len(set(found))
    for name in ("results/promoter.tsv", "results/ablation.tsv", "results/motifs/matrix.h5ad",
                 "results/tasks/tfbs/chip/oracle/predictions.parquet"):  # fmt: skip
        assert name in found
