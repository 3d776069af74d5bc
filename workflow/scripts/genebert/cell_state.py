"""The state of a cell type: which motifs its open regions have more of than all regions have.

In: motif rows of the regions and the lists of open regions, as NumPy arrays of the shards. Out: one
vector a cell type. The region encoders take it as a prefix column of the matrix (`cell_state`), the
baselines as features (:mod:`genebert.context`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genebert.mapped_rows import MappedRows

_CHUNK = 4096  # regions at a time


def cell_states(
    motif_rows: NDArray[np.float16] | MappedRows,
    normaliser: NDArray[np.float32],
    indptr: NDArray[np.integer[Any]],
    open_regions: NDArray[np.integer[Any]],
    training: NDArray[np.bool_],
    held_out_only: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return float32[C, M]: motif enrichment of the open regions of each cell type, as z-scores.

    The mean motif row (normalised, at most 1) of the regions open in a cell type minus that of all
    regions of training cell types, training chromosomes only; then, over the *training* cell types,
    the motif's mean is taken off and its standard deviation divided by. A held-out cell type is
    treated alike: its peaks are known, those found in no training cell type among them, but nothing
    of any other cell type's state depends on them.

    Parameters
    ----------
    motif_rows, normaliser : of R regions and M motifs.
    indptr, open_regions : CSR of the regions open in C cell types.
    training : bool[R], regions of the training split; held_out_only : bool[R], those that are open
        in held-out cell types only. held_out : bool[C], the cell types held out.
    """
    C, M = len(held_out), len(normaliser)
    is_open = sparse.csr_matrix(
        (np.ones(len(open_regions)), open_regions, indptr), shape=(C, len(training))
    ).tocsc()
    total, everywhere = np.zeros((C, M)), np.zeros(M)
    rows = np.flatnonzero(training)
    for at in range(0, len(rows), _CHUNK):
        part = rows[at : at + _CHUNK]
        x_NM = np.minimum(motif_rows[part] / normaliser.astype(np.float64), 1)
        total += is_open[:, part] @ x_NM
        everywhere += x_NM[~held_out_only[part]].sum(axis=0)
    count = np.diff(is_open[:, rows].tocsr().indptr)[:, None]
    everywhere /= max(1, int((training & ~held_out_only).sum()))
    enrichment = np.where(count > 0, total / np.maximum(count, 1) - everywhere, 0)
    known = enrichment[~held_out]
    scale = known.std(axis=0)
    state = (enrichment - known.mean(axis=0)) / np.where(scale > 1e-12, scale, 1)
    return np.asarray(state, dtype=np.float32)
