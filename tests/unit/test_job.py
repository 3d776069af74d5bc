"""The job runner: arguments by name, outputs moved into place, one line for bad input."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from genebert import job
from genebert.errors import InputError


class Named(dict):
    """Stands in for a Snakemake list: named entries, and entries by position."""

    def __getitem__(self, key):
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


@pytest.fixture
def snakemake(tmp_path):
    return SimpleNamespace(
        input=Named(a=str(tmp_path / "in.txt"), many=[str(tmp_path / "x"), str(tmp_path / "y")]),
        output=Named(
            b=str(tmp_path / "out/b.txt"), c=[str(tmp_path / "out/c0"), str(tmp_path / "out/c1")]
        ),
        params=Named(level=3, version=7),
        log=[str(tmp_path / "job.log")],
    )


def test_names_become_arguments_and_outputs_are_moved(snakemake, tmp_path):
    seen = {}

    def function(*, a, many, b, c, level):
        seen.update(a=a, many=many, level=level)
        assert Path(b).name == "b.txt"
        assert not (tmp_path / "out/b.txt").exists()
        for path in (b, *c):
            Path(path).write_text("whole")

    job.run(snakemake, function)
    assert seen == {"a": snakemake.input["a"], "many": snakemake.input["many"], "level": 3}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["b.txt", "c0", "c1"]
    assert "done in" in (tmp_path / "job.log").read_text()


@pytest.mark.parametrize(
    "error", [InputError("bad", file="f", row=2), ZeroDivisionError("no"), KeyboardInterrupt()]
)
def test_a_failing_job_leaves_nothing_and_ends_its_log_in_one_line(
    snakemake, tmp_path, error, capsys
):
    def function(*, a, many, b, c, level):
        Path(b).write_text("half")
        raise error

    (tmp_path / "out").mkdir()
    with pytest.raises(SystemExit) as exit_:
        job.run(snakemake, function)
    assert exit_.value.code == 1
    assert list((tmp_path / "out").iterdir()) == []
    last = (tmp_path / "job.log").read_text().splitlines()[-1]
    assert "ERROR" in last
    if isinstance(error, InputError):
        assert last.endswith("f, line 2: bad")
        assert "Traceback" not in (tmp_path / "job.log").read_text()
        assert capsys.readouterr().err == "error: f, line 2: bad\n"


def test_a_failing_job_keeps_what_stood_there(snakemake, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.txt").write_text("old")

    def function(**kwargs):
        Path(kwargs["b"]).write_text("new")
        raise InputError("bad")

    with pytest.raises(SystemExit):
        job.run(snakemake, function)
    assert (tmp_path / "out/b.txt").read_text() == "old"


def test_an_output_that_was_not_written_is_an_error(snakemake, tmp_path):
    with pytest.raises(SystemExit):
        job.run(snakemake, lambda **kwargs: None)
    assert "did not write b.txt" in (tmp_path / "job.log").read_text()


def test_only_and_in_place(snakemake):
    seen = {}
    job.run(snakemake, lambda **kwargs: seen.update(kwargs), moves=False, only=("a",), extra=1)
    assert seen == {"a": snakemake.input["a"], "extra": 1}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), RuntimeError("errno = 28")])
def test_a_full_disk_is_one_line_that_names_the_output(snakemake, tmp_path, error, capsys):
    def function(*, a, many, b, c, level):
        Path(b).write_text("whole")
        os.utime(b, (1, 1))
        Path(c[1]).write_text("half")
        raise error

    with pytest.raises(SystemExit):
        job.run(snakemake, function)
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path}/out/c1: cannot be written, the disk is full; found ")
    assert line.count("\n") == 1
    assert line.strip().removeprefix("error: ") in (tmp_path / "job.log").read_text()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_message_about_bad_input_is_never_taken_for_a_full_disk(snakemake, capsys):
    def function(**kwargs):
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError:
            raise InputError("bad", file="f") from None

    with pytest.raises(SystemExit):
        job.run(snakemake, function)
    assert capsys.readouterr().err == "error: f: bad\n"


def test_two_calls_of_one_process_do_not_delete_each_others_files(tmp_path):
    with job.outputs_in_place({"a": str(tmp_path / "a")}) as one:
        with job.outputs_in_place({"b": str(tmp_path / "b")}) as two:
            Path(two["b"]).write_text("b")
        Path(one["a"]).write_text("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_killed_jobs_have_left_is_deleted(snakemake, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    here = socket.gethostname()
    (tmp_path / "out").mkdir()
    dead = tmp_path / "out" / f".part-{here}-{child.pid}-1"
    alive = tmp_path / "out" / f".part-{here}-{os.getppid()}-1"
    elsewhere = tmp_path / "out" / f".part-elsewhere-{child.pid}-1"
    for folder in (dead, alive, elsewhere):
        folder.mkdir()
        (folder / "b.txt").write_text("half")

    def function(*, b, c, **rest):
        for path in (b, *c):
            Path(path).write_text("whole")

    job.run(snakemake, function)
    assert not dead.exists()
    assert (alive / "b.txt").exists()  # another job at work, here or on another machine
    assert (elsewhere / "b.txt").exists()


def test_outputs_of_a_machine_of_a_longer_name_stay(tmp_path, monkeypatch):
    """On a shared disk, seen from `hpc`: the number in `hpc-304` is no process of this machine."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    monkeypatch.setattr(socket, "gethostname", lambda: "hpc")
    dead = tmp_path / f".part-hpc-{child.pid}-1"
    others = [
        f".part-hpc-{child.pid}-{child.pid}-1",  # of the machine hpc-NUMBER
        f".part-my-hpc-{child.pid}-1",
        f".part-hpc-{10**30}-1",
        f".part-hpc-{child.pid}",
        ".part-hpc-",
    ]
    for folder in (dead, *(tmp_path / name for name in others)):
        folder.mkdir()
        (folder / "b").write_text("half")
    with job.outputs_in_place({"b": str(tmp_path / "b")}) as outputs:
        Path(outputs["b"]).write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["b", *others])


REPORT = """
import json, os, subprocess, sys
from types import SimpleNamespace
{imports}
from genebert import job

def report(*, told, **rest):
    import numpy, scipy.linalg
    from threadpoolctl import threadpool_info
    threads = {{pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}}
    if "torch" in sys.modules:
        threads["torch"] = sys.modules["torch"].get_num_threads()
    child = [sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    threads["child"] = int(subprocess.run(child, capture_output=True, text=True).stdout)
    open(told, "w").write(json.dumps(threads))

job.run(SimpleNamespace(input=dict(), output=dict(told={told!r}), params={{}}, log=[]), report, **{given})
"""


@pytest.mark.parametrize(
    ("shell", "imports", "given", "threads"),
    [
        (None, "", {}, 1),
        ("2", "", {}, 1),
        ("2", "import numpy, scipy.linalg, torch", {}, 1),
        ("7", "import numpy, scipy.linalg", {"threads": 2}, 2),
    ],
)
def test_threads_are_those_of_the_configuration(tmp_path, root, shell, imports, given, threads):
    """Whatever the shell exports, and whether the libraries are loaded before or after."""
    told = tmp_path / "told.json"
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(root / "workflow/scripts")
    if shell:
        environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = shell
    code = REPORT.format(imports=imports, told=str(told), given=given)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    found = json.loads(told.read_text())
    assert set(found.values()) == {threads}, found
    assert {"blas", "child"} <= set(found)
    assert ("torch" in found) == ("torch" in imports)
