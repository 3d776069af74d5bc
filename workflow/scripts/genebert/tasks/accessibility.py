"""Accessibility (supplementary): is a region open in a cell type, its own accessibility hidden?

In: the regions and their accessibility. Out: a binary dataset whose items are (region, cell type),
as many open as closed ones in every cell type and part. The loci are those that at least one
training cell type other than the item's own has open: else a locus that no other type has open
would have to be open in the item's own. No model sees the anchor's accessibility (``anchor_hidden``
in the description); the region branch sees the neighbourhood, the anchor column is left out.

Parts, as in :mod:`genebert.tasks.tfbs`: training cell types on the train and valid chromosomes, and
of the test items the tags ``chromosome`` (test chromosome, training cell type), ``cell-type``
(train chromosome, held-out cell type; transductive) and ``both``. A cell type without an open
region on a contig says nothing of it: its pairs there are unlabelled, never closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Genome
from genebert.job import as_list
from genebert.progress import Progress
from genebert.splits import SPLITS
from genebert.tasks import annotation
from genebert.tasks.dataset import (
    fair_quota,
    finish,
    row_contigs,
    sequences,
)
from genebert.tasks.tfbs import INDUCTIVE, Atlas, listed_probability

CLASSES = ["closed", "open"]
# part -> (split of the chromosome, held-out cell types, share of ``max_items``)
PARTS: Mapping[str, tuple[str, bool, float]] = {
    "train": ("train", False, 0.45),
    "valid": ("valid", False, 0.15),
    "chromosome": ("test", False, 0.08),
    "cell-type": ("train", True, 0.07),
    "both": ("test", True, 0.25),
}


def build(
    *,
    genome: str,
    regions: str,
    accessibility: str,
    truth: str | Sequence[str],
    dataset: str,
    description: str,
    leaks: str,
    row: Mapping[str, Any],
    seed: int,
    max_items: int,
    **_: Any,
) -> None:
    """Build an accessibility dataset; see :func:`genebert.tasks.build_dataset` for the arguments.

    ``row`` may set ``contigs`` (only loci on these) and ``block_bp``.

    Raises
    ------
    InputError
        If a file cannot be read, a contig is unknown, there are fewer than two training cell
        types, or a split has no open or no closed item.
    """
    fasta, atlas = Genome(genome), Atlas.read(regions, accessibility)
    known = int((~atlas.held_out).sum())
    if known < 2:
        raise InputError(
            "accessibility needs two training cell types", file=accessibility, found=known
        )
    dropped: Counter[str] = Counter()
    items, n_in = draw_items(atlas, usable_regions(row, atlas, fasta), seed, max_items, dropped)
    frame = complete(items, atlas, fasta)
    frame["oracle"] = oracle(frame, as_list(truth))
    info = {
        "task": "accessibility",
        "dataset": row["name"],
        "kind": "binary",
        "classes": CLASSES,
        "uses_regions": True,
        "anchor_hidden": True,
        "strand_specific": False,
        "block_bp": int(row["block_bp"]),
        "n_in": n_in,
        "inductive_strata": list(INDUCTIVE),
        "cell_types": len(atlas.cell_types),
        "held_out_cell_types": int(atlas.held_out.sum()),
        "captions": {
            "items": "(region, cell type), open or closed; the anchor's accessibility is hidden",
            "negatives": "regions closed in the cell type, as many as open ones in every cell type"
            " and part; open and closed loci alike are open in another training cell type",
            "strata": "chromosome: test chromosome, training cell type; cell-type: train"
            " chromosome, held-out cell type (transductive); both: test chromosome and held-out"
            " cell type",
            "baselines": "mean-breadth and nearest-type read the training cell types at the locus."
            " Of a training cell type they leave out its own, so that within one locus an open type"
            " has the smaller breadth: only `both` is a fair comparison, and it is the headline",
        },
    }
    finish(
        frame.drop(columns=["part"]),
        info,
        regions=atlas.regions,
        genome=fasta,
        dropped=dropped,
        file=accessibility,
        outputs=(dataset, description, leaks),
        checked=frame["part"].isin(INDUCTIVE).to_numpy(),
    )


def usable_regions(row: Mapping[str, Any], atlas: Atlas, genome: Genome) -> NDArray[np.bool_]:
    """Return bool[R]: the region lies on a contig of the row, or on any where it names none."""
    names = row_contigs(row, genome) or list(genome.lengths)
    return atlas.regions["contig"].isin(names).to_numpy(dtype=bool)


def draw_items(
    atlas: Atlas, usable_R: NDArray[np.bool_], seed: int, most: int, dropped: Counter[str]
) -> tuple[pd.DataFrame, int]:
    """Draw as many open as closed regions of every cell type and part, ``most`` items at most.

    For training and validation every cell type takes regions in a random order of its own, for as
    many loci as possible. For the test all take them in one order, so that they share loci: only
    then can cell types be compared at a locus.

    Returns
    -------
    items : columns part, cell (index), region, label.
    total : number of (region, cell type) that could have been taken.
    """
    breadth_R = np.asarray((atlas.strengths[~atlas.held_out] > 0).sum(axis=0)).ravel()
    split_R = atlas.regions["split"].to_numpy(dtype=object)
    contig_R = pd.factorize(atlas.regions["contig"])[0]
    shared = np.random.default_rng([seed, 31]).permutation(len(split_R))
    pools: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
    total, told = 0, Progress("drawing items", len(atlas.held_out), "cell types")
    for cell, held_out in enumerate(atlas.held_out):
        open_R = np.zeros(len(split_R), dtype=bool)
        open_R[atlas.strengths[cell].indices] = True
        assayed_R = np.isin(contig_R, np.unique(contig_R[open_R]))
        elsewhere_R = breadth_R - (0 if held_out else open_R) > 0
        dropped["on_contigs_without_a_peak_of_the_cell_type"] += int((usable_R & ~assayed_R).sum())
        dropped["open_in_no_other_training_cell_type"] += int((usable_R & ~elsewhere_R).sum())
        allowed_R = usable_R & assayed_R & elsewhere_R
        own = np.random.default_rng([seed, 32, cell]).permutation(len(split_R))
        for part, (split, of_held_out, _) in PARTS.items():
            if of_held_out == held_out:
                order = own if part in SPLITS else shared
                here = order[(allowed_R & (split_R == split))[order]]
                total += len(here)
                pools[part, cell] = [here[~open_R[here]], here[open_R[here]]]
        told.at(cell + 1)
    size = {key: 2 * min(map(len, pair)) for key, pair in pools.items()}
    parts = {part: sum(n for key, n in size.items() if key[0] == part) for part in PARTS}
    quota = fair_quota(parts, {part: PARTS[part][2] for part in PARTS}, most)
    rows = []
    for part in PARTS:
        names = {f"{cell:09d}": n for (own, cell), n in size.items() if own == part}
        share = fair_quota(names, dict.fromkeys(names, 1.0), quota[part]) if names else {}
        for name, count in share.items():
            for label, pool in enumerate(pools[part, int(name)]):
                taken = pool[: count // 2]
                values = {"part": part, "cell": int(name), "region": taken, "label": float(label)}
                rows.append(pd.DataFrame(values))
    items = pd.concat(rows, ignore_index=True)
    dropped["over_max_items_or_unbalanced"] = total - len(items)
    return items, total


def complete(items: pd.DataFrame, atlas: Atlas, genome: Genome) -> pd.DataFrame:
    """Add coordinates, sequence, names and strata to the items."""
    own = atlas.regions.iloc[items["region"]].reset_index(drop=True)
    names = np.array(atlas.cell_types, dtype=object)
    frame = items.assign(
        cell_type=names[items["cell"].to_numpy()],
        contig=own["contig"],
        start=own["start"],
        end=own["end"],
        strand=".",
    ).drop(columns="cell")
    unique = frame.drop_duplicates("region")
    frame["sequence"] = frame["region"].map(
        dict(zip(unique["region"], sequences(unique, genome), strict=True))
    )
    fields = (frame[name] for name in ("contig", "start", "end", "cell_type"))
    frame["item"] = [f"{c}:{s}-{e}:{cell}" for c, s, e, cell in zip(*fields, strict=True)]
    in_split = frame["part"].isin(SPLITS)
    frame["split"] = frame["part"].where(in_split, "test")
    tags = frame["part"].replace({"cell-type": "cell-type;transductive"})
    frame["stratum"] = tags.where(~in_split, "")
    return frame


def oracle(frame: pd.DataFrame, truth: Sequence[str]) -> NDArray[np.float64]:
    """Return the generator's probability that each locus is open; NaN without a truth file.

    The generator's region is the one that holds the item's centre; a locus that a false peak made
    lies in none, and has the probability of what is not listed. NaN for cell types not listed.
    """
    out = np.full(len(frame), np.nan)
    if not truth:
        return out
    columns = ["contig", "start", "end", "cell_type", "probability"]
    table = annotation.read_truth(truth[0], columns)
    unlisted = annotation.unlisted_probability(table)
    known = {str(name): part for name, part in table.groupby("cell_type", sort=False)}
    for name, rows in frame.groupby("cell_type").indices.items():
        if str(name) in known:
            out[rows] = listed_probability(frame.iloc[rows], known[str(name)], unlisted)
    return out
