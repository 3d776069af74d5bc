"""Motif sets: log-odds, thresholds, what cannot be attained, clusters, and the stage itself."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from genebert.errors import InputError
from genebert.genome import Genome, encode, reverse_complement
from genebert.motif_files import Motif, read_motifs, write_meme
from genebert.motifs import (
    MotifSet,
    build_motif_set,
    read_clusters,
    score_motif,
    training_background,
)
from genebert.splits import Splits

SPLITS = {"train": ["a:0-40"], "valid": ["b"], "test": ["a:60-100"], "held_out_cell_types": ["X"]}
SETTINGS = {"p_value": 1e-3, "pseudocount": 0.01, "unattainable": "drop", "merge_strands": False}


def sharp(text: str, name: str = "m") -> Motif:
    """A motif that prefers one sequence."""
    probabilities = np.full((4, len(text)), 0.02)
    probabilities[encode(text), np.arange(len(text))] = 0.94
    return Motif(name, "test", probabilities)


def test_log_odds_follow_the_formula() -> None:
    scored = score_motif(sharp("A"), (0.4, 0.1, 0.1, 0.4), p_value=0.5, pseudocount=0.01)
    expected = [(0.94 + 0.004) / 1.01 / 0.4] + [(0.02 + 0.001) / 1.01 / 0.1] * 2
    np.testing.assert_allclose(scored.log_odds[:3, 0], np.log(expected))
    assert scored.max_score == pytest.approx(np.log(0.944 / 1.01 / 0.4))
    assert scored.attainable_p == pytest.approx(0.4)


def test_attainable_p_counts_every_best_sequence() -> None:
    probabilities = np.array([[0.5, 0.02], [0.5, 0.02], [0.0, 0.94], [0.0, 0.02]])
    scored = score_motif(Motif("m", "t", probabilities), (0.25,) * 4, p_value=0.2, pseudocount=0.01)
    assert scored.attainable_p == pytest.approx(2 * 0.25 * 0.25)


def test_bases_that_differ_by_rounding_are_equally_good() -> None:
    background = (0.37, 0.13, 0.19, 0.31)
    same = Motif("m", "t", np.tile(np.array(background)[:, None], 9))  # all odds are 1
    scored = score_motif(same, background, p_value=1e-4, pseudocount=0.01)
    assert scored.attainable_p == pytest.approx(1)
    with pytest.raises(InputError, match="none of 1 motifs can reach"):
        MotifSet.build([same], background=background)
    (kept,) = MotifSet.build([same], background=background, unattainable="keep").kept
    assert kept.threshold < kept.log_odds.min(axis=0).sum()


@pytest.mark.parametrize("p_value", [1e-3, 1e-2])
def test_threshold_has_the_p_value(p_value: float) -> None:
    background = (0.3, 0.2, 0.2, 0.3)
    counts = np.random.default_rng(1).random((4, 8))
    motif = Motif("m", "t", counts / counts.sum(axis=0))
    scored = score_motif(motif, background, p_value=p_value, pseudocount=0.01)
    words = np.array(list(itertools.product(range(4), repeat=8)))
    score = scored.log_odds[words, np.arange(8)].sum(axis=1)
    probability = np.array(background)[words].prod(axis=1)
    reached = probability[score >= scored.threshold].sum()
    assert 0.97 * p_value < reached <= p_value * (1 + 1e-11)


def test_a_score_equal_to_the_threshold_is_a_hit() -> None:
    built = MotifSet.build([sharp("ACGTGAT")], p_value=1e-3)
    (motif,) = built.kept
    score = 0.0
    for column, base in enumerate(encode("ACGTGAC")):
        score += motif.log_odds[base, column]
    at = replace(built, motifs=(replace(motif, threshold=score),))
    above = replace(built, motifs=(replace(motif, threshold=float(np.nextafter(score, 9))),))
    assert at.scan([encode("ACGTGAC")]).count.sum() == 1
    assert above.scan([encode("ACGTGAC")]).count.sum() == 0


def test_unattainable_motifs_are_dropped_or_kept() -> None:
    motifs = [sharp("ACGTG", "short"), sharp("ACGTGATC", "long")]
    dropped = MotifSet.build(motifs, p_value=1e-4)
    assert dropped.names == ["long"]
    assert [m.kept for m in dropped.motifs] == [False, True]
    kept = MotifSet.build(motifs, p_value=1e-4, unattainable="keep")
    assert kept.names == ["short", "long"]
    assert kept.motifs[0].attainable_p == pytest.approx(0.25**5)
    assert kept.scan([encode("TTACGTGTT")]).count.toarray().tolist() == [[1, 0]]
    with pytest.raises(InputError, match="none of 1 motifs can reach"):
        MotifSet.build(motifs[:1], p_value=1e-4)


def test_rows_of_known_hits() -> None:
    built = MotifSet.build([sharp("AACCGGCA", "m"), sharp("TTTTTTTC", "t")], p_value=1e-4)
    top, other = (motif.max_score for motif in built.kept)
    site, turned = "AACCGGCA", "TGCCGGTT"
    rows = built.scan([encode(text) for text in (site + "C" + turned, "GAAAAAAA", "", "AACCNGGCA")])
    assert rows.count.toarray().tolist() == [[2, 0], [0, 1], [0, 0], [0, 0]]
    np.testing.assert_allclose(rows.best.toarray()[:2], [[top, 0], [0, other]])
    np.testing.assert_allclose(rows.sum.toarray()[:2], [[2 * top, 0], [0, other]])
    hits = built.hits([encode(site + "C" + turned)])
    assert (hits.start.tolist(), hits.reverse.tolist()) == ([0, 9], [False, True])
    assert [layer.dtype for layer in (rows.count, rows.best, rows.sum)] == [np.float32] * 3


def test_best_dense_without_a_window_is_the_lowest_score() -> None:
    built = MotifSet.build([sharp("AACCGGCA")], p_value=1e-4)
    lowest = built.kept[0].log_odds.min(axis=0).sum()
    best = built.best_dense([encode("ACG"), encode("ACGTNACGT"), encode("")])
    np.testing.assert_allclose(best, lowest, rtol=1e-6)
    assert best.dtype == np.float32


def test_nothing_to_scan() -> None:
    built = MotifSet.build([sharp("AACCGGCA")])
    assert built.scan([]).count.shape == (0, 1)
    assert built.best_dense([]).shape == (0, 1)


def test_clusters_count_sites_once() -> None:
    motifs = [sharp("AACCGGCA", "a"), sharp("TTACTCAT", "x"), sharp("GAACCGGCAT", "b")]
    built = MotifSet.build(motifs, p_value=1e-4, clusters={"a": "CRE", "b": "CRE"})
    assert built.names == ["CRE", "x"]
    assert [column.members for column in built.columns] == [(0, 2), (1,)]
    assert (built.columns[0].width, built.columns[0].cluster, built.columns[1].cluster) == (
        10,
        "CRE",
        "",
    )
    text = "GAACCGGCAT" + "TTACTCAT" + "TGCCGGTT"  # b and a share a centre; x; a reversed
    rows = built.scan([encode(text)])
    assert rows.count.toarray().tolist() == [[2, 1]]
    a, b = built.kept[0].max_score, built.kept[2].max_score
    assert rows.sum[0, 0] == pytest.approx(a + b)
    assert rows.best[0, 0] == pytest.approx(b)
    turned = built.scan([reverse_complement(encode(text))])
    assert turned.count.toarray().tolist() == [[2, 1]]
    assert built.best_dense([encode(text)])[0, 0] == pytest.approx(b)


def test_cluster_tables(tmp_path: Path) -> None:
    path = tmp_path / "clusters.tsv"
    path.write_text("motif\tcluster\na\tONE\nb\tONE\nz\tTWO\n")
    assert read_clusters(path, ["a", "b", "c"]) == {"a": "ONE", "b": "ONE"}
    with pytest.raises(InputError, match="names none of the motifs"):
        read_clusters(path, ["A", "B"])
    path.write_text("motif\tcluster\na\tc\n")
    with pytest.raises(InputError, match="has the name of a motif outside it"):
        read_clusters(path, ["a", "c"])
    path.write_text("motif\tcluster\na\tONE\na\tTWO\n")
    with pytest.raises(InputError, match="row repeats line 2"):
        read_clusters(path, ["a"])


def test_names_are_unique_over_all_sources() -> None:
    twin = replace(sharp("AACCGGCA", "m"), source="other")
    with pytest.raises(InputError, match="other: motif name is also in test"):
        MotifSet.build([sharp("AACCGGCA", "m"), twin])


def test_no_pseudocount_with_a_zero() -> None:
    with pytest.raises(InputError, match="a pseudocount above 0"):
        MotifSet.build([Motif("m", "t", np.eye(4))], pseudocount=0)


def test_sets_are_read_back_exactly(tmp_path: Path) -> None:
    motifs = [sharp("ACGTG", "short"), sharp("ACGTGATC", "long")]
    built = MotifSet.build(motifs, background=(0.3, 0.2, 0.2, 0.3), clusters={"long": "C"})
    built.write(tmp_path / "a.json")
    back = MotifSet.read(tmp_path / "a.json")
    for one, other in zip(built.motifs, back.motifs, strict=True):
        np.testing.assert_array_equal(one.log_odds, other.log_odds)
        assert replace(one, log_odds=None).__dict__ == replace(other, log_odds=None).__dict__
    assert back.names == built.names == ["C"]
    assert (back.p_value, back.background) == (built.p_value, built.background)
    back.write(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    record = json.loads((tmp_path / "a.json").read_text())
    assert set(record) == {
        "version", "p_value", "pseudocount", "background", "merge_strands", "order", "motifs",
    }  # fmt: skip
    assert len(record["motifs"][0]["log_odds"]) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(version=99), "of another version"),
        (lambda r: r.pop("background"), "is not a motif set"),
        (lambda r: r["motifs"][0].pop("threshold"), "is not a motif set"),
        (lambda r: r["motifs"][0].update(width=3), "is not a motif set"),
    ],
)
def test_damaged_sets(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "set.json"
    MotifSet.build([sharp("ACGTGATC")]).write(path)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        MotifSet.read(path)


def test_truncated_and_missing_sets(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    MotifSet.build([sharp("ACGTGATC")]).write(path)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="is not a motif set"):
        MotifSet.read(path)
    with pytest.raises(InputError, match="no such motif set"):
        MotifSet.read(tmp_path / "none.json")


@pytest.fixture
def stage(tmp_path: Path) -> dict[str, Any]:
    """Inputs of the stage; the training interval is a:0-40, which alone has C."""
    genome = tmp_path / "genome.fa"
    genome.write_text(">a\n" + "AAAC" * 10 + "N" * 20 + "GTGT" * 10 + "\n>b\n" + "G" * 50 + "\n")
    pysam.faidx(str(genome))
    header = "region contig start end split n_cell_types n_train_cell_types gc repeat held_out_only"
    rows = ["0 a 0 20 train 1 1 0.25 0 0", "1 a 60 80 test 1 1 0.5 0 0", "2 b 0 20 valid 1 1 1 0 0"]
    table = tmp_path / "regions.tsv"
    table.write_text("".join("\t".join(row.split()) + "\n" for row in [header, *rows]))
    write_meme(tmp_path / "in.meme", [sharp("AACCGGCA", "kept"), sharp("ACG", "short")])
    return {
        "sources": [str(tmp_path / "in.meme")],
        "regions": str(tmp_path / "regions.bed"),
        "table": str(table),
        "genome": str(genome),
        "index": "",
        "block_index": "",
        "motif_set": str(tmp_path / "set.json"),
        "meme": str(tmp_path / "out.meme"),
        "settings": SETTINGS | {"sources": [{"path": "in.meme", "format": "meme"}]},
        "splits": SPLITS,
    }


def test_background_is_that_of_the_training_bases(stage: dict[str, Any]) -> None:
    background = training_background(Genome(stage["genome"]), Splits.from_config(SPLITS), {"a"})
    assert background == pytest.approx((0.375, 0.125, 0.125, 0.375))  # AAAC and its complement


def test_stage_writes_the_set_and_the_kept_motifs(stage: dict[str, Any]) -> None:
    build_motif_set(**stage)
    built = MotifSet.read(stage["motif_set"])
    assert [(m.name, m.kept, m.source) for m in built.motifs] == [
        ("kept", True, stage["sources"][0]),
        ("short", False, stage["sources"][0]),
    ]
    assert built.background == pytest.approx((0.375, 0.125, 0.125, 0.375))
    assert [m.name for m in read_motifs(stage["meme"], "meme")] == ["kept"]
    first = [Path(stage[key]).read_bytes() for key in ("motif_set", "meme")]
    build_motif_set(**stage)
    assert first == [Path(stage[key]).read_bytes() for key in ("motif_set", "meme")]


@pytest.mark.parametrize("order", ["cluster", "correlation"])
def test_the_order_of_the_motifs_is_chosen_and_recorded(
    stage: dict[str, Any], tmp_path: Path, order: str
) -> None:
    words = {"a1": "AACCGGCA", "b": "TTTTACGT", "a2": "TGCCGGTT"}  # a2 is a1's other strand
    write_meme(tmp_path / "in.meme", [sharp(word, name) for name, word in words.items()])
    stage["settings"] = stage["settings"] | {"order": order}
    if order == "cluster":
        table = tmp_path / "clusters.tsv"
        table.write_text("motif\tcluster\na1\tA\na2\tA\n")
        stage["clusters"] = [str(table)]
    build_motif_set(**stage)
    built = MotifSet.read(stage["motif_set"])
    assert built.order == json.loads(Path(stage["motif_set"]).read_text())["order"] == order
    assert sorted(built.names) == ["a1", "a2", "b"]  # each keeps its column
    assert built.names.index("b") in (0, 2)


def test_bases_of_other_splits_change_nothing(stage: dict[str, Any]) -> None:
    build_motif_set(**stage)
    before = Path(stage["motif_set"]).read_bytes()
    genome = Path(stage["genome"])
    text = ">a\n" + "AAAC" * 10 + "C" * 20 + "CCCC" * 10 + "\n>b\n" + "C" * 50 + "\n"
    genome.write_text(text)
    pysam.faidx(str(genome))
    build_motif_set(**stage)
    assert Path(stage["motif_set"]).read_bytes() == before
    genome.write_text(text.replace("AAAC", "ACCC", 1))
    pysam.faidx(str(genome))
    build_motif_set(**stage)
    assert Path(stage["motif_set"]).read_bytes() != before


def test_stage_mixes_files_queries_and_clusters(stage: dict[str, Any], tmp_path: Path) -> None:
    sources = [
        {"path": "jaspar:2014:urochordates", "format": "pyjaspar"},
        {"path": "in.meme", "format": "meme"},
    ]
    clusters = tmp_path / "clusters.tsv"
    clusters.write_text("motif\tcluster\nkept\tC\n")
    settings = stage["settings"] | {"sources": sources, "p_value": 1e-4}
    build_motif_set(**(stage | {"settings": settings, "clusters": [str(clusters)]}))
    built = MotifSet.read(stage["motif_set"])
    assert built.motifs[0].source == "jaspar:2014:urochordates"
    assert [m.name for m in built.motifs][-2:] == ["kept", "short"]
    assert "C" in built.names
    assert "kept" not in built.names


def test_stage_without_training_regions(stage: dict[str, Any]) -> None:
    table = Path(stage["table"])
    table.write_text(table.read_text().replace("train\t", "test\t"))
    with pytest.raises(InputError, match=r"regions\.tsv: has no training regions"):
        build_motif_set(**stage)


def test_stage_with_a_base_missing(stage: dict[str, Any]) -> None:
    genome = Path(stage["genome"])
    genome.write_text(">a\n" + "A" * 100 + "\n>b\n" + "G" * 50 + "\n")
    pysam.faidx(str(genome))
    with pytest.raises(InputError, match="do not have all of A, C, G and T"):
        build_motif_set(**stage)
