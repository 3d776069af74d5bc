"""Datasets of single variants: reference and alternative windows with a label or an effect.

In: a TSV, a VCF or the table of a reporter assay (MPRA), plain or gzipped, or a parquet table, and
the genome. Out: one row per variant with two windows of equal length, the reference one centred on
the variant.

Keys of the dataset's row in the configuration (all optional):

``columns``
    Where the fields are, field -> column (VCF: INFO key): contig, position, ref, alt, label,
    cell_type, tss_distance, class (of a negative), match (names a positive and the negatives that
    were chosen for it; choose them on its chromosome), pvalue, group (the element of a reporter
    assay of several: metrics are averaged over elements, which are left out and resampled as a
    whole). Without any tss_distance it is measured to the transcripts of ``genome.gtf``.
``positive``
    How a column becomes a binary label. For effects ``{pvalue: 1e-5, effect: 0.5}``, or one of
    both: positive where the p-value is at most this and the absolute effect at least that. For
    words ``{values: [pathogenic], negative: [benign]}``: all others are skipped and counted.
``minimum``
    Column -> smallest value, e.g. ``{barcodes: 10}``; rows below it are skipped and counted.
``only``, ``without``
    Column (VCF: INFO key) -> texts; rows whose column holds none of them, or one of them, are
    skipped and counted. Case does not matter.
``contig_prefix``
    Put before contig names that lack it (``chr`` for ClinVar, which says 1, 2, X).
``repeats``
    A variant that comes again with another label: ``error`` (default), or ``first``: the first
    counts (reporter assays that measure an element in two cell lines).
``label_info``
    VCF: the INFO key of the label (a flag, or a number).
``cell_type``
    Cell type of all variants, where the table has no such column.
``scores``
    Scores that the file has, name -> column (VCF: INFO key), e.g. ``{cadd: RawScore, maf: -MAF}``.
    Each becomes a model of that name. A minus before the column: smaller values are more likely
    positive.
``matched``
    ``{per_positive: 9, scores: [maf]}``: of the negatives only those are used that are matched to
    a positive (:mod:`genebert.tasks.variant_matching`), on contig, class, distance to a TSS and
    these ``scores``; every positive has as many, or is left out.
``direction``
    ``both`` (default: either allele may matter, scores are absolute) or ``loss`` (only alleles
    that are less likely than the reference score high).
``block_bp``
    Size of a bootstrap block (1 Mb, on a simulated genome 100 kb): 10 for a reporter assay.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from genebert.errors import InputError, nearest
from genebert.genome import Genome
from genebert.hints import is_misnamed
from genebert.job import as_list
from genebert.splits import Splits
from genebert.tasks import annotation
from genebert.tasks import dataset as ds
from genebert.tasks import leaks as leak_checks
from genebert.tasks.variant_files import (
    MISSING,
    NOT_IN_GENOME,
    Filter,
    GivenScores,
    Record,
    check_reference,
    columns_of,
    number,
    prefixed,
    reader_of,
    skip_reason,
    windows,
)
from genebert.tasks.variant_leaks import check_folds, drop_copies
from genebert.tasks.variant_matching import (
    balance,
    drop_incomplete,
    is_unbalanced,
    match_negatives,
)

VERSION = 10
MIN_ELEMENT = 20  # variants of an element, below which nothing can be said of it
log = logging.getLogger("genebert")


class Labeller:
    """Turns the fields of a record into a label, an effect, or a reason to skip it."""

    def __init__(self, row: Mapping[str, Any], path: str) -> None:
        """Read ``positive`` and ``minimum`` of a dataset's row; ``path`` is named in errors."""
        self.path = path
        self.positive: Mapping[str, Any] = row.get("positive") or {}
        self.minimum: Mapping[str, Any] = row.get("minimum") or {}
        known = {"pvalue", "effect", "values", "negative"}
        for key in self.positive:
            if key not in known:
                raise InputError(
                    f"unknown key {key!r} in positive{nearest(key, known)}",
                    file=f"config datasets, {row.get('name')}",
                )
        if self.positive.keys() == {"negative"}:
            raise InputError(
                "key positive does not say what is positive",
                file=f"config datasets, {row.get('name')}",
                found="negative alone",
                expected="values, pvalue or effect",
            )

    def number(self, record: Record, field: str) -> float:
        """Return a field as a number, NaN where it is missing; InputError if it is none."""
        return number(record, field, self.path)

    def __call__(self, record: Record) -> tuple[float, float, str]:
        """Return (label, effect or NaN, reason to skip or an empty string)."""
        for field, least in self.minimum.items():
            value = self.number(record, str(field))
            if np.isnan(value):
                raise InputError(
                    f"column {field!r} of minimum is missing or empty",
                    file=self.path,
                    row=record.row,
                )
            if value < float(least):
                return np.nan, np.nan, f"{field} below {least}"
        if "values" in self.positive:
            word = record.fields["label"].strip().lower()
            if word in {str(v).lower() for v in self.positive["values"]}:
                return 1.0, np.nan, ""
            if record.fields["label"] in MISSING:
                return np.nan, np.nan, "no label"
            others = self.positive.get("negative")
            if others is not None and word not in {str(v).lower() for v in others}:
                return np.nan, np.nan, "label is neither positive nor negative"
            return 0.0, np.nan, ""
        effect = self.number(record, "label")
        if np.isnan(effect):
            return np.nan, np.nan, "no label"
        if not self.positive:
            return effect, effect, ""
        hit = abs(effect) >= float(self.positive.get("effect", 0.0))
        if "pvalue" in self.positive:
            pvalue = self.number(record, "pvalue")
            if np.isnan(pvalue):
                return np.nan, np.nan, "no p-value"
            hit = hit and pvalue <= float(self.positive["pvalue"])
        return float(hit), effect, ""


def read_items(
    path: str, genome: Genome, row: Mapping[str, Any], splits: Splits, width: int
) -> tuple[pd.DataFrame, Counter, int]:
    """Read, check and window all variants of a label file.

    Returns
    -------
    frame : one row per variant that can be used.
    dropped : reason -> number of variants skipped.
    n_in : records read.
    """
    columns = columns_of(row)
    labeller, left_out, given = Labeller(row, path), Filter(row, path), GivenScores(row, path)
    repeats = row.get("repeats", "error")
    strange: Record | None = None
    dropped: Counter = Counter()
    seen: dict[str, tuple[int, float]] = {}
    rows: list[dict[str, Any]] = []
    n_in = 0
    for raw in reader_of(str(path))(path, columns):
        n_in += 1
        record = prefixed(raw, str(row.get("contig_prefix") or ""))
        reason = left_out(record) or skip_reason(record)
        if not reason and record.contig not in genome.lengths:
            strange = strange or record  # a scaffold, or a name that lacks its chr
            if not is_misnamed(record.contig, genome.lengths):
                reason = NOT_IN_GENOME
        if not reason:
            reason = check_reference(genome, record, path)
        if not reason:
            label, effect, reason = labeller(record)
        if not reason:
            first = np.array([record.position - 1])
            split = str(splits.split_of(record.contig, first, first + 1)[0])
            reason = "" if split else "outside the splits"
        if not reason:
            start, reference, alternative = windows(genome, record, width)
            reason = "N in the window" if "N" in reference + alternative else ""
        if reason:
            dropped[reason] += 1
            continue
        cell_type = record.fields.get("cell_type", row.get("cell_type") or "")
        item = f"{record.contig}:{record.position}:{record.ref}>{record.alt}"
        item += f"@{cell_type}" if cell_type else ""
        if item in seen:
            if seen[item][1] != label and repeats == "first":
                dropped["repeated with another label"] += 1
                continue
            if seen[item][1] != label:
                raise InputError(
                    f"variant {item} has another label in line {seen[item][0]}",
                    file=path,
                    row=record.row,
                    found=label,
                    expected=seen[item][1],
                )
            dropped["repeated"] += 1
            continue
        seen[item] = (record.row, label)
        rows.append(
            {
                "item": item,
                "contig": record.contig,
                "start": start,
                "end": start + width,
                "strand": ".",
                "sequence": reference,
                "label": label,
                "group": record.fields.get("group", "") if "group" in columns else "",
                "cell_type": cell_type,
                "split": split,
                "alternative": alternative,
                "position": record.position,
                "ref": record.ref,
                "alt": record.alt,
                "tss_distance": labeller.number(record, "tss_distance"),
                "effect": effect,
                "class": record.fields.get("class", ""),
                "match": record.fields.get("match", ""),
                **given(record),
            }
        )
    left_out.check()
    if strange is not None and dropped[NOT_IN_GENOME] == n_in:
        check_reference(genome, strange, path)  # raises, and tells the contig
    if not rows:
        raise InputError(
            "no variant can be used", file=path, found=dict(dropped), expected="at least one"
        )
    given.check()
    return pd.DataFrame(rows), dropped, n_in


def add_strata(frame: pd.DataFrame, held_out: Mapping[str, bool]) -> pd.Series:
    """Return the tags of each variant, joined by ';'.

    Parameters
    ----------
    held_out : of each cell type of the atlas, whether training never saw it.

    ``vs-CLASS`` holds the negatives of one class and the positives of that class, all of them where
    positives have no such classes, so that each stratum has both;
    ``transductive`` marks loci that pre-training has read, ``inductive`` the others.
    """
    positive = (frame["label"] == 1).to_numpy()
    classes = sorted({c for c in frame["class"][~positive] if c})
    tags = []
    columns = (frame["class"], positive, frame["in_pretraining"], frame["cell_type"])
    for name, is_positive, seen, cell_type in zip(*columns, strict=True):
        row = [f"vs-{name}"] if name else []
        if is_positive and name not in classes:
            row = [f"vs-{c}" for c in classes]
        row.append("transductive" if seen else "inductive")
        if cell_type:
            known = {True: "held-out", False: "train", None: "unknown"}[held_out.get(cell_type)]
            row.append(f"{known}-cell-type")
        tags.append(";".join(row))
    return pd.Series(tags, index=frame.index)


def add_elements(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Number the elements of a reporter assay: ``element``, int64, -1 where there are not several.

    Groups whose windows share a base (an element measured in two cell lines, or from both ends)
    are one element.

    Returns
    -------
    frame : without variants that have no group, or one of fewer than ``MIN_ELEMENT``; ``group`` is
        empty where there are not several.
    dropped : reason -> number of variants.
    """
    if (frame["group"] == "").all():
        return frame.assign(element=np.int64(-1)), {}
    size = frame["group"].map(frame["group"].value_counts())
    none, small = frame["group"] == "", size < MIN_ELEMENT
    dropped = {
        "no group": int(none.sum()),
        f"group of fewer than {MIN_ELEMENT} variants": int((small & ~none).sum()),
    }
    frame = frame[~(none | small)].sort_values(["contig", "start"], kind="stable")
    if frame["group"].nunique() < 2:
        return frame.assign(group="", element=np.int64(-1)), dropped
    reach = frame.groupby("contig")["end"].cummax()
    same_contig = frame["contig"] == frame["contig"].shift()
    chain = (~(same_contig & (frame["start"] < reach.shift()))).cumsum().to_numpy() - 1
    group = pd.factorize(frame["group"])[0] + chain[-1] + 1
    nodes = int(group.max()) + 1
    shared = sparse.coo_matrix((np.ones(len(frame)), (chain, group)), shape=(nodes, nodes))
    part = connected_components(shared, directed=False)[1][chain]
    return frame.assign(element=np.unique(part, return_inverse=True)[1].astype(np.int64)), dropped


def atlas_cell_types(accessibility: str) -> dict[str, bool]:
    """Return the cell types of the atlas, and whether each is held out, as the regions have it."""
    with h5py.File(accessibility) as file:
        obs = anndata.io.read_elem(file["obs"])
    return dict(zip(obs.index, obs["held_out"].to_numpy(dtype=bool).tolist(), strict=True))


def unknown_cell_types(named: Collection[str], known: Collection[str], file: str) -> list[str]:
    """Return the cell types, sorted, that variants name and the atlas lacks.

    What such a variant does is read off all training cell types.

    Raises
    ------
    InputError
        If the atlas has none of those that are named.
    """
    wanted = sorted(set(named) - {""})
    unknown = sorted(set(wanted) - set(known))
    if unknown and unknown == wanted:
        raise InputError(
            f"no cell type of the variants is in the atlas{nearest(unknown[0], known)}",
            file=file,
            found=unknown[0],
            expected=", ".join(list(known)[:5]),
        )
    return unknown


def add_tss_distance(frame: pd.DataFrame, gtf: str, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Return the variants with ``tss_distance`` to the nearest transcript start of a GTF, in bases.

    Raises
    ------
    InputError
        If the GTF is no such file, or none of its contigs is in the genome.
    """
    sites = annotation.transcripts(annotation.read_exons(gtf))
    sites = annotation.keep_known_contigs(sites, lengths, Counter(), file=gtf)
    positions = frame["position"].to_numpy(np.int64) - 1
    return frame.assign(tss_distance=annotation.nearest_tss(frame["contig"], positions, sites))


def read_truth(path: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the generator's ``probability`` of the label and ``effect`` of each variant.

    NaN where a variant is not listed, or the table has no such column.
    """
    truth = pd.read_csv(path, sep="\t", dtype={"contig": str, "ref": str, "alt": str})
    for column in ("contig", "position", "ref", "alt", "probability"):
        if column not in truth:
            raise InputError(f"column {column!r} is missing", file=path, row=1)
    keys = ["contig", "position", "ref", "alt"]
    if "cell_type" in truth and (frame["cell_type"] != "").any():
        truth["cell_type"] = truth["cell_type"].fillna("").astype(str)
        keys.append("cell_type")
    truth = truth.drop_duplicates(keys).set_index(keys)
    truth = truth.reindex(columns=["probability", "effect"]).astype(float)
    found = truth.reindex(pd.MultiIndex.from_frame(frame[keys]))
    return found.set_axis(frame.index)


def thin(frame: pd.DataFrame, most: int | None, seed: int) -> pd.DataFrame:
    """Return at most ``most`` items, drawn evenly over contig and binary label, in their order.

    A matched group (the same ``match``) is drawn as a whole.
    """
    if not most or len(frame) <= most:
        return frame
    generator = np.random.default_rng([seed, 7001])
    matched = frame["match"] != ""
    kind = np.where(matched, "=", np.where(frame["label"] == 1, "+", "-"))
    name = frame["item"].where(~matched, "=" + frame["match"])
    units = (frame["contig"] + kind).groupby(name, sort=False).agg(["first", "size"])
    shuffled = units.iloc[np.argsort(generator.permutation(len(units)))].groupby("first")["size"]
    place = shuffled.cumsum() / shuffled.transform("sum")
    order = place[units.index].sort_values(kind="stable").index
    kept = order[units["size"][order].cumsum() <= most]
    return frame[name.isin(kept)]


def one_element(frame: pd.DataFrame) -> bool:
    """Tell whether all variants lie within 10 kb: one element, hardly more than one observation."""
    return frame["contig"].nunique() == 1 and bool(np.ptp(frame["position"]) < 10_000)


def choose_items(
    frame: pd.DataFrame,
    settings: Mapping[str, Any],
    most: int | None,
    seed: int,
    *,
    file: str,
) -> tuple[pd.DataFrame, Counter, dict[str, Any]]:
    """Match negatives where ``settings`` (``matched`` of the row) are given, then thin.

    A matched group is kept as a whole, and only with its positive.

    Returns
    -------
    frame : with ``element``. dropped : reason -> number of variants.
    matching : keys of the description: ``negatives_of_a_positive``, ``balance``; empty if nothing
        is matched.

    Raises
    ------
    InputError
        If nothing can be matched, or all that is left has one label; ``file`` is named.
    """
    dropped: Counter = Counter()
    before, number = frame, 0
    if settings:
        frame, left, number = match_negatives(frame, settings, seed, file=file)
        dropped.update(left)
    frame, left = drop_incomplete(frame, file=file)
    dropped.update(left)
    kept = thin(frame, most, seed)
    dropped["beyond max_items"] += len(frame) - len(kept)
    frame, left = add_elements(kept)
    dropped.update(left)
    frame, left = drop_incomplete(frame, file=file)
    dropped.update(left)
    if frame["label"].nunique() < 2:
        raise InputError(
            "all variants have one label",
            file=file,
            found=set(frame["label"]),
            expected="two classes",
        )
    if not settings:
        return frame, dropped, {}
    differences = balance(before, frame, settings.get("scores", ()), file=file)
    if is_unbalanced(differences):
        log.warning("%s: positives and matched negatives still differ: %s", file, differences)
    return frame, dropped, {"negatives_of_a_positive": number, "balance": differences}


def raised_flags(frame: pd.DataFrame, differences: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the flags of a dataset of variants with these :func:`balance` differences."""
    found = {
        "within_one_element": one_element(frame),
        "matched_unbalanced": is_unbalanced(differences),
    }
    return [flag for flag, raised in found.items() if raised]


def build(
    *,
    genome: str,
    regions: str,
    accessibility: str,
    labels: str,
    extra: list[str],
    truth: list[str],
    dataset: str,
    description: str,
    leaks: str,
    row: Mapping[str, Any],
    splits: Mapping[str, Any],
    seed: int,
    max_items: int | None = None,
    **_: Any,
) -> None:
    """Build a dataset of variants; see the module's docstring for the keys of ``row``.

    Parameters
    ----------
    genome : indexed FASTA. regions : ``regions.tsv``; its width is the width of the windows.
    accessibility : its obs say which cell types are held out.
    labels : TSV or VCF, plain or gzipped, or parquet; positions are 1-based.
    extra : none or one GTF, for the distance to a TSS where the labels give none.
    truth : none or one table of the generator's probabilities.
    dataset, description, leaks : outputs.
    row, splits : configuration. seed : for drawing ``max_items``.

    Raises
    ------
    InputError
        For a bad file, a REF that is not in the genome, or labels of one class only.
    """
    reference, table = Genome(genome), ds.read_regions(regions)
    width = int(table["end"].iloc[0] - table["start"].iloc[0])
    frame, dropped, n_in = read_items(labels, reference, row, Splits.from_config(splits), width)
    annotated = bool(frame["tss_distance"].isna().all() and as_list(extra))
    if annotated:
        frame = add_tss_distance(frame, as_list(extra)[0], reference.lengths)
    frame["in_pretraining"] = ds.in_pretraining(frame, table)
    frame["region"] = ds.region_at(frame["contig"].tolist(), frame["position"] - 1, table)
    binary = set(frame["label"]) <= {0.0, 1.0}
    if binary and not row.get("positive"):
        frame["effect"] = np.nan  # the label is no measurement
    frame["oracle"] = np.nan
    if as_list(truth):
        known = read_truth(as_list(truth)[0], frame)
        frame["oracle"] = known["probability"]
        frame["effect"] = frame["effect"].fillna(known["effect"])
    before = len(frame)
    frame, checks = drop_copies(frame, file=labels)
    dropped["copy on another contig"] += before - len(frame)
    frame, left, matching = choose_items(
        frame, row.get("matched") or {}, max_items, seed, file=labels
    )
    dropped.update(left)
    if binary:  # scores have no direction then, and their correlation with effects must not either
        frame["effect"] = frame["effect"].abs()
    cell_types = atlas_cell_types(accessibility) if (frame["cell_type"] != "").any() else {}
    unknown = unknown_cell_types(frame["cell_type"], cell_types, labels)
    if unknown:
        log.warning("%s: cell types that are not in the atlas: %s", labels, ", ".join(unknown))
    frame["stratum"] = add_strata(frame, cell_types)
    frame = ds.sort_items(frame, list(reference.lengths))
    info = {
        "task": "disease",
        "dataset": row["name"],
        "kind": "variants",
        "classes": ["neutral", "causal"],
        "label": "binary" if binary else "effect",
        "direction": row.get("direction") or "both",
        "uses_regions": False,
        "strand_specific": False,
        "block_bp": int(row["block_bp"]),
        "flags": raised_flags(frame, matching.get("balance", {})),
        "tss_distance": {
            "from": "gtf" if annotated else "labels",
            "unknown": int(frame["tss_distance"].isna().sum()),
        },
        "scores": {
            name: {"sign": sign, "unknown": int(frame[f"score_{name}"].isna().sum())}
            for name, sign in GivenScores(row, labels).signs.items()
        },
        "missing_cell_types": unknown,
        "n_in": n_in,
        "dropped": {reason: int(n) for reason, n in sorted(dropped.items()) if n},
        "balance": {},
        **matching,
        "elements": frame.loc[frame["element"] >= 0, "element"].nunique(),
        "items": ds.count_items(frame, ["neutral", "causal"]) if binary else {},
        "captions": {
            "split": "leave-one-chromosome-out; elements or blocks where one chromosome has all",
            "negatives": f"{matching['negatives_of_a_positive']} matched to each positive"
            if matching
            else "as the labels have them",
            "transductive": "the encoder has read the locus in pre-training",
            "leaks": "windows that stand on another contig are removed; where blocks are left out,"
            " windows of another fold are counted and stay; similarity is to windows of other"
            " folds, which only the supervised track learns from",
        },
    }
    frame["similarity"], more = check_folds(frame, info, seed, file=labels)
    report = pd.DataFrame([*checks, *more], columns=list(ds.LEAK_COLUMNS))
    if binary:
        report = pd.concat([report, leak_checks.composition_rows(frame, splits=())])
    ds.write_dataset(frame, info, dataset, description, leaks, report)
