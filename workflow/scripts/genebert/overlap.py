"""How many open regions every two cell types have in common.

In: which of R regions are open in C cell types. Out: counts and Jaccard indices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Ints = NDArray[np.int64]


def jaccard(open_CR: sparse.csr_matrix) -> tuple[Ints, Ints, NDArray[np.float64]]:
    """Return of every two cell types the regions open in both, in either, and their ratio.

    Each is [C, C]; the ratio is 0 where neither has a region.

    Parameters
    ----------
    open_CR : CSR, not 0 where a region is open.
    """
    ones = (open_CR.data != 0).astype(np.int64)
    binary = sparse.csr_matrix((ones, open_CR.indices, open_CR.indptr), open_CR.shape)
    both = (binary @ binary.T).toarray()
    size = both.diagonal()
    either = size[:, None] + size[None, :] - both
    return both, either, both / np.maximum(either, 1)
