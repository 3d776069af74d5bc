"""Bad files of variants: one line each, and nothing written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from variant_toys import LENGTH, build, make_place, other, table, write

from genebert.errors import InputError
from genebert.genome import Genome


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("variants"))


@pytest.fixture
def genome(place: Path) -> Genome:
    return Genome(place / "genome.fa")


def test_wrong_reference_names_line_and_bases(place: Path, genome: Genome) -> None:
    source = table(genome, [200, 500])
    right = source.loc[3, "ref"]
    source.loc[3, "ref"], source.loc[3, "alt"] = other(right), right
    with pytest.raises(InputError) as caught:
        build(place, write(place, source))
    text = str(caught.value)
    assert "v.tsv, line 5:" in text
    assert "chr2:500 (1-based)" in text
    assert f"found '{other(right)}'; expected {right} " in text


def broken(kind: str, genome: Genome) -> tuple[bytes, dict[str, Any]]:
    """Return a bad label file and keys of the row."""
    source, row = table(genome, [200, 500]), {}
    if kind == "column":
        source = source.rename(columns={"position": "positoin"})
    elif kind == "twice":
        source.insert(0, "ref", "A", allow_duplicates=True)
    elif kind == "text":
        source["position"] = source["position"].astype(object)
        source.loc[1, "position"] = "12k"
    elif kind == "zero":
        source.loc[1, "position"] = 0
    elif kind == "naming":
        source["contig"] = source["contig"].str.removeprefix("chr")
    elif kind == "beyond":
        source.loc[1, "position"] = LENGTH + 5
    elif kind == "conflict":
        source = pd.concat([source, source.iloc[:1].assign(label=1)])
    elif kind == "one class":
        source["label"] = 1
    elif kind == "word":
        source["label"] = "yes"
    elif kind == "positive":
        row = {"positive": {"pvalu": 1}}
    elif kind == "field":
        row = {"columns": {"chromosome": "contig"}}
    elif kind == "minimum":
        row = {"minimum": {"barcodes": 10}}
    elif kind.startswith("score"):
        source["raw"] = ["NA", {"score text": "high", "score infinite": "inf"}.get(kind, "NA")] * 3
        row = {"scores": {"cadd": "rwa" if kind == "score name" else "raw"}}
    elif kind == "unused":
        source["alt"] = "<DEL>"
    text = source.to_csv(sep="\t", index=False)
    if kind == "ragged":
        text = text.replace("\tcausal\n", "\n", 1)
    raw = b"" if kind == "empty" else text.encode()
    if kind == "truncated":
        return gzip.compress(text.encode())[:-12], row
    return (b"\xff\xfe\x00" * 20 if kind == "binary" else raw), row


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("column", "line 1: column 'position' is missing; did you mean 'positoin'"),
        ("twice", "line 1: column 'ref' stands twice"),
        ("text", "line 3: position is not a 1-based coordinate; found '12k'"),
        ("zero", "line 3: position is not a 1-based coordinate; found '0'"),
        ("naming", "line 2: contig is not in the genome; did you mean 'chr1'? (key contig_prefix"),
        ("beyond", "line 3: position is beyond chr1; found 4005; expected at most 4000"),
        ("conflict", "has another label in line 2; found 1.0; expected 0.0"),
        ("one class", "all variants have one label"),
        ("word", "line 2: label is not a number; found 'yes'"),
        ("positive", "unknown key 'pvalu' in positive; did you mean 'pvalue'"),
        ("field", "unknown field 'chromosome' in columns"),
        ("minimum", "column 'barcodes' of minimum is missing"),
        ("score text", "line 3: raw is not a number; found 'high'"),
        ("score infinite", "line 3: raw is not finite; found inf"),
        ("score empty", "no record has a number in the column 'raw' of scores"),
        ("score name", "in the column 'rwa' of scores; did you mean 'raw'"),
        ("unused", "no variant can be used"),
        ("ragged", "wrong number of fields; found 7; expected 8"),
        ("empty", "is empty; expected columns contig"),
        ("truncated", "truncated"),
        ("binary", "not a text file in UTF-8 but one in UTF-16"),
    ],
)
def test_bad_files_are_one_line_errors(
    place: Path, genome: Genome, tmp_path: Path, kind: str, message: str
) -> None:
    raw, row = broken(kind, genome)
    (tmp_path / "bad.tsv").write_bytes(raw)
    with pytest.raises(InputError) as caught:
        build(place, tmp_path / "bad.tsv", name="bad", **row)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (place / "bad.dataset").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("##fileformat=VCFv4.2\nchr1\t1\t.\tA\tC\t.\t.\t.\n", "is not a VCF line below a #CHROM"),
        ("##fileformat=VCFv4.2\n", "is not a VCF"),
        (
            "##INFO=<ID=CAUSE,Number=0>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n",
            "INFO key 'CAUSAL' of the label is not declared; did you mean 'CAUSE'",
        ),
    ],
)
def test_bad_vcf(place: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.vcf").write_text(text)
    with pytest.raises(InputError, match=message):
        build(place, tmp_path / "bad.vcf", label_info="CAUSAL")
