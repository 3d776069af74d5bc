"""k-mer tokens of base codes (A0 C1 G2 T3 N4), on any device.

Identifiers: 0 PAD, 1 CLS, 2 SEP, 3 MASK, 4 UNKNOWN (a k-mer with an N), then the k-mers in
lexicographic order: 5 + sum_j code[j] * 4**(k - 1 - j). A row is ``[CLS] A`` or
``[CLS] A [SEP] B``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genebert.errors import InputError

PAD, CLS, SEP, MASK, UNKNOWN = range(5)
N_SPECIAL = 5
N_CODE = 4
MAX_K = 8


def check(k: int, stride: int) -> None:
    """Raise :class:`InputError` unless 1 <= stride <= k <= 8 (every base lies in a token)."""
    if not 1 <= k <= MAX_K:
        raise InputError("k is out of range", file="tokens.k", found=k, expected=f"1 to {MAX_K}")
    if not 1 <= stride <= k:
        raise InputError(
            "stride leaves bases without a token",
            file="tokens.stride",
            found=stride,
            expected=f"1 to k = {k}",
        )


def vocabulary_size(k: int, multiple: int = 64) -> int:
    """Return the number of identifiers, padded to a multiple (matrix shapes that GPUs like)."""
    return -(-(4**k + N_SPECIAL) // multiple) * multiple


def n_tokens(length: int, k: int, stride: int) -> int:
    """Return the number of k-mers of a sequence of ``length`` bases (0 if it is shorter than k)."""
    return max(0, (length - k) // stride + 1)


def segment_length(n: int, k: int, stride: int) -> int:
    """Return the number of bases that n k-mers cover."""
    return (n - 1) * stride + k


def tokenize(codes: Tensor, k: int, stride: int, masked: Tensor | None = None) -> Tensor:
    """Turn codes[..., L] (any integer type) into ids int64[..., n], n = (L - k) // stride + 1.

    Parameters
    ----------
    codes : 0 to 4, as :mod:`genebert.genome` writes them.
    masked : bool or uint8[..., L], bases that are hidden: every k-mer that touches one is MASK.
    """
    length = codes.shape[-1]
    if n_tokens(length, k, stride) == 0:
        raise InputError(
            "sequence is shorter than a token", file="tokens.k", found=k, expected=f"<= {length}"
        )
    codes = codes.to(torch.uint8)
    kmer = slide((codes & 3).to(torch.int32), k, lambda a, b, width: (a << 2 * width) | b)
    # what a k-mer becomes: the least of 255 (itself), UNKNOWN and MASK over its bases
    fate = ~((codes >> 2) * (255 - UNKNOWN))
    if masked is not None:
        fate = torch.minimum(fate, ~(masked.to(torch.uint8) * (255 - MASK)))
    fate = slide(fate, k, lambda a, b, _: torch.minimum(a, b))
    fate, kmer = fate[..., ::stride], kmer[..., ::stride]
    return torch.where(fate == 255, kmer + N_SPECIAL, fate).to(torch.int64)


def slide(x: Tensor, k: int, join: Callable[[Tensor, Tensor, int], Tensor]) -> Tensor:
    """Return join over every window of k along the last axis, by doubling: [..., L - k + 1].

    ``join(left, right, width)`` takes what is known of windows that lie side by side; ``width`` is
    that of the right one.
    """
    length, width, done, out = x.shape[-1], 1, 0, None
    while True:
        if k & width:  # windows of `width` that begin where the `done` before them end
            end = length - k + 1 + done
            out = x[..., done:end] if out is None else join(out, x[..., done:end], width)
            done += width
        if done == k:
            return out  # type: ignore[return-value]
        x = join(x[..., :-width], x[..., width:], width)
        width *= 2


def reverse_complement(codes: Tensor) -> Tensor:
    """Return the reverse complement of codes[..., L]; N stays N."""
    return (codes ^ 3).clamp(max=N_CODE).flip(-1)  # 4 ^ 3 is 7


def bases(k: int) -> Tensor:
    """Return int64[k, 4**k]: the code of base j of every k-mer, in the order of identifiers."""
    kmer = torch.arange(4**k)
    return torch.stack([(kmer >> 2 * (k - 1 - j)) & 3 for j in range(k)])


def single_row(ids_A: Tensor) -> Tensor:
    """Put ``[CLS]`` before the tokens int64[B, n]; returns int64[B, 1 + n]."""
    return torch.nn.functional.pad(ids_A, (1, 0), value=CLS)


def pair_row(ids_A: Tensor, ids_B: Tensor) -> Tensor:
    """Return ``[CLS] A [SEP] B``, int64[B, 2 + n_A + n_B]."""
    pad = torch.nn.functional.pad
    return torch.cat([pad(ids_A, (1, 0), value=CLS), pad(ids_B, (1, 0), value=SEP)], dim=-1)
