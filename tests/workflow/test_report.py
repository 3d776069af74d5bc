"""The table of stages agrees with the rules, and every file of the report has its caption."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from genebert import report_layout, stages


def rule_blocks(root: Path) -> dict[str, str]:
    """Return the text of every rule by its name."""
    found = {}
    for path in [root / "Snakefile", *sorted((root / "rules").glob("*.smk"))]:
        for block in re.split(r"\n(?= *(?:rule|use rule) )", path.read_text())[1:]:
            name = re.match(r" *(?:use rule \w+ as|rule) (\w+)", block)
            if name:
                found[name[1]] = block
    return found


def test_no_rule_is_of_two_stages_or_gone(root):
    listed = [rule for stage in stages.STAGES for rule in stage.rules]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(rule_blocks(root)), "genebert.stages.STAGES names a rule that is gone"


def test_measurements_are_counted_in_the_stage_of_their_rule(root):
    stage_of_rule = {rule: stage.name for stage in stages.STAGES for rule in stage.rules}
    checked = 0
    for rule, block in rule_blocks(root).items():
        for pattern in re.findall(r'"benchmarks/([^"]+)"', block):
            file = re.sub(r"\{\w+\}", "x", pattern)
            assert stages.stage_of(file) == stage_of_rule.get(rule, "other"), rule
            checked += 1
    assert checked > 10


def test_arrows_between_stages_are_those_between_rules(snakemake, tmp_path):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"interpret": {"items": 1}}))
    done = snakemake("--configfile", tmp_path / "c.yaml", "--rulegraph", "dot")
    assert done.returncode == 0, done.stderr
    # every rule of a run must be in the table of stages: a KeyError here names one that is not
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    stage_of_rule = {rule: stage.name for stage in stages.STAGES for rule in stage.rules}
    found = {
        (stage_of_rule[names[a]], stage_of_rule[names[b]])
        for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)
        if names[b] != "all"
    }
    wanted = {(before, stage.name) for stage in stages.STAGES for before in stage.after}
    assert {(a, b) for a, b in found if a != b} == wanted


def test_arrows_drawn_lead_everywhere_that_stages_read_from():
    follows = {stage.name: set() for stage in stages.STAGES}
    for start, end in stages.ARROWS:
        assert start in next(s for s in stages.STAGES if s.name == end).after, (start, end)
        follows[end].add(start)

    def before(name: str) -> set[str]:
        return follows[name].union(*(before(start) for start in follows[name]))

    for stage in stages.STAGES:
        assert set(stage.after) <= before(stage.name), stage.name


def test_list_of_figures_is_that_of_the_rules(root):
    text = "".join(path.read_text() for path in (root / "rules").glob("*.smk"))
    assert sorted(re.findall(r'figure\("(\w+)"\)', text)) == sorted(report_layout.FIGURES)
    assert sorted(re.findall(r'report_page\("(\w+)"\)', text)) == sorted(report_layout.PAGES)
