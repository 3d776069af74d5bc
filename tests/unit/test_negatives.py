from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from genome_toys import LENGTH, SPLITS, Toy

from genebert.genome import Genome
from genebert.splits import Splits
from genebert.tasks import negatives


def test_like_is_given_to_like() -> None:
    rng = np.random.default_rng(0)
    positive = rng.normal(0.65, 0.05, (300, 1))
    candidate = rng.normal(0.45, 0.1, (20_000, 1))
    chosen = negatives.match(positive, candidate, (0.02,), rng)
    assert (chosen >= 0).all()
    frames = [pd.DataFrame({"gc": x[:, 0]}) for x in (positive, candidate[chosen], candidate[:300])]
    assert abs(negatives.imbalance(*frames[:2], ["gc"])["gc"]) < 0.05
    assert negatives.imbalance(frames[0], frames[2], ["gc"])["gc"] > 1


def test_own_bin_first_then_the_nearest_then_none() -> None:
    candidate = np.array([[0.31], [0.51], [0.95]])
    rng = np.random.default_rng(1)
    positive = np.array([[0.32], [0.42], [0.12]])
    assert negatives.match(positive, candidate, (0.1,), rng, max_radius=1).tolist() == [0, 1, -1]
    assert negatives.match(positive, candidate, (0.1,), rng, max_radius=0).tolist() == [0, -1, -1]
    assert negatives.match(positive[:0], candidate, (0.1,), rng).tolist() == []
    assert negatives.match(positive, candidate[:0], (0.1,), rng).tolist() == [-1] * 3


def test_matches_lean_to_neither_side() -> None:
    """Where the own bin is empty and both neighbours are full, half of them come from each."""
    rng = np.random.default_rng(3)
    candidates = np.repeat([[0.25], [0.45]], 500, axis=0)
    chosen = negatives.match(np.full((400, 1), 0.35), candidates, (0.1,), rng, max_radius=1)
    assert 160 < (chosen < 500).sum() < 240


def test_exact_multiples_of_the_bin_width_fall_on_one_side() -> None:
    rng = np.random.default_rng(1)
    values = np.arange(0, 1, 0.1)[:, None]
    chosen = negatives.match(values, values, (0.1,), rng, max_radius=0)
    assert chosen.tolist() == list(range(10))


def test_windows_stay_in_the_split_and_off_unknown_bases(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.put("chr1", 50_000, "N" * 700)
    toy.put("chr1", 60_000, "acgt" * 100)
    genome = Genome(toy.write().folder / "genome.fa")
    splits = Splits.from_config({**SPLITS, "train": ["chr1:40000-80000"]})
    found = negatives.genomic_windows(genome, splits, "train", 300, np.random.default_rng(2))
    assert (found["contig"] == "chr1").all()
    assert found["start"].min() >= 40_000
    assert found["end"].max() <= 80_000
    assert (found["start"].diff().dropna() >= 150).all()  # they overlap by up to half
    assert not ((found["start"] < 50_700) & (found["end"] > 50_000)).any()
    assert len(found) > 100
    assert found.loc[found["start"].between(60_000, 60_100), "repeat"].max() == 1.0
    first = found.iloc[7]
    codes = genome.codes("chr1", first["start"], first["end"])
    assert first["gc"] == pytest.approx(np.isin(codes, [1, 2]).mean())
    again = negatives.composition(genome, found.iloc[:20])
    pd.testing.assert_frame_equal(again[["gc", "repeat"]], found.iloc[:20][["gc", "repeat"]])
    wide = negatives.genomic_windows(
        genome, Splits.from_config(SPLITS), "test", 300, np.random.default_rng(2), most=40
    )
    assert 38 <= len(wide) <= 41
    assert wide["end"].max() <= LENGTH


def test_substitution_keeps_eight_of_twenty_pieces() -> None:
    rng = np.random.default_rng(5)
    sequence = "".join(rng.choice(list("ACGT"), 300))
    changed = negatives.substitute(sequence, rng)
    assert len(changed) == 300
    same = np.array(list(sequence)) == np.array(list(changed))
    kept = same.reshape(20, 15).all(axis=1).sum()
    assert kept == 8
    assert 0.15 < same[~np.repeat(same.reshape(20, 15).all(axis=1), 15)].mean() < 0.35
    assert len(negatives.substitute(sequence[:70], rng)) == 70


def test_imbalance_of_constants_is_zero() -> None:
    same = pd.DataFrame({"gc": [0.5, 0.5]})
    assert negatives.imbalance(same, same, ["gc"]) == {"gc": 0.0}
    assert negatives.imbalance(same, same[:0], ["gc"]) == {"gc": 0.0}
    few, many = (pd.DataFrame({"gc": np.full(n, 0.1)}) for n in (3, 7))  # means differ by rounding
    assert negatives.imbalance(few, many, ["gc"]) == {"gc": 0.0}
