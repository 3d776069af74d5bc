"""Ready-made sets of labelled sequences (GUE, Nucleotide Transformer tasks, DNABERT), by config.

In: CSV, TSV or parquet with a column of sequences and one of labels; the splits are separate files
or a column. Out: a dataset whose items have no coordinates: the region branch is off, whether
pre-training read an item is unknown, and intervals resample items instead of blocks of the genome.
Two labels make a binary dataset, more a multi-class one. Labels are sorted as numbers if they all
are some, else as text; the last of two is the positive class.

Where there is no validation split a tenth of the training items is drawn for it, evenly over the
classes. Without coordinates it cannot be a chromosome; ``leaks.tsv`` counts its copies in train.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import InputError, nearest
from genebert.genome import Genome
from genebert.job import as_list
from genebert.tables import check_header
from genebert.tasks.dataset import cap_by_split, finish, read_regions, row_option
from genebert.tasks.promoter import initiator_shares
from genebert.tasks.variant_files import MISSING

FIELDS = ("sequence", "label", "split", "name")
OPTIONAL = ("split", "name")
SPLIT_NAMES: Mapping[str, str] = {
    **{name: "train" for name in ("train", "training")},
    **{name: "valid" for name in ("valid", "validation", "val", "dev")},
    "test": "test",
}
VALID_SHARE = 0.1
MAX_CLASSES = 100
MAX_LABEL = 2**53  # a whole number in a float
STRANDED = ("promoter", "splicing")  # tasks whose sequences are written along the gene's strand


def build(
    *,
    genome: str,
    regions: str,
    labels: str,
    extra: str | Sequence[str],
    dataset: str,
    description: str,
    leaks: str,
    row: Mapping[str, Any],
    seed: int,
    max_items: int,
    **_: Any,
) -> None:
    """Build a dataset of given sequences; see :func:`genebert.tasks.build_dataset`.

    ``labels`` is the training file (or all), ``extra`` the files of the row's keys ``valid`` and
    ``test``, as far as given. ``row`` may set ``columns`` (FIELDS -> names in the file),
    ``copies`` (``remove``: test items known from train or valid go, as in every dataset; ``keep``:
    they are counted and flagged, to compare with published numbers) and, for promoters,
    ``tss_offset``, which is tested by the initiator.

    Raises
    ------
    InputError
        If a file cannot be read, a column is missing, there is no test split, one class only, or
        a split lacks a class.
    """
    keep = row_option(row, "copies", ("remove", "keep")) == "keep"
    dropped: Counter[str] = Counter()
    table = read_all(labels, as_list(extra), row)
    n_in = len(table)
    table, classes = clean(table, dropped, file=labels)
    drawn = not (table["split"] == "valid").any()
    if drawn:
        table["split"] = draw_valid(table, seed)
    if not (table["split"] == "test").any():
        raise InputError(
            "there is no test split",
            file=labels,
            found=", ".join(sorted(set(table["split"]))),
            expected="a key test of the dataset, or a column split",
        )
    table = cap_by_split(table, max_items, [seed, 42], dropped)
    frame = table.assign(
        contig="", start=0, end=table["sequence"].str.len(), strand=".", region=-1, stratum=""
    )
    stranded = row["task"] in STRANDED
    info = {
        "task": row["task"],
        "dataset": row["name"],
        "kind": "binary" if len(classes) == 2 else "multiclass",
        "classes": classes,
        "uses_regions": False,
        "strand_specific": stranded,
        "block_bp": 1,
        "n_in": n_in,
        "negatives": "given",
        "in_pretraining": "unknown",
        "flags": ["items_as_blocks", *(["copies_kept"] if keep else [])],
        "valid_drawn": drawn,
        **tss_window(frame, row, labels),
        "captions": {
            "items": "sequences as given, without coordinates; the region branch is off",
            "intervals": "every item is a block: neighbouring or overlapping items are taken as"
            " independent, so intervals are too narrow where the set has such",
            "pretraining": "whether pre-training read a sequence is unknown",
            "split": "as given"
            + (f"; validation is {VALID_SHARE:.0%} of the training items" if drawn else ""),
        },
    }
    finish(
        frame,
        info,
        regions=read_regions(regions),
        genome=Genome(genome),
        dropped=dropped,
        file=labels,
        outputs=(dataset, description, leaks),
        keep_copies=keep,
    )


def read_all(labels: str, extra: Sequence[str], row: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of all files: sequence, label (text), split, item (unique).

    Raises
    ------
    InputError
        If a file cannot be read or a column is missing or unknown.
    """
    names = {field: field for field in FIELDS} | dict(row.get("columns") or {})
    for field in names:
        if field not in FIELDS:
            raise InputError(
                f"unknown field {field!r} in columns{nearest(field, FIELDS)}",
                file=f"config datasets, {row['name']}",
                expected=", ".join(FIELDS),
            )
    given = [split for split in ("valid", "test") if split in row]
    files = [("train", labels), *zip(given, extra, strict=True)]
    parts = []
    for split, path in files:
        raw = read_table(path)
        for field, name in names.items():
            if name not in raw and (field not in OPTIONAL or field in (row.get("columns") or {})):
                raise InputError(
                    f"column {name!r} is missing{nearest(name, map(str, raw.columns))}",
                    file=path,
                    row=1,
                    found=" ".join(map(str, raw.columns)),
                )
        part = pd.DataFrame({field: raw[names[field]] for field in ("sequence", "label")})
        part["split"] = split
        if names["split"] in raw and not given:
            part["split"] = split_names(raw[names["split"]], path)
        tails = [f":{name}" for name in raw[names["name"]]] if names["name"] in raw else None
        part["item"] = [f"{split}:{i:08d}{tail}" for i, tail in enumerate(tails or [""] * len(raw))]
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError("has no row", file=labels)
    return table


def read_table(path: str) -> pd.DataFrame:
    """Read a table by the end of its name: parquet, TSV, or CSV; texts stay texts."""
    name = Path(path).name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        separator = "\t" if name.endswith((".tsv", ".txt")) else ","
        read = partial(pd.read_csv, path, sep=separator, dtype=str, keep_default_na=False)
        check_header(read(header=None, nrows=1).iloc[0].tolist(), path)  # else pandas renames one
        return read()
    except InputError:
        raise
    except (OSError, EOFError, zlib.error, ValueError, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"cannot be read as a table ({reason})", file=path) from None


def split_names(values: pd.Series, path: str) -> pd.Series:
    """Return train, valid or test for the words of a column."""
    words = values.astype(str).str.strip().str.lower()
    known = words.map(dict(SPLIT_NAMES))
    if known.isna().any():
        at = int(np.argmax(known.isna()))
        raise InputError(
            f"unknown split{nearest(words.iloc[at], SPLIT_NAMES)}",
            file=path,
            row=at + 2,
            found=words.iloc[at],
            expected=", ".join(SPLIT_NAMES),
        )
    return known


def clean(
    table: pd.DataFrame, dropped: Counter[str], *, file: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return the usable rows with labels 0, 1, ..., and the names of the classes.

    Dropped are empty sequences and those with other letters than ACGTN, rows without a label, then
    all but the first of equal sequences of a split.

    Raises
    ------
    InputError
        If nothing is left, or the labels are of one class, of too many, or fractions.
    """
    sequence = table["sequence"].astype(str).str.strip().str.upper()
    readable = sequence.str.fullmatch("[ACGTN]+")
    dropped["no_dna"] = int((~readable).sum())
    text = table["label"].astype(str).str.strip()
    labelled = table["label"].notna() & ~text.isin(MISSING)
    dropped["no_label"] = int((readable & ~labelled).sum())
    table = table.assign(sequence=sequence, label=text)[readable & labelled]
    repeated = table.duplicated(["split", "sequence"])
    dropped["repeated_in_its_split"] = int(repeated.sum())
    table = table[~repeated].reset_index(drop=True)
    text = table["label"]
    number = pd.to_numeric(text, errors="coerce")
    is_number = bool(number.notna().all())
    no_class = (number != number.round()) | ~(number.abs() < MAX_LABEL)
    if is_number and no_class.any():
        at = int(np.argmax(no_class))
        raise InputError("label is no class", file=file, found=text.iloc[at], expected="0, 1, ...")
    values = number.astype("int64") if is_number else text
    classes = sorted(values.unique().tolist())
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise InputError(
            "wrong number of classes",
            file=file,
            found=f"{len(classes)} in {len(table)} sequences",
            expected=f"2 to {MAX_CLASSES}",
        )
    label = values.map({value: float(k) for k, value in enumerate(classes)})
    return table.assign(label=label), [str(value) for value in classes]


def draw_valid(table: pd.DataFrame, seed: int) -> pd.Series:
    """Return the splits with a tenth of the training items of every class in ``valid``."""
    rng = np.random.default_rng([seed, 41])
    split = table["split"].copy()
    for _, rows in table[table["split"] == "train"].groupby("label", sort=True).groups.items():
        order = rng.permutation(rows.to_numpy())
        split.loc[order[: max(1, round(VALID_SHARE * len(order)))]] = "valid"
    return split


def tss_window(frame: pd.DataFrame, row: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the description's ``window`` and the test of the TSS, where a ``tss_offset`` is given.

    Raises
    ------
    InputError
        If the offset lies outside the sequences.
    """
    if row.get("tss_offset") is None:
        return {}
    offset, shortest = int(row["tss_offset"]), int(frame["sequence"].str.len().min())
    if offset >= shortest:
        raise InputError(
            "tss_offset lies outside a sequence",
            file=f"config datasets, {row['name']}",
            found=offset,
            expected=f"less than {shortest}, the shortest sequence of {Path(file).name}",
        )
    positives = frame["sequence"][frame["label"] == 1].str.slice(0, shortest)
    check = initiator_shares(positives.tolist(), offset)
    return {"window": {"length": shortest, "tss_offset": offset}, "tss_check": check}
