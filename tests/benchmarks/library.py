"""Imported first by every benchmark: makes `genebert` and the toys of the tests importable."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
sys.path[:0] = [str(SCRIPTS), str(ROOT / "tests")]
