"""GeneBERT: regulatory sequence and TF x region matrices, pre-trained together.

The library behind the workflow. It never imports snakemake and can be used from a notebook:
pure functions on arrays at the bottom, files at the edges, torch only where tensors are trained.
Nothing heavy is imported before one of these functions is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from genebert.finetuned import Fitted
    from genebert.motifs import MotifSet
    from genebert.pretrained import Pretrained
    from genebert.use.head import Head
    from genebert.use.run import Run

__version__ = "0.1.0"


def load(path: str, **kwargs: Any) -> Pretrained:
    """Load pre-trained encoders, e.g. ``genebert.load("results/pretrain/full")``."""
    from genebert.pretrained import Pretrained

    return Pretrained.load(path, **kwargs)


def open_run(path: str) -> Run:
    """Open a finished run by the directory of its encoders: verbs on BED and VCF files."""
    from genebert.use.run import Run

    return Run.open(path)


def load_head(path: str) -> Head:
    """Load an accessibility read-out, ``results/use/accessibility_head.safetensors``."""
    from genebert.use.head import Head

    return Head.load(path)


def load_motifs(path: str) -> MotifSet:
    """Load a motif set, ``results/motifs/motif_set.json``."""
    from genebert.motifs import MotifSet

    return MotifSet.read(path)


def load_fitted(path: str) -> Fitted:
    """Load a fine-tuned network, ``results/tasks/TASK/DATASET/MODEL/fitted.safetensors``."""
    from genebert import finetuned

    return finetuned.load(path)


def embed(
    encoders: Pretrained, sequences: Sequence[str], *, both_strands: bool = True
) -> NDArray[np.float32]:
    """Embed DNA sequences of one length; returns float32[n, D].

    Parameters
    ----------
    both_strands : average with the embedding of the reverse complement.
    """
    from genebert.use.run import codes_of

    return encoders.embed_sequences(codes_of(sequences), both_strands=both_strands)


def score_variants(
    encoders: Pretrained,
    reference: Sequence[str],
    alternative: Sequence[str],
    *,
    head: Head | None = None,
    motifs: MotifSet | None = None,
) -> pd.DataFrame:
    """Score variants given as windows with either allele, all of one length.

    Returns
    -------
    A row per variant with ``llr``, ``embedding``, with motifs ``motif`` and ``motif_top``, with a
    head ``accessibility``, ``cell_type`` and ``accessibility:CELL`` for each cell type.

    Raises
    ------
    InputError
        If there is no variant, not one alternative for each reference, or windows differ in length;
        or the head was fitted on other weights.
    """
    from genebert.use.run import allele_codes
    from genebert.use.variants import Scorer

    return Scorer(encoders, head, None, motifs)(*allele_codes(reference, alternative))


def attribute(
    encoders: Pretrained,
    head: Head,
    sequence: str,
    cell_types: Sequence[str] = (),
    *,
    method: str = "ism",
) -> NDArray[np.float64]:
    """Return float64[L]: what each base contributes to the predicted accessibility.

    Parameters
    ----------
    cell_types : mean over these; over all that the head was fitted on if none is named.
    method : ``ism``, every substitution, or ``gradient``, its first order.

    Raises
    ------
    InputError
        If the sequence is no DNA, the head was fitted on other weights, or not on a cell type.
    """
    from genebert.use.attributions import accessibility_target
    from genebert.use.attributions import attribute as contributions
    from genebert.use.run import codes_of, listed

    target = accessibility_target(encoders, head, listed(cell_types))
    return contributions(target, codes_of([sequence])[0], method)


def predict_sequences(fitted: Fitted, sequences: Sequence[str]) -> pd.DataFrame:
    """Return the probabilities of a fine-tuned network without a region branch, a row per sequence.

    Parameters
    ----------
    sequences : ``fitted.about.length`` bases each.
    """
    from genebert.use.run import predict_sequences

    return predict_sequences(fitted, sequences)
