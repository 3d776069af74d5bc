"""A training that cannot succeed is started once, however many retries it has."""

from __future__ import annotations

import re

import pytest

WEIGHTS = "results/pretrain/full/seed-1/model.safetensors"


@pytest.mark.parametrize(("resumes", "retries"), [("3", 3), ("", 2)])  # without a cluster: 2
def test_bad_input_is_not_trained_again(snakemake, tmp_path, resumes, retries):
    plan = snakemake("-n", "--", WEIGHTS).stdout
    reasons = re.findall(r"^Reason: Missing output files: (.*)$", plan, re.MULTILINE)
    (reason,) = [text for text in reasons if WEIGHTS in text.partition(";")[0]]
    for name in reason.partition("by another job: ")[2].split(", "):  # all inputs: empty files
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    run = ("--cores", "1", "--allowed-rules", "pretrain", "--", WEIGHTS)
    done = snakemake(*run, GENEBERT_RESUMES=resumes)
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert text.count("Trying to restart job") == retries
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == retries + 1
    assert len({*lines[1:]}) == 1  # the first one says in front how the program ended
    assert lines[0].endswith(lines[1].removeprefix("error: "))
    log = (tmp_path / "logs/pretrain/full.1.log").read_text()
    assert "; starting " not in log
    assert "is not JSON" in log
    assert not (tmp_path / WEIGHTS).exists()
