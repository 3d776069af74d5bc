"""Scores of a single variant for which nothing is fitted to variants.

In: the reference and the alternative window of each variant, and an encoder. Out: one number per
variant: the masked log-likelihood ratio, the distance of the embeddings, the change of the motif
row, or the change of the predicted accessibility.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from genebert.genome import Codes, N, reverse_complement
from genebert.progress import progress

if TYPE_CHECKING:
    from genebert.pretrained import Pretrained

Floats = NDArray[np.floating]
Haplotype = TypeVar("Haplotype", str, Codes)


def substitutions(
    reference: Codes, alternative: Codes
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Tell which variants change exactly one base of the window, and where.

    Parameters
    ----------
    reference, alternative : uint8[B, L]; an insertion or deletion shifts the rest of the window,
        so that many bases differ. In a run of one base at the window's end it may not: then the
        two windows say the same as a substitution and are treated so.

    Returns
    -------
    single : bool[B]. offset : int64[B], of the first base that differs.
    """
    differs = reference != alternative
    return differs.sum(axis=1) == 1, differs.argmax(axis=1)


def shifts(reference: Codes, alternative: Codes) -> NDArray[np.int64]:
    """Return int64[B]: bases that ALT is longer than REF, as far as two windows tell.

    It is the one by which fewest bases change: those between the beginning and the end that both
    windows share, and those inserted or deleted; of several the one nearest to 0.

    Parameters
    ----------
    reference, alternative : uint8[B, L], which begin at the same base of the genome.
    """
    length = reference.shape[1]
    out = np.zeros(len(reference), dtype=np.int64)
    for row in np.flatnonzero((reference != alternative).sum(axis=1) > 1):
        one, other = reference[row], alternative[row]
        begin = int((one != other).argmax())
        fewest = length
        for shift in sorted(range(-(length // 2), length // 2 + 1), key=abs):
            if abs(shift) >= fewest:
                break
            shorter = length - abs(shift)
            a = one[: length - max(shift, 0)][::-1][:shorter]
            b = other[: length + min(shift, 0)][::-1][:shorter]
            differs = a != b
            end = int(differs.argmax()) if differs.any() else shorter
            changed = max(0, shorter - begin - end) + abs(shift)
            if changed < fewest:
                fewest, out[row] = changed, shift
    return out


def on_one_end(
    reference: Sequence[Haplotype], alternative: Sequence[Haplotype], shift: Sequence[int]
) -> tuple[list[Haplotype], list[Haplotype]]:
    """Cut windows so that both end on the same base of the genome.

    Windows of one length do not: an insertion pushes bases out of the right end and a deletion
    brings in others, which the variant does not touch. What is said to change would be theirs.

    Parameters
    ----------
    reference, alternative : windows of L bases that begin at the same base of the genome; the
        variant begins at offset L // 2.
    shift : bases that ALT is longer than REF (:func:`shifts`, where nobody knows).

    Returns
    -------
    reference, alternative : the first of them without its last ``shift`` bases (insertions) or the
        second without its last ``-shift`` (deletions). The variant's first base stays: alleles that
        fill the window end where it does.
    """
    ref, alt = [], []
    for one, other, d in zip(reference, alternative, shift, strict=True):
        least = len(one) // 2 + 1
        ref.append(one[: max(len(one) - max(d, 0), least)])
        alt.append(other[: max(len(other) + min(d, 0), least)])
    return ref, alt


def nucleotide_log_probabilities(
    encoders: Pretrained, codes: Codes, offsets: NDArray[np.int64], *, batch: int = 256
) -> NDArray[np.float64]:
    """Return float64[B, 4]: log P of each base at one hidden offset of each sequence.

    Every k-mer that holds the base is masked, so that no visible token shows it. The base is read
    from the token that the head of MGM was trained to read it from: the one centred nearest.

    Parameters
    ----------
    codes : uint8[B, L]. offsets : int64[B].
    """
    import torch

    from genebert import tokens
    from genebert.masking import covering

    k, stride = encoders.config.k, encoders.config.stride
    out = np.empty((len(codes), 4))
    with torch.no_grad():
        for at in progress(range(0, len(codes), batch), "reading hidden bases", "batches"):
            offset_B = torch.as_tensor(offsets[at : at + batch])
            ids_Bn = tokens.tokenize(torch.as_tensor(codes[at : at + batch]), k, stride)
            within_Bn = offset_B[:, None] - torch.arange(ids_Bn.shape[1]) * stride
            hidden_Bn = (within_Bn >= 0) & (within_Bn < k)
            row_BT = tokens.single_row(torch.where(hidden_Bn, tokens.MASK, ids_Bn))
            token_B, inside_B = covering(offset_B, ids_Bn.shape[1], k, stride)
            x_BTD = encoders.model.sequence(row_BT.to(encoders.device))
            x_B1D = x_BTD[torch.arange(len(token_B)), 1 + token_B][:, None]  # after [CLS]
            inside_B1 = inside_B.clamp(0, k - 1)[:, None].to(encoders.device)
            logits_B4 = encoders.model.mgm(x_B1D, inside_B1)[:, 0].double()
            out[at : at + batch] = logits_B4.log_softmax(-1).cpu().numpy()
    return out


def log_likelihood_ratio(
    encoders: Pretrained, reference: Codes, alternative: Codes
) -> NDArray[np.float64]:
    """Return float64[B]: log P(alternative base) - log P(reference base), mean of both strands.

    Positive where the model expects the alternative. Variants that are not a single substitution
    get 0: the model predicts single bases only.

    Parameters
    ----------
    reference, alternative : uint8[B, L].
    """
    single, offset = substitutions(reference, alternative)
    rows = np.flatnonzero(single)
    out = np.zeros(len(reference))
    if not len(rows):
        return out
    codes, at = reference[rows], offset[rows]
    ref, alt = codes[np.arange(len(rows)), at], alternative[rows, at]
    known = (ref != N) & (alt != N)
    ref, alt = np.where(known, ref, 0), np.where(known, alt, 0)
    forward = nucleotide_log_probabilities(encoders, codes, at)
    backward = nucleotide_log_probabilities(
        encoders, reverse_complement(codes), codes.shape[1] - 1 - at
    )[:, ::-1]  # complement: A C G T -> T G C A
    mean = (forward + backward) / 2
    pick = np.arange(len(rows))
    out[rows] = np.where(known, mean[pick, alt] - mean[pick, ref], 0.0)
    return out


def row_distance(reference: Floats, alternative: Floats) -> NDArray[np.float64]:
    """Return float64[B]: the Euclidean distance of feature rows float[B, D]."""
    difference = np.asarray(alternative, np.float64) - np.asarray(reference, np.float64)
    return np.sqrt((difference**2).sum(axis=1))


def in_cell_type(
    delta: Floats, cell_types: Sequence[str], named: Sequence[str]
) -> NDArray[np.float64]:
    """Return float64[B]: the change in the named cell type, with its sign.

    Where none is named, or one that no head was fitted for (held out), it is the largest change of
    any cell type.

    Parameters
    ----------
    delta : float[B, C], alternative - reference.
    cell_types : names of the C columns. named : cell type of each variant, or ''.
    """
    column = {name: i for i, name in enumerate(cell_types)}
    strongest = np.abs(delta).argmax(axis=1)
    chosen = [column.get(name, int(best)) for name, best in zip(named, strongest, strict=True)]
    return np.asarray(delta, np.float64)[np.arange(len(delta)), chosen]
