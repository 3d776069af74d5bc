"""The datasets of promoters, TF binding and splice sites on real human data (hg19)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.genome import encode, reverse_complement
from genebert.metrics import auroc
from genebert.reference import build_reference
from genebert.regions import build_regions
from genebert.tasks import build_dataset

pytestmark = pytest.mark.realdata

SPLITS = {
    "train": ["chr22:16050000-19400000"],
    "valid": ["chr17", "chr1"],
    "test": ["chr22:19600000-22000000", "chr20"],
    "held_out_cell_types": ["HepG2"],
}
DNASE = {
    "A549": "UwdukeA549",
    "GM12878": "UwdukeGm12878",
    "H1-hESC": "UwdukeH1hesc",
    "HeLa-S3": "UwdukeHelas3",
    "HepG2": "UwdukeHepg2",
    "K562": "UwdukeK562",
}
TFS = ("CTCF", "MAX", "TEAD4")


class Run:
    """Reference and regions of six cell lines, and a way to build datasets on them."""

    def __init__(self, realdata: Path, folder: Path) -> None:
        self.realdata, self.folder = realdata, folder
        genome = str(folder / "genome.fa.gz")
        self.reference = {
            "genome": genome,
            "index": f"{genome}.fai",
            "block_index": f"{genome}.gzi",
            "contigs": str(folder / "contigs.tsv"),
        }
        build_reference(fasta=str(realdata / "hg19.mini.fa.gz"), splits=SPLITS, **self.reference)
        rows = {
            name: realdata / "dnase" / f"{file}UniPk.narrowPeak.gz" for name, file in DNASE.items()
        }
        table = folder / "cell_types.tsv"
        lines = [f"{name}\t{path}\tnarrowPeak\n" for name, path in rows.items()]
        table.write_text("cell_type\tpeaks\tformat\n" + "".join(lines))
        build_regions(
            cell_types=str(table),
            peaks=[str(path) for path in rows.values()],
            blacklist=str(realdata / "blacklist" / "hg19-blacklist.v2.bed.gz"),
            splits=SPLITS,
            settings={},
            **self.reference,
            bed=str(folder / "regions.bed"),
            table=str(folder / "regions.tsv"),
            accessibility=str(folder / "accessibility.h5ad"),
            occupied=str(folder / "occupied.bed.gz"),
            qc=str(folder / "qc.tsv"),
        )

    def build(
        self, row: dict[str, Any], labels: Path, **more: Any
    ) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]:
        """Return the frame, the description and the leak table of a dataset."""
        arguments = {
            **self.reference,
            "regions": str(self.folder / "regions.tsv"),
            "accessibility": str(self.folder / "accessibility.h5ad"),
            "labels": str(labels),
            "extra": [],
            "truth": [],
            "phenotypes": [],
            "dataset": str(self.folder / "dataset.parquet"),
            "description": str(self.folder / "dataset.json"),
            "leaks": str(self.folder / "leaks.tsv"),
            "row": {"name": "real", "block_bp": 1_000_000, **row},
            "splits": SPLITS,
            "seed": 1,
            "max_items": 10**6,
            **more,
        }
        build_dataset(**arguments)
        return (
            pd.read_parquet(self.folder / "dataset.parquet"),
            json.loads((self.folder / "dataset.json").read_text()),
            pd.read_csv(self.folder / "leaks.tsv", sep="\t").set_index("check"),
        )


@pytest.fixture(scope="module")
def run(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(realdata, tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def chip(run: Run) -> tuple[Path, list[str]]:
    found = []
    for path in sorted((run.realdata / "chip_dream").glob("*.narrowPeak.gz")):
        cell_type, tf = path.name.split(".")[:2]
        if tf in TFS:
            found.append((tf, cell_type, str(path)))
    table = run.folder / "chip.tsv"
    pd.DataFrame(found, columns=["tf", "cell_type", "peaks"]).to_csv(table, sep="\t", index=False)
    return table, [path for _, _, path in found]


def test_promoters_have_their_initiator_and_matched_negatives(run: Run) -> None:
    path = run.realdata / "promoters" / "epdnew_nontata_251bp.hg19.bed.gz"
    row = {"task": "promoter", "kind": "tss", "tss_offset": 200}
    frame, info, leaks = run.build(row, path)
    assert info["n_in"] == 97
    assert info["tss_check"]["best_offset"] == 0
    assert info["tss_check"]["share_at_tss"] == pytest.approx(0.71, abs=0.02)
    positive = frame[frame["label"] == 1]
    step = positive["sequence"].str.slice(248, 250).str.fullmatch("[CT][AG]")
    assert 0.6 < step.mean() < 0.8
    assert (positive["stratum"] == "tata").mean() < 0.1
    assert info["counts"]["test"]["promoter"] >= 40
    for split in ("train", "valid", "test"):
        assert abs(leaks.loc[f"gc_auroc:{split}", "share"] - 0.5) < 0.05
        assert leaks.loc[f"gc_positive:{split}", "share"] > 0.55
    _, _, legacy = run.build({**row, "negatives": "legacy"}, path)
    assert legacy.loc["gc_auroc:test", "share"] > 0.7  # why these are not the headline


def test_splice_sites_stand_at_gt_and_ag_and_known_paralogs_go(run: Run) -> None:
    path = run.realdata / "genes" / "canonical_transcripts.hg19.gtf.gz"
    frame, info, leaks = run.build({"task": "splicing", "kind": "gtf"}, path)
    assert 0.97 < info["canonical"]["share"] < 1
    assert (frame[frame["label"] == 1]["sequence"].str.slice(200, 202) == "GT").mean() > 0.95
    assert (frame[frame["label"] == 2]["sequence"].str.slice(198, 200) == "AG").mean() > 0.98
    # DGCR6L is a copy of DGCR6, USP41 one of USP18; the copies lie in test, the others in train
    assert info["dropped"]["genes_related_to_training"] == 2
    assert abs(leaks.loc["gc_auroc:test", "share"] - 0.5) < 0.05
    polypyrimidine = frame["sequence"].str.slice(180, 197).str.count("[CT]")
    acceptor, none = (polypyrimidine[frame["label"] == k].mean() for k in (2, 0))
    assert acceptor - none > 2.5


def test_binding_is_matched_and_leaves_chr1_unlabelled(
    run: Run, chip: tuple[Path, list[str]]
) -> None:
    row = {"task": "tfbs", "kind": "narrowpeak"}
    frame, info, leaks = run.build(row, chip[0], extra=chip[1])
    assert info["groups"] == sorted(TFS)
    assert info["contigs"] == ["chr17", "chr20", "chr22"]
    assert "chr1" not in set(frame["contig"])
    assert {"IMR-90", "MCF-7"} <= set(info["missing_cell_types"])
    assert abs(leaks.loc["gc_auroc:test", "share"] - 0.5) < 0.06
    beside = frame["stratum"].str.contains("beside")
    assert 100 < beside.sum() == info["beside"]
    matched = frame[~beside].groupby(["split", "group", "cell_type"])["label"].mean()
    assert matched.eq(0.5).mean() > 0.8
    assert min(info["summits_in_open_regions"].values()) > 0.1  # of the same build
    tags = frame[frame["split"] == "test"]["stratum"].str.split(";").str[0]
    assert set(tags) == {"chromosome", "cell-type", "both"}
    assert set(frame[frame["cell_type"] == "HepG2"]["split"]) == {"test"}


def test_ctcf_sites_hold_the_ctcf_motif(run: Run, chip: tuple[Path, list[str]]) -> None:
    row = {"task": "tfbs", "kind": "narrowpeak", "negatives": "natural"}
    frame, _, _ = run.build(row, chip[0], extra=chip[1])
    # the core of the CTCF motif, CCASYAGRKGGC, by matches to its fixed bases
    fixed = [(j, "ACGT".index(b)) for j, b in enumerate("CCA..AG..GGC") if b != "."]

    def best(sequence: str) -> int:
        codes = encode(sequence)
        scores = []
        for strand in (codes, reverse_complement(codes)):
            windows = np.lib.stride_tricks.sliding_window_view(strand, 12)
            scores.append(sum((windows[:, j] == base).astype(int) for j, base in fixed).max())
        return int(max(scores))

    ctcf = frame[(frame["group"] == "CTCF") & (frame["cell_type"] == "K562")]
    area = auroc(ctcf["label"].to_numpy(), np.array([best(s) for s in ctcf["sequence"]]))
    assert area > 0.65
    discordant = frame["stratum"].str.contains("discordant")
    share = discordant[frame["label"] == 1].groupby(frame["group"]).mean()
    assert share["TEAD4"] > share["CTCF"]  # CTCF is the control, TEAD4 a headline TF
