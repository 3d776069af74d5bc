"""Shared by all tests: the library on the path, and where the real data are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real human data; tests that need it are skipped where it is not."""
    path = Path(os.environ.get("GENEBERT_REALDATA", ROOT.parent / "shared" / "realdata"))
    if not (path / "hg19.mini.fa.gz").exists():
        pytest.skip(f"no real data at {path} (set GENEBERT_REALDATA)")
    return path.resolve()
