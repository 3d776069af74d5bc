"""Three faults of each kind (`tests/benchmarks/faults.py` has all): nothing wrong, nothing missing."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from slurm_runs import FULL

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(not FULL, reason="long: GENEBERT_SLURM_FULL=1"),
]
KINDS = (
    "limit-slurm", "step-slurm", "driver-slurm", "slurmd-slurm", "cancel-slurm",
    "step-local", "driver-local", "disk-local",
)  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(
    local: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """Let all of them happen, several at the same time; those that only wait begin first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "tests/benchmarks"))
        faults = importlib.import_module("faults")
    parent = tmp_path_factory.mktemp("faults")
    chosen = [
        fault
        for kind in KINDS
        for fault in itertools.islice((f for f in faults.plan() if f.kind == kind), 3)
    ]
    base = faults.longer(local, parent)
    found: dict[str, list[Any]] = {kind: [] for kind in KINDS}
    for outcome in faults.run_all(chosen, base, parent, at_once=6):
        found[outcome.kind].append(outcome)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_leaves_nothing_wrong_and_the_documented_command_makes_it_whole(outcomes, kind):
    assert len(outcomes[kind]) == 3
    for outcome in outcomes[kind]:
        assert outcome.wrong == []
        assert outcome.missing == []
        assert outcome.command != "nothing helped"
