"""The configuration: defaults, and one line for everything that can be wrong in it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert.config import check_config, check_keys, merged
from genebert.errors import InputError


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())


@pytest.fixture
def config(root: Path) -> dict[str, Any]:
    return yaml.safe_load((root / "config/config.yaml").read_text())


def put(config: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Set a dotted key; numbers index lists."""
    target: Any = config
    *parts, last = key.split(".")
    for part in parts:
        target = target[int(part)] if part.isdigit() else target[part]
    target[last] = value
    return config


def test_a_key_that_stands_twice_is_told_with_both_lines(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("effort:\n  max_items: 5\nsplits: {train: [a]}\neffort: {max_items: 7}\n")
    with pytest.raises(InputError, match=r"mine.yaml, line 4: key 'effort' stands twice.*line 1"):
        check_keys(path)
    path.write_text("datasets:\n- {task: a, name: b}\n- {task: a, name: c, task: d}\n")
    with pytest.raises(InputError, match="line 3: key 'task' stands twice"):
        check_keys(path)
    path.write_text("a: &a {b: 1}\nc: {<<: *a, d: 1}\ne: {b: 1}\n")
    check_keys(path)
    check_keys(tmp_path / "none.yaml")  # told by Snakemake


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(config, schema, value):
    put(config, "effort.learning_rates", [1e-3, value])
    with pytest.raises(InputError, match=r"key effort.learning_rates\[1\] has a wrong value"):
        check_config(config, schema)


def test_default_configuration_is_valid_and_complete(config, schema):
    full = check_config(config, schema)
    assert full["effort"]["fraction_draws"] == 5
    assert full["pretrain"]["variants"][0]["matrix"] == "real"
    assert check_config(full, schema) == full


def test_methods_tell_the_rates_and_warm_up_that_configurations_have(root):
    methods = " ".join((root / "docs/methods.md").read_text().split())
    told = re.search(
        r"warm-up are (\S+) and (\d+) % in the .* examples, (\S+) and (\d+) %", methods
    )
    base = yaml.safe_load((root / "config/config.yaml").read_text())
    for places, names in (
        (told.groups()[:2], ("catlas", "descartes", "encode_hg19", "example")),
        (told.groups()[2:], ("config", "study", "study_small")),
    ):
        for name in names:
            config = merged(base, yaml.safe_load((root / f"config/{name}.yaml").read_text()))
            optimizer = config["pretrain"]["optimizer"]
            found = optimizer["learning_rate"], round(100 * optimizer["warmup_fraction"])
            assert found == (float(places[0]), int(places[1])), name


SHORT = ("config.yaml", "hg19_test.yaml", "tutorial.yaml")  # of the smoke run, a test, a tutorial
ON_TOP = {  # a configuration -> what it is on top of
    **dict.fromkeys(("all_variants.yaml", "neighbours.yaml"), "study_small.yaml"),
    **dict.fromkeys(("study_once.yaml", "study_primary.yaml"), "study.yaml"),
    **dict.fromkeys(("study_labels.yaml", "matching.yaml", "matching_labels.yaml"), "study.yaml"),
    "hg19_reading.yaml": "hg19_all.yaml",
}


def test_runs_that_are_to_show_something_report_mgm_at_three_spans(root):
    """All are merged over the smoke run, whose figures are few."""
    configs = {path.name: yaml.safe_load(path.read_text()) for path in root.glob("config/*.yaml")}
    base = configs["config.yaml"]
    for name in set(configs) - set(SHORT):
        below = merged(base, configs[ON_TOP[name]]) if name in ON_TOP else base
        block = merged(below, configs[name])["pretrain"]
        assert block["evaluation_spans"] == [1, 5, 10], name
        assert block["evaluation_loci"] >= 512, name


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("sed", 1, "unknown key 'sed'; did you mean 'seed'?"),
        ("pretrain.modle", {}, "did you mean 'model'?"),
        ("pretrain.optimizer.lr", 1, "unknown key 'pretrain.optimizer.lr'"),
        ("seed", "one", "key seed has a wrong value; found 'one'"),
        ("seed", -1, "expected at least 0"),
        ("pretrain.neighbours", 7, "a multiple of 2"),
        ("pretrain.model.patch", [0, 1], "key pretrain.model.patch[0] has a wrong value; found 0"),
        ("pretrain.model.window", [4], "rows and columns of patches that see each other"),
        ("datasets.1.kind", "narowpeak", "did you mean 'narrowpeak'?"),
        ("datasets.0.name", "a/b", "key datasets[0].name"),
        ("datasets.0.name", "ab\n", "key datasets[0].name"),
        ("datasets.0.name", "../x", "key datasets[0].name"),
        ("splits", {1: "train", 2: "valid", "X": "test"}, "unknown key 'splits.1'"),
        ("splits.train", [], "key splits.train"),
        ("splits.test", ["chr1"], "chr1 is in train and again in test"),
        ("splits.test", ["chr4:10-5"], "interval is empty"),
        ("splits.test", ["chr4 10"], "not an interval"),
        ("splits.held_out_cell_types", ["NK", "NK"], "repeats a name"),
        ("splits.held_out_cell_types", ["CD4+ T"], "part of a file name, such as 'CD4pos_T'"),
        ("effort.variants", ["ful"], "did you mean 'full'?"),
        ("datasets.0.variants", ["ful"], "key datasets[0].variants names an unknown variant; did"),
        ("datasets.0.variants", [], "key datasets[0].variants"),
        (
            "pretrain.variants",
            [{"name": "mgm", "objectives": ["mgm"]}],
            "key pretrain.variants has no row 'full', whose shapes all models share; found 'mgm'",
        ),
        (
            "pretrain.variants",
            [{"name": "full"}, {"name": "Full"}],
            "key pretrain.variants[1] differs from an earlier name in its case only; found 'Full'",
        ),
        ("effort.pretrain_seeds", 0, "at least 1"),
        ("effort.label_fractions", [1.5], "a share up to 1.0 or a whole number above 1"),
        ("motifs.p_value", 0, "more than 0"),
        ("motifs.sources", [], "key motifs.sources"),
        ("motifs.sources.0.path", "$NO_SUCH_VARIABLE/x", "'NO_SUCH_VARIABLE' is not set"),
        ("genome.source", "file", "key genome.source"),
        ("genome.source", "files", "still names the simulated genome"),
        ("atlas.format", "tabel", "did you mean 'table'?"),
        ("atlas.min_replicates", 0, "at least 1"),
        ("atlas.cell_types", "listing:catalas", "did you mean 'catlas'?"),
        (
            "atlas.cell_types",
            "resource:../x",
            "key atlas.cell_types: is not the name of a download",
        ),
        ("splits.held_out_share", 1.5, "at most 0.9"),
        ("effort.label_fractions", [1.0, 50.5], "key effort.label_fractions[1] is no share"),
        ("effort.label_fractions", [0], "key effort.label_fractions[0]"),
        ("datasets.1.label_fractions", [1.0, 2.5], "datasets[1].label_fractions[1] is no share"),
        ("datasets.2.label_fractions", [0.5, 1.0], "the task disease has no few-shot curve"),
        ("datasets.1.label_fractions", [-1], "key datasets[1].label_fractions[0]"),
        ("datasets.0.copies", "keeep", "did you mean 'keep'?"),
        ("datasets.2.only", {"MC": []}, "key datasets[2].only.MC"),
        ("datasets.1.cell_type", "B", "the kind narrowpeak does not take one"),
        ("datasets.0.scores", {"cadd": "raw"}, "key datasets[0].scores needs the kind variants"),
        (
            "datasets.2.scores",
            {"gc": "raw"},
            "datasets[2].scores: a model has this name; found 'gc'",
        ),
        ("datasets.2.scores", {"genebert-x": "raw"}, "a model has this name; found 'genebert-x'"),
        ("datasets.2.scores", {"ca/dd": "raw"}, "key datasets[2].scores"),
        ("datasets.2.scores", {"cadd": 1}, "key datasets[2].scores.cadd"),
        ("datasets.2.matched", {"per_positive": 0}, "key datasets[2].matched.per_positive"),
        (
            "datasets.2.matched",
            {"per_positive": 9, "scores": ["maf"]},
            "datasets[2].matched.scores names no score of the dataset; found 'maf'",
        ),
        ("datasets.0.kind", "regions", "task 'promoter' cannot read labels of kind 'regions'"),
        ("splits.train", [1], "a text that looks like a number needs quotes: '1'"),
        ("splits.train", "chr1", "a list has brackets: [chr1]"),
        ("pretrain.optimizer.learning_rate", "1e-3", "YAML reads a text here, write 1.0e-03"),
        ("seed", "1.0", "YAML reads a text here, write 1;"),
        ("genome", "files", "a block of keys, such as {key: value}"),
    ],
)
def test_one_line_for_each_mistake(config, schema, key, value, text):
    with pytest.raises(InputError) as error:
        check_config(put(config, key, value), schema, file="config.yaml")
    assert text in str(error.value)
    assert str(error.value).startswith("config")
    assert "\n" not in str(error.value)


def test_cell_types_of_the_demo_are_held_out_of_no_other_atlas(config, schema):
    assert check_config(config, schema)["splits"]["held_out_cell_types"] == ["Mono", "NK"]
    config["splits"]["held_out_cell_types"] = []
    assert check_config(config, schema)["splits"]["held_out_cell_types"] == []
    del config["splits"]["held_out_cell_types"]
    config["genome"] |= {"source": "files", "fasta": "a.fa"}
    config["atlas"]["cell_types"] = "cells.tsv"
    config["motifs"]["sources"] = [{"path": "jaspar:2024:vertebrates", "format": "pyjaspar"}]
    config["datasets"] = [{"task": "accessibility", "name": "atlas", "kind": "regions"}]
    assert check_config(config, schema)["splits"]["held_out_cell_types"] == []


def test_files_of_an_atlas_format(config, schema):
    config["atlas"] |= {"format": "mtx", "peaks": "peaks.bed"}
    with pytest.raises(InputError, match=r"key atlas.names is missing"):
        check_config(config, schema)
    config["atlas"] = {"format": "long", "cell_types": "listing:catlas"}
    with pytest.raises(InputError, match="expected atlas.format table"):
        check_config(config, schema)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("TRUE", True), (True, True)]
)
def test_offline_as_it_comes_from_the_command_line(config, schema, text, value):
    assert check_config(put(config, "offline", text), schema)["offline"] is value


def test_offline_of_another_kind(config, schema):
    with pytest.raises(InputError, match="key offline has a wrong value"):
        check_config(put(config, "offline", "maybe"), schema)


def test_missing_key_is_named(config, schema):
    del config["splits"]
    with pytest.raises(InputError, match="'splits' is a required property"):
        check_config(config, schema)


def test_two_datasets_of_a_task_are_two_folders_on_every_disk(config, schema):
    first = config["datasets"][0]
    config["datasets"].append(first | {"name": first["name"].upper()})
    with pytest.raises(InputError, match="differs from an earlier name in its case only"):
        check_config(config, schema)


def test_dataset_needs_its_files(config, schema):
    broken = copy.deepcopy(config)
    del broken["datasets"][1]["path"]
    with pytest.raises(InputError, match=r"datasets\[1\].path is missing"):
        check_config(broken, schema)
    del config["datasets"][3]["phenotypes"]
    with pytest.raises(InputError, match=r"datasets\[3\].phenotypes is missing"):
        check_config(config, schema)


def test_schema_is_closed_at_every_level(schema):
    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if "properties" in node and "type" in node:
                assert node.get("additionalProperties") is False, path
            for key, value in node.items():
                walk(value, f"{path}.{key}")

    walk(schema, "")
