"""Nested regression of a cohort: right optimum, nothing estimated on the people left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genebert import cohort_models as cm


def make_people(
    n: int = 240, variants: int = 60, causal: int = 6, seed: int = 0, *, structure: float = 0.0
) -> tuple[cm.People, np.ndarray]:
    """Return people whose risk comes from the first ``causal`` variants, and dosages."""
    rng = np.random.default_rng(seed)
    population = rng.integers(0, 2, n)
    frequency = rng.uniform(0.1, 0.5, variants)
    shift = rng.normal(0, structure, variants)
    p = np.clip(frequency + np.outer(population - 0.5, shift), 0.02, 0.98)
    dosage = rng.binomial(2, p).astype(np.int8)
    risk = (dosage[:, :causal] - dosage[:, :causal].mean(axis=0)).sum(axis=1)
    liability = risk + rng.normal(0, 0.7 * risk.std(), n)
    labels = (liability > np.median(liability)).astype(np.int8)
    covariates = np.column_stack([population, rng.normal(50, 10, n)]).astype(np.float32)
    return cm.People(labels, covariates, dosage, np.arange(n)), dosage.astype(np.float32)


def folds(people: cm.People, x: np.ndarray | None, count: int = 5) -> list[cm.Fold]:
    outer = cm.stratified_folds(people.labels, people.cluster, count, [3])
    return cm.make_folds(x, people, outer)


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
def test_both_forms_equal_scikit_learn(strength: float) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 30))
    y = (x[:, 0] + rng.normal(size=80) > 0).astype(float)
    model = LogisticRegression(C=strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    expected = model.fit(x, y).decision_function(x)
    kernel = strength * x @ x.T
    a = cm.kernel_logistic(kernel, y)
    np.testing.assert_allclose(kernel @ a, expected, rtol=1e-3, atol=1e-3)
    warm = cm.kernel_logistic(kernel, y, start=np.full(80, 0.3))
    np.testing.assert_allclose(kernel @ warm, kernel @ a, atol=1e-3)
    scaled = np.sqrt(strength) * x
    w = cm.feature_logistic(scaled, y)
    np.testing.assert_allclose(scaled @ w, expected, rtol=1e-3, atol=1e-3)
    warm = cm.feature_logistic(scaled, y, start=np.full(30, 0.3))
    np.testing.assert_allclose(scaled @ warm, scaled @ w, atol=1e-3)


def test_few_features_are_fitted_as_their_inner_products_are() -> None:
    people, x = make_people()
    fold = folds(people, x)[0]
    choice = cm.Choice(variance=0.7)
    few = fold.genetic(choice, fold.train, fold.y)
    assert few is not None
    assert not few.is_gram
    odds, _ = fold.predict(fold.train, fold.out, choice, few, fold.y)
    dual, _ = fold.predict(fold.train, fold.out, choice, cm.Genetic(few.gram(), True), fold.y)
    np.testing.assert_allclose(odds, dual, rtol=1e-3, atol=1e-3)
    many = cm.Genetic.of(np.tile(x, 3), fold.train)  # 180 features of 192 people
    assert many.is_gram
    np.testing.assert_allclose(np.diag(many.matrix)[fold.train].mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(np.diag(few.gram())[fold.train].mean(), 1, rtol=1e-5)


def test_folds_are_stratified_and_seeded() -> None:
    labels = np.repeat([0, 1], [50, 23]).astype(np.int8)
    alone = np.arange(73)
    found = cm.stratified_folds(labels, alone, 5, [1])
    for value in (0, 1):
        counts = np.bincount(found[labels == value], minlength=5)
        assert np.ptp(counts) <= 1
    np.testing.assert_array_equal(found, cm.stratified_folds(labels, alone, 5, [1]))
    assert (found != cm.stratified_folds(labels, alone, 5, [2])).any()


def test_folds_without_relatives_are_dealt_one_after_the_other() -> None:
    labels = (np.random.default_rng(6).random(101) < 0.3).astype(np.int8)
    for folds in (2, 3, 5):
        order = np.random.default_rng([4]).permutation(101)
        order = order[np.argsort(labels[order], kind="stable")]
        dealt = np.empty(101, dtype=int)
        dealt[order] = np.arange(101) % folds
        np.testing.assert_array_equal(
            cm.stratified_folds(labels, np.arange(101)[::-1], folds, [4]), dealt
        )


def test_relatives_share_a_fold_and_folds_stay_balanced() -> None:
    rng = np.random.default_rng(7)
    labels = (rng.random(300) < 0.4).astype(np.int8)
    cluster = np.concatenate([np.repeat(np.arange(30), 3), np.repeat(30, 12), np.arange(31, 229)])
    cluster = rng.permutation(cluster)
    found = cm.stratified_folds(labels, cluster, 5, [1])
    for number in np.unique(cluster):
        assert len(np.unique(found[cluster == number])) == 1
    for value in (0, 1):
        assert np.ptp(np.bincount(found[labels == value], minlength=5)) <= 2
    assert (found != cm.stratified_folds(labels, cluster, 5, [2])).any()


def test_as_many_clusters_as_folds_can_be_fitted() -> None:
    people, x = make_people(n=120)
    few = np.repeat(np.arange(5), [60, 30, 20, 5, 5])
    together = replace(people, cluster=few)
    assert np.isfinite(cm.nested(folds(together, x), [1]).test).all()


def test_copies_of_people_are_no_knowledge() -> None:
    """A quarter of a cohort whose genotypes mean nothing stands in it twice."""
    areas = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        dosage = rng.binomial(2, rng.uniform(0.1, 0.5, 300), (200, 300)).astype(np.int8)
        source = np.concatenate([np.arange(200), np.arange(66)])
        labels, alone = rng.integers(0, 2, 200).astype(np.int8)[source], np.arange(266)
        people = cm.People(labels, np.zeros((266, 0), np.float32), dosage[source], source)
        x = people.dosage.astype(np.float32)
        for name, cluster in (("kept together", source), ("ignored", alone)):
            result = cm.nested(folds(replace(people, cluster=cluster), x), [1])
            areas.setdefault(name, []).append(cm.auroc(labels, result.test))
            chosen = cm.auroc(labels, result.valid)  # copies in two inner folds choose as wrongly
            areas.setdefault(f"{name}, inner", []).append(chosen)
    mean = {name: np.mean(values) for name, values in areas.items()}
    assert mean["ignored"] > 0.6
    assert mean["ignored, inner"] > 0.6
    assert mean["kept together"] < 0.55
    assert mean["kept together, inner"] < 0.57


def test_relatives_of_people_left_out_are_dropped_from_training() -> None:
    population = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    cluster = np.array([0, 1, 2, 0, 4, 4, 2, 7])
    parts = cm.left_out(population, cluster)
    assert [out.tolist() for _, out in parts] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [train.tolist() for train, _ in parts] == [[4, 5, 7], [1, 2, 6, 7], [0, 1, 3, 4, 5]]
    labels = np.array([0, 1] * 4, dtype=np.int8)
    people = cm.People(labels, np.zeros((8, 0), np.float32), np.zeros((8, 0), np.int8), cluster)
    assert not cm.can_leave_out(population, people)  # two clusters for three inner folds
    assert cm.can_leave_out(population, replace(people, cluster=np.arange(8)))
    assert not cm.can_leave_out(np.zeros(8, dtype=int), people)


def test_a_cluster_of_all_populations_has_no_inner_score() -> None:
    people, x = make_people()
    population = people.covariates[:, 0].astype(int)
    cluster = people.cluster.copy()
    pair = [np.flatnonzero(population == k)[0] for k in (0, 1)]
    cluster[pair] = 0
    people = replace(people, cluster=cluster)
    result = cm.nested(cm.make_folds(x, people, population), [1], centre=True)
    assert np.flatnonzero(np.isnan(result.valid)).tolist() == sorted(pair)
    assert np.isfinite(result.test).all()


def test_calls_missing_in_cases_are_no_knowledge() -> None:
    """Genotypes mean nothing, but calls of cases are missing more often."""
    areas = {"read as reference": [], "missing": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = (np.arange(300) % 2).astype(np.int8)
        haplotypes = rng.random((300, 2, 250)) < rng.uniform(0.05, 0.5, 250)
        missing = rng.random((300, 250)) < np.where(labels == 1, 0.1, 0)[:, None]
        dosage = np.where(missing, -1, haplotypes.sum(axis=1)).astype(np.int8)
        people = cm.People(labels, np.zeros((300, 0), np.float32), dosage, np.arange(300))
        # two sequences of every element: the reference and the alternative
        rows = np.concatenate([np.zeros(250), rng.normal(size=250)])[:, None]
        carried = np.where(missing[:, None], 0, haplotypes) * 250 + np.arange(250)
        for name, unknown in (("read as reference", np.zeros_like(missing)), ("missing", missing)):
            x = cm.haplotype_features(rows, carried, np.arange(250), unknown)
            areas[name].append(cm.auroc(labels, cm.nested(folds(people, x), [1]).test))
    assert np.mean(areas["read as reference"]) > 0.6
    assert np.mean(areas["missing"]) < 0.55


def test_principal_components_find_the_population_in_people_left_out() -> None:
    people, _ = make_people(structure=0.25)
    train, out = np.arange(160), np.arange(160, 240)
    first = cm.principal_components(people.dosage, train, 3)[:, 0]
    assert abs(np.corrcoef(first[out], people.covariates[out, 0])[0, 1]) > 0.8


def test_principal_components_equal_scikit_learn_and_ignore_who_is_left_out() -> None:
    from sklearn.decomposition import PCA

    people, _ = make_people()
    train = np.arange(150)
    found = cm.principal_components(people.dosage, train, 4)
    p = people.dosage[train].mean(axis=0) / 2
    z = (people.dosage - 2 * p) / np.sqrt(p * (1 - p))
    expected = PCA(4, svd_solver="full").fit(z[train]).transform(z)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-2, atol=1e-2)
    changed = people.dosage.copy()
    changed[200:] = 2
    again = cm.principal_components(changed, train, 4)
    np.testing.assert_allclose(again[:200], found[:200], atol=1e-9)
    assert cm.principal_components(people.dosage, train, 10).shape == (240, 6)
    assert cm.principal_components(people.dosage[:, :9], train, 10).shape == (240, 0)


def test_missing_dosages_get_the_mean_of_the_training_people() -> None:
    dosage = np.array([[0], [2], [-1], [2], [-1]], dtype=np.int8)
    assert cm.fill_missing(dosage, np.arange(3))[:, 0].tolist() == [0, 2, 1, 2, 1]
    x = np.array([[0.0], [2], [np.nan], [2], [np.nan]] * 5, dtype=np.float32)
    train = np.arange(20)
    out = cm.prepare(x, train, per_feature=False)
    assert out[[2, 4], 0].tolist() == [0, 0]
    assert out[0, 0] == pytest.approx(-4 / 3)
    unknown = np.full_like(x, np.nan)  # to everybody, and to those in training
    assert cm.prepare(unknown, train, per_feature=True).shape == (25, 0)
    unknown[20:] = 1
    found = cm.prepare(np.hstack([x, unknown]), train, per_feature=True)
    assert found.shape == (25, 1)
    assert np.isfinite(found).all()


def test_rare_features_are_left_out_by_their_carriers_in_training() -> None:
    x = np.zeros((40, 3), dtype=np.float32)
    x[: cm.MIN_CARRIERS, 0] = 1
    x[: cm.MIN_CARRIERS - 1, 1] = 1
    x[30:, 2] = 1  # carriers are all left out
    assert cm.prepare(x, np.arange(30), per_feature=True).shape == (40, 1)


def test_screening_finds_the_causal_features() -> None:
    people, x = make_people(n=600)
    rows = np.arange(600)
    scaled = cm.prepare(x, rows, per_feature=True)
    assert set(range(6)) <= set(cm.screen(scaled, people.labels.astype(float), rows, 12).tolist())


def test_dosages_predict_and_covariates_do_not() -> None:
    people, x = make_people()
    with_genotypes = cm.nested(folds(people, x), [1])
    without = cm.nested(folds(people, None), [1])
    assert cm.auroc(people.labels, with_genotypes.test) > 0.7
    assert cm.auroc(people.labels, without.test) < 0.62
    assert all(choice == cm.Choice() for choice in without.chosen)
    assert np.isfinite(with_genotypes.valid).all()


def test_covariates_know_nothing_of_causal_variants() -> None:
    """Shuffling single variants between people of a fold changes nothing but the PCs."""
    people, _ = make_people(variants=1, causal=1)
    constant = replace(people, dosage=np.zeros_like(people.dosage))
    rare = people.dosage.copy()
    rare[:] = 0
    rare[:4] = 1  # below the burden filter: no PC either
    a = cm.nested(folds(constant, None), [1]).test
    b = cm.nested(folds(replace(people, dosage=rare), None), [1]).test
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_no_label_or_genotype_of_people_left_out_is_used() -> None:
    people, x = make_people()
    outer = cm.stratified_folds(people.labels, people.cluster, 5, [3])
    out = np.flatnonzero(outer == 2)
    first = cm.nested(cm.make_folds(x, people, outer), [1])
    labels = people.labels.copy()
    labels[out] = 1 - labels[out]
    other = cm.nested(cm.make_folds(x, replace(people, labels=labels), outer), [1])
    np.testing.assert_array_equal(other.test[out], first.test[out])
    assert (other.test[outer == 1] != first.test[outer == 1]).any()
    # one person's genotypes move that person's score only
    changed, dosage = x.copy(), people.dosage.copy()
    changed[out[0]], dosage[out[0]] = 2, 2
    moved = cm.nested(cm.make_folds(changed, replace(people, dosage=dosage), outer), [1])
    np.testing.assert_allclose(moved.test[out[1:]], first.test[out[1:]], atol=1e-6)
    assert moved.test[out[0]] != first.test[out[0]]


def test_shuffled_labels_include_chance_and_a_leak_would_show() -> None:
    people, x = make_people()
    control = cm.permutation_control(folds(people, x), [5])
    assert control["low"] < 0.5 < control["high"]
    assert control["high"] < 0.65
    assert cm.auroc(people.labels, cm.nested(folds(people, x), [1]).test) > control["high"]


def test_many_labellings_at_once_are_the_same_regressions() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(80, 30))
    kernel, y = 2 * x @ x.T / 30 + 25, (rng.random((80, 6)) < 0.3).astype(float)
    found = cm.kernel_logistic_columns(kernel, y, tolerance=1e-8)
    for k in range(6):
        wanted = kernel @ cm.kernel_logistic(kernel, y[:, k], tolerance=1e-8)
        np.testing.assert_allclose(kernel @ found[:, k], wanted, atol=1e-4)


def test_a_leak_in_the_tuning_shows_in_the_tuned_shuffles_alone() -> None:
    """Screening on everybody is chosen by the inner folds, which it deceives as well."""
    people, x = make_people(n=120, variants=300)
    control = cm.permutation_control(folds(people, x), [5], 50)
    assert control["tuned_low"] < 0.5 < control["tuned_high"]
    screen = cm.screen
    with pytest.MonkeyPatch.context() as patch:
        everybody = np.arange(120)
        patch.setattr(cm, "screen", lambda x, y, _, keep: screen(x, y, everybody, keep))
        leaking = cm.permutation_control(folds(people, x), [5], 50)
    assert leaking["tuned_low"] > 0.5
    assert leaking["low"] == control["low"] < 0.5 < leaking["high"]


def test_the_seed_decides_all() -> None:
    people, x = make_people(n=120)
    first, again = (cm.nested(folds(people, x, 3), [1]) for _ in range(2))
    np.testing.assert_array_equal(first.test, again.test)
    assert first.chosen == again.chosen


def test_populations_left_out_are_centred() -> None:
    people, x = make_people(structure=0.2)
    population = people.covariates[:, 0].astype(int)
    result = cm.nested(cm.make_folds(x, people, population), [1], centre=True)
    odds = np.log(result.test / (1 - result.test))
    for k in (0, 1):
        assert odds[population == k].mean() == pytest.approx(0, abs=1e-6)
        assert cm.auroc(people.labels[population == k], result.test[population == k]) > 0.65
        inner = np.log(result.valid / (1 - result.valid))[population == k]
        assert inner.mean() == pytest.approx(0, abs=1e-6)  # thresholds are of the same scale


def test_shuffled_labels_are_not_below_chance() -> None:
    """Folds that balance the true labels would tell shuffled ones, were those drawn over folds."""
    people, _ = make_people(n=200)
    found = [cm.permutation_control(folds(people, None), [seed], 40)["auroc"] for seed in range(3)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_haplotype_features_add_both_copies() -> None:
    rows = np.array([[0.0, 1], [2, 1], [5, 5], [5, 8]])
    hap_index = np.array([[[0, 2], [1, 3]], [[1, 2], [1, 2]]], dtype=np.int32)  # [n, 2, E]
    missing = np.zeros((2, 2), dtype=bool)
    reference = np.array([0, 2], dtype=np.int32)
    found = cm.haplotype_features(rows, hap_index, reference, missing)
    assert found.tolist() == [[2, 0, 0, 3], [4, 0, 0, 0]]
    missing[1, 0] = True
    found = cm.haplotype_features(rows, hap_index, reference, missing)
    np.testing.assert_array_equal(found, [[2, 0, 0, 3], [np.nan, np.nan, 0, 0]])


def test_reduced_columns_are_the_axes_of_the_regions() -> None:
    rng = np.random.default_rng(1)
    axis = rng.normal(size=20)
    regions = 3 + np.outer(rng.normal(size=50), axis) + rng.normal(0, 1e-3, (50, 20))
    rows = np.outer(rng.normal(size=30), axis)
    found = cm.reduce_columns(rows, regions, 1)
    assert found.shape == (30, 1)
    assert (found**2).sum() == pytest.approx((rows**2).sum(), rel=1e-3)
    np.testing.assert_array_equal(cm.reduce_columns(rows[:, :8], regions[:, :8]), rows[:, :8])


def test_inner_scores_are_of_people_left_out_too() -> None:
    people, x = make_people()
    noise = np.random.default_rng(8).permutation(people.labels)
    fold = folds(replace(people, labels=noise), x)[0]
    for variance in (0.0, 8.0):
        one = [cm.Choice(), cm.Choice(variance)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cm, "grid", lambda _, one=one: one[-1:])
            _, scores = cm.tune(fold, [1])
        assert np.isnan(scores[fold.out]).all()
        assert 0.3 < cm.auroc(noise[fold.train], scores[fold.train]) < 0.65
