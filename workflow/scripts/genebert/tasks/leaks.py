"""Find test items that a model could know from training, and what composition alone gives away.

In: the items of a dataset. Out: which to remove, and the rows of ``leaks.tsv`` (check, found,
removed, share). Copies are counted exact, as the reverse complement, and by shared 31-mers;
related genes by shared 14-mers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import N, decode, encode, reverse_complement
from genebert.metrics import auroc, macro
from genebert.progress import Progress, progress
from genebert.splits import SPLITS

K = 31
MAX_CONTAINMENT = 0.5
MAX_REMOVED = 0.2
CHECKS = {  # way to be a copy: its row for test items, and for valid items in train
    "exact": ("exact_duplicate", "valid_duplicate_of_train"),
    "reverse_complement": ("reverse_complement_duplicate", "valid_reverse_complement_of_train"),
    "contained": (f"{K}mer_containment_above_{MAX_CONTAINMENT}", "valid_contained_in_train"),
}
SIMILARITY_K = 16
MAX_OCCURRENCES = 1000
MAX_PAIRS = 20_000_000  # (k-mer of a query, reference) looked at once: bounds memory
REFERENCES = 50_000  # references looked at once: bounds memory
MAX_QUERIES = 20_000


def kmers(codes: NDArray[np.uint8], k: int, *, canonical: bool = True) -> NDArray[np.uint64]:
    """Return uint64[n] numbers of the k-mers without N of codes[L], in order; k at most 31.

    With ``canonical`` a k-mer and its reverse complement have one number, the smaller.
    """
    return _kmers_at(codes, k, canonical)[0]


def _kmers_at(
    codes: NDArray[np.uint8], k: int, canonical: bool
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the numbers of the k-mers without N, and where each starts."""
    count = len(codes) - k + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    known = np.where(codes == N, 0, codes).astype(np.uint64)
    forward = np.zeros(count, dtype=np.uint64)
    backward = np.zeros(count, dtype=np.uint64)
    for j in range(k):
        base = known[j : j + count]
        forward = forward << np.uint64(2) | base
        backward |= (np.uint64(3) - base) << np.uint64(2 * j)
    unknown = np.concatenate([[0], np.cumsum(codes == N)])
    out = np.minimum(forward, backward) if canonical else forward
    at = np.flatnonzero(unknown[k:] == unknown[:count])
    return out[at], at


def kmer_sets(
    sequences: Sequence[str], k: int, *, canonical: bool = True, chunk: int = 4096
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct k-mers of each sequence: their numbers and the sequence of each."""
    numbers, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    starts = range(0, len(sequences), chunk)
    for first in progress(starts, f"counting {k}-mers", f"times {chunk:,} sequences"):
        part = sequences[first : first + chunk]
        ends = np.cumsum([len(sequence) + 1 for sequence in part])
        number, at = _kmers_at(encode("N".join(part)), k, canonical)
        owner = np.searchsorted(ends, at, "right")
        order = np.lexsort((number, owner))
        number, owner = number[order], owner[order]
        new = np.ones(len(number), dtype=bool)
        new[1:] = (number[1:] != number[:-1]) | (owner[1:] != owner[:-1])
        numbers.append(number[new])
        owners.append(owner[new] + first)
    return np.concatenate(numbers), np.concatenate(owners)


def containment(
    sequences: Sequence[str], references: Sequence[str], *, k: int = K
) -> NDArray[np.float64]:
    """Return float[N]: the share of a sequence's distinct canonical k-mers that any reference has.

    A sequence without a k-mer (too short, all N) has 0.
    """
    known = np.unique(kmer_sets(references, k)[0])
    own, owner = kmer_sets(sequences, k)
    return _shares(owner, np.isin(own, known), len(sequences))


def containment_elsewhere(
    sequences: Sequence[str], groups: Sequence[str], *, k: int = K
) -> NDArray[np.float64]:
    """Return float[N]: the share of a sequence's k-mers that sequences of other groups have.

    As :func:`containment` with the sequences of all other groups as references, in one pass.

    Parameters
    ----------
    sequences, groups : a text and the name of its group for each of N sequences.
    """
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    own, owner = kmer_sets(sequences, k)
    kmer = np.unique(own, return_inverse=True)[1]
    held = np.unique(kmer * len(names) + group[owner])  # each (k-mer, group) once
    elsewhere = np.bincount(held // max(len(names), 1)) > 1
    return _shares(owner, elsewhere[kmer], len(sequences))


def _shares(owner: NDArray[np.int64], hit: NDArray[np.bool_], n: int) -> NDArray[np.float64]:
    """Return float[n]: the share of each sequence's k-mers that hit, 0 where it has none.

    Parameters
    ----------
    owner : int64[k-mers], the sequence of each. hit : bool[k-mers].
    """
    return np.bincount(owner, hit, minlength=n) / np.maximum(np.bincount(owner, minlength=n), 1)


def find_copies(sequences: Sequence[str], references: Sequence[str]) -> pd.DataFrame:
    """Return bool columns exact, reverse_complement, contained for each sequence."""
    seen = set(references)
    turned = [decode(reverse_complement(encode(sequence))) for sequence in sequences]
    return pd.DataFrame(
        {
            "exact": [sequence in seen for sequence in sequences],
            "reverse_complement": [sequence in seen for sequence in turned],
            "contained": containment(sequences, references) > MAX_CONTAINMENT,
        },
        dtype=bool,
    )


def nearest_similarity(
    queries: Sequence[str],
    references: Sequence[str],
    *,
    k: int = SIMILARITY_K,
    groups: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> NDArray[np.float64]:
    """Return float[Q]: the largest share of a query's k-mers that one reference has.

    Distinct canonical k-mers are counted. Two sequences of identity p share about p ** k of them
    (Ondov et al. 2016, doi:10.1186/s13059-016-0997-x): 0.02, 0.1 and 0.5 are 78, 87 and 96 %.
    K-mers of more than MAX_OCCURRENCES of REFERENCES references (repeats) are not looked up, but
    count in the denominator. A query without a k-mer has 0.

    Parameters
    ----------
    groups : of each query and of each reference; references of a query's own group do not count.
    """
    own, query = kmer_sets(queries, k)
    most = np.zeros(len(queries), dtype=np.int64)
    told = Progress("looking for copies", len(references), "items")
    for first in range(0, len(references), REFERENCES):
        told.at(first)
        part = slice(first, first + REFERENCES)
        there = None if groups is None else (groups[0], groups[1][part])
        found = _most_shared(own, query, len(queries), references[part], k, there)
        np.maximum(most, found, out=most)
    return most / np.maximum(np.bincount(query, minlength=len(queries)), 1)


def _most_shared(
    own: NDArray[np.uint64],
    query: NDArray[np.int64],
    queries: int,
    references: Sequence[str],
    k: int,
    groups: tuple[NDArray[Any], NDArray[Any]] | None,
) -> NDArray[np.int64]:
    """Return int[Q]: the most k-mers of each query that one reference (of another group) has."""
    known, owner = kmer_sets(references, k)
    order = np.argsort(known, kind="stable")
    known, owner = known[order], owner[order]
    first = np.searchsorted(known, own, "left")
    count = np.searchsorted(known, own, "right") - first
    count[count > MAX_OCCURRENCES] = 0
    most = np.zeros(queries, dtype=np.int64)
    pairs = np.concatenate([[0], np.cumsum(np.bincount(query, count, minlength=queries))])
    ends = np.searchsorted(query, np.arange(queries + 1))
    start = 0
    while start < queries:
        stop = max(start + 1, int(np.searchsorted(pairs, pairs[start] + MAX_PAIRS, "right")) - 1)
        part = slice(ends[start], ends[stop])
        rows = np.repeat(query[part], count[part])
        within = np.arange(len(rows)) - np.repeat(np.cumsum(count[part]) - count[part], count[part])
        columns = owner[np.repeat(first[part], count[part]) + within]
        if groups is not None:
            apart = groups[0][rows] != groups[1][columns]
            rows, columns = rows[apart], columns[apart]
        pair, shared = np.unique(rows * len(references) + columns, return_counts=True)
        np.maximum.at(most, pair // len(references), shared)
        start = stop
    return most


def add_similarity(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the column ``similarity`` of test items to train and valid; NaN for the others.

    Of more than MAX_QUERIES distinct test sequences, evenly spaced ones have a value.
    """
    test = np.flatnonzero(frame["split"] == "test")
    sequence = frame["sequence"].to_numpy(dtype=object)
    known = pd.unique(sequence[frame["split"] != "test"]).tolist()
    unique = np.unique(sequence[test].astype(str))
    asked = unique[:: max(1, -(-len(unique) // MAX_QUERIES))].tolist()
    found = dict(zip(asked, nearest_similarity(asked, known), strict=True))
    similarity = np.full(len(frame), np.nan)
    similarity[test] = [found.get(text, np.nan) for text in sequence[test]]
    return frame.assign(similarity=similarity)


def similarity_elsewhere(
    sequences: Sequence[str], groups: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return float[N]: the :func:`nearest_similarity` of each sequence to those of other groups.

    Of more than MAX_QUERIES distinct sequences, evenly spaced ones have a value, the others NaN.
    """
    frame = pd.DataFrame({"sequence": sequences, "group": groups})
    unique = frame.drop_duplicates()
    asked = unique.iloc[:: max(1, -(-len(unique) // MAX_QUERIES))]
    similarity = nearest_similarity(
        asked["sequence"].tolist(),
        unique["sequence"].tolist(),
        groups=(asked["group"].to_numpy(), unique["group"].to_numpy()),
    )
    found = asked.assign(similarity=similarity)
    return frame.merge(found, "left", ["sequence", "group"])["similarity"].to_numpy(float)


def remove_copies(
    frame: pd.DataFrame,
    *,
    file: str,
    checked: NDArray[np.bool_] | None = None,
    keep: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove test items whose sequence is known from train or valid.

    What is left is looked at in the same ways again. Copies of train in valid are counted and stay.

    Parameters
    ----------
    frame : items with columns split and sequence.
    file : named in the error.
    checked : bool[N], the test items that must be new (default: all of split test).
    keep : count the copies only (for comparison with tables of a set that has them).

    Returns
    -------
    The frame without the copies, and the rows of the leak table.

    Raises
    ------
    InputError
        If more than 20 % of the checked items go, or a copy is left.
    """
    split = frame["split"].to_numpy()
    test = split == "test" if checked is None else checked & (split == "test")
    known = frame["sequence"][split != "test"]
    copies = _copies_of(frame["sequence"][test], known)
    bad = copies.any(axis=1).to_numpy()
    found, total = int(bad.sum()), len(bad)
    if total and found / total > MAX_REMOVED and not keep:
        raise InputError(
            "too many test items are copies of train or valid items",
            file=file,
            found=f"{found} of {total}",
            expected=f"at most {MAX_REMOVED:.0%}",
        )
    gone = np.zeros(len(frame), dtype=bool)
    gone[np.flatnonzero(test)[bad]] = not keep
    kept = frame[~gone].reset_index(drop=True)
    left = found
    if gone.any():
        left = int(_copies_of(kept["sequence"][test[~gone]], known).any(axis=1).sum())
        if left:
            raise InputError("test items are still copies after removal", file=file, found=left)
    own = _copies_of(frame["sequence"][split == "valid"], frame["sequence"][split == "train"])
    rows = [_counted(name, copies[kind], not keep) for kind, (name, _) in CHECKS.items()]
    rows += [_counted("any_copy", bad, not keep), ("remaining_duplicate", left, 0, 0.0)]
    rows += [_counted(name, own[kind], False) for kind, (_, name) in CHECKS.items()]
    return kept, pd.DataFrame(rows, columns=["check", "found", "removed", "share"])


def _copies_of(sequences: pd.Series, known: pd.Series) -> pd.DataFrame:
    """Return :func:`find_copies` of every item; distinct sequences are looked at once."""
    unique, inverse = np.unique(sequences.to_numpy(dtype=str), return_inverse=True)
    found = find_copies(unique.tolist(), known.unique().tolist())
    return found.iloc[inverse].reset_index(drop=True)


def _counted(name: str, hit: NDArray[np.bool_], removed: bool) -> tuple[str, int, int, float]:
    """Return the row of a check: which of the items it hit, and whether these were removed."""
    found = int(hit.sum())
    return name, found, found if removed else 0, found / max(len(hit), 1)


def composition_rows(
    frame: pd.DataFrame, *, negative: int = 0, splits: Sequence[str] = SPLITS
) -> pd.DataFrame:
    """Return what composition gives away: per split, GC and length of both sides, AUROC of GC.

    Columns of the leak table; ``found`` is a number of items and ``share`` the value. Items of
    class ``negative`` are one side, all others the other. The AUROC is macro-averaged over groups.
    Without ``splits`` (items that are cross-validated) all items are taken together.
    """
    gc = frame["sequence"].str.count("[CG]") / frame["sequence"].str.count("[ACGT]").clip(lower=1)
    length = frame["sequence"].str.len()
    positive = (frame["label"] != negative).to_numpy()
    parts = {f":{split}": (frame["split"] == split).to_numpy() for split in splits}
    rows: list[tuple[str, int, int, float]] = []
    for suffix, inside in (parts or {"": np.ones(len(frame), dtype=bool)}).items():
        for name, value in (("gc", gc), ("length", length)):
            for side, mask in (("positive", positive), ("negative", ~positive)):
                part = value[inside & mask]
                mean = float(part.mean()) if len(part) else float("nan")
                rows.append((f"{name}_{side}{suffix}", len(part), 0, mean))
        group = frame["group"].to_numpy()
        area = macro(auroc, positive[inside], gc.to_numpy()[inside, None], group[inside])
        rows.append((f"gc_auroc{suffix}", int(inside.sum()), 0, area))
    return pd.DataFrame(rows, columns=["check", "found", "removed", "share"])


def related(
    queries: Sequence[str],
    references: Sequence[str],
    *,
    k: int = 14,
    bin_bases: int = 100,
    identity: float = 0.8,
    coverage: float = 0.5,
) -> NDArray[np.bool_]:
    """Return bool[Q]: the query is at least ``identity`` identical to one reference.

    Bases that mutate independently leave a k-mer intact with probability identity ** k (Ondov et
    al. 2016, doi:10.1186/s13059-016-0997-x). A query is related to a reference if at least
    ``coverage`` of its bins share a k-mer with that reference and, in these bins together, at
    least identity ** k of the k-mers do. Unrelated bins share a k-mer by chance about once in
    4 ** k / (100 * length of the reference). Sequences are compared on the strand given, N left
    out; one without a full bin of k-mers is taken as unrelated.
    """
    known, owner = kmer_sets(references, k, canonical=False)
    order = np.argsort(known, kind="stable")
    known, owner = known[order], owner[order]
    out = np.zeros(len(queries), dtype=bool)
    for i, sequence in enumerate(progress(queries, "comparing genes", "genes")):
        own = kmers(encode(sequence), k, canonical=False)
        if len(own) < bin_bases:
            continue
        bins = np.arange(len(own)) // bin_bases
        first, last = (np.searchsorted(known, own, side) for side in ("left", "right"))
        count = last - first
        rows = np.repeat(bins, count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        columns = owner[np.repeat(first, count) + within]
        size = np.bincount(bins)
        shared = sp.coo_array(
            (np.ones(len(rows)), (columns, rows)), shape=(len(references), len(size))
        ).tocsr()
        covered = np.diff(shared.indptr) >= coverage * len(size)
        for j in np.flatnonzero(covered):
            part = slice(shared.indptr[j], shared.indptr[j + 1])
            if shared.data[part].sum() >= identity**k * size[shared.indices[part]].sum():
                out[i] = True
                break
    return out
