"""Errors read as one line that says where, what, found and expected."""

import json

import pytest

from genebert.errors import InputError, nearest, reading


def test_one_line_with_everything():
    error = InputError("start is\nlarge", file="a.bed", row=3, found="9\n", expected="less than 5")
    assert str(error) == "a.bed, line 3: start is large; found '9\\n'; expected less than 5"


def test_parts_are_optional():
    assert str(InputError("empty")) == "empty"
    assert str(InputError("empty", file="x")) == "x: empty"


def test_nearest():
    assert nearest("promotr", ["promoter", "tfbs"]) == "; did you mean 'promoter'?"
    assert nearest("zzz", ["promoter"]) == ""


def read(path, *also):
    with reading(path, "cannot be read as JSON", *also):
        return json.loads(path.read_text())["kind"]


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON \(\[Errno 2\]"):
        read(path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON \(Expecting "):
        read(path)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"a\.json: cannot be read as JSON \('kind'\)"):
        read(path, KeyError)
    with pytest.raises(KeyError):  # a defect, where it is not said to be bad input
        read(path)
    path.write_text('{"kind": "binary"}')
    assert read(path) == "binary"


def test_what_is_told_already_is_told_as_it_is():
    with pytest.raises(InputError, match=r"^b: empty$"), reading("a", "cannot be read"):
        raise InputError("empty", file="b")
