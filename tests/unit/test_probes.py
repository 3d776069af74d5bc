"""Probes find what is there, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from genebert import pretraining_evaluation, sampler
from genebert.metrics import auroc
from genebert.plan import Plan
from genebert.population import build_population
from genebert.pretraining_evaluation import FixedSet
from genebert.probes import Pairs, figures, fit_logistic, srm_probes
from genebert.run_figures import negative_figures
from genebert.sampler import N1, N2
from genebert.samples import TRAIN, VALID, Corpus
from pretrain_toys import toy_block, toy_shards, toy_trainer


def test_logistic_regression_finds_the_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 3))
    p = 1 / (1 + np.exp(-(x @ [1.0, -2.0, 0.0] + 0.5)))
    fit = fit_logistic(x, rng.random(4000) < p, ridge=1e-3)
    slopes = fit.weights[:-1] / fit.scale
    assert slopes.tolist() == pytest.approx([1, -2, 0], abs=0.15)
    at_zero = float(fit.logits(np.zeros((1, 3)))[0])
    assert at_zero == pytest.approx(0.5, abs=0.15)


def test_a_constant_feature_does_no_harm():
    x = np.stack([np.ones(100), np.arange(100.0)], axis=1)
    fit = fit_logistic(x, np.arange(100) >= 50)
    assert np.isfinite(fit.logits(x)).all()


def made(rng, n, signal):
    """Make pairs whose label is told by nuisance, context, or the anchor with context or state."""
    matches = rng.random(n) < 0.5
    nuisance, anchor, context = (
        rng.normal(size=(n, 12)),
        rng.normal(size=(n, 4)),
        rng.normal(size=(n, 5)),
    )
    sign, state = np.where(matches, 1.0, -1.0), np.zeros((n, 0))
    if signal == "p0":
        nuisance[:, 3] += sign
    elif signal == "matrix":
        context[:, 0] += sign
    elif signal == "p1":
        context[:, 0] = sign * np.sign(anchor[:, 0]) * 2 + 0.3 * context[:, 0]
    elif signal == "state":
        state = rng.normal(size=(n, 3))
        state[:, 1] = sign * np.sign(anchor[:, 0]) * 2 + 0.3 * state[:, 1]
    contrast = np.ones(n, dtype=np.int64)
    return Pairs(matches, np.arange(n), contrast, nuisance, anchor, context, state)


@pytest.mark.parametrize("signal", ["p0", "matrix", "p1", "state", "none"])
def test_each_probe_finds_its_own_kind_of_signal(signal):
    rng = np.random.default_rng(1)
    found = srm_probes(made(rng, 1500, signal), made(rng, 1500, signal))
    assert set(found) == {"p0:n2", "sequence:n2", "matrix:n2", "p1:n2"}  # no n1 pairs
    for name in ("p0", "sequence", "matrix", "p1"):
        auroc = figures(found[f"{name}:n2"])["auroc"]
        expected = name == signal or (signal in ("matrix", "state") and name == "p1")
        assert (auroc > 0.75) == expected, (name, auroc)
        assert expected or 0.43 < auroc < 0.57


def test_a_weak_shortcut_spread_over_many_features_is_found():
    """400 features that together allow AUROC 0.6: what a fixed, small penalty overlooks."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=400)
    weights *= 0.36 / np.sqrt((weights**2).sum())

    def pairs(n):
        context = rng.normal(size=(n, 400))
        matches = rng.random(n) < 1 / (1 + np.exp(-(context @ weights)))
        contrast, none = np.ones(n, dtype=np.int64), np.zeros((n, 0))
        return Pairs(matches, np.arange(n), contrast, none, none, context, none)

    train, test = pairs(10_000), pairs(10_000)
    found = srm_probes(train, test)["matrix:n2"]
    fixed = fit_logistic(train.context, train.matches).logits(test.context)
    assert figures(found)["auroc"] > 0.55
    assert figures(found)["auroc"] > auroc(test.matches, fixed)
    assert found.fitted == 10_000
    assert found.ridge > 100


def test_probes_are_fitted_on_several_visits_to_a_locus(monkeypatch):
    corpus = Corpus.from_shards(toy_shards())
    plan = Plan.from_pretrain(toy_block(), 1)
    train = build_population(corpus, plan, TRAIN, "training")
    n = train.loci.numel()
    pairs, partners = pretraining_evaluation.probe_training(train)
    assert len(partners.follows) == 2 * pretraining_evaluation.PROBE_EPOCHS * n
    assert len(set(partners.locus.tolist())) <= n
    assert pairs.matches.mean() == 0.5
    monkeypatch.setattr(pretraining_evaluation, "PROBE_VISITS", n // 2)
    assert len(pretraining_evaluation.probe_training(train)[1].follows) == 2 * (n // 2)


def test_the_anchor_alone_tells_nothing_of_the_label():
    corpus = Corpus.from_shards(toy_shards())
    plan = Plan.from_pretrain(toy_block(), 1)
    train, valid = (build_population(corpus, plan, split, "training") for split in (TRAIN, VALID))
    a, _ = pretraining_evaluation.probe_training(train)
    b, partners = FixedSet.of("valid", valid, 100).probe_data()
    found = srm_probes(a, b)
    for contrast in ("n1", "n2"):
        # right and wrong pairs have the same anchors, so the sequence alone is a coin toss
        assert figures(found[f"sequence:{contrast}"])["auroc"] == pytest.approx(0.5, abs=1e-6)
    assert partners.follows.mean() == 0.5
    assert b.matches.mean() == 0.5


def test_the_nuisance_probe_sees_where_the_wrong_matrix_lies():
    """Negatives that are broader than their anchors are told by P0, if the sampler makes them."""
    corpus = Corpus.from_shards(toy_shards(per_contig=300, broad=True))
    plan = Plan.from_pretrain(toy_block(), 1)

    def p0(blind):
        sets = []
        for split in (TRAIN, VALID):
            found = build_population(corpus, plan, split, "training")
            octave = torch.zeros_like(found.octave) if blind else found.octave
            sets.append(replace(found, octave=octave))
        test, _ = FixedSet.of("valid", sets[1], 1000).probe_data()
        train, _ = pretraining_evaluation.probe_training(sets[0])
        return figures(srm_probes(train, test)["p0:n1"])["auroc"]

    assert p0(blind=True) > 0.6
    assert p0(blind=False) < 0.56


def test_a_model_that_judges_matrices_alone_has_as_much_beside_foreign_sequences(monkeypatch):
    trainer = toy_trainer()
    valid = build_population(trainer.sampler.corpus, trainer.sampler.plan, VALID, "training")
    fixed = FixedSet.of("valid", valid, 40)
    answers = pretraining_evaluation.ask(trainer.losses, fixed)
    for contrast, pair in answers.match.items():
        right, wrong = answers.foreign[contrast]
        assert len(right) == len(pair[0]) == len(wrong) > 5
        assert not np.allclose(right, pair[0])
    without = pretraining_evaluation.ask(
        trainer.losses, replace(fixed, pair_loci=fixed.pair_loci[:0])
    )
    assert [len(x) for x in (*without.match[N2], *without.foreign[N2])] == [0, 0, 0, 0]
    monkeypatch.setattr(trainer.model.srm, "forward", lambda e_BD, r_BD: r_BD[:, 0])
    answers = pretraining_evaluation.ask(trainer.losses, fixed)
    for contrast, pair in answers.match.items():
        np.testing.assert_array_equal(np.stack(answers.foreign[contrast]), np.stack(pair))


def test_how_well_negatives_are_matched_is_told_as_it_is(monkeypatch):
    shards = toy_shards()
    plan = Plan.from_pretrain(toy_block(), 1)
    valid = build_population(Corpus.from_shards(shards), plan, VALID, "training")
    fixed = FixedSet.of("valid", valid, 100)

    def counted():
        """All alike; GC within 2 and 5 %; same breadth."""
        out = []
        bins_of = {"ngsp": (valid.breadth_bin,), "srm": (valid.octave, valid.motif_bin)}
        for objective, bins in bins_of.items():
            total = np.zeros(4)
            for true, false in zip(fixed.chunks(N1), fixed.chunks(N1, follows=False), strict=True):
                a, b = (true.partner, false.partner) if objective == "ngsp" else true.place.chunk(2)
                if objective == "srm":
                    a, b = (x[true.contrast == N1] for x in (a, b))
                gc = np.abs(shards.gc[a] - shards.gc[b])
                same = [(bin_[a] == bin_[b]).numpy() for bin_ in bins]
                every = (gc <= 0.02) & np.all(same, axis=0)
                total += [every.sum(), (gc <= 0.02).sum(), (gc <= 0.05).sum(), same[0].sum()]
            out.append((objective, total.tolist()))
        return dict(out)

    def told():
        return {
            name: [round(row["value"] * len(tier)) for row in negative_figures(name, "", tier)]
            for name, tier in fixed.mismatches().items()
        }

    matched = told()
    assert matched == counted()
    monkeypatch.setattr(sampler, "best_candidate", lambda tier: (tier[:, 0] * 0, tier[:, 0] % 4))
    assert told() == counted()  # the first candidates, however they are
    assert all(told()[name][0] < 0.7 * matched[name][0] for name in matched)
    blind = replace(valid, plan=replace(plan, objectives=("mgm", "ngsp")))
    assert set(FixedSet.of("valid", blind, 20).mismatches()) == {"ngsp"}
