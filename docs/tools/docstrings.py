"""Griffe extension: the library's docstrings as Markdown.

In: docstrings in numpydoc sections whose entries are one line (``name : type, meaning``) and
reStructuredText roles. Out: bold titles, lists and code, which mkdocstrings renders as they are.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Notes")
_ROLE = re.compile(r":(?:func|class|meth|mod|data):`[.~]?([^`]+)`")
_ENTRY = re.compile(r"(\**\w[\w\[\], .*]*?) : (.+)")
_NAME = re.compile(r"\w[\w.]*")


def to_markdown(text: str) -> str:
    """Return a docstring as Markdown."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    lines = text.split("\n")
    out: list[str] = []
    section = ""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line in SECTIONS and below == "-" * len(line):
            section = line
            out += ["", f"**{line}**", ""]
        elif line and set(line) == {"-"} and number and lines[number - 1] in SECTIONS:
            continue
        elif section:
            out += _entry(line, section)
        else:
            out.append(line)
    return "\n".join(out)


def _entry(line: str, section: str) -> list[str]:
    """Return a line of a section: a new point of a list, or the continuation of one."""
    if line.startswith(" ") or not line:
        return [line and "    " + line.strip()]
    if section == "Raises" and _NAME.fullmatch(line):
        return [f"- `{line}`:"]
    found = _ENTRY.fullmatch(line)
    if found and section != "Notes":
        return [f"- `{found[1]}`: {found[2]}"]
    return [line]


class Docstrings(griffe.Extension):
    """Rewrites every docstring of the package."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)
