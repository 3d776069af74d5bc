"""Tables made from providers' listings: samples of the formats, written here, not real rows."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from genebert import downloads, layout, listings
from genebert.errors import InputError
from genebert.tables import read_rows

INDEX = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /atlas/beds</title></head><body><h1>Index of /atlas/beds</h1>
<table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/atlas/">Parent Directory</a></td><td>&nbsp;</td></tr>
<tr><td><a href="Zeta%20cell%20(CD8+).bed">Zeta cell (CD8+).bed</a></td><td>3.6M</td></tr>
<tr><td><a href="Alpha.bed">Alpha.bed</a></td><td>3.6M</td></tr>
<tr><td><A HREF="./Beta&amp;Gamma%2b.bed">..</A></td><td>3.6M</td></tr>
<tr><td><a href="/atlas/beds/Absolute.bed">Absolute.bed</a></td></tr>
<tr><td><a href="https://elsewhere.example/other/Foreign.bed">Foreign</a></td></tr>
<tr><td><a href="sub/Deeper.bed">Deeper</a></td></tr>
<tr><td><a href="sub%2f..%2fSneaky.bed">Sneaky</a></td></tr>
<tr><td><a href="matrix.mtx.gz">matrix.mtx.gz</a></td></tr>
<tr><td><a href="README.txt">README.txt</a></td></tr>
</table></body></html>
"""
CATLAS = {
    "name": "catlas_cCRE_by_cell_type.html",
    "version": "v1",
    "url": "https://one.example/atlas/beds/",
    "mirror_url": "http://two.example/old/beds/",
    "licence": "none seen",
}
ENCODE = {"version": "hg19", "url": "http://one.example/dcc/files.txt", "licence": ""}
SUM = "0123456789abcdef0123456789ABCDEF"
DNASE = (
    f"labXCell1UniPk.narrowPeak.gz\tproject=p; cell=Cell-1; treatment=None; md5sum={SUM}; size=1234\n"
    "labXCell1HypoxiaUniPk.narrowPeak.gz\tcell=Cell-1; treatment=Hypoxia; md5sum=none; size=1.2M\n"
    "labXCell2UniPk.narrowPeak.gz\tcell=CD20+ (RO0)\n"
    "\n"
    "labXCell2.bigWig\tcell=CD20+ (RO0); md5sum=; size=9\n"
    "labYCell1UniPk.narrowPeak.gz\tcell=Cell-1; treatment=None\n"
)
CHIP = (
    "labXCell1CtcfUniPk.narrowPeak.gz\tcell=Cell-1; treatment=None; antibody=CTCF_(SC-1); size=10\n"
    "labYCell1CtcfUniPk.narrowPeak.gz\tcell=Cell-1; treatment=None; antibody=CTCF; size=1.5K\n"
    "labZCell1CtcfUniPk.narrowPeak.gz\tcell=Cell-1; treatment=None; antibody=CTCF; size=900\n"
    "labXCell1CtcfHypoxiaUniPk.narrowPeak.gz\tcell=Cell-1; treatment=Hypoxia; antibody=CTCF\n"
    "labXCell2PolUniPk.narrowPeak.gz\tcell=Cell-2; antibody=Pol2(phosphoS2)\n"
)


def table_of(tmp_path: Path, name: str, text: str, row: dict[str, str]) -> list[dict[str, str]]:
    listing, table = tmp_path / "listing", tmp_path / "table.tsv"
    listing.write_text(text)
    listings.write_table(listing=str(listing), table=str(table), name=name, row=row)
    with table.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_index_of_a_directory(tmp_path):
    rows = table_of(tmp_path, "catlas", INDEX, CATLAS)
    assert [row["label"] for row in rows] == [
        "Absolute",
        "Alpha",
        "Beta&Gamma+",
        "Zeta cell (CD8+)",
    ]
    assert [row["cell_type"] for row in rows] == [
        "Absolute",
        "Alpha",
        "Beta_Gammapos",
        "Zeta_cell_CD8pos",
    ]
    last = rows[-1]
    assert last["peaks"] == "resource:catlas/Zeta_cell_CD8pos.bed"
    assert last["format"] == "bed"
    assert last["url"] == "https://one.example/atlas/beds/Zeta%20cell%20%28CD8%2B%29.bed"
    assert last["mirror_url"] == "http://two.example/old/beds/Zeta%20cell%20%28CD8%2B%29.bed"
    assert last["version"] == "v1"
    assert last["md5"] == last["bytes"] == ""


def test_index_of_a_copy_on_disk(tmp_path):
    row = {**CATLAS, "url": "/data/beds/index.html", "mirror_url": ""}
    rows = table_of(tmp_path, "catlas", '<a href="A%20b.bed">A b.bed</a>', row)
    assert rows[0]["url"] == "/data/beds/A b.bed"
    assert rows[0]["mirror_url"] == ""


def test_labels_that_become_one_name_are_an_error(tmp_path):
    page = '<a href="A%20b.bed">x</a><a href="A_b.bed">y</a>'
    with pytest.raises(InputError, match="two labels become the name A_b; found 'A b and A_b'"):
        table_of(tmp_path, "catlas", page, CATLAS)
    page = '<a href="A.bed">x</a><a href="A.bed.gz">y</a>'
    rows = table_of(tmp_path, "catlas", page, CATLAS)  # one label: two replicates of a cell type
    assert [row["cell_type"] for row in rows] == ["A", "A"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>404 not found</html>", "links to no file .bed"),
        ('<a href="x.txt">x</a>', "found '1 links'"),
        ('<a href="((.bed">x</a>', "no name can be made of this label"),
        ("", "links to no file"),
    ],
)
def test_pages_that_are_no_index(tmp_path, text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        table_of(tmp_path, "catlas", text, CATLAS)


def test_dnase_sets_and_treatments(tmp_path):
    rows = table_of(tmp_path, "encode_dnase", DNASE, ENCODE)
    assert [row["cell_type"] for row in rows] == [
        "CD20pos_RO0",
        "Cell-1",
        "Cell-1",
        "Cell-1.Hypoxia",
    ]
    assert rows[1]["peaks"] == "resource:encode_dnase/labXCell1UniPk.narrowPeak.gz"
    assert rows[1]["url"] == "http://one.example/dcc/labXCell1UniPk.narrowPeak.gz"
    assert rows[1]["mirror_url"] == ""
    assert rows[1]["md5"] == SUM.lower()
    assert rows[1]["bytes"] == "1234"
    assert rows[3]["label"] == "Cell-1 Hypoxia"
    assert rows[3]["md5"] == rows[3]["bytes"] == ""  # 1.2M cannot be checked
    assert {row["format"] for row in rows} == {"narrowPeak"}


def test_chip_sets(tmp_path, caplog):
    with caplog.at_level("INFO", logger="genebert"):
        rows = table_of(tmp_path, "encode_tfbs", CHIP, ENCODE)
    found = [(row["tf"], row["cell_type"], row["peaks"].rpartition("/")[2]) for row in rows]
    assert found == [
        ("CTCF", "Cell-1", "labYCell1CtcfUniPk.narrowPeak.gz"),  # the largest of three
        ("CTCF", "Cell-1.Hypoxia", "labXCell1CtcfHypoxiaUniPk.narrowPeak.gz"),
        ("Pol2", "Cell-2", "labXCell2PolUniPk.narrowPeak.gz"),
    ]
    left = [r.getMessage() for r in caplog.records if "is left out" in r.getMessage()]
    assert len(left) == 2
    assert any("labXCell1CtcfUniPk.narrowPeak.gz is left out" in line for line in left)
    assert any("labZCell1CtcfUniPk.narrowPeak.gz is left out" in line for line in left)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.narrowPeak.gz cell=x\n", "line 1: is not a line of files.txt"),
        ("<html>\n", "is not a line of files.txt"),
        ("a.narrowPeak.gz\tcell=x\na.narrowPeak.gz\tcell=y\n", "line 2: repeats line 1"),
        ("../a.narrowPeak.gz\tcell=x\n", "line 1: is not the name of a file"),
        ("a.narrowPeak.gz\tlab=x\n", "line 1: no cell is given"),
        ("a.bigWig\tcell=x\n", "names no .narrowPeak file"),
        ("", "is empty"),
        (
            "a.narrowPeak.gz\tcell=A b\nb.narrowPeak.gz\tcell=A/b\n",
            "two labels become the name A_b",
        ),
    ],
)
def test_bad_files_txt(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        table_of(tmp_path, "encode_dnase", text, ENCODE)


def test_chip_set_without_antibody(tmp_path):
    with pytest.raises(InputError, match="line 1: no antibody is given"):
        table_of(tmp_path, "encode_tfbs", "a.narrowPeak.gz\tcell=x\n", ENCODE)


def test_every_listing_is_a_row_of_the_manifest_and_has_a_reader(root, tmp_path):
    rows = {
        row["name"]: row for row in downloads.manifest_rows({}, root / "resources/manifest.tsv")
    }
    for name, resource in layout.LISTINGS.items():
        assert rows[resource]["url"]
        text = INDEX if name == "catlas" else CHIP if name == "encode_tfbs" else DNASE
        assert table_of(tmp_path, name, text, rows[resource])


def test_table_gives_the_rows_that_downloads_need(tmp_path):
    config = {"resources_dir": str(tmp_path)}
    listing = tmp_path / "listing"
    listing.write_text(DNASE)
    table = layout.source(config, "listing:encode_dnase")
    with pytest.raises(
        InputError, match="no such table; expected `snakemake .*encode_dnase.table.tsv`"
    ):
        downloads.listed_row(config, "encode_dnase", "labXCell1UniPk.narrowPeak.gz")
    listings.write_table(listing=str(listing), table=table, name="encode_dnase", row=ENCODE)
    row = downloads.listed_row(config, "encode_dnase", "labXCell1UniPk.narrowPeak.gz")
    assert row["url"] == "http://one.example/dcc/labXCell1UniPk.narrowPeak.gz"
    assert row["name"] == "labXCell1UniPk.narrowPeak.gz"
    assert row["md5"] == SUM.lower()
    with pytest.raises(InputError, match="did you mean 'labXCell1UniPk.narrowPeak.gz'"):
        downloads.listed_row(config, "encode_dnase", "labXCell1Unipk.narrowPeak.gz")
    names = [r["peaks"] for r in read_rows(table, ("cell_type",), paths=("peaks",))]
    assert all(name.startswith("resource:encode_dnase/") for name in names)
