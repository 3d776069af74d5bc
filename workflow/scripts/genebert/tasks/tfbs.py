"""TF binding: is an open region bound by a TF in a cell type?

In: the regions, their accessibility, and a table of ChIP-seq peak files (tf, cell_type, peaks).
Out: a binary dataset whose items are (region open in c, TF, c), one group per TF. An item is
positive if the summit of a peak of (TF, c) lies in the region; a region that a peak touches without
its summit is left out; a region on a contig that the assay of this set does not cover is
unlabelled, never negative.

Parts. Training cell types give ``train`` and ``valid`` on the chromosomes of these splits. Test
items carry the part as a tag of ``stratum``: ``chromosome`` (test chromosome, training cell type),
``cell-type`` (train chromosome, held-out cell type) and ``both``. Loci of the part ``cell-type``
were seen in training cell types, so it is transductive (tag ``transductive`` where the locus is a
training item or was pre-trained on); only ``chromosome`` and ``both`` support a claim. The tag
``discordant`` marks items whose locus is open and labelled otherwise in a training cell type.

Matching on strength takes of one locus the unbound cell types that are strong, so cell types must
not be compared among matched items. A matched set has beside them (tag ``beside``, never in its
headline) all other items of some test loci whose labels differ between cell types; only items of
such loci (tag ``whole-locus``) are called ``discordant`` there.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from genebert.errors import InputError, nearest, reading
from genebert.genome import Genome
from genebert.job import as_list
from genebert.progress import progress
from genebert.splits import SPLITS
from genebert.tables import check_unique, read_rows
from genebert.tasks import annotation
from genebert.tasks.dataset import (
    ANCHOR,
    BESIDE,
    WHOLE_LOCUS,
    finish,
    in_pretraining,
    overlaps_any,
    read_regions,
    region_at,
    row_contigs,
    row_option,
    sequences,
)
from genebert.tasks.tfbs_items import (
    INDUCTIVE,
    PARTS,
    WHOLE_SHARE,
    cap,
    imbalance,
    pair_negatives,
    whole_loci,
    with_whole_loci,
)

log = logging.getLogger("genebert")

CLASSES = ["unbound", "bound"]
NEGATIVES = ("matched", "natural", "discordant")
MIN_IN_OPEN = 0.1  # share of a set's summits in open regions, below which a build may be wrong


@dataclass(frozen=True)
class Atlas:
    """Regions (the table), strengths (csr[C, R]), cell types and which of them are held out."""

    regions: pd.DataFrame
    strengths: sp.csr_matrix
    cell_types: tuple[str, ...]
    held_out: NDArray[np.bool_]

    @classmethod
    def read(cls, regions: str, accessibility: str) -> Atlas:
        """Read regions.tsv and accessibility.h5ad; raise InputError if they do not fit."""
        table = read_regions(regions)
        with reading(accessibility, "cannot be read as h5ad", KeyError):
            matrix = anndata.read_h5ad(accessibility)
        if matrix.n_vars != len(table) or "held_out" not in matrix.obs:
            raise InputError(
                "does not belong to the regions",
                file=accessibility,
                found=f"{matrix.n_vars} regions",
                expected=f"{len(table)} regions and a column held_out",
            )
        names = tuple(str(name) for name in matrix.obs_names)
        held_out = matrix.obs["held_out"].to_numpy(dtype=bool)
        return cls(table, sp.csr_matrix(matrix.X), names, held_out)


def build(
    *,
    genome: str,
    regions: str,
    accessibility: str,
    labels: str,
    extra: str | Sequence[str],
    truth: str | Sequence[str],
    dataset: str,
    description: str,
    leaks: str,
    row: Mapping[str, Any],
    seed: int,
    max_items: int,
    **_: Any,
) -> None:
    """Build a TF binding dataset; see :func:`genebert.tasks.build_dataset` for the arguments.

    ``extra`` are the peak files in the order of the table ``labels`` (none: the paths in the
    table). ``row`` may set ``negatives`` (``matched``: one to one on GC and strength within TF,
    cell type and split; ``natural``: every open region; ``discordant``: every item of the stratum,
    for which a matched set holds few negatives), ``anchor`` (``hidden``: the region branch is not
    shown the item's own region), ``contigs`` (the contigs that all assays cover; else of each set
    those with a peak of its file) and ``block_bp``.

    Raises
    ------
    InputError
        If a file cannot be read, no cell type is in the atlas, or no TF can be used.
    """
    kind = row_option(row, "negatives", NEGATIVES)
    fasta, atlas = Genome(genome), Atlas.read(regions, accessibility)
    dropped: Counter[str] = Counter()
    chip = read_chip(labels, as_list(extra), atlas.cell_types, dropped)
    files = progress(chip["path"], "reading peaks", "files")
    peaks = [read_peaks(path, fasta, dropped) for path in files]
    covered = covered_contigs(row, peaks, fasta)
    parts, loci, skipped, n_in = [], [], [], 0
    shares: dict[str, dict[str, Any]] = {}
    in_open: dict[str, float] = {}
    by_tf = progress(chip.groupby("tf", sort=True), "labelling regions", "TFs")
    for tf, sets in by_tf:  # a TF at a time: bounds memory
        items = label_regions(sets, peaks, atlas, covered, dropped, in_open)
        n_in += len(items)
        items["discordant"] = discordant(items)
        share = discordant_loci(items)
        items = items[items["part"] != ""]
        if kind == "discordant":
            dropped["not_discordant"] += int((~items["discordant"]).sum())
            items = items[items["discordant"]]
        if kind == "matched":
            loci.append(whole_loci(items, max_items // WHOLE_SHARE, seed))
        items = pair_negatives(items, kind, seed, dropped)
        if usable(items, str(tf), dropped):
            parts.append(items)
            shares[str(tf)] = share
        else:
            skipped.append(str(tf))
    strange = sorted(name for name, share in in_open.items() if share < MIN_IN_OPEN)
    if strange:
        log.warning(
            "%s: of %d sets hardly a summit lies in a region open in the cell type (another"
            " build?), such as %s, %.0f %%",
            labels, len(strange), strange[0], 100 * in_open[strange[0]],
        )  # fmt: skip
    check_left(shares, skipped, labels)
    items = pd.concat(parts, ignore_index=True)
    balance = imbalance(items) if kind == "matched" else {}
    items = cap(items, max_items, seed, dropped)
    for tf in list(shares):  # the limit may leave a TF without a class
        if not usable(items[items["tf"] == tf], tf, dropped):
            skipped.append(tf)
            del shares[tf]
    check_left(shares, skipped, labels)
    items = items[items["tf"].isin(list(shares))].assign(beside=False, whole=kind != "matched")
    if kind == "matched":
        items = with_whole_loci(items, pd.concat(loci), max_items // WHOLE_SHARE, seed)
    items = items.reset_index(drop=True)
    items = items.astype(dict.fromkeys(("tf", "cell_type", "part"), object))
    frame = complete(items, atlas, fasta)
    frame["oracle"] = oracle(frame, as_list(truth))
    checked = frame["part"].isin(INDUCTIVE).to_numpy()
    info = {
        "task": "tfbs",
        "dataset": row["name"],
        "kind": "binary",
        "classes": CLASSES,
        "uses_regions": True,
        "strand_specific": False,
        "block_bp": int(row["block_bp"]),
        "n_in": n_in,
        "negatives": kind,
        "anchor": row_option(row, "anchor", ANCHOR),
        "groups": sorted(frame["group"].unique()),
        "skipped_tfs": sorted(skipped),
        "missing_cell_types": sorted(chip.attrs["missing"]),
        "contigs": [contig for contig in fasta.lengths if any(contig in own for own in covered)],
        "imbalance": balance,
        "inductive_strata": list(INDUCTIVE),
        "within_locus": within_locus(frame),
        "discordant_loci": shares,
        "summits_in_open_regions": in_open,
        "beside": int(frame["beside"].sum()),
        "captions": {
            "items": "(open region, TF, cell type); bound if a summit lies in the region",
            "negatives": _CAPTIONS[kind],
            "strata": "chromosome: test chromosome, training cell type; cell-type: train"
            " chromosome, held-out cell type (transductive: the locus was seen in training); both:"
            " test chromosome and held-out cell type; discordant: labelled otherwise in a training"
            " cell type where the locus is open" + _WHOLE * (kind == "matched"),
            "leaks": "the leak check covers the strata chromosome and both; loci of the stratum"
            " cell-type occur in training by design",
        },
    }
    finish(
        frame.drop(columns=_WORKING),
        info,
        regions=atlas.regions,
        genome=fasta,
        dropped=dropped,
        file=labels,
        outputs=(dataset, description, leaks),
        checked=checked,
    )


_WORKING = ["part", "locus", "discordant", "pair", "strength", "gc", "set", "beside", "whole"]
_WHOLE = (
    "; discordant and within-locus hold every item of the loci drawn for them, matched or not,"
    " since matching on strength picks the strong of the unbound cell types of a locus"
)
_CAPTIONS = {
    "matched": "open regions of the same cell type without a peak, one to one, matched on GC and"
    " accessibility strength (bins of half a decile) within TF, cell type and split",
    "natural": "every open region of the cell type without a peak: natural prevalence",
    "discordant": "only items of the stratum discordant, bound and unbound at natural prevalence:"
    " loci that a training cell type labels otherwise",
}


def read_chip(
    path: str, files: Sequence[str], cell_types: Sequence[str], dropped: Counter[str]
) -> pd.DataFrame:
    """Read the ChIP-seq table; columns tf, cell_type, path of the sets whose cell type is known.

    ``attrs``: ``missing`` names the cell types that the atlas does not have, ``tfs`` the TFs.

    Raises
    ------
    InputError
        If a set is there twice, files and table differ in number, or no cell type is known.
    """
    rows = read_rows(path, ["tf", "cell_type", "peaks"], names=["tf", "cell_type"], paths=["peaks"])
    check_unique(rows, ["tf", "cell_type"], path)
    if files and len(files) != len(rows):
        raise InputError(
            "table and peak files differ in number",
            file=path,
            found=len(files),
            expected=f"{len(rows)} files",
        )
    table = pd.DataFrame(
        {
            "tf": [row["tf"] for row in rows],
            "cell_type": [row["cell_type"] for row in rows],
            "path": list(files) or [row["peaks"] for row in rows],
        }
    )
    known = table["cell_type"].isin(list(cell_types))
    if not known.any():
        name = rows[0]["cell_type"]
        raise InputError(
            "no cell type of this table is in the atlas" + nearest(name, cell_types),
            file=path,
            found=name,
            expected=", ".join(list(cell_types)[:5]),
        )
    missing = sorted(set(table["cell_type"][~known]))
    if missing:
        log.warning("%s: cell types not in the atlas are skipped: %s", path, ", ".join(missing))
    dropped["sets_of_unknown_cell_types"] = int((~known).sum())
    table = table[known].reset_index(drop=True)
    table.attrs |= {"missing": missing, "tfs": sorted(set(table["tf"]))}
    return table


def read_peaks(path: str, genome: Genome, dropped: Counter[str]) -> pd.DataFrame:
    """Read the peaks of a set on the contigs of the genome; InputError if there is none.

    A set without peaks would make every open region unbound.
    """
    peaks = annotation.read_summits(path)
    if peaks.empty:
        raise InputError("has no peak", file=path)
    return annotation.keep_known_contigs(peaks, genome.lengths, dropped, file=path)


def covered_contigs(
    row: Mapping[str, Any], peaks: Sequence[pd.DataFrame], genome: Genome
) -> list[set[str]]:
    """Return the contigs that each assay covers: the row's, else those with a peak of its file."""
    if named := row_contigs(row, genome):
        return [set(named)] * len(peaks)
    return [set(part["contig"]) for part in peaks]


def label_regions(
    chip: pd.DataFrame,
    peaks: Sequence[pd.DataFrame],
    atlas: Atlas,
    covered: Sequence[Collection[str]],
    dropped: Counter[str],
    in_open: dict[str, float],
) -> pd.DataFrame:
    """Return one row per (set of one TF, open region on a covered contig): its label and part.

    Columns set (the row of the table), tf, cell_type, held_out, locus (region id), label, strength,
    gc, part ('' for a region of a split that the cell type has no use in), cell_average
    (:func:`average_of_others`). Names are categories, so that a row takes less than 64 bytes.

    Parameters
    ----------
    chip : rows of :func:`read_chip`, indexed as there. peaks, covered : peaks and covered contigs
        of every row of the whole table.
    in_open : is given, of each set, ``TF@CELL_TYPE``, the share of its summits in regions that are
        open in the cell type.
    """
    regions = atlas.regions
    split = regions["split"].to_numpy(dtype=object)
    gc = regions["gc"].to_numpy(float)
    parts = []
    known_R, bound_R = np.zeros((2, len(regions)), dtype=np.int32)  # training cell types
    tfs = pd.CategoricalDtype(chip.attrs["tfs"])
    cells, part_names = (
        pd.CategoricalDtype(list(atlas.cell_types)),
        pd.CategoricalDtype(["", *PARTS]),
    )
    for number, tf, cell_type in chip[["tf", "cell_type"]].itertuples(name=None):
        c = atlas.cell_types.index(cell_type)
        on_contig = regions["contig"].isin(list(covered[number])).to_numpy()
        part = slice(atlas.strengths.indptr[c], atlas.strengths.indptr[c + 1])
        open_R, strength_R = atlas.strengths.indices[part], atlas.strengths.data[part]
        dropped["open_on_uncovered_contigs"] += int((~on_contig[open_R]).sum())
        open_R, strength_R = open_R[on_contig[open_R]], strength_R[on_contig[open_R]]
        bound = np.zeros(len(regions), dtype=bool)
        hit = region_at(peaks[number]["contig"].tolist(), peaks[number]["summit"], regions)
        bound[hit[hit >= 0]] = True
        in_open[f"{tf}@{cell_type}"] = round(float(np.isin(hit, open_R).mean()), 4)
        touched = overlaps_any(regions, peaks[number])
        clear = bound[open_R] | ~touched[open_R]
        dropped["peak_without_its_summit"] += int((~clear).sum())
        held_out = bool(atlas.held_out[c])
        if not held_out:
            known_R += on_contig
            known_R[open_R[~clear]] -= 1
            bound_R[open_R] += bound[open_R]
        open_R, strength_R = open_R[clear], strength_R[clear]
        names = {"train": "train", "valid": "valid", "test": "chromosome"}
        if held_out:
            names = {"train": "cell-type", "test": "both"}
        parts.append(
            pd.DataFrame(
                {
                    "set": np.full(len(open_R), number, dtype=np.int32),
                    "tf": pd.Categorical([tf] * len(open_R), dtype=tfs),
                    "cell_type": pd.Categorical([cell_type] * len(open_R), dtype=cells),
                    "held_out": held_out,
                    "locus": open_R.astype(np.int64),
                    "label": bound[open_R].astype(float),
                    "strength": strength_R.astype(float),
                    "gc": gc[open_R],
                    "part": pd.Categorical(
                        [names.get(name, "") for name in split[open_R]], dtype=part_names
                    ),
                }
            )
        )
    items = pd.concat(parts, ignore_index=True)
    dropped["held_out_cell_type_on_valid"] += int((items["part"] == "").sum())
    items["cell_average"] = average_of_others(items, known_R, bound_R)
    return items


def average_of_others(
    items: pd.DataFrame, known_R: NDArray[np.int32], bound_R: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the mean label of the other training cell types at the locus; NaN where none is known.

    Where a cell type is closed, its label is known: unbound. On a contig that its assay does not
    cover, or where a peak touches the open region without its summit, its label is not known.

    Parameters
    ----------
    items : of one TF, with held_out, locus and label.
    known_R, bound_R : of each region the training cell types whose label is known, and is bound.
    """
    locus, own = items["locus"].to_numpy(), ~items["held_out"].to_numpy()
    known = known_R[locus] - own
    bound = bound_R[locus] - own * items["label"].to_numpy()
    return np.where(known > 0, bound / np.maximum(known, 1), np.nan)


def discordant(items: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[N]: the locus has the other label for the TF in another, training, cell type."""
    keys = ["tf", "locus"]
    training = items[~items["held_out"]]
    counts = training.groupby(keys, observed=True)["label"].agg(total="size", bound="sum")
    joined = items[keys].join(counts, on=keys).fillna(0.0)
    bound = joined["bound"].to_numpy()
    unbound = joined["total"].to_numpy() - bound
    # an item counts in its own class only, so it never makes itself discordant
    return np.where(items["label"] == 1, unbound > 0, bound > 0)


def discordant_loci(items: pd.DataFrame) -> dict[str, Any]:
    """Return the loci of a TF that could differ between cell types, and the share that do.

    Parameters
    ----------
    items : rows of :func:`label_regions` for one TF, of all splits.

    Returns
    -------
    loci : regions open in two or more labelled cell types and bound in at least one of them.
    share : of these, bound in some and unbound in others; None without loci.
    """
    counts = items.groupby("locus")["label"].agg(["size", "sum"])
    loci = counts[(counts["size"] >= 2) & (counts["sum"] > 0)]
    mixed = loci["sum"] < loci["size"]
    return {"loci": len(loci), "share": round(float(mixed.mean()), 4) if len(loci) else None}


def usable(items: pd.DataFrame, tf: str, dropped: Counter[str]) -> bool:
    """Tell whether a TF has both classes in train, valid and the inductive test; else count it.

    Of the items that are left for it: without them it would be missing in the means over TFs.
    """
    for names in (("train",), ("valid",), INDUCTIVE):
        labels = items["label"][items["part"].isin(names)]
        if labels.nunique() < 2:
            what = "bound" if not (labels == 1).any() else "unbound"
            where = "test" if names == INDUCTIVE else names[0]
            log.warning("TF %s is skipped: no %s region is left in %s", tf, what, where)
            dropped["tfs_without_both_classes"] += 1
            dropped["items_of_skipped_tfs"] += len(items)
            return False
    return True


def check_left(tfs: Collection[str], skipped: Sequence[str], file: str) -> None:
    """Raise :class:`InputError` if no TF is left."""
    if not tfs:
        raise InputError(
            "no TF has bound and unbound regions in every split",
            file=file,
            found=", ".join(skipped),
            expected="peaks on train, valid and test contigs in training cell types,"
            " and max_items that hold some of each",
        )


def complete(items: pd.DataFrame, atlas: Atlas, genome: Genome) -> pd.DataFrame:
    """Add coordinates, sequence, names and strata to the items."""
    own = atlas.regions.iloc[items["locus"]].reset_index(drop=True)
    frame = items.rename(columns={"tf": "group"}).drop(columns="held_out").reset_index(drop=True)
    frame["contig"], frame["strand"], frame["region"] = own["contig"], ".", own["region"]
    frame["start"], frame["end"] = own["start"], own["end"]
    unique = frame.drop_duplicates("locus")
    text = dict(zip(unique["locus"], sequences(unique, genome), strict=True))
    frame["sequence"] = frame["locus"].map(text)
    fields = (frame[name] for name in ("contig", "start", "end", "group", "cell_type"))
    frame["item"] = [f"{c}:{s}-{e}:{tf}:{cell}" for c, s, e, tf, cell in zip(*fields, strict=True)]
    frame["split"] = [part if part in SPLITS else "test" for part in frame["part"]]
    seen = in_pretraining(frame, atlas.regions)
    seen |= frame["locus"].isin(set(frame["locus"][frame["split"] == "train"])).to_numpy()
    marks = {
        "discordant": frame["discordant"] & frame["whole"],
        "transductive": seen & (frame["split"] == "test"),
        WHOLE_LOCUS: frame["whole"] & ~frame["whole"].all(),
        BESIDE: frame["beside"],
    }
    tags = (
        frame["part"].where(frame["split"] == "test", ""),
        *(pd.Series(np.where(mask, name, "")) for name, mask in marks.items()),
    )
    frame["stratum"] = [";".join(filter(None, values)) for values in zip(*tags, strict=True)]
    return frame


def within_locus(frame: pd.DataFrame) -> dict[str, int]:
    """Return, per part, the number of (TF, locus) with bound and unbound cell types."""
    both = frame.groupby(["part", "group", "locus"])["label"].nunique() == 2
    counts = both.groupby("part").sum()
    return {part: int(counts.get(part, 0)) for part in PARTS}


def oracle(frame: pd.DataFrame, truth: Sequence[str]) -> NDArray[np.float64]:
    """Return the generator's probability of binding, given that the region is open.

    The generator's region is the one that holds the item's centre; where none does (a false peak
    has no site), it is that of what is not listed; NaN for sets that the truth does not know or
    without a truth file.
    """
    out = np.full(len(frame), np.nan)
    if not truth:
        return out
    columns = ["contig", "start", "end", "tf", "cell_type", "probability"]
    table = annotation.read_truth(truth[0], columns)
    known = {key: part for key, part in table.groupby(["tf", "cell_type"], sort=False)}
    unlisted = annotation.unlisted_probability(table)
    for key, rows in frame.groupby(["group", "cell_type"]).indices.items():
        if key in known:
            out[rows] = listed_probability(frame.iloc[rows], known[key], unlisted)
    return out


def listed_probability(
    items: pd.DataFrame, truth: pd.DataFrame, unlisted: float
) -> NDArray[np.float64]:
    """Return the probability of the listed region that holds each item's centre, else unlisted."""
    centre = ((items["start"] + items["end"]) // 2).to_numpy()
    regions = truth.assign(region=np.arange(len(truth)))
    found = region_at(items["contig"].tolist(), centre, regions)
    return np.where(found >= 0, truth["probability"].to_numpy(float)[found], unlisted)
