"""What is said about a SLURM site before the first job, with stand-ins for SLURM's programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from genebert import slurm
from genebert.errors import InputError

SINFO = "cpu|(null)\nshort|(null)\ngpu|gpu:a100:4(S:0-1)\ngpu|gpu:h100:8,nvme:1\nold|gpu:2"


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    """A cluster of stand-ins: what its environment looks like."""
    for name in slurm.CLIENTS:
        program(tmp_path, name, f"cat <<'E'\n{SINFO}\nE" if name == "sinfo" else "exit 0")
    program(tmp_path, "sacctmgr", "printf 'lab\\nroot\\n'")
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


@pytest.fixture(autouse=True)
def _on_path(site: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", site["PATH"])


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_largest_node_of_a_partition_counts():
    assert slurm.gpus_by_partition(SINFO.splitlines()) == {
        "cpu": 0,
        "short": 0,
        "gpu": 8,
        "old": 2,
    }


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"GENEBERT_PARTITION": "cpu,short", "GENEBERT_ACCOUNT": "LAB"},
        {"GENEBERT_GPU_PARTITION": "gpu", "GENEBERT_GPUS": "8", "GENEBERT_NODES": "2"},
        {"GENEBERT_GPU_PARTITION": "cpu,old", "GENEBERT_GPUS": "2"},
        {"GENEBERT_PARTITION": "", "GENEBERT_GPUS": ""},
    ],
)
def test_what_fits_passes(site, variables):
    slurm.check_site({**site, **variables})


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GENEBERT_PARTITION": "shrt"}, "no partition 'shrt'; did you mean 'short'?; expected"),
        ({"GENEBERT_GPU_PARTITION": "gpu,x"}, "GENEBERT_GPU_PARTITION: the cluster has no part"),
        ({"GENEBERT_GPU_PARTITION": "gpu", "GENEBERT_GPUS": "9"}, "found 9; expected at most 8"),
        ({"GENEBERT_GPU_PARTITION": "cpu"}, "no node of cpu has that many GPUs; found 1"),
        ({"GENEBERT_GPUS": "9"}, "no node of the cluster has that many GPUs"),
        ({"GENEBERT_GPUS": "two"}, "variable GENEBERT_GPUS is wrong; found 'two'"),
        ({"GENEBERT_ACCOUNT": "lob"}, "may not use the account 'lob'; did you mean 'lab'?"),
    ],
)
def test_what_does_not_fit_is_one_line(site, variables, words):
    with pytest.raises(InputError) as error:
        slurm.check_site({**site, **variables})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_no_slurm_is_one_line(site, tmp_path):
    (tmp_path / "sbatch").unlink()
    with pytest.raises(InputError, match="no SLURM here: the program sbatch is not found"):
        slurm.check_site({**site, "PATH": str(tmp_path)})


def test_a_silent_controller_is_one_line(site, tmp_path):
    program(tmp_path, "sinfo", "echo 'Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(InputError, match="SLURM does not answer"):
        slurm.check_site(site)


@pytest.mark.parametrize("answer", ["exit 1", "exit 0"])
def test_without_accounting_an_account_is_left_to_slurm(site, tmp_path, answer):
    program(tmp_path, "sacctmgr", answer)
    slurm.check_site({**site, "GENEBERT_ACCOUNT": "any"})


def test_no_account_where_one_is_wanted_is_one_line(site, tmp_path):
    program(tmp_path, "sacctmgr", "exit 0")
    program(tmp_path, "scontrol", "echo 'AccountingStorageEnforce = none'")
    slurm.check_site(site)
    program(tmp_path, "scontrol", "echo 'AccountingStorageEnforce = associations,limits'")
    with pytest.raises(InputError, match="this SLURM wants an account, and .* has none"):
        slurm.check_site(site)


@pytest.mark.parametrize(
    ("name", "value"),
    [("NODES", "0"), ("GPUS", "two"), ("MB_PER_GPU", "64G"), ("GPU_MINUTES", "1-00:00:00")],
)
def test_numbers_of_the_profile_are_numbers(name, value):
    slurm.check_numbers({f"GENEBERT_{name}": "", "GENEBERT_CPUS_PER_GPU": "8"})
    with pytest.raises(InputError, match=f"GENEBERT_{name} is wrong; found '{value}'"):
        slurm.check_numbers({f"GENEBERT_{name}": value})
