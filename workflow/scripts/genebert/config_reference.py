"""The reference of the configuration in ``config/README.md``, written from the schema.

In: ``workflow/schemas/config.schema.yaml``. Out: one Markdown table per block (key, type, default,
allowed values, meaning), between two markers of the README. As a program it rewrites the README::

    python -m genebert.config_reference config/README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from genebert.config import resolve
from genebert.errors import InputError

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "config.schema.yaml"
BEGIN, END = "<!-- begin: written from the schema -->", "<!-- end: written from the schema -->"
HEADER = "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n"
_LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
}
_COUNTS = {"minItems": "at least {} of them", "maxItems": "at most {}", "minLength": "not empty"}

Schema = Mapping[str, Any]


def describe(schema: Schema) -> str:
    """Return the reference as Markdown: the single keys, then a heading and a table per block."""
    single, blocks = "", ""
    for name, child in schema["properties"].items():
        sub = resolve(child, schema)
        if _children(sub, schema):
            items = "[]" if sub.get("type") == "array" else ""
            lines = "".join(_line(*row, schema) for row in _walk(sub, name + items, schema))
            about = _meaning(sub)
            blocks += f"\n### `{name}`\n\n{about[0].upper()}{about[1:]}.\n\n{HEADER}{lines}"
        else:
            single += _line(name, sub, name in schema.get("required", []), schema)
    return f"\n{HEADER}{single}{blocks}\n"


def _children(sub: Schema, schema: Schema) -> Schema:
    """Return the keys below one key: its own, or those of the items of a list."""
    items = resolve(sub["items"], schema) if "items" in sub else {}
    found: Schema = sub.get("properties") or items.get("properties") or {}
    return found


def _walk(sub: Schema, key: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Yield (key, its schema, whether it must be given) of everything below a key."""
    holder = resolve(sub["items"], schema) if "items" in sub else sub
    for name, child in _children(sub, schema).items():
        found, full = resolve(child, schema), f"{key}.{name}"
        yield full, found, name in holder.get("required", [])
        yield from _walk(found, full + ("[]" if "items" in found else ""), schema)


def _line(key: str, sub: Schema, required: bool, schema: Schema) -> str:
    default = "must be given" if required and "default" not in sub else _default(sub)
    cells = (f"`{key}`", _type(sub, schema), default, _allowed(sub), _meaning(sub))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _type(sub: Schema, schema: Schema) -> str:
    """Return the type in words."""
    if "enum" in sub:
        kinds = sorted({"boolean" if isinstance(v, bool) else "text" for v in sub["enum"]})
        return " or ".join(kinds)
    if "oneOf" in sub:
        return " or ".join(_type(one, schema) for one in sub["oneOf"])
    if sub.get("type") == "array":
        return f"list of {_plural(resolve(sub.get('items', {}), schema))}"
    if sub.get("type") == "object":
        values = sub.get("additionalProperties")
        return f"mapping to {_plural(values)}" if isinstance(values, Mapping) else "block"
    return "text" if sub["type"] == "string" else str(sub["type"])


def _plural(items: Schema) -> str:
    kind = "string" if "enum" in items else items.get("type", "")
    names = {"string": "texts", "array": "lists", "object": "blocks", "": "values"}
    return names.get(kind, f"{kind}s")


def _default(sub: Schema) -> str:
    value = sub.get("default", {})
    if value == {}:
        return "" if sub.get("type") == "object" else "none"
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _allowed(sub: Schema) -> str:
    """Return the values that are allowed."""
    if "enum" in sub:
        return ", ".join(f"`{json.dumps(v) if isinstance(v, bool) else v}`" for v in sub["enum"])
    items = sub.get("items", {})
    if "enum" in items:
        return "of " + _allowed(items)
    found = [words.format(sub[name]) for name, words in _LIMITS.items() if name in sub]
    found += [words.format(sub[name]) for name, words in _COUNTS.items() if name in sub]
    each = [words.format(items[name]) for name, words in _LIMITS.items() if name in items]
    return ", ".join(found + ([f"each {', '.join(each)}"] if each else []))


def _meaning(sub: Schema) -> str:
    return " ".join(str(sub["description"]).split())


def inject(text: str, reference: str) -> str:
    """Return a page with the reference between its markers.

    Raises
    ------
    InputError
        If the page lacks a marker.
    """
    before, found, rest = text.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise InputError("has no place for the reference", file="page", expected=f"{BEGIN} {END}")
    return f"{before}{BEGIN}\n{reference}{END}{after}"


def main() -> None:
    """Write the reference into the page that the command line names."""
    page = Path(sys.argv[1])
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    page.write_text(inject(page.read_text(encoding="utf-8"), describe(schema)), encoding="utf-8")


if __name__ == "__main__":
    main()
