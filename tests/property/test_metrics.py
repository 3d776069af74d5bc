"""What must hold for metrics of any labels, scores and draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from genebert import metrics

cases = st.lists(
    st.tuples(st.booleans(), st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=40
)


def arrays(case):
    labels, scores, weights = (np.array(values) for values in zip(*case, strict=True))
    return labels.astype(bool), scores.astype(float), weights.astype(float)


@given(cases)
@settings(max_examples=80, deadline=None)
def test_weights_mean_repeated_items(case):
    labels, scores, weights = arrays(case)
    rows = np.repeat(np.arange(len(labels)), weights.astype(int))
    auroc, auprc = metrics.rank_draws(labels, scores, np.arange(len(labels)), weights[:, None])
    if len(set(labels[rows])) < 2:
        assert np.isnan(auroc[0])
        assert np.isnan(auprc[0])
    else:
        assert auroc[0] == pytest.approx(sk.roc_auc_score(labels[rows], scores[rows]))
        assert auprc[0] == pytest.approx(sk.average_precision_score(labels[rows], scores[rows]))


@given(cases, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_items_never_matters(case, random):
    labels, scores, weights = arrays(case)
    order = list(range(len(labels)))
    random.shuffle(order)
    block = np.arange(len(labels))
    for function in (metrics.rank_draws, metrics.site_draws, metrics.calibration_draws):
        before = function(labels, scores, block, weights[:, None])
        after = function(labels[order], scores[order], block, weights[order][:, None])
        assert np.array_equal(before, after, equal_nan=True)  # scores are whole numbers
    one = metrics.best_threshold(labels, scores)
    assert metrics.best_threshold(labels[order], scores[order]) == pytest.approx(one, nan_ok=True)


@given(cases)
@settings(max_examples=50, deadline=None)
def test_auroc_counts_pairs(case):
    labels, scores, _ = arrays(case)
    value = metrics.auroc(labels, scores)
    if labels.all() or not labels.any():
        assert np.isnan(value)
    else:
        pairs = scores[labels][:, None] - scores[~labels][None, :]
        assert abs(value - ((pairs > 0).mean() + 0.5 * (pairs == 0).mean())) < 1e-9


@given(cases)
@settings(max_examples=60, deadline=None)
def test_auroc_is_symmetric_and_free_of_scale(case):
    labels, scores, _ = arrays(case)
    value = metrics.auroc(labels, scores)
    assert metrics.auroc(~labels, -scores) == pytest.approx(value, nan_ok=True)
    assert metrics.auroc(labels, np.exp(scores)) == pytest.approx(value, nan_ok=True)
    assert metrics.auroc(labels, -scores) == pytest.approx(1 - value, nan_ok=True)


@given(cases, st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_within_locus_equals_one_auroc_per_locus(case, loci):
    labels, scores, _ = arrays(case)
    locus = np.arange(len(labels)) % loci
    value, item = metrics.within_locus(labels, scores, locus)
    wanted = {k: metrics.auroc(labels[locus == k], scores[locus == k]) for k in range(loci)}
    wanted = {k: v for k, v in wanted.items() if np.isfinite(v)}
    assert locus[item].tolist() == sorted(wanted)
    assert value == pytest.approx([wanted[k] for k in sorted(wanted)])


@given(st.lists(st.tuples(*[st.integers(0, 30)] * 4), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_threshold_metrics_stay_in_range(cells):
    tp, fp, fn, tn = np.array(cells).T
    keep = (tp + fp + fn + tn) > 0
    for name, value in metrics.threshold_metrics(tp[keep], fp[keep], fn[keep], tn[keep]).items():
        known = value[np.isfinite(value)]
        assert (known >= (-1 if name == "mcc" else 0)).all()
        assert (known <= 1 + 1e-12).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_holm_is_monotone_and_never_smaller(p):
    values = np.array(p)
    adjusted = metrics.holm(values)
    order = np.argsort(values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted >= values - 1e-12).all()
    assert (adjusted <= 1).all()
