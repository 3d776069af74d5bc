"""Simple probes that say what an objective could be solved with: P0, one modality, P1, NGSP.

Each is a ridge logistic regression, fitted on rows of the training population and judged on the
fixed evaluation rows, as the network is. A probe above chance that the network does not beat means
that the sampler left a shortcut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genebert.balance import window_lengths
from genebert.logistic import fit_logistic
from genebert.objectives import accuracy, auroc
from genebert.population import Population
from genebert.sampler import Rows

Floats = NDArray[np.float64]
Judged = tuple[Floats, NDArray[np.bool_]]  # logits and labels of the same rows
COMPONENTS = 12  # principal components of each side of the bilinear probe


@dataclass(frozen=True)
class Pairs:
    """SRM rows as the probes see them: labels and features of N pairs."""

    matches: NDArray[np.bool_]
    contrast: NDArray[np.int64]
    nuisance: Floats  # [N, 6]
    anchor: Floats  # [N, M], motif row of the anchor
    context: Floats  # [N, F], mean column of the matrix
    state: Floats  # [N, F], state of its cell type; [N, 0] where the matrix has none

    def of_contrast(self, contrast: int) -> Pairs:
        """Return those of one contrast."""
        keep = self.contrast == contrast
        return Pairs(
            self.matches[keep], self.contrast[keep], self.nuisance[keep], self.anchor[keep],
            self.context[keep], self.state[keep],
        )  # fmt: skip


@dataclass(frozen=True)
class Partners:
    """NGSP rows as the probe sees them."""

    follows: NDArray[np.bool_]
    features: Floats


def pairs_of(population: Population, rows: Rows) -> Pairs:
    """Compute the features of SRM rows.

    The nuisance features are GC, motif count and breadth of the anchor; span and nearest distance
    (log) of the matrix before any control shuffles it; open regions of its cell type (log).
    """
    corpus, view = population.corpus, population.view
    matrix, cell, place = rows.matrix, rows.cell, rows.place
    assert matrix is not None
    assert cell is not None
    assert place is not None
    anchor = rows.anchor.repeat(2)
    span, nearest = window_lengths(
        corpus, view, cell, place, population.plan.neighbours, population.layout.exclude
    )
    first, end = view.cell_bounds(cell)
    columns = (
        corpus.gc[anchor],
        corpus.motif_count[anchor],
        corpus.breadth[anchor],
        span.clamp(min=1).log(),
        nearest.clamp(min=1).log(),
        (end - first).clamp(min=1).log(),
    )
    half = population.plan.neighbours // 2
    real = np.delete(matrix.double().cpu().numpy(), half, axis=2)
    n = rows.anchor.numel()
    return Pairs(
        np.arange(2 * n) < n,
        rows.contrast.repeat(2).cpu().numpy(),
        np.stack([c.double().cpu().numpy() for c in columns], axis=1),
        corpus.columns(anchor).double().cpu().numpy(),
        real.mean(axis=2),
        np.zeros((2 * n, 0)) if rows.state is None else rows.state.double().cpu().numpy(),
    )


def partners_of(population: Population, rows: Rows) -> Partners:
    """Compute the features of NGSP rows: GC, repeats and breadth of A and B, and differences."""
    corpus = population.corpus
    sides = []
    for region in (rows.pair_anchor, rows.partner):
        values = (corpus.gc[region], corpus.repeat[region], corpus.breadth[region])
        sides.append(np.stack([v.double().cpu().numpy() for v in values], axis=1))
    features = np.concatenate([*sides, np.abs(sides[0] - sides[1])], axis=1)
    return Partners(rows.follows.cpu().numpy(), features)


def join_pairs(parts: list[Pairs]) -> Pairs:
    """Concatenate."""
    names = ("matches", "contrast", "nuisance", "anchor", "context", "state")
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def join_partners(parts: list[Partners]) -> Partners:
    """Concatenate."""
    return Partners(
        np.concatenate([part.follows for part in parts]),
        np.concatenate([part.features for part in parts]),
    )


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


def _logits(
    train: Floats, train_label: NDArray[np.bool_], test: Floats, test_label: NDArray[np.bool_]
) -> Judged:
    """Fit on the training rows; return the logits of the test rows and their labels."""
    return fit_logistic(train, train_label).logits(test), test_label


def srm_probes(train: Pairs, test: Pairs) -> dict[str, Judged]:
    """Fit every probe of SRM for each contrast.

    Returns
    -------
    ``{"p0:n1": (logits, labels), ...}`` with the probes ``p0``, ``sequence``, ``matrix`` and
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
            out[f"{name}:{contrast}"] = _logits(x[a], train.matches[a], y[b], test.matches[b])
    return out


def ngsp_probe(train: Partners, test: Partners) -> Judged:
    """Fit the probe of NGSP; returns logits and labels of the test rows."""
    return _logits(train.features, train.follows, test.features, test.follows)


def figures(judged: Judged) -> Mapping[str, float]:
    """Return accuracy and AUROC of logits."""
    return {"accuracy": accuracy(*judged), "auroc": auroc(*judged)}
