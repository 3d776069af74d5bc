"""The convolutional baseline: one-hot sequence in, one vector out, trained from nothing.

Three convolutions with pooling, then the global maximum (which motifs are there) beside the maxima
of fixed bins along the sequence (where they are). It goes through the
same trainer as the pre-trained encoders (:mod:`genebert.finetune`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genebert.classifier import DROPOUT, Network

WIDTHS = (64, 64, 96)  # channels of the three convolutions
KERNELS = (15, 7, 5)  # the first is about as long as a motif
POOL = 4  # bases (then pooled bases) per step of the first two poolings
BINS = 9  # odd, so that the middle of the sequence is the middle of a bin
BIN_WIDTH = 8  # channels kept in each bin


class SequenceCnn(Network):
    """A motif scanner with two layers of combinations on top.

    Parameters
    ----------
    outputs : number of logits.
    focus : first and last base that the label is about, or None. The first convolution's output
        there stands beside the pooled vectors, at the full resolution.
    hidden : width of the vector of a sequence.
    """

    def __init__(
        self, outputs: int, focus: tuple[int, int] | None = None, hidden: int = 64
    ) -> None:
        super().__init__(uses_regions=False)
        self.focus = focus
        channels = (4, *WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels[i], channels[i + 1], KERNELS[i], padding=KERNELS[i] // 2)
            for i in range(3)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in WIDTHS)
        self.bins = nn.Conv1d(WIDTHS[-1], BIN_WIDTH, 1)
        at_focus = 0 if focus is None else WIDTHS[0]
        self.dense = nn.Linear(2 * WIDTHS[-1] + BINS * BIN_WIDTH + at_focus, hidden)
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(hidden, outputs)

    def embed_sequence(self, codes_BL: Tensor) -> Tensor:
        """Turn base codes (0..3, 4 = N, all zeros) into one vector a sequence, e_BD."""
        x_BCL = nn.functional.one_hot(codes_BL.long(), 5)[..., :4].transpose(1, 2).float()
        parts = []
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x_BCL = nn.functional.gelu(norm(convolution(x_BCL)))
            if i == 0 and self.focus is not None:
                parts.append(x_BCL[..., self.focus[0] : self.focus[1] + 1].mean(dim=2))
            if i < 2 and x_BCL.shape[-1] >= POOL:
                x_BCL = nn.functional.max_pool1d(x_BCL, POOL)
        binned = nn.functional.adaptive_max_pool1d(self.bins(x_BCL), BINS).flatten(1)
        parts += [x_BCL.amax(dim=2), x_BCL.mean(dim=2), binned]
        return nn.functional.gelu(self.dense(torch.cat(parts, dim=1)))

    def logits(self, sequence_BD: Tensor, region_BD: Tensor | None = None) -> Tensor:
        """Return logits_BK; the region branch does not exist here."""
        return self.out(self.dropout(sequence_BD))
