"""Motif sets: log-odds matrices with thresholds, and their scan over sequences.

In: motif files, the genome and the table of regions (for the background). Out: ``motif_set.json``
and ``motifs.meme``; from a set, the hits of sequences as sparse rows or their best scores.

Scores are natural-log odds. A hit is a (start, strand) whose score reaches the threshold of the
motif; a hit never covers an N or leaves its sequence. MOODS (Korhonen et al. 2009, 2017) finds
candidates, which are scored again here in float64, column by column from the motif's first, so that
hits and scores equal those of a plain loop and do not depend on strand, window or neighbours.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Self

import MOODS.scan
import MOODS.tools
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genebert.errors import InputError, nearest
from genebert.genome import Codes, Genome, N
from genebert.motif_files import Motif, read_motifs, write_meme
from genebert.shards import read_region_table
from genebert.splits import Splits
from genebert.tables import check_unique, read_rows

VERSION = 1

log = logging.getLogger("genebert")

_WINDOW = 8  # bases of the scanner's table; 9 scans 15 % faster but takes four times as long to build
_BLOCK = 50_000  # bases that are joined for one scan
_SLACK = 1e-6  # below the threshold, so that MOODS' own rounding loses no hit
_CLUSTER_RADIUS = 2  # bases between the centres of hits that are one site
_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)
_PIECE = 5  # columns of a motif that one table lookup scores, in best_dense
_POSITION = MOODS.scan.match.pos.fget  # the C getter of a hit's position

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ScoredMotif:
    """A motif as it is scanned.

    Attributes
    ----------
    name, source, alternate : as in :class:`genebert.motif_files.Motif`.
    cluster : the cluster that it belongs to, or "".
    threshold : lowest score of a hit.
    max_score : the best score that any sequence can have.
    attainable_p : probability of ``max_score`` under the background: no hit has a lower p-value.
    kept : whether it is scanned.
    log_odds : float64[4, width], natural logarithms, rows A, C, G, T.
    """

    name: str
    source: str
    alternate: str
    cluster: str
    threshold: float
    max_score: float
    attainable_p: float
    kept: bool
    log_odds: Floats

    @property
    def width(self) -> int:
        """Number of positions."""
        return self.log_odds.shape[1]


@dataclass(frozen=True)
class Column:
    """A column of the motif matrix: one kept motif, or the kept motifs of one cluster."""

    name: str
    cluster: str
    members: tuple[int, ...]  # indices of MotifSet.kept


@dataclass(frozen=True, eq=False)
class Hits:
    """Hits, each one element of the arrays; ordered by block, motif width, motif, strand, start.

    Attributes
    ----------
    row : int64[H], index of the sequence.
    motif : int64[H], index into :attr:`MotifSet.kept`.
    start : int64[H], first base of the hit in its sequence, on the given strand of the sequence.
    reverse : bool[H], the motif matches the reverse complement.
    score : float64[H], log-odds.
    """

    row: Ints
    motif: Ints
    start: Ints
    reverse: NDArray[np.bool_]
    score: Floats


@dataclass(frozen=True, eq=False)
class MotifRows:
    """Hits per cell (sequence, column): float32 CSR[n, columns], the same cells stored in each.

    Attributes
    ----------
    count : number of hits.
    best : highest log-odds of a hit.
    sum : sum of the log-odds of the hits.
    """

    count: sparse.csr_matrix
    best: sparse.csr_matrix
    sum: sparse.csr_matrix


@dataclass(frozen=True, eq=False)
class MotifSet:
    """All motifs of a run, and how they were turned into scores.

    Attributes
    ----------
    motifs : every motif that was read, in order of the sources.
    p_value : largest p-value of a hit.
    pseudocount : added to each column of probabilities, times the background.
    background : probabilities of A, C, G, T; the same on both strands.
    merge_strands : count and sum only the better strand at each start.
    """

    motifs: tuple[ScoredMotif, ...]
    p_value: float
    pseudocount: float
    background: tuple[float, float, float, float]
    merge_strands: bool = False

    @classmethod
    def build(
        cls,
        motifs: Sequence[Motif],
        *,
        background: Sequence[float] = (0.25,) * 4,
        p_value: float = 1e-4,
        pseudocount: float = 0.01,
        unattainable: str = "drop",
        merge_strands: bool = False,
        clusters: Mapping[str, str] | None = None,
    ) -> Self:
        """Turn probabilities into log-odds and find the thresholds.

        The log-odds of base b at a position with probability f is ln((f + c g) / (1 + c) / g), with
        background g of b and pseudocount c. Thresholds are those of MOODS for ``p_value``. Motifs
        whose best score is more likely than ``p_value`` are dropped unless ``unattainable`` is
        ``keep``: then their consensus is a hit, at its larger p-value.

        Raises
        ------
        InputError
            If a score is infinite, no motif is left, or a name occurs twice.
        """
        base = np.asarray(background, dtype=np.float64)
        scored: list[ScoredMotif] = []
        sources: dict[str, str] = {}
        for motif in motifs:
            if motif.name in sources:
                raise InputError(
                    f"motif name is also in {sources[motif.name]}",
                    file=motif.source,
                    found=motif.name,
                    expected="unique names",
                )
            sources[motif.name] = motif.source
            with np.errstate(divide="ignore"):
                frequency = motif.probabilities + pseudocount * base[:, None]
                log_odds = np.log(frequency / (1 + pseudocount) / base[:, None])
            if not np.isfinite(log_odds).all():
                raise InputError(
                    f"motif {motif.name} has a base of probability 0",
                    file=motif.source,
                    expected="a pseudocount above 0",
                )
            best = log_odds.max(axis=0)
            attainable = float(np.prod(np.where(log_odds == best, base[:, None], 0).sum(axis=0)))
            scored.append(
                ScoredMotif(
                    name=motif.name,
                    source=motif.source,
                    alternate=motif.alternate,
                    cluster=(clusters or {}).get(motif.name, ""),
                    threshold=float(
                        MOODS.tools.threshold_from_p(log_odds.tolist(), base.tolist(), p_value)
                    ),
                    max_score=float(best.sum()),
                    attainable_p=attainable,
                    kept=unattainable == "keep" or attainable <= p_value * (1 + 1e-9),
                    log_odds=log_odds,
                )
            )
        if not any(motif.kept for motif in scored):
            raise InputError(
                f"none of {len(scored)} motifs can reach the p-value",
                file="config motifs.p_value",
                found=p_value,
            )
        a, c, g, t = (float(value) for value in base)
        return cls(tuple(scored), p_value, pseudocount, (a, c, g, t), merge_strands)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read ``motif_set.json``.

        Raises
        ------
        InputError
            If it is not the file of a motif set of this version.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if record["version"] != VERSION:
                raise InputError(
                    "motif set of another version",
                    file=path,
                    found=record["version"],
                    expected=VERSION,
                )
            motifs = tuple(
                ScoredMotif(
                    **{key: entry[key] for key in _KEYS},
                    log_odds=np.array(entry["log_odds"], dtype=np.float64).reshape(
                        4, entry["width"]
                    ),
                )
                for entry in record["motifs"]
            )
            a, c, g, t = record["background"]
            p_value, pseudocount = record["p_value"], record["pseudocount"]
            return cls(motifs, p_value, pseudocount, (a, c, g, t), record["merge_strands"])
        except FileNotFoundError:
            raise InputError("no such motif set", file=path) from None
        except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"is not a motif set ({error})", file=path) from None
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"is not a motif set ({error})", file=path) from None

    def write(self, path: str | Path) -> None:
        """Write ``motif_set.json``; floats are written so that they are read back exactly."""
        record = {
            "version": VERSION,
            "p_value": self.p_value,
            "pseudocount": self.pseudocount,
            "background": list(self.background),
            "merge_strands": self.merge_strands,
            "motifs": [
                {key: getattr(motif, key) for key in _KEYS}
                | {"width": motif.width, "log_odds": motif.log_odds.tolist()}
                for motif in self.motifs
            ],
        }
        Path(path).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @cached_property
    def kept(self) -> tuple[ScoredMotif, ...]:
        """The motifs that are scanned."""
        return tuple(motif for motif in self.motifs if motif.kept)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the matrix: each cluster at the place of its first member."""
        members: dict[tuple[str, str], list[int]] = {}
        for index, motif in enumerate(self.kept):
            key = ("cluster", motif.cluster) if motif.cluster else ("motif", motif.name)
            members.setdefault(key, []).append(index)
        return tuple(
            Column(name, name if kind == "cluster" else "", tuple(indices))
            for (kind, name), indices in members.items()
        )

    @property
    def names(self) -> list[str]:
        """Names of the columns: kept motifs, or clusters where motifs are clustered."""
        return [column.name for column in self.columns]

    @cached_property
    def _scanner(self) -> _Scanner:
        return _Scanner(self.kept, self.background)

    def hits(self, sequences: Sequence[Codes]) -> Hits:
        """Return all hits of the kept motifs.

        Parameters
        ----------
        sequences : uint8 codes of any lengths (also uint8[n, L]).
        """
        parts = [
            replace(self._scanner.scan(block), row=hits.row + first)
            for first, block in _blocks(sequences)
            for hits in [self._scanner.scan(block)]
        ]
        return _concatenate(parts)

    def scan(self, sequences: Sequence[Codes]) -> MotifRows:
        """Return count, best and sum of the hits per (sequence, column).

        Parameters
        ----------
        sequences : uint8 codes of any lengths (also uint8[n, L]).
        """
        raise NotImplementedError
