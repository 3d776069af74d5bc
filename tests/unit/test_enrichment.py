"""Enrichment finds a planted motif and nothing else, is not fooled by GC, and equals brute force."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import region_toys
from scipy import stats

from genebert import enrichment, region_motifs
from genebert.enrichment import enrichment_table, gc_strata

CELLS, MOTIFS, REGIONS = 8, 20, 2000


def openness(rng: np.random.Generator, share: float = 0.15) -> np.ndarray:
    opened = rng.random((REGIONS, CELLS)) < share
    opened[np.arange(REGIONS), rng.integers(0, CELLS, REGIONS)] = True
    return opened


def table_of(folder: Path, scores: np.ndarray, opened: np.ndarray, **options) -> pd.DataFrame:
    return enrichment_table(region_toys.read(folder, scores, opened * 0.5, **options))


def test_planted_motif_comes_first_in_its_cell_type_only(tmp_path):
    rng = np.random.default_rng(0)
    opened, scores = openness(rng), region_toys.random_scores(rng, REGIONS, MOTIFS, 0.1)
    planted = opened[:, 2] & (rng.random(REGIONS) < 0.3)
    scores[planted, 7] = 8.0
    table = table_of(tmp_path, scores, opened, held_out=(5,))
    assert len(table) == CELLS * MOTIFS
    best = table[(table["cell_type"] == "C") & (table["rank"] == 1)].iloc[0]
    assert best["motif"] == "M7"
    assert best["log2"] > 1.2
    assert best["q"] < 1e-10
    assert best["score_z"] > 6
    row = table[table["motif"] == "M7"].set_index("cell_type")
    assert row["deviation"].idxmax() == "C"
    assert row.loc["C", "deviation"] > 5 * row.loc["C", "deviation_se"]
    assert (table.loc[table["motif"] != "M7", "q"] > 0.01).all()
    assert table.groupby("cell_type")["held_out"].first().tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert table["cell_type"].drop_duplicates().tolist() == list("ABCDEFGH")
    for _, part in table.groupby("cell_type"):
        assert part["rank"].tolist() == list(range(1, MOTIFS + 1))
        assert part["z"].is_monotonic_decreasing


def test_without_any_effect_p_is_uniform(tmp_path):
    rng = np.random.default_rng(1)
    gc = np.clip(rng.normal(0.5, 0.1, REGIONS), 0, 1)
    opened = openness(rng)
    scores = region_toys.random_scores(rng, REGIONS, 100, 0.15)
    table = table_of(tmp_path, scores, opened, gc=gc)
    p = table["p"].dropna()
    assert len(p) == CELLS * 100
    assert abs((p < 0.05).mean() - 0.05) < 0.02
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (table["q"] > 0.05).all()
    assert abs(table["score_z"].std() - 1) < 0.1
    assert abs((table["deviation"] / table["deviation_se"]).std() - 1) < 0.15


def test_gc_content_alone_is_not_enrichment(tmp_path):
    """Motif and openness both follow GC: strata remove it, one stratum does not."""
    rng = np.random.default_rng(2)
    gc = rng.random(REGIONS)
    opened = openness(rng, 0.1)
    opened[:, 0] = rng.random(REGIONS) < 0.4 * gc
    scores = (rng.random((REGIONS, 1)) < 0.6 * gc[:, None]) * 7.0
    opened[np.arange(REGIONS), rng.integers(1, CELLS, REGIONS)] = True
    data = region_toys.read(tmp_path, scores, opened * 1.0, gc=gc)
    crude = enrichment_table(data, bins=1).set_index("cell_type").loc["A"]
    fair = enrichment_table(data, bins=10).set_index("cell_type").loc["A"]
    assert crude["z"] > 3.5
    assert abs(fair["z"]) < 2.5
    assert abs(fair["log2"]) < 0.4
    assert crude["deviation"] > 0.15
    assert abs(fair["deviation"]) < 0.1


def test_equal_to_one_test_at_a_time(tmp_path, monkeypatch):
    """Sparse sums over blocks against plain loops over strata, cell types and motifs."""
    monkeypatch.setattr(region_motifs, "BLOCK", 70)
    rng = np.random.default_rng(3)
    gc = rng.random(REGIONS).round(2)
    opened, scores = openness(rng), region_toys.random_scores(rng, REGIONS, 3, 0.2)
    table = table_of(tmp_path, scores, opened, gc=gc).set_index(["cell_type", "motif"])
    used = opened.sum(axis=1) < CELLS / 2
    stratum = gc_strata(gc, used)
    pairs = opened.sum(axis=1)
    for c, m in ((0, 0), (3, 2), (7, 1)):
        above = below = excess = variance = expected_pairs = moved = spread = 0.0
        for k in range(10):
            at = stratum == k
            y, x, n = opened[at, c], scores[at, m] > 0, int(at.sum())
            a, b = (y & x).sum(), (y & ~x).sum()
            other, rest = (~y & x).sum(), (~y & ~x).sum()
            above, below = above + a * rest / n, below + b * other / n
            excess += a - (a + b) * (a + other) / n
            variance += stats.hypergeom(n, a + other, a + b).var()
            expected_pairs += y.sum() * (x * pairs[at]).sum() / pairs[at].sum()
            score = scores[at, m].astype(np.float32).astype(float)
            moved += score[y].sum() - y.sum() * score.mean()
            spread += y.sum() * (n - y.sum()) / n * score.var(ddof=1)
        row = table.loc[("ABCDEFGH"[c], f"M{m}")]
        assert row["odds_ratio"] == pytest.approx(above / below)
        assert row["z"] == pytest.approx(excess / np.sqrt(variance))
        assert row["p"] == pytest.approx(2 * NormalDist().cdf(-abs(row["z"])))
        assert row["score_z"] == pytest.approx(moved / np.sqrt(spread))
        both = (opened[used, c] & (scores[used, m] > 0)).sum()
        assert row["n_motif"] == both
        assert row["n_open"] == opened[used, c].sum()
        assert row["deviation"] == pytest.approx(both / expected_pairs - 1)


def test_broad_regions_take_no_part(tmp_path):
    rng = np.random.default_rng(4)
    opened, scores = openness(rng), region_toys.random_scores(rng, REGIONS, 2, 0.2)
    opened[:500] = True
    scores[:500, 0] = 0
    changed = scores.copy()
    changed[:500] = 9.0
    one = table_of(tmp_path, scores, opened)
    (tmp_path / "b").mkdir()
    pd.testing.assert_frame_equal(one, table_of(tmp_path / "b", changed, opened))


def test_too_few_expected_have_no_p_and_come_last(tmp_path):
    rng = np.random.default_rng(5)
    opened, scores = openness(rng), region_toys.random_scores(rng, REGIONS, 4, 0.2)
    scores[:, 1] = 0  # a motif that is nowhere
    scores[:, 3] = 0
    scores[rng.choice(np.flatnonzero(opened.sum(axis=1) < 4), 12, replace=False), 3] = 9.0
    scores[:, 2] = 0
    scores[np.flatnonzero(opened[:, 0])[:2], 2] = 9.0  # twice in A, nowhere else
    part = table_of(tmp_path, scores, opened)
    part = part[part["cell_type"] == "A"].set_index("motif")
    assert part.index[0] == "M0"
    assert part.loc[["M1", "M2", "M3"], ["z", "p", "q", "rank"]].isna().all(axis=None)
    assert np.isnan(part.loc["M1", "odds_ratio"])


def test_nothing_to_compare_gives_an_empty_table(tmp_path):
    scores = np.ones((50, 2))
    table = enrichment_table(region_toys.read(tmp_path, scores, np.ones((50, 2))))
    assert table.empty
    assert list(table.columns) == enrichment.COLUMNS


def test_gc_strata_are_quantiles_of_the_used_regions():
    gc = np.concatenate([np.linspace(0, 1, 100), np.full(50, 9.0)])
    used = np.arange(150) < 100
    stratum = gc_strata(gc, used)
    assert (stratum[100:] == -1).all()
    assert np.bincount(stratum[:100]).tolist() == [10] * 10
    assert set(gc_strata(np.full(20, 0.5), np.ones(20, bool))) == {1}
