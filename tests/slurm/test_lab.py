"""The test cluster keeps its hands off a SLURM that is not its own; nothing is started here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

LAB = Path(__file__).with_name("lab.py")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("GENEBERT_SLURM_LAB", str(tmp_path / "lab"))
    spec = importlib.util.spec_from_file_location("lab", LAB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_free_machine_is_free(lab, tmp_path):
    lab.check_free(tmp_path / "slurm.conf", {})


def test_a_configuration_of_the_site_is_refused(lab, tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=site\n")
    with pytest.raises(lab.LabError, match="exists, this machine has a SLURM of its own"):
        lab.check_free(conf, {})
    assert conf.read_text() == "ClusterName=site\n"


def test_only_its_own_link_is_accepted(lab, tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.symlink_to(tmp_path / "lab/etc/slurm.conf")
    lab.check_free(conf, {})
    conf.unlink()
    conf.symlink_to("/opt/site/slurm.conf")
    with pytest.raises(lab.LabError, match="is a link to /opt/site/slurm.conf, not of this lab"):
        lab.check_free(conf, {})


@pytest.mark.parametrize("name", ["slurmd", "munged", "slurmctld"])
def test_a_daemon_of_somebody_else_is_refused(lab, tmp_path, name):
    with pytest.raises(lab.LabError, match=f"refused: {name} \\(process 17\\) runs already"):
        lab.check_free(tmp_path / "slurm.conf", {17: name})


def test_a_daemon_of_its_own_is_not(lab, tmp_path):
    (tmp_path / "lab/run").mkdir(parents=True)
    name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    (tmp_path / f"lab/run/{name}.pid").write_text(f"{os.getpid()}\n")
    lab.check_free(tmp_path / "slurm.conf", {os.getpid(): name})


def test_a_stale_process_number_is_nobody(lab, tmp_path):
    (tmp_path / "lab/run").mkdir(parents=True)
    (tmp_path / "lab/run/slurmctld.pid").write_text(f"{os.getpid()}\n")  # not a slurmctld
    assert lab.pids(tmp_path / "lab") == {}


def test_packages_that_cannot_be_installed_are_one_line(tmp_path):
    environment = {"PATH": str(tmp_path), "GENEBERT_SLURM_LAB": str(tmp_path / "lab")}
    code = (
        f"import sys; sys.argv = ['lab.py', 'install']; sys.path.insert(0, {str(LAB.parent)!r})\n"
        "import lab; lab.which = lambda name: None; lab.check_free = lambda: None\n"
        "sys.exit(lab.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("lab: no slurmctld, and only root can install it: apt-get install ")


def test_status_and_stop_where_nothing_runs(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "LINK", tmp_path / "slurm.conf")
    monkeypatch.setattr(sys, "argv", ["lab.py", "status"])
    assert lab.main() == 1
    assert capsys.readouterr().out == "not running\n"
    monkeypatch.setattr(sys, "argv", ["lab.py", "stop"])
    assert lab.main() == 0
