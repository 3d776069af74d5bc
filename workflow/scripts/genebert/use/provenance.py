"""What a result on a user's file was made with: version, weights, counts; as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import genebert
from genebert.disk import sha256
from genebert.use import VERSION


def origin(weights: str | Path, **more: Any) -> dict[str, Any]:
    """Return where a result comes from.

    Parameters
    ----------
    weights : a safetensors file.
    more : what else is to be recorded.
    """
    return {
        "genebert": genebert.__version__,
        "stage_version": VERSION,
        "weights": str(weights),
        "weights_sha256": sha256(weights),
        **more,
    }


def write(path: str | Path, record: dict[str, Any]) -> None:
    """Write a record as JSON."""
    Path(path).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
