"""The schema of a dataset, and what all builders do with their items before they write them.

In: items (intervals with a label and a split). Out: ``dataset.parquet`` (one row per item),
``dataset.json`` (what it is, what was dropped and why) and ``leaks.tsv`` (the leak checks).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError, nearest, reading
from genebert.genome import Genome, decode, reverse_complement
from genebert.progress import progress
from genebert.splits import SPLITS, Splits
from genebert.tasks import leaks

log = logging.getLogger("genebert")

BESIDE = "beside"  # tag of test items that are in strata of their own, never in the headline
WHOLE_LOCUS = "whole-locus"  # tag: all items of the locus are there, so cell types can be compared
KINDS = ("binary", "multiclass", "variants", "cohort")
# columns of every dataset but a cohort, in this order; oracle columns and those of a task follow
COLUMNS: Mapping[str, str] = {
    "item": "str",
    "contig": "str",
    "start": "int64",
    "end": "int64",
    "strand": "str",
    "sequence": "str",
    "label": "float64",
    "group": "str",
    "cell_type": "str",
    "split": "str",
    "in_pretraining": "bool",
    "region": "int64",
    "stratum": "str",
}
COHORT_COLUMNS: Mapping[str, str] = {
    "item": "str",
    "region": "int64",
    "contig": "str",
    "start": "int64",
    "end": "int64",
    "sequence": "str",
    "split": "str",
}
INFO_KEYS = (
    "task",
    "dataset",
    "kind",
    "classes",
    "uses_regions",
    "strand_specific",
    "block_bp",
    "n_in",
    "dropped",
    "captions",
)
LEAK_COLUMNS = ("check", "found", "removed", "share")
# parts of ``max_items`` that go to the splits; what a split cannot fill goes to the others
SHARES: Mapping[str, float] = {"train": 0.5, "valid": 0.2, "test": 0.3}
ANCHOR = ("shown", "hidden")


def row_option(row: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    """Return the option of a dataset row, the first known one where it is not given.

    Raises
    ------
    InputError
        If the value is not a known one.
    """
    value = str(row.get(key) or known[0])
    if value not in known:
        raise InputError(
            f"unknown {key}{nearest(value, known)}",
            file=f"config datasets, {row['name']}",
            found=value,
            expected=", ".join(known),
        )
    return value


def row_contigs(row: Mapping[str, Any], genome: Genome) -> list[str]:
    """Return the contigs that a dataset row names; none if it names none.

    Raises
    ------
    InputError
        If one is not in the genome.
    """
    names = list(row.get("contigs") or ())
    for contig in names:
        if contig not in genome.lengths:
            raise InputError(
                "contig is not in the genome" + nearest(str(contig), genome.lengths),
                file=f"config datasets, {row['name']}, contigs",
                found=contig,
            )
    return names


def region_branch(row: Mapping[str, Any], accessibility: str) -> dict[str, Any]:
    """Return what the description of a sequence task says of the region branch.

    It is off unless the row names a ``cell_type``; every item is then one of this cell type, and
    ``anchor`` says whether the branch sees the item's own region.

    Parameters
    ----------
    accessibility : accessibility.h5ad, whose obs are the cell types.

    Raises
    ------
    InputError
        If the atlas has no such cell type.
    """
    name = str(row.get("cell_type") or "")
    if not name:
        return {"uses_regions": False}
    import anndata  # late: slow to import, and every model imports this module

    known = list(anndata.read_h5ad(accessibility, backed="r").obs_names)
    if name not in known:
        raise InputError(
            f"cell type has no peaks in the atlas{nearest(name, known)}",
            file=f"config datasets, {row['name']}, cell_type",
            found=name,
        )
    return {"uses_regions": True, "cell_type": name, "anchor": row_option(row, "anchor", ANCHOR)}


def write_dataset(
    frame: pd.DataFrame,
    info: Mapping[str, Any],
    dataset_path: str | Path,
    description_path: str | Path,
    leaks_path: str | Path,
    leaks_frame: pd.DataFrame,
) -> None:
    """Check a dataset against the schema and write its three files.

    Parameters
    ----------
    frame : one row per item with at least COLUMNS (COHORT_COLUMNS where ``info["kind"]`` is
        ``cohort``), in the order to be kept; further columns follow them.
    info : INFO_KEYS and more, of types that JSON knows.
    leaks_frame : the columns ``check, found, removed, share``.

    Raises
    ------
    ValueError
        If the frame or the info breaks the schema: a mistake of the builder, not of the user.
    """
    frame = check_frame(frame, info)
    missing = [column for column in LEAK_COLUMNS if column not in leaks_frame]
    if missing:
        raise ValueError(f"leak table has no column {missing}")
    frame.to_parquet(dataset_path, index=False)
    Path(description_path).write_text(json.dumps(info, indent=1, sort_keys=True) + "\n")
    leaks_frame.to_csv(leaks_path, sep="\t", index=False, float_format="%.6g")


def check_frame(frame: pd.DataFrame, info: Mapping[str, Any]) -> pd.DataFrame:
    """Return the frame with the schema's column order and types; raise ValueError if it cannot."""
    absent = [key for key in INFO_KEYS if key not in info]
    if absent or info["kind"] not in KINDS:
        raise ValueError(f"description lacks {absent} or has an unknown kind {info.get('kind')!r}")
    schema = COHORT_COLUMNS if info["kind"] == "cohort" else COLUMNS
    missing = [column for column in schema if column not in frame]
    if missing:
        raise ValueError(f"dataset has no column {missing}")
    oracles = [f"oracle_{k}" for k in range(len(info["classes"]))]
    wanted = [] if info["kind"] == "cohort" else ["oracle"]
    wanted = oracles if info["kind"] == "multiclass" else wanted
    frame = frame.reset_index(drop=True)
    for column in wanted:
        if column not in frame:
            frame[column] = np.nan
    rest = [column for column in frame if column not in schema and column not in wanted]
    frame = frame[[*schema, *wanted, *rest]].astype({**schema, **dict.fromkeys(wanted, "float64")})
    if frame["item"].duplicated().any():
        raise ValueError(f"item {frame['item'][frame['item'].duplicated()].iloc[0]!r} is twice")
    texts = [column for column, kind in schema.items() if kind == "str"]
    if frame[texts].isna().any().any() or (frame["end"] <= frame["start"]).any():
        raise ValueError("dataset has an empty field or an empty interval")
    unknown = set(frame["split"]) - {*SPLITS, "all"}
    if unknown:
        raise ValueError(f"dataset has the splits {sorted(unknown)}")
    if not frame["sequence"].str.fullmatch("[ACGTN]+").all():
        raise ValueError("sequences must be upper-case ACGTN")
    if info["kind"] in ("binary", "multiclass"):
        classes = np.arange(len(info["classes"]))
        if not np.isin(frame["label"], classes).all():
            raise ValueError(f"labels must be 0..{len(classes) - 1}")
    return frame


def read_dataset(
    dataset_path: str | Path, description_path: str | Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read what :func:`write_dataset` wrote.

    Raises
    ------
    InputError
        If a file is missing, damaged or not a dataset.
    """
    with reading(description_path, "cannot be read as JSON"):
        info = json.loads(Path(description_path).read_text())
    with reading(dataset_path, "cannot be read as parquet"):
        frame = pd.read_parquet(dataset_path)
    try:
        return check_frame(frame, info), info
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"is not a dataset ({error})", file=dataset_path) from None


def read_regions(path: str | Path) -> pd.DataFrame:
    """Read ``regions.tsv``; the row number is the region id.

    Raises
    ------
    InputError
        If a column is missing or the ids are not 0, 1, 2, ...
    """
    with reading(path, "cannot be read as a table"):
        regions = pd.read_csv(path, sep="\t", dtype={"contig": "str", "split": "str"})
    for column in ("region", "contig", "start", "end", "split", "held_out_only"):
        if column not in regions:
            raise InputError(f"column {column!r} is missing", file=path, row=1)
    if not np.array_equal(regions["region"], np.arange(len(regions))):
        raise InputError("region ids are not the row numbers 0, 1, 2, ...", file=path)
    return regions


def overlaps_any(items: pd.DataFrame, intervals: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[N]: the item shares a base with one of the intervals.

    Both have columns contig, start, end (0-based, half-open); intervals may overlap each other.
    """
    out = np.zeros(len(items), dtype=bool)
    groups = {str(contig): part for contig, part in intervals.groupby("contig", sort=False)}
    contigs = items["contig"].to_numpy()
    for contig in pd.unique(contigs):
        if contig not in groups:
            continue
        part = groups[contig].sort_values("start", kind="stable")
        reach = np.maximum.accumulate(part["end"].to_numpy())
        rows = np.flatnonzero(contigs == contig)
        before = np.searchsorted(part["start"].to_numpy(), items["end"].to_numpy()[rows], "left")
        hit = before > 0
        out[rows[hit]] = reach[before[hit] - 1] > items["start"].to_numpy()[rows[hit]]
    return out


def in_pretraining(items: pd.DataFrame, regions: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool[N]: the item shares a base with a region that pre-training reads."""
    seen = (regions["split"] == "train") & (regions["held_out_only"] == 0)
    return overlaps_any(items, regions[seen])


def region_at(contigs: Sequence[str], positions: Any, regions: pd.DataFrame) -> NDArray[np.int64]:
    """Return int[N]: the region that contains each 0-based position, -1 where there is none.

    Regions do not overlap each other (the consensus set of the stage ``regions``).
    """
    names, position_N = np.asarray(contigs, dtype=object), np.asarray(positions)
    out = np.full(len(names), -1, dtype=np.int64)
    for contig, part in regions.groupby("contig", sort=False):
        part = part.sort_values("start", kind="stable")
        rows = np.flatnonzero(names == contig)
        last = np.searchsorted(part["start"].to_numpy(), position_N[rows], "right") - 1
        inside = (last >= 0) & (part["end"].to_numpy()[last] > position_N[rows])
        out[rows[inside]] = part["region"].to_numpy()[last[inside]]
    return out


def split_of(items: pd.DataFrame, splits: Splits) -> NDArray[np.str_]:
    """Return the split of each item (columns contig, start, end), '' where it lies in none."""
    out = np.full(len(items), "", dtype="<U5")
    for contig in items["contig"].unique():
        rows = np.flatnonzero(items["contig"] == contig)
        part = items.iloc[rows]
        out[rows] = splits.split_of(contig, part["start"].to_numpy(), part["end"].to_numpy())
    return out


def oriented_window(position: int, strand: str, before: int, after: int) -> tuple[int, int]:
    """Return (start, end) of the window with ``before`` bases 5' of a position and ``after`` 3'.

    The length is ``before + 1 + after``; read along ``strand``, the position has offset ``before``.
    """
    if strand == "-":
        return position - after, position + before + 1
    return position - before, position + after + 1


def sequences(items: pd.DataFrame, genome: Genome) -> list[str]:
    """Return the sequence of each item, 5' to 3' along its strand ('.' reads as '+')."""
    out = []
    columns = [items[name] for name in ("contig", "start", "end", "strand")]
    rows = zip(*columns, strict=True)
    for contig, start, end, strand in progress(rows, "reading windows", "windows", len(items)):
        codes = genome.codes(contig, int(start), int(end))
        out.append(decode(reverse_complement(codes) if strand == "-" else codes))
    return out


def fair_quota(available: Mapping[str, float], shares: Mapping[str, float], total: int) -> Counter:
    """Divide ``total`` among the keys by ``shares``; what one cannot use goes to the others.

    Parameters
    ----------
    available : how many each key has; no key gets more.
    shares : relative shares, positive.

    Returns
    -------
    The number for each key, whole, adding up to at most ``total``.
    """
    quota: Counter = Counter()
    left, open_keys = float(total), sorted(available)
    while open_keys:
        weight = sum(shares[key] for key in open_keys)
        full = [key for key in open_keys if available[key] <= left * shares[key] / weight]
        if not full:
            for key in open_keys:
                quota[key] = int(left * shares[key] / weight)
            break
        for key in full:
            quota[key] = int(available[key])
            left -= available[key]
        open_keys = [key for key in open_keys if key not in full]
    return quota


def cap_by_split(
    table: pd.DataFrame, most: int, key: Sequence[int], dropped: Counter[str]
) -> pd.DataFrame:
    """Return at most ``most`` items, drawn by the shares of the splits, in their order.

    Parameters
    ----------
    key : the words that seed the draw.
    """
    if len(table) <= most:
        return table
    rng = np.random.default_rng(key)
    rows = {split: np.flatnonzero(table["split"] == split) for split in SPLITS}
    quota = fair_quota({split: len(own) for split, own in rows.items()}, SHARES, most)
    drawn = [rng.permutation(own)[: quota[split]] for split, own in rows.items()]
    kept = np.sort(np.concatenate(drawn))
    dropped["over_max_items"] += len(table) - len(kept)
    return table.iloc[kept].reset_index(drop=True)


def finish(
    frame: pd.DataFrame,
    info: Mapping[str, Any],
    *,
    regions: pd.DataFrame,
    genome: Genome,
    dropped: Counter[str],
    file: str,
    outputs: Sequence[str],
    checked: NDArray[np.bool_] | None = None,
    keep_copies: bool = False,
) -> None:
    """Complete the items, check them for leaks, describe and write them.

    Adds in_pretraining, the anchor region (where absent) and, where absent, empty ``group`` and
    ``cell_type``; removes test items that are copies of train or valid items and adds the
    ``similarity`` of the others to them; counts.

    Parameters
    ----------
    frame : items with all else that the schema asks for.
    info : INFO_KEYS without ``dropped``, and more.
    dropped : reasons and counts so far.
    file : the label file, named in errors.
    outputs : paths of the dataset, its description and the leak table.
    checked : bool[N], the test items that must be new (default: all).
    keep_copies : count copies, but remove none.

    Raises
    ------
    InputError
        If too many test items are copies, or a split lacks a class.
    """
    for column in ("group", "cell_type"):
        if column not in frame:
            frame[column] = ""
    frame["in_pretraining"] = in_pretraining(frame, regions)
    if "region" not in frame:
        centre = (frame["start"] + frame["end"]) // 2
        frame["region"] = region_at(frame["contig"].tolist(), centre, regions)
    frame, report = leaks.remove_copies(frame, file=file, checked=checked, keep=keep_copies)
    frame = leaks.add_similarity(frame)
    removed = report.set_index("check")["removed"]
    dropped["copy_of_train_or_valid"] += int(removed["any_copy"])
    check_classes(frame, info["classes"], file=file)
    frame = sort_items(frame, list(genome.lengths))
    own = frame[~frame["stratum"].str.split(";").map(lambda tags: BESIDE in tags)]
    report = pd.concat([report, leaks.composition_rows(own)], ignore_index=True)
    full = {
        **info,
        "dropped": {reason: int(count) for reason, count in sorted(dropped.items()) if count},
        "counts": count_items(own, info["classes"]),
    }
    dataset_path, description_path, leaks_path = outputs
    write_dataset(frame, full, dataset_path, description_path, leaks_path, report)
    log.info("%d items: %s; dropped %s", len(frame), full["counts"], full["dropped"])


def check_classes(frame: pd.DataFrame, classes: Sequence[str], *, file: str) -> None:
    """Raise :class:`InputError` unless every split holds items of every class."""
    for split in SPLITS:
        labels = frame.loc[frame["split"] == split, "label"]
        for label, name in enumerate(classes):
            if not (labels == label).any():
                raise InputError(
                    f"split {split} has no item of class {name!r}",
                    file=file,
                    found=f"{len(labels)} items in {split}",
                    expected="items of every class in every split",
                )


def sort_items(frame: pd.DataFrame, contigs: Sequence[str]) -> pd.DataFrame:
    """Sort by split, contig (order of the genome), start, strand, group, cell type and label."""
    ranks = {
        "_split": frame["split"].map({name: k for k, name in enumerate(SPLITS)}),
        "_contig": frame["contig"].map({name: k for k, name in enumerate(contigs)}),
    }
    keys = ["_split", "_contig", "start", "end", "strand", "group", "cell_type", "label"]
    return (
        frame.assign(**ranks)
        .sort_values([*keys, "item"], kind="stable")
        .drop(columns=list(ranks))
        .reset_index(drop=True)
    )


def count_items(frame: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return {split: {class: number of items}}."""
    return {
        split: {
            name: int(((frame["split"] == split) & (frame["label"] == label)).sum())
            for label, name in enumerate(classes)
        }
        for split in SPLITS
    }
