"""Faults of every kind on the cluster, three of each with those of `test_cluster.py`.

There a training is killed, cancelled, meets its time limit and loses its driver; here the same, and
the end of a slurmd and of the disk, happen to the stages before it. `GENEBERT_SLURM_FULL=1` has
three of every kind here, without SLURM too. All faults, at more moments:
`tests/benchmarks/faults.py`.
"""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from slurm_runs import FULL

pytestmark = pytest.mark.slurm
COUNTS = {  # those that wait longest begin first
    "limit-slurm": 2,
    "driver-slurm": 2,
    "slurmd-slurm": 3,
    "cancel-slurm": 2,
    "step-slurm": 2,
    "disk-local": 3,
}
if FULL:
    COUNTS = dict.fromkeys([*COUNTS, "step-local", "driver-local"], 3)


@pytest.fixture(scope="module")
def outcomes(
    local: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Any]]:
    """Let all of them happen, several at the same time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "tests/benchmarks"))
        faults = importlib.import_module("faults")
    chosen = [
        fault
        for kind, count in COUNTS.items()
        for fault in itertools.islice((f for f in faults.plan() if f.kind == kind), count)
    ]
    parent = tmp_path_factory.mktemp("faults")
    found: dict[str, list[Any]] = {kind: [] for kind in COUNTS}
    for outcome in faults.run_all(chosen, local.directory, parent, at_once=4):
        found[outcome.kind].append(outcome)
    return found


@pytest.mark.parametrize("kind", COUNTS)
def test_a_fault_leaves_nothing_wrong_and_the_documented_command_makes_it_whole(outcomes, kind):
    assert len(outcomes[kind]) == COUNTS[kind]
    for outcome in outcomes[kind]:
        assert outcome.wrong == []
        assert outcome.missing == []
        assert outcome.command != "nothing helped"
