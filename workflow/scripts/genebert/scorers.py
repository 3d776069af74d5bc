"""A model of the tables as a function of sequences, for interpretation.

In: a prediction job, with the network that the stage `predict` kept, and ``fit.json`` (the grid
point that it chose). Out: a function from sequences that stand in for an item to probabilities.
A regression on sequences is fitted anew at its grid point, which gives the same weights.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genebert import finetuned, genome
from genebert.baselines import (
    SEQUENCE_MODELS,
    Matrix,
    fit_logistic,
    sequence_rows,
    standardise,
)
from genebert.classifier import Network, mean_probability, sequence_inputs
from genebert.errors import InputError, reading
from genebert.finetune import Finetuning
from genebert.interpret import Floats, Scorer
from genebert.items import Job
from genebert.layout import variant_of
from genebert.pretrained import INFERENCE_BATCH


def scorer(job: Job, fit: str) -> Scorer:
    """Return the model of a job, fitted on all labels, as a function of sequences.

    Parameters
    ----------
    job : with the path of ``fitted.safetensors``. fit : path of ``fit.json``.

    Returns
    -------
    (row of an item, base codes uint8[M, L]) -> probabilities float64[M, K] of M sequences in the
    place of the item's; K classes, or 1.

    Raises
    ------
    InputError
        If a file cannot be read, there is no fit of all labels, or the model is none that reads a
        sequence alone or through a network.
    """
    record = read_fit(fit)
    if job.model not in SEQUENCE_MODELS:
        if job.model in ("scratch", "cnn") or variant_of(job.model) is not None:
            return network_scorer(job)
        raise InputError(
            "model cannot be interpreted",
            file="config interpret.models",
            found=job.model,
            expected=f"genebert, genebert-VARIANT, scratch, cnn, {', '.join(SEQUENCE_MODELS)}",
        )
    chosen = record.get("chosen", {})
    if "C" not in chosen.get("1/0", {}):
        raise InputError(
            "no fit of all labels",
            file=fit,
            found=", ".join(chosen) or "nothing chosen",
            expected="1.0 among effort.label_fractions",
        )
    return linear_scorer(job, float(chosen["1/0"]["C"]))


def read_fit(path: str) -> dict[str, Any]:
    """Read ``fit.json``; raise :class:`InputError` if it is none."""
    with reading(path, "cannot be read as JSON"):
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not isinstance(record.get("chosen", {}), dict):
        raise InputError("is no description of a fit", file=path)
    return record


def linear_scorer(job: Job, strength: float) -> Scorer:
    """Fit a logistic regression on sequences, one per group, and return it as a function."""
    items = job.items
    train = items.rows("train")
    known = sequence_rows(job, items.sequences)[items.sequence[train]]
    every = np.arange(len(train))
    scaled, label, group = standardise(known, every), items.label[train], items.group[train]
    classes = items.n_outputs if items.multiclass else 2
    fitted: dict[int, Any] = {}

    def score(row: int, codes: NDArray[np.uint8]) -> Floats:
        own = int(items.group[row])
        if own not in fitted:
            rows = np.flatnonzero(group == own)
            fitted[own] = fit_logistic(scaled[rows], label[rows], strength, classes)
        x: Matrix = sequence_rows(job, [genome.decode(c) for c in codes])
        both = sparse.vstack([known, x], "csr") if sparse.issparse(x) else np.vstack([known, x])
        x = standardise(both, every)[len(train) :]
        probability = np.asarray(fitted[own](x), dtype=np.float64)
        return probability if items.multiclass else probability[:, 1:]

    return score


def network_scorer(job: Job) -> Scorer:
    """Return the kept network as a function of sequences: probabilities, mean over strands.

    Only the sequence is mutated; the neighbourhood stays. Where the region branch sees the item's
    own region, its motif row is that of the mutated sequence. :class:`InputError` if no network
    was kept.
    """
    torch.set_num_threads(job.threads)
    network = finetuned.load(job.fitted).network
    tuning = Finetuning(job)
    network.to(tuning.device)
    items, inputs = tuning.items, tuning.inputs
    encoders = tuning.starts[0].encoders
    config = None if encoders is None else encoders.config
    batch = INFERENCE_BATCH[tuning.device.type]

    @torch.inference_mode()
    def score(row: int, codes: NDArray[np.uint8]) -> Floats:
        region = region_vectors(tuning, network, row, codes) if network.uses_regions else None
        logits = []
        for strand in sequence_inputs(replace(items, codes=codes), config, tuning.device):
            vectors = torch.cat([network.embed_sequence(part) for part in strand.split(batch)])
            logits.append(network.logits(vectors, region).double())
        if not items.multiclass:
            own = int(inputs.group[row])
            logits = [logits_MK[:, own : own + 1] for logits_MK in logits]
        found = mean_probability(logits, items.multiclass)
        return np.asarray(found.cpu().numpy(), dtype=np.float64)

    return score


def region_vectors(
    tuning: Finetuning, network: Network, row: int, codes: NDArray[np.uint8]
) -> torch.Tensor:
    """Return e_MD of the item's matrix, in which the anchor has the motif rows of M sequences."""
    places = tuning.inputs.places
    assert places is not None
    matrix_1FC, hidden_1, *state = places.of(places.row[row][None])
    corpus = tuning.corpus
    assert corpus is not None
    region = int(tuning.items.region[row])
    own = codes.shape[1] == corpus.width and tuning.items.start[row] == int(corpus.start[region])
    if bool(hidden_1[0]) or not own:
        return network.embed_region(matrix_1FC, hidden_1, *state).expand(len(codes), -1)
    rows = corpus.rows_of(tuning.job.motifs.scan(list(codes)).sum.toarray())
    middle = matrix_1FC.shape[2] // 2
    vectors = []
    for part in rows.split(INFERENCE_BATCH[tuning.device.type]):
        matrix_BFC = matrix_1FC.repeat(len(part), 1, 1)
        matrix_BFC[:, :-1, middle] = part
        states = [one.expand(len(part), -1) for one in state]
        vectors.append(network.embed_region(matrix_BFC, hidden_1.expand(len(part)), *states))
    return torch.cat(vectors)
