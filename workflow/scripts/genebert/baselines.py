"""The models without a network: what genebert has to beat, and what bounds it.

In: a :class:`genebert.items.Job`. Out: (rows of predictions, what was fitted). Logistic
regressions share one routine: standardised on the training rows, L2, one strength for all groups
chosen on validation data, one regression per group (TF). `oracle` and `cell-average` are no rivals
but bounds: they read what no model can know.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from genebert import features
from genebert.context import locus_window
from genebert.errors import InputError
from genebert.items import (
    Items,
    Job,
    Result,
    Subset,
    label_subsets,
    prediction_rows,
    selection_score,
)
from genebert.progress import progress
from genebert.tasks.dataset import read_dataset

SEQUENCE_MODELS = ("gc", "kmer-lr", "motif-lr")  # logistic regressions on the sequence alone
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # grid of C, the inverse L2 penalty
_MAX_ITERATIONS = 2000
_GRADIENT = 1e-9  # so far converged, other BLAS kernels give the same tables
# Windows of the splice-site matrices, relative to the first intron base (donor) and to the last
# (acceptor): 3 exonic and 6 intronic bases; 20 intronic and 3 exonic bases (Yeo and Burge 2004).
SITE_WINDOWS = {"donor": (-3, 6), "acceptor": (-19, 4)}
SITE_DINUCLEOTIDES = {"donor": ("GT", 0), "acceptor": ("AG", -1)}

Matrix = Any  # NDArray or sparse.csr_matrix, float32[N, F]


def standardise(x: Matrix, train: NDArray[np.int64]) -> Matrix:
    """Return x scaled to unit variance over the training rows; a dense x is centred as well."""
    if sparse.issparse(x):
        part = x[train]
        mean = np.asarray(part.mean(axis=0)).ravel()
        square = np.asarray(part.multiply(part).mean(axis=0)).ravel()
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        return x @ sparse.diags(np.where(scale > 0, 1 / np.maximum(scale, 1e-12), 0))
    mean, scale = x[train].mean(axis=0), x[train].std(axis=0)
    return (x - mean) / np.where(scale > 0, scale, 1)


def fit_logistic(
    x: Matrix, label: NDArray[np.float64], strength: float, classes: int
) -> Callable[[Matrix], NDArray[np.float64]]:
    """Fit a logistic (softmax) regression with an L2 penalty and return its probabilities.

    Parameters
    ----------
    x : float[n, F], training rows.
    label : float[n], classes 0, 1, ...; with one class only, its share is predicted.
    strength : inverse penalty C, as in scikit-learn.
    classes : number of classes K.

    Returns
    -------
    A function from rows float[m, F] to probabilities float64[m, K].
    """
    present = np.unique(label).astype(np.int64)
    if len(present) < 2:
        constant = np.zeros(classes)
        constant[present] = 1.0
        return lambda rows: np.tile(constant, (rows.shape[0], 1))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength, solver="newton-cg", max_iter=_MAX_ITERATIONS, tol=_GRADIENT
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x.astype(np.float64), label)

    def probabilities(rows: Matrix) -> NDArray[np.float64]:
        out = np.zeros((rows.shape[0], classes))
        out[:, present] = model.predict_proba(rows.astype(np.float64))
        return out

    return probabilities


def grouped_logistic(
    items: Items, x: Matrix, train: NDArray[np.int64], strength: float
) -> NDArray[np.float64]:
    """Fit one regression per group on ``train``; return float64[n, K] for the predicted items."""
    classes = len(items.info["classes"]) if items.multiclass else 2
    rows = items.predicted
    out = np.full((len(rows), classes), 1 / classes)
    for group in range(len(items.groups)):
        fitted = train[items.group[train] == group]
        wanted = np.flatnonzero(items.group[rows] == group)
        if len(fitted) and len(wanted):
            predict = fit_logistic(x[fitted], items.label[fitted], strength, classes)
            out[wanted] = predict(x[rows[wanted]])
    return out if items.multiclass else out[:, 1:]


def best_logistic(
    items: Items, x: Matrix, train: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Return the predictions of the best strength on validation data, and that strength."""
    scaled = standardise(x, train)
    rows = items.predicted
    valid = items.split[rows] == "valid"
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for strength in progress(STRENGTHS, f"fitting on {len(train):,} labels", "penalties"):
        score = grouped_logistic(items, scaled, train, strength)
        value = selection_score(items, rows[valid], score[valid])
        if best is None or value > best[0]:
            best = (value, strength, score)
    assert best is not None
    return best[2], best[1]


def predict_logistic(job: Job, features_of: Callable[[Subset], Matrix]) -> Result:
    """Fit and predict a logistic regression for every subset of the labels.

    Parameters
    ----------
    features_of : float[N, F] of all items; it is given the subset whose labels it may use.
    """
    items, frames, chosen = job.items, [], {}
    n_features = 0
    for subset in subsets(job):
        x = features_of(subset)
        n_features = x.shape[1]
        score, strength = best_logistic(items, x, subset.rows)
        chosen[f"{subset.fraction:g}/{subset.draw}"] = {"C": strength}
        frames.append(
            prediction_rows(
                items,
                score,
                model=job.model,
                finetune_seed=subset.draw,
                fraction=subset.fraction,
            )
        )
    outputs = len(items.info["classes"]) if items.multiclass else len(items.groups)
    return pd.concat(frames, ignore_index=True), {
        "grid": [{"C": c} for c in STRENGTHS],
        "chosen": chosen,
        "n_parameters": (n_features + 1) * outputs,
    }


def subsets(job: Job) -> list[Subset]:
    """Return the subsets of the training labels of a job."""
    effort = job.effort
    return list(
        label_subsets(
            job.items,
            effort.get("label_fractions", [1.0]),
            int(effort.get("fraction_draws", 5)),
            job.seed,
        )
    )


def sequence_rows(job: Job, sequences: Sequence[str]) -> Matrix:
    """Return float32[n, F]: what the job's model, one of SEQUENCE_MODELS, reads of sequences."""
    if job.model == "gc":
        x = features.gc_features(sequences)
        return np.hstack([x, x**2])
    if job.model == "kmer-lr":
        return features.kmer_features(sequences, canonical=not job.items.strand_specific)
    return features.motif_features(sequences, job.motifs)


def _of_sequences(job: Job) -> Result:
    rows = sequence_rows(job, job.items.sequences)[job.items.sequence]
    return predict_logistic(job, lambda subset: rows)


def gc(job: Job) -> Result:
    """Logistic regression on the GC content and its square: shows negatives that do not match."""
    return _of_sequences(job)


def kmer_lr(job: Job) -> Result:
    """Logistic regression on 3- to 6-mers, both strands merged unless the strand matters."""
    return _of_sequences(job)


def motif_lr(job: Job) -> Result:
    """Logistic regression on the motif scores of the sequence."""
    return _of_sequences(job)


def context_features(job: Job, neighbours: int, *, cell_state: bool = True) -> Matrix:
    """Return float32[N, 5 M + 2]: what both branches see, as one row per item.

    Motif features of the sequence (sums and best scores, 2 M), strength of the anchor (0 where the
    dataset hides it), mean motif row and strength of the accessible neighbours (M + 1), state of
    the cell type (M), and the products of the anchor's row in the motif matrix and the state (M; a
    regression cannot form them itself).

    Parameters
    ----------
    neighbours : number of accessible regions around the anchor.
    cell_state : whether to use the state of the cell type and the products.
    """
    items, context = job.items, job.context
    cell = context.cells(items.cell_type)
    position, exclude = locus_window(items, int(context.shards.width))
    around = context.neighbours(
        cell, context.contigs(items.contig), position - exclude, position + exclude, neighbours
    )
    motifs = features.motif_features(items.sequences, job.motifs)[items.sequence]
    strength = context.strength(cell, items.region)[:, None]
    if not items.anchor_shown:
        strength = np.zeros_like(strength)
    parts = [motifs, strength, context.mean_columns(cell, around)]
    if cell_state:
        state = context.cell_state[cell]
        parts += [state, context.rows_of(items.region) * state]
    return np.hstack(parts)


def context_lr(job: Job) -> Result:
    """Logistic regression on `context_features`: the same inputs as the region branch."""
    x = context_features(job, int(job.pretrain.get("neighbours", 10)))
    return predict_logistic(job, lambda subset: x)


def unfitted(job: Job, score: NDArray[np.float64], **info: Any) -> Result:
    """Return the result of a model that fits nothing; score is float[N, K] of all items."""
    rows = score[job.items.predicted]
    return prediction_rows(job.items, rows, model=job.model), {"n_parameters": 0, **info}


def accessibility(job: Job) -> Result:
    """Strength of the anchor region in the cell type; nothing is fitted."""
    items, context = job.items, job.context
    strength = context.strength(context.cells(items.cell_type), items.region)
    return unfitted(job, strength[:, None].astype(np.float64))


def oracle(job: Job) -> Result:
    """The generator's own probabilities; items without one get their group's mean.

    Raises
    ------
    InputError
        If the dataset has no true probability at all.
    """
    score = job.items.oracle.copy()
    missing: NDArray[np.bool_] = np.asarray(np.isnan(score).any(axis=1))
    if missing.all():
        raise InputError("no true probabilities for the model 'oracle'", file=job.dataset)
    score[missing] = score[~missing].mean(axis=0)
    return unfitted(job, score, unknown=int(missing[job.items.predicted].sum()), flags=["oracle"])


def cell_average(job: Job) -> Result:
    """Mean of the observed labels of the training cell types at the locus, closed counting 0.

    A bound, marked `oracle-labels`: on test chromosomes these labels are in the test split. The
    dataset brings the means along (:func:`genebert.tasks.tfbs.average_of_others`). Without any
    known label the group's share of positives in the training split is predicted.

    Raises
    ------
    InputError
        If the dataset has no such column.
    """
    items = job.items
    frame = read_dataset(job.dataset, job.description)[0]
    if "cell_average" not in frame:
        raise InputError("no column 'cell_average' for the model of that name", file=job.dataset)
    mean = frame["cell_average"].to_numpy(dtype=np.float64)
    train = items.rows("train")
    share = pd.Series(items.label[train]).groupby(items.group[train]).mean()
    prior = share.reindex(range(len(items.groups)), fill_value=items.label[train].mean())
    score = np.where(np.isnan(mean), prior.to_numpy()[items.group], mean)
    unknown = int(np.isnan(mean[items.predicted]).sum())
    return unfitted(job, score[:, None], unknown=unknown, flags=["oracle-labels"])


def site_offset(items: Items, name: str) -> int:
    """Return where in the sequence the site of a class lies: 0-based offset along the strand.

    It is the first intron base of a donor and the last intron base of an acceptor.
    """
    return int(items.info["window"][f"{name}_offset"])


def site_classes(items: Items, file: str) -> list[tuple[int, str]]:
    """Return (class, "donor" or "acceptor") of the classes that are splice sites.

    Raises
    ------
    InputError
        If the dataset has no such classes or does not keep the strand.
    """
    found = [(k, name) for k, name in enumerate(items.info["classes"]) if name in SITE_WINDOWS]
    if not found or not items.multiclass or not items.strand_specific:
        raise InputError(
            "not a dataset of splice sites",
            file=file,
            found=", ".join(items.info["classes"]),
            expected="classes donor and acceptor",
        )
    return found


def gt_ag(job: Job) -> Result:
    """The GT-AG rule: all classes that the dinucleotide at the site allows get the same score."""
    items = job.items
    sites = site_classes(items, job.description)
    allowed = np.ones((len(items.codes), items.n_outputs))
    for k, name in sites:
        word, shift = SITE_DINUCLEOTIDES[name]
        first = site_offset(items, name) + shift
        window = items.codes[:, first : first + 2]
        allowed[:, k] = (window == features.encode_all([word])).all(axis=1)
    return unfitted(job, (allowed / allowed.sum(axis=1, keepdims=True))[items.sequence])


def position_weights(
    windows: NDArray[np.uint8], background: NDArray[np.float64], pseudocount: float = 1.0
) -> NDArray[np.float64]:
    """Return float64[w, 5] natural log-odds of aligned windows uint8[n, w]; N scores 0.

    Parameters
    ----------
    windows : codes of n aligned sites.
    background : float[4], base frequencies.
    pseudocount : observations of the background added to each position.
    """
    counts = np.stack([(windows == base).sum(axis=0) for base in range(4)], axis=1)
    share = (counts + pseudocount * background) / (counts.sum(axis=1, keepdims=True) + pseudocount)
    return np.hstack([np.log(share / background), np.zeros((len(share), 1))])


def pwm(job: Job) -> Result:
    """Position-weight matrices of donors and acceptors, and a softmax regression on their scores.

    The matrices are made from the training sites of the subset, the background from the base
    composition of all training sequences; the regression on the two scores turns them into
    probabilities.
    """
    items = job.items
    sites = site_classes(items, job.description)
    train = items.codes[np.unique(items.sequence[items.rows("train")])]
    counts = np.bincount(train[train < 4], minlength=4) + 1.0
    background = np.asarray(counts / counts.sum(), dtype=np.float64)

    def scores(subset: Subset) -> Matrix:
        columns = []
        for k, name in sites:
            at = site_offset(items, name)
            first, last = SITE_WINDOWS[name]
            window = items.codes[items.sequence, at + first : at + last]
            members = subset.rows[items.label[subset.rows] == k]
            weights = position_weights(window[members], background)
            columns.append(weights[np.arange(window.shape[1]), window].sum(axis=1))
        return np.stack(columns, axis=1).astype(np.float32)

    return predict_logistic(job, scores)
