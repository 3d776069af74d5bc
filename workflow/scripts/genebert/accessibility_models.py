"""The rivals of the task `accessibility`: what the training cell types say of a locus.

In: a :class:`genebert.items.Job`. Out: (rows of predictions, what was fitted). Nothing is fitted.
Both read the accessibility of training cell types at the locus, on test chromosomes too, but never
the item's own cell type there; so they are marked `oracle-labels`. Letters of shapes: N items,
C cell types, R regions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genebert.baselines import unfitted
from genebert.context import Context, jaccard
from genebert.errors import InputError
from genebert.items import Job, Result

FLAGS = ["oracle-labels"]


def mean_breadth(job: Job) -> Result:
    """Share of the training cell types, the item's own left out, in which the region is open."""
    items, context = job.items, job.context
    cell_N = context.cells(items.cell_type)
    open_N = np.zeros(len(items))
    count_N = np.zeros(len(items))
    for other in np.flatnonzero(~context.shards.held_out):
        rows = np.flatnonzero(cell_N != other)
        open_N[rows] += context.strength(np.full(len(rows), other), items.region[rows]) > 0
        count_N[rows] += 1
    return unfitted(job, (open_N / np.maximum(count_N, 1))[:, None], flags=FLAGS)


def nearest_type(job: Job) -> Result:
    """Strength of the region in the most similar other training cell type, 0 where closed.

    Similar is the Jaccard index of the open regions of the training chromosomes.

    Raises
    ------
    InputError
        If there is no other training cell type.
    """
    items, context = job.items, job.context
    twin_C = nearest_training(context)
    cell_N = twin_C[context.cells(items.cell_type)]
    if (cell_N < 0).any():
        raise InputError("no other training cell type to be near to", file=job.shards)
    names = context.shards.cell_types
    score = context.strength(cell_N, items.region).astype(np.float64)
    twins = {names[c]: names[twin] for c, twin in enumerate(twin_C) if twin >= 0}
    return unfitted(job, score[:, None], flags=FLAGS, nearest=twins)


def nearest_training(context: Context) -> NDArray[np.int64]:
    """Return int64[C]: the nearest other training cell type of each, -1 where there is none."""
    index = jaccard(context.shards)
    index[:, context.shards.held_out] = -1
    np.fill_diagonal(index, -1)
    return np.where(index.max(axis=1) >= 0, index.argmax(axis=1), -1)
