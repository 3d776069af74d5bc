"""A user's files and a small run: embeddings and scores of variants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pysam
import pytest

import genebert
from genebert import pretrained
from genebert.errors import InputError
from genebert.genome import encode
from genebert.model import GeneBert
from genebert.shards import Shards
from genebert.use import embed, variants
from genebert.use.head import Head
from use_toys import (
    CONFIG,
    HEAD,
    WIDTH,
    ToyRun,
    make_run,
    other,
    some_variants,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    return make_run(tmp_path_factory.mktemp("toy-run"))


# embeddings


def embedded(run: ToyRun, tmp_path: Path, text: str, cells: tuple[str, ...] = ()) -> Any:
    path = tmp_path / "out.h5ad"
    embed.embed_bed(
        bed=run.write("e.bed", text), **run.files("weights", "shards"), embeddings=str(path),
        name="e", cell_types=cells, threads=1,
    )  # fmt: skip
    return anndata.read_h5ad(path)


def test_embeddings_are_those_of_the_windows_in_the_order_of_the_file(run, tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "STEP", 2)
    text = "b\t40\t60\tx\na\t100\t103\ty\na\t0\t4\tedge\na\t100\t103\tagain\n"
    found = embedded(run, tmp_path, text, ("HSC", "NK"))
    middles = [("b", 50), ("a", 101), ("a", 2)]
    sequences = [run.genome[c][max(0, m - 10) : m + 10].rjust(WIDTH, "N") for c, m in middles]
    expected = genebert.embed(run.encoders, sequences)
    np.testing.assert_allclose(found.X, expected[[0, 1, 2, 1]], atol=1e-5)
    assert found.obs_names.tolist()[:3] == ["b:40-60", "a:100-103", "a:0-4"]
    assert found.obs_names.is_unique
    assert found.obs["name"].tolist() == ["x", "y", "edge", "again"]
    assert found.obs["unknown"].tolist() == pytest.approx([0, 0, 0.4, 0])
    near = found.obsm["region_HSC"]
    assert near.shape == found.X.shape
    assert np.isfinite(near).all()
    assert not np.allclose(near, found.obsm["region_NK"])
    assert found.uns["genebert"]["weights_sha256"]
    assert found.uns["genebert"]["width"] == WIDTH


def test_places_without_neighbours_can_be_told(run, tmp_path, monkeypatch):
    monkeypatch.setattr(embed, "STEP", 2)
    shards = Shards.open(run.files("shards")["shards"])
    cell, middles = (
        list(shards.cell_types).index("HSC"),
        [2, 30, 300, 700, len(run.genome["a"]) - 3],
    )
    found = embedded(run, tmp_path, "".join(f"a\t{m - 1}\t{m + 1}\n" for m in middles), ("HSC",))
    opened = shards.open_regions[shards.indptr[cell] : shards.indptr[cell + 1]]
    starts = shards.start[opened[shards.contig[opened] == 0]].astype(int)
    expected = [
        min(2, (starts + WIDTH <= m - 10).sum()) + min(2, (starts >= m + 10).sum()) for m in middles
    ]
    assert found.obs["neighbours_HSC"].tolist() == expected
    assert min(expected) < max(expected) == found.uns["genebert"]["neighbours"] == 4
    assert "neighbours_NK" not in found.obs


def test_an_unknown_cell_type_names_the_nearest(run, tmp_path):
    with pytest.raises(InputError, match="did you mean 'HSC'"):
        embedded(run, tmp_path, "a\t0\t5\n", ("HSCs",))


def test_weights_of_other_motifs_are_refused_whether_or_not_a_cell_type_is_named(run, tmp_path):
    index = json.loads(Path(run.files("shards")["shards"]).read_text())
    strange = tmp_path / "index.json"
    strange.write_text(json.dumps(index | {"motifs": index["motifs"][::-1]}))
    with pytest.raises(InputError, match="pre-trained weights are for other motifs"):
        embed.embed_bed(
            bed=run.write("e.bed", "a\t100\t103\n"), **run.files("weights") | {"shards": str(strange)},
            embeddings=str(tmp_path / "out.h5ad"), name="e", cell_types=(), threads=1,
        )  # fmt: skip
    assert not (tmp_path / "out.h5ad").exists()


def test_a_cell_type_that_is_named_twice_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="named twice; found 'HSC'"):
        embedded(run, tmp_path, "a\t0\t5\n", ("HSC", "B", "HSC"))
    assert not (tmp_path / "out.h5ad").exists()
    with pytest.raises(InputError, match="named twice"):
        Head.load(run.head).columns(["B", "B"])


def test_sequences_of_several_lengths_are_refused(run):
    with pytest.raises(InputError, match="not of one length"):
        genebert.embed(run.encoders, ["ACGTACGT", "ACGT"])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("ACGTACGT", "sequences: sequences are not in a list; found 'ACGTACGT'"),
        (["ACGT", None], r"sequences\[1\]: is no text; found 'NoneType'; expected str"),
        ([b"ACGT"], r"sequences\[0\]: is no text; found 'bytes'"),
        (["ACGTN", "ACGUA"], r"sequences\[1\]: has a letter that is not a DNA base; found 'U'"),
        (["MKVLE"], r"sequences\[0\]: has a letter that is not a DNA base; found 'L'"),
    ],
)
def test_what_is_no_dna_is_refused(run, sequences, message):
    with pytest.raises(InputError, match=message):
        genebert.embed(run.encoders, sequences)


def test_all_letters_of_dna_are_read(run):
    plain, other = genebert.embed(run.encoders, ["ACGTNNNN", "acgtRYkm"])
    np.testing.assert_array_equal(plain, other)
    assert len(genebert.embed(run.encoders, pd.Series(["ACGT" * 3] * 2)))


def test_alleles_are_in_lists(run):
    window = "ACGT" * (WIDTH // 4)
    with pytest.raises(InputError, match="sequences are not in a list"):
        genebert.score_variants(run.encoders, [window], window)


@pytest.mark.parametrize(("reference", "alternative"), [(3, 2), (1, 3), (0, 0)])
def test_alleles_come_in_pairs(run, reference, alternative):
    window = "ACGT" * (WIDTH // 4)
    with pytest.raises(InputError, match=f"found '{reference} and {alternative}'"):
        genebert.score_variants(run.encoders, [window] * reference, [window] * alternative)


# variants


def score(run: ToyRun, tmp_path: Path, text: str, **changes: Any) -> tuple[pd.DataFrame, Path]:
    out = {key: str(tmp_path / name) for key, name in (
        ("table", "v.tsv"), ("annotated", "v.vcf.gz"), ("summary", "v.json"))}  # fmt: skip
    job: dict[str, Any] = {
        "vcf": run.write("v.vcf", text),
        **run.files("weights", "shards", "motif_set", "head"),
        **out, "vcf_index": out["annotated"] + ".tbi", "name": "v", "cell_types": (), "threads": 1,
    }  # fmt: skip
    variants.score_vcf(**job | changes)
    return pd.read_csv(out["table"], sep="\t", na_values="NA"), tmp_path


def test_every_allele_has_a_row_with_scores_or_a_reason(run, tmp_path, monkeypatch):
    monkeypatch.setattr(variants, "STEP", 2)
    table, folder = score(run, tmp_path, some_variants(run)[0])
    assert table["skipped"].fillna("").tolist() == [
        "", "", "", "symbolic allele", "REF disagrees with the genome", "", "contig not in the genome",
    ]  # fmt: skip
    a = run.genome["a"]
    windows = [a[90:110], a[90:100] + other(a[100]) + a[101:110]]
    expected = genebert.score_variants(
        run.encoders, windows[:1], windows[1:], head=Head.load(run.head),
        motifs=genebert.load_motifs(run.files("motif_set")["motif_set"]),
    )  # fmt: skip
    for column in expected.columns:
        if column not in ("motif_top", "cell_type"):
            assert table[column][0] == pytest.approx(expected[column][0], rel=1e-4, abs=1e-6), (
                column
            )
    assert np.isnan(table["llr"][2])  # an insertion
    assert np.isfinite(table["embedding"][2])
    assert table.loc[3:4, "embedding":].isna().all(axis=None)
    named = [name for name in table.columns if name.startswith("accessibility:")]
    assert named == ["accessibility:HSC", "accessibility:B"]  # NK is held out
    strongest = table[named].abs().max(axis=1)
    np.testing.assert_allclose(table["accessibility"].abs(), strongest, rtol=1e-5)
    summary = json.loads((folder / "v.json").read_text())
    assert summary["scored"] == 4
    assert sum(summary["skipped"].values()) == summary["alleles"] - 4


@pytest.mark.parametrize("kind", ["insertion", "deletion"])
def test_a_site_that_an_indel_pushes_past_the_end_is_not_changed(run, kind):
    motifs = genebert.load_motifs(run.files("motif_set")["motif_set"])
    if kind == "insertion":
        text = "C" * 52 + "TGACTCA" + "C" * 30
        alleles = text[:60], text[:30] + "AAAAA" + text[30:55]
    else:
        text = "C" * 30 + "AAAAA" + "C" * 20 + "TGACTCA" + "C" * 30  # the site enters at the end
        alleles = text[:60], text[:30] + text[35:65]
    assert [len(window) for window in alleles] == [60, 60]
    assert "TGACTCA" in alleles[kind == "deletion"]
    assert "TGACTCA" not in alleles[kind == "insertion"]
    scores = genebert.score_variants(run.encoders, *([x] for x in alleles), motifs=motifs)
    assert scores["motif"][0] == 0
    assert scores["motif_top"][0] is None
    site = text[:30] + "TGACTCA" + text[30:]  # one that the insertion itself makes
    scores = genebert.score_variants(run.encoders, [text[:60]], [site[:60]], motifs=motifs)
    assert scores["motif_top"][0] == "+SPI1"


def test_the_motif_rows_of_an_indel_are_those_of_haplotypes_with_one_end(run, tmp_path):
    a, half = run.genome["a"], WIDTH // 2
    motifs = genebert.load_motifs(run.files("motif_set")["motif_set"])
    lines, expected = [], []
    for at in range(60, 1000, 5):
        deletion, end = at % 2 == 0, at + half
        ref, alt = (a[at : at + 6], a[at]) if deletion else (a[at], a[at] + "TGACTCA")
        lines.append(f"a\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n")
        end -= 0 if deletion else 7
        texts = a[at - half : end], a[at - half : at] + alt + a[at + len(ref) : end]
        rows = motifs.scan([encode(text) for text in texts]).sum.toarray()
        expected.append(float(np.linalg.norm(rows[1] - rows[0])))
    table, _ = score(run, tmp_path, HEAD + "".join(lines))
    assert 0 in expected
    assert max(expected) > 1
    assert table["motif"].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert (table["motif_top"].isna() == (table["motif"] < 1e-6)).all()


def test_a_head_for_bases_that_nothing_trained_gives_no_ratio(run):
    encoders = run.encoders
    alleles = ["ACGTACGTACGTACGTACGT"], ["ACGTACGTACTTACGTACGT"]
    assert np.isfinite(genebert.score_variants(encoders, *alleles)["llr"][0])
    others = replace(encoders, record={**encoders.record, "objectives": ["srm", "motif"]})
    scores = genebert.score_variants(others, *alleles)
    assert np.isnan(scores["llr"][0])
    assert np.isfinite(scores["embedding"][0])


@pytest.mark.parametrize(("base", "new"), [("N", "A"), ("C", "N")])
def test_a_substitution_to_or_from_n_has_no_ratio(run, base, new):
    window = "ACGTACGTAC{}TACGTACGT".format
    table = genebert.score_variants(
        run.encoders, [window(base), window("C")], [window(new), window("G")]
    )
    assert np.isnan(table["llr"]).tolist() == [True, False]
    beside = [window("C").replace("TAC", "TNN", 1)], [window("G").replace("TAC", "TNN", 1)]
    assert np.isfinite(genebert.score_variants(run.encoders, *beside)["llr"][0])


def test_alleles_stand_in_the_table_as_in_the_vcf(run, tmp_path):
    a = run.genome["a"]
    fields = [
        (51, a[50], "<ins:me>"),
        (61, a[60], f"]c:10]{a[60]}"),
        (71, a[70], f"{a[70]}[c:20["),
        (81, a[80].lower(), f"{other(a[80])},{other(a[80]).lower()}{a[81]}"),
    ]
    lines = [f"a\t{position}\t.\t{ref}\t{alt}\t.\t.\t.\n" for position, ref, alt in fields]
    table, _ = score(run, tmp_path, HEAD + "".join(lines))
    assert table["alt"].tolist() == [alt for _, _, some in fields for alt in some.split(",")]
    assert table["ref"].tolist() == [*(ref for _, ref, _ in fields), a[80].lower()]
    assert table["skipped"].fillna("").tolist() == [*["symbolic allele"] * 3, "", ""]


def test_the_annotated_vcf_keeps_every_record_and_declares_its_keys(run, tmp_path):
    text, lines = some_variants(run)
    table, folder = score(run, tmp_path, text)
    with pysam.VariantFile(str(folder / "v.vcf.gz")) as file:
        assert {"GENEBERT_LLR", "GENEBERT_SKIPPED", "AF"} <= set(file.header.info)
        assert file.header.info["GENEBERT_LLR"].number == "A"
        assert "old" not in file.header.info["GENEBERT_LLR"].description
        records = list(file)
        assert len(list(file.fetch("a", 100, 125))) == 2  # indexed
    assert len(records) == len(lines)
    first = dict(records[0].info)
    assert first["GENEBERT_LLR"][0] == pytest.approx(table["llr"][0], rel=1e-3)
    assert first["AF"] == (0.5,)
    assert records[1].info["GENEBERT_EMBEDDING"][2] is None
    assert records[1].info["GENEBERT_SKIPPED"] == (".", ".", "symbolic_allele")
    assert records[2].info["GENEBERT_SKIPPED"] == ("REF_disagrees_with_the_genome",)
    with pysam.BGZFile(str(folder / "v.vcf.gz")) as file:
        written = [line.decode().split("\t") for line in file if not line.startswith(b"#")]
    for before, after in zip(lines, written, strict=True):
        fields = before.split("\t")
        assert after[:7] == fields[:7]
        assert after[8:] == fields[8:]
        kept_info = [i for i in fields[7].split(";") if i != "." and not i.startswith("GENEBERT")]
        assert after[7].split(";")[: len(kept_info)] == kept_info


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "has no variants"),
        ("a\t50\t.\tREF\tALT\t.\t.\t.\na\t20\t.\tREF\tALT\t.\t.\t.\n", "line 4: is not sorted"),
        ("a\tx\t.\tA\tC\t.\t.\t.\n", "line 3: is not a VCF line"),
        ("a 50 . A C . . .\n", "line 3: is not a VCF line"),
        ("chrUn\t50\t.\tA\tC\t.\t.\t.\n", "no variant can be scored.*contig not in the genome"),
        ("a\t50\t.\tALT\tREF\t.\t.\t.\n", "is it another build"),
        ("a\t50\t.\tREF\t<DUP>\t.\t.\t.\n", "no variant can be scored.*symbolic"),
        ("a\t50\t.\tREF\t\t.\t.\t.\n", "no variant can be scored.*no alternative allele"),
        ("a\t50\t.\tREF\t-\t.\t.\t.\n", "no variant can be scored.*no alternative allele"),
        ("a\t0\t.\tA\tC\t.\t.\t.\n", "no variant can be scored.*position beyond"),
        (
            "a\t50\t.\tREF\tALT\t.\t.\t.\na\t536870913\t.\tA\tC\t.\t.\t.\n",
            "line 4: lies beyond what the index",
        ),
        (
            "a\t50\t.\tREF\t<DEL>\t.\t.\tSVTYPE=DEL;END=536870913\n",
            "line 3: lies beyond what the index",
        ),
    ],
)
def test_a_bad_vcf_is_one_line(run, tmp_path, body, message):
    ref = run.genome["a"][49]
    text = HEAD + body.replace("REF", ref).replace("ALT", other(ref))
    with pytest.raises(InputError, match=message):
        score(run, tmp_path, text)
    assert not (tmp_path / "v.tsv").exists()


def test_the_last_base_that_the_index_can_hold_is_scored(run, tmp_path):
    ref = run.genome["a"][99]
    lines = f"a\t100\t.\t{ref}\t{other(ref)}\t.\t.\t.\na\t536870912\t.\tA\tC\t.\t.\tBEND=9\n"
    table, folder = score(run, tmp_path, HEAD + lines)
    assert len(table) == 2
    with pysam.VariantFile(str(folder / "v.vcf.gz")) as file:
        assert len(list(file.fetch("a", 536870900))) == 1


@pytest.mark.parametrize("before", ["##file", "#CHROM"])
def test_blank_lines_within_the_header_are_left_out(run, tmp_path, before):
    ref = run.genome["a"][99]
    text = f"{HEAD}a\t100\t.\t{ref}\t{other(ref)}\t.\t.\t.\n"
    _, folder = score(run, tmp_path, text.replace(before, f"\n\n{before}"))
    with pysam.VariantFile(str(folder / "v.vcf.gz")) as file:
        assert "GENEBERT_LLR" in file.header.info
        assert [record.pos for record in file] == [100]
    text = text.replace("INFO\n", "INFO\n\n#a comment among the records\n")
    _, folder = score(run, tmp_path, text)
    with pysam.VariantFile(str(folder / "v.vcf.gz")) as file:
        assert [record.pos for record in file] == [100]


def test_a_contig_that_lacks_its_chr_or_has_one_too_many_is_known(run, tmp_path):
    ref = run.genome["a"][99]
    table, folder = score(run, tmp_path, f"{HEAD}chra\t100\t.\t{ref}\t{other(ref)}\t.\t.\t.\n")
    assert table["contig"].tolist() == ["chra"]
    assert np.isfinite(table["llr"][0])
    with pysam.VariantFile(str(folder / "v.vcf.gz")) as file:
        assert [record.chrom for record in file] == ["chra"]


def test_what_is_no_vcf_is_told(run, tmp_path):
    with pytest.raises(InputError, match=r"v\.vcf.*#CHROM"):
        score(run, tmp_path, "contig\tposition\n")


def test_a_held_out_cell_type_has_no_read_out(run, tmp_path):
    with pytest.raises(InputError, match="training cell type"):
        score(run, tmp_path, some_variants(run)[0], cell_types=("NK",))


def test_a_read_out_of_other_weights_is_refused(run, tmp_path):
    strange = tmp_path / "model.safetensors"
    strange.write_bytes(b"x")
    with pytest.raises(InputError, match="other weights"):
        Head.load(run.head, strange)
    with pytest.raises(InputError, match="no accessibility read-out"):
        Head.load(strange)


def test_a_read_out_of_another_seed_is_refused_in_python(run, tmp_path):
    pretrained.save(tmp_path / "seed-2", GeneBert(CONFIG, 4), motifs=run.encoders.record["motifs"])
    others, head = genebert.load(str(tmp_path)), genebert.load_head(run.head)
    window = run.genome["a"][100 : 100 + WIDTH]
    alleles = [window], [window[:10] + other(window[10]) + window[11:]]
    nobody_knows = replace(head, weights_sha256="")
    for given, read_out, refused in (
        (run.encoders, head, False),
        (others, head, True),
        (replace(others, sha256=None), head, False),
        (others, nobody_knows, False),
    ):
        for call in (
            lambda e=given, h=read_out: genebert.score_variants(e, *alleles, head=h),
            lambda e=given, h=read_out: genebert.attribute(e, h, window, method="gradient"),
        ):
            if refused:
                with pytest.raises(InputError, match="fitted on other weights than these encoders"):
                    call()
            else:
                call()
