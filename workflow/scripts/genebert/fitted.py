"""A model of the tables as a function of sequences, for interpretation.

In: a prediction job and ``fit.json`` (the grid point that the stage `predict` chose). Out: a
function from sequences that stand in for an item to probabilities. Weights of fine-tuned networks
are not kept, so the model is fitted anew: with the same job, seed, grid point and number of
threads training gives the same weights, and the validation score in ``fit.json`` tells whether it
did.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from genebert import genome
from genebert.baselines import (
    SEQUENCE_MODELS,
    Matrix,
    fit_logistic,
    sequence_rows,
    standardise,
)
from genebert.classifier import sequence_inputs
from genebert.errors import InputError
from genebert.finetune import Finetuning, Run, Start
from genebert.interpret import Floats, Scorer
from genebert.items import Job, Subset
from genebert.layout import variant_of
from genebert.pretrained import INFERENCE_BATCH

log = logging.getLogger("genebert")

SEED = 1  # fine-tuning seed of the run that is fitted again
TOLERANCE = 1e-6  # of the validation score, to be the run of the tables


def fit_again(job: Job, fit: str) -> Scorer:
    """Fit the model of a job with the grid point in ``fit.json``, all labels, the first seed.

    Raises
    ------
    InputError
        If ``fit.json`` cannot be read, holds no fit of all labels, or the model is none that reads
        a sequence alone or through a network.
    """
    record = read_fit(fit)
    chosen = record.get("chosen", {})
    if job.model in SEQUENCE_MODELS and "C" in chosen.get("1/0", {}):
        return linear_scorer(job, float(chosen["1/0"]["C"]))
    if job.model in ("scratch", "cnn") or variant_of(job.model):
        if "learning_rate" in chosen.get("1", {}):
            return network_scorer(job, float(chosen["1"]["learning_rate"]), record)
    elif job.model not in SEQUENCE_MODELS:
        raise InputError(
            "model cannot be interpreted",
            file="config interpret.models",
            found=job.model,
            expected=f"genebert, genebert-VARIANT, scratch, cnn, {', '.join(SEQUENCE_MODELS)}",
        )
    raise InputError(
        "no fit of all labels",
        file=fit,
        found=", ".join(chosen) or "nothing chosen",
        expected="1.0 among effort.label_fractions",
    )


def read_fit(path: str) -> dict[str, Any]:
    """Read ``fit.json``; raise :class:`InputError` if it is none."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON ({error})", file=path) from None
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


def network_scorer(job: Job, rate: float, record: Mapping[str, Any]) -> Scorer:
    """Train the network of the first pre-training and fine-tuning seed and return it as a function.

    Only the sequence is mutated; the neighbourhood stays. Where the region branch sees the item's
    own region, its motif row is that of the mutated sequence.
    """
    torch.set_num_threads(job.threads)
    tuning = Finetuning(job)
    start = tuning.starts[0]
    run = tuning.run(start, SEED, rate, Subset(1.0, 0, job.items.rows("train")))
    compare(run, start, record)
    return scorer_of(tuning, run)


def compare(run: Run, start: Start, record: Mapping[str, Any]) -> None:
    """Log whether a run is that of the tables: the same validation score."""
    same = {"pretrain_seed": start.pretrain_seed, "finetune_seed": SEED, "fraction": 1.0}
    for one in record.get("runs", []):
        if all(one.get(key) == value for key, value in same.items()):
            if abs(one["valid"] - run.valid) > TOLERANCE:
                log.warning(
                    "validation score %.6f, in the tables %.6f: this machine does not repeat"
                    " a training exactly, so this is a sister of the run in the tables",
                    run.valid, one["valid"],
                )  # fmt: skip
            return
    log.warning("the run is not in the record of the fit")


def scorer_of(tuning: Finetuning, run: Run) -> Scorer:
    """Return a trained network as a function of sequences: probabilities, mean over strands."""
    items, inputs, network = tuning.items, tuning.inputs, run.network
    encoders = tuning.starts[0].encoders
    config = None if encoders is None else encoders.config
    batch = INFERENCE_BATCH[tuning.device.type]

    @torch.inference_mode()
    def score(row: int, codes: NDArray[np.uint8]) -> Floats:
        region = region_vectors(tuning, run, row, codes) if network.uses_regions else None
        parts = []
        for strand in sequence_inputs(replace(items, codes=codes), config, tuning.device):
            vectors = torch.cat([network.embed_sequence(part) for part in strand.split(batch)])
            logits = network.logits(vectors, region).double()
            if items.multiclass:
                parts.append(logits.softmax(dim=1))
            else:
                own = int(inputs.group[row])
                parts.append(logits[:, own : own + 1].sigmoid())
        return np.asarray(torch.stack(parts).mean(dim=0).cpu().numpy(), dtype=np.float64)

    return score


def region_vectors(
    tuning: Finetuning, run: Run, row: int, codes: NDArray[np.uint8]
) -> torch.Tensor:
    """Return e_MD of the item's matrix, in which the anchor has the motif rows of M sequences."""
    places = tuning.inputs.places
    assert places is not None
    matrix_1FC, hidden_1, *state = places.of(places.row[row][None])
    corpus, network = tuning.corpus, run.network
    assert corpus is not None
    region = int(tuning.items.region[row])
    own = codes.shape[1] == corpus.width and tuning.items.start[row] == int(corpus.start[region])
    if bool(hidden_1[0]) or not own:
        return network.embed_region(matrix_1FC, hidden_1, *state).expand(len(codes), -1)
    rows = torch.from_numpy(tuning.job.motifs.scan(list(codes)).sum.toarray()).to(tuning.device)
    rows = rows.half().float().div_(corpus.normaliser).clamp_(max=1.0)  # as the shards hold them
    middle = matrix_1FC.shape[2] // 2
    vectors = []
    for part in rows.split(INFERENCE_BATCH[tuning.device.type]):
        matrix_BFC = matrix_1FC.repeat(len(part), 1, 1)
        matrix_BFC[:, :-1, middle] = part
        states = [one.expand(len(part), -1) for one in state]
        vectors.append(network.embed_region(matrix_BFC, hidden_1.expand(len(part)), *states))
    return torch.cat(vectors)
