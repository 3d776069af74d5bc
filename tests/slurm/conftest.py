"""The cluster, once for all tests, and the runs that several of them compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_runs import RUNS, Run, copied, lab, launch


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start the cluster, once."""
    if "slurm" not in str(request.config.getoption("-m")):
        pytest.skip("a SLURM of its own: make test-slurm")
    try:
        lab.start()
    except lab.LabError as error:
        pytest.exit(f"lab: {error}", returncode=1)
    try:
        yield
    finally:
        for run in RUNS:  # a test that failed has not waited for its own
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        lab.stop()


@pytest.fixture(scope="session")
def everything(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Start the whole pipeline on the cluster; the test that needs it waits for it."""
    directory = tmp_path_factory.mktemp("everything")
    return launch(directory, GENEBERT_ACCOUNT="lab", GENEBERT_GPU_PARTITION="gpu")


@pytest.fixture(scope="session")
def local(everything: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same without SLURM."""
    return launch(tmp_path_factory.mktemp("local"), profile=False).well()


@pytest.fixture
def copy(local: Run, tmp_path: Path) -> Path:
    """A copy of the finished local run, without its training."""
    return copied(local, tmp_path)
