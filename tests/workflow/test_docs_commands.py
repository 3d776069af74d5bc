"""Commands in the documentation are what the workflow understands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


def lines(root: Path) -> list[str]:
    """Return the lines of the pages' blocks of bash."""
    found = []
    for path in [*(root / "docs").rglob("*.md"), root / "README.md", root / "config/README.md"]:
        text = path.read_text()
        for block in re.findall(r"^```bash[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += block.replace("\\\n", " ").splitlines()
    return found


def commands(root: Path) -> list[list[str]]:
    """Return the words of every snakemake command in the pages' blocks of code."""
    words = [shlex.split(line, comments=True) for line in lines(root)]
    return [line[1:] for line in words if line[:1] == ["snakemake"]]


def test_no_command_has_a_comment(root):
    """An interactive zsh, as on macOS, takes one for words of the command."""
    assert lines(root)
    assert [line for line in lines(root) if re.search(r"(^|\s)#", line)] == []


def test_a_page_that_sets_up_activates_the_environment(root):
    written = lines(root)
    for number, line in enumerate(written):
        if "genebert && make setup" in line:
            assert written[number + 1] == "source .venv/bin/activate"


@pytest.mark.parametrize("page", ["slurm", "troubleshooting"])
def test_pages_say_what_delete_all_output_deletes(root, page):
    text = " ".join((root / f"docs/{page}.md").read_text().split())
    assert re.search("--delete-all-output` also deletes what [^.;]+ `resources_dir`", text)


def test_targets_of_the_default_configuration_can_be_planned(root, snakemake):
    targets: set[str] = set()
    for words in commands(root):
        if not any(word.startswith("-") for word in words):
            targets |= {word for word in words if "/" in word and not re.search("[A-Z]{3}", word)}
    assert len(targets) > 5
    done = snakemake("-n", *sorted(targets))
    assert done.returncode == 0, done.stdout + done.stderr


def test_configurations_that_the_commands_name_exist(root):
    named = [
        words[words.index("--configfile") + 1]
        for words in commands(root)
        if "--configfile" in words
    ]
    shipped = [name for name in named if name.startswith("config/") and name != "config/mine.yaml"]
    assert shipped
    for name in shipped:
        assert (root / name).exists(), name


@pytest.mark.parametrize("rule", ["check", "fetch_all", "atlas_table", "checksums"])
def test_rules_that_the_pages_name_exist(root, rule):
    text = "".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    assert f"rule {rule}:" in text


def test_the_package_can_be_imported_anywhere_after_set_up(tmp_path):
    """As docs/api.md says of `make setup`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", "import genebert; print(genebert.load)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
