"""Shared by the unit tests: the configuration of the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genebert.config import check_config


@pytest.fixture
def config(root: Path) -> dict[str, Any]:
    """The configuration of the demo, checked and with its defaults."""
    schema = yaml.safe_load((root / "workflow/schemas/config.schema.yaml").read_text())
    return check_config(yaml.safe_load((root / "config/config.yaml").read_text()), schema)
