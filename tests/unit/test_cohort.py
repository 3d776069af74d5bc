"""The cohort dataset: haplotypes, calls, people, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest

from genebert.errors import InputError
from genebert.genome import Genome, decode
from genebert.tasks import cohort
from genebert.tasks.cohort_files import parse_call, read_phenotypes
from genebert.tasks.dataset import read_dataset
from genebert.tasks.variant_files import Record

WIDTH = 20
#        0         1         2         3         4
BASES = "ACGTACGTAGCCATTAGGCATTACGGATTACAAGGCTTACCAGATTTACCGGA"
PEOPLE = ["p1", "p2", "p3", "p4"]
# position (1-based), ref, alt, genotypes; the element is 10-30 (0-based)
RECORDS: list[tuple[int, str, str, list[str]]] = [
    (3, "G", "T", ["1|1", "0|0", "0|0", "0|0"]),
    (12, "C", "G", ["1|0", "0|1", "0/0", "./."]),
    (15, "TA", "T", ["0|1", "0|0", "1/1", "0|0"]),
    (22, "T", "TGG", ["0|0", "0|1", "0/1", "0|0"]),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A genome of two contigs and one region on each."""
    (tmp_path / "genome.fa").write_text(f">chr1\n{BASES}\n>chr2\n{BASES}\n")
    pysam.faidx(str(tmp_path / "genome.fa"))
    pd.DataFrame(
        {
            "region": [0, 1], "contig": ["chr1", "chr2"], "start": [10, 10],
            "end": [10 + WIDTH] * 2, "split": ["train", "test"], "held_out_only": [0, 0],
        }
    ).to_csv(tmp_path / "regions.tsv", sep="\t", index=False)  # fmt: skip
    write_phenotypes(tmp_path)
    return tmp_path


def write_phenotypes(place: Path, **columns: list[Any]) -> None:
    frame = pd.DataFrame(
        {"sample": PEOPLE, "phenotype": [1, 0, 1, 0], "population": ["A", "B", "A", "B"],
         "age": [30, 40, 50, 60]}
    ).assign(**columns)  # fmt: skip
    frame.to_csv(place / "phenotypes.tsv", sep="\t", index=False)


def write_vcf(
    place: Path,
    records: list[tuple[int, str, str, list[str]]] = RECORDS,
    contig: str = "chr1",
    *,
    index: bool = True,
    extra: str = "",
    people: list[str] = PEOPLE,
) -> str:
    lines = [
        "##fileformat=VCFv4.2", f"##contig=<ID={contig}>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(people),
    ]  # fmt: skip
    for position, ref, alt, calls in records:
        line = [contig, str(position), ".", ref, alt, ".", ".", ".", "GT", *calls]
        lines.append("\t".join(line))
    plain = place / "cohort.vcf"
    plain.write_text("\n".join(lines) + "\n" + extra)
    path = str(plain) + ".gz"
    pysam.tabix_compress(str(plain), path, force=True)
    if index:
        pysam.tabix_index(path, preset="vcf", force=True)
    return path


def build(
    place: Path, vcf: str, **changes: Any
) -> tuple[pd.DataFrame, dict, dict[str, np.ndarray]]:
    out = {key: str(place / key) for key in ("dataset", "description", "leaks", "cohort")}
    arguments: dict[str, Any] = dict(
        genome=str(place / "genome.fa"), index="", block_index="", accessibility="", contigs="",
        regions=str(place / "regions.tsv"), labels=vcf, extra=[vcf + ".tbi"],
        phenotypes=[str(place / "phenotypes.tsv")], truth=[], splits={}, seed=1, max_items=None,
        row={"task": "disease", "name": "cohort", "kind": "cohort"},
    )  # fmt: skip
    cohort.build(**{**arguments, **changes}, **out)
    with np.load(out["cohort"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return *read_dataset(out["dataset"], out["description"]), arrays


def expected(alleles: dict[int, int]) -> str:
    """Apply the alleles of RECORDS to the element, right to left, and cut it: a second way."""
    text = BASES
    for index, (position, ref, alt, _) in reversed(list(enumerate(RECORDS))):
        if index and alleles.get(index):
            assert text[position - 1 : position - 1 + len(ref)] == ref
            text = text[: position - 1] + alt + text[position - 1 + len(ref) :]
    return text[10 : 10 + WIDTH]


def test_sequences_of_every_haplotype_are_exact(place: Path) -> None:
    frame, info, arrays = build(place, write_vcf(place))
    sequences = frame["sequence"].to_numpy()
    assert arrays["hap_index"].shape == (4, 2, 1)
    for person, copy in itertools.product(range(4), range(2)):
        alleles = {}
        for v, (_, _, _, calls) in enumerate(RECORDS):
            call = calls[person].replace("|", "/").split("/")[copy]
            alleles[v] = 0 if call == "." else int(call)
        assert sequences[arrays["hap_index"][person, copy, 0]] == expected(alleles)
    assert (frame["sequence"].str.len() == WIDTH).all()
    assert frame["sequence"].is_unique
    assert set(frame["split"]) == {"all"}
    assert info["elements"] == 1
    assert info["variants"] == 4
    assert info["variants_in_elements"] == 3


def test_reference_and_single_variants_have_rows(place: Path) -> None:
    frame, _, arrays = build(place, write_vcf(place))
    sequences = frame["sequence"].to_numpy()
    assert sequences[arrays["reference_row"]].tolist() == [BASES[10:30]]
    assert arrays["variant_row"][0] == -1  # position 3 is in no element
    for v in (1, 2, 3):
        assert sequences[arrays["variant_row"][v]] == expected({v: 1})
        assert sequences[arrays["variant_reference"][v]] == BASES[10:30]
    assert arrays["variants"].tolist() == [
        "chr1:3:G>T", "chr1:12:C>G", "chr1:15:TA>T", "chr1:22:T>TGG"
    ]  # fmt: skip


def test_missing_calls_are_kept_apart_from_reference(place: Path) -> None:
    _, info, arrays = build(place, write_vcf(place))
    assert arrays["dosage"].T.tolist() == [[2, 0, 0, 0], [1, 1, 0, -1], [1, 0, 2, 0], [0, 1, 1, 0]]
    assert info["calls"]["calls missing"] == 1
    reference = arrays["reference_row"][0]
    assert arrays["hap_index"][3, :, 0].tolist() == [reference, reference]
    assert arrays["missing"].tolist() == [[False], [False], [False], [True]]


def test_half_a_call_is_missing_and_a_haploid_one_counts_twice_for_all_models(place: Path) -> None:
    half = [
        (12, "C", "G", ["1|1", "1", "./1", "1|."]),
        (22, "T", "TGG", ["0|1", "0", "1|1", "1|1"]),
    ]
    frame, info, arrays = build(place, write_vcf(place, half))
    assert arrays["dosage"].T.tolist() == [[2, 2, -1, -1], [1, 0, 2, 2]]
    assert arrays["missing"][:, 0].tolist() == [False, False, True, True]
    only = arrays["variant_row"][0]
    assert arrays["hap_index"][1, :, 0].tolist() == [only, only]
    assert info["calls"] == {"calls haploid (read as two copies)": 2, "calls missing": 2}
    # a sequence that only people with missing calls would carry is none of the dataset
    assert len(frame) == 4  # the reference, both variants alone, and together


def test_call_rates_of_cases_and_controls_are_told(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, info, _ = build(place, write_vcf(place))
    assert info["call_rate"] == {"cases": 1.0, "controls": 0.875}
    assert info["flags"] == ["call_rate_differs"]
    assert "100.00% in cases, 87.50% in controls" in info["captions"]["call rate"]
    assert "cases and controls differ in their call rate" in caplog.text
    caplog.clear()
    called = [(p, r, a, ["0|1" if c == "./." else c for c in calls]) for p, r, a, calls in RECORDS]
    _, info, arrays = build(place, write_vcf(place, called))
    assert info["flags"] == []
    assert not caplog.records
    assert not arrays["missing"].any()


def test_copies_of_people_are_told_and_stay_together(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, info, arrays = build(place, write_crowd(place, [*range(29), 4]))
    cluster = arrays["cluster"].tolist()
    assert cluster[29] == cluster[4]
    assert len(set(cluster)) == 29
    told = {key: info["relatives"][key] for key in ("people", "clusters", "copies", "variants")}
    assert told == {"people": 2, "clusters": 1, "copies": 2, "variants": 300}
    assert "2 people in 1 clusters" in info["captions"]["copies and close relatives"]
    (warning,) = caplog.records
    assert "people are copies or close relatives: 2 people in 1 clusters" in warning.getMessage()
    assert read_leaks(place) == [("people_related", 2, 0)]


def test_a_cohort_of_relatives_is_a_one_line_error(place: Path) -> None:
    with pytest.raises(InputError, match="copies or relatives of each other; found '4 clusters"):
        build(place, write_crowd(place, [i % 4 for i in range(30)]))


def write_crowd(place: Path, source: list[int]) -> str:
    """Write 300 variants of as many people as ``source``, who have its members' genotypes."""
    rng = np.random.default_rng(5)
    bases = decode(rng.integers(0, 4, 400).astype(np.uint8))
    (place / "genome.fa").write_text(f">chr1\n{bases}\n")
    (place / "genome.fa.fai").unlink()
    pysam.faidx(str(place / "genome.fa"))
    people = [f"p{i}" for i in range(len(source))]
    table = {"sample": people, "phenotype": np.arange(len(source)) % 2}
    pd.DataFrame(table).to_csv(place / "phenotypes.tsv", sep="\t", index=False)
    alleles = rng.integers(0, 2, (300, len(source), 2))[:, source]
    records = [
        (at + 1, bases[at], "ACGT"[("ACGT".index(bases[at]) + 1) % 4],
         [f"{a}|{b}" for a, b in alleles[at].tolist()])
        for at in range(300)
    ]  # fmt: skip
    return write_vcf(place, records, people=people)


def test_copies_among_too_few_variants_are_not_looked_for(place: Path) -> None:
    _, info, arrays = build(place, write_vcf(place))
    assert info["relatives"]["least_kinship"] is None
    assert "not told from unrelated people" in info["captions"]["copies and close relatives"]
    assert arrays["cluster"].tolist() == [0, 1, 2, 3]
    assert read_leaks(place) == []


def read_leaks(place: Path) -> list[tuple[str, int, int]]:
    table = pd.read_csv(place / "leaks", sep="\t")
    return list(zip(table["check"], table["found"], table["removed"], strict=True))


def test_phase_is_used_and_its_absence_counted(place: Path) -> None:
    _, info, phased = build(place, write_vcf(place))
    kind = "heterozygous calls without phase (order of the file)"
    assert info["calls"][kind] == 1
    swapped = [(p, r, a, [c[::-1] if "|" in c else c for c in calls]) for p, r, a, calls in RECORDS]
    _, _, other = build(place, write_vcf(place, swapped))
    assert phased["hap_index"][0, 0, 0] != phased["hap_index"][0, 1, 0]
    np.testing.assert_array_equal(phased["hap_index"][:2, ::-1], other["hap_index"][:2])


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("0|1", (0, 1, "")),
        ("1/1", (1, 1, "")),
        (".", (-1, -1, "calls missing")),
        ("0", (0, 0, "calls haploid (read as two copies)")),
        ("1", (1, 1, "calls haploid (read as two copies)")),
        ("0/1/1", (-1, -1, "calls neither haploid nor diploid (taken as missing)")),
        ("./1", (-1, -1, "calls missing")),
        ("1|.", (-1, -1, "calls missing")),
        ("1/0", (1, 0, "heterozygous calls without phase (order of the file)")),
    ],
)
def test_calls(text: str, call: tuple[int, int, str]) -> None:
    assert parse_call(text) == call


def test_overlapping_alleles_on_one_copy_keep_the_first() -> None:
    records = [Record(1, "c", 3, "GTA", "G", {}), Record(2, "c", 5, "A", "C", {})]
    assert cohort.apply_alleles("ACGTACGT", 0, 6, records) == ("ACGCGT", 1)


def test_a_deletion_is_filled_from_the_right_of_the_element(tmp_path: Path) -> None:
    (tmp_path / "g.fa").write_text(">c\nAAAACGTTTTGC\n")
    pysam.faidx(str(tmp_path / "g.fa"))
    regions = pd.DataFrame({"region": [0], "contig": ["c"], "start": [2], "end": [10]})
    from genebert.tasks.cohort_files import Genotypes

    genotypes = Genotypes([Record(1, "c", 4, "ACG", "A", {})], np.array([[[1, 0]]], dtype=np.int8))
    found = cohort.build_haplotypes(genotypes, regions, Genome(tmp_path / "g.fa"), Counter())
    assert [row["sequence"] for row in found.rows] == ["AACGTTTT", "AATTTTGC"]
    assert found.hap_index[0, :, 0].tolist() == [1, 0]


def test_people_covariates_and_oracle(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_phenotypes(place, age=[30, 40, 50, 60], batch=["x", "y", "z", "x"])
    with (place / "phenotypes.tsv").open("a") as handle:
        handle.write("stranger\t1\tA\t20\tx\n")
    pd.DataFrame({"sample": PEOPLE[::-1], "probability": [0.4, 0.3, 0.2, 0.1]}).to_csv(
        place / "truth.tsv", sep="\t", index=False
    )
    _, info, arrays = build(place, write_vcf(place), truth=[str(place / "truth.tsv")])
    assert info["phenotypes_of_unknown_people"] == 1
    warning = caplog.records[0]
    assert warning.levelname == "WARNING"
    assert "phenotypes.tsv: 1 people are not in" in warning.getMessage()
    assert arrays["samples"].tolist() == PEOPLE
    assert arrays["labels"].tolist() == [1, 0, 1, 0]
    assert arrays["population"].tolist() == ["A", "B", "A", "B"]
    assert arrays["covariate_names"].tolist() == ["population=B", "age", "batch=y", "batch=z"]
    assert arrays["covariates"][1].tolist() == [1, 40, 1, 0]
    assert arrays["oracle"].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_the_row_says_what_of_the_sequences_is_compared(place: Path) -> None:
    vcf, row = write_vcf(place), {"task": "disease", "name": "cohort", "kind": "cohort"}
    assert build(place, vcf)[1]["features"] == "openness"
    assert build(place, vcf, row={**row, "features": "embedding"})[1]["features"] == "embedding"
    with pytest.raises(InputError, match="unknown features; did you mean 'embedding'"):
        build(place, vcf, row={**row, "features": "embeding"})


def test_unusable_variants_are_counted(place: Path) -> None:
    extra = [
        (24, "C", "A,T", ["0|1"] * 4), (25, "G", "<DEL>", ["0|1"] * 4), (26, "G", "T", ["0|0"] * 4),
        (26, "G", "T", ["0|0"] * 4),
    ]  # fmt: skip
    _, info, arrays = build(place, write_vcf(place, RECORDS + extra))
    assert info["dropped"] == {"multi-allelic": 1, "repeated": 1, "symbolic allele": 1}
    assert info["n_in"] == 8
    assert len(arrays["variants"]) == 5


def test_an_index_of_the_other_kind_gives_the_same(place: Path) -> None:
    path = write_vcf(place)
    expected_frame, *_ = build(place, path)
    Path(f"{path}.tbi").unlink()
    pysam.tabix_index(path, preset="vcf", force=True, csi=True)
    frame, *_ = build(place, path, extra=[f"{path}.csi"])
    assert frame.equals(expected_frame)
    Path(f"{path}.csi").unlink()


def bad_vcf(place: Path, kind: str) -> str:
    if kind == "unindexed":
        return write_vcf(place, index=False)
    if kind == "unsorted":
        path = write_vcf(place)
        swapped = [RECORDS[1], RECORDS[0], *RECORDS[2:]]
        index = Path(path + ".tbi").read_bytes()
        write_vcf(place, swapped, index=False)
        Path(path + ".tbi").write_bytes(index)
        return path
    if kind == "reference":
        return write_vcf(place, [(12, "T", "G", ["0|1"] * 4)])
    if kind == "naming":
        return write_vcf(place, contig="1")
    if kind == "outside":
        return write_vcf(place, RECORDS[:1])
    if kind == "plain":
        write_vcf(place)
        return str(place / "cohort.vcf")
    path = Path(write_vcf(place))
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "missing":
        path.unlink()
    elif kind == "words":
        plain = place / "words"
        plain.write_text("this is no VCF\n" * 10)
        pysam.tabix_compress(str(plain), str(path), force=True)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unindexed", "has no index; expected .*tabix"),
        ("unsorted", "records are not sorted; found 'record 2, chr1:3'"),
        ("reference", r"record 1\): REF disagrees with the genome at chr1:12 .1-based.; found 'T'"),
        ("naming", "contig of record 1 is not in the genome; did you mean 'chr1'"),
        ("outside", "no variant lies in a region"),
        ("plain", "is not bgzipped"),
        ("truncated", "is truncated"),
        ("missing", "no such file"),
        ("words", "cannot be read as a VCF"),
    ],
)
def test_bad_vcf_is_a_one_line_error(place: Path, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(place, bad_vcf(place, kind))
    assert "cohort.vcf" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"sample": ["p1", "p2", "p3", "x4"]}, "1 of 4 samples of .* have no phenotype.*'p4'"),
        ({"sample": ["p1", "p2", "p3", "p3"]}, "row repeats line 4"),
        ({"phenotype": [1, 2, 1, 2]}, "line 3: phenotype is neither 0 nor 1; found '2'"),
        ({"phenotype": [1, 1, 1, 1]}, "all people are cases"),
        ({"phenotype": [0, 0, 0, 0]}, "all people are controls"),
        ({"age": [1, "NA", 3, 4]}, "line 3: covariate age is missing; found 'NA'"),
        ({"age": [1, "NaN", 3, 4]}, "line 3: covariate age is missing"),
        ({"age": [1, 2, "N/A", 4]}, "line 4: covariate age is missing"),
        ({"age": [1, "", 3, 4]}, "line 3: covariate age is missing"),
        ({"age": [1, "inf", 3, 4]}, "line 3: covariate age has a word among numbers; found 'inf'"),
        ({"age": [1, 2, 3, "unknown"]}, "line 5: covariate age has a word among numbers"),
    ],
)
def test_bad_phenotypes_are_one_line_errors(
    place: Path, columns: dict[str, list[Any]], message: str
) -> None:
    vcf = write_vcf(place)
    write_phenotypes(place, **columns)
    with pytest.raises(InputError, match=message):
        build(place, vcf)


def test_a_vcf_without_people_is_a_one_line_error(place: Path) -> None:
    path = place / "sites.vcf"
    path.write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        "chr1\t12\t.\tA\tG\t.\t.\t.\n"
    )
    packed = pysam.tabix_index(str(path), preset="vcf", force=True)
    with pytest.raises(InputError, match=r"has no samples; expected the genotypes of people"):
        build(place, packed)


def test_a_missing_value_of_other_programs_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people = [f"p{i}" for i in range(40)]
    table = pd.DataFrame({"sample": people, "phenotype": np.arange(40) % 2})
    path = tmp_path / "phenotypes.tsv"
    for ages, told in (([-9, 33], True), ([-8.5, 1.5], False), ([-9, -1], False)):
        caplog.clear()
        table.assign(age=np.resize(ages, 40)).to_csv(path, sep="\t", index=False)
        read_phenotypes(str(path), people, "x.vcf")
        assert ("covariate age is -9 for 20 people" in caplog.text) == told


def test_identifiers_are_no_covariate(tmp_path: Path) -> None:
    people = [f"p{i}" for i in range(300)]
    table = pd.DataFrame({"sample": people, "phenotype": np.arange(300) % 2})
    path = tmp_path / "phenotypes.tsv"
    for families, fine in ((30, True), (31, False)):
        family = [f"F{i % families}" for i in range(300)]
        table.assign(family=family).to_csv(path, sep="\t", index=False)
        if fine:
            assert len(read_phenotypes(str(path), people, "x.vcf")[0].covariate_names) == 29
            continue
        with pytest.raises(InputError, match="family has a level for nearly every person.*at most"):
            read_phenotypes(str(path), people, "x.vcf")


def test_contigs_that_the_genome_lacks_are_counted_and_names_are_mended(place: Path) -> None:
    expected_frame, *_ = build(place, write_vcf(place))
    decoy = "hs37d5\t5\t.\tA\tC\t.\t.\t.\tGT" + "\t0|1" * 4 + "\n"
    frame, info, _ = build(place, write_vcf(place, extra=decoy))
    assert info["dropped"] == {"contig not in the genome": 1}
    assert frame.equals(expected_frame)
    row = {"task": "disease", "name": "cohort", "kind": "cohort", "contig_prefix": "chr"}
    frame, *_ = build(place, write_vcf(place, contig="1"), row=row)
    assert frame.equals(expected_frame)
    with pytest.raises(InputError, match="contig of record 1 is not in the genome; found 'x7'"):
        build(place, write_vcf(place, contig="x7"))


def test_a_cut_in_the_middle_is_found_with_an_end_marker(place: Path) -> None:
    records = [(p, BASES[p - 1], "N", ["0|0"] * 4) for p in range(11, 30)]
    path = Path(write_vcf(place, records, extra="chr1\t31\t.\n"))
    with pytest.raises(InputError, match=r"is damaged after record|record has no genotypes"):
        build(place, str(path))


def test_random_haplotypes_equal_a_second_way(place: Path) -> None:
    rng = np.random.default_rng(3)
    bases = decode(rng.integers(0, 4, 200).astype(np.uint8))
    (place / "genome.fa").write_text(f">chr1\n{bases}\n>chr2\n{bases}\n")
    Path(place / "genome.fa.fai").unlink()
    pysam.faidx(str(place / "genome.fa"))
    genome = Genome(place / "genome.fa")
    regions = pd.DataFrame({"region": [0], "contig": ["chr1"], "start": [60], "end": [120]})
    records, at = [], 50
    while at < 125:
        ref = bases[at : at + int(rng.integers(1, 4))]
        alt = decode(rng.integers(0, 4, int(rng.integers(1, 4))).astype(np.uint8))
        records.append(Record(1, "chr1", at + 1, ref, alt, {}))
        at += len(ref) + int(rng.integers(0, 5))
    from genebert.tasks.cohort_files import Genotypes

    alleles = rng.integers(0, 2, (len(records), 12, 2)).astype(np.int8)
    found = cohort.build_haplotypes(Genotypes(records, alleles), regions, genome, Counter())
    inside = [i for i, r in enumerate(records) if 60 <= r.position - 1 < 120]
    for person, copy in itertools.product(range(12), range(2)):
        text = bases
        for i in reversed(inside):
            if alleles[i, person, copy]:
                start = records[i].position - 1
                text = text[:start] + records[i].alt + text[start + len(records[i].ref) :]
        row = found.rows[found.hap_index[person, copy, 0]]
        assert row["sequence"] == text[60:120]
