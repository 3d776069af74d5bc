"""The two profiles, as Snakemake reads them: what they make of the command line and of a site."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yte

from genebert.predict import MODELS


@pytest.fixture
def profile(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name in ("CUDA_VISIBLE_DEVICES", "SNAKEMAKE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def read(name: str, arguments: str = "", **environment: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["snakemake", *arguments.split()])
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        with (root / "profiles" / name / "config.v8+.yaml").open() as handle:
            return dict(yte.process_yaml(handle))

    return read


@pytest.mark.parametrize(
    ("arguments", "local"),
    [
        ("", True),
        ("check --directory runs/slurm", True),
        ("--executor local", True),
        ("--profile slurm", False),
        ("--profile=profiles/slurm/", False),
        ("--executor slurm", False),
        ("-e cluster-generic", False),
        ("--profile mine", True),  # without an executor
        ("--profile site", False),
        ("--profile nowhere", False),  # of another system, perhaps
        ("--profile none", True),
    ],
)
def test_cores_are_given_where_no_cluster_is(
    root, profile, tmp_path, monkeypatch, arguments, local
):
    monkeypatch.chdir(root)
    places = tmp_path / ".config/snakemake"
    for name, text in (("mine", "conda-prefix: /envs\n"), ("site", "jobs: 9\nexecutor: lsf\n")):
        (places / name).mkdir(parents=True)
        (places / name / "config.yaml").write_text(text)
    made = profile("default", arguments, CUDA_VISIBLE_DEVICES="0")
    assert ("cores" in made, "resources" in made) == (local, local)


def test_what_can_use_a_local_gpu_shares_it_one_by_one(profile):
    made = profile("default", CUDA_VISIBLE_DEVICES="0,1")
    assert made["resources"] == {"gpu": 1}
    assert made["set-resources"]["pretrain"] == {"gpu": 1}


def test_only_predictions_of_networks_wait_for_the_local_gpu(profile):
    asked = profile("default", CUDA_VISIBLE_DEVICES="0")["set-resources"]["predict"]["gpu"]
    for name, model in MODELS.items():
        wildcards = SimpleNamespace(model=name)
        assert eval(asked, {"wildcards": wildcards}) == model.function.startswith("finetune:"), name
    assert eval(asked, {"wildcards": SimpleNamespace(model="genebert-sequence")}) == 1


@pytest.mark.parametrize(
    ("arguments", "text", "left"),
    [
        ("", "", {"cores", "resources", "set-resources"}),
        ("", "cores: 1\nresources: {mem_mb: 8000}\n", {"set-resources"}),
        ("", "jobs: 4\n", {"resources", "set-resources"}),  # cores, where all is local
        ("", "keep-going: true\nset-resources:\n  regions: {mem_mb: 9}\n", {"cores", "resources"}),
        ("-j 3", "", {"resources", "set-resources"}),
        ("-j3", "", {"resources", "set-resources"}),
        ("--jobs=3", "", {"resources", "set-resources"}),
    ],
)
def test_keys_of_the_users_own_profile_hold(profile, tmp_path, arguments, text, left):
    place = tmp_path / ".config/snakemake/mine"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(text)
    made = profile("default", arguments, SNAKEMAKE_PROFILE="mine", CUDA_VISIBLE_DEVICES="0")
    assert {"cores", "resources", "set-resources"} & set(made) == left


def test_the_profile_none_undoes_that_of_the_environment(profile):
    made = profile("default", "--profile none", SNAKEMAKE_PROFILE="slurm")
    assert made["cores"] == "all"


def test_names_of_a_site_are_texts_for_snakemake(profile):
    """Default resources are evaluated as Python: `all` and `2023-101` would be a function and 1922."""
    site = {"PARTITION": "all", "ACCOUNT": "2023-101", "GPU_PARTITION": "open", "CONSTRAINT": "max"}
    made = profile("slurm", **{f"GENEBERT_{key}": value for key, value in site.items()})
    found = made["default-resources"]
    keys = ("slurm_partition", "slurm_account", "constraint")
    assert [eval(found[key]) for key in keys] == ["all", "2023-101", "max"]
    assert eval(made["set-resources"]["pretrain"]["slurm_partition"]) == "open"


def test_numbers_that_are_none_wait_for_the_line_at_the_start(profile):
    wrong = {
        "GPU_PARTITION": "gpu",
        "GPUS": "two",
        "MB_PER_GPU": "64G",
        "GPU_MINUTES": "1-00:00:00",
    }
    training = profile("slurm", **{f"GENEBERT_{key}": value for key, value in wrong.items()})[
        "set-resources"
    ]["pretrain"]
    assert (training["gpu"], training["mem_mb"], training["runtime"]) == (1, 12000, 1440)
