from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from genome_toys import CELLS, CONTIGS, HELD_OUT, SPLITS, Toy

from genebert import progress, tasks
from genebert.errors import InputError
from genebert.tasks import tfbs

TFS = ("CTCF", "SPI1")


class Chip:
    """ChIP-seq sets in which about a third of the open regions is bound, richer in GC."""

    def __init__(self, toy: Toy, *, every: int = 1) -> None:
        self.toy, self.folder = toy, toy.folder
        self.bound: dict[tuple[str, str], set[int]] = {}
        regions = toy.regions
        for tf in TFS:
            base = toy.rng.random(len(regions)) + 2 * (regions["gc"] - 0.5)
            for c, cell in enumerate(CELLS):
                score = base + 0.4 * toy.rng.random(len(regions))
                is_open = toy.strength[c] > 0
                self.bound[tf, cell] = set(np.flatnonzero(is_open & (score > 0.85)).tolist())

    def write(self, skip: tuple[tuple[str, str], ...] = ()) -> Path:
        rows = []
        for (tf, cell), bound in self.bound.items():
            if (tf, cell) in skip:
                continue
            lines = []
            for r in sorted(bound):
                region = self.toy.regions.iloc[r]
                start = region["start"] + 100
                lines.append(
                    f"{region['contig']}\t{start}\t{start + 300}\t.\t0\t.\t1\t-1\t-1\t150\n"
                )
            name = f"{tf}.{cell}.narrowPeak"
            (self.folder / name).write_text("".join(lines))
            rows.append((tf, cell, name))
        table = pd.DataFrame(rows, columns=["tf", "cell_type", "peaks"])
        table.to_csv(self.folder / "chip.tsv", sep="\t", index=False)
        return self.folder / "chip.tsv"


@pytest.fixture
def chip(tmp_path: Path) -> Chip:
    return Chip(Toy(tmp_path).write(every=750))


def build(chip: Chip, labels: Path, row: dict[str, Any] | None = None, **more: Any) -> Any:
    row = {"task": "tfbs", "kind": "narrowpeak", **(row or {})}
    tasks.build_dataset(**chip.toy.arguments(row, labels, **more))
    return chip.toy.read()


def cell_open(chip: Chip, cell: str) -> set[int]:
    return set(np.flatnonzero(chip.toy.strength[CELLS.index(cell)] > 0).tolist())


def test_natural_holds_every_open_region_with_its_label(chip: Chip) -> None:
    frame, info, _ = build(chip, chip.write(), {"negatives": "natural"})
    regions = chip.toy.regions
    for (tf, cell), bound in chip.bound.items():
        part = frame[(frame["group"] == tf) & (frame["cell_type"] == cell)]
        expected = cell_open(chip, cell)
        if cell in HELD_OUT:
            expected = {r for r in expected if regions["split"][r] != "valid"}
        assert set(part["region"]) == expected
        assert set(part["region"][part["label"] == 1]) == bound & expected
    assert frame["item"].is_unique
    own = regions.iloc[frame["region"]]
    assert frame["start"].tolist() == own["start"].tolist()
    assert info["uses_regions"] is True
    assert info["anchor"] == "shown"
    assert info["contigs"] == list(CONTIGS)


def test_the_log_tells_how_far_the_dataset_is(
    chip: Chip, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    build(chip, chip.write())
    for work in ("reading peaks", "labelling regions", "reading windows", "counting 31-mers"):
        lines = [line for line in caplog.messages if line.startswith(work)]
        assert lines, work
        assert all(line.endswith("to go") for line in lines), work


def test_parts_follow_chromosome_and_cell_type(chip: Chip) -> None:
    frame, _, _ = build(chip, chip.write(), {"negatives": "natural"})
    tags = frame["stratum"].str.split(";").str[0]
    held = frame["cell_type"].isin(HELD_OUT)
    assert not held[frame["split"] != "test"].any()
    for tag, contig, held_out in (
        ("chromosome", "chr3", False),
        ("both", "chr3", True),
        ("cell-type", "chr1", True),
    ):
        part = frame[(frame["split"] == "test") & (tags == tag)]
        assert len(part) > 50
        assert set(part["contig"]) == {contig}
        assert set(part["cell_type"].isin(HELD_OUT)) == {held_out}
        assert part["in_pretraining"].any() == (tag == "cell-type")
        assert part["stratum"].str.contains("transductive").any() == (tag == "cell-type")
    seen = frame["stratum"].str.contains("transductive")
    train = set(frame["region"][frame["split"] == "train"])
    assert seen[(tags == "cell-type") & frame["region"].isin(train)].all()
    assert not seen[frame["split"] == "train"].any()


def test_discordant_means_labelled_otherwise_in_a_training_cell_type(chip: Chip) -> None:
    frame, _, _ = build(chip, chip.write(), {"negatives": "natural"})
    training = [cell for cell in CELLS if cell not in HELD_OUT]
    opened = {cell: cell_open(chip, cell) for cell in CELLS}
    for row in frame.itertuples(index=False):
        others = {
            row.region in chip.bound[row.group, cell]
            for cell in training
            if cell != row.cell_type and row.region in opened[cell]
        }
        expected = (not row.label) in others
        assert ("discordant" in row.stratum) == expected


def test_the_average_of_other_cell_types_is_of_all_labels(chip: Chip) -> None:
    """Matching and the limit take items away, but no label; a closed cell type is unbound."""
    touched = int(np.flatnonzero((chip.toy.strength > 0).all(axis=0))[0])
    start = chip.toy.regions["start"][touched]  # a peak with its summit before it: no label in HSC
    tail = f"chr1\t{start - 90}\t{start + 9}\t.\t0\t.\t1\t-1\t-1\t50\n"
    for tf in TFS:
        chip.bound[tf, "HSC"].discard(touched)
    path = chip.write()
    for tf in TFS:
        peaks = chip.folder / f"{tf}.HSC.narrowPeak"
        peaks.write_text(peaks.read_text() + tail)
    training = [cell for cell in CELLS if cell not in HELD_OUT]
    for row, most in (({"negatives": "natural"}, 10**6), ({}, 10**6), ({}, 400)):
        frame, _, _ = build(chip, path, row, max_items=most)
        for item in frame.itertuples(index=False):
            others = [
                item.region in chip.bound[item.group, cell]
                for cell in training
                if cell != item.cell_type and not (item.region == touched and cell == "HSC")
            ]
            assert item.cell_average == pytest.approx(np.mean(others))


def test_one_training_cell_type_has_no_other(chip: Chip) -> None:
    training = [cell for cell in CELLS if cell not in HELD_OUT]
    skip = tuple((tf, cell) for tf in TFS for cell in training[1:])
    frame, _, _ = build(chip, chip.write(skip), {"negatives": "natural"})
    own = frame["cell_type"] == training[0]
    assert frame["cell_average"][own].isna().all()
    assert frame["cell_average"][~own].notna().all()


def test_the_share_of_discordant_loci_is_that_of_all_labels(chip: Chip) -> None:
    path = chip.write()
    _, info, _ = build(chip, path, {"negatives": "natural"})
    opened = {cell: cell_open(chip, cell) for cell in CELLS}
    for tf in ("CTCF", "SPI1"):
        labels = [
            [r in chip.bound[tf, cell] for cell in CELLS if r in opened[cell]]
            for r in range(len(chip.toy.regions))
        ]
        loci = [own for own in labels if len(own) > 1 and any(own)]
        share = sum(not all(own) for own in loci) / len(loci)
        assert info["discordant_loci"][tf] == {"loci": len(loci), "share": round(share, 4)}
        assert 0 < share < 1
    _, matched, _ = build(chip, path, max_items=300)
    assert matched["discordant_loci"] == info["discordant_loci"]


def test_discordant_negatives_are_the_whole_stratum(chip: Chip) -> None:
    path = chip.write()
    natural, _, _ = build(chip, path, {"negatives": "natural"})
    frame, info, _ = build(chip, path, {"negatives": "discordant"})
    expected = natural[natural["stratum"].str.contains("discordant")]
    assert set(frame["item"]) == set(expected["item"])
    assert info["dropped"]["not_discordant"] == len(natural) - len(frame)
    assert info["within_locus"]["both"] + info["within_locus"]["chromosome"] > 20


def test_a_matched_set_has_whole_loci_beside_it(chip: Chip) -> None:
    """Where cell types are compared, every open one of a locus is there, strong or weak."""
    path = chip.write()
    natural, _, _ = build(chip, path, {"negatives": "natural"})
    frame, info, leaks = build(chip, path)
    tags = frame["stratum"].str.split(";").map(set)
    beside, whole = (tags.map(lambda own, tag=tag: tag in own) for tag in ("beside", "whole-locus"))
    assert 50 < beside.sum() == info["beside"]
    assert (beside <= whole).all()
    assert (frame["split"][whole] == "test").all()
    assert set(frame["contig"][whole]) == {"chr3"}
    keys = ["group", "region"]
    sizes = frame[whole].groupby(keys).size()
    full = natural[natural["contig"] == "chr3"].groupby(keys)
    assert (sizes == full.size().reindex(sizes.index)).all()
    assert (full["label"].nunique().reindex(sizes.index) == 2).all()
    assert (tags.map(lambda own: "discordant" in own) <= whole).all()
    named = natural.set_index("item")["stratum"].str.contains("discordant")
    own = frame[whole].set_index("item")["stratum"].str.contains("discordant")
    assert (named.reindex(own.index) == own).all()
    counts = info["counts"]["test"]
    assert counts["bound"] == counts["unbound"] == ((frame["split"] == "test") & ~beside).sum() / 2
    assert leaks.loc["gc_auroc:test", "found"] == 2 * counts["bound"]
    few, _, _ = build(chip, path, max_items=400)
    added = few[few["stratum"].str.contains("beside")]
    assert 20 < len(added) <= 100
    assert set(added["group"]) == set(TFS)


def test_matched_is_one_to_one_within_tf_cell_type_and_part(chip: Chip) -> None:
    frame, info, leaks = build(chip, chip.write())
    frame = frame[~frame["stratum"].str.contains("beside")]
    part = frame["split"] + frame["stratum"].str.split(";").str[0].where(
        frame["split"] == "test", ""
    )
    counts = frame.groupby([part, "group", "cell_type", "label"]).size().unstack()
    assert (counts[0.0] == counts[1.0]).all()
    natural, _, loose = build(chip, chip.write(), {"negatives": "natural"})
    assert loose.loc["gc_auroc:train", "share"] > 0.58
    assert abs(leaks.loc["gc_auroc:train", "share"] - 0.5) < 0.04
    assert all(abs(value) < 0.15 for key, value in info["imbalance"].items() if "train" in key)
    assert set(frame["item"]) < set(natural["item"])


def test_loci_stay_together_under_a_cap(chip: Chip) -> None:
    path = chip.write()
    whole, info, _ = build(chip, path, {"negatives": "natural"})
    frame, capped, _ = build(chip, path, {"negatives": "natural"}, max_items=300)
    assert 260 <= len(frame) <= 300
    sizes = frame.groupby(["split", "group"]).size().unstack()
    assert (abs(sizes["CTCF"] - sizes["SPI1"]) <= 4).all()
    keys = ["split", "group", "region"]
    kept, full = (
        part[~part["stratum"].str.contains("cell-type")].groupby(keys).size()
        for part in (frame, whole)
    )
    assert (kept == full.reindex(kept.index)).all()
    assert capped["within_locus"]["train"] > 0
    matched, _, _ = build(chip, path, max_items=300)
    matched = matched[~matched["stratum"].str.contains("beside")]
    assert (matched.groupby(["split", "group"])["label"].mean() == 0.5).all()
    assert info["within_locus"]["train"] > capped["within_locus"]["train"]


def test_uncovered_contigs_and_touching_peaks_are_unlabelled(chip: Chip) -> None:
    path = chip.write()
    regions = chip.toy.regions
    first = regions[regions["contig"] == "chr1"].iloc[40]
    tail = f"chr1\t{first['start'] - 90}\t{first['start'] + 9}\t.\t0\t.\t1\t-1\t-1\t50\n"
    chip.bound["CTCF", "HSC"].discard(40)
    path = chip.write()
    peaks = chip.folder / "CTCF.HSC.narrowPeak"
    peaks.write_text(peaks.read_text() + tail)
    frame, info, _ = build(chip, path, {"negatives": "natural"})
    hsc = frame[(frame["group"] == "CTCF") & (frame["cell_type"] == "HSC")]
    assert 40 not in set(hsc["region"])
    assert info["dropped"]["peak_without_its_summit"] == 1
    splits = {**SPLITS, "train": ["chr1"], "valid": ["chr2"], "test": ["chr3"]}
    with pytest.raises(InputError, match="no TF has bound and unbound regions in every split"):
        build(chip, path, {"contigs": ["chr1", "chr2"]}, splits=splits)
    with pytest.raises(InputError, match="did you mean 'chr1'"):
        build(chip, path, {"contigs": ["chr1x"]})


def test_inferred_contigs_leave_the_others_unlabelled(chip: Chip) -> None:
    regions = chip.toy.regions
    regions.loc[regions["contig"] == "chr2", "split"] = "train"
    half = regions["contig"].eq("chr3") & (regions["start"] < 60_000)
    regions.loc[half, "split"] = "valid"
    regions.to_csv(chip.folder / "regions.tsv", sep="\t", index=False)
    for key in chip.bound:
        chip.bound[key] = {r for r in chip.bound[key] if regions["contig"][r] != "chr2"}
    frame, info, _ = build(chip, chip.write(), {"negatives": "natural"})
    assert info["contigs"] == ["chr1", "chr3"]
    assert "chr2" not in set(frame["contig"])
    assert info["dropped"]["open_on_uncovered_contigs"] > 0


def test_a_set_that_covers_fewer_contigs_has_no_false_negatives(chip: Chip) -> None:
    contig = chip.toy.regions["contig"]
    bound = chip.bound["SPI1", "HSC"]
    chip.bound["SPI1", "HSC"] = {r for r in bound if contig[r] != "chr3"}
    frame, info, _ = build(chip, chip.write(), {"negatives": "natural"})
    assert info["contigs"] == list(CONTIGS)
    sets = frame.groupby(["group", "cell_type"])["contig"].unique().map(set)
    assert sets["SPI1", "HSC"] == {"chr1", "chr2"}
    assert sets["CTCF", "HSC"] == set(CONTIGS)
    lost = {r for r in cell_open(chip, "HSC") if contig[r] == "chr3"}
    assert info["dropped"]["open_on_uncovered_contigs"] == len(lost)
    training = [cell for cell in CELLS if cell not in HELD_OUT]
    for item in frame[(frame["group"] == "SPI1") & (frame["contig"] == "chr3")].itertuples():
        others = [
            item.region in chip.bound["SPI1", cell]
            for cell in training
            if cell not in (item.cell_type, "HSC")
        ]
        assert item.cell_average == pytest.approx(np.mean(others))
    frame, _, _ = build(chip, chip.write(), {"negatives": "natural", "contigs": list(CONTIGS)})
    hsc = frame[(frame["group"] == "SPI1") & (frame["cell_type"] == "HSC")]
    assert (hsc.loc[hsc["contig"] == "chr3", "label"] == 0).all()  # covered, as the row says


@pytest.mark.parametrize("step", ["pair_negatives", "cap"])
def test_a_tf_that_matching_or_the_limit_leaves_without_a_class_is_skipped(
    chip: Chip, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    path, original = chip.write(), getattr(tfbs, step)

    def without(tfs: tuple[str, ...]) -> Any:
        def left(items: pd.DataFrame, *arguments: Any) -> pd.DataFrame:
            items = original(items, *arguments)
            return items[~(items["tf"].isin(tfs) & (items["part"] == "valid"))]

        monkeypatch.setattr(tfbs, step, left)

    without(("SPI1",))
    frame, info, _ = build(chip, path)
    assert set(frame["group"]) == {"CTCF"} == set(info["groups"]) == set(info["discordant_loci"])
    assert info["skipped_tfs"] == ["SPI1"]
    assert info["dropped"]["tfs_without_both_classes"] == 1
    assert "TF SPI1 is skipped: no bound region is left in valid" in caplog.text
    without(TFS)
    with pytest.raises(InputError, match="no TF has bound and unbound regions") as error:
        build(chip, path)
    assert "\n" not in str(error.value)


def test_a_tf_without_test_peaks_is_skipped_and_counted(
    chip: Chip, caplog: pytest.LogCaptureFixture
) -> None:
    contig = chip.toy.regions["contig"]
    for cell in CELLS:
        chip.bound["SPI1", cell] = {r for r in chip.bound["SPI1", cell] if contig[r] != "chr3"}
    frame, info, _ = build(chip, chip.write())
    assert set(frame["group"]) == {"CTCF"}
    assert info["skipped_tfs"] == ["SPI1"]
    assert info["dropped"]["tfs_without_both_classes"] == 1
    assert "TF SPI1 is skipped: no bound region is left in test" in caplog.text


def test_unknown_cell_types_are_counted_or_an_error(chip: Chip) -> None:
    path = chip.write()
    table = pd.read_csv(path, sep="\t")
    table.replace({"cell_type": {"Ery": "K562"}}).to_csv(path, sep="\t", index=False)
    _, info, _ = build(chip, path)
    assert info["missing_cell_types"] == ["K562"]
    assert info["dropped"]["sets_of_unknown_cell_types"] == 2
    table["cell_type"] += "x"
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r"no cell type of this table is in the atlas; did you"):
        build(chip, path)


def test_an_empty_peak_file_or_a_repeated_set_is_an_error(chip: Chip) -> None:
    path = chip.write()
    with pytest.raises(InputError, match="table and peak files differ in number"):
        build(chip, path, extra=["a"])
    text = path.read_text()
    path.write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match="repeats line 2"):
        build(chip, path)
    path.write_text(text)
    (chip.folder / "CTCF.HSC.narrowPeak").write_text("")
    with pytest.raises(InputError, match=r"CTCF\.HSC\.narrowPeak: has no peak"):
        build(chip, path)


def test_oracle_joins_on_the_centre(chip: Chip, tmp_path: Path) -> None:
    regions = chip.toy.regions
    rows = []
    for (tf, cell), bound in chip.bound.items():
        if tf == "SPI1" and cell == "Ery":
            continue
        for r in range(0, len(regions), 2):
            start = regions["start"][r] - 60
            rows.append(
                (regions["contig"][r], start, start + 500, tf, cell, 0.2 + 0.6 * (r in bound))
            )
    columns = ["contig", "start", "end", "tf", "cell_type", "probability"]
    truth = tmp_path / "truth.tsv"
    pd.DataFrame(rows, columns=columns).to_csv(truth, sep="\t", index=False)
    frame, _, _ = build(chip, chip.write(), {"negatives": "natural"}, truth=[str(truth)])
    unknown = (frame["group"] == "SPI1") & (frame["cell_type"] == "Ery")
    assert frame.loc[unknown, "oracle"].isna().all()
    known = frame[~unknown]
    expected = np.where(known["region"] % 2, 0.0, 0.2 + 0.6 * known["label"])
    assert np.allclose(known["oracle"], expected)


def test_peaks_of_another_build_are_told(chip: Chip, caplog: pytest.LogCaptureFixture) -> None:
    path = chip.write()
    _, info, _ = build(chip, path)
    assert set(info["summits_in_open_regions"].values()) == {1.0}
    assert "another build" not in caplog.text
    peaks = chip.folder / "CTCF.HSC.narrowPeak"
    away = []
    for number, line in enumerate(peaks.read_text().splitlines()):
        fields = line.split("\t")
        if number % 20:  # between two regions
            fields[1:3] = [str(int(fields[1]) + 360), str(int(fields[2]) + 360)]
        away.append("\t".join(fields))
    peaks.write_text("\n".join(away) + "\n")
    _, info, _ = build(chip, path)
    assert info["summits_in_open_regions"]["CTCF@HSC"] < 0.1
    assert "hardly a summit lies in a region open in the cell type (another build?)" in caplog.text


def test_leak_check_leaves_the_stratum_cell_type(chip: Chip) -> None:
    frame, _, leaks = build(chip, chip.write(), {"negatives": "natural"})
    assert leaks.loc["exact_duplicate", "found"] == 0
    train = set(frame["sequence"][frame["split"] == "train"])
    shared = frame[(frame["split"] == "test") & frame["sequence"].isin(train)]
    assert len(shared) > 0
    assert shared["stratum"].str.startswith("cell-type").all()


def test_regions_and_accessibility_must_belong_together(chip: Chip) -> None:
    path = chip.write()
    table = chip.toy.regions.iloc[:-1]
    table.to_csv(chip.folder / "regions.tsv", sep="\t", index=False)
    with pytest.raises(InputError, match=r"accessibility\.h5ad: does not belong to the regions"):
        build(chip, path)


def test_a_labelled_region_takes_less_than_64_bytes() -> None:
    """690 sets of 150,000 open regions each are 100 million rows: names must not be texts."""
    n = 2000
    regions = pd.DataFrame(
        {"region": np.arange(n), "contig": "chr1", "start": np.arange(n) * 1000, "gc": 0.5,
         "end": np.arange(n) * 1000 + 500, "split": "train"}
    )  # fmt: skip
    atlas = tfbs.Atlas(regions, sp.csr_matrix(np.full((1, n), 0.5)), ("B",), np.array([False]))
    peaks = pd.DataFrame({"contig": ["chr1"], "start": [0], "end": [400], "summit": [200]})
    chip = pd.DataFrame({"tf": ["SPI1"], "cell_type": ["B"], "path": ["x"]})
    chip.attrs["tfs"] = ["SPI1"]
    found = tfbs.label_regions(chip, [peaks], atlas, [{"chr1"}], Counter(), {})
    assert found["label"].sum() == 1
    assert found.memory_usage(deep=True, index=False).sum() < 64 * n + 10_000
