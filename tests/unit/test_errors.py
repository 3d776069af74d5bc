"""Errors read as one line that says where, what, found and expected."""

from genebert.errors import InputError, nearest


def test_one_line_with_everything():
    error = InputError("start is\nlarge", file="a.bed", row=3, found="9\n", expected="less than 5")
    assert str(error) == "a.bed, line 3: start is large; found '9\\n'; expected less than 5"


def test_parts_are_optional():
    assert str(InputError("empty")) == "empty"
    assert str(InputError("empty", file="x")) == "x: empty"


def test_nearest():
    assert nearest("promotr", ["promoter", "tfbs"]) == "; did you mean 'promoter'?"
    assert nearest("zzz", ["promoter"]) == ""
