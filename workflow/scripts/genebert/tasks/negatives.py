"""Draw negatives that cannot be told from positives by composition alone.

Every positive gets one candidate whose covariates (GC, repeats, strength ...) fall into the same
bin, else into the nearest bins, without replacement and seeded, in the manner of gkmSVM
(Ghandi et al. 2014, doi:10.1371/journal.pcbi.1003711). The caller passes candidates of one split
only, so a negative never leaves the fold of its positive.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.genome import Genome
from genebert.progress import progress
from genebert.splits import Splits
from genebert.tasks.dataset import split_of

_UPPER = 32  # bit that tells lower from upper case in ASCII
_IS_N = np.ones(256, dtype=bool)
_IS_GC = np.zeros(256, dtype=bool)
for _letter in b"ACGTacgt":
    _IS_N[_letter] = False
for _letter in b"CGcg":
    _IS_GC[_letter] = True


def match(
    positive_PK: NDArray[np.float64],
    candidate_CK: NDArray[np.float64],
    widths: Sequence[float],
    rng: np.random.Generator,
    *,
    max_radius: int = 3,
) -> NDArray[np.int64]:
    """Give each positive its own candidate with like covariates.

    Parameters
    ----------
    positive_PK, candidate_CK : float[P, K] and float[C, K], the covariates, no NaN.
    widths : the K widths of a bin.
    rng : decides among candidates of a bin, bins that are equally far, and which positive comes
        first.
    max_radius : the furthest bin tried, in bins in the direction of any covariate (0: own bin).

    Returns
    -------
    int[P] : a row of ``candidate_CK`` for each positive, no row twice; -1 where none was left.
        Positives are served radius by radius, so no far match takes a candidate from a near one.
    """
    chosen = np.full(len(positive_PK), -1, dtype=np.int64)
    if not len(positive_PK) or not len(candidate_CK):
        return chosen
    width = np.asarray(widths, dtype=float)
    # a hair of slack keeps exact multiples such as 0.3 / 0.1 on one side of the border
    cells = [np.floor(x / width + 1e-9).astype(int) for x in (positive_PK, candidate_CK)]
    free: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in rng.permutation(len(candidate_CK)).tolist():
        free[tuple(cells[1][row].tolist())].append(row)
    waiting = rng.permutation(len(positive_PK)).tolist()
    for radius in range(max_radius + 1):
        ring = [
            step
            for step in product(range(-radius, radius + 1), repeat=len(width))
            if max(map(abs, step)) == radius
        ]
        far = np.array([sum(x * x for x in step) for step in ring], dtype=float)
        unserved = []
        for row in waiting:
            home = cells[0][row].tolist()
            # of equally far bins any may come first, else all matches would lean to one side
            for at in np.argsort(far + 0.5 * rng.random(len(ring))).tolist():
                step = ring[at]
                bin_rows = free.get(tuple(x + d for x, d in zip(home, step, strict=True)))
                if bin_rows:
                    chosen[row] = bin_rows.pop()
                    break
            else:
                unserved.append(row)
        waiting = unserved
    return chosen


def imbalance(
    positive: pd.DataFrame, negative: pd.DataFrame, columns: Sequence[str]
) -> dict[str, float]:
    """Return the standardised mean difference of each covariate (0 where nothing varies).

    Difference of the means over the root of the mean of the two variances (Austin 2009,
    doi:10.1002/sim.3697); below 0.1 is commonly taken as balanced.
    """
    out = {}
    for column in columns:
        a, b = positive[column].to_numpy(float), negative[column].to_numpy(float)
        # equal values have a variance of rounding errors, but no range
        varies = len(a) and len(b) and np.ptp(np.concatenate([a, b])) > 0
        spread = np.sqrt((a.var() + b.var()) / 2) if varies else 0.0
        out[column] = float((a.mean() - b.mean()) / spread) if spread > 0 else 0.0
    return out


def composition(genome: Genome, items: pd.DataFrame) -> pd.DataFrame:
    """Return gc (of the known bases), repeat (soft-masked) and n (unknown): fractions per item."""
    out = np.zeros((len(items), 3))
    lengths = (items["end"] - items["start"]).to_numpy()
    starts = items["start"].to_numpy()
    for (contig, length), rows in items.groupby(["contig", lengths], sort=False).indices.items():
        low, high = int(starts[rows].min()), int(starts[rows].max() + length)
        raw = genome.raw(str(contig), low, high)
        windows = np.lib.stride_tricks.sliding_window_view(raw, int(length))
        for part in np.array_split(rows, len(rows) // 10_000 + 1):
            out[part] = _composition(windows[starts[part] - low])
    return pd.DataFrame(out, columns=["gc", "repeat", "n"], index=items.index)


def _composition(raw_NL: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return float[N, 3]: gc, repeat, n of rows of ASCII letters."""
    length = raw_NL.shape[1]
    unknown = _IS_N[raw_NL].sum(axis=1)
    gc = _IS_GC[raw_NL].sum(axis=1) / np.maximum(length - unknown, 1)
    repeat = ((raw_NL & _UPPER) > 0).mean(axis=1)
    return np.stack([np.where(unknown < length, gc, 0.5), repeat, unknown / length], axis=1)


def usable_windows(
    items: pd.DataFrame, genome: Genome, splits: Splits, dropped: Counter[str]
) -> pd.DataFrame:
    """Return the windows inside their contig and one split, without unknown bases; count the rest.

    Columns split, gc and repeat are added.
    """
    inside = (items["start"] >= 0) & (items["end"] <= items["contig"].map(genome.lengths))
    dropped["off_contig"] += int((~inside).sum())
    items = items[inside]
    items = items.assign(split=split_of(items, splits))
    dropped["outside_splits"] += int((items["split"] == "").sum())
    items = items[items["split"] != ""].reset_index(drop=True)
    covariates = composition(genome, items)
    known = covariates["n"] == 0
    dropped["unknown_bases"] += int((~known).sum())
    return items.join(covariates[["gc", "repeat"]])[known].reset_index(drop=True)


def genomic_windows(
    genome: Genome,
    splits: Splits,
    split: str,
    length: int,
    rng: np.random.Generator,
    *,
    most: int = 2_000_000,
) -> pd.DataFrame:
    """Return windows of a split without N.

    The windows lie on a grid of random phase; neighbours overlap by up to half, which leaves twice
    as many to match with.

    Parameters
    ----------
    length : bases of a window.
    most : windows at most; the grid becomes wider for that.

    Returns
    -------
    Columns contig, start, end, strand (random), gc, repeat.
    """
    intervals = [i for i in splits.clipped(split, genome.lengths) if i.end - i.start >= length]
    step = max(length // 2, -(-sum(i.end - i.start for i in intervals) // most))
    parts = []
    for interval in progress(intervals, f"drawing windows of {split}", "intervals"):
        phase = int(rng.integers(min(step, interval.end - interval.start - length + 1)))
        starts = np.arange(interval.start + phase, interval.end - length + 1, step)
        raw = genome.raw(interval.contig, interval.start, interval.end)
        offsets = starts - interval.start
        windows = np.lib.stride_tricks.sliding_window_view(raw, length)[offsets]
        chunks = np.array_split(windows, len(windows) // 10_000 + 1)
        covariates = np.concatenate([_composition(chunk) for chunk in chunks])
        parts.append(
            pd.DataFrame(
                {
                    "contig": interval.contig,
                    "start": starts,
                    "end": starts + length,
                    "strand": rng.choice(["+", "-"], len(starts)),
                    "gc": covariates[:, 0],
                    "repeat": covariates[:, 1],
                    "n": covariates[:, 2],
                }
            )
        )
    columns = ["contig", "start", "end", "strand", "gc", "repeat"]
    if not parts:
        return pd.DataFrame({name: [] for name in columns})
    frame = pd.concat(parts, ignore_index=True)
    return frame.loc[frame["n"] == 0, columns].reset_index(drop=True)


def substitute(
    sequence: str, rng: np.random.Generator, *, pieces: int = 20, replaced: int = 12
) -> str:
    """Return a sequence with some of its pieces replaced by random bases.

    The negatives of DeePromoter (Oubounyt et al. 2019, doi:10.3389/fgene.2019.00286): 20 pieces,
    12 of them drawn anew from equally likely bases, 8 kept in place.
    """
    edges = np.linspace(0, len(sequence), pieces + 1).round().astype(int)
    letters = np.frombuffer(sequence.encode(), dtype="S1").copy()
    for piece in rng.choice(pieces, replaced, replace=False):
        part = slice(edges[piece], edges[piece + 1])
        letters[part] = rng.choice(np.array([b"A", b"C", b"G", b"T"]), len(letters[part]))
    return letters.tobytes().decode()


def matched_report(pairs: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> dict[str, float]:
    """Return the imbalance of gc and repeat for (positive, negative) frames per split."""
    return {
        f"{column}:{split}": round(value, 4)
        for split, (positive, negative) in pairs.items()
        for column, value in imbalance(positive, negative, ["gc", "repeat"]).items()
    }
