"""From the formats of published atlases to the long table, good and bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genebert.atlas_tables import COLUMNS, convert
from genebert.errors import InputError
from genebert.peaks import read_atlas

CONTIGS = {"chr1": 10_000, "chr2": 10_000, "chrUn_gl1": 1000}

DESCARTES = (
    '"feature"\t"cell_type"\t"specificity_score"\t"zscore_filtered"\n'
    '"1"\t"chr2_50_90"\t"ENS glia"\t0.5\tFALSE\n'
    '"2"\t"chr1_100_200"\t"ENS glia"\t0.125\tFALSE\n'
    '"3"\t"chr1_300_400"\t"ENS glia"\t0.75\tTRUE\n'
    '"4"\t"chr1_100_200"\t"Astrocytes/1"\t0.25\tFALSE\n'
    '"5"\t"chrUn_gl1_5_9"\t"Astrocytes/1"\t0.5\tFALSE\n'
    '"6"\t"chr1_5_9"\t"none"\t0.5\tTRUE\n'
)
BED = "chr2\t50\t90\nchr1\t100\t200\nchr1\t300\t400\n"
NAMES = "Zeta cell\nT (CD8+)\nempty\n"
MATRIX = (
    "%%MatrixMarket matrix coordinate pattern general\n%\n% comment\n3 3 4\n1 2\n3 1\n1 1\n2 1\n"
)


def write(path: Path, text: str) -> str:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def run(folder: Path, source: str, files: list[str], **settings: object) -> list[list[str]]:
    """Convert; return the rows of the long table, and check that it can be read."""
    peaks, cell_types = str(folder / "peaks.tsv.gz"), str(folder / "cell_types.tsv")
    convert(source=source, files=files, peaks=peaks, cell_types=cell_types, settings=settings)
    read_atlas(peaks, CONTIGS)
    return [line.split("\t") for line in gzip.open(peaks, "rt").read().splitlines()]


def qc(folder: Path) -> list[list[object]]:
    table = pd.read_csv(folder / "cell_types.tsv", sep="\t", keep_default_na=False)
    assert tuple(table) == COLUMNS
    return table.to_numpy().tolist()


def matrix(folder: Path, text: str = MATRIX, bed: str = BED, names: str = NAMES) -> list[str]:
    return [
        write(folder / "matrix.mtx.gz", text),
        write(folder / "cCREs.bed.gz", bed),
        write(folder / "celltypes.txt.gz", names),
    ]


@pytest.mark.parametrize("gz", ["", ".gz"])
def test_descartes(tmp_path: Path, gz: str) -> None:
    source = write(tmp_path / f"File_S4.txt{gz}", DESCARTES)
    assert run(tmp_path, source, [], format="descartes") == [
        ["contig", "start", "end", "cell_type", "score"],
        ["chr1", "100", "200", "Astrocytes_1", "0.25"],
        ["chrUn_gl1", "5", "9", "Astrocytes_1", "0.5"],
        ["chr1", "100", "200", "ENS_glia", "0.125"],
        ["chr2", "50", "90", "ENS_glia", "0.5"],
    ]
    assert qc(tmp_path) == [
        ["Astrocytes_1", "Astrocytes/1", "NA", 2, 0, 1],
        ["ENS_glia", "ENS glia", "NA", 2, 1, 1],
        ["none", "none", "NA", 0, 1, 0],
    ]


def test_descartes_without_quotes_row_names_or_score(tmp_path: Path) -> None:
    text = (
        "rank\tzscore_filtered\tcell_type\tfeature\r\n"
        "1\tFALSE\ta\tchr1_1_2\r\n2\tFALSE\ta\tchr1_1_2\r\n3\tfalse\ta\tchr1_0_2\r\n"
    )
    source = write(tmp_path / "s4.txt", text)
    assert run(tmp_path, source, [], format="descartes") == [
        ["contig", "start", "end", "cell_type"],
        ["chr1", "0", "2", "a"],
        ["chr1", "1", "2", "a"],
    ]
    assert qc(tmp_path) == [["a", "a", "NA", 2, 1, 1]]


def test_descartes_with_a_name_above_the_row_names(tmp_path: Path) -> None:
    text = '""\t"feature"\t"cell_type"\t"zscore_filtered"\n"1"\t"chr1_1_2"\t"a"\tFALSE\n'
    rows = run(tmp_path, write(tmp_path / "s4.txt", text), [], format="descartes")
    assert rows[1] == ["chr1", "1", "2", "a"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"feature"', '"features"', "line 1: column 'feature' is missing; did you mean 'features'"),
        ('"zscore_filtered"', '"z"', "line 1: column 'zscore_filtered' is missing"),
        ('"zscore_filtered"', '"feature"', "line 1: column 'feature' stands twice"),
        ("chr1_100_200", "chr1_100", "line 3: feature is not a site; found 'chr1_100'"),
        ("chr1_100_200", "chr1_200_100", "line 3: feature is not a site"),
        ("0.5\tFALSE", "0.5\tNA", "line 2: zscore_filtered is not a truth value; found 'NA'"),
        ("0.125", "NA", "line 3: specificity_score is not a finite number"),
        ("0.125\t", "", "line 3: wrong number of fields; found 4; expected 5"),
        ('"Astrocytes/1"', '""', "line 5: cell_type is empty"),
        ('"Astrocytes/1"', '"ENS_glia"', "'ENS glia' and 'ENS_glia' have the same name"),
        ('"Astrocytes/1"', '"("', "no name can be made of this label"),
        ("FALSE", "TRUE", "no cell type has an open peak"),
    ],
)
def test_bad_descartes(tmp_path: Path, old: str, new: str, message: str) -> None:
    source = write(tmp_path / "s4.txt", DESCARTES.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, source, [], format="descartes")
    assert "\n" not in str(caught.value)


def test_empty_descartes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s4.txt: is empty"):
        run(tmp_path, write(tmp_path / "s4.txt", ""), [], format="descartes")


def test_matrix(tmp_path: Path) -> None:
    source, *files = matrix(tmp_path)
    assert run(tmp_path, source, files, format="mtx") == [
        ["contig", "start", "end", "cell_type"],
        ["chr2", "50", "90", "T_CD8pos"],
        ["chr1", "100", "200", "Zeta_cell"],
        ["chr1", "300", "400", "Zeta_cell"],
        ["chr2", "50", "90", "Zeta_cell"],
    ]
    assert qc(tmp_path) == [
        ["T_CD8pos", "T (CD8+)", "NA", 1, 0, 1],
        ["Zeta_cell", "Zeta cell", "NA", 3, 0, 1],
        ["empty", "empty", "NA", 0, 0, 0],
    ]


def test_matrix_with_values(tmp_path: Path) -> None:
    text = "%%MatrixMarket matrix coordinate real general\n3 3 4\n1 2 .5\n3 1 2e-1\n1 1 0\n2 1 7\n"
    source, *files = matrix(tmp_path, text)
    assert run(tmp_path, source, files, format="mtx")[1:] == [
        ["chr2", "50", "90", "T_CD8pos", "0.5"],
        ["chr1", "100", "200", "Zeta_cell", "7"],
        ["chr1", "300", "400", "Zeta_cell", "0.2"],
    ]
    assert qc(tmp_path)[1] == ["Zeta_cell", "Zeta cell", "NA", 2, 1, 1]


def test_matrix_with_repeats(tmp_path: Path) -> None:
    source, *files = matrix(tmp_path, MATRIX.replace("3 3 4", "3 3 6") + "2 1\n1 2\n")
    assert len(run(tmp_path, source, files, format="mtx")) == 5
    text = "%%MatrixMarket matrix coordinate integer general\n3 3 3\n1 2 5\n3 1 1\n1 2 6\n"
    source, *files = matrix(tmp_path, text)
    with pytest.raises(InputError, match="entry comes twice; found '1 2'"):
        run(tmp_path, source, files, format="mtx")


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        source, *files = matrix(folder)
        run(folder, source, files, format="mtx")
    raw = (first / "peaks.tsv.gz").read_bytes()
    assert raw == (second / "peaks.tsv.gz").read_bytes()
    assert raw[3:8] == bytes(5)  # no name of the file and no time in it


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%%MatrixMarket", "%MatrixMarket", "matrix.mtx.gz, line 1: is not a Matrix Market file"),
        ("coordinate", "array", "line 1: is not a Matrix Market file"),
        ("general", "symmetric", "line 1: is not a Matrix Market file"),
        ("pattern", "complex", "line 1: values are of a wrong kind"),
        ("3 3 4", "3 3", "line 4: has no line of sizes"),
        (
            "3 3 4",
            "4 3 4",
            "not that of the peaks and the names; found '4 x 3'; expected 3 peaks x",
        ),
        ("3 3 4", "3 3 5", "line 8: matrix is truncated; found 4; expected 5 entries"),
        ("3 3 4", "3 3 3", "line 8: matrix has too many entries"),
        ("1 2\n", "1 2 3\n", "line 5: is not an entry of the matrix; found '1 2 3'"),
        ("1 2\n", "1 x\n", "line 5: is not an entry of the matrix"),
        ("1 2\n", "-1 2\n", "line 5: is not an entry of the matrix"),
        ("1 2\n", "0 2\n", "line 5: entry is outside the matrix"),
        ("1 2\n", "1 4\n", "line 5: entry is outside the matrix"),
        ("pattern", "real", "line 5: is not an entry .* expected peak cell_type value"),
    ],
)
def test_bad_matrix(tmp_path: Path, old: str, new: str, message: str) -> None:
    source, *files = matrix(tmp_path, MATRIX.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        run(tmp_path, source, files, format="mtx")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "peaks.tsv.gz").exists()


def test_turned_matrix(tmp_path: Path) -> None:
    source, *files = matrix(tmp_path, MATRIX.replace("3 3 4", "2 3 4"), names="a\nb\n")
    with pytest.raises(InputError, match="the matrix must be peaks x cell types"):
        run(tmp_path, source, files, format="mtx")


@pytest.mark.parametrize("value", ["-1", "x", "nan"])
def test_bad_values(tmp_path: Path, value: str) -> None:
    text = f"%%MatrixMarket matrix coordinate real general\n3 3 1\n1 2 {value}\n"
    source, *files = matrix(tmp_path, text)
    with pytest.raises(InputError, match="line 3: value is (negative|not a finite number)"):
        run(tmp_path, source, files, format="mtx")


def test_bad_bed_and_names(tmp_path: Path) -> None:
    source, *files = matrix(tmp_path, bed=BED.replace("300", "x"))
    with pytest.raises(InputError, match="cCREs.bed.gz, line 3: start is not an integer"):
        run(tmp_path, source, files, format="mtx")
    source, *files = matrix(tmp_path, bed="")
    with pytest.raises(InputError, match="cCREs.bed.gz: holds no peaks"):
        run(tmp_path, source, files, format="mtx")
    source, *files = matrix(tmp_path, names="a\n\nb\n")
    with pytest.raises(InputError, match="celltypes.txt.gz, line 2: name of a cell type is empty"):
        run(tmp_path, source, files, format="mtx")


def test_truncated_gzip(tmp_path: Path) -> None:
    source, *files = matrix(tmp_path)
    Path(source).write_bytes(Path(source).read_bytes()[:-9])
    with pytest.raises(InputError, match="gzip file is truncated"):
        run(tmp_path, source, files, format="mtx")


def test_files_are_missing(tmp_path: Path) -> None:
    source, *_ = matrix(tmp_path)
    with pytest.raises(InputError, match="expected keys peaks and names"):
        run(tmp_path, source, [], format="mtx")


def test_other_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be converted; did you mean 'h5ad'.*found 'h5'"):
        run(tmp_path, "x", [], format="h5")


def test_h5ad(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    labels = ["b"] * 60 + ["a+"] * 50 + ["rare"] * 9 + ["shut"] * 50
    counts = np.zeros((169, 3))
    counts[:6, 0] = counts[:5, 1] = counts[3:7, 2] = 1  # 6, 5 and 4 of 60
    counts[60:110, 2] = 2
    counts[110:119] = 1
    counts[120, 0] = 1
    obs = pd.DataFrame(
        {"kind": labels}, index=pd.Index([str(i) for i in range(169)], dtype=object), dtype=object
    )
    var = pd.DataFrame(index=pd.Index(["chr2:9-12", "chr1:700-900", "chr1:50-90"], dtype=object))
    source = str(tmp_path / "cells.h5ad")
    anndata.AnnData(X=counts, obs=obs, var=var).write_h5ad(source)
    assert run(tmp_path, source, [], format="h5ad", cell_type_column="kind", min_replicates=1) == [
        ["contig", "start", "end", "cell_type", "score"],
        ["chr1", "50", "90", "apos", "1"],
        ["chr1", "700", "900", "b", "0.0833333"],
        ["chr2", "9", "12", "b", "0.1"],
    ]
    assert qc(tmp_path) == [
        ["apos", "a+", 50, 1, 0, 1],
        ["b", "b", 60, 2, 1, 1],
        ["rare", "rare", 9, 0, 0, 0],
        ["shut", "shut", 50, 0, 1, 0],
    ]
