"""Which bases of a sequence a prediction rests on: a score in, the contribution of each base out.

In: what predicts (pre-trained encoders with their accessibility read-out, or a fine-tuned network)
and base codes. Out: per base the mean loss of the score over its three substitutions
(:func:`genebert.interpret.contributions`). ``ism`` predicts every substitution; ``gradient`` takes
the first order of it from one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genebert import tokens
from genebert.classifier import mean_probability
from genebert.errors import InputError, nearest
from genebert.finetuned import Fitted
from genebert.genome import Codes, N, reverse_complement
from genebert.interpret import contributions, log_odds, substitutions
from genebert.pretrained import INFERENCE_BATCH, Pretrained
from genebert.use.head import Head
from genebert.use.predictions import probabilities

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """A score of sequences, for mutation and for gradients.

    Attributes
    ----------
    score : codes uint8[M, L] -> float64[M], mean over strands.
    gradient : ids int[1, T] of each strand -> a differentiable score; None if there is none.
    embedding : the look-up of tokens, through which the gradient is taken.
    k, stride : of the tokens.
    both_strands : whether the reverse complement is read, too.
    """

    score: Callable[[Codes], Floats]
    gradient: Callable[[Sequence[Tensor]], Tensor] | None = None
    embedding: nn.Embedding | None = None
    k: int = 1
    stride: int = 1
    both_strands: bool = True


def accessibility_target(
    encoders: Pretrained, head: Head, cell_types: Sequence[str] = ()
) -> Target:
    """Return predicted openness, the mean over some cell types (all by default), as a target.

    Raises
    ------
    InputError
        If the head was fitted on other weights, or not on one of the cell types.
    """
    head.check(encoders)
    columns = head.columns(cell_types)
    ridge = head.ridge
    slope_D = ridge.weights[:, columns].mean(axis=1) / ridge.scale
    weights = torch.as_tensor(slope_D, dtype=torch.float32, device=encoders.device)

    def score(codes: Codes) -> Floats:
        vectors = encoders.embed_sequences(codes, both_strands=True)
        return np.asarray(head(vectors)[:, columns].mean(axis=1))

    def gradient(rows: Sequence[Tensor]) -> Tensor:
        vectors = torch.stack([encoders.model.embed_sequence(row) for row in rows])
        return (vectors.mean(dim=0) @ weights).sum()

    config = encoders.config
    embedding = encoders.model.sequence.embedding
    return Target(score, gradient, embedding, config.k, config.stride)


def network_target(
    fitted: Fitted,
    column: int,
    matrices: tuple[Tensor, ...] | None = None,
    anchor_rows: Callable[[Codes], Tensor] | None = None,
) -> Target:
    """Return the log-odds of one output of a network as a target; the neighbours stay.

    Parameters
    ----------
    column : the output. matrices : arguments of ``embed_region`` for one place, or None.
    anchor_rows : codes uint8[M, L] -> float32[M, motifs], where the sequence is that of the
        anchor: the motif rows that the anchor has in the matrix with them, as
        :func:`genebert.scorers.region_vectors` has. None: its row stays, as in ``gradient``.
    """
    batch = INFERENCE_BATCH[next(fitted.network.parameters()).device.type]

    def of(codes: Codes) -> Sequence[tuple[Tensor, ...] | None]:
        if matrices is None:
            return (None,)
        matrix_BFC, *rest = (m.expand(len(codes), *m.shape[1:]) for m in matrices)
        if anchor_rows is not None:
            matrix_BFC = matrix_BFC.clone()
            matrix_BFC[:, :-1, matrix_BFC.shape[2] // 2] = anchor_rows(codes)
        return ((matrix_BFC, *rest),)

    def score(codes: Codes) -> Floats:
        parts = [codes[at : at + batch] for at in range(0, len(codes), batch)]
        found = [probabilities(fitted, part, of(part))[:, column, 0] for part in parts]
        return log_odds(np.concatenate(found))

    def gradient(rows: Sequence[Tensor]) -> Tensor:
        network, region = fitted.network, None
        if matrices is not None:
            region = network.embed_region(*matrices)
        logits = [network.logits(network.embed_sequence(row), region).double() for row in rows]
        chances_1K = mean_probability(logits, fitted.about.multiclass)
        # as interpret.log_odds; in float32 a confident network had no gradient
        return torch.logit(chances_1K[0, column], eps=1e-12)

    if fitted.encoders is None:
        return Target(score, both_strands=not fitted.about.strand_specific)
    config = fitted.encoders.config
    embedding = fitted.encoders.model.sequence.embedding
    both = not fitted.about.strand_specific
    return Target(score, gradient, embedding, config.k, config.stride, both)


def by_mutation(target: Target, codes_L: Codes) -> Floats:
    """Return float64[L, 4]: the score of each substitution minus that of the sequence; NaN at N."""
    mutants, position, base = substitutions(codes_L)
    score = target.score(np.vstack([codes_L[None], mutants]))
    out = np.where(codes_L == N, np.nan, 0.0)[:, None].repeat(4, axis=1)
    out[position, base] = score[1:] - score[0]
    return out


def by_gradient(target: Target, codes_L: Codes) -> Floats:
    """Return float64[L, 4]: the first order of :func:`by_mutation`, from one backward pass.

    The gradient at the vector of a token times the difference of the vectors of the mutated and
    the present k-mer, summed over the tokens that hold the base, and over strands.

    Raises
    ------
    InputError
        If the model reads no tokens (the CNN).
    """
    if target.gradient is None or target.embedding is None:
        raise InputError(
            "the model has no gradient through tokens",
            file="user_files, column method",
            found="gradient",
            expected="ism",
        )
    strands = [codes_L, reverse_complement(codes_L)][: 1 + target.both_strands]
    table = target.embedding.weight.detach()
    rows = [
        tokens.single_row(
            tokens.tokenize(torch.as_tensor(codes[None]), target.k, target.stride)
        ).to(table.device)
        for codes in strands
    ]
    seen: list[Tensor] = []
    hook = target.embedding.register_forward_hook(lambda _m, _i, out: seen.append(out))
    try:
        with torch.enable_grad():
            slopes = torch.autograd.grad(target.gradient(rows), seen)
    finally:
        hook.remove()
    out = np.zeros((len(codes_L), 4))
    for strand, (codes, slope_1TD) in enumerate(zip(strands, slopes, strict=True)):
        effect = token_effects(codes, slope_1TD[0, 1:], table, target.k, target.stride)
        out += effect[::-1, ::-1] if strand else effect  # complement: A C G T -> T G C A
    out[codes_L == N] = np.nan
    return out


def token_effects(codes: Codes, slope_TD: Tensor, table: Tensor, k: int, stride: int) -> Floats:
    """Return float64[L, 4]: what each substitution adds by the slopes at the tokens' vectors."""
    kmers = np.lib.stride_tricks.sliding_window_view(codes, k)[::stride]
    T = len(kmers)
    mutated = np.tile(kmers[:, None, None], (1, k, 4, 1))  # [T, offset, base, k]
    for offset in range(k):
        mutated[:, offset, np.arange(4), offset] = np.arange(4)
    ids = tokens.tokenize(torch.as_tensor(mutated), k, 1)[..., 0].to(table.device)
    here = tokens.tokenize(torch.as_tensor(kmers.copy()), k, 1)[:, 0].to(table.device)
    own = (table[here] * slope_TD).sum(dim=1)
    change = torch.stack(
        [
            (table[ids[:, offset]] * slope_TD[:, None]).sum(dim=-1) - own[:, None]
            for offset in range(k)
        ],
        dim=1,
    )
    out = np.zeros((len(codes), 4))
    at = np.arange(T)[:, None] * stride + np.arange(k)
    np.add.at(out, at, change.double().cpu().numpy())
    return out


EFFECTS = {"ism": by_mutation, "gradient": by_gradient}


def attribute(target: Target, codes_L: Codes, method: str = "ism") -> Floats:
    """Return float64[L]: the contribution of every base of a sequence to a score; NaN at N.

    Parameters
    ----------
    target : of :func:`accessibility_target` or :func:`network_target`.
    codes_L : uint8[L]. method : ``ism`` or ``gradient``.
    """
    if method not in EFFECTS:
        raise InputError(
            f"unknown method{nearest(method, EFFECTS)}",
            file="method",
            found=method,
            expected=" or ".join(EFFECTS),
        )
    return contributions(EFFECTS[method](target, codes_L))
