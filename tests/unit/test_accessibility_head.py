"""The accessibility read-out: the ridge, what it is fitted on, and that it finds a planted site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from task_toys import SomeShards

from genebert import accessibility_head as head
from genebert import features
from genebert.genome import decode, encode, pack

WIDTH, FLANK = 60, 10
SITE = encode("TGACTCAGCA")


def make_shards(n: int = 300, seed: int = 0) -> Any:
    """Regions of which those with the site are open in cell type X; Z is held out."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, WIDTH + 2 * FLANK)).astype(np.uint8)
    has = rng.random(n) < 0.5
    for i in np.flatnonzero(has):
        at = FLANK + int(rng.integers(0, WIDTH - len(SITE)))
        codes[i, at : at + len(SITE)] = SITE
    packed, n_mask = pack(codes)
    cells = [np.flatnonzero(has), np.arange(n), np.flatnonzero(~has), np.arange(0, n, 3)]
    return SomeShards(
        packed=packed, n_mask=n_mask, width=WIDTH, flank=FLANK, codes=codes, has=has,
        start=np.arange(n), split=np.arange(n) % 3, held_out_only=np.arange(n) % 10 == 9,
        held_out=np.array([False, False, True, False]), cell_types=["X", "ALL", "Z", "THIRD"],
        open_regions=np.concatenate(cells).astype(np.int32),
        indptr=np.cumsum([0, *map(len, cells)]), strengths=np.full(sum(map(len, cells)), 0.5),
    )  # fmt: skip


@pytest.fixture(scope="module")
def shards() -> Any:
    return make_shards()


@pytest.mark.parametrize("shape", [(80, 15), (30, 100)], ids=["tall", "wide"])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_ridge_equals_scikit_learn(shape: tuple[int, int], alpha: float) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, shape)
    y = rng.normal(size=(shape[0], 3)) + x[:, :3]
    other = rng.normal(3, 2, (20, shape[1]))
    scaler = StandardScaler().fit(x)
    reference = Ridge(alpha=alpha).fit(scaler.transform(x), y)
    found = head.fit_ridge(x, y, other[:0], y[:0], alphas=[alpha])
    np.testing.assert_allclose(found(other), reference.predict(scaler.transform(other)), atol=1e-8)


def test_the_validation_rows_choose_the_penalty() -> None:
    rng = np.random.default_rng(2)
    x, x_valid = rng.normal(size=(60, 40)), rng.normal(size=(500, 40))
    signal = x[:, :1] * 3
    errors = {}
    for alpha in head.ALPHAS:
        fitted = head.fit_ridge(x, signal, x_valid, x_valid[:, :1] * 3, alphas=[alpha])
        errors[alpha] = np.mean((fitted(x_valid) - x_valid[:, :1] * 3) ** 2)
    chosen = head.fit_ridge(x, signal, x_valid, x_valid[:, :1] * 3).alpha
    assert chosen == min(errors, key=errors.__getitem__)
    noise = head.fit_ridge(x, rng.normal(size=(60, 1)), x_valid, rng.normal(size=(500, 1)))
    assert noise.alpha > chosen


def test_constant_features_are_ignored() -> None:
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    fitted = head.fit_ridge(x, x[:, 1:], x, x[:, 1:], alphas=[1e-6])
    moved = x + np.array([100.0, 0.0])
    np.testing.assert_allclose(fitted(moved), x[:, 1:], atol=1e-3)


def test_only_training_regions_and_cell_types_are_read(shards: Any) -> None:
    data = head.openness(shards, seed=1)
    assert data.cell_types == ("X", "ALL", "THIRD")
    seen = [i for i in range(300) if i % 3 == 0 and i % 10 != 9]
    inner = shards.codes[seen, FLANK : FLANK + WIDTH]
    assert data.train == [decode(codes) for codes in inner]
    np.testing.assert_array_equal(data.y_train[:, 0], shards.has[seen])
    np.testing.assert_array_equal(data.y_train[:, 2], np.ones(len(seen)))
    assert len(data.valid) == len([i for i in range(300) if i % 3 == 1 and i % 10 != 9])


def test_the_limit_draws_regions_with_the_seed(shards: Any) -> None:
    data, again, other = (head.openness(shards, seed, limit=50) for seed in (1, 1, 2))
    assert (len(data.train), len(data.valid)) == (40, 10)
    assert data.train == again.train
    assert data.train != other.train


def test_a_planted_site_is_found_and_its_loss_lowers_the_prediction(shards: Any) -> None:
    def encoder(sequences: Any) -> Any:
        return features.kmer_features(sequences, (5,)).toarray()

    model = head.fit_accessibility(encoder, head.openness(shards, seed=1))
    assert model.valid_auroc > 0.85
    rng = np.random.default_rng(7)
    with_site = rng.integers(0, 4, (20, WIDTH)).astype(np.uint8)
    with_site[:, 20 : 20 + len(SITE)] = SITE
    broken = with_site.copy()
    broken[:, 25] = (broken[:, 25] + 1) % 4
    before, after = ([decode(c) for c in codes] for codes in (with_site, broken))
    change = model(after)[1] - model(before)[1]
    assert change[:, 0].mean() < -0.05
    np.testing.assert_allclose(change[:, 1], 0, atol=1e-6)  # ALL is open everywhere


def test_equal_sequences_are_encoded_once_and_keep_their_order(shards: Any) -> None:
    calls: list[int] = []

    def encoder(sequences: Any) -> Any:
        calls.append(len(sequences))
        return features.gc_features(sequences)

    model = head.fit_accessibility(encoder, head.openness(shards, seed=1))
    calls.clear()
    x, y = model(["GGGG", "AAAA", "GGGG"])
    assert calls == [2]
    assert x[:, 0].tolist() == [1, 0, 1]
    assert y[0].tolist() == y[2].tolist()


def test_mean_auroc_equals_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    y = (rng.random((50, 3)) < 0.4).astype(float)
    y[:, 2] = 1
    score = rng.integers(0, 5, (50, 3)).astype(float)
    expected = np.mean([roc_auc_score(y[:, i], score[:, i]) for i in range(2)])
    assert head.mean_auroc(y, score) == pytest.approx(expected)
    assert np.isnan(head.mean_auroc(y[:, 2:], score[:, 2:]))


def test_cnn_learns_the_site_and_repeats_itself(shards: Any) -> None:
    from genebert.accessibility_cnn import fit_cnn

    data = head.openness(shards, seed=1)
    effort = {"finetune_steps": 60, "finetune_batch": 32, "learning_rates": [3e-3, 1e-7]}
    model = fit_cnn(data, effort, [1, 1])
    again = fit_cnn(data, {**effort, "learning_rates": [3e-3]}, [1, 1])
    assert model.alpha == 3e-3
    assert model.valid_auroc > 0.6
    np.testing.assert_array_equal(model(data.valid)[1], again(data.valid)[1])
    turned = [decode(3 - encode(s)[::-1]) for s in data.valid]
    np.testing.assert_allclose(model(turned)[1], model(data.valid)[1], atol=1e-5)
