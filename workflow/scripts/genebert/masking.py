"""Hide bases for masked genome modelling (MGM), so that no visible token tells what is hidden.

`span` (the default) chooses spans of bases, decides for a whole span whether it is masked (80 %),
replaced by random bases (10 %) or kept (10 %), and tokenises the changed sequence; every k-mer
that touches a masked base becomes MASK. `dnabert` is the scheme of DNABERT, for the ablation:
tokens are chosen and decided one by one, and overlapping visible k-mers give most bases away.

Both hide a constant number of bases in every row, so that shapes are static.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genebert import tokens
from genebert.errors import InputError
from genebert.rng import integers, uniform

MODES = ("span", "dnabert")
MASKED, REPLACED, KEPT = range(3)
P_MASKED = 0.8


@dataclass(frozen=True)
class Masking:
    """How many bases of a segment are hidden, and how.

    Parameters
    ----------
    mode : "span" or "dnabert".
    n_spans : spans of each segment (dnabert: centres, each widened to k tokens).
    span : bases of a span (dnabert: tokens around a centre, k).
    masked : share of the spans that are masked; of the others half are replaced, half kept. The
        row shows a base there, so that a part of the loss is on bases that need not be inferred.
    """

    mode: str
    n_spans: int
    span: int
    masked: float = P_MASKED

    @classmethod
    def for_segment(
        cls,
        mode: str,
        length: int,
        k: int,
        stride: int,
        hidden_fraction: float,
        span: int,
        masked: float = P_MASKED,
    ) -> Masking:
        """Choose the number of spans for segments of ``length`` bases.

        Raises
        ------
        InputError
            If the mode is unknown or the spans do not fit the segment.
        """
        if mode not in MODES:
            raise InputError(
                "unknown masking", file="objectives.mgm.masking", found=mode,
                expected=" or ".join(MODES),
            )  # fmt: skip
        if not 0 < hidden_fraction < 1:
            raise InputError(
                "is no fraction", file="objectives.mgm.hidden_fraction", found=hidden_fraction,
                expected="between 0 and 1",
            )  # fmt: skip
        room = length if mode == "span" else tokens.n_tokens(length, k, stride)
        width = span if mode == "span" else k
        if width < 1 or width > room:
            raise InputError(
                "span does not fit the segment", file="objectives.mgm.span", found=span,
                expected=f"1 to {room}",
            )  # fmt: skip
        n_spans = max(1, round(hidden_fraction * room / width))
        if n_spans * width > room:
            raise InputError(
                "spans do not fit the segment", file="objectives.mgm.hidden_fraction",
                found=hidden_fraction,
            )  # fmt: skip
        return cls(mode, n_spans, width, masked)

    @property
    def n_hidden(self) -> int:
        """Hidden bases of a segment."""
        return self.n_spans * self.span

    @property
    def n_words(self) -> int:
        """Random words that a segment takes."""
        return 2 * self.n_spans + self.n_hidden if self.mode == "span" else 3 * self.n_hidden


@dataclass(frozen=True)
class Masked:
    """A segment with hidden bases; n tokens, H hidden bases.

    Attributes
    ----------
    ids : int64[B, n], what the encoder sees.
    position : int64[B, H], places of the hidden bases in the segment.
    decision : int64[B, H], MASKED, REPLACED or KEPT.
    token, offset : int64[B, H], the token each base is predicted from and its place in it.
    """

    ids: Tensor
    position: Tensor
    decision: Tensor
    token: Tensor
    offset: Tensor


def starts(word_BS: Tensor, room: int, span: int) -> Tensor:
    """Place S spans without overlap: one in each of S equal parts of ``room``; int64[B, S]."""
    S = word_BS.shape[1]
    edge = torch.arange(S + 1, device=word_BS.device) * room // S
    return edge[:-1] + integers(word_BS, edge[1:] - edge[:-1] - span + 1)


def decide(word: Tensor, masked: float = P_MASKED) -> Tensor:
    """Turn words into MASKED (a share of ``masked``), and half of the rest REPLACED, half KEPT."""
    u = uniform(word)
    return (u >= masked).long() + (u >= (1.0 + masked) / 2).long()


def covering(position: Tensor, n: int, k: int, stride: int) -> tuple[Tensor, Tensor]:
    """Return the token whose centre is nearest to a base, and the base's offset in it."""
    token = ((2 * position - (k - 1) + stride) // (2 * stride)).clamp(0, n - 1)
    return token, position - token * stride


def mask(codes_BL: Tensor, word_BW: Tensor, masking: Masking, k: int, stride: int) -> Masked:
    """Hide bases of segments and tokenise what is left.

    Parameters
    ----------
    codes_BL : uint8[B, L] base codes, L = (n - 1) * stride + k.
    word_BW : int64[B, masking.n_words] random words.
    """
    if masking.mode == "dnabert":
        return _mask_dnabert(codes_BL, word_BW, masking, k, stride)
    B, L = codes_BL.shape
    S, H = masking.n_spans, masking.n_hidden
    start_BS = starts(word_BW[:, :S], L, masking.span)
    decision_BS = decide(word_BW[:, S : 2 * S], masking.masked)
    random_BH = integers(word_BW[:, 2 * S : 2 * S + H], 4)
    within = torch.arange(masking.span, device=codes_BL.device)
    position_BH = (start_BS[:, :, None] + within).reshape(B, H)
    decision_BH = decision_BS[:, :, None].expand(-1, -1, masking.span).reshape(B, H)
    codes_BL = codes_BL.to(torch.uint8)
    kept_BH = codes_BL.gather(1, position_BH)
    seen_BH = torch.where(decision_BH == REPLACED, random_BH.to(torch.uint8), kept_BH)
    changed_BL = codes_BL.scatter(1, position_BH, seen_BH)
    hidden_BH = (decision_BH == MASKED).to(torch.uint8)
    masked_BL = torch.zeros_like(codes_BL).scatter_(1, position_BH, hidden_BH)
    ids_Bn = tokens.tokenize(changed_BL, k, stride, masked_BL)
    n = ids_Bn.shape[1]
    token_BH, offset_BH = covering(position_BH, n, k, stride)
    return Masked(ids_Bn, position_BH, decision_BH, token_BH, offset_BH)


def _mask_dnabert(
    codes_BL: Tensor, word_BW: Tensor, masking: Masking, k: int, stride: int
) -> Masked:
    """Hide runs of k tokens, each token decided by itself; predict each token's middle base."""
    ids_Bn = tokens.tokenize(codes_BL, k, stride)
    B, n = ids_Bn.shape
    S, H = masking.n_spans, masking.n_hidden
    start_BS = starts(word_BW[:, :S], n, masking.span)
    within = torch.arange(masking.span, device=codes_BL.device)
    token_BH = (start_BS[:, :, None] + within).reshape(B, H)
    decision_BH = decide(word_BW[:, H : 2 * H], masking.masked)
    random_BH = tokens.N_SPECIAL + integers(word_BW[:, 2 * H : 3 * H], 4**k)
    seen_BH = torch.where(decision_BH == MASKED, tokens.MASK, ids_Bn.gather(1, token_BH))
    seen_BH = torch.where(decision_BH == REPLACED, random_BH, seen_BH)
    ids_Bn = ids_Bn.scatter(1, token_BH, seen_BH)
    offset_BH = torch.full_like(token_BH, (k - 1) // 2)
    return Masked(ids_Bn, token_BH * stride + offset_BH, decision_BH, token_BH, offset_BH)
