"""The tables that the workflow ends in: views of the metrics of all datasets.

In: ``table.tsv`` and ``metrics.tsv`` of every dataset; for the comparisons also the datasets and
predictions themselves, since a paired difference needs the draws. Out: one wide table a task, one
long table, the ablation of pre-training, the comparisons, and any of them as an HTML page.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genebert import bootstrap, metrics
from genebert.bootstrap import ALL, MIN_IN_PART, MIN_POSITIVES, Bootstrap, Slice
from genebert.errors import InputError, reading
from genebert.evaluate import LONG, MIN_BLOCKS, MIN_DRAWS, MIN_SEEDS, WIDE, Row, write_table
from genebert.html import page
from genebert.layout import TASKS
from genebert.metrics import Floats
from genebert.progress import progress
from genebert.scores import BOUNDS, Fit, Items, Track, model_rank, read_items, read_tracks

VERSION = 6

log = logging.getLogger("genebert")

COMPARISONS = (
    *("comparison", "kind", "task", "dataset", "stratum", "fraction", "metric", "model", "rival"),
    *("difference", "low", "high", "p", "p_holm", "detectable"),
    *("n_test", "n_positive", "n_blocks", "note"),
)
BEST_RIVAL = "best rival"
FEW_LABELS = 0.1


@dataclass(frozen=True)
class Comparison:
    """One comparison fixed before the run: genebert - rival, in one stratum of one dataset."""

    name: str
    task: str
    rival: str
    stratum: str
    fraction: float = 1.0
    metric: str = "auprc"


PRIMARY = (
    Comparison("P1", "promoter", "scratch", ALL, FEW_LABELS),
    Comparison("P2", "promoter", "scratch", ALL),
    Comparison("P3", "tfbs", "genebert-sequence", "both;discordant"),
    Comparison("P4", "tfbs", "genebert-shuffled_matrix", "both;discordant"),
    Comparison("P5", "tfbs", BEST_RIVAL, "both;discordant"),
)


def task_table(*, tables: Sequence[str], table: str) -> None:
    """Join the wide tables of one task, sorted by dataset and model.

    Raises
    ------
    InputError
        If a table has other columns.
    """
    rows = [row for path in tables for row in read_table(path, WIDE)]
    write_table(table, WIDE, sorted(rows, key=_wide_key))


def metrics_table(*, long: Sequence[str], table: str) -> None:
    """Join the long tables of all datasets, in the order of tasks and datasets.

    Raises
    ------
    InputError
        If a table has other columns.
    """
    parts = [read_table(path, LONG) for path in long]
    parts.sort(key=lambda rows: dataset_key(rows[0]) if rows else ((-1, ""), ""))
    write_table(table, LONG, [row for rows in parts for row in rows])


def ablation_table(*, tables: Sequence[str], table: str) -> None:
    """Select the pre-training variants and ``scratch``; ``genebert`` is the variant ``full``.

    Rows are sorted by task, dataset and variant: full, sequence, others by name, scratch.

    Raises
    ------
    InputError
        If a table has other columns.
    """
    rows = [row for path in tables for row in read_table(path, WIDE) if _is_variant(row)]
    write_table(table, WIDE, sorted(rows, key=_variant_key))


def html_tables(*, tables: Sequence[str], html: Sequence[str], caption: str = "") -> None:
    """Write every TSV as a self-contained HTML page that can be sorted, filtered and saved.

    Parameters
    ----------
    tables, html : inputs and outputs, in one order.
    caption : above every table.

    Raises
    ------
    InputError
        If a table is missing or has no header.
    """
    for table, path in zip(tables, html, strict=True):
        columns, rows = _read_fields(table)
        title = Path(table).name.removesuffix(".tsv")
        Path(path).write_text(page(title, caption, columns, rows), encoding="utf-8")


def _read_fields(path: str | Path) -> tuple[list[str], list[list[str]]]:
    with (
        reading(path, "cannot be read as a table"),
        Path(path).open(newline="", encoding="utf-8") as handle,
    ):
        lines = list(csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines:
        raise InputError("is empty", file=path, expected="a header line")
    for number, fields in enumerate(lines[1:], start=2):
        if len(fields) != len(lines[0]):
            raise InputError(
                "wrong number of fields",
                file=path,
                row=number,
                found=len(fields),
                expected=len(lines[0]),
            )
    return lines[0], lines[1:]


def read_table(path: str | Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a table as texts; InputError unless it has exactly these columns."""
    header, rows = _read_fields(path)
    if tuple(header) != tuple(columns):
        raise InputError(
            "has other columns than this version writes",
            file=path,
            row=1,
            found=" ".join(header),
            expected=" ".join(columns),
        )
    return [dict(zip(header, row, strict=True)) for row in rows]


def _task_rank(task: str) -> tuple[int, str]:
    return (TASKS.index(task) if task in TASKS else len(TASKS), task)


def dataset_key(row: Row) -> tuple[tuple[int, str], str]:
    """Return the sort key of a row: task in the order of the paper, then dataset."""
    return _task_rank(row["task"]), row["dataset"]


def _wide_key(row: Row) -> tuple[object, ...]:
    return (*dataset_key(row), model_rank(row["model"]))


def _is_variant(row: Row) -> bool:
    model, pretraining = row["model"], row["pretraining"]
    return model in ("scratch", "genebert", f"genebert-{pretraining}")


def _variant_key(row: Row) -> tuple[object, ...]:
    first = {"genebert": 0, "genebert-sequence": 1, "scratch": 3}
    return (*dataset_key(row), first.get(row["model"], 2), row["model"])


def comparisons_table(
    *,
    datasets: Sequence[str],
    descriptions: Sequence[str],
    cohorts: Sequence[str],
    predictions: Sequence[str],
    fits: Sequence[str],
    table: str,
    seed: int,
    draws: int,
) -> None:
    """Compare genebert with its rivals by paired differences.

    The five primary comparisons come first, adjusted together by Holm; one that this run cannot
    make keeps its row, ``NA`` and the reason, and counts in the adjustment. All others are
    exploratory and not adjusted. ``detectable`` is the smallest difference that would be found
    with 80 % power.

    Parameters
    ----------
    datasets, descriptions : ``dataset.parquet`` and ``dataset.json`` of every dataset.
    cohorts : ``cohort.npz`` of those datasets that are cohorts.
    predictions, fits : ``predictions.parquet`` and ``fit.json`` of every model of every dataset,
        ``{directory of the dataset}/{model}/...``.
    table : the table to write.
    seed, draws : of the bootstrap; with those of ``evaluate`` the draws are the same.

    Raises
    ------
    InputError
        If a file is damaged or predictions belong to none of the datasets.
    """
    parts = _by_dataset(datasets, predictions, fits)
    primary: dict[str, Row] = {}
    exploratory: list[Row] = []
    pairs = list(zip(datasets, descriptions, strict=True))
    for dataset, description in progress(pairs, "comparing", "datasets"):
        home = Path(dataset).parent
        cohort = [path for path in cohorts if Path(path).parent == home]
        items = read_items(dataset, description, cohort)
        for track in read_tracks(items, *parts[home]):
            log.info("comparisons: %s/%s %s", items.task, items.name, track.name)
            run = _Run.of(items, track, seed, draws)
            for plan in PRIMARY:
                wanted = plan.task == items.task and items.negatives == "matched"
                if wanted and not track.name and plan.name not in primary:
                    primary[plan.name] = _compare(run, plan)
            exploratory += _exploratory(run)
    rows = [primary.get(plan.name) or _impossible(plan) for plan in PRIMARY]
    adjusted = metrics.holm(np.array([row["p"] for row in rows], dtype=float), len(PRIMARY))
    for row, p in zip(rows, adjusted, strict=True):
        row |= {"kind": "primary", "p_holm": float(p)}
    exploratory.sort(key=_exploratory_key)
    write_table(table, COMPARISONS, rows + exploratory)


def _by_dataset(
    datasets: Sequence[str], predictions: Sequence[str], fits: Sequence[str]
) -> dict[Path, tuple[list[str], list[str]]]:
    parts: dict[Path, tuple[list[str], list[str]]] = {Path(d).parent: ([], []) for d in datasets}
    for path, info in zip(predictions, fits, strict=True):
        home = Path(path).parent.parent
        if home not in parts:
            raise InputError("predictions of no dataset that is compared", file=path)
        parts[home][0].append(path)
        parts[home][1].append(info)
    return parts


@dataclass(frozen=True)
class _Run:
    """One track of one dataset, with its draws, slices and fits."""

    items: Items
    track: Track
    boot: Bootstrap
    slices: Mapping[str, Slice]
    models: Mapping[tuple[str, float], list[Fit]]

    @classmethod
    def of(cls, items: Items, track: Track, seed: int, draws: int) -> _Run:
        slices = bootstrap.make_slices(items, track)
        within = bootstrap.locus_slices(items, track, slices)
        return cls(
            items,
            track,
            bootstrap.make_bootstrap(items, track, seed, draws),
            {place.stratum: place for place in [*slices, *within]},
            {(model, share): fits for model, share, fits in bootstrap.by_model(track)},
        )

    @property
    def name(self) -> str:
        return f"{self.items.name}-{self.track.name}" if self.track.name else self.items.name

    def draws(self, model: str, fraction: float, stratum: str) -> dict[str, Floats]:
        """Return {metric: float[1 + D]}: AUROC and AUPRC, AUROC in loci, or Spearman of effects."""
        fits, place = self.models[model, fraction], self.slices[stratum]
        if stratum.endswith(bootstrap.WITHIN):
            estimate, *_ = bootstrap.within_locus(self.items, self.track, fits, place, self.boot)
            return {} if estimate is None else {"auroc": estimate.draws}
        scored = bootstrap.score(self.items, self.track, fits, place, self.boot)
        names = ("spearman",) if scored.effect else ("auroc", "auprc")
        return {metric: scored.estimates["", metric].draws for metric in names}

    def few(self, rival: str, fraction: float) -> str:
        """Return what there are too few of for the interval of genebert - rival: seeds, draws."""
        both = [self.models[model, fraction] for model in ("genebert", rival)]
        seeds = [len({fit.pretrain_seed for fit in fits} - {0}) for fits in both]
        draws = [len({fit.finetune_seed for fit in fits}) for fits in both]
        few_seeds = any(0 < count < MIN_SEEDS for count in seeds)
        few_draws = fraction != 1 and min(draws) < MIN_DRAWS
        return _join(
            f"fewer than {MIN_SEEDS} pre-training seeds" if few_seeds else "",
            f"fewer than {MIN_DRAWS} draws of the labels" if few_draws else "",
        )

    def sizes(self, stratum: str) -> Row:
        """Return the numbers of test items, positives and blocks of a stratum.

        ``units`` says what an interval needs enough of: items of the rarer class, loci within loci
        (whose blocks are counted then), items that have effects; ``small``, whether an averaged
        part is small.
        """
        place = self.slices[stratum]
        units = bootstrap.make_units(self.items, self.track, place)
        negatives, positives = bootstrap.class_sizes(units, self.items.multiclass)
        sizes: Row = {
            "n_test": int(place.mask.sum()),
            "n_positive": positives,
            "n_blocks": len(np.unique(self.boot.block[place.mask])),
            "small": bootstrap.has_small_part(units),
        }
        if stratum.endswith(bootstrap.WITHIN):
            fits = next(iter(self.models.values()))
            _, loci, blocks = bootstrap.within_locus(self.items, self.track, fits, place, self.boot)
            return sizes | {"n_blocks": blocks, "units": (loci, "loci")}
        if bootstrap.is_effect(self.items):
            return sizes | {"n_positive": None, "units": (sizes["n_test"], "items"), "small": False}
        return sizes | {"units": (min(negatives, positives), "positives or negatives")}


def _plan_row(plan: Comparison) -> Row:
    return {
        "comparison": plan.name or None,
        "task": plan.task,
        "stratum": plan.stratum,
        "fraction": f"{plan.fraction:g}",
        "metric": plan.metric,
        "model": "genebert",
        "rival": plan.rival,
        "p": float("nan"),
    }


def _impossible(plan: Comparison) -> Row:
    return _plan_row(plan) | {"note": f"no dataset of task {plan.task} with matched negatives"}


def _compare(run: _Run, plan: Comparison) -> Row:
    row = _plan_row(plan) | {"dataset": run.name}
    if plan.stratum not in run.slices:
        return row | {"note": f"no test items in stratum {plan.stratum}"}
    row |= run.sizes(plan.stratum)
    rival = best_rival(run.items, run.track) if plan.rival == BEST_RIVAL else plan.rival
    if rival is None:
        return row | {"note": "no rival has validation scores"}
    note = f"{rival} is the best of the rivals on validation" if plan.rival == BEST_RIVAL else ""
    row["rival"] = rival
    for model in ("genebert", rival):
        if (model, plan.fraction) not in run.models:
            share = f" with {plan.fraction:.0%} of the labels" if plan.fraction != 1 else ""
            return row | {"note": f"no predictions of {model}{share}"}
    a, b = (run.draws(model, plan.fraction, plan.stratum) for model in ("genebert", rival))
    note = _join(note, run.few(rival, plan.fraction))
    return row | _difference(a[plan.metric], b[plan.metric], row, note)


def _difference(a: Floats, b: Floats, sizes: Row, note: str) -> Row:
    """Return difference, interval and p; without interval where there is too little to draw."""
    found = metrics.paired_difference(a, b)
    count, units = sizes["units"]
    if count < MIN_POSITIVES or sizes["n_blocks"] < 2:
        few = f"fewer than {MIN_POSITIVES} {units}" if count < MIN_POSITIVES else "one block"
        return {"difference": found.value, "p": float("nan"), "note": _join(note, few)}
    if sizes["n_blocks"] < MIN_BLOCKS:
        note = _join(note, f"fewer than {MIN_BLOCKS} blocks")
    if sizes["small"]:
        note = _join(note, f"a part with fewer than {MIN_IN_PART} positives or negatives")
    return {
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "detectable": found.detectable,
        "note": note,
    }


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def best_rival(items: Items, track: Track) -> str | None:
    """Return the model of another kind with the best AUPRC on validation, or None.

    Rivals see no more than genebert does and do not contain it: not the oracle, not
    ``cell-average`` (it is given labels), no variant of genebert and not ``scratch``.
    """
    best: list[tuple[float, tuple[int, str]]] = []
    for model, fraction, fits in bootstrap.by_model(track):
        own = model.startswith("genebert") or model in ("scratch", "cell-average-pred")
        if fraction != 1 or own or model in BOUNDS:
            continue
        value = np.mean([bootstrap.validation_score(items, fit) for fit in fits])
        if np.isfinite(value):
            best.append((-float(value), model_rank(model)))
    return min(best)[1][1] if best else None


def _exploratory(run: _Run) -> list[Row]:
    """Return genebert - every other model, for the headline and what shows cell-type context."""
    strata = (ALL, "discordant", "both;discordant", "within-locus", "both;within-locus")
    rows: list[Row] = []
    shares = sorted({fraction for _, fraction in run.models}, reverse=True)
    for fraction in shares:
        models = [model for model, share in run.models if share == fraction]
        if "genebert" not in models:
            continue
        for stratum in strata if fraction == 1 else (ALL,):
            if stratum not in run.slices:
                continue
            sizes = run.sizes(stratum)
            own = run.draws("genebert", fraction, stratum)
            for model in models:
                if model == "genebert":
                    continue
                other, few = run.draws(model, fraction, stratum), run.few(model, fraction)
                for metric in sorted(own):
                    plan = Comparison("", run.items.task, model, stratum, fraction, metric)
                    row = _plan_row(plan) | {"dataset": run.name, "kind": "exploratory"} | sizes
                    rows.append(row | _difference(own[metric], other[metric], sizes, few))
    return rows


def _exploratory_key(row: Row) -> tuple[object, ...]:
    place = (row["stratum"] != ALL, row["stratum"], -float(row["fraction"]))
    return (*dataset_key(row), *place, model_rank(row["rival"]), row["metric"])
