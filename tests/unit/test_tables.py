"""Tables: required columns, names that become paths, paths relative to the table."""

import pytest

from genebert.errors import InputError
from genebert.tables import (
    check_name,
    check_resource,
    check_unique,
    expand_path,
    read_rows,
    safe_name,
)


@pytest.mark.parametrize("name", ["a", "HSC", "GMP-A", "0.1_x", "chr1"])
def test_good_names(name):
    assert check_name(name, file="f") == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "-a", "a b", "a\n", "a\tb", "ä", "a;rm"])
def test_bad_names(name):
    with pytest.raises(InputError, match="cannot be used in a file name"):
        check_name(name, file="f", row=2)


def test_a_bad_name_is_told_with_a_good_one():
    with pytest.raises(InputError, match="first a letter or digit, such as 'CD4pos_T'$"):
        check_name("CD4+ T", file="f", row=2)
    with pytest.raises(InputError, match="first a letter or digit$"):
        check_name("(--)", file="f")


def test_read_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA", "/data")
    table = tmp_path / "t.tsv"
    table.write_text("#name\tpath\textra\na\tp/a.bed\t1\nb\t${DATA}/b.bed\t2\n\n\n")
    rows = read_rows(table, ("name", "path"), names=("name",), paths=("path",))
    assert rows == [
        {"name": "a", "path": str(tmp_path / "p/a.bed"), "extra": "1"},
        {"name": "b", "path": "/data/b.bed", "extra": "2"},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("name\tpath\n", "has no rows"),
        ("name\tpath\n\n\n", "has no rows"),
        ("name\tpath\na\tb\n\nc\td\n", "line 3: line is empty; expected rows without gaps"),
        ("nam\tpath\na\tb\n", "column 'name' is missing; rename 'nam'"),
        ("name\tpath\tage\tage\na\tb\t1\t2\n", "line 1: column 'age' stands twice"),
        ("name\tpath\na\n", "line 2: wrong number of fields; found 1; expected 2"),
        ("name\tpath\na\tb\tc\n", "line 2: wrong number of fields; found 3; expected 2"),
        ("name\tpath\na\t\n", "line 2: path is empty"),
        ("name\tpath\na/b\tc\n", "line 2: name cannot be used"),
        ("name\tpath\na\t$NO_SUCH_VARIABLE/c\n", "line 2: environment variable 'NO_SUCH_VARIABLE'"),
        ('name\tpath\na\tb\nc\t"\nd\te\n', "line 3: cannot be split into fields"),
        ('name\tpath\na\t"\nc\t"\nd\te\n', "line 2: cannot be split into fields"),
        ('name\tpath\na\t"b"c\n', "line 2: cannot be split into fields"),
        (
            "name\tpath\na\t" + "x" * 200_000 + "\n",
            "line 2: cannot be split into fields (field larger",
        ),
    ],
)
def test_bad_tables(tmp_path, text, message):
    table = tmp_path / "t.tsv"
    table.write_text(text)
    with pytest.raises(InputError) as error:
        read_rows(table, ("name", "path"), names=("name",), paths=("path",))
    assert message in str(error.value)
    assert str(table) in str(error.value)


def test_columns_without_a_name_may_stand_twice(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("name\tpath\t\t\na\tb\t\t\n")
    assert read_rows(table, ("name",)) == [{"name": "a", "path": "b", "": ""}]


def test_quotes_of_spreadsheets_are_read(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text('name\tpath\tnote\na\tb\t"5"" cuff, left"\nc\td\t5" cuff\n')
    rows = read_rows(table, ("name",))
    assert [row["note"] for row in rows] == ['5" cuff, left', '5" cuff']


def test_a_table_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.raises(InputError, match=r"t\.tsv: cannot be read \(Permission denied\)"):
        read_rows(tmp_path / "t.tsv", ("name",))


def test_not_a_text_file(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read_rows(table, ("a",))


def test_unique_and_expand(monkeypatch):
    check_unique([{"a": "1"}, {"a": "2"}], ("a",), "t")
    with pytest.raises(InputError, match="t, line 3: row repeats line 2; found '1'"):
        check_unique([{"a": "1"}, {"a": "1"}], ("a",), "t")
    chip = [{"tf": "CTCF", "cell_type": "HSC", "peaks": name} for name in "ab"]
    with pytest.raises(
        InputError,
        match="row repeats line 2; found 'CTCF HSC'; expected one row for each tf and cell_type; merge the peaks of replicates",
    ):
        check_unique(chip, ("tf", "cell_type"), "t")
    with pytest.raises(InputError, match="expected one row for each cell_type and peaks$"):
        check_unique([chip[0]] * 2, ("cell_type", "peaks"), "t")
    monkeypatch.setenv("X", "y")
    assert expand_path("$X/z", file="f") == "y/z"
    assert expand_path("${X}/z", file="f") == "y/z"
    with pytest.raises(InputError):
        expand_path("$/z", file="f")
    with pytest.raises(InputError, match="f, line 4: a path cannot have braces; found '{x}/z'"):
        expand_path("{x}/z", file="f", row=4)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/x/dl/", "/x/dl"),
        ("./dl", "dl"),
        ("a//b/./c/", "a/b/c"),
        ("~/dl", "/home/me/dl"),
        ("../a/../b", "../a/../b"),  # `a` may be a link
        ("", ""),
        *(
            (same, same)
            for same in ("resource:catlas/a.bed", "https://x.org/a//b/", "listing:catlas")
        ),
    ],
)
def test_paths_are_as_snakemake_wants_them(monkeypatch, text, path):
    monkeypatch.setenv("HOME", "/home/me")
    assert expand_path(text, file="f") == path


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("K562", "K562"),
        ("T Lymphocyte 1 (CD8+)", "T_Lymphocyte_1_CD8pos"),
        ("CD4-", "CD4-"),
        ("CD4+", "CD4pos"),
        ("Monocytes-CD14+_RO01746", "Monocytes-CD14pos_RO01746"),
        ("../etc/passwd", "etc_passwd"),
        ("µglia\n", "glia"),
        ("a\tb", "a_b"),
    ],
)
def test_names_made_of_labels(label, name):
    assert safe_name(label, file="f") == name
    assert check_name(name, file="f") == name


def test_a_label_without_letters():
    with pytest.raises(InputError, match="no name can be made"):
        safe_name("(--)", file="f")


@pytest.mark.parametrize(
    "value", ["resource:", "resource:/etc/x", "resource:../x", "resource:a/../b", "resource:a/b/c"]
)
def test_bad_names_of_downloads(value):
    with pytest.raises(InputError, match="is not the name of a download"):
        check_resource(value, file="f", row=3)


def test_downloads_in_tables_stay_as_they_are(tmp_path):
    table = tmp_path / "t.tsv"
    table.write_text("name\tpath\na\tresource:x.bed\nb\tresource:catlas/y.bed\n")
    rows = read_rows(table, ("name", "path"), paths=("path",))
    assert [row["path"] for row in rows] == ["resource:x.bed", "resource:catlas/y.bed"]
    table.write_text("name\tpath\na\tresource:../x.bed\n")
    with pytest.raises(InputError, match="line 2: is not the name of a download"):
        read_rows(table, ("name", "path"), paths=("path",))
