"""Tables: required columns, names that become paths, paths relative to the table."""

import pytest

from genebert.errors import InputError
from genebert.tables import check_name, check_unique, expand_path, read_rows


@pytest.mark.parametrize("name", ["a", "HSC", "GMP-A", "0.1_x", "chr1"])
def test_good_names(name):
    assert check_name(name, file="f") == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "-a", "a b", "a\n", "a\tb", "ä", "a;rm"])
def test_bad_names(name):
    with pytest.raises(InputError, match="cannot be used in a file name"):
        check_name(name, file="f", row=2)


def test_read_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "/data")
    table = tmp_path / "t.tsv"
    table.write_text("#name\tpath\textra\na\tp/a.bed\t1\n\nb\t${DATA}/b.bed\t2\n")
    rows = read_rows(table, ("name", "path"), names=("name",), paths=("path",))
    assert rows == [
        {"name": "a", "path": str(tmp_path / "p/a.bed"), "extra": "1"},
        {"name": "b", "path": "/data/b.bed", "extra": "2"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("name\tpath\n", "has no rows"),
        ("nam\tpath\na\tb\n", "column 'name' is missing; did you mean 'nam'"),
        ("name\tpath\na\n", "line 2: wrong number of fields; found 1; expected 2"),
        ("name\tpath\na\tb\tc\n", "line 2: wrong number of fields; found 3; expected 2"),
        ("name\tpath\na\t\n", "line 2: path is empty"),
        ("name\tpath\na/b\tc\n", "line 2: name cannot be used"),
        ("name\tpath\na\t$NO_SUCH_VARIABLE/c\n", "line 2: environment variable 'NO_SUCH_VARIABLE'"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    table = tmp_path / "t.tsv"
    table.write_text(text)
    with pytest.raises(InputError) as error:
        read_rows(table, ("name", "path"), names=("name",), paths=("path",))
    assert message in str(error.value)
    assert str(table) in str(error.value)


def test_not_a_text_file(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read_rows(table, ("a",))


def test_unique_and_expand(monkeypatch):
    check_unique([{"a": "1"}, {"a": "2"}], ("a",), "t")
    with pytest.raises(InputError, match="t, line 3: row repeats line 2; found '1'"):
        check_unique([{"a": "1"}, {"a": "1"}], ("a",), "t")
    monkeypatch.setenv("X", "y")
    assert expand_path("$X/z", file="f") == "y/z"
    with pytest.raises(InputError):
        expand_path("$/z", file="f")
