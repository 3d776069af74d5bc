"""The order of the motifs, which is that of the rows of every TF x region matrix.

An encoder with windows over the motif axis sees neighbouring rows together, so that related motifs
should be neighbours. In: motifs as they were read. Out: the same motifs in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.motif_files import Motif


def ordered(
    motifs: Sequence[Motif], order: str, clusters: Mapping[str, str] | None = None
) -> list[Motif]:
    """Return motifs in an order.

    Parameters
    ----------
    order : ``source``, as they were read; ``cluster``, those of a cluster together, clusters in the
        order of their first members and motifs without one last; ``correlation``, the leaves of an
        average-linkage tree on 1 - :func:`correlations`, turned so that neighbours are alike.
    clusters : of each motif that has one, by name.

    Raises
    ------
    InputError
        If motifs are to be ordered by clusters, and there are none.
    """
    if order == "source" or len(motifs) < 2:
        return list(motifs)
    if order == "cluster":
        if not clusters:
            raise InputError(
                "there are no clusters to order by", file="config motifs.order", found=order,
                expected="motifs.clusters, a table of motif and cluster",
            )  # fmt: skip
        rank: dict[str, int] = {}
        for motif in motifs:
            if motif.name in clusters:
                rank.setdefault(clusters[motif.name], len(rank))
        return sorted(motifs, key=lambda m: rank.get(clusters.get(m.name, ""), len(rank)))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distance = np.round(1.0 - correlations([m.probabilities for m in motifs]), 9)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    return [motifs[i] for i in leaves_list(tree)]


def correlations(motifs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return float64[N, N]: how alike motifs are at their best alignment on either strand.

    The correlation of two matrices of probabilities, less 1/4, laid over each other with any
    offset; what hangs over is matched with 1/4. Of all offsets and both strands the largest counts.

    Parameters
    ----------
    motifs : float64[4, width] each.
    """
    longest = max(motif.shape[1] for motif in motifs)
    padded = np.zeros((len(motifs), 4, 3 * longest))
    for i, motif in enumerate(motifs):
        padded[i, :, longest : longest + motif.shape[1]] = motif - 0.25
    flat = padded[:, :, longest : 2 * longest]
    norm = np.sqrt((flat**2).sum(axis=(1, 2)))
    flat = flat / np.where(norm > 0, norm, 1.0)[:, None, None]
    padded = padded / np.where(norm > 0, norm, 1.0)[:, None, None]
    strands = flat.reshape(len(motifs), -1), flat[:, ::-1, ::-1].reshape(len(motifs), -1)
    best = np.full((len(motifs), len(motifs)), -1.0)
    for offset in range(2 * longest + 1):
        window = padded[:, :, offset : offset + longest].reshape(len(motifs), -1)
        for strand in strands:
            np.maximum(best, strand @ window.T, out=best)
    return np.maximum(best, best.T)
