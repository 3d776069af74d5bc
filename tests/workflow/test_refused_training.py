"""A training that cannot succeed is started once, however many retries it has."""

from __future__ import annotations

import re

WEIGHTS = "results/pretrain/full/seed-1/model.safetensors"


def test_bad_input_is_not_trained_again(snakemake, tmp_path):
    plan = snakemake("-n", "--", WEIGHTS).stdout
    reasons = re.findall(r"^Reason: Missing output files: (.*)$", plan, re.MULTILINE)
    (reason,) = [text for text in reasons if WEIGHTS in text.partition(";")[0]]
    for name in reason.partition("by another job: ")[2].split(", "):  # all inputs: empty files
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    run = ("--cores", "1", "--allowed-rules", "pretrain", "--", WEIGHTS)
    done = snakemake(*run, GENEBERT_RESUMES="2")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert text.count("Trying to restart job") == 2
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert lines[1] == lines[2]  # the first one says in front how the program ended
    assert lines[0].endswith(lines[1].removeprefix("error: "))
    log = (tmp_path / "logs/pretrain/full.1.log").read_text()
    assert "; starting " not in log
    assert "is not JSON" in log
    assert not (tmp_path / WEIGHTS).exists()
