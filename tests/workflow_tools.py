"""Small helpers of the workflow tests."""

from __future__ import annotations


def last_line(text: str) -> str:
    """Return the last line that is not empty."""
    return [line for line in text.splitlines() if line.strip()][-1]
