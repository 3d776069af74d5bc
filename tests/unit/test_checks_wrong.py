"""`snakemake check` of files and settings that a run would fail on: an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import pytest
from check_toys import CELLS, Config, edit, found, made_config, of
from scipy.sparse import csr_matrix

from genebert import checks
from genebert.checks import data


@pytest.fixture
def config(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    return made_config(root)


@pytest.mark.parametrize(
    ("file", "change", "topic", "text"),
    [
        ("genome.fa", lambda t: t.replace(">chr3", ">chr2"), "genome", "contig name is repeated"),
        ("genome.fa", lambda t: "x" + t, "genome", "is not a FASTA file; found 'x>chr1 a contig'"),
        ("genome.fa", lambda t: t.replace("ACG", "A!G", 1), "genome", "chr1 has a letter that is not a DNA base; found '!'"),
        ("genome.fa", lambda t: t.replace("chr", ""), "splits", "contig of split train is not in the genome; did you mean '1'"),
        ("genome.fa", lambda t: t + ">chr4\n", "genome", "contig has no sequence; found 'chr4'"),
        ("cells.tsv", lambda t: t.replace("\t", ","), "atlas", "must be separated by tabs, not by commas"),
        ("cells.tsv", lambda t: t.replace("NK", "Nk", 1), "atlas", "held-out cell type is not in the table; did you mean 'Nk'"),
        ("cells.tsv", lambda t: t.replace("\n", "\tx\n").replace("\tx", "\tlab/site", 1), "atlas", "cells.tsv, line 1: name of the column is reserved; found 'lab/site'"),
        ("cells.tsv", lambda t: t.replace("\tnarrowPeak", "\tnarowPeak"), "peaks", "did you mean 'narrowPeak'"),
        ("cells.tsv", lambda t: t.replace("B.narrow", "B.narow"), "peaks", "B: B.narowPeak: no such file; did you mean 'B.narrowPeak'"),
        ("B.narrowPeak", lambda t: t.replace("chr", ""), "peaks", "B: B.narrowPeak, line 1: no contig is in the genome; did you mean 'chr1'"),
        ("B.narrowPeak", lambda t: t.replace("\t1000\t", "\t99999\t").replace("\t1020\t1320", "\t61000\t61300"), "peaks", "peak ends beyond chr1; other assembly?"),
        ("B.narrowPeak", lambda t: t.replace("\t", ","), "peaks", "separated by tabs"),
        ("motifs.meme", lambda t: t.replace("MEME version 4", "HOCOMOCO"), "motifs", "is not a MEME motif file"),
        ("promoters.bed", lambda t: t.replace("chr1", "1"), "dataset", "promoter/epd: promoters.bed: no contig of this file is in the genome; did you mean 'chr1'"),
        ("chip.tsv", lambda t: t.replace("\tB\t", "\tb\t").replace("\tDC\t", "\tdc\t"), "dataset", "no cell type of this table is in the atlas; did you mean 'B'"),
        ("chip.tsv", lambda t: t.replace("NK.narrowPeak", "NK.narowPeak"), "dataset", "chip.tsv, line 3: no such file; did you mean 'NK.narrowPeak'"),
        ("variants.tsv", lambda t: t.replace("position", "pos"), "dataset", "column 'position' is missing"),
        ("variants.tsv", lambda t: t.replace("chr1", "1"), "dataset", "did you mean 'chr1'? (key contig_prefix adds it)"),
        ("genes.gtf", lambda t: t.replace('gene_id "g"', "gene_id=g"), "dataset", "a GTF (not a GFF3)"),
        ("train.csv", lambda t: t.replace("sequence", "seq"), "dataset", "promoter/gue: train.csv"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error(
    config: Config, file: str, change: Callable[[str], str], topic: str, text: str
) -> None:
    edit(file, change)
    assert any(text in line for line in of(config, topic, "error")), [str(f) for f in found(config)]


@pytest.mark.parametrize(
    ("key", "value", "topic", "text"),
    [
        ("genome.fasta", "genom.fa", "genome", "genom.fa: no such file; did you mean 'genome.fa'"),
        ("genome.fasta", "resource:hg19.fa", "genome", "no such download: hg19.fa; did you mean 'hg19.fa.gz'"),
        ("genome.blacklist", "black.bed", "blacklist", "black.bed: no such file"),
        ("splits.test", ["chr3:1-70000"], "splits", "interval of split test ends beyond chr3"),
        ("splits.test", ["chr3:59500-60000"], "splits", "no peak lies in test"),
        ("splits.held_out_cell_types", ["nk"], "atlas", "did you mean 'NK'"),
        ("splits.held_out_cell_types", list(CELLS), "splits", "all cell types are held out"),
        ("atlas.min_replicates", 2, "atlas", "fewer replicates than atlas.min_replicates -> lower it from 2"),
        ("motifs.p_value", 1e-9, "motifs", "none of 2 motifs can reach"),
        ("regions.width", 200, "pretrain", "full, sequence, shuffled_matrix: pretrain.row_tokens: a row's segment is longer than the stored sequences; found '127 tokens of k = 6, stride = 3: 384 bases'; expected at most 328"),
        ("pretrain.micro_batch", 24, "pretrain", "pretrain.batch_size: batch does not divide; found 32"),
        ("pretrain.processes", 3, "pretrain", "a multiple of 2 x 3 processes x micro_batch 10"),
        ("pretrain.tokens.stride", 8, "pretrain", "stride leaves bases without a token"),
        ("pretrain.objectives.mgm.span", [[0.5, 5], [0.6, 7]], "pretrain", "is no list of spans"),
        ("pretrain.objectives.mgm.span", [[0.5, 41], [0.5, 43]], "pretrain", "no number of hidden bases suits all spans"),
        ("pretrain.neighbours", 84, "pretrain", "cell type HSC has fewer open regions than a matrix has columns; found '84 neighbours, at most 83 training regions on one contig'"),
        ("motifs.sources.0.path", "jaspar:1999", "motifs", "no such JASPAR release"),
        ("datasets.0.path", "promoter.bed", "dataset", "promoter/epd: promoter.bed: no such file; did you mean 'promoters.bed'"),
    ],
)  # fmt: skip
def test_wrong_settings_are_an_error(
    config: Config, key: str, value: Any, topic: str, text: str
) -> None:
    if value == "jaspar:1999":
        config["motifs"]["sources"][0]["format"] = "pyjaspar"
    target: Any = config
    *blocks, last = key.split(".")
    for block in blocks:
        target = target[int(block)] if block.isdecimal() else target[block]
    target[last] = value
    lines = [
        str(f)
        for f in checks.find(config, [{"name": "hg19.fa.gz", "bytes": "9"}])
        if (f.topic, f.level) == (topic, "error")
    ]
    assert any(text in line for line in lines), lines


def test_labels_of_a_vcf_are_read_as_the_run_does(config: Config) -> None:
    lines = ["##fileformat=VCFv4.2", '##INFO=<ID=SIG,Number=1,Type=String,Description="x">']
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO", "1\t12\t.\tA\tC\t.\t.\tSIG=bad"]
    Path("v.vcf").write_text("\n".join(lines) + "\n")
    row = config["datasets"][2]
    row |= {"path": "v.vcf", "label_info": "SIG", "contig_prefix": "chr"}
    assert any("1 variants; REF is compared" in line for line in of(config, "dataset", "ok"))
    row["cell_type"] = "Bcell"
    (line,) = of(config, "dataset", "error")
    assert "no cell type of the variants is in the atlas" in line
    row |= {"cell_type": "B", "contig_prefix": ""}
    (line,) = of(config, "dataset", "error")
    assert "did you mean 'chr1'? (key contig_prefix adds it)" in line
    row["columns"] = {"lable": "x"}
    (line,) = of(config, "dataset", "error")
    assert "unknown field 'lable' in columns; did you mean 'label'" in line


def test_what_no_dataset_reads_is_read_as_well(config: Config) -> None:
    config["datasets"] = [config["datasets"][0] | {"negatives": "natural"}]
    (line,) = of(config, "dataset", "error")
    assert "unknown negatives; found 'natural'; expected matched, open, legacy" in line
    assert any("genes.gtf, 1 exons" in line for line in of(config, "annotation", "ok"))
    Path("genes.gtf").write_text("chr1\tx\texon\t11\t70\t.\t+\t.\tID=e1;Parent=t1\n")
    (line,) = of(config, "annotation", "error")
    assert "a GTF (not a GFF3)" in line
    Path("clusters.tsv").write_text("motif\tgroup\nlong\ta\n")
    config["motifs"]["clusters"] = "clusters.tsv"
    assert "column 'cluster' is missing" in "".join(of(config, "motifs", "error"))
    Path("clusters.tsv").write_text("motif\tcluster\nlong\ta\n")
    assert any("clusters.tsv: 1 clusters" in line for line in of(config, "motifs", "ok"))


def test_a_contig_of_the_genome_may_come_late(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pilot of one chromosome with the labels of all: what comes first is not in the genome."""
    monkeypatch.setattr(checks.labels, "HEAD", 3)
    exon = 'chrQ\tx\texon\t11\t70\t.\t+\t.\tgene_id "g"; transcript_id "t";\n'
    own = Path("genes.gtf").read_text()
    Path("genes.gtf").write_text(exon * 9 + own)
    head, variant = Path("variants.tsv").read_text().splitlines()
    others = "\n".join(variant.replace("chr1", "chrQ") for _ in range(9))
    Path("variants.tsv").write_text(f"{head}\n{others}\n{variant}\n")
    peaks = Path("B.narrowPeak").read_text()
    config["atlas"]["cell_types"] = "cells.tsv"
    Path("chip.narrowPeak").write_text(peaks.replace("chr1", "chrQ"))
    Path("chip.tsv").write_text("tf\tcell_type\tpeaks\nSPI1\tB\tchip.narrowPeak\n")
    assert not of(config, "dataset", "error")
    Path("genes.gtf").write_text(exon * 9)
    assert any(
        "no contig of this file is in the genome" in x for x in of(config, "dataset", "error")
    )


def test_a_known_assembly_is_recognised_and_a_wrong_name_is_an_error(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = {"chr1": 60_000, "chr2": 60_000, "chr3": 60_000}
    monkeypatch.setitem(data.BUILDS, "hg19", lengths)
    assert ", the lengths of hg19" in of(config, "genome", "ok")[0]
    config["genome"]["name"] = "hg38"
    (line,) = of(config, "genome", "error")
    assert "length of chr1 is not that of hg38; this looks like hg19" in line


def single_cells(config: Config, **changes: object) -> None:
    """Make the atlas of a file of single cells: 60 CD4+ T, 60 NK, 3 of another kind."""
    kinds = pd.Index(["CD4+ T", "NK", "doublet"], dtype=object)  # anndata writes no Arrow strings
    codes = [0] * 60 + [1] * 60 + [2] * 3
    obs = pd.DataFrame({"kind": pd.Categorical.from_codes(codes, kinds)})
    places = {"chrom": ["chr1", "chr2", "chr3"], "start": [10, 20, 30], "end": [40, 50, 60]}
    places |= {key: value for key, value in changes.items() if key in places}
    var = pd.DataFrame(places, index=[0, 1, 2]).astype({"chrom": object})
    obs.index, var.index = (frame.index.astype(str).astype(object) for frame in (obs, var))
    anndata.AnnData(csr_matrix((len(obs), 3)), obs=obs, var=var).write_h5ad("cells.h5ad")
    column = changes.get("column", "kind")
    config["atlas"] |= {"cell_types": "cells.h5ad", "format": "h5ad", "cell_type_column": column}


def test_single_cells_are_looked_at(config: Config) -> None:
    single_cells(config)
    lines = of(config, "atlas", "ok")
    assert "cells.h5ad: 123 cells, 3 peaks, 3 cell types" in lines[0]
    assert any("CD4pos_T: 60 cells" in line for line in lines)
    assert any("NK: 60 cells" in line for line in lines)
    assert any("CD4pos_T ('CD4+ T') -> use these in splits" in line for line in lines)
    (warned,) = of(config, "atlas", "warn")
    assert "doublet: left out, too few cells" in warned
    assert any("1 cell types for training, NK held out" in f for f in of(config, "splits", "ok"))
    assert not of(config, "peaks", "error")


@pytest.mark.parametrize(
    ("changes", "held_out", "topic", "text"),
    [
        ({"column": "kin"}, "NK", "atlas", "column 'kin' is missing in obs; did you mean 'kind'"),
        ({}, "NKT", "splits", "held-out cell type is not in cells.h5ad; did you mean 'NK'"),
        ({}, "doublet", "splits", "held-out cell type is not in cells.h5ad"),
        ({"chrom": ["1", "2", "3"]}, "NK", "peaks", "100% of the peaks lie on contigs that are not in the genome; did you mean 'chr1'"),
        ({"end": [40, 50, 10**6]}, "NK", "peaks", "1 peaks end beyond their contig; other assembly? found 'chr3 30 1000000'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_single_cells_is_an_error(
    config: Config, changes: dict[str, object], held_out: str, topic: str, text: str
) -> None:
    single_cells(config, **changes)
    config["splits"]["held_out_cell_types"] = [held_out]
    assert any(text in line for line in of(config, topic, "error")), [str(f) for f in found(config)]


def test_a_matrix_of_cell_types_is_looked_at(config: Config) -> None:
    Path("m.mtx").write_text("%%MatrixMarket matrix coordinate pattern general\n2 2 1\n1 1\n")
    Path("peaks.bed").write_text("chr1\t10\t40\nchr2\t20\t50\n")
    Path("names.txt").write_text("CD4+ T\nNK\n")
    config["atlas"] |= {
        "cell_types": "m.mtx", "format": "mtx", "peaks": "peaks.bed", "names": "names.txt",
    }  # fmt: skip
    lines = of(config, "atlas", "ok")
    assert "m.mtx: 2 peaks, 2 cell types" in lines[0]
    assert any("CD4pos_T ('CD4+ T')" in line for line in lines)
    edit("names.txt", lambda text: text + "B\n")
    assert any(
        "matrix is not that of the peaks and the names" in f for f in of(config, "atlas", "error")
    )
    config["atlas"]["names"] = "name.txt"
    assert any("did you mean 'names.txt'" in f for f in of(config, "atlas", "error"))


def test_the_table_of_descartes_is_looked_at(config: Config) -> None:
    rows = ["chr1_10_40\tNK\tFALSE", "chr2_20_50\tENS glia\tFALSE", "chr3_1_9\tB\tTRUE"]
    Path("sites.txt").write_text("\n".join(["feature\tcell_type\tzscore_filtered", *rows]) + "\n")
    config["atlas"] |= {"cell_types": "sites.txt", "format": "descartes"}
    assert "sites.txt: 2 peaks, 3 cell types" in of(config, "atlas", "ok")[0]
    assert any("B: left out" in line for line in of(config, "atlas", "warn"))
