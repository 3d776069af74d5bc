from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from genome_toys import CONTIGS, Toy, turned

from genebert import progress, tasks
from genebert.errors import InputError
from genebert.genome import Genome
from genebert.tasks import splicing
from genebert.tasks.annotation import read_exons

GENES = 10  # per contig, three introns each
EXON, INTRON, SPACE = 150, 500, 6000


def genes(
    toy: Toy, *, odd: tuple[int, ...] = ()
) -> list[tuple[str, str, str, list[tuple[int, int]]]]:
    """Plant genes on both strands; return (gene, contig, strand, exons) in genome coordinates."""
    out = []
    for contig in CONTIGS:
        for k in range(GENES):
            strand = "+-"[k % 2]
            start = 2000 + k * SPACE
            donor = "GC" if k in odd else "GT"
            exons = [(start + i * (EXON + INTRON), EXON) for i in range(4)]
            spans = [(s, s + n) for s, n in exons]
            for (_, a), (b, _) in zip(spans[:-1], spans[1:], strict=True):
                left, right = (donor, "AG") if strand == "+" else ("CT", turned(donor))
                toy.put(contig, a, left)
                toy.put(contig, b - 2, right)
            out.append((f"{contig}_g{k}", contig, strand, spans))
    return out


def gtf(folder: Path, made: list[Any], name: str = "genes.gtf") -> Path:
    lines = [
        f'{contig}\tx\texon\t{a + 1}\t{b}\t.\t{strand}\t.\tgene_id "{gene}"; transcript_id "{gene}.1";\n'
        for gene, contig, strand, spans in made
        for a, b in spans
    ]
    path = folder / name
    path.write_text("".join(lines))
    return path


def make(folder: Path, **options: Any) -> tuple[Toy, list[Any], Path]:
    toy = Toy(folder)
    made = genes(toy, **options)
    return toy.write(), made, gtf(folder, made)


def build(toy: Toy, labels: Path, row: dict[str, Any] | None = None, **more: Any) -> Any:
    row = {"task": "splicing", "kind": "gtf", **(row or {})}
    tasks.build_dataset(**toy.arguments(row, labels, **more))
    return toy.read()


def positions(frame: pd.DataFrame) -> pd.Series:
    return frame["item"].str.split(":").str[1].astype(int)


def test_sites_stand_where_the_description_says(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    frame, info, _ = build(toy, path)
    assert info["window"] == {"length": 400, "donor_offset": 200, "acceptor_offset": 199}
    donors, acceptors = (frame[frame["label"] == k]["sequence"] for k in (1, 2))
    assert len(donors) == len(acceptors) == 3 * GENES * 3
    assert (donors.str.slice(200, 202) == "GT").all()
    assert (acceptors.str.slice(198, 200) == "AG").all()
    assert (donors.str.slice(199, 201) == "GT").mean() < 0.3
    assert (frame["sequence"].str.len() == 400).all()
    assert set(frame["strand"]) == {"+", "-"}
    assert info["canonical"]["share"] == 1.0


def test_the_region_branch_sees_the_cell_type_that_is_named(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    assert build(toy, path)[1]["uses_regions"] is False
    frame, info, _ = build(toy, path, {"cell_type": "HSC"})
    assert (info["uses_regions"], info["anchor"]) == (True, "shown")
    assert set(frame["cell_type"]) == {"HSC"}


def test_sites_are_the_borders_of_the_introns(tmp_path: Path) -> None:
    toy, made, path = make(tmp_path)
    frame, _, _ = build(toy, path)
    expected = set()
    for _, contig, strand, spans in made:
        for (_, a), (b, _) in zip(spans[:-1], spans[1:], strict=True):
            first, last = (a, b - 1) if strand == "+" else (b - 1, a)
            expected |= {(contig, first, 1.0), (contig, last, 2.0)}
    sites = frame[frame["label"] > 0]
    found = set(zip(sites["contig"], positions(sites), sites["label"], strict=True))
    assert found == expected


def test_decoys_are_half_gt_half_ag_in_gene_bodies_and_no_site(tmp_path: Path) -> None:
    toy, made, path = make(tmp_path)
    frame, info, leaks = build(toy, path)
    none = frame[frame["label"] == 0]
    for split in ("train", "valid", "test"):
        counts = info["counts"][split]
        assert counts == {"none": 2 * counts["donor"], "donor": 3 * GENES, "acceptor": 3 * GENES}
        assert abs(leaks.loc[f"gc_auroc:{split}", "share"] - 0.5) < 0.06
    gt = none[none["item"].str.endswith("donor")]
    ag = none[none["item"].str.endswith("acceptor")]
    assert len(gt) == len(ag)
    assert (gt["sequence"].str.slice(200, 202) == "GT").all()
    assert (ag["sequence"].str.slice(198, 200) == "AG").all()
    bodies = {(contig, strand): [] for contig in CONTIGS for strand in "+-"}
    for _, contig, strand, spans in made:
        bodies[contig, strand].append((spans[0][0], spans[-1][1]))
    at = positions(none)
    for contig, strand, position in zip(none["contig"], none["strand"], at, strict=True):
        assert any(a <= position < b for a, b in bodies[contig, strand])
    sites = frame[frame["label"] > 0]
    for contig in CONTIGS:
        known = positions(sites[sites["contig"] == contig]).to_numpy()
        drawn = at[none["contig"] == contig].to_numpy()
        assert np.abs(drawn[:, None] - known[None]).min() > splicing.APART


def test_items_of_different_class_are_apart(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    # a transcript whose intron ends 4 bases before an annotated donor
    gene, contig, strand, spans = made[0]
    donor = spans[1][1]
    made.append((f"{gene}b", contig, strand, [(spans[0][0], spans[0][1]), (donor - 3, donor + 50)]))
    toy.put(contig, donor - 5, "AG")
    toy.write()
    frame, info, _ = build(toy, gtf(tmp_path, made))
    at = positions(frame[(frame["label"] > 0) & (frame["contig"] == contig)]).tolist()
    assert donor not in at
    assert donor - 4 not in at
    assert info["dropped"]["within_5_nt_of_other_class"] == 2


def test_a_site_of_any_transcript_is_no_decoy(tmp_path: Path) -> None:
    _, made, path = make(tmp_path)
    genome = Genome(tmp_path / "genome.fa")
    annotated = splicing.splice_sites(
        splicing.annotation.read_exons(path), genome, Counter(), file=""
    )
    near = splicing.near(annotated, annotated)
    assert near.all()
    assert not splicing.near(annotated, annotated, other_class=True).any()
    moved = annotated.assign(position=annotated["position"] + splicing.APART + 1)
    assert not splicing.near(moved, annotated).any()
    assert len(annotated) == len(made) * 6


def test_natural_scans_whole_test_genes(tmp_path: Path) -> None:
    toy, made, path = make(tmp_path)
    frame, info, _ = build(toy, path, {"negatives": "natural"})
    test = frame[frame["split"] == "test"]
    genome = Genome(tmp_path / "genome.fa")
    expected = 0
    for _, contig, strand, spans in made:
        if contig == "chr3":
            for kind in ("donor", "acceptor"):
                expected += len(
                    splicing.motif_positions(
                        genome, contig, spans[0][0], spans[-1][1], strand, kind
                    )
                )
    assert len(test) == expected
    assert (test["label"] > 0).sum() == GENES * 6
    assert info["missed_noncanonical"] == {"donor": 0, "acceptor": 0}
    few, _, _ = build(toy, path, {"negatives": "natural"}, max_items=1000)
    part = few[few["split"] == "test"]
    assert 700 <= len(part) < 1300  # genes are whole
    assert len(few) - len(part) <= 300
    assert (part["label"] == 1).sum() == (part["label"] == 2).sum()


@pytest.mark.parametrize("strand", ["+", "-"])
def test_motif_positions_are_the_g_of_either_motif(tmp_path: Path, strand: str) -> None:
    toy = Toy(tmp_path)
    toy.put("chr1", 100, "CCCGTCCCAGCCC", strand)
    genome = Genome(toy.write().folder / "genome.fa")
    at = {
        kind: splicing.motif_positions(genome, "chr1", 100, 113, strand, kind).tolist()
        for kind in ("donor", "acceptor")
    }
    assert (
        at
        == {"+": {"donor": [103], "acceptor": [109]}, "-": {"donor": [109], "acceptor": [103]}}[
            strand
        ]
    )


def test_gc_ag_introns_are_counted_and_missed_by_a_scan(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path, odd=(2, 5))
    frame, info, _ = build(toy, path)
    assert info["canonical"]["donor"] == {"GC": 18, "GT": (GENES - 2) * 9}
    assert info["canonical"]["share"] == pytest.approx(1 - 18 / (GENES * 18))
    odd = frame[frame["stratum"] == "noncanonical"]
    assert (odd["sequence"].str.slice(200, 202) == "GC").all()
    assert len(odd) == 18
    frame, info, _ = build(toy, path, {"negatives": "natural"})
    assert info["missed_noncanonical"] == {"donor": 6, "acceptor": 0}
    assert "noncanonical" not in set(frame["stratum"][frame["split"] == "test"])


def test_annotated_sites_that_cannot_be_scanned_are_missed(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    test = [m for m in made if m[1] == "chr3"]
    donor = test[0][3][1][1]  # of a gene on '+'
    toy.put("chr3", donor + 60, "N")  # in the window of this donor alone
    made.append(("edge", "chr3", "+", [(10, 100), (300, 400)]))
    toy.put("chr3", 100, "GT")  # its window leaves the contig
    toy.put("chr3", 298, "AG")
    toy.write()
    frame, info, _ = build(toy, gtf(tmp_path, made), {"negatives": "natural"})
    part = frame[frame["split"] == "test"]
    assert not {100, donor} & set(positions(part[part["label"] == 1]))
    assert info["missed_unscanned"] == {"donor": 2, "acceptor": 0}
    assert info["missed_noncanonical"] == {"donor": 0, "acceptor": 0}
    assert info["dropped"]["annotated_sites_not_scanned"] == 2
    annotated = GENES * 3 + 1
    assert (part["label"] == 1).sum() + 2 == (part["label"] == 2).sum() == annotated


def test_sites_without_a_decoy_are_counted(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    donor = made[0][3][0][1]  # of a first exon on '+': no other site in its window
    toy.put("chr1", donor - 200, "CG" * 100)
    toy.put("chr1", donor + 2, "CG" * 99 + "AT" * 75)  # no GT nearby has a window as rich
    toy.write()
    _, info, _ = build(toy, gtf(tmp_path, made))
    counts = info["counts"]["train"]
    assert info["dropped"]["sites_without_decoy"] == 1
    assert counts == {"none": 6 * GENES - 1, "donor": 3 * GENES, "acceptor": 3 * GENES}


def test_copies_of_training_genes_are_removed(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    source = made[0]
    for contig, k in (("chr2", 2), ("chr3", 4)):
        for (a, b), (c, _) in zip(
            source[3], made[CONTIGS.index(contig) * GENES + k][3], strict=True
        ):
            text = "".join(toy.letters["chr1"][a:b])
            letters = np.array(list(text))
            hit = toy.rng.random(len(letters)) < 0.1
            letters[hit] = toy.rng.choice(list("ACGT"), hit.sum())
            toy.put(contig, c, "".join(letters))
    toy.write()
    spans = made[CONTIGS.index("chr3") * GENES + 4][3]
    other = ("beside", "chr3", "+-"[4 % 2], [(spans[0][0], spans[-1][1])])  # same place, no intron
    frame, info, _ = build(toy, gtf(tmp_path, [*made, other]))
    for contig, k in (("chr2", 2), ("chr3", 4)):  # no decoys of theirs either
        spans = made[CONTIGS.index(contig) * GENES + k][3]
        there = (frame["contig"] == contig) & positions(frame).between(spans[0][0], spans[-1][1])
        assert not there.any()
    assert info["dropped"]["genes_related_to_training"] == 2
    assert info["dropped"]["sites_of_related_genes"] == 12
    assert info["counts"]["test"]["donor"] == (GENES - 1) * 3
    assert info["counts"]["train"]["donor"] == GENES * 3
    assert frame["item"].is_unique


def test_genes_of_one_name_on_both_strands_are_two_genes(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    twice = [("both", *rest) if name in ("chr3_g0", "chr3_g1") else (name, *rest)
             for name, *rest in made]  # fmt: skip
    toy.write()
    exons = read_exons(str(gtf(tmp_path, twice)))
    spliced = splicing.gene_sequences(exons, Genome(tmp_path / "genome.fa"))
    assert {key for key in spliced if key[1] == "both"} == {
        ("chr3", "both", "+"), ("chr3", "both", "-"),
    }  # fmt: skip
    assert len({len(text) for text in spliced.values()}) == 1


def test_a_repeat_in_both_genes_does_not_make_them_related(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    for contig in ("chr2", "chr3"):
        for (a, b), (c, _) in zip(made[0][3], made[CONTIGS.index(contig) * GENES][3], strict=True):
            for place in (("chr1", a), (contig, c)):
                toy.put(*place, "".join(toy.letters["chr1"][a:b]).lower())
    toy.write()
    _, info, _ = build(toy, gtf(tmp_path, made))
    assert "genes_related_to_training" not in info["dropped"]


def test_the_cap_keeps_the_ratio(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    _, info, _ = build(toy, path, max_items=200)
    assert info["counts"] == {
        "train": {"none": 50, "donor": 25, "acceptor": 25},
        "valid": {"none": 20, "donor": 10, "acceptor": 10},
        "test": {"none": 30, "donor": 15, "acceptor": 15},
    }


def test_the_cap_of_a_natural_set_is_that_of_all_splits(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    _, info, _ = build(toy, path, {"negatives": "natural"}, max_items=200)
    assert sum(sum(info["counts"][split].values()) for split in ("train", "valid")) <= 60


def test_the_oracle_has_one_column_per_class(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    plain, _, _ = build(toy, path)
    assert plain[["oracle_0", "oracle_1", "oracle_2"]].isna().all(axis=None)
    rows = plain[plain["label"] > 0]
    truth = pd.DataFrame(
        {
            "contig": rows["contig"],
            "position": positions(rows),
            "strand": rows["strand"],
            "class": rows["label"].map({1.0: "donor", 2.0: "acceptor"}),
            "probability": 0.8,
        }
    )
    decoy = plain[(plain["label"] == 0) & plain["item"].str.endswith("donor")].iloc[:1]
    truth.loc[len(plain)] = [
        decoy["contig"].iloc[0],
        positions(decoy).iloc[0],
        decoy["strand"].iloc[0],
        "donor",
        0.3,
    ]
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    frame, _, _ = build(toy, path, truth=[str(tmp_path / "truth.tsv")])
    oracle = frame.set_index("item")[["oracle_0", "oracle_1", "oracle_2"]]
    assert np.allclose(oracle.sum(axis=1), 1)
    assert np.allclose(oracle.loc[decoy["item"].iloc[0]], [0.7, 0.3, 0.0])
    own = oracle.to_numpy()[np.arange(len(frame)), frame["label"].astype(int)]
    assert np.allclose(own[frame["label"] > 0], 0.8)


def test_the_oracle_of_labels_that_tell_nothing_knows_nothing(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    plain, _, _ = build(toy, path)
    rows = plain[plain["label"] > 0]
    kind = rows["label"].map({1.0: "donor", 2.0: "acceptor"})
    truth = pd.DataFrame({"contig": rows["contig"], "position": positions(rows)})
    truth = truth.assign(strand=rows["strand"], **{"class": kind, "probability": 0.5})
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    frame, _, _ = build(toy, path, truth=[str(tmp_path / "truth.tsv")])
    assert (frame[["oracle_0", "oracle_1", "oracle_2"]] == [0.5, 0.25, 0.25]).all(axis=None)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    toy, _, path = make(tmp_path)
    files = []
    for seed in (1, 1, 2):
        build(toy, path, seed=seed)
        files.append((tmp_path / "dataset.parquet").read_bytes())
    assert files[0] == files[1] != files[2]


def test_bad_annotation_is_one_line(tmp_path: Path) -> None:
    toy, made, _ = make(tmp_path)
    moved = [(g, c, s, [(a + 37, b + 37) for a, b in spans]) for g, c, s, spans in made]
    with pytest.raises(InputError, match="do not stand at GT and AG: another build"):
        build(toy, gtf(tmp_path, moved))
    single = [(g, c, s, spans[:1]) for g, c, s, spans in made]
    with pytest.raises(InputError, match="has no intron"):
        build(toy, gtf(tmp_path, single))
    other = [(g, c[3:], s, spans) for g, c, s, spans in made]
    with pytest.raises(InputError, match="no contig of this file is in the genome"):
        build(toy, gtf(tmp_path, other))
    lacking = [m for m in made if m[1] != "chr3"]
    with pytest.raises(InputError, match="split test has no item of class"):
        build(toy, gtf(tmp_path, lacking))
    assert not (tmp_path / "dataset.parquet").exists()


def test_the_log_tells_how_far_the_dataset_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, _, path = make(tmp_path)
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    build(toy, path)
    for work in ("reading sites", "reading genes", "comparing genes", "looking for donor decoys"):
        lines = [line for line in caplog.messages if line.startswith(work)]
        assert lines, work
        assert all(line.endswith("to go") for line in lines), work


def test_windows_off_the_contig_are_counted(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    made = genes(toy)
    made.append(("edge", "chr1", "+", [(10, 100), (300, 400)]))
    toy.put("chr1", 100, "GT")
    toy.put("chr1", 298, "AG")
    toy.write()
    _, info, _ = build(toy, gtf(tmp_path, made))
    assert info["dropped"]["off_contig"] == 1
