"""What is reported of a finished pre-training run: figures with intervals beside their references.

In: the trained model, the fixed sets and the training population. Out: rows for `metrics.jsonl`,
of kind ``probe`` (accuracy and AUROC of each probe, rows that it was fitted on, penalty) and
``figure`` (objective, stratum, metric, value, low, high, reference, n). Intervals resample the loci
of a set; what is compared is drawn together. A figure's reference is what it is to be read against:
the Markov chain for MGM's nats, a probe for an excess (0), chance for an AUROC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genebert.intervals import Aurocs, Estimate, mean_interval
from genebert.mgm_reference import fit_reference, mgm_figures
from genebert.objectives import MGM, NGSP, SRM
from genebert.population import Population
from genebert.pretraining_evaluation import (
    EVALUATION_SEED,
    Answers,
    FixedSet,
    Pair,
    ask,
    probe_training,
)
from genebert.probes import Judged, figures, ngsp_probe, srm_probes
from genebert.sampler import BREADTH_BIT, GC_BITS, N1, N2
from genebert.trainer import Losses

CHANCE = 0.5  # AUROC
PROBES = ("p0", "sequence", "matrix", "p1")
EXCESS = ("p0", "matrix", "foreign")  # the sequence alone is the same in right and wrong pairs: 0.5


def final_rows(
    losses: Losses,
    sets: Sequence[FixedSet],
    training: Population,
    spans: Sequence[int],
    bf16: bool = False,
    known: Mapping[str, Answers] | None = None,
) -> list[dict[str, Any]]:
    """Judge a model and its references on every fixed set.

    Parameters
    ----------
    sets : the first one's population also chooses the order of the Markov chain.
    training : probes and the chain are fitted on its loci.
    spans : lengths of the hidden spans that MGM is asked for.
    known : what this model has answered already, by the name of the set.
    """
    if not sets:
        return []
    names = losses.objectives
    pairs, partners = probe_training(training)
    chain = fit_reference(training, sets[0].sampler.population) if MGM in names else None
    rows: list[dict[str, Any]] = []
    for fixed in sets:
        answers = (known or {}).get(fixed.name) or ask(losses, fixed, bf16)
        test_pairs, test_partners = fixed.probe_data()
        probes: dict[str, Judged] = {}
        found: list[dict[str, Any]] = []
        if chain is not None:
            layout = fixed.sampler.layout  # one span in a segment of a pair, two in a single one
            longest = min(layout.pair.length, layout.single.length // 2)
            fitting = tuple(span for span in spans if span <= longest)
            found += mgm_figures(losses, fixed, chain, fitting, bf16)
            found.append(_row(MGM, "", "markov_order", Estimate(chain.order, *_NONE), chain.order))
        mismatches = fixed.mismatches() if {NGSP, SRM} & set(names) else {}
        for name, tier_N in mismatches.items():
            if name in names:
                found += negative_figures(name, "n1" if name == SRM else "", tier_N)
        if NGSP in names:
            probes["ngsp"] = ngsp_probe(partners, test_partners)
            found += ngsp_figures(answers, probes["ngsp"])
        if SRM in names and pairs is not None and test_pairs is not None:
            match = srm_probes(pairs, test_pairs)
            probes |= {f"srm_{name}": judged for name, judged in match.items()}
            for contrast, name in ((N1, "n1"), (N2, "n2")):
                if f"p0:{name}" in match:
                    beside = {probe: match[f"{probe}:{name}"] for probe in PROBES}
                    logits = answers.match[contrast], answers.foreign[contrast]
                    found += srm_figures(*logits, name, beside)
        for name in answers.errors:
            found += error_figures(name, *answers.errors[name])
        rows += [
            {"kind": "probe", "set": fixed.name, "probe": name, **figures(judged)}
            for name, judged in probes.items()
        ]
        rows += [{"kind": "figure", "set": fixed.name, **_plain(row)} for row in found]
    return rows


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Write what is not defined as None: JSON knows no NaN."""
    undefined = {k: None for k, v in row.items() if isinstance(v, float) and math.isnan(v)}
    return row | undefined


_NONE = (math.nan, math.nan, 0)


def _row(
    objective: str, stratum: str, metric: str, estimate: Estimate, reference: float
) -> dict[str, Any]:
    return {
        "objective": objective, "stratum": stratum, "metric": metric, "value": estimate.value,
        "low": estimate.low, "high": estimate.high, "reference": reference, "n": estimate.n,
    }  # fmt: skip


def of_probe(judged: Judged) -> Aurocs:
    """Return the AUROC of a probe, ready for intervals and differences."""
    right, wrong = judged.logit[judged.label], judged.logit[~judged.label]
    return Aurocs.of(right, wrong, EVALUATION_SEED)


def negative_figures(
    objective: str, stratum: str, tier_N: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Return the shares of a set's negatives that are matched in something.

    ``tier_N``: int64[N], what :meth:`~genebert.sampler.Sampler.mismatches` gives of each negative.
    ``negatives_matched``: in everything; ``negatives_gc_2``, ``negatives_gc_5``: GC within 2 and
    5 %; ``negatives_breadth``: the same bin of the number of cell types.
    """
    within_2, within_5 = GC_BITS[objective]
    rows = []
    for metric, bits in (
        ("negatives_matched", ~0),
        ("negatives_gc_2", within_2 | within_5),
        ("negatives_gc_5", within_5),
        ("negatives_breadth", BREADTH_BIT[objective]),
    ):
        fits_N = (tier_N & bits == 0).astype(np.float64)
        share = mean_interval(fits_N, np.ones(len(fits_N)), EVALUATION_SEED)
        rows.append(_row(objective, stratum, metric, share, 1.0))
    return rows


def ngsp_figures(answers: Answers, probe: Judged) -> list[dict[str, Any]]:
    """Return the AUROC of NGSP, of its probe, and the paired difference."""
    model, beside = Aurocs.of(*answers.next_, EVALUATION_SEED), of_probe(probe)
    return [
        _row(NGSP, "", "auroc", model.estimate(), CHANCE),
        _row(NGSP, "", "auroc_probe", beside.estimate(), CHANCE),
        _row(NGSP, "", "auroc_minus_probe", model.minus(beside), 0.0),
    ]


def srm_figures(
    pair: Pair, foreign: Pair, contrast: str, probes: dict[str, Judged]
) -> list[dict[str, Any]]:
    """Return the AUROC of SRM for one contrast, of its probes, and the excess over EXCESS.

    Beside the probes stands the model itself with the sequence of another locus (``foreign``):
    what it has there it has from the matrix alone.
    """
    model = Aurocs.of(*pair, EVALUATION_SEED)
    beside = {name: of_probe(judged) for name, judged in probes.items()}
    beside["foreign"] = Aurocs.of(*foreign, EVALUATION_SEED)
    rows = [_row(SRM, contrast, "auroc", model.estimate(), CHANCE)]
    rows += [
        _row(SRM, contrast, f"auroc_{name}", found.estimate(), CHANCE)
        for name, found in beside.items()
    ]
    rows += [
        _row(SRM, contrast, f"auroc_minus_{name}", model.minus(beside[name]), 0.0)
        for name in EXCESS
    ]
    return rows


def error_figures(
    objective: str, error_N: NDArray[np.float64], spread_N: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Return the squared error of what was asked for beside that of the features' means."""
    ones = np.ones(len(error_N))
    error, less = (mean_interval(x, ones, EVALUATION_SEED) for x in (error_N, error_N - spread_N))
    return [
        _row(objective, "", "mse", error, float(spread_N.mean())),
        _row(objective, "", "mse_minus_mean", less, 0.0),
    ]
