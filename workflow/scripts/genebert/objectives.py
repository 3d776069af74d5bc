"""The losses of pre-training and the figures that are reported beside them.

MGM: nats per hidden base (chance ln 4). NGSP and SRM: binary cross-entropy in nats (chance ln 2);
SRM may be InfoNCE within groups of rows instead (chance ln of the candidates). MRM: mean squared
error of the cells of hidden columns, which lie in [0, 1]. MOTIF: mean squared error of the anchor's
standardised motif row, read from its sequence (chance 1).
Every loss is a (sum, count) pair, so that it adds up over micro-batches and processes.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional

from genebert.errors import InputError

MGM, NGSP, SRM, MRM, MOTIF = "mgm", "ngsp", "srm", "mrm", "motif"
OBJECTIVES = (MGM, NGSP, SRM, MRM, MOTIF)
DEFAULT_OBJECTIVES = (MGM, NGSP, SRM)
SRM_LOSSES = ("bce", "infonce")
N_CODE = 4


def nucleotide_loss(logits_BH4: Tensor, target_BH: Tensor, weight_BH: Tensor) -> Tensor:
    """Return the weighted cross-entropy of each hidden base, float32[B, H]; N counts nothing."""
    loss_BH = functional.cross_entropy(
        logits_BH4.float().flatten(0, 1),
        target_BH.clamp(max=N_CODE - 1).flatten(),
        reduction="none",
    ).view_as(weight_BH)
    return loss_BH * weight_BH


def repeat_weights(weight_BH: Tensor, repeat_BH: Tensor, factor: float) -> Tensor:
    """Return the weights of hidden bases with those of soft-masked ones multiplied by a factor."""
    return weight_BH if factor == 1.0 else weight_BH * torch.where(repeat_BH, factor, 1.0)


def span_stages(value: object) -> tuple[tuple[float, int], ...]:
    """Read ``objectives.mgm.span``: a number of bases, or a list of (share of the steps, bases).

    Raises
    ------
    InputError
        If it is neither, a length is below 1, or the shares do not add up to 1.
    """
    if isinstance(value, int):
        return ((1.0, value),)
    pairs = value if isinstance(value, list | tuple) else []
    try:
        stages = tuple((float(share), int(length)) for share, length in pairs)
    except (TypeError, ValueError):
        stages = ()
    good = stages and all(share > 0 and length > 0 for share, length in stages)
    if not good or abs(sum(share for share, _ in stages) - 1.0) > 1e-6:
        raise InputError(
            "is no list of spans", file="objectives.mgm.span", found=value,
            expected="a number, or [share of the steps, span] with shares that add up to 1",
        )  # fmt: skip
    return stages


def column_loss(found_SFC: Tensor, matrix_SFC: Tensor, hidden_SC: Tensor) -> Tensor:
    """Return the mean squared error of the cells of each row's hidden columns, float32[S]."""
    error_SC = (found_SFC.float() - matrix_SFC).square().mean(dim=1)
    return (error_SC * hidden_SC).sum(dim=1) / hidden_SC.sum(dim=1).clamp(min=1)


def motif_loss(found_SM: Tensor, motif_SM: Tensor) -> Tensor:
    """Return the mean squared error of each row's standardised motif values, float32[S]."""
    return (found_SM.float() - motif_SM).square().mean(dim=1)


def binary_loss(logit_B: Tensor, label_B: Tensor) -> Tensor:
    """Return the binary cross-entropy of each pair, float32[B]."""
    return functional.binary_cross_entropy_with_logits(
        logit_B.float(), label_B.float(), reduction="none"
    )


def infonce_loss(similarity_GNM: Tensor, allowed_GNM: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE of each row against the matrices of its group, float32[G, N].

    Parameters
    ----------
    similarity_GNM : cosine similarities; the matrix that belongs to row n is column n.
    allowed_GNM : bool, true for the right matrix and for every permitted negative. A matrix of
        a cell type in which the row's anchor is open must not be one.
    """
    logits = similarity_GNM / temperature
    logits = logits.masked_fill(~allowed_GNM, -math.inf)
    return logits.logsumexp(dim=-1) - logits.diagonal(dim1=-2, dim2=-1)


def chance(objective: str, candidates: float = 2.0) -> float:
    """Return the loss of a model that knows nothing (MRM: it says 0.5 for values of 0 or 1)."""
    if objective in (MRM, MOTIF):
        return 0.25 if objective == MRM else 1.0
    return math.log(4.0) if objective == MGM else math.log(candidates)


def accuracy(logit: ArrayLike, label: ArrayLike) -> float:
    """Return the share of logits on the right side of 0."""
    return float(np.mean((np.asarray(logit) > 0) == np.asarray(label).astype(bool)))
