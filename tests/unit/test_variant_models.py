"""Supervised variants: the chromosome that is scored is never trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from genebert import variant_models as vm
from genebert.metrics import auroc


def make_frame(n: int = 240, contigs: int = 4, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return variants whose label depends on the first feature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    label = (x[:, 0] + 0.3 * rng.normal(size=n) > 0.8).astype(float)
    frame = pd.DataFrame(
        {
            "item": [f"v{i}" for i in range(n)],
            "contig": [f"chr{i % contigs + 1}" for i in range(n)],
            "position": np.arange(n) * 500,
            "label": label,
        }
    )
    return frame, x


def problem(frame: pd.DataFrame, **info: object) -> vm.Problem:
    return vm.Problem.of(frame, {"block_bp": 1000, "label": "binary", **info}, 1)


def test_chromosomes_are_left_out_and_the_signal_is_found() -> None:
    frame, x = make_frame()
    task = problem(frame)
    assert task.left_out == "chromosome"
    assert len(np.unique(task.fold)) == 4
    found = vm.leave_out(task, vm.Features(x))
    assert auroc(task.y, found.test) > 0.9
    assert auroc(task.y, found.valid) > 0.9
    assert ((found.test > 0) & (found.test < 1)).all()


def test_an_unknown_value_is_the_mean_of_the_training_variants() -> None:
    plain = np.array([[1.0], [3.0], [np.nan], [100.0]])
    found = vm.Features(plain).matrix(np.array([0, 1, 2]))
    np.testing.assert_allclose(found[:3, 0], [-(1.5**0.5), 1.5**0.5, 0])
    nothing = vm.Features(np.full((4, 1), np.nan)).matrix(np.array([0, 1]))
    np.testing.assert_array_equal(nothing, 0)


def test_elements_are_left_out_as_a_whole_where_one_chromosome_has_all() -> None:
    frame, x = make_frame(contigs=1)
    frame["element"] = np.arange(len(frame)) % 3
    task = problem(frame, block_bp=10)
    assert task.left_out == "element"
    assert (frame.groupby("element")["item"].count() == np.bincount(task.fold)).all()
    assert (pd.Series(task.fold).groupby(frame["element"]).nunique() == 1).all()
    assert auroc(task.y, vm.leave_out(task, vm.Features(x)).test) > 0.9
    many = frame.assign(element=np.arange(len(frame)) // 4)
    assert len(np.unique(problem(many).fold)) == vm.ELEMENT_FOLDS
    assert problem(frame.assign(element=-1)).left_out == "block"


def test_labels_and_features_of_the_scored_chromosome_are_never_used() -> None:
    frame, x = make_frame()
    rng = np.random.default_rng(1)
    embedding = rng.normal(size=(len(x), 30))
    first = vm.leave_out(problem(frame), vm.Features(x, embedding))
    here = (frame["contig"] == "chr3").to_numpy()
    flipped = frame.assign(label=np.where(here, 1 - frame["label"], frame["label"]))
    # keep the overall share of positives, the one number that all variants share
    task = problem(flipped)
    other = vm.leave_out(task, vm.Features(x, embedding))
    order = np.argsort(first.test[here])
    assert (np.argsort(other.test[here]) == order).all()
    assert (np.argsort(other.test[~here]) != np.argsort(first.test[~here])).any()
    # features of one variant there move that variant only
    row = np.flatnonzero(here)[0]
    y, moved = embedding.copy(), x.copy()
    y[row], moved[row] = 100, 100
    again = vm.leave_out(problem(frame), vm.Features(moved, y))
    rest = np.setdiff1d(np.flatnonzero(here), [row])
    np.testing.assert_allclose(again.test[rest], first.test[rest], atol=1e-12)


def test_shares_that_differ_between_chromosomes_do_not_rank() -> None:
    """With no signal, a model that fits the intercept would rank chromosomes upside down."""
    rng = np.random.default_rng(2)
    frame, _ = make_frame(400)
    share = frame["contig"].map({"chr1": 0.1, "chr2": 0.3, "chr3": 0.5, "chr4": 0.7})
    frame["label"] = (rng.random(400) < share).astype(float)
    found = vm.leave_out(problem(frame), vm.Features(rng.normal(size=(400, 2))))
    assert 0.4 < auroc(frame["label"].to_numpy(), found.test) < 0.6


def test_a_matched_group_trains_as_a_whole_or_not_at_all() -> None:
    frame, _ = make_frame(40)
    frame["match"] = [str(i // 10) if i < 30 else "" for i in range(40)]
    frame["label"] = (np.arange(40) % 10 == 0).astype(float)
    task = problem(frame)
    here = (frame["contig"] == "chr1").to_numpy()  # 0, 4, 8 ...: positives of groups 0 and 2
    training, weights = task.training(here)
    assert not set(training.tolist()) & {*np.flatnonzero(here), *range(10), *range(20, 30)}
    assert set(training.tolist()) == {
        10, 11, 13, 14, 15, 17, 18, 19, 30, 31, 33, 34, 35, 37, 38, 39
    }  # fmt: skip
    # seven of the nine negatives of group 1 are left
    assert weights[10] == weights[31] == 1
    assert weights[11] == pytest.approx(9 / 7)


@pytest.mark.parametrize("within", [True, False], ids=["same chromosome", "any chromosome"])
def test_what_negatives_were_matched_on_does_not_predict(within: bool) -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(60), 10)
    kind = rng.normal(size=(60, 8))  # what a positive shares with its nine negatives
    contig = rng.integers(1, 5, 60)[group] if within else rng.integers(1, 5, 600)
    frame = pd.DataFrame(
        {
            "item": [f"v{i}" for i in range(600)], "contig": [f"chr{c}" for c in contig],
            "position": np.arange(600), "label": (np.arange(600) % 10 == 0).astype(float),
            "match": group.astype(str),
        }
    )  # fmt: skip
    found = vm.leave_out(problem(frame), vm.Features(kind[group]))
    assert 0.42 < auroc(frame["label"].to_numpy(), found.test) < 0.58
    if not within:  # the test would see it: without the groups it is far off
        found = vm.leave_out(problem(frame.drop(columns="match")), vm.Features(kind[group]))
        assert auroc(frame["label"].to_numpy(), found.test) < 0.4


def test_blocks_where_one_chromosome_has_all() -> None:
    frame, x = make_frame(contigs=1)
    task = problem(frame, block_bp=10_000)
    assert task.left_out == "block"
    blocks = pd.DataFrame({"block": frame["position"] // 10_000, "fold": task.fold})
    assert (blocks.groupby("block")["fold"].nunique() == 1).all()
    assert blocks["fold"].nunique() == 5
    assert auroc(task.y, vm.leave_out(task, vm.Features(x)).test) > 0.9


def test_blocks_where_nearly_all_are_on_one_chromosome() -> None:
    frame, _ = make_frame(contigs=1)
    frame.loc[:3, "contig"] = "chr9"
    assert problem(frame).left_out == "block"
    frame.loc[:30, "contig"] = "chr9"
    assert problem(frame).left_out == "chromosome"


def test_effects_are_regressed() -> None:
    frame, x = make_frame()
    frame["label"] = x[:, 0] * 2 + 1
    found = vm.leave_out(problem(frame, label="effect"), vm.Features(x))
    assert np.corrcoef(found.test, frame["label"])[0, 1] > 0.95


def test_a_constant_feature_gives_all_effects_one_score() -> None:
    """With an intercept of its own a fold would score low just where its effects are high."""
    frame, _ = make_frame()
    frame["label"] = frame["contig"].str[3:].astype(float)
    found = vm.leave_out(problem(frame, label="effect"), vm.Features(np.ones((len(frame), 1))))
    np.testing.assert_array_equal(found.test, frame["label"].mean())
    np.testing.assert_array_equal(found.valid, frame["label"].mean())


def test_effects_that_differ_between_chromosomes_do_not_rank() -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng([9, seed])
        frame, _ = make_frame(400, contigs=8)
        frame["label"] = rng.normal(size=8)[np.arange(400) % 8] + rng.normal(size=400)
        noise = vm.Features(rng.normal(size=(400, 3)))
        score = vm.leave_out(problem(frame, label="effect"), noise).test
        found.append(spearmanr(score, frame["label"]).statistic)
    assert abs(np.mean(found)) < 0.06


def test_components_are_found_on_training_variants_only() -> None:
    _, x = make_frame()
    rng = np.random.default_rng(3)
    reduced = rng.normal(size=(len(x), 40))
    train = np.arange(100)
    first = vm.Features(x, reduced).matrix(train)
    assert first.shape == (240, 5 + 2 * vm.COMPONENTS) == (240, vm.Features(x, reduced).count())
    reduced[100:] *= 50
    np.testing.assert_allclose(vm.Features(x, reduced).matrix(train)[:100], first[:100])
    np.testing.assert_allclose(first[:100].mean(axis=0), 0, atol=1e-9)


def test_deal_keeps_units_together_and_sizes_even() -> None:
    unit = np.repeat(np.arange(12), np.arange(1, 13))
    found = vm.deal(unit, 3, [1])
    assert all(len(np.unique(found[unit == u])) == 1 for u in range(12))
    sizes = np.bincount(found)
    assert sizes.max() - sizes.min() <= 9
    np.testing.assert_array_equal(found, vm.deal(unit, 3, [1]))


def test_sequence_change_merges_strands() -> None:
    found = vm.sequence_change(["AACGA", "TCGTT", "AACGA"], ["AATGA", "TCATT", "AAGAT"])
    np.testing.assert_array_equal(found[0], found[1])  # C>T in ACG, from either strand
    assert found[0, 0] == -1
    assert found[0].sum() == 1  # -1 + triplet + substitution
    assert found[2, -1] == 1  # several bases differ
    assert (found[:, 1:33].sum(axis=1) == 1).all()


@pytest.mark.parametrize("binary", [True, False])
def test_loss_is_smallest_for_the_truth(binary: bool) -> None:
    y = np.array([0.0, 1, 1, 0])
    assert vm.loss(y, y, binary) < vm.loss(y, np.full(4, 0.5), binary) < vm.loss(y, 1 - y, binary)


def test_a_training_part_of_one_class_predicts_the_share() -> None:
    frame, x = make_frame(20)
    task = replace(problem(frame), y=np.zeros(20))
    np.testing.assert_allclose(vm.leave_out(task, vm.Features(x)).test, 1e-6)
