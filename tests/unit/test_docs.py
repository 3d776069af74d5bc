"""The pages of the documentation: pictures and messages are current, links and names are right."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from genebert import evaluate
from genebert.config import check_config

FILLED = "..."


def tool(root: Path, name: str) -> ModuleType:
    """Import a script of ``docs/tools``; what it imports in turn comes with `make docs`."""
    for needed in {"api": ("mkdocs",), "docstrings": ("griffe",), "offline": ("mkdocs",)}.get(
        name, ()
    ):
        pytest.importorskip(needed, reason="run `make docs` once, which installs it")
    spec = importlib.util.spec_from_file_location(name, root / f"docs/tools/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages(root: Path) -> list[Path]:
    return [*sorted((root / "docs").rglob("*.md")), root / "README.md", root / "config/README.md"]


def prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def test_pictures_are_current(root):
    figures = tool(root, "figures")
    for name, draw in figures.PICTURES.items():
        assert (root / "docs/assets" / name).read_text() == draw(), (
            f"docs/assets/{name} is old: run `python docs/tools/figures.py`"
        )


def test_pictures_are_small_and_shown(root):
    text = "".join(path.read_text() for path in pages(root))
    for path in [*(root / "docs/assets").glob("*.svg"), *(root / "docs").glob("*.png")]:
        assert path.stat().st_size < 300_000, path
        assert path.name in text, f"no page shows {path.name}"


def literals(root: Path) -> str:
    """Return every piece of text of the library, one a line."""
    found = []
    for path in (root / "workflow/scripts/genebert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def quoted_messages(root: Path) -> list[str]:
    text = (root / "docs/troubleshooting.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_every_message_of_the_troubleshooting_page_is_raised(root):
    known, messages = literals(root), quoted_messages(root)
    assert len(messages) > 50
    for message in messages:
        parts = [part.strip() for part in message.split(FILLED) if part.strip()]
        assert max(map(len, parts)) >= 5, message
        for part in parts:
            assert part in known, f"{message!r}: the library never says {part!r}"


def test_a_message_that_nobody_raises_is_found(root):
    assert "the flux capacitor is empty" not in literals(root)


def test_links_have_a_good_form(root):
    for path in pages(root):
        for label, target in re.findall(r"\[([^\]]*)\]\(([^)\s]*)\)", prose(path)):
            assert label, f"{path}: a link without text to {target}"
            assert not target.startswith("http:"), f"{path}: {target} is not https"
            if target.startswith("https:"):
                assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]{2,}(/[\w./%#?=&~+-]*)?", target), (
                    f"{path}: {target}"
                )


def test_links_of_the_readme_lead_to_files(root):
    for _, target in re.findall(r"\[([^\]]*)\]\(([^)\s]*)\)", prose(root / "README.md")):
        if not target.startswith("https:"):
            assert (root / target.partition("#")[0]).exists(), target


def test_repository_files_that_the_pages_name_exist(root):
    """Files of the repository in code spans; results and a user's own are not here."""
    pattern = r"`((?:config|docs|rules|envs|profiles|resources|tests|workflow)/[\w./-]+\.\w+)`"
    made_by_example = {"workflow/scripts/genebert/tasks/enhancer.py", "tests/unit/test_enhancer.py"}
    written = {"resources/checksums.tsv", "config/NAME.yaml", "config/mine.yaml"}
    for path in pages(root):
        for name in re.findall(pattern, prose(path)):
            if name not in made_by_example | written and "downloads" not in name:
                assert (root / name).exists(), f"{path.relative_to(root)} names {name}"


def test_every_page_is_in_the_navigation(root):
    nav = (root / "mkdocs.yml").read_text()
    for path in (root / "docs").rglob("*.md"):
        name = path.relative_to(root / "docs").as_posix()
        assert f"{name}\n" in nav, f"mkdocs.yml, nav: {name} is missing"


def test_commands_name_targets_of_the_makefile(root):
    known = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), flags=re.MULTILINE))
    for path in pages(root):
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), flags=re.MULTILINE):
            assert target in known, f"{path.relative_to(root)}: make {target}"


def test_every_flag_of_the_tables_is_explained(root):
    source = inspect.getsource(evaluate._wide_rows)
    raised = re.findall(r'^ +f?"([A-Za-z_-]+)[={"]', source.partition("flags = {")[2], re.MULTILINE)
    assert len(raised) >= 6
    page = (root / "docs/howto/tables.md").read_text()
    for flag in [*raised, "items_as_blocks"]:
        assert f"| `{flag}" in page, flag


def test_pins_of_the_documentation(root):
    """Plain pins, none of which the lock has in another version."""
    locked = dict(
        re.findall(r"^(\S+)==(\S+)", (root / "requirements.lock").read_text(), re.MULTILINE)
    )
    lines = (root / "docs/requirements.txt").read_text().splitlines()
    for line in filter(lambda line: not line.startswith("#"), lines):
        name, version = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line).groups()
        assert locked.get(name, version) == version, name


def test_api_pages_hold_every_module_once(root):
    api = tool(root, "api")
    names = api.modules()
    listed = re.findall(r"^::: genebert\.(\S+)$", "".join(api.pages(names).values()), re.MULTILINE)
    assert sorted(listed) == names
    tops = {name.split(".")[0] for name in names}
    for _, _, wanted in api.STAGES.values():
        assert set(wanted) <= tops, sorted(set(wanted) - tops)


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("One line.", "One line."),
        ("See :func:`~genebert.rng.mix` and ``x``.", "See `genebert.rng.mix` and `x`."),
        (
            "A.\n\nParameters\n----------\na, b : int[N], both.\n    More.\n*rest : others.\n",
            "A.\n\n\n**Parameters**\n\n- `a, b`: int[N], both.\n    More.\n- `*rest`: others.\n",
        ),
        (
            "A.\n\nRaises\n------\nInputError\n    If it is wrong.",
            "A.\n\n\n**Raises**\n\n- `InputError`:\n    If it is wrong.",
        ),
        ("A.\n\nReturns\n-------\nOnly text: of one line.", "A.\n\n\n**Returns**\n\nOnly text: of one line."),
    ],
)  # fmt: skip
def test_docstrings_become_markdown(root, docstring, markdown):
    assert tool(root, "docstrings").to_markdown(docstring) == markdown


def test_the_site_asks_for_nothing_outside(root):
    """Fonts, scripts and styles are local; what could bring others is switched off."""
    text = (root / "mkdocs.yml").read_text()
    assert "font: false" in text
    assert "polyfills: [assets/iframe-worker.js]" in text
    for path in (root / "docs").rglob("*.md"):
        assert "```mermaid" not in path.read_text(), f"{path}: mermaid is loaded from outside"
        assert not re.search(r"<(script|link|iframe)\b", prose(path)), path


@pytest.mark.parametrize(
    ("html", "found"),
    [
        ('<script src="assets/a.js"></script><a href="https://example.org/x">x</a>', []),
        ('<script defer src="https://example.org/a.js">', ["https://example.org/a.js"]),
        ("<img alt=x src=//example.org/a.png>", ["//example.org/a.png"]),
        ('<link href="https://e.org/a.css" rel="stylesheet">', ["https://e.org/a.css"]),
        ('<link rel="canonical" href="https://e.org/">', []),
    ],
)
def test_what_a_page_loads_from_outside_is_found(root, html, found):
    assert tool(root, "offline").loaded(html) == found


def blocks(root: Path, language: str) -> list[tuple[str, str]]:
    """Return (page, text) of every block of code in a language; one with a line `...` is a part."""
    return [
        (str(path.relative_to(root)), text)
        for path in pages(root)
        for text in re.findall(
            rf"^```{language}[^\n]*\n(.*?)^```", path.read_text(), flags=re.DOTALL | re.MULTILINE
        )
        if not re.search(r"^ *\.\.\.$", text, re.MULTILINE)
    ]


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Merge key by key, as `--configfile` does; lists are replaced."""
    out = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def test_configurations_in_the_pages_are_valid(root):
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    default = yaml.safe_load((root / "config/config.yaml").read_text())
    found = blocks(root, "yaml")
    assert len(found) > 4
    for page, text in found:
        change = yaml.safe_load(text)
        config = merged(default, change)
        if config["genome"]["source"] == "files":
            assert check_config(config, schema, file=page)["genome"]["source"] == "files"
        else:
            check_config(config, schema, file=page)


def test_python_in_the_pages_compiles(root):
    for page, text in blocks(root, "python"):
        compile(text, page, "exec")
