"""Peaks of several replicates: which are the same, which stay, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from genebert.peaks import Peaks
from genebert.replicates import merge_replicates

CONTIGS = {"chr1": 10_000, "chr2": 10_000}
Row = tuple[int, int, int, float]  # contig, start, end, strength


def peaks(*rows: Row, source: str = "score") -> Peaks:
    ordered = sorted(rows)
    contig, start, end = (np.array([r[i] for r in ordered], dtype=np.int32) for i in range(3))
    strength = np.array([r[3] for r in ordered])
    counts = {"read": len(rows) + 1, "unknown_contig": 1, "duplicate": 0, "no_summit": 0}
    return Peaks(contig, start, end, (start + end) // 2, strength, source, counts)


def places(found: Peaks) -> list[tuple[int, int, int]]:
    arrays = (found.contig, found.start, found.end)
    return list(zip(*(a.tolist() for a in arrays), strict=True))


def test_half_of_the_shorter_is_the_same_peak() -> None:
    a = peaks((0, 100, 200, 1.0), (0, 1000, 1100, 0.5), (1, 100, 200, 0.75))
    b = peaks((0, 150, 900, 0.4), (0, 1051, 1151, 0.8))  # 50 of 100 bases shared; 49 of 100
    found = merge_replicates([a, b], 2, CONTIGS)
    assert places(found) == [(0, 100, 200)]  # the stronger of the two stands for both
    assert found.counts["replicates"] == 3
    assert found.counts["merged"] == 1
    assert found.counts["read"] == 7
    assert found.counts["replicate_files"] == 2
    assert found.counts["read"] == sum(
        found.counts[key] for key in ("unknown_contig", "duplicate", "replicates", "merged")
    ) + len(found)


def test_one_of_two_is_the_union_without_double_counting() -> None:
    a = peaks((0, 100, 200, 1.0), (0, 1000, 1100, 0.5))
    b = peaks((0, 110, 210, 0.5), (1, 1000, 1100, 1.0))
    found = merge_replicates([a, b], 1, CONTIGS)
    assert places(found) == [(0, 100, 200), (0, 1000, 1100), (1, 1000, 1100)]
    # means over both replicates: (1 + 0.5) / 2, 0.5 / 2 and 1 / 2; then their ranks
    assert found.strength.tolist() == [1.0, 1 / 3, 2 / 3]
    assert found.counts["replicates"] == 0


def test_contigs_are_not_mixed() -> None:
    found = merge_replicates([peaks((0, 100, 200, 1.0)), peaks((1, 100, 200, 1.0))], 2, CONTIGS)
    assert len(found) == 0
    assert found.counts["replicates"] == 2


def test_two_of_three() -> None:
    a, b, c = (
        peaks((0, 100, 200, 1.0), (0, 500, 600, 0.5)),
        peaks((0, 120, 220, 1.0)),
        peaks((0, 500, 610, 1.0), (0, 800, 900, 0.5)),
    )
    found = merge_replicates([a, b, c], 2, CONTIGS)
    assert places(found) == [(0, 100, 200), (0, 500, 610)]  # one mean: its own strength decides
    assert len(merge_replicates([a, b, c], 3, CONTIGS)) == 0


def test_summits_of_one_replicate_in_one_place_stay() -> None:
    a = peaks((0, 100, 300, 1.0))
    twice = Peaks(
        *(np.array(v, dtype=np.int32) for v in ([0, 0], [100, 100], [300, 300], [150, 250])),
        np.array([0.9, 0.8]),
        "score",
        a.counts,
    )
    found = merge_replicates([peaks((0, 100, 300, 0.1)), twice], 2, CONTIGS)
    assert found.summit.tolist() == [150, 250]
    found = merge_replicates([a, twice], 2, CONTIGS)
    assert found.summit.tolist() == [200]  # of the stronger replicate


def test_missing_scores_stay_missing() -> None:
    a = peaks((0, 100, 200, 0.5), (0, 500, 600, 0.5), source="missing")
    b = peaks((0, 100, 200, 0.5), source="missing")
    found = merge_replicates([a, b], 1, CONTIGS)
    assert found.strength.tolist() == [0.5, 0.5]
    assert found.score_source == "missing"
    c = peaks((0, 100, 200, 1.0), source="signalValue")
    assert merge_replicates([a, c], 1, CONTIGS).score_source == "missing+signalValue"


def test_one_replicate_is_left_alone() -> None:
    a = peaks((0, 100, 200, 1.0))
    assert merge_replicates([a], 1, CONTIGS) is a
    with pytest.raises(ValueError, match="2 of 1 replicates"):
        merge_replicates([a], 2, CONTIGS)
