"""The motif matrix and two checks of it: enrichment per cell type, accessibility from motifs.

In: ``matrix.h5ad`` and ``accessibility.h5ad``. Out: a table and a figure of each check, and a
figure of a window of the matrix. One job, because all read the same files. What is computed:
:mod:`genebert.enrichment`, :mod:`genebert.motif_ridge`.
"""

from __future__ import annotations

from genebert.enrichment import enrichment_table
from genebert.motif_ridge import ridge_table
from genebert.region_figures import draw_enrichment, draw_ridge, draw_window, top_motifs
from genebert.region_motifs import RegionMotifs

VERSION = 1


def describe_motifs(
    *,
    matrix: str,
    accessibility: str,
    enrichment: str,
    ridge: str,
    enrichment_figure: str,
    ridge_figure: str,
    window_figure: str,
    seed: int,
    draws: int,
    block_bp: int,
) -> None:
    """Write both tables and the three figures.

    Parameters
    ----------
    matrix, accessibility : inputs, written by the stages ``motifs`` and ``regions``.
    enrichment, ridge : outputs, TSV, see :func:`genebert.enrichment.enrichment_table` and
        :func:`genebert.motif_ridge.ridge_table`.
    enrichment_figure, ridge_figure, window_figure : outputs, see :mod:`genebert.region_figures`.
    seed, draws, block_bp : of the bootstrap.

    Raises
    ------
    InputError
        If a file cannot be read, the regions differ, or a split has no region.
    """
    data = RegionMotifs.read(matrix, accessibility)
    found = enrichment_table(data)
    found.to_csv(enrichment, sep="\t", index=False, float_format="%.4g", na_rep="NA")
    draw_enrichment(found, enrichment_figure)
    draw_window(data, top_motifs(found), window_figure)
    correlations = ridge_table(data, seed=seed, draws=draws, block_bp=block_bp)
    correlations.to_csv(ridge, sep="\t", index=False, float_format="%.4g", na_rep="NA")
    draw_ridge(correlations, ridge_figure)
