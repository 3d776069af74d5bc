"""Motif sets: probabilities turned into log-odds matrices with thresholds.

In: motif files, the genome and the table of regions (for the background). Out: ``motif_set.json``
and ``motifs.meme``, and from a :class:`MotifSet` the motif rows of any sequences. How sequences are
scanned is in :mod:`genebert.motif_scan`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Codes, Genome
from genebert.motif_files import Motif, read_motifs, write_meme
from genebert.motif_order import ordered
from genebert.motif_pvalues import ROUNDING, best_probability, threshold
from genebert.motif_scan import (
    Hits,
    MotifRows,
    Scanner,
    best_scores,
    blocks,
    cells,
    merge_sites,
    merge_strands,
    stack,
)
from genebert.shards import read_region_table
from genebert.splits import Splits
from genebert.tables import check_unique, read_rows

VERSION = 3

log = logging.getLogger("genebert")

_SITE_RADIUS = 2  # hits of a cluster whose centres are this near are one site
_SLICE = 1 << 24  # bases that are counted at a time
_BATCH = 1_000_000  # bases whose hits are held at a time
_KEYS = (
    "name",
    "source",
    "alternate",
    "cluster",
    "threshold",
    "max_score",
    "attainable_p",
    "kept",
)


@dataclass(frozen=True, eq=False)
class ScoredMotif:
    """A motif as it is scanned.

    Attributes
    ----------
    name, source, alternate : as in :class:`genebert.motif_files.Motif`.
    cluster : the cluster that it belongs to, or "".
    threshold : score that a hit reaches; it lies between two scores of words.
    max_score : the best score that a sequence can have.
    attainable_p : probability of ``max_score`` under the background; no hit has a lower p-value.
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
    log_odds: NDArray[np.float64]

    @property
    def width(self) -> int:
        """Number of positions."""
        return self.log_odds.shape[1]


@dataclass(frozen=True)
class Column:
    """A column of the motif matrix: one kept motif, or the kept motifs of a cluster.

    ``members`` are indices of :attr:`MotifSet.kept`; width is that of the widest member, threshold
    and attainable_p are the lowest.
    """

    name: str
    cluster: str
    members: tuple[int, ...]
    width: int
    threshold: float
    attainable_p: float


@dataclass(frozen=True, eq=False)
class MotifSet:
    """All motifs of a run, and how they were turned into scores.

    Attributes
    ----------
    motifs : every motif that was read.
    p_value : largest p-value of a hit.
    pseudocount : added to each column of probabilities, times the background.
    background : probabilities of A, C, G, T, equal on both strands.
    merge_strands : whether only the better strand counts at each start.
    order : what the order of the motifs was made by (:mod:`genebert.motif_order`).
    """

    motifs: tuple[ScoredMotif, ...]
    p_value: float
    pseudocount: float
    background: tuple[float, ...]
    merge_strands: bool = False
    order: str = "source"

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
        order: str = "source",
    ) -> Self:
        """Score motifs and find their thresholds.

        Parameters
        ----------
        motifs : as read from files; names must be unique.
        unattainable : ``drop`` or ``keep`` motifs whose best score is more likely than ``p_value``;
            of one that is kept the best words alone are hits.
        clusters : cluster of each motif that has one, by name.
        order : what the order of ``motifs`` was made by, for the record.

        Raises
        ------
        InputError
            If a name occurs twice, a score is infinite, or no motif can reach ``p_value``.
        """
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
        scored = []
        for motif in motifs:
            one = score_motif(motif, background, p_value=p_value, pseudocount=pseudocount)
            kept = unattainable == "keep" or one.attainable_p <= p_value * (1 + ROUNDING)
            scored.append(replace(one, kept=kept, cluster=(clusters or {}).get(motif.name, "")))
        if not any(motif.kept for motif in scored):
            raise InputError(
                f"none of {len(scored)} motifs can reach the p-value",
                file="config motifs.p_value",
                found=p_value,
            )
        flat = tuple(float(value) for value in background)
        return cls(tuple(scored), p_value, pseudocount, flat, merge_strands, order)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read ``motif_set.json``.

        Raises
        ------
        InputError
            If it is missing, not a motif set, or one of another version.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            version = record["version"]
            if version != VERSION:
                raise InputError(
                    "motif set of another version", file=path, found=version, expected=VERSION
                )
            motifs = tuple(
                ScoredMotif(
                    **{key: entry[key] for key in _KEYS},
                    log_odds=np.array(entry["log_odds"], dtype=float).reshape(4, entry["width"]),
                )
                for entry in record["motifs"]
            )
            settings = {key: record[key] for key in ("p_value", "pseudocount", "merge_strands")}
            settings["order"] = record.get("order", "source")
            return cls(motifs, background=tuple(record["background"]), **settings)
        except FileNotFoundError:
            raise InputError("no such motif set", file=path) from None
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"is not a motif set ({error})", file=path) from None

    def write(self, path: str | Path) -> None:
        """Write ``motif_set.json``; floats are read back exactly."""
        record: dict[str, Any] = {
            "version": VERSION,
            "p_value": self.p_value,
            "pseudocount": self.pseudocount,
            "background": list(self.background),
            "merge_strands": self.merge_strands,
            "order": self.order,
            "motifs": [
                {key: getattr(motif, key) for key in _KEYS}
                | {"width": motif.width, "log_odds": motif.log_odds.tolist()}
                for motif in self.motifs
            ],
        }
        Path(path).write_text(json.dumps(record) + "\n", encoding="utf-8")

    @cached_property
    def kept(self) -> tuple[ScoredMotif, ...]:
        """The motifs that are scanned."""
        return tuple(motif for motif in self.motifs if motif.kept)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the matrix; a cluster stands where its first member is."""
        members: dict[tuple[bool, str], list[int]] = {}
        for index, motif in enumerate(self.kept):
            members.setdefault((bool(motif.cluster), motif.cluster or motif.name), []).append(index)
        return tuple(
            Column(
                name,
                name if clustered else "",
                tuple(indices),
                max(self.kept[i].width for i in indices),
                min(self.kept[i].threshold for i in indices),
                min(self.kept[i].attainable_p for i in indices),
            )
            for (clustered, name), indices in members.items()
        )

    @property
    def names(self) -> list[str]:
        """Names of the columns: kept motifs, and clusters in place of their members."""
        return [column.name for column in self.columns]

    @cached_property
    def _scanner(self) -> Scanner:
        thresholds = [motif.threshold for motif in self.kept]
        return Scanner([motif.log_odds for motif in self.kept], thresholds, self.background)

    def hits(self, sequences: Sequence[Codes]) -> Hits:
        """Return the hits of the kept motifs in sequences of any lengths (uint8 codes)."""
        hits = self._scanner.hits(sequences)
        return merge_strands(hits) if self.merge_strands else hits

    def scan(self, sequences: Sequence[Codes]) -> MotifRows:
        """Return count, best and sum of the hits in each cell (sequence, column).

        Hits of the members of a cluster are one site, with their best score, where their centres
        (rounded down) lie within 2 bases of each other.
        """
        parts = [self._rows(block) for _, block in blocks(sequences, bases=_BATCH)]
        return stack(parts, len(self.columns))

    def _rows(self, sequences: Sequence[Codes]) -> MotifRows:
        hits = self.hits(sequences)
        column = np.empty(len(self.kept), dtype=np.int64)
        for index, entry in enumerate(self.columns):
            column[list(entry.members)] = index
        clustered = np.array([bool(motif.cluster) for motif in self.kept])[hits.motif]
        if clustered.any():
            width = np.array([motif.width for motif in self.kept])
            centre = hits.start + (width[hits.motif] - 1) // 2
            sites = replace(hits, motif=column[hits.motif], start=centre).take(clustered)
            single = replace(hits, motif=column[hits.motif]).take(~clustered)
            hits = Hits.join([single, merge_sites(sites, _SITE_RADIUS)])
        else:
            hits = replace(hits, motif=column[hits.motif])
        return cells(hits, (len(sequences), len(self.columns)))

    def best_dense(self, sequences: Sequence[Codes]) -> NDArray[np.float32]:
        """Return the best score of each column over starts, strands and members, no threshold.

        Windows with an N do not count; where none is left, the lowest possible score stands.

        Returns
        -------
        float32[n, columns].
        """
        best = best_scores([motif.log_odds for motif in self.kept], sequences)
        parts = [best[:, column.members].max(axis=1) for column in self.columns]
        return np.stack(parts, axis=1).astype(np.float32)


def score_motif(
    motif: Motif, background: Sequence[float], *, p_value: float, pseudocount: float
) -> ScoredMotif:
    """Return the log-odds of a motif with the loosest threshold of a p-value.

    A base of probability f at a position and g in the background scores ln((f + c g) / (1 + c) / g)
    with the pseudocount c. Counts are scaled to probabilities first, so that a motif scores the
    same from a count file and a probability file. :mod:`genebert.motif_pvalues` has the threshold.
    """
    base = np.asarray(background, dtype=np.float64)[:, None]
    with np.errstate(divide="ignore"):
        log_odds = np.log((motif.probabilities + pseudocount * base) / (1 + pseudocount) / base)
    if not np.isfinite(log_odds).all():
        raise InputError(
            f"motif {motif.name} has a base of probability 0",
            file=motif.source,
            expected="a pseudocount above 0",
        )
    return ScoredMotif(
        name=motif.name,
        source=motif.source,
        alternate=motif.alternate,
        cluster="",
        threshold=threshold(log_odds, base[:, 0], p_value),
        max_score=float(log_odds.max(axis=0).sum()),
        attainable_p=best_probability(log_odds, base[:, 0]),
        kept=True,
        log_odds=log_odds,
    )


def training_background(genome: Genome, splits: Splits, contigs: set[str]) -> tuple[float, ...]:
    """Return the probabilities of A, C, G, T in the training intervals of some contigs.

    Averaged over the two strands, so that A equals T and C equals G.
    """
    counts = np.zeros(5, dtype=np.int64)
    for interval in splits.clipped("train", genome.lengths):
        if interval.contig in contigs:
            for start in range(interval.start, interval.end, _SLICE):
                end = min(start + _SLICE, interval.end)
                counts += np.bincount(genome.codes(interval.contig, start, end), minlength=5)
    both = counts[:4] + counts[3::-1]
    if (both == 0).any():
        raise InputError(
            "training intervals do not have all of A, C, G and T",
            file=genome.path,
            found=counts.tolist(),
        )
    return tuple(float(value) for value in both / both.sum())


def read_clusters(path: str | Path, names: Sequence[str]) -> dict[str, str]:
    """Read a table (motif, cluster); motifs that are not in it keep a column of their own.

    Raises
    ------
    InputError
        If a motif is listed twice, none of ``names`` is listed, or a cluster has the name of a
        motif outside it.
    """
    rows = read_rows(path, ["motif", "cluster"])
    check_unique(rows, ["motif"], path)
    known = set(names)
    clusters = {row["motif"]: row["cluster"] for row in rows if row["motif"] in known}
    if not clusters:
        raise InputError(
            "names none of the motifs",
            file=path,
            found=rows[0]["motif"],
            expected=f"names such as {names[0]}",
        )
    for name in known.intersection(clusters.values()):
        if clusters.get(name) != name:
            raise InputError("cluster has the name of a motif outside it", file=path, found=name)
    log.info(
        "%d of %d motifs are in %d clusters", len(clusters), len(names), len(set(clusters.values()))
    )
    return clusters


def build_motif_set(
    *,
    sources: Sequence[str],
    regions: str,
    table: str,
    genome: str,
    index: str,
    block_index: str,
    motif_set: str,
    meme: str,
    settings: Mapping[str, Any],
    splits: Mapping[str, Any],
    clusters: Sequence[str] = (),
) -> None:
    """Write the motif set of a run.

    Parameters
    ----------
    sources : the files among ``settings["sources"]``, in order (``jaspar:`` queries are no files).
    regions, table : the regions; their training contigs give the background.
    genome, index, block_index : bgzipped FASTA and its indices.
    motif_set, meme : output paths; the MEME file holds the kept motifs.
    settings, splits : the blocks ``motifs`` and ``splits`` of the configuration.
    clusters : none, or one table (motif, cluster).
    """
    files = iter(sources)
    motifs: list[Motif] = []
    for source in settings["sources"]:
        path = source["path"]
        motifs += read_motifs(path if path.startswith("jaspar:") else next(files), source["format"])
    rows = read_region_table(table)
    contigs = set(rows["contig"][rows["split"] == "train"].unique())
    if not contigs:
        raise InputError("has no training regions", file=table)
    table_of = read_clusters(clusters[0], [m.name for m in motifs]) if clusters else {}
    order = settings.get("order", "source")
    motifs = ordered(motifs, order, table_of)
    result = MotifSet.build(
        motifs,
        background=training_background(Genome(genome), Splits.from_config(splits), contigs),
        p_value=settings["p_value"],
        pseudocount=settings["pseudocount"],
        unattainable=settings["unattainable"],
        merge_strands=settings.get("merge_strands", False),
        clusters=table_of if order != "cluster" else None,
        order=order,
    )
    lost = [motif.name for motif in result.motifs if not motif.kept]
    log.info(
        "%d motifs, %d dropped: their best score is likelier than p = %g %s",
        len(motifs),
        len(lost),
        result.p_value,
        lost[:5],
    )
    result.write(motif_set)
    kept = {motif.name for motif in result.kept}
    write_meme(meme, [motif for motif in motifs if motif.name in kept], result.background)
