"""Known masters of blood come up on real data: 16 ATAC cell types, HOCOMOCO v11, 1,246 regions.

"Most enriched in" is said of ``deviation``, the statistic that may be compared between cell types
(see :mod:`genebert.enrichment`); the odds ratio, whose background differs between cell types, agrees
for GATA1, CEBPA and EBF1 and puts SPI1 first in GMP-C, the granulocyte-monocyte progenitors on the
way to monocytes, a little before mDC (log2 1.1 and 1.0 with a standard error of about 0.3).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from genebert.enrichment import enrichment_table
from genebert.matrix import gather_matrix, scan_chunk
from genebert.motif_ridge import ridge_table
from genebert.motifs import build_motif_set
from genebert.reference import build_reference
from genebert.region_motifs import RegionMotifs
from genebert.regions import build_regions

pytestmark = pytest.mark.realdata

SPLITS = {
    "train": ["chr22:16050000-19400000"],
    "valid": ["chr17", "chr1"],
    "test": ["chr22:19600000-22000000", "chr20"],
    "held_out_cell_types": [],
}
MASTERS = {  # motif: the cell types it may be most enriched in; HOCOMOCO calls EBF1 COE1
    "GATA1_HUMAN.H11MO.0.A": {"Ery"},
    "CEBPA_HUMAN.H11MO.0.A": {"Mono"},
    "SPI1_HUMAN.H11MO.0.A": {"Mono", "mDC"},
    "COE1_HUMAN.H11MO.0.A": {"B", "CLP"},
}


@pytest.fixture(scope="module")
def data(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> RegionMotifs:
    folder = tmp_path_factory.mktemp("enrichment")
    genome = f"{folder}/genome.fa.gz"
    index = {"genome": genome, "index": f"{genome}.fai", "block_index": f"{genome}.gzi"}
    contigs = f"{folder}/contigs.tsv"
    build_reference(
        fasta=str(realdata / "hg19.mini.fa.gz"), splits=SPLITS, contigs=contigs, **index
    )
    files = {path.name.split("_")[0]: path for path in sorted(realdata.glob("atac/*.gz"))}
    assert len(files) == 16
    rows = [f"{name}\t{path}\tnarrowPeak\n" for name, path in files.items()]
    (folder / "cell_types.tsv").write_text("cell_type\tpeaks\tformat\n" + "".join(rows))
    regions = {"regions": f"{folder}/regions.bed", "table": f"{folder}/regions.tsv"}
    build_regions(
        cell_types=f"{folder}/cell_types.tsv",
        peaks=[str(path) for path in files.values()],
        blacklist=str(realdata / "blacklist" / "hg19-blacklist.v2.bed.gz"),
        splits=SPLITS,
        settings={},
        contigs=contigs,
        **index,
        bed=regions["regions"],
        table=regions["table"],
        accessibility=f"{folder}/accessibility.h5ad",
        occupied=f"{folder}/occupied.bed.gz",
        qc=f"{folder}/qc.tsv",
    )
    motif_set = f"{folder}/motif_set.json"
    build_motif_set(
        sources=[str(realdata / "motifs" / "HOCOMOCOv11_core_HUMAN_mono.meme")],
        motif_set=motif_set,
        meme=f"{folder}/motifs.meme",
        settings={
            "sources": [{"path": "HOCOMOCO", "format": "meme"}],
            "p_value": 1e-4,
            "pseudocount": 0.01,
            "unattainable": "drop",
        },
        splits=SPLITS,
        **regions,
        **index,
    )
    scan_chunk(
        motif_set=motif_set,
        regions=regions["regions"],
        **index,
        hits=f"{folder}/hits.npz",
        chunk=0,
        chunks=1,
    )
    matrix = f"{folder}/matrix.h5ad"
    gather_matrix(motif_set=motif_set, chunks=[f"{folder}/hits.npz"], matrix=matrix, **regions)
    return RegionMotifs.read(matrix, f"{folder}/accessibility.h5ad")


@pytest.fixture(scope="module")
def table(data: RegionMotifs) -> pd.DataFrame:
    return enrichment_table(data)


@pytest.mark.parametrize("motif", MASTERS)
def test_known_master_is_most_enriched_in_its_cell_type(table, motif):
    row = table[table["motif"] == motif].set_index("cell_type")
    assert len(row) == 16
    best = row["deviation"].idxmax()
    assert best in MASTERS[motif]
    assert row.loc[best, "q"] < 0.05
    assert row.loc[best, "deviation"] > 2 * row.loc[best, "deviation_se"]


def test_odds_ratio_agrees_up_to_the_progenitors_of_monocytes(table):
    for motif, expected in MASTERS.items():
        row = table[table["motif"] == motif].set_index("cell_type")
        allowed = expected | {"GMP-C"} if motif.startswith("SPI1_") else expected
        assert row["log2"].idxmax() in allowed


def test_masters_lead_their_cell_types(table):
    ranked = table.set_index(["cell_type", "motif"])["rank"]
    assert ranked["Mono", "CEBPA_HUMAN.H11MO.0.A"] <= 2
    assert ranked["CLP", "COE1_HUMAN.H11MO.0.A"] == 1
    assert ranked["GMP-C", "SPI1_HUMAN.H11MO.0.A"] == 1
    best = table[(table["cell_type"] == "Ery") & (table["rank"] <= 2)]["motif"]
    assert all(name.startswith(("GATA", "TAL1")) for name in best)  # a GATA-E-box composite


def test_broad_gc_strata_and_half_as_many_give_the_same_answer(data):
    for bins in (5, 20):
        table = enrichment_table(data, bins=bins)
        best = table.loc[table.groupby("motif")["deviation"].idxmax()].set_index("motif")
        for motif, expected in MASTERS.items():
            assert best.loc[motif, "cell_type"] in expected


def test_motifs_predict_accessibility_of_other_regions_and_controls_do_not(data, capsys):
    table = ridge_table(data, seed=1, draws=500, block_bp=100_000)
    mean = table[(table["cell_type"] == "*")].set_index(["target", "model"])
    with capsys.disabled():
        print("\n" + mean[["pearson", "pearson_low", "pearson_high", "spearman"]].to_string())
    for target in ("strength", "specific"):
        motif, shuffled = mean.loc[(target, "motif")], mean.loc[(target, "shuffled")]
        assert motif["pearson_low"] > max(0.05, shuffled["pearson_high"])
        assert abs(shuffled["pearson"]) < 0.1
        assert motif["pearson"] > mean.loc[(target, "gc"), "pearson"]
