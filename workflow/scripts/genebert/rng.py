"""Random numbers as a pure function of a key and a counter, and a keyed order of the samples.

Nothing here has a state: the same (key, counter) gives the same word on every device, in every
process and after every restart. Words are 32 bit, held in int64 tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

WORD = 0xFFFFFFFF
# what a key is for: the order of the samples, and what is drawn for a sample of each kind
STREAM_ORDER, STREAM_SINGLE, STREAM_PAIR, STREAM_DRAW = range(4)
# Philox 2x32 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), ten rounds
_PHILOX_MULTIPLIER = 0xD256D193
_PHILOX_WEYL = 0x9E3779B9
_PHILOX_ROUNDS = 10
_FEISTEL_ROUNDS = 6


def mix(x: Tensor) -> Tensor:
    """Hash 32-bit words (int64, any shape) to 32-bit words; a bijection of [0, 2**32).

    Two rounds of xor-shift and multiplication; both multipliers are below 2**31, so that no
    product leaves the signed 64-bit range. Takes a Python integer as well.
    """
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & WORD
    x = ((x ^ (x >> 15)) * 0x735A2D97) & WORD
    return x ^ (x >> 15)


def fold(*parts: int | Tensor) -> Tensor:
    """Fold integers (seed, stream, epoch ...) into one 32-bit key; tensors broadcast.

    Every part may be any integer of 64 bits; its two halves are taken in one after the other.
    """
    key: Any = 0
    for part in parts:
        for half in (part & WORD, (part >> 32) & WORD):
            key = mix((key * 5 + half + _PHILOX_WEYL) & WORD)
    return torch.as_tensor(key, dtype=torch.int64)


def philox(low: Tensor, high: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Encrypt the counter (low, high) under ``key``: Philox 2x32-10.

    Parameters
    ----------
    low, high, key : int64 tensors of 32-bit words that broadcast.

    Returns
    -------
    Two int64 tensors of independent, uniform 32-bit words.
    """
    weyl = torch.arange(_PHILOX_ROUNDS, device=key.device) * _PHILOX_WEYL
    for bumped in ((key + weyl.view(-1, *[1] * key.ndim)) & WORD).unbind():
        # the wrapped signed product has the same 64 bits as the unsigned one
        product = low * _PHILOX_MULTIPLIER
        low, high = (product >> 32).bitwise_xor(bumped ^ high).bitwise_and_(WORD), product & WORD
    return low, high


def words(key_B: Tensor, sample_B: Tensor, n: int) -> Tensor:
    """Draw n 32-bit words for every sample.

    Parameters
    ----------
    key_B : int64[B] or scalar, from :func:`fold` of seed, stream and epoch.
    sample_B : int64[B], the counter of the sample.

    Returns
    -------
    int64[B, n] in [0, 2**32).
    """
    draw = torch.arange(-(-n // 2), device=sample_B.device, dtype=torch.int64)
    key = key_B.to(sample_B.device).reshape(-1, 1)
    first, second = philox(draw[None, :], (sample_B & WORD)[:, None], key)
    return torch.stack([first, second], dim=-1).flatten(1)[:, :n]


def integers(word: Tensor, high: int | Tensor) -> Tensor:
    """Turn 32-bit words into integers in [0, high); high at most 2**31 and at least 1."""
    return (word * high) >> 32


def uniform(word: Tensor) -> Tensor:
    """Turn 32-bit words into float32 in [0, 1), exactly the same on every device."""
    return (word >> 8).to(torch.float32) * 2.0**-24


def permute(index: Tensor, n: int, key: Tensor) -> Tensor:
    """Send index to its place in a keyed permutation of range(n), without a table.

    A Feistel network over the bits of n - 1, its two halves changed in turn in six rounds;
    values that fall outside are encrypted again until they fall inside (cycle walking), so that
    the map is a bijection of range(n) for every key.

    Parameters
    ----------
    index : int64[B] in [0, n).
    n : size of the permutation, below 2**62.
    key : int64[B] or scalar, from :func:`fold`.

    Returns
    -------
    int64[B] in [0, n).
    """
    bits = max(2, (n - 1).bit_length())
    low, high = bits // 2, bits - bits // 2
    low_mask, high_mask = (1 << low) - 1, (1 << high) - 1
    key = key.to(index.device)
    round_keys = [mix(mix(key) ^ round_) for round_ in range(_FEISTEL_ROUNDS)]
    x, outside = index, torch.ones_like(index, dtype=torch.bool)
    while bool(outside.any()):
        left, right = x >> low, x & low_mask  # `high` and `low` bits
        for first, second in zip(round_keys[::2], round_keys[1::2], strict=True):
            left = left ^ (mix(right ^ first) & high_mask)
            right = right ^ (mix(left ^ second) & low_mask)
        x = torch.where(outside, (left << low) | right, x)
        outside = x >= n
    return x
