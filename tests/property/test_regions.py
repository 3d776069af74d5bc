"""What must always hold of regions: equal to brute force and to bedtools."""

from __future__ import annotations

import numpy as np
import pybedtools
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.consensus import (
    REASONS,
    RegionSettings,
    covered_bases,
    in_blacklist,
    open_pairs,
    remove_overlaps,
    runs,
    select_regions,
)
from genebert.splits import Splits

LENGTH = 300
windows = st.lists(
    st.tuples(st.integers(0, 250), st.sampled_from([0.25, 0.5, 0.75, 1.0]), st.integers(0, 3)),
    max_size=40,
)
intervals = st.lists(
    st.tuples(st.integers(0, 280), st.integers(1, 40)).map(lambda x: (x[0], x[0] + x[1])),
    max_size=12,
)


def columns(rows: list[tuple[float, ...]], count: int) -> list[np.ndarray]:
    return [np.array([row[i] for row in rows]) for i in range(count)]


def bed(rows: list[tuple[int, int]]) -> pybedtools.BedTool:
    text = "".join(f"c\t{a}\t{b}\t{i}\n" for i, (a, b) in enumerate(sorted(rows)))
    return pybedtools.BedTool(text, from_string=True)


@given(windows, st.integers(1, 50))
def test_overlap_removal_is_the_greedy_one(rows: list[tuple[int, float, int]], width: int) -> None:
    starts, strength, tie = columns(rows, 3)
    taken = bytearray(LENGTH + 2 * width)
    kept = remove_overlaps(starts.astype(int), strength, tie, width, taken)
    chosen: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: (-rows[i][1], rows[i][0], rows[i][2])):
        if all(abs(rows[i][0] - rows[j][0]) >= width for j in chosen):
            chosen.append(i)
    assert sorted(chosen) == np.flatnonzero(kept).tolist()


@given(st.lists(st.booleans(), max_size=60), intervals)
def test_covered_bases(mask: list[bool], spans: list[tuple[int, int]]) -> None:
    bits = np.array(mask, dtype=bool)
    starts, ends = (np.minimum(x, len(bits)).astype(np.int64) for x in columns(spans, 2))
    expected = [int(bits[a:b].sum()) for a, b in zip(starts, ends, strict=True)]
    assert covered_bases(*runs(bits), starts, ends).tolist() == expected


@given(intervals, st.lists(st.integers(0, 300), max_size=20), st.integers(0, 30), st.randoms())
def test_openness_is_that_of_brute_force(
    peaks: list[tuple[int, int]], centres: list[int], tolerance: int, random: object
) -> None:
    centre = np.unique(centres).astype(np.int64)
    starts, ends = (x.astype(np.int64) for x in columns(peaks, 2))
    strength = np.array([random.choice([0.25, 0.5, 1.0]) for _ in peaks])  # type: ignore[attr-defined]
    region, value = open_pairs(starts, ends, strength, centre, tolerance)
    expected = {}
    for r, at in enumerate(centre.tolist()):
        bases = range(at - tolerance, at + tolerance + 1)
        over = [
            s for (a, b), s in zip(peaks, strength, strict=True) if set(range(a, b)) & set(bases)
        ]
        if over:
            expected[r] = max(over)
    assert dict(zip(region.tolist(), value.tolist(), strict=True)) == expected
    assert (np.diff(region) > 0).all()


@settings(max_examples=20, deadline=None)
@given(intervals.filter(bool), st.lists(st.integers(0, 300), min_size=1), st.integers(0, 30))
def test_openness_is_that_of_bedtools(
    peaks: list[tuple[int, int]], centres: list[int], tolerance: int
) -> None:
    centre = np.unique(centres).astype(np.int64)
    spans = [(max(c - tolerance, 0), c + tolerance + 1) for c in centre.tolist()]
    found = [int(line.name) for line in bed(spans).intersect(bed(peaks), u=True)]
    starts, ends = (x.astype(np.int64) for x in columns(sorted(peaks), 2))
    region, _ = open_pairs(starts, ends, np.ones(len(peaks)), centre, tolerance)
    assert sorted(found) == region.tolist()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 280), max_size=20), st.integers(1, 40), intervals)
def test_blacklist(starts: list[int], width: int, spans: list[tuple[int, int]]) -> None:
    found = in_blacklist(np.array(starts, dtype=np.int64), width, spans)
    assert found.tolist() == [any(a < s + width and s < b for a, b in spans) for s in starts]


@settings(max_examples=25, deadline=None)
@given(windows.filter(bool), st.integers(4, 50), intervals, st.integers(0, 2**32))
def test_selection(
    rows: list[tuple[int, float, int]], width: int, spans: list[tuple[int, int]], seed: int
) -> None:
    """Every candidate is counted once; regions are disjoint and cover all that is left."""
    codes = np.random.default_rng(seed).integers(0, 5, LENGTH).astype(np.uint8)
    codes[np.random.default_rng(seed).random(LENGTH) < 0.5] = 0
    splits = Splits.from_config({"train": ["c:0-140"], "valid": ["c:140-290"], "test": ["d"]})
    options = RegionSettings(width=width, max_n_fraction=0.2)
    held_out = np.array([False, True, False, True])
    peaks = [
        tuple(np.array(x) for x in zip(*[r[:2] for r in rows if r[2] == cell], strict=True))
        if any(r[2] == cell for r in rows)
        else (np.zeros(0, dtype=np.int64), np.zeros(0))
        for cell in range(4)
    ]
    selected, counts = select_regions(
        "c",
        LENGTH,
        codes,
        peaks,
        held_out,
        spans,
        splits,
        options,  # type: ignore[arg-type]
    )
    assert counts.sum(axis=1).tolist() == [len(summits) for summits, _ in peaks]
    assert counts[:, REASONS.index("kept")].sum() == len(selected.starts)
    starts = selected.starts
    assert (np.diff(starts) >= width).all()
    good = []
    for summit, _, cell in rows:
        a, b = summit - width // 2, summit - width // 2 + width
        if (
            any(low <= a and b <= high for low, high in ((0, 140), (140, 290)))
            and not any(x < b and a < y for x, y in spans)
            and (codes[a:b] == 4).mean() <= 0.2
        ):
            good.append((a, b, cell))
    assert set(starts.tolist()) <= {a for a, _, _ in good}
    # Held-out cell types change nothing of the regions of the training cell types.
    only = [p if not out else (p[0][:0], p[1][:0]) for p, out in zip(peaks, held_out, strict=True)]
    trained, _ = select_regions(
        "c",
        LENGTH,
        codes,
        only,
        held_out,
        spans,
        splits,
        options,  # type: ignore[arg-type]
    )
    assert trained.starts.tolist() == starts[~selected.held_out_only].tolist()
    if good:
        regions = bed([(s, s + width) for s in starts.tolist()])
        left = bed([(a, b) for a, b, _ in good]).intersect(regions, v=True)
        assert left.count() == 0
        assert regions.merge(d=-1).count() == len(starts)
