"""The convolutional network as an accessibility model: trained from nothing on the open regions.

In: sequences of the training regions with their openness per cell type. Out: an
:class:`~genebert.accessibility_head.AccessibilityModel` whose features are the network's vector.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genebert import features, tokens
from genebert.accessibility_head import AccessibilityModel, Openness, mean_auroc
from genebert.cnn import SequenceCnn
from genebert.finetune import CLIP, learning_rate, make_optimizer
from genebert.progress import progress

log = logging.getLogger("genebert")

BATCH = 256


def train_cnn(
    data: Openness, rate: float, effort: Mapping[str, Any], key: Sequence[int]
) -> SequenceCnn:
    """Train on random strands of the training regions; the seed decides all.

    Parameters
    ----------
    rate : highest learning rate.
    effort : ``finetune_steps`` and ``finetune_batch`` of the configuration.
    key : seeds of weights, order and strands.
    """
    steps, size = int(effort["finetune_steps"]), int(effort["finetune_batch"])
    rng = np.random.default_rng(list(key))
    codes = torch.from_numpy(features.encode_all(data.train))
    target = torch.from_numpy(data.y_train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network = SequenceCnn(len(data.cell_types))
        optimizer = make_optimizer(network, rate)
        network.train()
        for step in progress(range(steps), "fitting", "steps"):
            for group in optimizer.param_groups:
                group["lr"] = rate * learning_rate(step, steps)
            rows = rng.choice(len(codes), min(size, len(codes)), replace=False)
            batch = codes[rows]
            if rng.integers(2):
                batch = tokens.reverse_complement(batch)
            logits = network.logits(network.embed_sequence(batch))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
    return network.eval()


@torch.no_grad()
def embed(
    network: SequenceCnn, sequences: Sequence[str], both_strands: bool = True
) -> NDArray[np.float32]:
    """Return float32[n, D]: the mean vector of both strands, or that of the forward one."""
    codes = torch.from_numpy(features.encode_all(sequences))
    parts = []
    for at in progress(range(0, len(codes), BATCH), "embedding", "batches"):
        batch = codes[at : at + BATCH]
        strands = [batch, tokens.reverse_complement(batch)] if both_strands else [batch]
        vectors = torch.stack([network.embed_sequence(s) for s in strands])
        parts.append(vectors.mean(dim=0).numpy())
    return np.concatenate(parts)


@torch.no_grad()
def read_out(network: SequenceCnn, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return float64[n, C], the logits of vectors; of mean vectors, they are mean logits."""
    return network.logits(torch.from_numpy(np.asarray(vectors, np.float32))).double().numpy()


def fit_cnn(
    data: Openness, effort: Mapping[str, Any], key: Sequence[int], *, both_strands: bool = True
) -> AccessibilityModel:
    """Train one network per learning rate and keep the best by validation AUROC.

    `both_strands` is that of :func:`genebert.disease_models.starts`; training sees both anyway.
    """
    best: AccessibilityModel | None = None
    for rate in effort.get("learning_rates", [1e-3]):
        network = train_cnn(data, float(rate), effort, key)

        def encoder(sequences: Sequence[str], network: SequenceCnn = network) -> Any:
            return embed(network, sequences, both_strands)

        def head(vectors: NDArray[np.floating], network: SequenceCnn = network) -> Any:
            return read_out(network, vectors)

        area = mean_auroc(data.y_valid, head(encoder(data.valid)))
        log.info("accessibility CNN: learning rate %g, validation AUROC %.3f", rate, area)
        if best is None or area > best.valid_auroc:
            best = AccessibilityModel(encoder, head, data.cell_types, float(rate), area)
    assert best is not None
    return best
