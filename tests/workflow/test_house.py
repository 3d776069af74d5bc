"""The house: pins, the symlink of the profile, rules that keep to the style."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml


def pins(path: Path) -> dict[str, str]:
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    return {name.lower(): v for name, v in (line.split("==") for line in lines if line)}


def test_lock_pins_plain_versions(root):
    for line in (root / "requirements.lock").read_text().splitlines():
        text = line.split("#")[0].strip()
        if text:
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", text), text


def test_lock_holds_every_dependency_of_the_project(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    locked = pins(root / "requirements.lock")
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=]", requirement)[0].lower()
        assert name in locked, name


def test_one_version_everywhere(root):
    import tomllib

    import genebert

    assert re.fullmatch(r"\d+\.\d+\.\d+", genebert.__version__)  # semantic
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert project["version"] == citation["version"] == genebert.__version__
    changes = re.findall(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == genebert.__version__


def test_github_runs_the_same_gates(root):
    jobs = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())["jobs"]
    (job,) = jobs.values()
    assert [step["run"] for step in job["steps"] if step.get("run", "").startswith(".ci")] == [
        ".ci/run"
    ]
    for form in (root / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        document = yaml.safe_load(form.read_text())
        assert form.name == "config.yml" or {"name", "description", "body"} <= set(document)


def test_symlink_of_the_profile(root):
    assert os.readlink(root / "slurm") == "profiles/slurm"


def test_no_rule_runs_a_shell_command(root):
    for path in [root / "Snakefile", *sorted((root / "rules").glob("*.smk"))]:
        text = path.read_text()
        assert not re.search(r"^\s*(shell|run):", text, re.MULTILINE), path


def test_every_script_is_thin_and_used(root):
    rules = "".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    scripts = sorted((root / "workflow/scripts").glob("*.py"))
    assert scripts
    for path in scripts:
        assert len(path.read_text().splitlines()) <= 20, path
        assert f"scripts/{path.name}" in rules, f"{path.name} is not used by a rule"


def test_every_rule_has_log_and_environment(root):
    for path in (root / "rules").glob("*.smk"):
        for block in re.split(r"\n(?=rule |    rule )", path.read_text())[1:]:
            if "script:" in block:
                name = block.split(":")[0].strip()
                assert "log:" in block, name
                assert "conda:" in block, name
                assert "message:" in block, name


def test_every_caption_exists(root):
    for path in [root / "Snakefile", *(root / "rules").glob("*.smk")]:
        for caption in re.findall(r"workflow/report/\w+\.rst", path.read_text()):
            assert (root / caption).exists(), caption


def test_library_never_imports_snakemake(root):
    for path in (root / "workflow/scripts/genebert").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) snakemake", path.read_text(), re.MULTILINE), path


def test_common_file_is_short(root):
    assert len((root / "rules/common.smk").read_text().splitlines()) <= 150
