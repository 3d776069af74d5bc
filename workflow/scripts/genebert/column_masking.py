"""Which columns of the TF x region matrices masked-region modelling (MRM) hides.

MRM hides whole regions, as GET does: all motif rows and the accessibility of a column are replaced
by a learned vector and predicted from the other columns. What is hidden is a pure function of
(seed, epoch, locus). Shapes: S rows, R neighbours, C = R + 1 columns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from genebert.rng import fold, words
from genebert.sampler import Rows
from genebert.samples import around

STREAM_COLUMNS = 16
HIDDEN_FRACTION = 0.5


@dataclass(frozen=True)
class MaskedRows(Rows):
    """Rows with the columns that MRM hides in the matching matrices, bool[S, C]."""

    hidden: Tensor | None = None

    @classmethod
    def of(cls, rows: Rows, hidden: Tensor) -> MaskedRows:
        """Add the columns to rows."""
        return cls(**{f.name: getattr(rows, f.name) for f in fields(rows)}, hidden=hidden)


def hidden_columns(
    seed: int, epoch_S: Tensor, locus_S: Tensor, neighbours: int, fraction: float
) -> Tensor:
    """Return bool[S, R + 1]: the same number of columns in every row, never the anchor's."""
    n = min(max(1, round(fraction * neighbours)), neighbours - 1)
    word_SR = words(fold(seed, STREAM_COLUMNS, epoch_S), locus_S, neighbours)
    rank_SR = word_SR.argsort(dim=1, stable=True).argsort(dim=1)
    hidden_SR = rank_SR < n
    return around(hidden_SR, torch.zeros_like(hidden_SR[:, 0]))
