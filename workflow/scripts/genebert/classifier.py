"""Networks that classify items, the tensors they read, and inference.

In: items, encoders, the open regions of every cell type. Out: probabilities. Training is in
:mod:`genebert.finetune`. The sequence branch reads the item's sequence; the region branch reads the
TF x region matrix around the item in a cell type, and both vectors go into one MLP.

Shapes: B items of a batch, T tokens, D width, F x C matrix, K logits (one per class, or one per
group), S strands, U distinct sequences, V distinct (cell type, place) pairs.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genebert import tokens
from genebert.context import locus_window
from genebert.errors import InputError
from genebert.items import Items
from genebert.model import ModelConfig
from genebert.pretrained import INFERENCE_BATCH, Pretrained
from genebert.progress import progress
from genebert.samples import Corpus, View, neighbourhood

DROPOUT = 0.1
BATCH_NORM_EPS = 1e-7  # the vectors of a region encoder can vary by as little as 1e-3
_CHUNK = 4096  # rows made at once: bounds memory, changes no result

Ints = NDArray[np.int64]


class Network(nn.Module):
    """What the trainer and inference need of a network.

    Parameters
    ----------
    uses_regions : whether it has a region branch.
    """

    def __init__(self, uses_regions: bool) -> None:
        super().__init__()
        self.uses_regions = uses_regions

    def embed_sequence(self, x: Tensor) -> Tensor:
        """Turn a batch of sequences (token ids, or base codes) into e_BD."""
        raise NotImplementedError

    def embed_region(
        self, matrix_BFC: Tensor, placeholder_B: Tensor, state_BF: Tensor | None = None
    ) -> Tensor:
        """Turn matrices (and states of cell types) into e_BD; called only if `uses_regions`."""
        raise NotImplementedError

    def logits(self, sequence_BD: Tensor, region_BD: Tensor | None) -> Tensor:
        """Return logits_BK of the vectors of both branches."""
        raise NotImplementedError


class Classifier(Network):
    """Encoders, and an MLP on the concatenated vectors of the branches.

    The sequence branch gives the encoder's own pooled vector (mean or [CLS]). Where the label is
    about one place of the sequence, the mean vector of the tokens at that place stands beside it:
    pooling alone does not tell where in the sequence something is.

    Pooled vectors of different items differ little beside what they have in common, so the head
    first takes off the mean over items and scales what is left (batch normalisation, as He et al.
    2022, arXiv 2111.06377, do before a probe).

    Parameters
    ----------
    encoders : pre-trained or random; copied.
    outputs : number of logits.
    uses_regions : whether to use the region branch.
    focus : first and last base that the label is about, or None.
    """

    def __init__(
        self,
        encoders: Pretrained,
        outputs: int,
        uses_regions: bool,
        focus: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(uses_regions)
        self.focus = None if focus is None else focus_tokens(focus, encoders.config)
        self.encoders = copy.deepcopy(encoders.model)
        for unused in ("mgm", "ngsp", "srm", *(() if uses_regions else ("region",))):
            delattr(self.encoders, unused)
        width = encoders.config.d_model
        joint = width * (1 + (focus is not None) + uses_regions)
        self.head = nn.Sequential(
            nn.BatchNorm1d(joint, eps=BATCH_NORM_EPS),
            nn.Linear(joint, width),
            nn.GELU(),
            nn.Dropout(DROPOUT),
            nn.Linear(width, outputs),
        )

    def embed_sequence(self, x: Tensor) -> Tensor:
        """Turn token ids int[B, T] into e_BD, or e_B(2D) where there is a focus."""
        x_BTD = self.encoders.sequence(x.long())
        pooled_BD = self.encoders.sequence.pool(x_BTD)
        if self.focus is None:
            return pooled_BD
        return torch.cat([pooled_BD, x_BTD[:, self.focus].mean(dim=1)], dim=-1)

    def embed_region(
        self, matrix_BFC: Tensor, placeholder_B: Tensor, state_BF: Tensor | None = None
    ) -> Tensor:
        """Turn matrices into e_BD."""
        return self.encoders.embed_region(matrix_BFC, placeholder_B, state_BF)

    def logits(self, sequence_BD: Tensor, region_BD: Tensor | None = None) -> Tensor:
        """Return logits_BK."""
        parts = [sequence_BD] if region_BD is None else [sequence_BD, region_BD]
        return self.head(torch.cat(parts, dim=-1))


def focus_tokens(focus: tuple[int, int], config: ModelConfig) -> slice:
    """Return the tokens of a row ``[CLS] A`` that cover the bases from first to last."""
    first = max(0, -(-(focus[0] - config.k + 1) // config.stride))
    return slice(1 + first, 2 + focus[1] // config.stride)


@dataclass(frozen=True)
class Places:
    """The region branch's input: one matrix per distinct (cell type, place).

    Attributes
    ----------
    matrix : float32[V, F, C].
    placeholder : bool[V], true where there is no anchor region.
    row : int64[n], which matrix each of the n asked items has.
    state : float32[V, F] of the cell types, for encoders that were trained with it; else None.
    """

    matrix: Tensor
    placeholder: Tensor
    row: Tensor
    state: Tensor | None = None

    def of(self, part: Tensor) -> tuple[Tensor, ...]:
        """Return the arguments of ``Network.embed_region`` for some of the V matrices."""
        every = (self.matrix, self.placeholder, self.state)
        return tuple(tensor[part] for tensor in every if tensor is not None)


@dataclass(frozen=True)
class Inputs:
    """The tensors of a dataset, made once for all runs of a model.

    Attributes
    ----------
    sequences : [S, U, T] token ids int16/int32, or base codes uint8 for the CNN; S = 2 strands,
        or 1 where the strand has a meaning.
    sequence : int64[N], row in U of every item.
    target : float32[N], labels, NaN in the test split.
    group : int64[N], the logit of every item (binary datasets).
    places : matrices of all items, or None.
    """

    sequences: Tensor
    sequence: Tensor
    target: Tensor
    group: Tensor
    places: Places | None


def place_matrices(
    corpus: Corpus, view: View, items: Items, cells: Ints, rows: Ints, encoders: Pretrained
) -> Places:
    """Make the matrices of some items in given cell types, as the region encoder knows them.

    Parameters
    ----------
    cells : int64[n], cell type of each item, by index.
    rows : int64[n], the items.
    encoders : number of neighbours, and whether pre-training saw the accessibility.

    Raises
    ------
    InputError
        If an item lies on a contig that the shards do not know.
    """
    accessibility = bool(encoders.record.get("pretrain", {}).get("accessibility", True))
    neighbours = encoders.config.n_columns - 1
    contig_of = {name: i for i, name in enumerate(corpus.contigs)}
    contig = np.array([contig_of.get(name, -1) for name in items.contig[rows]])
    if (contig < 0).any():
        raise InputError(
            "item lies on a contig without regions",
            file=items.file,
            found=items.contig[rows[np.argmin(contig)]],
        )
    position, exclude = locus_window(items, corpus.width)
    anchors = items.region[rows] if items.anchor_shown else np.full(len(rows), -1)
    keys = np.stack([cells, contig, position[rows], anchors], axis=1)
    unique, row = np.unique(keys, axis=0, return_inverse=True)
    device = corpus.device
    matrices, placeholders = [], []
    for at in range(0, len(unique), _CHUNK):
        cell, where, centre, anchor = torch.from_numpy(unique[at : at + _CHUNK].T).to(device)
        matrix_BFC, placeholder_B = neighbourhood(
            corpus,
            view,
            cell,
            where,
            centre,
            neighbours,
            anchor,
            exclude=exclude,
            accessibility=accessibility,
        )
        matrices.append(matrix_BFC)
        placeholders.append(placeholder_B)
    index = torch.from_numpy(row.reshape(-1)).to(device)
    state = None
    if encoders.config.cell_state:
        state = corpus.cell_state[torch.from_numpy(unique[:, 0]).to(device)]
    return Places(torch.cat(matrices), torch.cat(placeholders), index, state)


def sequence_inputs(items: Items, config: ModelConfig | None, device: torch.device) -> Tensor:
    """Return the sequences of both strands (one, if it has a meaning) as ids, or codes for a CNN.

    Parameters
    ----------
    config : the tokens' k and stride; None gives base codes.
    """
    forward = torch.from_numpy(items.codes)
    both = [forward] if items.strand_specific else [forward, tokens.reverse_complement(forward)]
    codes = torch.stack(both)
    if config is None:
        return codes.to(device)
    small = torch.int16 if config.vocabulary < 2**15 else torch.int32
    parts = [
        tokens.single_row(tokens.tokenize(codes[:, i : i + _CHUNK], config.k, config.stride)).to(
            small
        )
        for i in range(0, codes.shape[1], _CHUNK)
    ]
    return torch.cat(parts, dim=1).to(device)


@torch.inference_mode()
def embed_items(network: Network, inputs: Inputs, rows: Ints, strands: int = 2) -> Tensor:
    """Return e_SND of the sequences of n items; a sequence that items share is embedded once.

    Parameters
    ----------
    strands : how many strands to embed, if there are so many.
    """
    network.eval()
    at = torch.from_numpy(rows).to(inputs.sequence.device)
    wanted, back = torch.unique(inputs.sequence[at], return_inverse=True)
    batch = INFERENCE_BATCH[wanted.device.type]
    vectors = [
        torch.cat(
            [
                network.embed_sequence(strand[part])
                for part in progress(wanted.split(batch), "embedding", "batches")
            ]
        )[back]
        for strand in inputs.sequences[:strands]
    ]
    return torch.stack(vectors)


@torch.inference_mode()
def embed_places(network: Network, places: Places) -> Tensor:
    """Return e_ND of the matrices of n items; a matrix that items share is embedded once."""
    network.eval()
    wanted, back = torch.unique(places.row, return_inverse=True)
    vectors = [
        network.embed_region(*places.of(part))
        for part in progress(
            wanted.split(INFERENCE_BATCH[wanted.device.type]), "embedding neighbourhoods", "batches"
        )
    ]
    return torch.cat(vectors)[back]


@torch.inference_mode()
def infer(
    network: Network,
    inputs: Inputs,
    items: Items,
    rows: Ints,
    sequence_SND: Tensor,
    places: Places | None = None,
) -> NDArray[np.float64]:
    """Return float64[n, K] probabilities of n items, averaged over strands (K = 1 if binary).

    Parameters
    ----------
    sequence_SND : vectors of the items' sequences, from :func:`embed_items`.
    places : the items' matrices, if not their own.
    """
    at = torch.from_numpy(rows).to(inputs.target.device)
    region_ND = None
    if network.uses_regions:
        if places is None:
            assert inputs.places is not None
            places = replace(inputs.places, row=inputs.places.row[at])
        region_ND = embed_places(network, places)
    logits = [network.logits(sequence_ND, region_ND).double() for sequence_ND in sequence_SND]
    if not items.multiclass:
        logits = [logits_NK.gather(1, inputs.group[at][:, None]) for logits_NK in logits]
    return mean_probability(logits, items.multiclass).cpu().numpy()


def mean_probability(logits: Sequence[Tensor], multiclass: bool) -> Tensor:
    """Return probabilities from the logits of each strand, the mean over strands.

    Parameters
    ----------
    logits : [n, K, ...] each.
    multiclass : whether the K are classes, of which one is right, instead of a yes or no each.
    """
    strands = [one.softmax(dim=1) if multiclass else one.sigmoid() for one in logits]
    return torch.stack(strands).mean(dim=0)
