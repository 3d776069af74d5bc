"""Variants on real human data (hg19): a reporter assay, clinical variants, 1000 Genomes sites."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import spearmanr

from genebert import features
from genebert.errors import InputError
from genebert.motif_files import read_motifs
from genebert.motifs import MotifSet
from genebert.reference import build_reference
from genebert.tasks import build_dataset
from genebert.variant_scores import row_distance

pytestmark = pytest.mark.realdata

SPLITS = {
    "train": ["chr22:16050000-19400000"],
    "valid": ["chr17", "chr1"],
    "test": ["chr22:19600000-22000000", "chr20"],
}
MPRA = {"contig": "#chrom", "position": "pos", "label": "log2_effect"}


@pytest.fixture(scope="module")
def place(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genome, and regions around the two loci."""
    folder = tmp_path_factory.mktemp("variants")
    genome = str(folder / "genome.fa.gz")
    build_reference(
        fasta=str(realdata / "hg19.mini.fa.gz"), splits=SPLITS, genome=genome,
        index=f"{genome}.fai", block_index=f"{genome}.gzi", contigs=str(folder / "contigs.tsv"),
    )  # fmt: skip
    pd.DataFrame(
        {
            "region": [0, 1], "contig": "chr22", "start": [17_670_000, 19_710_700],
            "end": [17_670_500, 19_711_200], "split": ["train", "test"], "held_out_only": 0,
        }
    ).to_csv(folder / "regions.tsv", sep="\t", index=False)  # fmt: skip
    return folder


def build(place: Path, labels: Path, **row: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    build_dataset(
        row={
            "task": "disease", "name": "real", "kind": "variants", "block_bp": 1_000_000, **row
        },
        genome=str(place / "genome.fa.gz"), index="", block_index="", contigs="", accessibility="",
        regions=str(place / "regions.tsv"), labels=str(labels), extra=[], truth=[], phenotypes=[],
        dataset=str(place / "d.parquet"), description=str(place / "d.json"),
        leaks=str(place / "leaks.tsv"), splits=SPLITS, seed=1, max_items=10**6,
    )  # fmt: skip
    return pd.read_parquet(place / "d.parquet"), json.loads((place / "d.json").read_text())


@pytest.fixture(scope="module")
def mpra(place: Path, realdata: Path) -> pd.DataFrame:
    frame, info = build(
        place, realdata / "variants" / "mpra_GP1BB.hg19.tsv.gz", columns=MPRA, block_bp=10
    )
    assert info["n_in"] == 1268
    assert info["dropped"] == {}
    assert info["label"] == "effect"
    assert info["flags"] == ["within_one_element"]
    return frame


def test_every_reference_base_of_the_assay_is_the_genome(mpra: pd.DataFrame) -> None:
    assert len(mpra) == 1268
    middle = mpra["sequence"].str[250]
    assert (middle == mpra["ref"]).all()
    assert set(mpra["split"]) == {"test"}
    assert not mpra["in_pretraining"].any()
    single = mpra["alt"].str.fullmatch("[ACGT]")
    assert (mpra.loc[single, "alternative"].str[250] == mpra.loc[single, "alt"]).all()
    deleted = mpra[~single]
    assert len(deleted) == (mpra["alt"] == "-").sum() > 100
    assert (deleted["alternative"].str[:250] == deleted["sequence"].str[:250]).all()
    assert (deleted["alternative"].str[250:499] == deleted["sequence"].str[251:]).all()


def test_a_position_that_counts_from_zero_is_refused(
    place: Path, realdata: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(realdata / "variants" / "mpra_GP1BB.hg19.tsv.gz", sep="\t")
    frame["pos"] -= 1
    frame.to_csv(tmp_path / "shifted.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"line \d+: REF disagrees with the genome at chr22:"):
        build(place, tmp_path / "shifted.tsv", columns=MPRA)


def test_a_published_cut_gives_labels(place: Path, realdata: Path) -> None:
    frame, info = build(
        place, realdata / "variants" / "mpra_GP1BB.hg19.tsv.gz", columns=MPRA, block_bp=10,
        positive={"pvalue": 1e-5}, minimum={"barcodes": 10},
    )  # fmt: skip
    assert info["label"] == "binary"
    assert sum(info["dropped"].values()) + len(frame) == 1268
    source = pd.read_csv(realdata / "variants" / "mpra_GP1BB.hg19.tsv.gz", sep="\t")
    used = source[source["barcodes"] >= 10]
    assert len(frame) == len(used)
    assert frame["label"].sum() == (used["pvalue"] < 1e-5).sum() > 100


def test_the_configuration_asks_for_labels_and_for_signed_effects(
    place: Path, realdata: Path, root: Path
) -> None:
    config = yaml.safe_load((root / "config/hg19_test.yaml").read_text())
    rows = {row["name"]: row for row in config["datasets"] if row["kind"] == "variants"}
    built = {}
    for name, row in rows.items():
        keys = ("columns", "minimum", "positive", "block_bp")
        path = realdata / "variants" / Path(row["path"]).name
        frame, info = build(place, path, **{key: row[key] for key in keys if key in row})
        built[name, info["label"]] = frame.set_index("item").sort_index()
    labels, effects = built["mpra-GP1BB", "binary"], built["mpra-GP1BB-effect", "effect"]
    assert labels["effect"].equals(effects["label"].abs().rename("effect"))
    assert (effects["label"] < 0).sum() > 100


def test_motif_changes_follow_measured_effects(
    mpra: pd.DataFrame, realdata: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = realdata / "motifs" / "HOCOMOCOv11_core_HUMAN_mono.meme"
    wanted = ("GATA1_", "GATA2_", "TAL1_", "KLF1_", "SP1_", "ETS1_", "FLI1_", "RUNX1_", "NFE2_")
    motifs = [m for m in read_motifs(source, "meme") if m.name.startswith(wanted)]
    change = row_distance(
        *(
            features.motif_features(mpra[column].tolist(), MotifSet.build(motifs))
            for column in ("sequence", "alternative")
        )
    )
    found = float(spearmanr(change, mpra["effect"].abs()).statistic)
    rng = np.random.default_rng(1)
    chance = [
        abs(float(spearmanr(change, rng.permutation(mpra["effect"].abs())).statistic))
        for _ in range(200)
    ]
    with capsys.disabled():
        print(f"\nGP1BB: Spearman of |effect| and change of {len(motifs)} motifs {found:.3f}")
    assert found > max(chance)


def test_clinical_words(place: Path, realdata: Path) -> None:
    words = {"values": ["pathogenic", "likely pathogenic"], "negative": ["benign", "likely benign"]}
    frame, info = build(
        place, realdata / "variants" / "clinvar_ADA2.hg19.tsv.gz", positive=words,
        columns={"contig": "#chrom", "position": "pos", "label": "significance"},
        block_bp=10_000,  # one gene: all lie in one block of 100 kb
    )  # fmt: skip
    assert info["n_in"] == 125
    assert set(frame["split"]) == {"train"}
    assert sum(info["dropped"].values()) + len(frame) == 125
    source = pd.read_csv(realdata / "variants" / "clinvar_ADA2.hg19.tsv.gz", sep="\t")
    source = source.drop_duplicates(["pos", "ref", "alt"])
    assert info["dropped"]["repeated"] == 125 - len(source)
    assert frame["label"].sum() == source["significance"].isin(words["values"]).sum() > 10
    assert frame.loc[frame["position"].between(17_669_760, 17_670_740), "in_pretraining"].all()


def test_sites_named_without_chr_are_refused_with_a_hint(place: Path, realdata: Path) -> None:
    path = realdata / "variants" / "1000G_phase3_22q11.hg19.vcf.gz"
    with gzip.open(path, "rt") as handle:
        keys = [line for line in handle if line.startswith("##INFO=<ID=")]
    key = keys[0].removeprefix("##INFO=<ID=").split(",")[0]
    with pytest.raises(InputError, match=r"contig is not in the genome; did you mean 'chr22'"):
        build(place, path, label_info=key)
