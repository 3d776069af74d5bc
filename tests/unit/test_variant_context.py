"""What a variant changes in a cell type: openness, activity and occupancy of sites, on toys."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genebert.context import Context
from genebert.genome import decode
from genebert.variant_context import (
    GAINS,
    MIDPOINTS,
    cell_weights,
    changes,
    locus_openness,
    occupancy,
    site_margins,
)

CELLS = ["B", "HSC", "NK"]


@pytest.fixture
def context() -> Context:
    """Four regions of a train contig; motif 0 marks the regions of B, motif 1 those of HSC."""
    cells = [np.array([0, 1]), np.array([1, 2]), np.array([3])]
    shards: Any = SimpleNamespace(
        contigs=["chr1"], contig=np.zeros(4, int), start=np.arange(4) * 1000, width=500,
        split=np.zeros(4, int), cell_types=CELLS, held_out=np.array([False, False, True]),
        held_out_only=np.array([False, False, False, True]),
        open_regions=np.concatenate(cells).astype(np.int32), indptr=np.array([0, 2, 4, 5]),
        strengths=np.array([0.9, 0.3, 0.8, 0.4, 0.7], np.float32), motifs=["M0", "M1"],
        motif_rows=np.array([[1, 0], [0.5, 0.5], [0, 1], [0, 0]], np.float16),
        normaliser=np.ones(2, np.float32),
    )  # fmt: skip
    return Context(shards)


def frame(cell_types: list[str], regions: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"cell_type": cell_types, "region": regions})


def test_unnamed_and_unknown_cell_types_are_the_mean_of_the_training_ones(context: Context) -> None:
    weights = cell_weights(context, ["HSC", "NK", "", "liver"])
    np.testing.assert_allclose(weights, [[0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_openness_of_the_locus(context: Context) -> None:
    found = locus_openness(context, frame(["B", "NK", "NK", "", "B"], [0, 0, 3, 1, -1]))
    np.testing.assert_allclose(
        found, [[0.9, 1], [0, 0], [0.7, 1], [(0.3 + 0.8) / 2, 1], [0, 0]], atol=1e-6
    )


def test_occupancy_is_logistic_and_safe() -> None:
    np.testing.assert_allclose(
        occupancy(np.array([-1e4, 0.0, 1.0, 1e4])), [0, 0.5, 1 / (1 + np.exp(-1)), 1]
    )


def test_margins_are_above_the_threshold_of_each_motif() -> None:
    class Motifs:
        columns = (SimpleNamespace(threshold=1.0), SimpleNamespace(threshold=2.0))

        def best_dense(self, codes: list[np.ndarray]) -> np.ndarray:
            texts = [decode(code) for code in codes]
            return np.array([[t.count("A"), t.count("C")] for t in texts], np.float32)

    found = site_margins(["AAC", "CCC", "AAC"], Motifs())  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [[1, -1], [-1, 1], [1, -1]])


def test_a_lost_site_counts_where_the_region_is_open_and_the_factor_active(
    context: Context,
) -> None:
    table = frame(["B", "HSC", "NK", "B"], [1, 1, 1, 1])
    reference = np.tile(np.array([[4.0, -3.0]], np.float32), (4, 1))
    alternative = np.tile(np.array([[0.0, -3.0]], np.float32), (4, 1))
    alternative[3] = reference[3]  # changes nothing
    found = changes(context, table, reference, alternative)
    assert found.features.shape == (4, 2 + 5 * len(MIDPOINTS) * len(GAINS))
    size, signed = found.score(signed=False), found.score(signed=True)
    assert size[0] > size[1] > 0  # motif 0 is that of B
    assert size[2] == 0  # closed in NK
    assert found.change[2, :, :2].min() > 0  # and yet the site is lost
    np.testing.assert_allclose(signed, -size)  # a loss
    assert np.abs(found.change[3]).max() == 0


def test_a_gain_mirrors_a_loss(context: Context) -> None:
    table = frame(["B"], [0])
    strong, weak = np.array([[5.0, 1.0]], np.float32), np.array([[1.0, 1.0]], np.float32)
    loss, gain = (changes(context, table, *pair) for pair in ((strong, weak), (weak, strong)))
    np.testing.assert_allclose(loss.score(signed=True), -gain.score(signed=True))
    np.testing.assert_allclose(loss.score(signed=False), gain.score(signed=False))
