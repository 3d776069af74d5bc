"""Metrics against hand-made values, scikit-learn and what a bootstrap has to do."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_toys import top_k
from scipy import stats
from sklearn import metrics as sk

from genebert import metrics

RNG = np.random.default_rng(0)


def weighted_case(n=300, blocks=12, draws=20, decimals=1):
    """Scores with many ties, and block counts of some draws."""
    labels = RNG.random(n) < 0.3
    scores = np.round(RNG.normal(size=n) + labels, decimals)
    block = RNG.integers(0, blocks, n)
    counts = metrics.block_draws(np.zeros(blocks, int), draws, RNG)
    return labels, scores, block, counts


def as_they_are(function, labels, scores, *more):
    """Return a metric of the data as they are, which draws would be drawn from."""
    return function(labels, scores, np.arange(len(labels)), np.ones((len(labels), 1)), *more)


def calibration_error(labels, scores):
    return as_they_are(metrics.calibration_draws, labels, scores)[0]


def test_auroc_and_auprc_by_hand():
    labels, scores = np.array([1, 0, 1, 0], bool), np.array([4.0, 3.0, 2.0, 1.0])
    assert metrics.auroc(labels, scores) == pytest.approx(3 / 4)
    assert metrics.auprc(labels, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.auroc(labels, np.zeros(4)) == pytest.approx(0.5)
    assert metrics.auprc(labels, np.zeros(4)) == pytest.approx(0.5)


def test_macro_is_the_mean_over_groups_or_classes_where_it_is_defined():
    labels, scores = RNG.integers(0, 3, 60), RNG.random((60, 3))
    group = np.array(["b", "a", "c"], dtype=object)[np.arange(60) % 3]
    each = [sk.roc_auc_score(labels == k, scores[:, k]) for k in range(3)]
    assert metrics.macro(metrics.auroc, labels, scores, group) == pytest.approx(np.mean(each))
    yes = (labels == 1) & (group != "c")  # "c" has one class
    each = [sk.roc_auc_score(yes[group == g], scores[group == g, 0]) for g in "ab"]
    found = metrics.macro(metrics.auroc, yes.astype(float), scores[:, :1], group)
    assert found == pytest.approx(np.mean(each))
    assert np.isnan(metrics.macro(metrics.auroc, 0 * yes, scores[:, :1], group))
    assert np.isnan(metrics.macro(metrics.auroc, yes[:0], scores[:0, :1], group[:0]))


@pytest.mark.parametrize("labels", [[True, True], [False, False], []])
def test_one_class_has_no_ranking(labels):
    labels = np.array(labels, bool)
    assert np.isnan(metrics.auroc(labels, np.arange(len(labels), dtype=float)))
    assert np.isnan(metrics.auprc(labels, np.arange(len(labels), dtype=float)))
    assert np.isnan(metrics.best_threshold(labels, np.arange(len(labels), dtype=float)))


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_draws_equal_scikit_learn_on_repeated_items(decimals):
    labels, scores, block, counts = weighted_case(draws=70, decimals=decimals)
    auroc, auprc = metrics.rank_draws(labels, scores, block, counts)
    for draw in range(0, 71, 7):  # more draws than one chunk
        rows = np.repeat(np.arange(len(labels)), counts[block, draw].astype(int))
        assert auroc[draw] == pytest.approx(sk.roc_auc_score(labels[rows], scores[rows]))
        assert auprc[draw] == pytest.approx(sk.average_precision_score(labels[rows], scores[rows]))


def test_a_draw_of_one_class_is_undefined():
    labels, scores = np.array([True, True, False]), np.array([1.0, 2.0, 0.0])
    counts = np.array([[1, 2, 0], [1, 0, 3]], dtype=np.float32)
    auroc, auprc = metrics.rank_draws(labels, scores, np.array([0, 0, 1]), counts)
    assert auroc[0] == auprc[0] == 1
    assert np.isnan(auroc[1:]).all()
    assert np.isnan(auprc[1:]).all()


def test_threshold_metrics_equal_scikit_learn():
    labels, scores, block, counts = weighted_case()
    called = scores > 0.5
    cells = metrics.confusion_draws(labels, called, block, counts)
    ours = metrics.threshold_metrics(*cells)
    for draw in range(counts.shape[1]):
        rows = np.repeat(np.arange(len(labels)), counts[block, draw].astype(int))
        pair = labels[rows], called[rows]
        assert ours["mcc"][draw] == pytest.approx(sk.matthews_corrcoef(*pair))
        assert ours["f1"][draw] == pytest.approx(sk.f1_score(*pair))
        assert ours["accuracy"][draw] == pytest.approx(sk.accuracy_score(*pair))
        assert ours["precision"][draw] == pytest.approx(sk.precision_score(*pair))
        assert ours["recall"][draw] == pytest.approx(sk.recall_score(*pair))


def test_constant_calls_have_mcc_zero_and_one_class_has_none():
    constant = metrics.threshold_metrics(0, 0, 5, 5)
    assert (constant["mcc"], constant["precision"], constant["recall"]) == (0, 0, 0)
    single = metrics.threshold_metrics(4, 0, 1, 0)
    assert np.isnan([single["mcc"], single["f1"], single["recall"]]).all()
    assert single["accuracy"] == pytest.approx(0.8)


def test_best_threshold_is_the_best_of_all():
    labels, scores, _, _ = weighted_case(n=80)
    found = metrics.best_threshold(labels, scores)
    tried = [sk.matthews_corrcoef(labels, scores >= t) for t in np.unique(scores)]
    assert sk.matthews_corrcoef(labels, scores >= found) == pytest.approx(max(tried))
    assert metrics.best_threshold(np.array([0, 0, 1, 1], bool), np.array([0.1, 0.2, 0.6, 0.9])) == (
        pytest.approx(0.4)
    )


def test_multiclass_mcc_equals_scikit_learn():
    labels = RNG.integers(0, 3, 200)
    called = np.where(RNG.random(200) < 0.6, labels, RNG.integers(0, 3, 200))
    confusion = sk.confusion_matrix(labels, called)
    assert metrics.multiclass_mcc(confusion) == pytest.approx(sk.matthews_corrcoef(labels, called))
    assert metrics.multiclass_mcc([[3, 0], [2, 0]]) == 0
    assert np.isnan(metrics.multiclass_mcc([[3, 2], [0, 0]]))


def test_calibration_error_by_hand():
    labels = np.array([0, 1] * 10, bool)
    assert calibration_error(labels, np.full(20, 0.5)) == pytest.approx(0)
    assert calibration_error(labels, np.full(20, 0.8)) == pytest.approx(0.3)
    # tied scores share a bin, in whatever order they come
    assert calibration_error(np.sort(labels), np.full(20, 0.8)) == pytest.approx(0.3)
    scores = np.arange(20) / 20
    mean, share, size = metrics.reliability(labels, scores)
    assert size.tolist() == [2] * 10
    assert share.tolist() == [0.5] * 10
    assert mean[:2] == pytest.approx([0.025, 0.125])


def test_calibrated_scores_have_a_small_error_and_shifted_ones_a_large_one():
    scores = RNG.random(20000)
    labels = RNG.random(20000) < scores
    assert calibration_error(labels, scores) < 0.02
    assert calibration_error(labels, scores**3) > 0.15


def test_top_k():
    def found(labels, scores, missed=0):
        return as_they_are(metrics.site_draws, labels, scores, missed)[2][0]

    labels, scores = np.array([1, 0, 1, 0, 0], bool), np.array([5.0, 4, 3, 2, 1])
    assert found(labels, scores) == pytest.approx(1 / 2)
    assert found(labels, scores, 2) == pytest.approx(2 / 4)  # two sites never scored
    assert found(labels, scores, 7) == pytest.approx(2 / 9)
    assert found(labels, np.zeros(5)) == pytest.approx(2 / 5)
    assert np.isnan(found(np.zeros(3, bool), np.zeros(3)))


def repeated(n_blocks, draws):
    """Return float32[B, 1 + D] counts; the first column is the data as they are."""
    drawn = RNG.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), draws).T
    return np.hstack([np.ones((n_blocks, 1)), drawn]).astype(np.float32)


def test_top_k_of_draws_is_that_of_repeated_items():
    labels, block = RNG.random(60) < 0.3, np.arange(60) // 3
    scores = (labels + RNG.normal(size=60)).round(1)  # with ties
    counts = repeated(20, 30)
    for missed in (0, 7, 100):
        auroc, auprc, found = metrics.site_draws(labels, scores, block, counts, missed)
        for draw in range(31):
            rows = np.repeat(np.arange(60), counts[block, draw].astype(int))
            k = int(labels[rows].sum()) + missed
            assert found[draw] == pytest.approx(top_k(labels[rows], scores[rows], k))
        ranked = metrics.rank_draws(labels, scores, block, counts)
        assert np.array_equal(auroc, ranked[0])
        sites = metrics.block_sums(labels, block, counts)  # missed ones are never found
        np.testing.assert_allclose(auprc, ranked[1] * sites / (sites + missed))
    assert np.isnan(metrics.site_draws(np.zeros(60, bool), scores, block, counts)).all()


def test_calibration_error_of_draws_is_that_of_repeated_items_in_the_same_bins():
    scores, block = RNG.random(80).round(2), np.arange(80) // 4
    labels, counts = RNG.random(80) < scores, repeated(20, 30)
    found = metrics.calibration_draws(labels, scores, block, counts)
    mean, share, size = metrics.reliability(labels, scores)
    assert found[0] == pytest.approx(np.average(np.abs(mean - share), weights=size))
    bins = np.array([(np.sum(scores < s) + np.sum(scores <= s)) / 2 // 8 for s in scores])
    for draw in range(31):
        rows = np.repeat(np.arange(80), counts[block, draw].astype(int))
        error = scores[rows] - labels[rows]
        wanted = sum(abs(error[bins[rows] == k].sum()) for k in range(10)) / len(rows)
        assert found[draw] == pytest.approx(wanted, abs=1e-6)


def test_draws_by_contig_are_those_of_repeated_items():
    contig = np.array(["a", "b", "c"], dtype=object)[np.arange(90) // 30]
    labels, block = (RNG.random(90) < 0.4) & (contig != "c"), np.arange(90) // 5
    scores, counts = (labels + RNG.normal(size=90)).round(1), repeated(18, 30)
    found = metrics.contig_draws(labels, scores, block, contig, counts)
    for draw in range(31):
        rows = np.repeat(np.arange(90), counts[block, draw].astype(int))
        parts = [rows[contig[rows] == name] for name in "abc"]
        parts = [part for part in parts if len(set(labels[part])) == 2]  # "c" has one class
        for values, function in zip(found, (metrics.auroc, metrics.auprc), strict=True):
            each = [function(labels[part], scores[part]) for part in parts]
            wanted = np.average(each, weights=[len(part) for part in parts])
            assert values[draw] == pytest.approx(wanted)
    none = metrics.contig_draws(np.zeros(90, bool), scores, block, contig, counts)
    assert np.isnan(none).all()


def test_correlations():
    effect = RNG.normal(size=40)
    score = effect**3
    spearman, pearson = metrics.correlations(effect, score)
    assert spearman == pytest.approx(1)
    assert pearson == pytest.approx(np.corrcoef(effect, score)[0, 1])
    assert np.isnan(metrics.correlations(effect, np.ones(40))).all()
    assert np.isnan(metrics.correlations(effect[:2], score[:2])).all()


def test_correlations_of_draws_are_those_of_repeated_items():
    effect, block = RNG.normal(size=30).round(1), np.arange(30) // 3  # with ties
    scores = (effect + RNG.normal(size=30)).round(1)
    counts = np.hstack([np.ones((10, 1)), RNG.multinomial(10, np.full(10, 0.1), 20).T])
    found = metrics.correlation_draws(effect, scores, block, counts.astype(np.float32))
    for draw in range(21):
        rows = np.repeat(np.arange(30), counts[block, draw].astype(int))
        wanted = metrics.correlations(effect[rows], scores[rows])
        assert [values[draw] for values in found] == pytest.approx(wanted, abs=1e-6)
    constant = metrics.correlation_draws(effect, np.full(30, 0.1), block, counts)
    assert all(np.isnan(values).all() for values in constant)
    assert np.isnan(metrics.correlation_draws(effect[:2], scores[:2], block[:2], counts)[0]).all()


def test_within_locus_compares_cell_types_at_one_place_only():
    locus = np.repeat([7, 3, 9], [4, 3, 2])
    labels = np.array([1, 1, 0, 0, 0, 0, 1, 1, 1], bool)  # locus 9 has one label only
    scores = np.array([9.0, 1, 5, 5, 3, 3, 3, 0, 1])
    value, item = metrics.within_locus(labels, scores, locus)
    assert value == pytest.approx([0.5, 0.5])  # locus 3: ties; locus 7: two of four pairs
    assert locus[item].tolist() == [3, 7]
    scores[1] = 6
    assert metrics.within_locus(labels, scores, locus)[0] == pytest.approx([0.5, 1.0])


def test_within_locus_of_a_sequence_score_is_one_half():
    locus = np.repeat(np.arange(50), 4)
    labels = RNG.random(200) < 0.5
    value, _ = metrics.within_locus(labels, RNG.normal(size=50)[locus], locus)
    assert (value == 0.5).all()


def test_block_draws_keep_the_size_of_every_part():
    part = np.array([0, 0, 0, 1, 1])
    counts = metrics.block_draws(part, 500, np.random.default_rng(1))
    assert (counts[:, 0] == 1).all()
    assert (counts[:3].sum(axis=0) == 3).all()
    assert (counts[3:].sum(axis=0) == 2).all()
    assert counts[:, 1:].std() > 0.5


def test_seed_draws_pick_pretraining_seeds_then_finetuning_seeds():
    pretrain, finetune = np.repeat([1, 2, 3], 4), np.tile([1, 2, 3, 4], 3)
    uniform = np.random.default_rng(1).random((4000, 7))
    weights = metrics.seed_draws(pretrain, finetune, uniform)
    assert weights.sum(axis=0) == pytest.approx(1)
    assert weights[:, 0] == pytest.approx(1 / 12)
    assert weights.mean(axis=1) == pytest.approx(1 / 12, abs=0.004)
    runs = weights.reshape(3, 4, -1).sum(axis=1)
    assert runs.max() == pytest.approx(1)  # one pre-training seed three times
    # variance of a metric that depends on the pre-training seed alone: that of a mean of three
    effect = np.repeat([-1.0, 0.0, 1.0], 4)
    assert (effect @ weights[:, 1:]).var() == pytest.approx((2 / 3) / 3, rel=0.1)
    # on the fine-tuning seed (the draw of the labels) alone: that of a mean of four, not of twelve
    effect = np.tile([-3.0, -1.0, 1.0, 3.0], 3)
    assert (effect @ weights[:, 1:]).var() == pytest.approx(5 / 4, rel=0.1)


def test_unequal_numbers_of_seeds_weigh_pretraining_seeds_alike():
    pretrain, finetune = np.array([1, 1, 2]), np.array([1, 2, 1])
    weights = metrics.seed_draws(pretrain, finetune, np.random.default_rng(1).random((9, 4)))
    assert weights[:, 0] == pytest.approx([0.25, 0.25, 0.5])


def test_order_of_fits_does_not_matter_for_the_draws_of_seeds():
    uniform = np.random.default_rng(1).random((50, 6))
    pretrain, finetune = np.repeat([1, 2], 3), np.tile([1, 2, 3], 2)
    order = np.random.default_rng(2).permutation(6)
    whole = metrics.seed_draws(pretrain, finetune, uniform)
    assert np.array_equal(
        metrics.seed_draws(pretrain[order], finetune[order], uniform), whole[order]
    )


def test_percentile_interval_needs_defined_draws():
    values = np.arange(101.0)
    assert metrics.percentile_interval(values) == pytest.approx((2.5, 97.5))
    values[:20] = np.nan
    assert np.isnan(metrics.percentile_interval(values)).all()


def test_intervals_cover_the_truth():
    """A mean of block effects: the interval must hold the truth in about 95 % of the cases."""
    rng, blocks, size, held = np.random.default_rng(5), 60, 6, 0
    block = np.repeat(np.arange(blocks), size)
    truth, runs = stats.norm.cdf(1 / np.sqrt(2 * 1.5)), 300
    for _ in range(runs):
        labels = rng.random(blocks * size) < 0.5
        # an effect shared by the block makes items dependent
        effect = rng.normal(0, np.sqrt(0.5), blocks)[block]
        scores = labels + effect + rng.normal(size=blocks * size)
        counts = metrics.block_draws(np.zeros(blocks, int), 200, rng)
        auroc, _ = metrics.rank_draws(labels, scores, block, counts)
        low, high = metrics.percentile_interval(auroc[1:])
        held += low <= truth <= high
    assert 0.90 <= held / runs <= 0.985


def test_paired_difference():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=2001)
    a, b = shared + 1.0, shared + rng.normal(0, 0.1, 2001)
    a[0], b[0] = 1.0, 0.0
    found = metrics.paired_difference(a, b)
    assert found.value == 1
    assert 0.7 < found.low < 0.9 < 1.1 < found.high < 1.3
    assert found.p == pytest.approx(2 / 2001)
    assert found.detectable == pytest.approx(2.80 * 0.1, rel=0.05)
    same = metrics.paired_difference(a, a)
    assert (same.value, same.p, same.detectable) == (0, 1, 0)


def test_holm():
    assert metrics.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert metrics.holm(np.array([0.01, np.nan, 0.6]), 5)[0] == pytest.approx(0.05)
    assert np.isnan(metrics.holm(np.array([0.01, np.nan]))[1])
    assert metrics.holm(np.array([0.9, 0.8]))[0] == 1


def test_mean_defined_skips_what_is_not():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    assert metrics.mean_defined(values)[:2] == pytest.approx([2, 2])
    assert np.isnan(metrics.mean_defined(values)[2])
