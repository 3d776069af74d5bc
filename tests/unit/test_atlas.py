"""Reading an atlas: replicates, another assembly, held-out cell types."""

from __future__ import annotations

from pathlib import Path

import pytest

from genebert.atlas import Atlas, AtlasSettings, load_atlas
from genebert.errors import InputError
from genebert.splits import Splits
from genebert.tables import read_rows

CONTIGS = {"chr1": 10_000, "chr2": 10_000}
SPLITS = {"train": ["chr1:0-5000"], "valid": ["chr1:5000-10000"], "test": ["chr2"]}
# chr1 of the source lies 1,000 bases further on in the genome
CHAIN = "chain 1000 chr1 9000 + 0 9000 chr1 10000 + 1000 10000 1\n9000\n\n"
ROWS = [  # cell type, donor, peaks
    ("T", "1", "chr1\t100\t200\t.\t9\nchr1\t500\t600\t.\t3\n"),
    ("B", "1", "chr1\t100\t200\t.\t9\n"),
    ("T", "2", "chr1\t110\t210\t.\t9\nchr1\t800\t900\t.\t3\n"),
]


def write(folder: Path, rows: list[tuple[str, str, str]]) -> tuple[str, list[str]]:
    table = folder / "cell_types.tsv"
    lines, files = ["cell_type\tpeaks\tformat\tdonor\n"], []
    for cell, donor, text in rows:
        path = folder / f"{cell}{donor}.bed"
        path.write_text(text)
        lines.append(f"{cell}\t{path.name}\tbed\t{donor}\n")
        files.append(str(path))
    table.write_text("".join(lines))
    return str(table), files


def load(
    folder: Path,
    rows: list[tuple[str, str, str]] = ROWS,
    *,
    chain: str | None = None,
    seed: int = 0,
    splits: dict[str, object] | None = None,
    **settings: object,
) -> Atlas:
    table, files = write(folder, rows)
    wanted = Splits.from_config(SPLITS | (splits or {}))
    options = AtlasSettings.from_config({"format": "table", "min_cells": 5, **settings})
    return load_atlas(table, files, CONTIGS, wanted, 0.05, settings=options, chain=chain, seed=seed)


def test_rows_of_one_cell_type_are_replicates(tmp_path: Path) -> None:
    atlas = load(tmp_path)
    assert atlas.names == ["T", "B"]  # the order of the table
    assert atlas.peaks[0].start.tolist() == [100, 500, 800]
    assert atlas.extra.to_dict("list") == {"donor": ["1,2", "1"]}
    assert [Path(file).name for file in atlas.files] == ["T1.bed", "B1.bed"]


def test_min_replicates(tmp_path: Path) -> None:
    atlas = load(tmp_path, [row for row in ROWS if row[0] == "T"], min_replicates=2)
    assert atlas.peaks[0].start.tolist() == [100]
    assert atlas.peaks[0].counts["replicates"] == 2
    with pytest.raises(InputError, match="line 3: cell type B has too few replicates.*found 1;.*2"):
        load(tmp_path, min_replicates=2)
    apart = [("T", "1", "chr1\t100\t200\n"), ("T", "2", "chr1\t300\t400\n")]
    with pytest.raises(InputError, match="line 2: no peak of cell type T is found in 2 replicates"):
        load(tmp_path, apart, min_replicates=2)


def test_order_of_the_replicates_is_free(tmp_path: Path) -> None:
    a, b = load(tmp_path), load(tmp_path, ROWS[::-1])
    assert b.names == ["T", "B"]
    assert a.extra.equals(b.extra)
    for x, y in zip(a.peaks, b.peaks, strict=True):
        assert x.start.tolist() == y.start.tolist()
        assert x.strength.tolist() == y.strength.tolist()
        assert x.counts == y.counts


def test_a_file_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 5: row repeats line 2"):
        load(tmp_path, [*ROWS, ROWS[0]])


def test_resources_are_named_by_their_last_part(tmp_path: Path) -> None:
    _, files = write(tmp_path, ROWS[:2])
    table = tmp_path / "listed.tsv"
    table.write_text(
        "cell_type\tpeaks\tformat\nT\tresource:catlas/T1.bed\tbed\nB\tresource:B1.bed\tbed\n"
    )
    atlas = load_atlas(str(table), files, CONTIGS, Splits.from_config(SPLITS), 0.05)
    assert atlas.names == ["T", "B"]


@pytest.mark.parametrize(
    "value", ["$PLACE/T1.bed", "$SAMPLE.bed", "${SAMPLE}.bed", "$PLACE/${SAMPLE}.bed", "$WHOLE"]
)
def test_variables_of_paths_are_expanded_in_the_plan_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    write(tmp_path, ROWS[:2])
    table = tmp_path / "own.tsv"
    table.write_text(f"cell_type\tpeaks\tformat\nT\t{value}\tbed\nB\tB1.bed\tbed\n")
    place, sample, whole = str(tmp_path), "T1", str(tmp_path / "T1.bed")
    for name, text in {"PLACE": place, "SAMPLE": sample, "WHOLE": whole}.items():
        monkeypatch.setenv(name, text)
    files = [row["peaks"] for row in read_rows(table, ("peaks",), paths=("peaks",))]
    for name in ("PLACE", "SAMPLE", "WHOLE"):
        monkeypatch.delenv(name)  # a job on another node may not have them
    splits = Splits.from_config(SPLITS)
    assert load_atlas(str(table), files, CONTIGS, splits, 0.05).names == ["T", "B"]
    for wrong in (files[:1], [*files, files[0]], [files[0], files[0]]):
        with pytest.raises(ValueError, match="not those of the rows"):
            load_atlas(str(table), wrong, CONTIGS, splits, 0.05)


def test_peaks_are_lifted_before_they_are_merged(tmp_path: Path) -> None:
    chain = tmp_path / "a.over.chain"
    chain.write_text(CHAIN)
    atlas = load(tmp_path, chain=str(chain))
    assert atlas.peaks[0].start.tolist() == [1100, 1500, 1800]
    assert atlas.peaks[0].counts["lift_unmapped"] == 0
    chain.write_text("chain 1000 chr1 9000 + 0 190 chr1 10000 + 1000 1190 1\n190\n\n")
    with pytest.raises(InputError, match=r"T1.bed: no peak can be carried to the genome.*a.over"):
        load(tmp_path, chain=str(chain))
    atlas = load(tmp_path, chain=str(chain), chain_min_ratio=0.8)
    assert atlas.peaks[0].end.tolist() == [1190]  # of 1100-1190 and 1110-1190 the stronger one
    assert atlas.peaks[0].counts["lift_unmapped"] == 2
    assert atlas.peaks[0].counts["merged"] == 1


def test_long_tables(tmp_path: Path) -> None:
    table = tmp_path / "long.tsv"
    table.write_text("contig\tstart\tend\tcell_type\nchr1\t5\t9\tT\nchr1\t5\t9\tB\n")
    splits = Splits.from_config(SPLITS)
    atlas = load_atlas(str(table), [], CONTIGS, splits, 0.05)
    assert atlas.names == ["B", "T"]
    assert atlas.files == [str(table)] * 2
    chain = tmp_path / "a.over.chain"
    chain.write_text(CHAIN)
    atlas = load_atlas(str(table), [], CONTIGS, splits, 0.05, chain=str(chain))
    assert [peaks.start.tolist() for peaks in atlas.peaks] == [[1005], [1005]]
    options = AtlasSettings(min_replicates=2)
    with pytest.raises(InputError, match="min_replicates: one long table holds no replicates"):
        load_atlas(str(table), [], CONTIGS, splits, 0.05, settings=options)


def test_a_share_is_held_out(tmp_path: Path) -> None:
    rows = [(f"c{i}", "1", "chr1\t100\t200\n") for i in range(10)]
    share = {"held_out_share": 0.2, "held_out_cell_types": ["c3"]}
    atlas = load(tmp_path, rows, splits=share, seed=1)
    held = {name for name, out in zip(atlas.names, atlas.held_out, strict=True) if out}
    assert len(held) == 3
    assert "c3" in held
