"""Which of the labelled regions become items of a TF binding dataset.

In: rows of :func:`genebert.tasks.tfbs.label_regions`. Out: matched pairs or all of them, at most
``max_items``, and beside a matched set every item of some loci whose labels differ.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from genebert.tasks import negatives
from genebert.tasks.dataset import fair_quota

PARTS = ("train", "valid", "chromosome", "cell-type", "both")
INDUCTIVE = ("chromosome", "both")
BINS = (0.02, 0.05)  # GC and strength: half a decile, since strengths are rank percentiles
# what is capped together, and its part of ``max_items``; a locus stays whole within one of them
CAPS = {"train": ("train",), "valid": ("valid",), "test": INDUCTIVE, "cell-type": ("cell-type",)}
CAP_SHARES = {"train": 0.45, "valid": 0.15, "test": 0.3, "cell-type": 0.1}
WHOLE_SHARE = 4  # items of whole loci beside a matched set: at most ``max_items`` over this


def pair_negatives(
    items: pd.DataFrame, kind: str, seed: int, dropped: Counter[str]
) -> pd.DataFrame:
    """Give every positive a negative of its set and part; return the kept items.

    Matched are GC and strength, not the labels of other cell types: that would handicap every
    model that knows a locus from elsewhere (``cell-average``). The column ``pair`` numbers what
    must stay together. With ``natural`` and ``discordant`` all items are kept.
    """
    if kind != "matched":
        return items.assign(pair=np.arange(len(items)))
    pair = np.full(len(items), -1, dtype=np.int64)
    label = items["label"].to_numpy()
    covariates = items[["gc", "strength"]].to_numpy(float).copy()
    # strength 1.0 belongs to the highest bin
    covariates[:, 1] = np.minimum(covariates[:, 1], 1 - 1e-6)
    for (number, part), rows in items.groupby(["set", "part"], observed=True).indices.items():
        rng = np.random.default_rng([seed, 21, int(number), PARTS.index(str(part))])
        positive, negative = rows[label[rows] == 1], rows[label[rows] == 0]
        chosen = negatives.match(
            covariates[positive], covariates[negative], BINS, rng, max_radius=3
        )
        positive, chosen = positive[chosen >= 0], chosen[chosen >= 0]
        pair[positive] = pair[negative[chosen]] = positive
    dropped["bound_without_match"] += int(((pair < 0) & (label == 1)).sum())
    dropped["unbound_not_drawn"] += int(((pair < 0) & (label == 0)).sum())
    return items.assign(pair=pair)[pair >= 0]


def whole_loci(items: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Return inductive test items of loci whose labels differ, at most ``most``, drawn by locus.

    Parameters
    ----------
    items : of one TF, all cell types; columns locus, label and part.
    """
    mixed = items.groupby("locus")["label"].transform("nunique") == 2
    rows = items[mixed & items["part"].isin(INDUCTIVE)]
    sizes = rows.groupby("locus").size()
    sizes = sizes.iloc[np.random.default_rng([seed, 23]).permutation(len(sizes))]
    return rows[rows["locus"].isin(sizes.index[sizes.cumsum() <= most])]


def with_whole_loci(items: pd.DataFrame, loci: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """Add to a matched set the other items of whole loci, and mark both.

    Parameters
    ----------
    items : the matched items, with ``beside`` and ``whole`` False.
    loci : of :func:`whole_loci`, of all TFs; those of TFs that are not in ``items`` are left out.
    most : of these at most so many are used, evenly over TFs.

    Returns
    -------
    ``items`` and the others; ``whole`` marks all items of these loci, ``beside`` the added ones.
    """
    sets = {tf: loci[loci["tf"] == tf] for tf in sorted(items["tf"].unique())}
    sizes = {tf: len(rows) for tf, rows in sets.items()}
    quota = fair_quota(sizes, dict.fromkeys(sizes, 1.0), most)
    drawn = pd.concat([whole_loci(rows, quota[tf], seed) for tf, rows in sets.items()])
    own, others = (pd.MultiIndex.from_frame(part[["set", "locus"]]) for part in (items, drawn))
    items = items.assign(whole=own.isin(others))
    added = drawn[~others.isin(own)].assign(pair=-1, beside=True, whole=True)
    return pd.concat([items, added], ignore_index=True)


def imbalance(items: pd.DataFrame) -> dict[str, float]:
    """Return how far positives and negatives are apart in GC and strength, in each part."""
    return {
        f"{column}:{part}": round(value, 4)
        for part in PARTS
        for column, value in negatives.imbalance(
            items[(items["part"] == part) & (items["label"] == 1)],
            items[(items["part"] == part) & (items["label"] == 0)],
            ["gc", "strength"],
        ).items()
    }


def cap(items: pd.DataFrame, most: int, seed: int, dropped: Counter[str]) -> pd.DataFrame:
    """Keep at most ``most`` items, evenly over TFs, locus by locus.

    A locus of a TF is taken with all its pairs in all cell types, in random order, until one does
    not fit into the quota of its TF and split: so bound and unbound cell types stay together.
    """
    if len(items) <= most:
        return items
    rng = np.random.default_rng([seed, 22])
    names = {part: name for name, parts in CAPS.items() for part in parts}
    capped = items["part"].astype(object).map(names)
    rows_of = items.groupby([capped, items["tf"].astype(object)]).indices
    groups = {f"{name}\t{tf}": rows for (name, tf), rows in sorted(rows_of.items())}
    sizes = {name: len(rows) for name, rows in groups.items()}
    shares = {name: CAP_SHARES[name.split("\t")[0]] for name in sizes}
    quota = fair_quota(sizes, shares, most)
    keep = np.zeros(len(items), dtype=bool)
    locus, pair = items["locus"].to_numpy(), items["pair"].to_numpy()
    for name, rows in groups.items():
        partners: dict[int, list[int]] = {}
        of_locus: dict[int, list[int]] = {}
        for item in rows.tolist():
            partners.setdefault(pair[item], []).append(item)
            of_locus.setdefault(locus[item], []).append(item)
        taken = 0
        for region in rng.permutation(sorted(of_locus)).tolist():
            both = {other for item in of_locus[region] for other in partners[pair[item]]}
            more = [item for item in sorted(both) if not keep[item]]
            if taken + len(more) > quota[name]:
                break
            keep[more] = True
            taken += len(more)
    dropped["over_max_items"] = int((~keep).sum())
    return items[keep].reset_index(drop=True)
