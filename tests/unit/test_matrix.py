"""The motif matrix: chunks of the scan, their gathering, and what misaligned input gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest

from genebert import matrix
from genebert.errors import InputError
from genebert.genome import Genome, encode
from genebert.matrix import LAYERS, chunk_range, gather_matrix, read_regions, scan_chunk
from genebert.motif_files import Motif
from genebert.motifs import VERSION, MotifSet
from shard_toys import Toy, make_toy

SITES = {"one": "AACCGGCA", "two": "TTGACTCAA"}


def sharp(name: str) -> Motif:
    probabilities = np.full((4, len(SITES[name])), 0.02)
    probabilities[encode(SITES[name]), np.arange(len(SITES[name]))] = 0.94
    return Motif(name, "test", probabilities)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Sites at the very start and end of regions."""
    toy = make_toy(tmp_path)
    for region, site, at in ((0, "one", 0), (1, "one", 12), (3, "two", 11), (6, "two", 0)):
        row = toy.table.iloc[region]
        text, start = toy.genome[row["contig"]], int(row["start"]) + at
        toy.genome[row["contig"]] = text[:start] + SITES[site] + text[start + len(SITES[site]) :]
    toy.write()
    motifs = [replace(sharp("one"), alternate="TF1"), sharp("two")]
    MotifSet.build(motifs, p_value=1e-4).write(tmp_path / "set.json")
    return toy


def scanned(toy: Toy, chunks: int) -> list[str]:
    paths = []
    for chunk in range(chunks):
        paths.append(str(toy.folder / f"{chunk}-of-{chunks}.h5"))
        scan_chunk(
            motif_set=str(toy.folder / "set.json"),
            regions=str(toy.folder / "regions.bed"),
            genome=str(toy.folder / "genome.fa"),
            index="",
            block_index="",
            hits=paths[-1],
            chunk=chunk,
            chunks=chunks,
        )
    return paths


def gathered(toy: Toy, chunks: list[str], name: str = "out.h5ad") -> Path:
    gather_matrix(
        motif_set=str(toy.folder / "set.json"),
        regions=str(toy.folder / "regions.bed"),
        table=str(toy.folder / "regions.tsv"),
        chunks=chunks,
        matrix=str(toy.folder / name),
    )
    return toy.folder / name


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("chunks", [1, 2, 3, 9])
def test_chunks_cover_everything_once(count: int, chunks: int) -> None:
    ranges = [chunk_range(count, chunk, chunks) for chunk in range(chunks)]
    assert [row for first, end in ranges for row in range(first, end)] == list(range(count))
    sizes = [end - first for first, end in ranges]
    assert max(sizes) - min(sizes) <= 1
    with pytest.raises(ValueError, match="is not one of"):
        chunk_range(count, chunks, chunks)


def test_matrix_holds_the_hits_of_each_region(toy: Toy) -> None:
    adata = anndata.read_h5ad(gathered(toy, scanned(toy, 2)))
    motifs, genome = MotifSet.read(toy.folder / "set.json"), Genome(toy.folder / "genome.fa")
    codes = [
        genome.codes(row.contig, row.start, row.end) for row in toy.table.itertuples(index=False)
    ]
    rows = motifs.scan(codes)
    for layer in LAYERS:
        np.testing.assert_array_equal(adata.layers[layer].toarray(), getattr(rows, layer).toarray())
        assert adata.layers[layer].dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), rows.sum.toarray())
    count = adata.layers["count"].toarray()
    assert count[[0, 1], 0].min() >= 1
    assert count[[3, 6], 1].min() >= 1


def test_matrix_describes_itself(toy: Toy) -> None:
    adata = anndata.read_h5ad(gathered(toy, scanned(toy, 1)))
    motifs = MotifSet.read(toy.folder / "set.json")
    table = toy.table
    assert list(adata.obs_names) == [
        f"{c}:{s}-{e}"
        for c, s, e in zip(table["contig"], table["start"], table["end"], strict=True)
    ]
    for column in table:
        assert adata.obs[column].tolist() == table[column].tolist()
    assert list(adata.var_names) == ["one", "two"]
    assert adata.var["width"].tolist() == [8, 9]
    assert adata.var["threshold"].tolist() == [motif.threshold for motif in motifs.kept]
    assert adata.var["attainable_p"].tolist() == [motif.attainable_p for motif in motifs.kept]
    assert adata.var["cluster"].tolist() == ["", ""]
    assert adata.var["alternate"].tolist() == ["TF1", ""]
    assert adata.uns["p_value"] == 1e-4
    assert adata.uns["pseudocount"] == 0.01
    assert adata.uns["background"].tolist() == [0.25] * 4
    assert adata.uns["version"] == VERSION


def test_the_number_and_order_of_chunks_do_not_matter(toy: Toy) -> None:
    one = gathered(toy, scanned(toy, 1), "one.h5ad").read_bytes()
    assert gathered(toy, scanned(toy, 3)[::-1], "three.h5ad").read_bytes() == one
    assert gathered(toy, scanned(toy, 11), "eleven.h5ad").read_bytes() == one  # some are empty


def test_chunks_must_cover_the_regions(toy: Toy) -> None:
    chunks = scanned(toy, 3)
    with pytest.raises(InputError, match=r"2-of-3\.h5: rows of the chunks have a gap"):
        gathered(toy, [chunks[0], chunks[2]])
    with pytest.raises(InputError, match="chunks are not all regions"):
        gathered(toy, chunks[:2])
    with pytest.raises(InputError, match="rows of the chunks have a gap"):
        gathered(toy, [*chunks, chunks[1]])


def test_chunks_of_another_motif_set(toy: Toy) -> None:
    chunks = scanned(toy, 1)
    MotifSet.build([sharp("one"), sharp("two")], p_value=1e-3).write(toy.folder / "set.json")
    with pytest.raises(InputError, match="was scanned with another motif set"):
        gathered(toy, chunks)


def test_arrays_of_several_pieces(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are smaller than chunks, larger, and cut within a region: the file is the same."""
    expected = anndata.read_h5ad(gathered(toy, scanned(toy, 1)))
    assert expected.layers["sum"].nnz >= 4
    monkeypatch.setattr(matrix, "_BATCH", 2)
    for cells in (1, 3, 1000):
        monkeypatch.setattr(matrix, "_CELLS", cells)
        one = gathered(toy, scanned(toy, 1), "one.h5ad")
        other = gathered(toy, scanned(toy, 5), "other.h5ad")
        assert one.read_bytes() == other.read_bytes()
        adata = anndata.read_h5ad(one)
        for layer in LAYERS:
            assert (adata.layers[layer] != expected.layers[layer]).nnz == 0


def test_indices_lie_in_the_file_once_and_x_is_the_sum(toy: Toy) -> None:
    path = gathered(toy, scanned(toy, 2))
    with h5py.File(path) as file:
        assert file["X"] == file["layers/sum"]
        for name in ("indices", "indptr"):
            assert file["layers/count"][name] == file["layers/sum"][name]
            assert file["layers/best"][name] == file["layers/sum"][name]
        assert file["layers/count/data"] != file["layers/sum/data"]
    whole, backed = anndata.read_h5ad(path), anndata.read_h5ad(path, backed="r")
    assert backed.isbacked
    assert (backed.X.to_memory() != whole.X).nnz == 0
    backed.file.close()
    whole.X.data[:] = -1  # a copy in memory: the layer keeps its values
    assert whole.layers["sum"].data.min() > 0


def flipped(data: bytes, path: Path) -> bytes:
    """The file with one byte of the scores changed."""
    with h5py.File(path) as file:
        at = file["sum"].id.get_chunk_info(0).byte_offset
    return data[: at + 2] + bytes([data[at + 2] ^ 4]) + data[at + 3 :]


def test_chunks_with_a_changed_byte(toy: Toy) -> None:
    path = Path(scanned(toy, 1)[0])
    path.write_bytes(flipped(path.read_bytes(), path))
    with pytest.raises(InputError, match=r"0-of-1\.h5: is not a chunk of the motif matrix"):
        gathered(toy, [str(path)])


def test_chunks_whose_arrays_disagree(toy: Toy) -> None:
    path = scanned(toy, 1)[0]
    with h5py.File(path, "r+") as file:
        file["indptr"][-1] += 1
    with pytest.raises(InputError, match="arrays disagree"):
        gathered(toy, [path])


def test_chunks_of_other_regions(toy: Toy) -> None:
    chunks = scanned(toy, 2)
    toy.table.loc[2, ["start", "end"]] += 1
    toy.write()
    with pytest.raises(InputError, match="was scanned over other regions"):
        gathered(toy, chunks)


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b"no" + b, lambda b: b""])
def test_damaged_chunks(toy: Toy, damage: Any) -> None:
    chunks = scanned(toy, 1)
    Path(chunks[0]).write_bytes(damage(Path(chunks[0]).read_bytes()))
    with pytest.raises(InputError, match=r"0-of-1\.h5: is not a chunk of the motif matrix"):
        gathered(toy, chunks)


def test_regions_must_be_those_of_the_table(toy: Toy) -> None:
    chunks = scanned(toy, 1)
    bed = toy.folder / "regions.bed"
    lines = bed.read_text().splitlines()
    contig, start, end, name = lines[2].split("\t")
    lines[2] = f"{contig}\t{int(start) + 1}\t{end}\t{name}"
    bed.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"regions\.bed: rows are not those of the table"):
        gathered(toy, chunks)
    bed.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match=r"regions\.bed: rows are not those of the table"):
        gathered(toy, chunks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t0\t20\t0\na\t30\t50\t2\n", "line 2: region id is not the row number"),
        ("a\t0\t20\n", "line 1: is not a row of regions"),
        ("a\t0\tx\t0\n", "line 1: is not a row of regions"),
        ("", "has no regions"),
    ],
)
def test_bad_regions(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "regions.bed"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_regions(path)


def test_a_region_outside_its_contig(toy: Toy) -> None:
    (toy.folder / "regions.bed").write_text("a\t0\t100000\t0\n")
    with pytest.raises(InputError, match="interval leaves a"):
        scanned(toy, 1)
