"""The reference of the configuration: every key with its type, default, limits and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert.config_reference import BEGIN, END, SCHEMA, describe, inject
from genebert.errors import InputError


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text())


def row_of(text: str, key: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{key}` |")]
    return [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")][1:]


def test_the_readme_is_current(root: Path, schema):
    page = (root / "config/README.md").read_text()
    assert inject(page, describe(schema)) == page, (
        "config/README.md is old: run `python -m genebert.config_reference config/README.md`"
    )


def test_every_key_of_the_schema_has_a_row(schema):
    reference = describe(schema)

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for name in node.get("properties", {}):
                assert f"{name}`" in reference
            for value in node.values():
                walk(value)

    walk(schema)
    rows = [line for line in reference.splitlines() if line.startswith("| `")]
    keys = [line.split("`")[1] for line in rows]
    assert len(keys) == len(set(keys))
    for key in keys:
        kind, default, _, meaning = row_of(reference, key)
        assert kind, key
        assert meaning, key
        assert default or kind == "block" or kind.startswith("mapping"), key


def test_no_description_is_cut_short_by_a_comma(schema):
    """In YAML's {key: a, b} the text ends at the comma, and `b` becomes a key of its own."""

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                assert value is not None, f"{path}.{key}"
                walk(value, f"{path}.{key}")
        elif isinstance(node, list):
            for number, value in enumerate(node):
                walk(value, f"{path}[{number}]")

    walk(schema, "")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("seed", ["integer", "`1`", ">= 0"]),
        ("offline", ["boolean", "`false`", ""]),
        ("genome.fasta", ["text", "must be given", "not empty"]),
        ("genome.source", ["text", "`simulated`", "`simulated`, `files`"]),
        ("motifs.p_value", ["number", "`0.0001`", "> 0, <= 0.01"]),
        ("motifs.sources", ["list of blocks", "must be given", "at least 1 of them"]),
        (
            "pretrain.model.patch",
            ["list of integers", "none", "at least 2 of them, at most 2, each >= 1"],
        ),
        ("pretrain.compile", ["boolean or text", "`auto`", "`auto`, `true`, `false`"]),
        ("pretrain.objectives.mgm.span", ["integer or list of lists", "`5`", ""]),
        ("pretrain.evaluation_spans", ["list of integers", "`[1, 5, 10]`", "each >= 1, <= 50"]),
        (
            "pretrain.variants[].objectives",
            ["list of texts", "none", "of `mgm`, `ngsp`, `srm`, `mrm`, `motif`"],
        ),
        ("datasets[].columns", ["mapping to texts", "", ""]),
    ],
)
def test_rows_as_the_schema_has_them(schema, key, expected):
    assert row_of(describe(schema), key)[:3] == expected


def test_inject_keeps_what_is_around_the_markers():
    page = f"a\n{BEGIN}\nold\n{END}\nb\n"
    assert inject(page, "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(InputError, match="no place for the reference"):
        inject("a", "new")
