"""The stage regions on a small genome: exact outputs, counts, and what bad input gets."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from genebert.atlas import RESERVED
from genebert.consensus import RegionSettings
from genebert.errors import InputError
from genebert.reference import build_reference
from genebert.regions import (
    COLUMNS,
    build_regions,
    check_alignment,
    merged,
    nearest_training,
)

WIDTH = 100
LENGTHS = {"chr2": 2000, "chr1": 3000, "chr3": 1000, "chrM": 400}
SPLITS = {
    "train": ["chr2", "chr1:0-1000"],
    "valid": ["chr1:1000-2000"],
    "test": ["chr3"],
    "held_out_cell_types": ["NK"],
}
SETTINGS = {"width": WIDTH, "open_tolerance": 10, "max_n_fraction": 0.1}
OUTPUTS = {
    "bed": "regions.bed",
    "table": "regions.tsv",
    "accessibility": "accessibility.h5ad",
    "occupied": "occupied.bed.gz",
    "qc": "qc.tsv",
}
# contig, start, end, signal, summit offset; the comment says what becomes of it
PEAKS = {
    "B": [
        ("chr2", 400, 600, 90, 100),  # region chr2:450-550
        ("chr2", 500, 640, 50, 60),  # overlaps it: window 510-610
        ("chr1", 300, 420, 70, -1),  # region chr1:310-410
        ("chr1", 960, 1040, 60, 40),  # window 950-1050 crosses a border between splits
        ("chr1", 1500, 1600, 30, 50),  # region chr1:1500-1600, valid
        ("chr1", 2500, 2600, 20, 50),  # no split
        ("chr3", 700, 800, 80, 50),  # region chr3:700-800
        ("chr2", 0, 60, 10, 49),  # window leaves the contig by one base
        ("chr2", 1500, 1600, 40, 50),  # 20 N
        ("chr2", 1800, 1900, 45, 50),  # blacklisted
    ],
    "T": [
        ("chr2", 460, 700, 20, 200),  # window 610-710: a region; opens chr2:450-550 too
        ("chr1", 200, 351, 10, 100),  # window 250-350 overlaps chr1:310-410; opens it (360 - 10)
    ],
    "NK": [
        ("chr2", 440, 520, 99, 40),  # overlaps a training region, although it is stronger
        ("chr2", 1000, 1100, 50, 50),  # region of a held-out cell type only
        ("chr3", 700, 800, 10, 50),
        ("chrUn", 1, 5, 1, 0),
    ],
}
EXPECTED = [
    ("chr2", 450, 550, "train", 0),
    ("chr2", 610, 710, "train", 0),
    ("chr2", 1000, 1100, "train", 1),
    ("chr1", 310, 410, "train", 0),
    ("chr1", 1500, 1600, "valid", 0),
    ("chr3", 700, 800, "test", 0),
]
OCCUPIED = [
    ("chr2", 0, 60),
    ("chr2", 400, 700),
    ("chr2", 1000, 1100),
    ("chr2", 1500, 1600),
    ("chr2", 1800, 1950),  # a peak and the blacklist
    ("chr1", 200, 420),
    ("chr1", 960, 1040),
    ("chr1", 1500, 1600),
    ("chr1", 2500, 2600),
    ("chr3", 700, 800),
]


class World:
    """A genome and peaks in a folder, and the call of the stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(3)
        letters = {name: rng.choice(list("ACGT"), size) for name, size in LENGTHS.items()}
        letters["chr2"][1510:1530] = "N"
        letters["chr2"][1605:1615] = "N"
        letters["chr3"][700:725] = np.char.lower(letters["chr3"][700:725])
        letters["chr3"][725:800] = list("GGC" * 25)
        self.letters = {name: "".join(value) for name, value in letters.items()}
        fasta = folder / "in.fa"
        fasta.write_text("".join(f">{name}\n{text}\n" for name, text in self.letters.items()))
        self.reference = {
            "genome": f"{folder}/genome.fa.gz",
            "index": f"{folder}/genome.fa.gz.fai",
            "block_index": f"{folder}/genome.fa.gz.gzi",
            "contigs": f"{folder}/contigs.tsv",
        }
        build_reference(fasta=str(fasta), splits=SPLITS, **self.reference)
        self.blacklist = folder / "blacklist.bed"
        self.blacklist.write_text("chr2\t1899\t1950\tHigh Signal\nchrQ\t0\t5\tx\n")
        self.table = folder / "cell_types.tsv"
        self.files: list[str] = []
        self.write(PEAKS)

    def write(self, peaks: dict[str, list[tuple[Any, ...]]]) -> None:
        rows = ["cell_type\tpeaks\tformat\tlineage"]
        self.files = []
        for name, lines in peaks.items():
            path = self.folder / f"{name}.narrowPeak"
            path.write_text(
                "".join(f"{c}\t{a}\t{b}\t.\t0\t.\t{s}\t-1\t-1\t{o}\n" for c, a, b, s, o in lines)
            )
            self.files.append(str(path))
            rows.append(f"{name}\t{path.name}\tnarrowPeak\tlineage of {name}")
        self.table.write_text("\n".join(rows) + "\n")

    def __call__(self, out: str = "out", **change: Any) -> Path:
        folder = self.folder / out
        folder.mkdir(exist_ok=True)
        arguments = {
            "cell_types": str(self.table),
            "peaks": self.files,
            "blacklist": str(self.blacklist),
            "splits": SPLITS,
            "settings": SETTINGS | {"max_unknown_contigs": 0.5},
            **self.reference,
            **{key: str(folder / name) for key, name in OUTPUTS.items()},
        }
        build_regions(**arguments | change)
        return folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def qc_of(folder: Path) -> dict[tuple[str, str], int]:
    frame = pd.read_csv(folder / "qc.tsv", sep="\t")
    assert list(frame) == ["cell_type", "reason", "count"]
    return {(row.cell_type, row.reason): row.count for row in frame.itertuples(index=False)}


def places(folder: Path) -> list[tuple[Any, ...]]:
    frame = pd.read_csv(folder / "regions.tsv", sep="\t")
    columns = ["contig", "start", "end", "split", "held_out_only"]
    return list(frame[columns].itertuples(index=False, name=None))


def test_regions(world: World) -> None:
    out = world()
    assert places(out) == EXPECTED
    lines = [line.split("\t") for line in (out / "regions.bed").read_text().splitlines()]
    assert [(c, int(a), int(b)) for c, a, b, _ in lines] == [row[:3] for row in EXPECTED]
    assert [int(line[3]) for line in lines] == list(range(6))


def test_accessibility(world: World) -> None:
    data = anndata.read_h5ad(world() / "accessibility.h5ad")
    assert data.obs_names.tolist() == ["B", "T", "NK"]
    assert data.var_names[0] == "chr2:450-550"
    assert data.X.dtype == np.float32
    # Rank percentiles: ten peaks of B, two of T, three of NK (chrUn is not counted). B does not
    # open chr2:610-710: its centre is 660 and the peak 500-640 ends 20 bases before.
    expected = np.array(
        [
            [1.0, 0, 0, 0.8, 0.3, 0.9],
            [1.0, 1.0, 0, 0.5, 0, 0],
            [1.0, 0, 2 / 3, 0, 0, 1 / 3],
        ]
    )
    np.testing.assert_allclose(data.X.toarray(), expected, rtol=1e-6)
    assert data.obs["held_out"].tolist() == [False, False, True]
    assert data.obs["n_peaks"].tolist() == [10, 2, 3]
    assert data.obs["n_open"].tolist() == [4, 3, 3]
    assert data.obs["lineage"].tolist()[2] == "lineage of NK"
    assert data.obs["score_source"].tolist() == ["signalValue"] * 3
    assert list(data.var) == COLUMNS
    assert data.var["n_cell_types"].tolist() == [3, 1, 1, 2, 1, 2]
    assert data.var["n_train_cell_types"].tolist() == [2, 1, 0, 2, 1, 1]


def test_table_and_matrix_agree(world: World) -> None:
    out = world()
    table = pd.read_csv(out / "regions.tsv", sep="\t")
    var = anndata.read_h5ad(out / "accessibility.h5ad").var.reset_index(drop=True)
    pd.testing.assert_frame_equal(table, var, check_dtype=False)


def occupied(folder: Path) -> list[tuple[Any, ...]]:
    text = gzip.decompress((folder / "occupied.bed.gz").read_bytes()).decode()
    return [(c, int(a), int(b)) for c, a, b in (line.split("\t") for line in text.splitlines())]


def test_occupied_is_every_peak_and_the_blacklist(world: World) -> None:
    out = world()
    assert occupied(out) == OCCUPIED
    assert (out / "occupied.bed.gz").read_bytes()[4:8] == bytes(4)  # no time
    world.blacklist.write_text("chrM\t390\t500\n")  # no peak is there
    assert occupied(world()) == [
        ("chr2", 1800, 1900) if row[1] == 1800 else row for row in OCCUPIED
    ] + [("chrM", 390, 400)]  # fmt: skip
    assert ("chrM", 390, 400) not in occupied(world(blacklist=[]))


def test_merged_intervals_are_the_runs_of_covered_bases() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 5, 20, 60):
        start = rng.integers(0, 300, count)
        end = start + rng.integers(1, 20, count)
        covered = np.zeros(321, dtype=np.int8)
        for first, last in zip(start, end, strict=True):
            covered[first:last] = 1
        edges = np.flatnonzero(np.diff(covered, prepend=0)).reshape(-1, 2)
        np.testing.assert_array_equal(merged(start, end), edges)


def test_composition(world: World) -> None:
    table = pd.read_csv(world() / "regions.tsv", sep="\t")
    last = table.iloc[-1]
    text = world.letters["chr3"][700:800].upper()
    assert last["repeat"] == 0.25
    assert last["gc"] == pytest.approx((text.count("G") + text.count("C")) / 100)
    assert (table["repeat"][:-1] == 0).all()


def test_qc(world: World) -> None:
    out = world()
    qc = qc_of(out)
    reasons = ["kept", "contig_edge", "no_split", "blacklist", "n_fraction", "overlap"]
    assert [qc["B", reason] for reason in reasons] == [4, 1, 2, 1, 1, 1]
    assert [qc["T", reason] for reason in reasons] == [1, 0, 0, 0, 0, 1]
    assert [qc["NK", reason] for reason in reasons] == [1, 0, 0, 0, 0, 2]
    for cell in PEAKS:
        dropped = qc[cell, "unknown_contig"] + qc[cell, "duplicate"]
        assert qc[cell, "read"] == dropped + sum(qc[cell, reason] for reason in reasons)
    assert qc["NK", "unknown_contig"] == 1
    assert qc["B", "no_summit"] == 1
    assert qc["B", "score_signalValue"] == 10
    assert qc["B", "open_regions"] == 4
    assert (qc["*", "regions_train"], qc["*", "held_out_only_train"]) == (4, 1)


def test_n_fraction_is_a_limit(world: World) -> None:
    world.write(PEAKS | {"T": [("chr2", 1600, 1700, 5, 50)]})  # 10 N of 100: at the limit
    assert ("chr2", 1600, 1700, "train", 0) in places(world())
    strict = {**SETTINGS, "max_n_fraction": 0.09, "max_unknown_contigs": 0.5}
    with pytest.raises(InputError, match=r"T.narrowPeak: no peak of cell type T is left"):
        world(settings=strict)


def test_no_blacklist(world: World) -> None:
    assert ("chr2", 1800, 1900, "train", 0) in places(world(blacklist=[]))
    world.blacklist.write_text("chr2\t1900\t1950\n")  # ends where the interval begins
    assert ("chr2", 1800, 1900, "train", 0) in places(world())
    world.blacklist.write_text("chr2\t1900\t2001\nchr2\t3000\t3001\n")  # of another build?
    out = world()
    assert ("chr2", 1800, 1900, "train", 0) in places(out)
    assert qc_of(out)["*", "blacklist_beyond_contig"] == 2
    world.blacklist.write_text("")
    assert ("chr2", 1800, 1900, "train", 0) in places(world())


def test_peaks_on_a_contig_shorter_than_a_region_are_at_its_edge(world: World) -> None:
    expected = pd.read_csv(world("plain") / OUTPUTS["table"], sep="\t")
    fasta = world.folder / "in.fa"
    fasta.write_text(fasta.read_text() + ">chrS\n" + "ACGT" * 10 + "\n")
    build_reference(fasta=str(fasta), splits=SPLITS, **world.reference)
    name = next(iter(PEAKS))
    world.write({**PEAKS, name: [*PEAKS[name], ("chrS", 5, 30, 1, 10)]})
    found = world("short")
    assert set(pd.read_csv(found / OUTPUTS["table"], sep="\t")["contig"]) == set(expected["contig"])
    assert (
        qc_of(found)[name, "contig_edge"] == qc_of(world.folder / "plain")[name, "contig_edge"] + 1
    )


def test_held_out_cell_types_do_not_touch_training(world: World) -> None:
    before = [row for row in places(world()) if not row[4]]
    more = [*PEAKS["NK"], *((c, a + 7, b + 7, 500, 50) for c, a, b, _, _ in PEAKS["NK"][:3])]
    world.write(PEAKS | {"NK": [(*row[:3], 500 + i, row[4]) for i, row in enumerate(more)]})
    assert [row for row in places(world("more")) if not row[4]] == before


def test_order_of_the_table_is_free(world: World) -> None:
    tie = PEAKS | {"T": [*PEAKS["T"], ("chr2", 400, 600, 30, 100)]}  # one place, both strength 1
    world.write(tie)
    first = world()
    world.write(dict(reversed(tie.items())))
    second = world("reversed")
    for name in ("regions.bed", "regions.tsv", "occupied.bed.gz"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    a, b = (anndata.read_h5ad(f / "accessibility.h5ad") for f in (first, second))
    assert b.obs_names.tolist() == a.obs_names.tolist()[::-1]
    np.testing.assert_array_equal(a.X.toarray(), b.X.toarray()[::-1])
    assert qc_of(first) == qc_of(second)


def test_same_bytes_twice(world: World) -> None:
    digests = [
        [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in OUTPUTS.values()]
        for out in (world("one"), world("two"))
    ]
    assert digests[0] == digests[1]


def test_long_table(world: World) -> None:
    rows = ["contig\tstart\tend\tcell_type\tscore"]
    per_file: dict[str, list[tuple[Any, ...]]] = {}
    for name in sorted(PEAKS):
        for contig, start, end, score, _ in PEAKS[name]:
            rows.append(f"{contig}\t{start}\t{end}\t{name}\t{score}")
            per_file.setdefault(name, []).append((contig, start, end, score, -1))
    long = world.folder / "long.tsv"
    long.write_text("\n".join(rows) + "\n")
    out = world("long", cell_types=str(long), peaks=[])
    world.write(per_file)
    expected = world("files")
    for name in ("regions.bed", "regions.tsv"):
        assert (out / name).read_bytes() == (expected / name).read_bytes()
    a, b = (anndata.read_h5ad(f / "accessibility.h5ad") for f in (out, expected))
    assert a.obs_names.tolist() == b.obs_names.tolist()
    assert (a.X != b.X).nnz == 0


def test_replicates_are_merged_and_counted(world: World) -> None:
    again = [(c, a + 5, b + 5, s, o) for c, a, b, s, o in PEAKS["B"][:3]]  # of ten, three again
    world.write(PEAKS | {"B2": again})
    text = (
        world.table.read_text()
        .replace("B2\tB2.", "B\tB2.")
        .replace("lineage of B2", "lineage of B")
    )
    world.table.write_text(text)
    with pytest.raises(InputError, match="line 3: cell type T has too few replicates"):
        world(atlas={"min_replicates": 2})
    rows = text.splitlines()
    world.table.write_text("\n".join([*rows[:2], rows[4], *rows[2:4]]) + "\n")
    world.files = [world.files[i] for i in (0, 3, 1, 2)]
    out = world()
    data, qc = anndata.read_h5ad(out / "accessibility.h5ad"), qc_of(out)
    assert data.obs_names.tolist() == ["B", "T", "NK"]
    assert data.obs["lineage"].tolist()[0] == "lineage of B"
    assert data.obs["n_peaks"].tolist() == [10, 2, 3]
    assert (qc["B", "read"], qc["B", "merged"], qc["B", "replicates"]) == (13, 3, 0)
    reasons = ["unknown_contig", "duplicate", "replicates", "merged"]
    reasons += ["kept", "contig_edge", "no_split", "blacklist", "n_fraction", "overlap"]
    assert qc["B", "read"] == sum(qc["B", reason] for reason in reasons)
    # only what both replicates hold opens a region
    only = "\n".join([rows[0], rows[1], rows[4]]) + "\n"
    world.table.write_text(only + only.split("\n", 1)[1].replace("B\t", "T\t"))
    files = [world.files[i] for i in (0, 1, 0, 1)]
    splits = {"train": ["chr2"], "valid": ["chr1:0-1000"], "test": ["chr1:1000-2000"]}
    with pytest.raises(InputError, match="config splits.test: no region of a training"):
        world(peaks=files, splits=splits, atlas={"min_replicates": 2})


def test_a_share_of_the_cell_types_is_held_out_by_the_seed(world: World) -> None:
    splits = SPLITS | {"held_out_cell_types": [], "held_out_share": 0.4}
    world.write(dict.fromkeys(PEAKS, PEAKS["B"]))
    seen = set()
    for seed in range(4):
        out = world(splits=splits, seed=seed)
        obs = anndata.read_h5ad(out / "accessibility.h5ad").obs
        assert obs["held_out"].sum() == 1
        seen.add(obs.index[obs["held_out"].to_numpy(dtype=bool)][0])
    assert len(seen) > 1


def test_peaks_of_another_assembly_are_lifted(world: World) -> None:
    chain = world.folder / "x.over.chain"
    chain.write_text(
        "".join(
            f"chain 9 {name} {size} + 0 {size} {name} {size} + 0 {size} {i}\n{size}\n\n"
            for i, (name, size) in enumerate(LENGTHS.items(), start=1)
        )
    )
    assert places(world("lifted", chain=[str(chain)])) == EXPECTED
    chain.write_text(chain.read_text().replace("chr2 2000 + 0 2000 1", "chr2 1999 + 0 1999 1"))
    with pytest.raises(InputError, match="x.over.chain"):
        world(chain=str(chain))


def test_nearest_training() -> None:
    matrix = csr_matrix(
        np.array([[1, 1, 1, 0], [1, 1, 0, 0], [0.5, 1, 1, 0], [0, 0, 0, 1]], dtype=np.float32)
    )
    index, jaccard = nearest_training(matrix, np.array([False, False, True, False]))
    assert index.tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(jaccard, [2 / 3, 2 / 3, 1, 0])
    index, jaccard = nearest_training(matrix[:2], np.array([False, True]))
    assert (index.tolist(), jaccard[0]) == ([-1, 0], 0)


@pytest.mark.parametrize("damage", ["order", "overlap", "ids", "width", "closed", "strength"])
def test_alignment_is_asserted(world: World, damage: str) -> None:
    data = anndata.read_h5ad(world() / "accessibility.h5ad")
    table, matrix = data.var.reset_index(drop=True), csr_matrix(data.X)
    check_alignment(table, matrix, list(LENGTHS))
    if damage == "order":
        table.loc[[0, 5], "contig"] = ["chr3", "chr2"]
    elif damage == "overlap":
        table.loc[1, "start"] = 549
    elif damage == "ids":
        table.loc[2, "region"] = 7
    elif damage == "width":
        matrix = matrix[:, :5]
    elif damage == "closed":
        table.loc[0, "n_cell_types"] = 0
    else:
        matrix.data[0] = 1.5
    with pytest.raises(AssertionError):
        check_alignment(table, matrix, list(LENGTHS))


def bad_peaks(**change: list[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    return PEAKS | change


TEST = ("chr3", 700, 800, 80, 50)
TRAIN = ("chr2", 400, 600, 90, 100)
VALID = ("chr1", 1500, 1600, 30, 50)


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        (bad_peaks(T=[]), "T.narrowPeak: holds no peaks"),
        (bad_peaks(T=[("chr2", 1990, 2010, 1, 0)]), "T.narrowPeak, line 1: peak ends beyond chr2"),
        (bad_peaks(T=[("2", 5, 9, 1, 0)]), "T.narrowPeak, line 1: no contig is in the genome"),
        (bad_peaks(T=[("chr1", 2500, 2600, 1, 0)]), "no peak of cell type T is left.*1 peaks"),
        (bad_peaks(T=[("chrM", 100, 300, 1, 0)]), "no peak of cell type T is left"),
        ({"B": [TEST, VALID], "NK": [TRAIN]}, "config splits.train: no region of a training"),
        ({"B": [TEST, TRAIN], "NK": [VALID]}, "config splits.valid: no region of a training"),
        ({"B": [VALID, TRAIN], "NK": [TEST]}, "config splits.test: no region of a training"),
        ({"NK": [TEST, VALID, TRAIN]}, "all cell types are held out"),
        ({"B": [TEST, VALID, TRAIN]}, "held-out cell type is not in .*; found 'NK'"),
    ],
)
def test_bad_peaks(world: World, peaks: dict[str, list[tuple[Any, ...]]], message: str) -> None:
    world.write(peaks)
    with pytest.raises(InputError, match=message) as error:
        world()
    assert "\n" not in str(error.value)
    assert not list((world.folder / "out").iterdir())


@pytest.mark.parametrize(
    ("peaks", "reasons"),
    [
        ({"B": [("chr1", 2500, 2600, 1, 50)], "NK": [("chrM", 100, 300, 1, 99)]}, "no_split 2"),
        ({"B": [("chr2", 0, 60, 1, 49)], "NK": [("chr3", 960, 1000, 1, 39)]}, "contig_edge 2"),
        ({"B": [("chr2", 1800, 1900, 1, 50)], "NK": [("chr2", 1850, 1950, 1, 50)]}, "blacklist 2"),
        (
            {"B": [("chr2", 0, 60, 1, 49)], "NK": [("chr2", 1500, 1600, 1, 50)]},
            "contig_edge 1, n_f",
        ),
    ],
)
def test_no_peak_is_left(
    world: World, peaks: dict[str, list[tuple[Any, ...]]], reasons: str
) -> None:
    world.write(peaks)
    with pytest.raises(InputError, match=f"cell_types.tsv: no peak is left; found '{reasons}"):
        world()
    assert not list((world.folder / "out").iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("B\tB.narrowPeak\tnarrowPeak\tx", "line 5: row repeats line 2; found 'B B.narr"),
        ("../B\tB.narrowPeak\tnarrowPeak\tx", "line 5: cell_type cannot be used in a file name"),
        ("B cell\tB.narrowPeak\tnarrowPeak\tx", "line 5: cell_type cannot be used"),
        ("C\tB.narrowPeak\tbigBed\tx", "unknown peak format.*found 'bigBed'"),
        ("C\tB.narrowPeak\tnarrowPeak", "line 5: wrong number of fields; found 3"),
    ],
)
def test_bad_table(world: World, line: str, message: str) -> None:
    with world.table.open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(InputError, match=message):
        world(peaks=[*world.files, world.files[0]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format", "kind", "column 'format' is missing"),
        ("lineage", "n_open", "name of the column is reserved; found 'n_open'"),
    ],
)
def test_bad_columns(world: World, old: str, new: str, message: str) -> None:
    text = world.table.read_text()
    world.table.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        world()


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("", []),  # a spreadsheet writes a last tab
        ("\t", []),
        ("\tdonor", ["donor"]),
        ("index", ["index"]),
        ("_index", None),
        ("a/b", None),
        ("donor\tdonor/site", None),
        ("/x", None),
        (".", None),
        ("..", None),
        ("a\0b", None),
    ],
)
def test_further_columns_can_be_read_back_or_are_refused(
    world: World, header: str, kept: list[str] | None
) -> None:
    """Whatever a table calls them: the stages that follow read the file only after the scan."""
    values = "\t".join("x" for _ in header.split("\t"))
    rows = [line.rpartition("\t")[0] for line in world.table.read_text().splitlines()]
    lines = [f"{rows[0]}\t{header}", *(f"{row}\t{values}" for row in rows[1:])]
    world.table.write_text("\n".join(lines) + "\n")
    if kept is None:
        with pytest.raises(InputError, match=r"line 1: name of the column is reserved; found"):
            world()
        return
    obs = anndata.read_h5ad(world() / OUTPUTS["accessibility"]).obs
    assert [*obs] == [*RESERVED, *kept]


def test_files_out_of_step_with_the_table(world: World) -> None:
    with pytest.raises(ValueError, match="not those of the rows"):
        world(peaks=world.files[::-1])
    with pytest.raises(ValueError, match="not those of the rows"):
        world(peaks=world.files[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\t1\t5\n", "no contig is in the genome; did you mean 'chr2'"),
        ("chr2\t5\n", "line 1: too few columns; found 2; expected 3"),
        ("chr2\tx\t5\n", "line 1: start is not an integer; found 'x'"),
        ("# ok\nchr2\t5\t5\n", "line 2: interval is empty; found '5-5'"),
    ],
)
def test_bad_blacklist(world: World, text: str, message: str) -> None:
    world.blacklist.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        world()
    assert str(error.value).startswith(str(world.blacklist))


def test_genome_and_contigs_of_two_builds(world: World) -> None:
    path = Path(world.reference["contigs"])
    path.write_text(path.read_text().replace("chr3\t1000", "chr3\t1001"))
    with pytest.raises(InputError, match="contigs are not those of the genome"):
        world()


def test_split_of_another_genome(world: World) -> None:
    with pytest.raises(InputError, match=r"contig of split test is not in the genome.*chr33"):
        world(splits=SPLITS | {"test": ["chr33"]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 100}, "config regions.widht: unknown key; did you mean 'width'"),
        ({"width": 0}, "config regions.width: value is out of range; found 0; expected 1 to"),
        ({"open_tolerance": -1}, "config regions.open_tolerance: value is out of range"),
        ({"max_n_fraction": 1.5}, "config regions.max_n_fraction: value is out of range"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RegionSettings.from_config(SETTINGS | change)
