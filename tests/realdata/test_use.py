"""Real files of users: a peak file and a VCF of 1000 Genomes, with encoders of random weights."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pysam
import pytest

from genebert.accessibility_head import Ridge
from genebert.genome import Genome
from genebert.model import GeneBert, ModelConfig
from genebert.motif_files import read_motifs
from genebert.motifs import MotifSet
from genebert.pretrained import save
from genebert.use import embed, variants
from genebert.use.head import Head

pytestmark = pytest.mark.realdata

CONFIG = ModelConfig(k=6, stride=6, d_model=16, n_layers=1, n_heads=2, n_features=4, n_columns=5)
SITES = 300


@pytest.fixture(scope="module")
def files(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("use")
    genome = str(folder / "genome.fa.gz")
    with gzip.open(realdata / "hg19.mini.fa.gz", "rb") as packed, pysam.BGZFile(genome, "w", None) as out:  # fmt: skip
        out.write(packed.read())
    pysam.faidx(genome)
    save(folder / "model", GeneBert(CONFIG, 1))
    (folder / "index.json").write_text(json.dumps({"width": 500, "motifs": ["A", "B", "C"]}))
    return {
        "genome": genome, "index": f"{genome}.fai", "block_index": f"{genome}.gzi",
        "weights": str(folder / "model/model.safetensors"), "shards": str(folder / "index.json"),
    }  # fmt: skip


def test_a_real_peak_file(realdata, files, tmp_path):
    peaks = sorted((realdata / "dnase").glob("*.narrowPeak.gz"))[0]
    out = str(tmp_path / "peaks.h5ad")
    embed.embed_bed(bed=str(peaks), **files, embeddings=out, name="peaks", cell_types=[], threads=1)
    found = anndata.read_h5ad(out)
    with gzip.open(peaks, "rt") as file:
        lines = [line.split("\t") for line in file if not line.startswith("#")]
    kept = [line for line in lines if line[0] in Genome(files["genome"]).lengths]
    assert found.obs["start"].tolist() == [int(line[1]) for line in kept]
    assert np.isfinite(found.X).all()


def test_sites_of_the_1000_genomes(realdata, files, tmp_path, monkeypatch):
    """Contigs lack their chr; every REF is the genome's; htslib reads the annotated file back."""
    whole = next((realdata / "variants").glob("1000G*.vcf.gz"))
    vcf = tmp_path / "some.vcf"
    with gzip.open(whole, "rt") as lines, vcf.open("w") as out:
        count = 0
        for line in lines:
            out.write(line)
            count += not line.startswith("#")
            if count == SITES:
                break
    motifs = MotifSet.build(read_motifs("jaspar:JASPAR2024:vertebrates", "pyjaspar")[:20])
    motifs.write(tmp_path / "motif_set.json")
    d = CONFIG.d_model
    ridge = Ridge(np.zeros(d), np.ones(d), np.ones((d, 1)), np.zeros(1), 1.0)
    monkeypatch.setattr(Head, "load", lambda *_: Head(ridge, ("HSC",), ""))
    paths: dict[str, Any] = {
        key: str(tmp_path / f"v.{end}")
        for key, end in (("table", "tsv"), ("annotated", "vcf.gz"), ("summary", "json"))
    }
    variants.score_vcf(
        vcf=str(vcf), **files, motif_set=str(tmp_path / "motif_set.json"), head="", **paths,
        vcf_index=paths["annotated"] + ".tbi", name="v", cell_types=[], threads=1,
    )  # fmt: skip
    table = pd.read_csv(paths["table"], sep="\t")
    assert not table["skipped"].eq("REF disagrees with the genome").any()
    scored = table[table["skipped"].isna()]
    assert len(scored) > SITES / 2
    assert np.isfinite(scored["embedding"]).all()
    with pysam.VariantFile(paths["annotated"]) as file:
        assert "GENEBERT_LLR" in file.header.info
        records = list(file)
    assert len(records) == SITES
