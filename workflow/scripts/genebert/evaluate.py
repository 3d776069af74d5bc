"""Score the predictions of all models on one dataset, with intervals.

In: a dataset and the predictions of every model. Out: ``metrics.tsv`` (long: every metric of every
seed, stratum and label share), ``table.tsv`` (wide: the rows of a result table) and ``curves.tsv``
(points of ROC, precision-recall and reliability curves).

A metric is computed per fit and averaged over seeds; scores of several fits are never pooled. Its
interval resamples blocks of the genome (individuals of a cohort), with the same draws for all
models, and within each draw the seeds. Metrics are macro-averaged over groups (TFs) or classes.

The headline of a dataset whose items carry the tags ``chromosome``, ``cell-type`` or ``both`` (what
is held out) is all test items with ``chromosome`` or ``both``, so all on held-out chromosomes (of
the task `accessibility` those with ``both``); of any other dataset it is all test items. Everything
else is a stratum of the long table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genebert import bootstrap
from genebert.bootstrap import ALL, MIN_POSITIVES, Bootstrap, Estimate, Scored, Slice
from genebert.curves import curve_rows
from genebert.errors import InputError
from genebert.progress import progress
from genebert.scores import (
    BOUNDS,
    Fit,
    Items,
    ModelInfo,
    Track,
    model_rank,
    read_items,
    read_tracks,
)

VERSION = 9

Row = dict[str, Any]

log = logging.getLogger("genebert")

LONG = (
    *("task", "dataset", "stratum", "model", "pretraining", "pretrain_seed", "finetune_seed"),
    *("metric", "value", "low", "high", "n", "flags"),
)
WIDE = (
    *("task", "dataset", "model", "pretraining", "n_seeds", "n_train", "n_test", "n_positive"),
    *("auroc", "auroc_low", "auroc_high", "auprc", "auprc_low", "auprc_high"),
    *("mcc", "mcc_low", "mcc_high", "f1", "accuracy", "precision", "recall", "brier"),
    *("n_pretrain_seeds", "n_blocks", "prevalence", "flags", "ece"),
)
CURVES = ("task", "dataset", "model", "pretraining", "curve", "x", "y", "n")
MIN_BLOCKS = 20
MIN_SEEDS = 3
MIN_DRAWS = 5
CORRELATIONS = ("spearman", "pearson")
WITH_INTERVAL = ("auroc", "auprc", "mcc")
_MIN_GAP = 0.02  # oracle - gc below which the recovered share is not defined


def evaluate(
    *,
    dataset: str,
    description: str,
    cohort: Sequence[str],
    predictions: Sequence[str],
    fits: Sequence[str],
    long: str,
    wide: str,
    curves: str,
    task: str,
    name: str,
    seed: int,
    draws: int,
) -> None:
    """Score all models on one dataset and write the long table, the wide rows and the curves.

    Parameters
    ----------
    dataset, description : ``dataset.parquet`` and ``dataset.json``.
    cohort : ``cohort.npz`` in a list, or an empty list.
    predictions, fits : ``predictions.parquet`` and ``fit.json`` of every model, in one order.
    long, wide, curves : the tables to write.
    task, name : of the dataset; checked against the description.
    seed, draws : of the bootstrap.

    Raises
    ------
    InputError
        If a file is damaged or the predictions are not those of the dataset.
    """
    items = read_items(dataset, description, cohort)
    if (items.task, items.name) != (task, name):
        found = f"{items.task}/{items.name}"
        raise InputError(
            "is of another dataset", file=description, found=found, expected=f"{task}/{name}"
        )
    long_rows: list[Row] = []
    wide_rows: list[Row] = []
    curve_points: list[Row] = []
    for track in read_tracks(items, predictions, fits):
        boot = bootstrap.make_bootstrap(items, track, seed, draws)
        places = bootstrap.make_slices(items, track)
        headline: dict[str, Scored] = {}
        parts = list(bootstrap.by_model(track))
        for model, fraction, part in progress(parts, f"{name} {track.name}: scoring", "models"):
            log.info(
                "%s %s: %s, %d fits, label share %g", name, track.name, model, len(part), fraction
            )
            meta = _meta(items, track, model)
            if fraction != 1:
                scored = bootstrap.score(items, track, part, places[0], boot)
                long_rows += _long_rows(meta, _share(fraction), scored, boot)
                continue
            long_rows += _validation_rows(meta, items, part, boot)
            for place in places:
                scored = bootstrap.score(items, track, part, place, boot)
                long_rows += _long_rows(meta, place.stratum, scored, boot)
                if place.stratum == ALL:
                    headline[model] = scored
                    wide_rows += _wide_rows(meta, items, track, boot, scored)
                    values, proper = [fit.scores for fit in part], scored.probability
                    points = curve_rows(scored.units, values, probability=proper)
                    curve_points += [{**meta, **row} for row in points if not scored.effect]
            for place in bootstrap.locus_slices(items, track, places):
                long_rows += _locus_rows(meta, place.stratum, items, track, part, place, boot)
        long_rows += _recovered_rows(items, track, headline, boot)
        long_rows += _too_few_rows(items, track)
        long_rows += _collapsed_rows(items, track)
        long_rows += _permutation_rows(items, track)
    write_table(long, LONG, sorted(long_rows, key=_long_key))
    write_table(wide, WIDE, sorted(wide_rows, key=_table_key))
    write_table(curves, CURVES, sorted(curve_points, key=_table_key))


def _meta(items: Items, track: Track, model: str) -> Row:
    return {
        "task": items.task,
        "dataset": f"{items.name}-{track.name}" if track.name else items.name,
        "model": model,
        "pretraining": track.models[model].pretraining,
    }


def _share(fraction: float) -> str:
    return f"fraction={fraction:g}" if fraction < 1 else f"labels={fraction:g}"


def _long_rows(meta: Row, stratum: str, scored: Scored, boot: Bootstrap) -> list[Row]:
    """Return the rows of all metrics of one slice: every seed, then all seeds with interval.

    Single groups or classes, and metrics without a value, have rows in the headline only.
    """
    out: list[Row] = []
    blocks = {unit: scored.n_blocks(unit, boot) for unit in {u for u, _ in scored.estimates}}
    for (unit, metric), estimate in scored.estimates.items():
        if stratum != ALL and (unit or not np.isfinite(estimate.value)):
            continue
        place = {**meta, "stratum": stratum, "metric": metric, "n": scored.n_items(unit)}
        if unit:
            place["dataset"] = f"{meta['dataset']}:{unit}"
        # a correlation has no positives: its items count
        ranked = metric not in CORRELATIONS
        enough = scored.n_rarer(unit) if ranked else scored.n_items(unit)
        small = ranked and not unit and _has_small_part(scored)
        out += _estimate_rows(place, scored.fits, estimate, enough, blocks[unit], small)
    return out


def _has_small_part(scored: Scored) -> bool:
    return not scored.effect and bootstrap.has_small_part(scored.units)


def _estimate_rows(
    place: Row,
    fits: Sequence[Fit],
    estimate: Estimate,
    rarer: int,
    blocks: int,
    small: bool,
) -> list[Row]:
    """Return the rows of a metric: of every seed, then of all with interval and flags.

    Parameters
    ----------
    rarer, blocks : items of the rarer class, or what else an interval needs enough of, and the
        blocks that they fill. small : whether an averaged part is small.
    """
    out: list[Row] = [
        {
            **place,
            "pretrain_seed": fit.pretrain_seed,
            "finetune_seed": fit.finetune_seed,
            "value": float(value),
        }
        for fit, value in zip(fits, estimate.seeds, strict=True)
    ]
    low, high = estimate.interval(rarer, blocks)
    seeds = {"pretrain_seed": ALL, "finetune_seed": ALL}
    draws = {fit.finetune_seed for fit in fits if fit.fraction != 1}
    flags = {
        "few_blocks": blocks < MIN_BLOCKS,
        "few_positives_in_part": small,
        "few_draws": 0 < len(draws) < MIN_DRAWS,
    }
    row = {**place, **seeds, "value": estimate.value, "low": low, "high": high}
    out.append({**row, "flags": _joined(flags) or None})
    return out


def _joined(flags: Mapping[str, bool]) -> str:
    return ";".join(flag for flag, raised in flags.items() if raised)


def _locus_rows(
    meta: Row,
    stratum: str,
    items: Items,
    track: Track,
    fits: Sequence[Fit],
    place: Slice,
    boot: Bootstrap,
) -> list[Row]:
    estimate, loci, blocks = bootstrap.within_locus(items, track, fits, place, boot)
    if estimate is None:
        return []
    row = {**meta, "stratum": stratum, "metric": "auroc", "n": loci}
    small = bootstrap.has_small_part(bootstrap.make_units(items, track, place))
    return _estimate_rows(row, fits, estimate, loci, blocks, small)


def _validation_rows(meta: Row, items: Items, fits: Sequence[Fit], boot: Bootstrap) -> list[Row]:
    """Return the score on validation data that chooses between models, of all seeds and each."""
    values = np.array([bootstrap.validation_score(items, fit) for fit in fits])
    if not np.isfinite(values).all():
        return []
    mean = float(values @ bootstrap.seed_weights(fits, boot)[:, 0])
    metric = "spearman" if bootstrap.is_effect(items) else "auprc"
    row = {**meta, "stratum": "valid", "metric": metric, "n": len(fits[0].valid_rows)}
    return _estimate_rows(row, fits, Estimate(values, np.array([mean])), 0, MIN_BLOCKS, False)


def _permutation_rows(items: Items, track: Track) -> list[Row]:
    """Return the AUROCs of every model of a cohort with permuted labels; they must include 0.5."""
    if track.name:
        return []
    place = {"stratum": ALL, "pretrain_seed": ALL, "finetune_seed": ALL, "n": len(items.item)}
    return [
        {**_meta(items, track, model), **place, **row}
        for model, info in track.models.items()
        for row in _permuted(info)
    ]


def _permuted(info: ModelInfo) -> list[Row]:
    """Return metric, value, interval and flag of a model with permuted labels."""
    rows: list[Row] = []
    for part, metric in (("", "auroc_permuted"), ("tuned_", "auroc_permuted_tuned")):
        keys = [f"{part}{key}" for key in ("auroc", "low", "high")]
        if set(keys) <= info.permutation.keys():
            value, low, high = (info.permutation[key] for key in keys)
            flag = "permuted_off_chance" if low > 0.5 or high < 0.5 else None
            rows.append({"metric": metric, "value": value, "low": low, "high": high, "flags": flag})
    return rows


def _too_few_rows(items: Items, track: Track) -> list[Row]:
    """Return rows without a value for the label shares that had too few labels to train on."""
    return [
        {
            **_meta(items, track, model),
            "stratum": _share(share),
            "metric": metric,
            "n": 0,
            "pretrain_seed": ALL,
            "finetune_seed": ALL,
        }
        for model, info in track.models.items()
        if info.model == model  # not those derived from another model's fits
        for share in info.too_few
        for metric in ("auroc", "auprc")
    ]


def _collapsed_rows(items: Items, track: Track) -> list[Row]:
    """Return how many of the n fine-tuning runs of each label share learned nothing."""
    return [
        {
            **_meta(items, track, model),
            **{"stratum": ALL if share == 1 else _share(share), "metric": "collapsed"},
            **{"pretrain_seed": ALL, "finetune_seed": ALL},
            **{"value": float(sum(runs)), "n": len(runs)},
        }
        for model, info in track.models.items()
        if info.model == model  # not those derived from another model's fits
        for (name, share), runs in info.collapsed.items()
        if name == track.name
    ]


def _recovered_rows(
    items: Items, track: Track, headline: Mapping[str, Scored], boot: Bootstrap
) -> list[Row]:
    """Return, of every model, the share of (oracle - gc) in AUROC that it recovers."""
    key = ("", "auroc")
    if "oracle" not in headline or "gc" not in headline:
        return []
    oracle, chance = headline["oracle"].estimates[key], headline["gc"].estimates[key]
    if not oracle.value - chance.value > _MIN_GAP:
        return []
    out: list[Row] = []
    for model, scored in headline.items():
        gap = np.where(oracle.draws > chance.draws, oracle.draws - chance.draws, np.nan)
        share = Estimate(np.empty(0), (scored.estimates[key].draws - chance.draws) / gap)
        row = {"stratum": ALL, "metric": "recovered", "n": scored.n_items("")}
        place = {**_meta(items, track, model), **row}
        sizes = scored.n_rarer(""), scored.n_blocks("", boot)
        out += _estimate_rows(place, (), share, *sizes, _has_small_part(scored))
    return out


def _wide_rows(meta: Row, items: Items, track: Track, boot: Bootstrap, scored: Scored) -> list[Row]:
    """Return the row of a model in the result table, and one row of every group or class."""
    model = str(meta["model"])
    info = track.models[model]
    pretrain_seeds = {fit.pretrain_seed for fit in scored.fits} - {0}
    collapsed = sum(info.collapsed.get((track.name, 1.0), ()))
    out = []
    for name in ["", *(unit.name for unit in scored.units if unit.name)]:
        units = [unit for unit in scored.units if name in ("", unit.name)]
        rows = np.unique(np.concatenate([unit.rows for unit in units]))
        positives, rarer = scored.n_positives(name), scored.n_rarer(name)
        blocks = scored.n_blocks(name, boot)
        prevalence = float(np.mean([unit.labels.mean() for unit in units]))
        row: Row = {
            **meta,
            "dataset": f"{meta['dataset']}:{name}" if name else meta["dataset"],
            "n_seeds": len(scored.fits),
            "n_train": _n_train(items, info.n_train, name),
            "n_test": len(rows),
            "n_positive": None if scored.effect or (items.multiclass and not name) else positives,
            "n_pretrain_seeds": len(pretrain_seeds),
            "n_blocks": blocks,
            "prevalence": None if scored.effect else prevalence,
        }
        for metric in (*WITH_INTERVAL, "f1", "accuracy", "precision", "recall", "brier", "ece"):
            estimate = scored.estimates[name, metric]
            row[metric] = estimate.value
            if metric in WITH_INTERVAL:
                row[f"{metric}_low"], row[f"{metric}_high"] = estimate.interval(rarer, blocks)
        flags = {
            "few_blocks": blocks < MIN_BLOCKS,
            "few_positives": rarer < MIN_POSITIVES and not scored.effect,
            "few_positives_in_part": not name and _has_small_part(scored),
            "few_seeds": 0 < len(pretrain_seeds) < MIN_SEEDS,
            f"collapsed={collapsed}": collapsed > 0,
            "no_threshold": not np.isfinite(scored.estimates[name, "mcc"].value),
            "oracle-labels": model in BOUNDS and model != "oracle",
            "transductive": info.pretraining != "none" and items.seen[track.rows[rows]].any(),
            **dict.fromkeys(items.flags, True),
            "pretraining_unknown": items.unplaced and info.pretraining != "none",
            "permuted_off_chance": not track.name and any(r["flags"] for r in _permuted(info)),
        }
        row["flags"] = _joined(flags)
        out.append(row)
    return out


def _n_train(items: Items, total: int | None, name: str) -> int | None:
    """Return the number of training items: the model's own, or those of one group."""
    if not name or items.multiclass or items.by_element or not total:
        return total
    return int(((items.split == "train") & (items.group == name)).sum())


def _table_key(row: Row) -> tuple[Any, ...]:
    return (str(row["task"]), str(row["dataset"]), model_rank(str(row["model"])))


def _long_key(row: Row) -> tuple[Any, ...]:
    seeds = (str(row["pretrain_seed"]).zfill(9), str(row["finetune_seed"]).zfill(9))
    stratum = str(row["stratum"])
    return (*_table_key(row)[:2], stratum != ALL, stratum, _table_key(row)[2], row["metric"], seeds)


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a TSV: four decimals, ``NA`` for what is missing or not a number."""
    lines = ["\t".join(columns)]
    lines += ["\t".join(_text(row.get(column)) for column in columns) for row in rows]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "NA"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}".replace("-0.0000", "0.0000")
