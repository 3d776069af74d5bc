"""Datasets of variants: what is read, what is refused, what the two windows hold."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest
from variant_toys import LENGTH, WIDTH, build, make_place, other, table, write

from genebert.errors import InputError
from genebert.genome import Genome, decode
from genebert.tasks import variant_leaks
from genebert.tasks.variant_files import Record, skip_reason, windows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("variants"))


@pytest.fixture
def genome(place: Path) -> Genome:
    return Genome(place / "genome.fa")


def test_table_becomes_centred_windows(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500, 1020, 2000])
    frame, info = build(place, write(place, source))
    assert len(frame) == len(source) == info["n_in"]
    assert info["label"] == "binary"
    assert info["dropped"] == {}
    for row in frame.itertuples():
        assert len(row.sequence) == len(row.alternative) == WIDTH == row.end - row.start
        assert row.start == row.position - 1 - WIDTH // 2
        assert row.sequence == decode(genome.codes(row.contig, row.start, row.end))
        differing = [i for i in range(WIDTH) if row.sequence[i] != row.alternative[i]]
        assert differing == [WIDTH // 2]
        assert (row.sequence[WIDTH // 2], row.alternative[WIDTH // 2]) == (row.ref, row.alt)
    assert set(zip(frame["contig"], frame["split"], strict=True)) == {
        ("chr1", "train"), ("chr2", "valid"), ("chr3", "test")
    }  # fmt: skip


def test_region_pretraining_and_strata(place: Path, genome: Genome) -> None:
    frame, _ = build(place, write(place, table(genome, [200, 500, 1020, 2000])))
    at = frame.set_index(["contig", "position"])
    assert at.loc[("chr1", 500), "region"] == 0
    assert at.loc[("chr3", 200), "region"] == -1
    assert bool(at.loc[("chr1", 500), "in_pretraining"])
    assert not at.loc[("chr1", 1020), "in_pretraining"]  # only open in a held-out cell type
    assert not at.loc[("chr3", 500), "in_pretraining"]
    assert at.loc[("chr1", 500), "stratum"] == (
        "vs-closed;vs-elsewhere;transductive;train-cell-type"
    )
    assert at.loc[("chr2", 200), "stratum"] == "vs-closed;inductive;held-out-cell-type"


def test_truth_is_joined_by_allele_and_cell_type(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500])
    truth = source.assign(probability=np.linspace(0, 1, len(source)), effect=-0.5)
    wrong = truth.iloc[:1].assign(cell_type="B", probability=0.77)
    frame, _ = build(
        place,
        write(place, source),
        truth=[str(write(place, pd.concat([wrong, truth.iloc[1:]]), "truth.tsv"))],
    )
    first = (frame["contig"] == "chr1") & (frame["position"] == 200)
    assert frame.loc[first, "oracle"].isna().all()
    known = frame[~first].merge(truth, on=["contig", "position"])
    np.testing.assert_allclose(known["oracle"], known["probability"])
    assert set(known["effect_x"]) == {0.5}


def test_scores_of_the_labels_become_columns(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500]).assign(raw=[0.5, "NA", -1, 2, 3, 4], MAF=0.1)
    frame, info = build(place, write(place, source), scores={"cadd": "raw", "maf": "-MAF"})
    found = frame.merge(source, on=["contig", "position"])
    np.testing.assert_array_equal(found["score_cadd"], pd.to_numeric(found["raw"], errors="coerce"))
    assert set(frame["score_maf"]) == {0.1}
    assert info["scores"] == {
        "cadd": {"sign": 1, "unknown": 1},
        "maf": {"sign": -1, "unknown": 0},
    }


EXON = '{}\tx\texon\t{}\t{}\t.\t{}\t.\tgene_id "g"; transcript_id "t{}";\n'


def test_a_distance_that_the_labels_lack_is_measured_to_the_gtf(
    place: Path, genome: Genome, tmp_path: Path
) -> None:
    source = table(genome, [200, 500])
    gtf = tmp_path / "genes.gtf"
    gtf.write_text(EXON.format("chr1", 191, 300, "+", 1) + EXON.format("chr1", 400, 520, "-", 2))
    bare = write(place, source.drop(columns="tss_distance"))
    frame, info = build(place, bare, extra=[str(gtf)])
    found = frame.set_index(["contig", "position"])["tss_distance"]
    assert found["chr1"].to_dict() == {200: 9, 500: 20}  # TSS at bases 191 (+) and 520 (-)
    assert found["chr2"].isna().all()  # no transcript there
    assert info["tss_distance"] == {"from": "gtf", "unknown": 4}
    frame, info = build(place, write(place, source), extra=[str(gtf)])
    assert set(frame["tss_distance"]) == {0, 10}
    assert info["tss_distance"] == {"from": "labels", "unknown": 0}
    gtf.write_text(EXON.format("1", 191, 300, "+", 1))
    with pytest.raises(InputError, match="no contig of this file is in the genome"):
        build(place, write(place, source.drop(columns="tss_distance")), extra=[str(gtf)])
    _, info = build(place, bare)
    assert info["tss_distance"] == {"from": "labels", "unknown": 6}


@pytest.mark.parametrize(
    ("ref", "alt", "expected"),
    [
        ("C", "-", "AAAAAGGTTTTT"),
        ("C", "T", "AAAAATGGTTTT"),
        ("C", "CTT", "AAAAACTTGGTT"),
        ("CGG", "C", "AAAAACTTTTTT"),
        ("CG", "TA", "AAAAATAGTTTT"),
    ],
)
def test_alternative_windows_of_indels(tmp_path: Path, ref: str, alt: str, expected: str) -> None:
    (tmp_path / "g.fa").write_text(">c\nAAAAACGGTTTTTTTT\n")
    pysam.faidx(str(tmp_path / "g.fa"))
    genome = Genome(tmp_path / "g.fa")
    # the variant has offset 6 of 12, so the window starts one base before the contig: N
    start, reference, alternative = windows(genome, Record(1, "c", 6, ref, alt, {}), 12)
    assert (start, reference) == (-1, "NAAAAACGGTTT")
    assert alternative == ("N" + expected)[:12]


@pytest.mark.parametrize(
    ("ref", "alt", "reason"),
    [
        ("A", "C,T", "multi-allelic"),
        ("A", "<DEL>", "symbolic allele"),
        ("A", "*", "symbolic allele"),
        ("A", "A[chr2:1[", "symbolic allele"),
        ("-", "A", "no reference base"),
        ("A", "R", "allele with other letters than ACGT"),
        ("A" * 51, "A", "allele longer than 50 bases"),
        ("A", "A", "alternative equals reference"),
        ("A", "-", ""),
        ("A", "CT", ""),
    ],
)
def test_alleles_that_cannot_be_scored(ref: str, alt: str, reason: str) -> None:
    assert skip_reason(Record(1, "c", 1, ref, alt, {})) == reason


def test_skips_are_counted(place: Path, genome: Genome) -> None:
    good = table(genome, [200, 500])
    extra = good.iloc[[0, 0, 0]].copy()
    extra["alt"] = ["C,G", "<DEL>", extra["alt"].iloc[0]]
    in_n = table(genome, [2990], ("chr1",))
    at_n = good.iloc[[0]].assign(position=3050)  # the file knows the base, the genome does not
    frame, info = build(place, write(place, pd.concat([good, extra, in_n, at_n])))
    assert len(frame) == len(good)
    assert info["dropped"] == {
        "N in the genome": 1, "N in the window": 1, "multi-allelic": 1, "repeated": 1,
        "symbolic allele": 1,
    }  # fmt: skip


def test_vcf_with_a_flag(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500, 900])
    lines = ["##fileformat=VCFv4.2", '##INFO=<ID=CAUSAL,Number=0,Type=Flag,Description="x">',
             "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]  # fmt: skip
    for row in source.itertuples():
        info = f"CT={row.cell_type}" + (";CAUSAL" if row.label else "")
        lines.append(f"{row.contig}\t{row.position}\t.\t{row.ref}\t{row.alt}\t.\t.\t{info}")
    path = place / "v.vcf.gz"
    with gzip.open(path, "wt") as handle:
        handle.write("\n".join(lines) + "\n")
    frame, _ = build(place, path, label_info="CAUSAL", columns={"cell_type": "CT"})
    merged = frame.merge(source, on=["contig", "position"])
    assert len(merged) == len(source)
    assert (merged["label_x"] == merged["label_y"]).all()
    assert (merged["cell_type_x"] == merged["cell_type_y"]).all()


def test_scores_are_read_from_info(place: Path, genome: Genome) -> None:
    lines = ["##fileformat=VCFv4.2", '##INFO=<ID=CAUSAL,Number=0,Type=Flag,Description="x">',
             "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]  # fmt: skip
    for row in table(genome, [200, 500]).itertuples():
        info = "CAUSAL;phyloP=1.5" if row.label else "DP=3"
        lines.append(f"{row.contig}\t{row.position}\t.\t{row.ref}\t{row.alt}\t.\t.\t{info}")
    path = place / "scores.vcf"
    path.write_text("\n".join(lines) + "\n")
    frame, info = build(place, path, label_info="CAUSAL", scores={"phylop": "phyloP"})
    assert frame["score_phylop"].fillna(0).tolist() == (1.5 * frame["label"]).tolist()
    assert info["scores"]["phylop"]["unknown"] == 3


def test_only_a_flag_that_is_absent_is_a_label(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500, 900])
    lines = ["##fileformat=VCFv4.2", '##INFO=<ID=EFF,Number=1,Type=Float,Description="x">',
             "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]  # fmt: skip
    for number, row in enumerate(source.itertuples()):
        info = ("EFF=0.5", "EFF=-1", "EFF=.", "DP=3")[min(number, 3)]
        lines.append(f"{row.contig}\t{row.position}\t.\t{row.ref}\t{row.alt}\t.\t.\t{info}")
    path = place / "effects.vcf"
    path.write_text("\n".join(lines) + "\n")
    frame, info = build(place, path, label_info="EFF")
    assert sorted(frame["effect"]) == [-1, 0.5]
    assert info["dropped"] == {"no label": len(source) - 2}


def assay(genome: Genome) -> pd.DataFrame:
    source = table(genome, [200, 201, 202, 203, 204, 205], ("chr1",))
    return source[["contig", "position", "ref", "alt"]].assign(
        effect=[-2.0, 0.01, 0.9, 0.5, -0.7, 1.0],
        p=[1e-9, 1e-9, 1e-3, 1e-6, 1e-9, 1e-9],
        tags=[100, 100, 100, 100, 5, 100],
    )


def test_reporter_assay_as_effects_or_labels(place: Path, genome: Genome) -> None:
    path = write(place, assay(genome), "assay.tsv")
    columns = {"label": "effect", "pvalue": "p"}
    frame, info = build(place, path, columns=columns, block_bp=2)
    assert info["label"] == "effect"
    assert info["flags"] == ["within_one_element"]
    assert info["block_bp"] == 2
    assert frame["label"].tolist() == frame["effect"].tolist() == [-2.0, 0.01, 0.9, 0.5, -0.7, 1.0]
    frame, info = build(
        place, path, columns=columns, positive={"pvalue": 1e-5, "effect": 0.1}, minimum={"tags": 10}
    )
    assert info["label"] == "binary"
    assert info["dropped"] == {"tags below 10": 1}
    assert frame["label"].tolist() == [1, 0, 0, 1, 1]
    assert frame["effect"].tolist() == [2.0, 0.01, 0.9, 0.5, 1.0]  # no direction
    with pytest.raises(InputError, match="key positive does not say what is positive"):
        build(place, path, columns=columns, positive={"negative": ["x"]})
    frame, info = build(place, path, columns={"label": "effect"}, positive={"effect": 0.7})
    assert frame["label"].tolist() == [1, 0, 1, 0, 1, 1]  # 0.7 itself, whatever its p-value


def test_elements_of_an_assay(place: Path, genome: Genome) -> None:
    parts = {"A": ("chr1", 500), "B": ("chr1", 545), "C": ("chr1", 900), "D": ("chr2", 500)}
    frames = [
        table(genome, list(range(first, first + 25)), (contig,)).assign(Element=name)
        for name, (contig, first) in parts.items()
    ]
    small = table(genome, list(range(2000, 2019)), ("chr3",)).assign(Element="E")
    none = table(genome, [2500], ("chr3",)).assign(Element="")
    path = write(place, pd.concat([*frames, small, none]))
    frame, info = build(place, path, columns={"group": "Element"})
    assert info["dropped"] == {"group of fewer than 20 variants": 19, "no group": 1}
    assert frame["group"].value_counts().to_dict() == dict.fromkeys("ABCD", 25)
    element = frame.groupby("group")["element"].unique().map(list).to_dict()
    assert element["A"] == element["B"]  # their windows of 40 bases overlap
    assert info["elements"] == len({*element["A"], *element["C"], *element["D"]}) == 3
    frame, info = build(place, path)
    assert set(frame["group"]) == {""}
    assert set(frame["element"]) == {-1}
    assert info["elements"] == 0


def test_words_as_labels(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 300, 400, 500], ("chr1",)).drop(columns="label")
    source["meaning"] = ["Pathogenic", "benign", "uncertain", "Benign"]
    frame, info = build(
        place,
        write(place, source),
        columns={"label": "meaning"},
        positive={"values": ["pathogenic"], "negative": ["benign"]},
    )
    assert frame["label"].tolist() == [1, 0, 0]
    assert info["dropped"] == {"label is neither positive nor negative": 1}


def test_windows_on_two_contigs_are_dropped(place: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    bases = {c: rng.integers(0, 4, LENGTH).astype(np.uint8) for c in ("chr1", "chr2", "chr3")}
    bases["chr2"][1000:1100] = 3 - bases["chr1"][400:500][::-1]  # reverse complement
    with (tmp_path / "genome.fa").open("w") as handle:
        for name, codes in bases.items():
            handle.write(f">{name}\n{decode(codes)}\n")
    pysam.faidx(str(tmp_path / "genome.fa"))
    for name in ("regions.tsv", "open.h5ad"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    genome = Genome(tmp_path / "genome.fa")
    source = table(genome, list(range(100, 3900, 350)))  # 450 of chr1 lies in the copy
    copy = table(genome, [1050], ("chr2",))
    frame, info = build(tmp_path, write(tmp_path, pd.concat([source, copy])))
    assert info["dropped"] == {"copy on another contig": 2}
    assert not ((frame["contig"] == "chr1") & (frame["position"] == 450)).any()
    leaks = pd.read_csv(tmp_path / "v.leaks", sep="\t").set_index("check")
    assert leaks.loc["copy_on_another_contig", "removed"] == 2
    assert "copy_in_another_fold" not in leaks.index  # folds are contigs
    assert (
        leaks.loc["gc_auroc", "found"]
        == len(frame)
        == leaks["found"][["gc_positive", "gc_negative"]].sum()
    )
    assert leaks.loc["length_positive", "share"] == WIDTH
    assert (frame["similarity"] == 0).all()


def test_variants_of_one_block_are_refused(place: Path, genome: Genome) -> None:
    path = write(place, table(genome, list(range(200, 600, 5)), ("chr1",)))
    with pytest.raises(InputError, match="v.tsv: all variants lie in one block of 1000000 bases"):
        build(place, path, name="one", block_bp=1_000_000)
    assert not (place / "one.dataset").exists()


def test_copies_in_another_fold_are_counted_where_folds_are_blocks(
    place: Path, genome: Genome
) -> None:
    """Windows of 40 bases every 5 bases: the next one shares 5 of 10 31-mers, and 20 of 25 16-mers."""
    source = table(genome, list(range(200, 600, 5)), ("chr1",)).drop(columns="cell_type")
    frame, info = build(place, write(place, source), block_bp=5)
    leaks = pd.read_csv(place / "v.leaks", sep="\t").set_index("check")
    fold = variant_leaks.Problem.of(frame, info, 3).fold
    beside = np.zeros(len(frame))
    for step in (1, 2, 3, 4):  # windows further apart share no 16-mer
        other = fold[:-step] != fold[step:]
        for at in (slice(step, None), slice(None, -step)):
            beside[at] = np.maximum(beside[at], other * (25 - 5 * step) / 25)
    assert frame["similarity"].tolist() == pytest.approx(beside.tolist())
    # both neighbours together hold all 31-mers, one of them half of them
    both = (fold[:-2] != fold[1:-1]) & (fold[2:] != fold[1:-1])
    assert leaks.loc["copy_in_another_fold", "found"] == both.sum() > 10
    assert leaks.loc["copy_in_another_fold", "removed"] == 0
    assert leaks.loc["copy_on_another_contig", "found"] == 0
    assert "other folds" in info["captions"]["leaks"]


def test_too_many_copies_are_an_error(place: Path, genome: Genome, tmp_path: Path) -> None:
    same = decode(genome.codes("chr1", 0, 1000))
    (tmp_path / "genome.fa").write_text(f">chr1\n{same}\n>chr2\n{same}\n>chr3\n{same}\n")
    pysam.faidx(str(tmp_path / "genome.fa"))
    for name in ("regions.tsv", "open.h5ad"):
        (tmp_path / name).write_bytes((place / name).read_bytes())
    source = table(Genome(tmp_path / "genome.fa"), [200, 500])
    with pytest.raises(InputError, match="several contigs; found '6 of 6'"):
        build(tmp_path, write(tmp_path, source))


def test_max_items_is_even_seeded_and_nested_in_the_data(place: Path, genome: Genome) -> None:
    path = write(place, table(genome, list(range(100, 2900, 50))))
    frame, info = build(place, path, max_items=60)
    again, _ = build(place, path, max_items=60)
    assert len(frame) == 60
    assert frame.equals(again)
    assert frame["label"].mean() == pytest.approx(0.5)
    assert frame["contig"].value_counts().tolist() == [20, 20, 20]
    assert info["dropped"] == {"beyond max_items": 168 - 60}


def test_max_items_keeps_matched_groups_whole(place: Path, genome: Genome) -> None:
    source = table(genome, list(range(100, 2900, 50)))
    group = np.arange(len(source)) % 56 // 8  # seven groups of eight on a contig
    source["match"] = [
        f"{c}-{g}" if g else "" for c, g in zip(source["contig"], group, strict=True)
    ]
    path = write(place, source)
    frame, info = build(place, path, max_items=80, columns={"match": "match"})
    sizes = frame["match"].value_counts()
    assert set(sizes.drop("")) == {8}
    assert 5 <= sizes[""] <= 16  # of 24 without a group as many as of the others: half
    assert 72 < len(frame) <= 80
    assert info["dropped"] == {"beyond max_items": 168 - len(frame)}
    assert frame["contig"].value_counts().min() >= 20


def test_description_is_valid_json_without_numpy(place: Path, genome: Genome) -> None:
    build(place, write(place, table(genome, [200, 500])))
    info = json.loads((place / "v.description").read_text())
    assert info["items"]["train"] == {"neutral": 1, "causal": 1}
    assert info["direction"] == "both"


def test_parquet_with_booleans_and_bare_contigs(place: Path, genome: Genome) -> None:
    """The columns of TraitGym: chrom without chr, pos, ref, alt, a boolean label."""
    source = table(genome, [200, 500, 1020])
    expected, _ = build(place, write(place, source), name="tsv")
    source = source.rename(columns={"contig": "chrom", "position": "pos"})
    source["chrom"] = source["chrom"].str.removeprefix("chr")
    source["label"] = source["label"].astype(bool)
    path = place / "traits.parquet"
    source.to_parquet(path, index=False)
    columns = {"contig": "chrom", "position": "pos"}
    frame, _ = build(place, path, columns=columns, contig_prefix="chr")
    pd.testing.assert_frame_equal(frame, expected)
    with pytest.raises(InputError, match="did you mean 'chr1'"):
        build(place, path, columns=columns)
    with pytest.raises(InputError, match="column 'chrm' is missing; did you mean 'chrom'"):
        build(place, path, columns={**columns, "contig": "chrm"})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as parquet"):
        build(place, path, columns=columns)
    with pytest.raises(InputError, match="cannot be read as parquet"):
        build(place, place / "none.parquet", columns=columns)


def clinvar(genome: Genome) -> str:
    """A VCF in the form of ClinVar: bare contigs, a scaffold, MT, words for the label."""
    lines = [
        "##fileformat=VCFv4.1",
        "##INFO=<ID=CLNSIG,Number=.>",
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO",
    ]
    words = [
        "Pathogenic",
        "Benign/Likely_benign",
        "Uncertain_significance",
        "Likely_pathogenic",
        "Benign",
    ]
    for contig in ("1", "2", "3"):
        for i, position in enumerate((200, 500, 800, 1020, 1500)):
            ref = decode(genome.codes(f"chr{contig}", position - 1, position))
            review = "criteria_provided,_single_submitter" if i == 4 else "reviewed_by_expert_panel"
            kind = "SO:0001583|missense_variant" if i == 3 else "SO:0001627|intron_variant"
            info = f"CLNSIG={words[i]};CLNREVSTAT={review};MC={kind}"
            lines.append(f"{contig}\t{position}\t.\t{ref}\t{other(ref)}\t.\t.\t{info}")
    for contig in ("MT", "NW_009646201.1"):
        lines.append(
            f"{contig}\t5\t.\tA\tC\t.\t.\tCLNSIG=Benign;CLNREVSTAT=reviewed_by_expert_panel"
        )
    return "\n".join(lines) + "\n"


def test_clinvar(place: Path, genome: Genome) -> None:
    path = place / "clinvar.vcf.gz"
    path.write_bytes(gzip.compress(clinvar(genome).encode()))
    words = {
        "values": ["Pathogenic", "Likely_pathogenic"],
        "negative": ["Benign", "Benign/Likely_benign"],
    }
    row = {"label_info": "CLNSIG", "contig_prefix": "chr", "positive": words}
    frame, info = build(place, path, **row)
    assert len(frame) == 12
    assert info["dropped"] == {
        "contig not in the genome": 2,
        "label is neither positive nor negative": 3,
    }
    frame, info = build(
        place, path, **row, only={"CLNREVSTAT": ["Expert_panel"]}, without={"MC": ["missense"]}
    )
    assert info["dropped"]["CLNREVSTAT: only"] == 3
    assert info["dropped"]["MC: without"] == 3
    assert set(frame["position"]) == {200, 500}
    with pytest.raises(InputError, match="no variant can be used"):  # and not: no column MC
        build(place, path, **row, only={"CLNREVSTAT": ["zzz"], "MC": ["missense"]})
    with pytest.raises(InputError, match="no record has the column 'CLNREV' of only"):
        build(place, path, **row, without={"CLNREV": ["x"]})
    with pytest.raises(InputError, match="line 4: contig is not in the genome; found 'xx1'"):
        build(place, path, **{**row, "contig_prefix": "xx"})


def test_a_mitochondrial_record_is_skipped_though_the_genome_has_a_chrm(
    place: Path, genome: Genome, tmp_path: Path
) -> None:
    """ClinVar says MT; what a genome calls chrM need not be the same sequence (hg19's is not)."""
    shutil.copytree(place, tmp_path / "with")
    with (tmp_path / "with/genome.fa").open("a") as handle:
        handle.write(f">chrM\n{'ACGT' * 100}\n")
    Path(tmp_path / "with/genome.fa.fai").unlink()
    pysam.faidx(str(tmp_path / "with/genome.fa"))
    path = tmp_path / "with/clinvar.vcf"
    path.write_text(clinvar(genome))
    words = {"values": ["Pathogenic"], "negative": ["Benign"]}
    row = {"label_info": "CLNSIG", "positive": words}
    _, info = build(tmp_path / "with", path, **row, contig_prefix="chr")
    assert info["dropped"]["contig not in the genome"] == 2
    with pytest.raises(InputError, match=r"did you mean 'chr1'\? \(key contig_prefix adds it\)"):
        build(tmp_path / "with", path, **row)


def test_cell_types_that_the_atlas_lacks(
    place: Path, genome: Genome, caplog: pytest.LogCaptureFixture
) -> None:
    source = table(genome, [200, 500])
    frame, info = build(place, write(place, source.assign(cell_type=["B"] * 5 + ["Bcel"])))
    assert info["missing_cell_types"] == ["Bcel"]
    assert "cell types that are not in the atlas: Bcel" in caplog.text
    unknown = frame["stratum"].str.contains("unknown-cell-type")
    assert frame["cell_type"][unknown].tolist() == ["Bcel"]
    wrong = write(place, source.drop(columns="cell_type"))
    with pytest.raises(InputError, match="no cell type of the variants is in the atlas; did you"):
        build(place, wrong, cell_type="BB")


def test_without_a_word_for_negatives_a_missing_word_is_no_label(
    place: Path, genome: Genome
) -> None:
    source = table(genome, [200, 500, 900])
    rows = source[["contig", "position", "ref", "alt"]].assign(label="benign")
    rows.loc[:1, "label"] = "pathogenic"
    rows.loc[2, "label"] = ""
    path = write(place, rows, "words.tsv")
    frame, info = build(place, path, positive={"values": ["Pathogenic"]})
    assert info["dropped"] == {"no label": 1}
    assert (len(frame), frame["label"].sum()) == (len(source) - 1, 2)


def test_saturation_mutagenesis(place: Path, genome: Genome) -> None:
    """The columns of the reporter assay: bare chromosomes, two assemblies, deletions as '-',
    repeated elements, variants without an effect."""
    source = table(genome, [200, 201, 202, 500], contigs=("chr1",))
    rows = pd.DataFrame(
        {
            "Element": "E",
            "Chrom": "1",
            "Pos": source["position"],
            "Ref": source["ref"],
            "Alt": ["-", *source["alt"][1:]],
            "Barcodes": [50, 5, 50, 50],
            "Coefficient": [-1.0, 0.5, 0.1, -0.2],
            "pValue": [1e-9, 1e-9, 0.5, 0.2],
            "Release": "GRCh37",
        }
    )
    again = rows.iloc[2:3].assign(pValue=1e-9, Coefficient=1.0)
    other = rows.assign(Release="GRCh38", Pos=rows["Pos"] + 1)  # REF is not that of this genome
    without = rows.iloc[3:].assign(Coefficient="NA", Alt="-")
    path = write(place, pd.concat([rows, again, other, without]), "mpra.tsv")
    row: dict[str, Any] = {
        "columns": {"contig": "Chrom", "position": "Pos", "ref": "Ref", "alt": "Alt",
                    "label": "Coefficient", "pvalue": "pValue"}, "only": {"Release": ["GRCh37"]},
        "contig_prefix": "chr", "minimum": {"Barcodes": 10}, "positive": {"pvalue": 1e-5}, "block_bp": 10,
    }  # fmt: skip
    with pytest.raises(InputError, match="has another label in line 4"):
        build(place, path, **row)
    frame, info = build(place, path, **row, repeats="first")
    assert info["dropped"] == {
        "Barcodes below 10": 1, "Release: only": 4, "no label": 1, "repeated with another label": 1,
    }  # fmt: skip
    assert frame.set_index("position")["label"].to_dict() == {200: 1.0, 202: 0.0, 500: 0.0}
