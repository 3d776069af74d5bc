"""Who of a cohort is a copy, a twin or a close relative of whom, from the dosages alone.

A model that was fitted on a person knows the label of that person's copy. Kinship is KING-robust
(Manichaikul et al. 2010, doi:10.1093/bioinformatics/btq559), which needs no allele frequencies and
so holds in a cohort of several populations: 1/2 for copies, 1/4 for first-degree relatives, about
0 for unrelated people. Letters: n people, V variants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

FIRST_DEGREE, COPY = 2**-2.5, 2**-1.5  # least kinship, half a degree from the expected one
SELF = 0.5  # the largest kinship
COMMON = 0.05  # least frequency of the rarer allele
FEWEST_VARIANTS, MOST_VARIANTS = 50, 10_000  # common ones; of more, evenly spaced ones
FEWEST_SHARED = 0.5  # of these variants, called in both people
SPREADS = 5.0  # above unrelated people that a pair must lie: one in 3 million of them does
# pairs of quantiles of all pairs' kinship, either of which tells this spread: the first where more
# than 1 pair in 40 is related, the second where there are more than two populations
UPPER = ((0.75, 0.9), (0.9, 0.975))
SAMPLE = 1000  # people from whose pairs this spread is estimated
BLOCK = 512  # people at a time
_SEX_OR_ORGANELLE = re.compile(r"(chr)?(X|Y|Z|W|M|MT)", re.IGNORECASE)


@dataclass(frozen=True)
class Relatives:
    """Clusters of people who are to be left out together.

    Attributes
    ----------
    cluster : int32[n], equal for people linked by a chain of copies and close relatives.
    people, clusters : in clusters of two or more, and how many of these there are.
    copies : people who have a copy or a twin.
    variants : common ones that were looked at.
    least_kinship : of a pair that counts: FIRST_DEGREE, more where the variants are too few to
        tell so distant relatives from others, None where not even copies can be told.
    """

    cluster: NDArray[np.int32]
    people: int
    clusters: int
    copies: int
    variants: int
    least_kinship: float | None

    def __str__(self) -> str:
        """Return a sentence for the log and the data card."""
        if self.least_kinship is None:
            return f"not told from unrelated people by {self.variants} common variants"
        few = self.least_kinship > SELF / 2
        return (
            f"{self.people} people in {self.clusters} clusters, {self.copies} with a copy or twin; "
            f"each cluster is in one fold; kinship above {self.least_kinship:.2f} by "
            f"{self.variants} common variants{', too few for first-degree relatives' * few}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all but the clusters themselves, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "cluster"}


def find_relatives(dosage: NDArray[np.int8], contigs: Sequence[str]) -> Relatives:
    """Find copies, twins and, where the variants suffice, first-degree relatives.

    Parameters
    ----------
    dosage : int8[n, V] copies of the alternative allele, -1 missing.
    contigs : of the variants; sex chromosomes and organelles are not looked at.
    """
    common = common_variants(dosage, contigs)
    calls = dosage[:, common]
    n = len(dosage)
    least = least_kinship(calls) if len(common) >= FEWEST_VARIANTS else np.inf
    can_tell = least < SELF
    found = [np.zeros((3, 0))]
    for a, b in combinations_with_replacement(range(0, n if can_tell else 0, BLOCK), 2):
        value = kinship(calls[a : a + BLOCK], calls[b : b + BLOCK])
        i, j = np.nonzero(value > least)
        found.append(np.stack([i + a, j + b, value[i, j]])[:, i + a < j + b])
    pairs, kinships = np.split(np.concatenate(found, axis=1), [2])
    first, second = pairs.astype(np.int64)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    cluster = connected_components(links, directed=False)[1]
    sizes = np.bincount(cluster)
    copy = kinships[0] > COPY
    return Relatives(
        cluster=cluster.astype(np.int32),
        people=int(sizes[sizes > 1].sum()),
        clusters=int((sizes > 1).sum()),
        copies=len(np.union1d(first[copy], second[copy])),
        variants=len(common),
        least_kinship=round(least, 4) if can_tell else None,
    )


def common_variants(dosage: NDArray[np.int8], contigs: Sequence[str]) -> NDArray[np.int64]:
    """Return which common variants of autosomes to look at, at most MOST_VARIANTS."""
    called = dosage >= 0
    frequency = (dosage * called).sum(axis=0) / np.maximum(2 * called.sum(axis=0), 1)
    autosome = np.array([not _SEX_OR_ORGANELLE.fullmatch(str(name)) for name in contigs], bool)
    found = np.flatnonzero((np.minimum(frequency, 1 - frequency) >= COMMON) & autosome)
    return found[np.linspace(0, len(found) - 1, min(len(found), MOST_VARIANTS)).astype(np.int64)]


def kinship(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return float32[people of a, people of b]; -inf for a pair with too few calls in common.

    1/2 - (sum of squared differences of the dosages) / (4 x heterozygous calls of the person who
    has fewer), over the variants called in both: equation 11 of Manichaikul et al.
    """
    x, y = (np.where(part < 0, 0, part).astype(np.float32) for part in (a, b))
    known_x, known_y = ((part >= 0).astype(np.float32) for part in (a, b))
    shared = known_x @ known_y.T
    distance = x**2 @ known_y.T + known_x @ (y**2).T - 2 * x @ y.T
    heterozygous = np.minimum(
        (a == 1).astype(np.float32) @ known_y.T, known_x @ (b == 1).astype(np.float32).T
    )
    out = 0.5 - distance / (4 * np.maximum(heterozygous, 1))
    return np.where(shared < FEWEST_SHARED * a.shape[1], -np.inf, out).astype(np.float32)


def least_kinship(calls: NDArray[np.int8]) -> float:
    """Return from which kinship on a pair is no pair of unrelated people.

    These are normal about 0, the wider the fewer variants there are and the more these hang
    together. Two upper quantiles tell where: people of other populations lie below both, and pairs
    of relatives are too few to move them. If copies are not, it is COPY. Infinite where no pair has
    calls in common.
    """
    some = calls[:: -(-len(calls) // SAMPLE)]
    values = kinship(some, some)[np.triu_indices(len(some), 1)]
    values = values[np.isfinite(values)]
    if not len(values):
        return float("inf")
    cuts = [COPY] if np.quantile(values, UPPER[-1][-1]) > COPY else []
    for shares in UPPER:
        low, high = np.quantile(values, shares)
        at_low, at_high = (NormalDist().inv_cdf(share) for share in shares)
        cuts.append(float(low + (SPREADS - at_low) * (high - low) / (at_high - at_low)))
    return max(FIRST_DEGREE, min(cuts))
