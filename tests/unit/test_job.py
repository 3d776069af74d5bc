"""The job runner: arguments by name, outputs moved into place, one line for bad input."""

from __future__ import annotations

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
