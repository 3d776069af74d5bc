"""MkDocs hook: the build fails if a page would load anything from outside the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

_LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"' >]+)"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))[^>]*"
    r"\bhref=[\"']?((?:https?:)?//[^\"' >]+)",
    re.IGNORECASE,
)


def loaded(html: str) -> list[str]:
    """Return the addresses outside the site that a browser would ask for to show a page."""
    return [first or second for first, second in _LOADED.findall(html)]


def on_post_build(*, config: Any) -> None:
    """Look through every page of the site."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        found = loaded(page.read_text(encoding="utf-8"))
        if found:
            raise PluginError(f"{page} loads {found[0]}: the site must work without a network")
