from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from genome_toys import CONTIGS, LENGTH, Toy
from task_toys import job

from genebert import layout, predict, tasks
from genebert.errors import InputError

PER_CONTIG = 20
SPACE = 5000
FILES = (("dataset", "parquet"), ("description", "json"))


def promoters(toy: Toy) -> pd.DataFrame:
    """Plant C|A at every TSS, a TATA box 30 bases before every fourth, GC around all."""
    rows = []
    for contig in CONTIGS:
        for k in range(PER_CONTIG):
            tss = 3000 + k * SPACE + 7 * k
            strand = "+-"[k % 2]
            around = "".join(toy.rng.choice(list("ACGT"), 300, p=[0.24, 0.26, 0.26, 0.24]))
            tata = "TATAAA" if k % 4 < 2 else "CGCGCG"
            text = around[:219] + tata + around[225:248] + "CA" + around[250:]
            start = tss - 249 if strand == "+" else tss - 50
            toy.put(contig, start, text, strand)
            rows.append((contig, tss, strand, f"P{k}_{contig}"))
    return pd.DataFrame(rows, columns=["contig", "tss", "strand", "name"])


def epdnew(folder: Path, table: pd.DataFrame) -> Path:
    lines = []
    for contig, tss, strand, name in table.itertuples(index=False):
        start, end = (tss - 49, tss + 11) if strand == "+" else (tss - 10, tss + 50)
        thick = (tss, end) if strand == "+" else (start, tss + 1)
        fields = (contig, start, end, name, 900, strand, *thick)
        lines.append("\t".join(map(str, fields)))
    path = folder / "promoters.bed"
    path.write_text("\n".join(lines) + "\n")
    return path


def gtf(folder: Path, table: pd.DataFrame) -> Path:
    """Write a transcript of one exon for every TSS."""
    lines = []
    for contig, tss, strand, name in table.itertuples(index=False):
        start, end = (tss + 1, tss + 500) if strand == "+" else (tss - 498, tss + 1)
        lines.append(
            f"{contig}\tx\texon\t{start}\t{end}\t.\t{strand}\t.\t"
            f'gene_id "{name}"; transcript_id "{name}";\n'
        )
    path = folder / "g.gtf"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Toy, pd.DataFrame, Path]:
    made = Toy(tmp_path)
    table = promoters(made)
    return made.write(), table, epdnew(tmp_path, table)


def build(toy: Toy, labels: Path, row: dict[str, Any] | None = None, **more: Any) -> Any:
    row = {"task": "promoter", "kind": "epdnew", **(row or {})}
    tasks.build_dataset(**toy.arguments(row, labels, **more))
    return toy.read()


def test_the_tss_lies_at_the_stated_offset_on_both_strands(
    toy: tuple[Toy, pd.DataFrame, Path],
) -> None:
    for window, offset, length in (("full", 249, 300), ("core", 34, 70)):
        frame, info, _ = build(toy[0], toy[2], {"window": window})
        positive = frame[frame["label"] == 1]
        assert len(positive) == 3 * PER_CONTIG
        assert (positive["sequence"].str.slice(offset - 1, offset + 1) == "CA").all()
        assert (frame["sequence"].str.len() == length).all()
        assert info["window"] == {"name": window, "length": length, "tss_offset": offset}
        assert set(positive["strand"]) == {"+", "-"}
        assert info["tss_check"]["share_at_tss"] == 1.0
        assert info["tss_check"]["ok"] is True


def test_matched_negatives_share_split_and_composition_but_no_promoter(
    toy: tuple[Toy, pd.DataFrame, Path],
) -> None:
    frame, info, leaks = build(*toy[::2])
    for split in ("train", "valid", "test"):
        part = frame[frame["split"] == split]
        assert (part["label"] == 1).sum() == (part["label"] == 0).sum() == PER_CONTIG
        assert part["contig"].nunique() == 1
        assert abs(info["imbalance"][f"gc:{split}"]) < 0.35
        assert 0.35 < leaks.loc[f"gc_auroc:{split}", "share"] < 0.65
    negative = frame[frame["label"] == 0]
    for contig, tss in toy[1][["contig", "tss"]].itertuples(index=False):
        near = negative[negative["contig"] == contig]
        assert not ((near["start"] < tss + 1000) & (near["end"] > tss - 1000)).any()
    assert not frame["sequence"].str.contains("N").any()
    assert frame["oracle"].isna().all()


def test_a_negative_has_the_stratum_of_its_positive(toy: tuple[Toy, pd.DataFrame, Path]) -> None:
    frame, _, _ = build(*toy[::2])
    counts = frame.groupby(["stratum", "label"]).size()
    assert counts["tata"].tolist() == counts["non-tata"].tolist() == [30, 30]


def test_the_same_seed_gives_the_same_bytes(toy: tuple[Toy, pd.DataFrame, Path]) -> None:
    files = []
    for seed in (1, 1, 2):
        build(*toy[::2], seed=seed)
        files.append((toy[0].folder / "dataset.parquet").read_bytes())
    assert files[0] == files[1] != files[2]


def test_open_negatives_are_region_centres(toy: tuple[Toy, pd.DataFrame, Path]) -> None:
    frame, info, _ = build(*toy[::2], {"negatives": "open"})
    negative = frame[frame["label"] == 0]
    regions = toy[0].regions
    assert (negative["region"] >= 0).all()
    own = regions.iloc[negative["region"]]
    centre = (own["start"].to_numpy() + own["end"].to_numpy()) // 2
    assert (negative["start"].to_numpy() == centre - 150).all()
    assert info["dropped"].get("promoter_without_match", 0) == 60 - len(negative)


def test_legacy_negatives_keep_part_of_their_promoter(
    toy: tuple[Toy, pd.DataFrame, Path],
) -> None:
    frame, _, _ = build(*toy[::2], {"negatives": "legacy"})
    sides = [frame[frame["label"] == k].sort_values("item")["sequence"] for k in (1, 0)]
    same = [
        np.mean([a == b for a, b in zip(*pair, strict=True)]) for pair in zip(*sides, strict=True)
    ]
    assert 0.45 < np.mean(same) < 0.65  # 8/20 kept, a quarter of the rest by chance


def test_the_oracle_is_the_probability_of_the_candidate_at_the_tss(
    toy: tuple[Toy, pd.DataFrame, Path], tmp_path: Path
) -> None:
    truth = toy[1].rename(columns={"tss": "position"}).assign(probability=0.7)
    truth.loc[0, "position"] += 1
    truth.loc[1, "probability"] = 0.2
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    frame, _, _ = build(*toy[::2], truth=[str(tmp_path / "truth.tsv")])
    positive = frame[frame["label"] == 1]
    assert positive["oracle"].value_counts().to_dict() == {0.7: 58, 0.2: 1, 0.0: 1}
    assert (frame.loc[frame["label"] == 0, "oracle"] == 0).all()


def test_the_oracle_of_labels_drawn_without_regard_to_the_sequence_is_flat(
    toy: tuple[Toy, pd.DataFrame, Path], tmp_path: Path
) -> None:
    truth = toy[1].rename(columns={"tss": "position"}).assign(probability=0.5)
    truth.to_csv(tmp_path / "truth.tsv", sep="\t", index=False)
    frame, _, _ = build(*toy[::2], truth=[str(tmp_path / "truth.tsv")])
    assert set(frame["oracle"]) == {0.5}


@pytest.mark.parametrize("kind", ["matched", "open"])
def test_negatives_avoid_the_tss_of_the_gtf_and_the_blacklist(
    toy: tuple[Toy, pd.DataFrame, Path], tmp_path: Path, kind: str
) -> None:
    others = pd.DataFrame(
        [(contig, 5500 + k * SPACE, "+-"[k % 2], f"T{k}_{contig}") for contig in CONTIGS
         for k in range(5)],
        columns=["contig", "tss", "strand", "name"],
    )  # fmt: skip
    black = tmp_path / "black.bed"
    black.write_text("".join(f"{contig}\t50000\t{LENGTH}\n" for contig in CONTIGS))
    files = {"extra": [str(gtf(tmp_path, others))], "blacklist": [str(black)]}

    def touched(frame: pd.DataFrame) -> list[bool]:
        negative = frame[frame["label"] == 0]
        near = False
        for contig, tss in others[["contig", "tss"]].itertuples(index=False):
            on = negative["contig"] == contig
            near |= (on & (negative["start"] < tss + 1000) & (negative["end"] > tss - 1000)).any()
        return [bool(near), bool((negative["end"] > 50_000).any())]

    bare, info, _ = build(*toy[::2], {"negatives": kind})
    assert touched(bare) == [True, True]
    assert list(info["avoided"]) == ["near_a_promoter"]
    frame, info, _ = build(*toy[::2], {"negatives": kind}, **files)
    assert touched(frame) == [False, False]
    assert all(info["avoided"][key] > 0 for key in ("near_an_annotated_tss", "blacklist"))
    _, info, _ = build(*toy[::2], {"negatives": "legacy"}, **files)
    assert info["avoided"] == {}


def test_the_region_branch_is_off_unless_a_cell_type_is_named(
    toy: tuple[Toy, pd.DataFrame, Path], config: dict[str, Any]
) -> None:
    row = {"task": "promoter", "name": "genes", "kind": "epdnew"}
    bare, info, _ = build(*toy[::2])
    assert info["uses_regions"] is False
    assert set(bare["cell_type"]) == {""}
    assert "context-lr" not in layout.models(config, row)
    frame, info, _ = build(*toy[::2], {"cell_type": "Mono", "anchor": "hidden"})
    assert (info["uses_regions"], info["anchor"]) == (True, "hidden")
    assert set(frame["cell_type"]) == {"Mono"}
    pd.testing.assert_frame_equal(frame.assign(cell_type=""), bare)
    extra = [n for n in layout.models(config, {**row, "cell_type": "Mono"})
             if n not in layout.models(config, row)]  # fmt: skip
    assert extra == ["accessibility", "context-lr"]
    with pytest.raises(InputError, match="did you mean 'Mono'"):
        build(*toy[::2], {"cell_type": "Monno"})


def test_max_items_and_avoided_intervals(
    toy: tuple[Toy, pd.DataFrame, Path], tmp_path: Path
) -> None:
    other = tmp_path / "avoid.bed"
    other.write_text("".join(f"{contig}\t0\t{LENGTH // 2}\n" for contig in CONTIGS))
    frame, info, _ = build(*toy[::2], max_items=40, blacklist=[str(other)])
    assert info["counts"] == {
        "train": {"other": 10, "promoter": 10},
        "valid": {"other": 4, "promoter": 4},
        "test": {"other": 6, "promoter": 6},
    }
    assert info["dropped"] == {"over_max_items": 40}
    assert (frame.loc[frame["label"] == 0, "start"] >= LENGTH // 2).all()


def test_what_is_dropped_is_counted(toy: tuple[Toy, pd.DataFrame, Path]) -> None:
    made, table, _ = toy
    extra = [
        ("chr1", 100, "+", "edge"),  # window leaves the contig
        ("chrUn", 5000, "+", "unknown"),
        table.iloc[3].tolist(),
    ]
    more = pd.concat([table, pd.DataFrame(extra, columns=table.columns)])
    _, info, _ = build(made, epdnew(made.folder, more))
    assert info["n_in"] == 63
    assert info["dropped"] == {"off_contig": 1, "repeated_tss": 1, "unknown_contig": 1}


def test_kinds_tss_and_gtf_find_the_same_promoters(
    toy: tuple[Toy, pd.DataFrame, Path],
) -> None:
    made, table, path = toy
    expected = build(made, path)[0].query("label == 1")["item"].tolist()
    windows, lines = made.folder / "w.bed", []
    for contig, tss, strand, name in table.itertuples(index=False):
        start = tss - 200 if strand == "+" else tss - 50
        lines.append(f"{contig}\t{start}\t{start + 251}\t{name}\ttest\t{strand}\n")
    windows.write_text("".join(lines))
    row = {"kind": "tss", "tss_offset": 200}
    assert build(made, windows, row)[0].query("label == 1")["item"].tolist() == expected
    found = build(made, gtf(made.folder, table), {"kind": "gtf"})[0]
    assert found.query("label == 1")["item"].tolist() == expected


def test_every_model_that_is_planned_for_promoters_of_a_gtf_accepts_them(
    toy: tuple[Toy, pd.DataFrame, Path], config: dict[str, Any]
) -> None:
    made, table, _ = toy
    row = {"task": "promoter", "name": "genes", "kind": "gtf"}
    build(made, gtf(made.folder, table), row)
    paths = {key: str(made.folder / f"dataset.{end}") for key, end in FILES}
    for name in layout.models(config, row):
        entry, work = predict.find_model(name), job(name, paths)
        predict.check_fits(entry, work)
        module, function = entry.function.split(":")
        if module == "baselines":
            frame, _ = getattr(import_module(f"genebert.{module}"), function)(work)
            assert set(frame["item"]) == set(work.items.name[work.items.predicted])


def test_a_wrong_tss_offset_is_seen(
    toy: tuple[Toy, pd.DataFrame, Path], caplog: pytest.LogCaptureFixture
) -> None:
    made, table, _ = toy
    path = epdnew(made.folder, table.assign(tss=table["tss"] + 9))
    _, info, _ = build(made, path)
    assert info["tss_check"]["ok"] is False
    assert "do not look like TSS" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contig": "chr1"}, "split valid has no item of class"),
        ({"contig": "Chr2"}, "no contig of this file is in the genome; did you mean 'chr2'"),
        ({"tss": LENGTH * 2}, "another build"),
    ],
)
def test_bad_labels_are_one_line(
    toy: tuple[Toy, pd.DataFrame, Path], change: dict[str, Any], message: str
) -> None:
    made, table, _ = toy
    if change.get("contig") == "chr1":
        table = table[table["contig"] == "chr1"]
    else:
        table = table.assign(**change)
    with pytest.raises(InputError, match=message) as error:
        build(made, epdnew(made.folder, table))
    assert "\n" not in str(error.value)
    assert not (made.folder / "dataset.parquet").exists()


def test_bad_options_are_one_line(toy: tuple[Toy, pd.DataFrame, Path]) -> None:
    made, _, path = toy
    with pytest.raises(InputError, match="tss_offset is missing"):
        build(made, path, {"kind": "tss"})
    with pytest.raises(InputError, match=r"unknown negatives.*expected matched, open, legacy"):
        build(made, path, {"negatives": "natural"})
