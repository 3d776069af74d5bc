"""The ridge finds planted weights and its controls do not; sums over blocks equal the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import region_toys
from scipy import stats

from genebert import metrics, motif_ridge, region_motifs
from genebert.accessibility_head import fit_ridge
from genebert.errors import InputError
from genebert.motif_ridge import Moments, fit_moments, ridge_table

REGIONS, MOTIFS, CELLS = 2500, 15, 6


def planted(folder: Path, *, signal: float = 1.0, **options) -> region_motifs.RegionMotifs:
    """Strength = motif 0 (all cell types) + motif 1 (B only) + noise; closed below 0."""
    rng = np.random.default_rng(0)
    scores = region_toys.random_scores(rng, REGIONS, MOTIFS, 0.3)
    has = scores > 0
    logit = signal * (has[:, [0]] * 1.5 + has[:, [1]] * np.eye(CELLS)[1] * 2) - 0.8
    logit = logit + rng.normal(0, 0.5, (REGIONS, CELLS))
    gc = np.clip(rng.normal(0.5, 0.1, REGIONS), 0, 1)
    strength = np.clip(logit + 0.3, 0, 3) / 3
    return region_toys.read(folder, scores, strength, gc=gc, held_out=(4,), **options)


def by_model(table: pd.DataFrame, target: str, cell: str) -> pd.DataFrame:
    part = table[(table["target"] == target) & (table["cell_type"] == cell)]
    return part.drop_duplicates("model").set_index("model")


def test_planted_weights_are_found_and_controls_show_nothing(tmp_path):
    data = planted(tmp_path)
    table = ridge_table(data, seed=1, draws=300, block_bp=10_000)
    assert list(table.columns) == motif_ridge.COLUMNS
    mean = by_model(table, "strength", "*")
    assert mean.loc["motif", "pearson_low"] > 0.5
    assert mean.loc["motif", "spearman"] > 0.5
    for control in ("gc", "shuffled"):
        assert abs(mean.loc[control, "pearson"]) < 0.1
        assert mean.loc[control, "pearson_high"] < mean.loc["motif", "pearson_low"]
    assert mean.loc["cell-average", "pearson"] > 0.5
    own = by_model(table, "specific", "B")
    assert own.loc["motif", "pearson"] > 0.5
    assert abs(by_model(table, "specific", "C").loc["shuffled", "pearson"]) < 0.15
    assert "cell-average" not in own.index
    truth = data.strength.toarray()[-500:]
    others = truth[:, [1, 2, 3, 5]].mean(axis=1)  # without A itself and without E, held out
    expected = stats.pearsonr(others, truth[:, 0]).statistic
    average = by_model(table, "strength", "A").loc["cell-average", "pearson"]
    assert average == pytest.approx(expected, abs=1e-5)
    assert table.loc[table["cell_type"] == "E", "held_out"].eq(1).all()
    assert by_model(table, "strength", "E").loc["motif", "pearson"] > 0.4
    assert (table["n_train"] == 1500).all()
    assert (table["n_test"] == 500).all()
    assert (table["n_blocks"] == 50).all()
    assert (table["flags"] == "").all()


def test_without_signal_nothing_is_found(tmp_path):
    table = ridge_table(planted(tmp_path, signal=0.0), seed=1, draws=300, block_bp=10_000)
    for target in motif_ridge.TARGETS:
        row = by_model(table, target, "*").loc["motif"]
        assert abs(row["pearson"]) < 0.06


def test_shuffled_rows_show_nothing_even_if_all_motifs_and_strengths_share_one_axis(tmp_path):
    """A wrong pairing in training alone would be right or wrong by the sign of one weight."""
    rng = np.random.default_rng(5)
    rich = rng.random((500, 1))
    scores = (rng.random((500, 30)) < rich) * 7.0
    strength = np.clip(rich + rng.normal(0, 0.1, (500, 4)), 0.01, 1)
    data = region_toys.read(tmp_path, scores, strength)
    for seed in range(6):
        table = by_model(ridge_table(data, seed=seed, draws=2, block_bp=10_000), "strength", "*")
        assert table.loc["motif", "pearson"] > 0.8
        assert abs(table.loc["shuffled", "pearson"]) < 0.35  # 3.5 standard errors of 100 regions


def test_rows_out_of_step_are_seen(tmp_path):
    """What the check is for: motif rows in another order than the regions."""
    data = planted(tmp_path)
    paths = {"matrix": data.path, "accessibility": str(tmp_path / "accessibility.h5ad")}
    right = ridge_table(data, seed=1, draws=10, block_bp=10_000)
    rng = np.random.default_rng(1)
    whole = next(data.scores(np.ones(REGIONS, bool), REGIONS))[1].toarray()
    strength = data.strength.toarray()
    wrong = region_toys.read(tmp_path, rng.permutation(whole), strength, held_out=(4,))
    moved = ridge_table(wrong, seed=1, draws=10, block_bp=10_000)
    assert paths["matrix"] == wrong.path
    assert by_model(right, "strength", "*").loc["motif", "pearson"] > 0.5
    assert by_model(moved, "strength", "*").loc["motif", "pearson"] < 0.1


def test_same_seed_same_table_and_any_block_size(tmp_path, monkeypatch):
    data = planted(tmp_path)
    one = ridge_table(data, seed=1, draws=50, block_bp=10_000)
    pd.testing.assert_frame_equal(one, ridge_table(data, seed=1, draws=50, block_bp=10_000))
    monkeypatch.setattr(region_motifs, "BLOCK", 97)
    small = ridge_table(data, seed=1, draws=50, block_bp=10_000)
    pd.testing.assert_frame_equal(one, small, rtol=1e-3, atol=1e-4)
    other = ridge_table(data, seed=2, draws=50, block_bp=10_000)
    assert not one["pearson_low"].equals(other["pearson_low"])


@pytest.mark.parametrize("rows", [20, 400])
def test_normal_equations_give_the_ridge_of_all_rows_at_once(rows):
    rng = np.random.default_rng(2)
    x, y = rng.random((rows, 30)), rng.random((rows, 3))
    x[:, 4] = 0.25  # constant in training
    y[:, 0] += x[:, 1]
    x_valid, y_valid = rng.random((50, 30)), rng.random((50, 3))
    moments = Moments(30, 3), Moments(30, 3)
    for part in np.array_split(np.arange(rows), 3):
        moments[0].add(x[part], y[part])
    moments[1].add(x_valid, y_valid)
    whole = fit_ridge(x, y, x_valid, y_valid)
    ours = fit_moments(*moments, np.ones(3, dtype=bool))
    assert ours.alpha == whole.alpha
    np.testing.assert_allclose(ours(x_valid), whole(x_valid), atol=1e-8)


def test_held_out_cell_types_have_no_say_in_the_penalty():
    rng = np.random.default_rng(3)
    x, y = rng.random((60, 30)), rng.random((60, 2))
    y[:, 1] = x @ rng.random(30)  # would choose the smallest penalty
    moments = Moments(30, 2), Moments(30, 2)
    for part, sums in zip((slice(0, 40), slice(40, 60)), moments, strict=True):
        sums.add(x[part], y[part])
    assert fit_moments(*moments, np.array([True, False])).alpha > 10
    assert fit_moments(*moments, np.array([False, True])).alpha < 1


def test_motif_rows_are_those_that_pretraining_sees(tmp_path):
    scores, strength = np.zeros((10, 2)), np.full((10, 2), 0.5)
    scores[:, 0] = [2, 8, 4, 0, 0, 0, 6, 4, 16, 4]  # largest in training is 8; 16 lies in test
    scaled = motif_ridge.Scaled.of(region_toys.read(tmp_path, scores, strength))
    rows, x = next(scaled.blocks(np.ones(10, dtype=bool)))
    assert rows.tolist() == list(range(10))
    np.testing.assert_allclose(x[:, 0], [0.25, 1, 0.5, 0, 0, 0, 0.75, 0.5, 1, 0.5])
    assert (x[:, 1] == 0).all()


def test_correlation_of_draws_is_that_of_the_drawn_items():
    rng = np.random.default_rng(4)
    x, block = rng.random(200), np.repeat(np.arange(20), 10)
    y = x + rng.random(200)
    counts = metrics.block_draws(np.zeros(20, dtype=np.int64), 5, rng).astype(float)
    found = motif_ridge.correlation_draws(x, y, block, counts)
    for column in range(6):
        taken = np.repeat(np.arange(200), counts[block, column].astype(int))
        assert found[column] == pytest.approx(stats.pearsonr(x[taken], y[taken]).statistic)
    assert np.isnan(motif_ridge.correlation_draws(np.ones(200), y, block, counts)).all()
    assert np.isnan(motif_ridge.correlation_draws(np.full(200, np.nan), y, block, counts)).all()


def test_mean_of_the_others_leaves_out_the_own_and_the_held_out():
    values = np.array([[1.0, 2.0, 6.0, 100.0]])
    training = np.array([True, True, True, False])
    found = motif_ridge.others_mean(values, training)
    np.testing.assert_allclose(found, [[4.0, 3.5, 1.5, 3.0]])
    alone = motif_ridge.others_mean(values, np.array([True, False, False, False]))
    assert np.isnan(alone[0, 0])
    assert alone[0, 1:].tolist() == [1, 1, 1]


def test_few_blocks_are_flagged(tmp_path):
    table = ridge_table(planted(tmp_path), seed=1, draws=20, block_bp=100_000)
    assert (table["n_blocks"] == 5).all()
    assert (table["flags"] == "few_blocks").all()


def test_what_cannot_be_fitted_is_told(tmp_path):
    scores, strength = np.ones((30, 2)), np.full((30, 2), 0.5)
    data = region_toys.read(tmp_path, scores, strength, held_out=(0, 1))
    with pytest.raises(InputError, match=r"matrix\.h5ad: all cell types are held out"):
        ridge_table(data, seed=1, draws=5, block_bp=1000)
    data = region_toys.read(tmp_path, scores, strength)
    data.regions["split"] = data.regions["split"].astype(object).replace("test", "")
    with pytest.raises(InputError, match=r"has no region of split test.*found '30 regions'"):
        ridge_table(data, seed=1, draws=5, block_bp=1000)
