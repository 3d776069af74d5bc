"""Splits: intervals, and what lies wholly inside one."""

import numpy as np
import pytest

from genebert.errors import InputError
from genebert.splits import Interval, Splits, parse_interval

CONFIG = {
    "train": ["chr1", "chr2:100-200"],
    "valid": ["chr2:200-300"],
    "test": ["chr3"],
    "held_out_cell_types": ["B"],
}


def test_parse():
    assert parse_interval("chr1:1,000-2_000", key="k") == Interval("chr1", 1000, 2000)
    assert parse_interval("HLA*01", key="k").contig == "HLA*01"


@pytest.mark.parametrize(
    "text",
    [
        *("chr1:5-5", "chr1:9-5", "chr1:a-b", "chr 1", ":1-2", "chr1:-5"),
        *("chr1:,-,", "chr1:_-5", "chr1:1-_", "chr1:,1-5"),
    ],
)
def test_bad_intervals(text):
    with pytest.raises(InputError):
        parse_interval(text, key="k")


def test_split_of_needs_the_whole_interval():
    splits = Splits.from_config(CONFIG)
    starts = np.array([0, 100, 150, 190, 200, 290, 300])
    ends = starts + 20
    assert splits.split_of("chr2", starts, ends).tolist() == [
        "",
        "train",
        "train",
        "",
        "valid",
        "",
        "",
    ]
    assert splits.split_of("chr1", starts, ends).tolist() == ["train"] * 7
    assert splits.split_of("chr9", starts, ends).tolist() == [""] * 7
    assert splits.held_out_cell_types == ("B",)


def test_overlap_is_refused_also_within_a_split():
    for other in (
        {"valid": ["chr1:5-10"]},
        {"train": ["chr1", "chr1"]},
        {"test": ["chr2:150-160"]},
    ):
        with pytest.raises(InputError, match="again in"):
            Splits.from_config({**CONFIG, **other})
    with pytest.raises(InputError, match="split is empty"):
        Splits.from_config({**CONFIG, "test": []})


def test_contigs_are_checked():
    splits = Splits.from_config(CONFIG)
    splits.check_contigs({"chr1": 5, "chr2": 300, "chr3": 5}, file="g")
    with pytest.raises(InputError, match="ends beyond chr2; found 300; expected at most 299"):
        splits.check_contigs({"chr1": 5, "chr2": 299, "chr3": 5}, file="g")
    with pytest.raises(InputError, match="not in the genome; found 'chr3'"):
        splits.check_contigs({"1": 5, "chr2": 300, "chr3x": 5, "chr1": 9}, file="g")


def test_clipped():
    splits = Splits.from_config(CONFIG)
    assert splits.clipped("train", {"chr1": 50, "chr2": 300}) == [
        Interval("chr1", 0, 50),
        Interval("chr2", 100, 200),
    ]


NAMES = [f"cell{i}" for i in range(20)]


def held(names, seed=1, **change):
    mask = Splits.from_config({**CONFIG, "held_out_cell_types": [], **change}).held_out(
        names, seed, file="cells.tsv"
    )
    return {name for name, out in zip(names, mask, strict=True) if out}


def test_named_cell_types_are_held_out():
    assert held(NAMES) == set()
    assert held(NAMES, held_out_cell_types=["cell3", "cell5"]) == {"cell3", "cell5"}
    with pytest.raises(InputError, match=r"not in cells.tsv; did you mean 'cell3'.*found 'cell_3'"):
        held(NAMES, held_out_cell_types=["cell_3"])
    with pytest.raises(InputError, match="held_out_cell_types: all cell types are held out"):
        held(["a"], held_out_cell_types=["a"])


@pytest.mark.parametrize(
    ("share", "count"), [(0.01, 1), (0.07, 1), (0.1, 2), (0.125, 3), (0.5, 10), (0.95, 19)]
)
def test_a_share_is_drawn(share, count):
    assert len(held(NAMES, held_out_share=share)) == count


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    draws = {frozenset(held(NAMES, seed, held_out_share=0.3)) for seed in range(5)}
    assert len(draws) == 5
    assert held(NAMES[::-1], held_out_share=0.3) == held(NAMES, held_out_share=0.3)
    named = held(NAMES, held_out_share=0.3, held_out_cell_types=["cell3"])
    assert "cell3" in named
    assert len(named) == 7  # in addition to the named ones


def test_bad_shares():
    for share in (-0.1, 1, 1.5):
        with pytest.raises(InputError, match="held_out_share: share is out of range"):
            held(NAMES, held_out_share=share)
    with pytest.raises(InputError, match="held_out_share: all cell types are held out"):
        held(["a"], held_out_share=0.5)
