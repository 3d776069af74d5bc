"""Reference and regions on real human data: 16 ATAC and some DNase cell types of hg19."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from genebert.genome import Genome
from genebert.peaks import read_peaks
from genebert.reference import build_reference, read_contigs
from genebert.regions import build_regions

pytestmark = pytest.mark.realdata

SPLITS = {
    "train": ["chr22:16050000-19400000"],
    "valid": ["chr17", "chr1"],
    "test": ["chr22:19600000-22000000", "chr20"],
    "held_out_cell_types": ["CD4", "CD8", "HepG2"],
}
DNASE = {
    "GM12878": "UwdukeGm12878UniPk.narrowPeak.gz",
    "HepG2": "UwdukeHepg2UniPk.narrowPeak.gz",
    "E003": "E003-DNase.hotspot.fdr0.01.peaks.bed.gz",
    "E097": "E097-DNase.hotspot.fdr0.01.peaks.bed.gz",
}


class Run:
    """The outputs of both stages on the real data."""

    def __init__(self, realdata: Path, folder: Path) -> None:
        self.genome = f"{folder}/genome.fa.gz"
        self.contigs = f"{folder}/contigs.tsv"
        reference = {
            "genome": self.genome,
            "index": f"{self.genome}.fai",
            "block_index": f"{self.genome}.gzi",
            "contigs": self.contigs,
        }
        build_reference(fasta=str(realdata / "hg19.mini.fa.gz"), splits=SPLITS, **reference)
        self.files = {path.name.split("_")[0]: path for path in sorted(realdata.glob("atac/*.gz"))}
        assert len(self.files) == 16
        self.files |= {name: realdata / "dnase" / file for name, file in DNASE.items()}
        rows = ["cell_type\tpeaks\tformat"]
        for name, path in self.files.items():
            rows.append(f"{name}\t{path}\t{self.format(name)}")
        (folder / "cell_types.tsv").write_text("\n".join(rows) + "\n")
        self.arguments: dict[str, Any] = {
            "cell_types": f"{folder}/cell_types.tsv",
            "peaks": [str(path) for path in self.files.values()],
            "blacklist": str(realdata / "blacklist" / "hg19-blacklist.v2.bed.gz"),
            "splits": SPLITS,
            "settings": {},
            **reference,
            "bed": f"{folder}/regions.bed",
            "table": f"{folder}/regions.tsv",
            "accessibility": f"{folder}/accessibility.h5ad",
            "occupied": f"{folder}/occupied.bed.gz",
            "qc": f"{folder}/qc.tsv",
        }
        build_regions(**self.arguments)
        self.table = pd.read_csv(self.arguments["table"], sep="\t")
        self.data = anndata.read_h5ad(self.arguments["accessibility"])
        self.qc = pd.read_csv(self.arguments["qc"], sep="\t")

    @staticmethod
    def format(name: str) -> str:
        return "bed" if name.startswith("E0") else "narrowPeak"


@pytest.fixture(scope="module")
def run(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(realdata, tmp_path_factory.mktemp("regions"))


def test_counts_are_sensible(run: Run) -> None:
    count = run.table["split"].value_counts()
    assert 500 < count["train"] < 1500
    assert 350 < count["valid"] < 1000
    assert 900 < count["test"] < 2000
    assert 0 < run.table["held_out_only"].sum() < 0.15 * len(run.table)


def test_regions_lie_in_the_windows_of_their_split(run: Run, realdata: Path) -> None:
    windows = {
        row[0]: (int(row[1]), int(row[2]))
        for row in map(str.split, (realdata / "regions.bed").read_text().splitlines())
    }
    genome = Genome(run.genome)
    for row in run.table.itertuples():
        first, last = windows[row.contig]
        assert first <= row.start
        assert row.end <= last
        assert row.end - row.start == 500
        # hg19 holds a few runs of three N inside its windows; nothing near a gap is kept.
        assert (genome.codes(row.contig, row.start, row.end) == 4).sum() <= 3
    chr22 = run.table[run.table["contig"] == "chr22"]
    assert (chr22[chr22["split"] == "train"]["end"] <= 19_400_000).all()
    assert (chr22[chr22["split"] == "test"]["start"] >= 19_600_000).all()
    assert set(run.table[run.table["contig"] == "chr20"]["split"]) == {"test"}


def test_sorted_and_disjoint(run: Run) -> None:
    assert list(run.table["contig"].unique()) == ["chr1", "chr17", "chr20", "chr22"]
    for _, here in run.table.groupby("contig"):
        assert (np.diff(here["start"]) >= 500).all()


def test_accessibility_is_consistent(run: Run) -> None:
    x = run.data.X
    assert x.min() >= 0
    assert x.max() <= 1
    assert run.data.obs["n_open"].tolist() == x.getnnz(axis=1).tolist()
    assert run.table["n_cell_types"].tolist() == x.getnnz(axis=0).tolist()
    train = ~run.data.obs["held_out"].to_numpy(dtype=bool)
    assert run.table["n_train_cell_types"].tolist() == x[train].getnnz(axis=0).tolist()
    assert (run.table["n_cell_types"] >= 1).all()
    # An open region is at a peak: hardly more open regions than peaks in any cell type.
    assert (run.data.obs["n_open"] <= 1.05 * run.data.obs["n_peaks"]).all()


def test_openness_of_one_cell_type_by_hand(run: Run) -> None:
    contigs = read_contigs(run.contigs)
    names = list(contigs)
    for cell in ("CD8", "E003"):
        peaks = read_peaks(run.files[cell], run.format(cell), contigs)
        row = run.data.X[run.data.obs_names.get_loc(cell)].toarray()[0]
        for region in run.table[::20].itertuples():
            centre = (region.start + region.end) // 2
            near = (
                (peaks.contig == names.index(region.contig))
                & (peaks.start <= centre + 100)
                & (peaks.end > centre - 100)
            )
            expected = peaks.strength[near].max() if near.any() else 0
            assert row[region.region] == np.float32(expected)


def test_every_peak_is_accounted_for(run: Run) -> None:
    count = run.qc.pivot(index="cell_type", columns="reason", values="count")
    cells = count.loc[list(run.files)]
    parts = ["unknown_contig", "duplicate", "kept", "contig_edge", "no_split", "blacklist"]
    assert (cells["read"] == cells[[*parts, "n_fraction", "overlap"]].sum(axis=1)).all()
    assert cells.loc["E003", "no_summit"] == cells.loc["E003", "read"]
    assert cells.loc["CD8", "no_summit"] == 0
    assert (cells["blacklist"] > 0).any()
    assert cells["kept"].sum() == len(run.table)


def test_one_held_out_type_has_no_near_relative(run: Run) -> None:
    obs = run.data.obs[run.data.obs["held_out"].astype(bool)]
    assert obs["nearest_jaccard"].min() < 0.5
    assert obs.loc["CD8", "nearest_training"] == "NK"


def test_promoters_are_open(run: Run, realdata: Path) -> None:
    """A check of coordinates: regions at promoters are open in more cell types than others."""
    tss = pd.read_csv(
        realdata / "promoters" / "epdnew_nontata_251bp.hg19.bed.gz", sep="\t", header=None
    )
    at = np.zeros(len(run.table), dtype=bool)
    for contig, start, end in zip(tss[0], tss[1], tss[2], strict=True):
        near = (run.table["start"] < end) & (run.table["end"] > start)
        at |= (near & (run.table["contig"] == contig)).to_numpy()
    assert at.sum() > 40
    breadth = run.table["n_cell_types"]
    assert breadth[at].mean() > 2 * breadth[~at].mean()
