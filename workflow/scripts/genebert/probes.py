"""Simple probes that say what an objective could be solved with: P0, one modality, P1, NGSP.

Each is a ridge logistic regression, fitted on rows of the training population, with the penalty
that a quarter of its loci chooses, and judged on the fixed evaluation rows, as the network is. A
probe above chance that the network does not beat means that the sampler left a shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genebert.balance import window_shapes
from genebert.logistic import fit_logistic
from genebert.metrics import auroc
from genebert.objectives import accuracy
from genebert.population import Population
from genebert.sampler import Rows
from genebert.samples import Corpus

Floats = NDArray[np.float64]
COMPONENTS = 12  # principal components of each side of the bilinear probe
RIDGES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # 400 features on 10,000 rows want a large one
CHOOSING = 4  # every so many-th locus chooses
DECIMALS = 9  # of a logit: BLAS gives equal rows other last digits, and they must stay equal


@dataclass(frozen=True)
class Judged:
    """What a probe says of N evaluation rows.

    Attributes
    ----------
    logit, label : float64[N] and bool[N].
    fitted, ridge : number of rows that it was fitted on, and its penalty.
    """

    logit: Floats
    label: NDArray[np.bool_]
    fitted: int
    ridge: float


@dataclass(frozen=True)
class Pairs:
    """SRM rows as the probes see them: labels and features of N pairs."""

    matches: NDArray[np.bool_]
    locus: NDArray[np.int64]  # region id of the anchor
    contrast: NDArray[np.int64]
    nuisance: Floats  # [N, 12]
    anchor: Floats  # [N, M], motif row of the anchor
    context: Floats  # [N, F], mean column of the matrix
    state: Floats  # [N, F], state of its cell type; [N, 0] where the matrix has none

    def of_contrast(self, contrast: int) -> Pairs:
        """Return those of one contrast."""
        keep = self.contrast == contrast
        return Pairs(
            self.matches[keep], self.locus[keep], self.contrast[keep], self.nuisance[keep],
            self.anchor[keep], self.context[keep], self.state[keep],
        )  # fmt: skip


@dataclass(frozen=True)
class Partners:
    """N NGSP rows as the probe sees them."""

    follows: NDArray[np.bool_]
    locus: NDArray[np.int64]  # region id of A
    features: Floats  # [N, 9]


Sides = TypeVar("Sides", Pairs, Partners)


def pairs_of(population: Population, rows: Rows) -> Pairs:
    """Compute the features of SRM rows.

    The nuisance features are GC, motif count and breadth of the anchor and of the locus that the
    matrix lies around; what :func:`~genebert.balance.window_shapes` says of the matrix before any
    control shuffles it (log); open regions of its cell type (log).
    """
    corpus, view = population.corpus, population.view
    matrix, cell, place = rows.matrix, rows.cell, rows.place
    assert matrix is not None
    assert cell is not None
    assert place is not None
    anchor = rows.anchor.repeat(2)
    shapes = window_shapes(
        corpus, view, cell, place, population.plan.neighbours, population.layout.exclude
    )
    first, end = view.cell_bounds(cell)
    columns = (
        *(of[locus] for locus in (anchor, place) for of in _nuisances(corpus)),
        *shapes.clamp(min=1).log(),
        (end - first).clamp(min=1).log(),
    )
    half = population.plan.neighbours // 2
    real = np.delete(matrix.double().cpu().numpy(), half, axis=2)
    n = rows.anchor.numel()
    return Pairs(
        np.arange(2 * n) < n,
        anchor.cpu().numpy(),
        rows.contrast.repeat(2).cpu().numpy(),
        np.stack([c.double().cpu().numpy() for c in columns], axis=1),
        corpus.columns(anchor).double().cpu().numpy(),
        real.mean(axis=2),
        np.zeros((2 * n, 0)) if rows.state is None else rows.state.double().cpu().numpy(),
    )


def _nuisances(corpus: Corpus) -> tuple[Tensor, Tensor, Tensor]:
    return corpus.gc, corpus.motif_count, corpus.breadth


def partners_of(population: Population, rows: Rows) -> Partners:
    """Compute the features of NGSP rows: GC, repeats and breadth of A and B, and differences."""
    corpus = population.corpus
    sides = []
    for region in (rows.pair_anchor, rows.partner):
        values = (corpus.gc[region], corpus.repeat[region], corpus.breadth[region])
        sides.append(np.stack([v.double().cpu().numpy() for v in values], axis=1))
    features = np.concatenate([*sides, np.abs(sides[0] - sides[1])], axis=1)
    return Partners(rows.follows.cpu().numpy(), rows.pair_anchor.cpu().numpy(), features)


def join(parts: list[Sides]) -> Sides:
    """Concatenate."""
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(kind)))


def _directions(x_ND: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the mean and the first n principal directions, sign-fixed."""
    mean = x_ND.mean(axis=0)
    if not len(mean):
        return mean, np.zeros((0, 0))
    _, _, vt = np.linalg.svd(x_ND - mean, full_matrices=False)
    vt = vt[: min(n, len(vt))]
    sign = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])
    return mean, (vt * sign[:, None]).T


def _bilinear(train: Pairs, test: Pairs) -> tuple[Floats, Floats]:
    """Return P1's features: both sides' components and all products; the state is a third side."""
    names = ("anchor", "context", "state")
    axes = {name: _directions(getattr(train, name), COMPONENTS) for name in names}

    def features(pairs: Pairs) -> Floats:
        a, c, s = ((getattr(pairs, name) - axes[name][0]) @ axes[name][1] for name in names)
        parts = [a, c]
        for other in (c, s):
            parts.append((a[:, :, None] * other[:, None, :]).reshape(len(a), -1))
        return np.concatenate([*parts, s], axis=1)

    return features(train), features(test)


def _judge(
    train: Floats,
    train_label: NDArray[np.bool_],
    locus: NDArray[np.int64],
    test: Floats,
    test_label: NDArray[np.bool_],
) -> Judged:
    """Choose the penalty on some training loci, fit on all, and judge."""
    choosing = np.unique(locus, return_inverse=True)[1] % CHOOSING == 0

    def loss(ridge: float) -> float:
        fit = fit_logistic(train[~choosing], train_label[~choosing], ridge)
        sign = np.where(train_label[choosing], 1.0, -1.0)
        return float(np.logaddexp(0.0, -sign * fit.logits(train[choosing])).mean())

    ridge = min(RIDGES, key=loss) if 0 < choosing.sum() < len(choosing) else RIDGES[0]
    logit = fit_logistic(train, train_label, ridge).logits(test).round(DECIMALS)
    return Judged(logit, test_label, len(train), ridge)


def srm_probes(train: Pairs, test: Pairs) -> dict[str, Judged]:
    """Fit every probe of SRM for each contrast.

    Returns
    -------
    ``{"p0:n1": Judged, ...}`` with the probes ``p0``, ``sequence``, ``matrix`` and
    ``p1`` and the contrasts n1 and n2; contrasts without both labels are left out.
    """
    out: dict[str, Judged] = {}
    bilinear = _bilinear(train, test)
    views = {
        "p0": (train.nuisance, test.nuisance),
        "sequence": (train.anchor, test.anchor),
        "matrix": tuple(np.concatenate([p.context, p.state], axis=1) for p in (train, test)),
        "p1": bilinear,
    }
    for number, contrast in enumerate(("n1", "n2")):
        a, b = train.contrast == number, test.contrast == number
        if min(len(set(train.matches[a])), len(set(test.matches[b]))) < 2:
            continue
        for name, (x, y) in views.items():
            fitting = x[a], train.matches[a], train.locus[a]
            out[f"{name}:{contrast}"] = _judge(*fitting, y[b], test.matches[b])
    return out


def ngsp_probe(train: Partners, test: Partners) -> Judged:
    """Fit the probe of NGSP."""
    return _judge(train.features, train.follows, train.locus, test.features, test.follows)


def figures(judged: Judged) -> Mapping[str, float]:
    """Return accuracy and AUROC, the number of rows that were fitted on and the penalty."""
    return {
        "accuracy": accuracy(judged.logit, judged.label),
        "auroc": auroc(judged.label, judged.logit),
        "fitted": judged.fitted,
        "ridge": judged.ridge,
    }
