"""Score fits on slices of the test items, for the data as they are and for every bootstrap draw.

In: the items and tracks of :mod:`genebert.scores`. Out: an :class:`Estimate` of every metric, per
unit (a TF, a class) and macro-averaged. A metric is computed per fit and averaged over seeds;
scores of several fits are never pooled. Draws resample blocks of the genome (individuals of a
cohort), the same for all models, and within each draw the seeds. Letters of shapes: T test items
of a track, n items of a unit, S seeds, D draws, B blocks, K score columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genebert import metrics
from genebert.metrics import Bools, Floats, Ints
from genebert.scores import CENTRED, RANKS, Fit, Items, Track, model_rank
from genebert.tasks.dataset import BESIDE, WHOLE_LOCUS

MIN_POSITIVES = 50
MIN_IN_PART = 10
ALL = "all"
WITHIN = "within-locus"
AXES = ("chromosome", "cell-type", "both")  # tags that say what is held out


@dataclass(frozen=True)
class Slice:
    """A subset of the test items: ``mask`` is bool[T]."""

    stratum: str
    mask: Bools


@dataclass(frozen=True)
class Unit:
    """One yes-or-no question (a TF, a class): its score column, items int[n], labels bool[n]."""

    name: str
    column: int
    rows: Ints
    labels: Bools


@dataclass(frozen=True)
class Bootstrap:
    """The draws that all models share: block int[T], counts [B, 1 + D], seeds [D, P + F]."""

    block: Ints
    counts: np.ndarray
    seeds: Floats


@dataclass(frozen=True)
class Estimate:
    """A metric: of every seed, float[S], and of every draw, float[1 + D] (first the estimate).

    A metric without interval has the estimate alone.
    """

    seeds: Floats
    draws: Floats

    @property
    def value(self) -> float:
        """The point estimate, the mean over seeds."""
        return float(self.draws[0])

    def interval(self, rarer: int, blocks: int) -> tuple[float, float]:
        """Return the percentile interval.

        NaN below MIN_POSITIVES items of the rarer class, or of one block, which every draw takes.
        """
        if rarer < MIN_POSITIVES or blocks < 2 or len(self.draws) == 1:
            return float("nan"), float("nan")
        if not np.isfinite(self.draws[0]):
            return float("nan"), float("nan")
        return metrics.percentile_interval(self.draws[1:])


@dataclass(frozen=True)
class Scored:
    """The metrics of one model on one slice, by (unit or ``''`` for the average, metric)."""

    fits: Sequence[Fit]
    units: Sequence[Unit]
    estimates: Mapping[tuple[str, str], Estimate]
    probability: bool
    multiclass: bool
    effect: bool

    def n_items(self, unit: str) -> int:
        """Return the number of test items of a unit, or of all."""
        if self.multiclass:
            return len(self.units[0].rows)
        return sum(len(u.rows) for u in self.units if unit in ("", u.name))

    def n_blocks(self, unit: str, boot: Bootstrap) -> int:
        """Return the number of blocks that the test items of a unit, or of all, fill."""
        rows = [u.rows for u in self.units if unit in ("", u.name)]
        return len(np.unique(boot.block[np.concatenate(rows)]))

    def n_positives(self, unit: str) -> int:
        """Return the number of positives of a unit or of all groups; of classes, the smallest.

        Effects have none.
        """
        return 0 if self.effect else self._sizes(unit)[1]

    def n_rarer(self, unit: str) -> int:
        """Return the number of positives or of negatives, whichever is smaller."""
        return 0 if self.effect else min(self._sizes(unit))

    def _sizes(self, unit: str) -> tuple[int, int]:
        return class_sizes([u for u in self.units if unit in ("", u.name)], self.multiclass)


def by_model(track: Track) -> Iterator[tuple[str, float, list[Fit]]]:
    """Yield (model, label share, fits) in the order of the tables, most labels first."""
    parts: dict[tuple[str, float], list[Fit]] = {}
    for fit in track.fits:
        parts.setdefault((fit.model, fit.fraction), []).append(fit)
    for model, fraction in sorted(parts, key=lambda key: (model_rank(key[0]), -key[1])):
        yield model, fraction, parts[model, fraction]


def held_out(tags: frozenset[str]) -> str:
    """Return what is held out for an item: ``chromosome``, ``cell-type``, ``both`` or nothing."""
    if "both" in tags or {"chromosome", "cell-type"} <= tags:
        return "both"
    return next((tag for tag in ("chromosome", "cell-type") if tag in tags), "")


def make_slices(items: Items, track: Track) -> list[Slice]:
    """Return the headline and every stratum that has items.

    Strata are what is held out (``chromosome``, ``cell-type``, ``both``, of all test items), every
    other tag (of the headline's items) and, for ``discordant``, both together
    (``both;discordant``). Items beside a set are in the strata of ``discordant`` only.
    """
    tags = [items.tags[row] for row in track.rows]
    axis = np.array([held_out(t) for t in tags], dtype=object)
    both_only = items.task == "accessibility" and (axis == "both").any()
    inductive = np.isin(axis, ("both",) if both_only else ("chromosome", "both"))
    if not inductive.any():
        inductive = np.ones(len(tags), dtype=bool)
    own = ~has_tag(tags, BESIDE)
    headline = inductive & own
    out = [Slice(ALL, headline)]
    axes = sorted(set(axis) - {""})
    out += [Slice(value, (axis == value) & own) for value in axes]
    for tag in sorted({tag for t in tags for tag in t} - {*AXES, BESIDE, WHOLE_LOCUS}):
        has = has_tag(tags, tag)
        out.append(Slice(tag, has & (inductive if tag == "discordant" else headline)))
        if tag == "discordant":
            out += [Slice(f"{value};{tag}", has & (axis == value)) for value in axes]
    return [place for place in out if place.mask.any()]


def has_tag(tags: Sequence[frozenset[str]], tag: str) -> Bools:
    """Return bool[T]: which items have a tag."""
    return np.array([tag in own for own in tags], dtype=bool)


def locus_slices(items: Items, track: Track, slices: Sequence[Slice]) -> list[Slice]:
    """Return the slices in which cell types are compared at one locus.

    Of a set whose negatives are matched on strength they hold the whole loci beside it: a matched
    negative of a locus is a strong one, so that there a score by strength would fall below 0.5.
    """
    if items.task not in ("tfbs", "accessibility"):
        return []
    masks = {p.stratum: p.mask for p in slices if p.stratum in (ALL, "both")}
    if items.task == "tfbs" and items.negatives == "matched":
        tags = [items.tags[row] for row in track.rows]
        whole = has_tag(tags, WHOLE_LOCUS)
        both = np.array([held_out(t) == "both" for t in tags], dtype=bool)
        masks = {ALL: whole, "both": whole & both}
    names = {ALL: WITHIN, "both": f"both;{WITHIN}"}
    return [Slice(names[name], mask) for name, mask in masks.items() if mask.any()]


def make_units(items: Items, track: Track, place: Slice) -> list[Unit]:
    """Return the yes-or-no questions of a slice: one per class or group, else a single one."""
    rows = np.flatnonzero(place.mask)
    label = items.label[track.rows]
    if items.multiclass:
        return [Unit(name, k, rows, label[rows] == k) for k, name in enumerate(items.classes)]
    if not items.groups:
        return [Unit("", 0, rows, label[rows] == 1)]
    group = items.group[track.rows]
    parts = ((name, rows[group[rows] == name]) for name in items.groups)
    return [Unit(name, 0, part, label[part] == 1) for name, part in parts if len(part)]


def class_sizes(units: Sequence[Unit], multiclass: bool) -> tuple[int, int]:
    """Return the numbers of negatives and positives of all units; of classes, the smallest."""
    positives = [int(unit.labels.sum()) for unit in units]
    negatives = [len(unit.labels) - count for unit, count in zip(units, positives, strict=True)]
    take = min if multiclass else sum
    return take(negatives), take(positives)


def has_small_part(units: Sequence[Unit]) -> bool:
    """Tell whether an average has a part of fewer than MIN_IN_PART positives or negatives.

    It weighs as much as the others, and a draw that leaves it one class is a mean without it.
    """
    sizes = [np.bincount(unit.labels, minlength=2).min() for unit in units]
    return len(units) > 1 and min(sizes) < MIN_IN_PART


def make_bootstrap(items: Items, track: Track, seed: int, draws: int) -> Bootstrap:
    """Return the draws of a track; they depend on its items and the seed, not on any model."""
    headline = make_slices(items, track)[0].mask
    _, block = np.unique(items.block[track.rows], return_inverse=True)
    part = np.ones(int(block.max()) + 1, dtype=np.int64)
    part[block[headline]] = 0
    stream = zlib.crc32(f"{items.task}/{items.name}/{track.name}".encode())
    counts = metrics.block_draws(part, draws, np.random.default_rng([seed, stream, 0]))
    pairs = {(fit.model, fit.fraction): 0 for fit in track.fits}
    for fit in track.fits:
        pairs[fit.model, fit.fraction] += 1
    most = max(16, *pairs.values())  # fixed unless there are more, so that models can be added
    seeds = np.random.default_rng([seed, stream, 1]).random((draws, 2 * most))
    return Bootstrap(block.astype(np.int64), counts, seeds)


def is_zero_shot(track: str) -> bool:
    """Tell whether nothing was fitted, so that scores have no threshold and no probability."""
    return track.startswith("zeroshot")


def calls_probability(items: Items, fits: Sequence[Fit]) -> bool:
    """Tell whether all test scores of a model can be read as probabilities."""
    track, model = fits[0].track, fits[0].model
    rank = model in RANKS and items.kind != "variants"  # of variants, a regression on openness
    if is_zero_shot(track) or track == CENTRED or rank or is_effect(items):
        return False
    return all(bool(((fit.scores >= 0) & (fit.scores <= 1)).all()) for fit in fits)


def make_calls(items: Items, track: Track, fit: Fit) -> Floats:
    """Return 1 where a fit says yes, 0 where no, NaN where there is no threshold; float[T, K].

    Multi-class: the class with the largest score, of several the last (``none`` is the first).
    Else each group's threshold is the one with the largest MCC on this fit's validation items.
    """
    calls = np.full(fit.scores.shape, np.nan)
    if is_zero_shot(fit.track) or is_effect(items):
        return calls
    if items.multiclass:
        count = fit.scores.shape[1]
        best = count - 1 - fit.scores[:, ::-1].argmax(axis=1)
        return np.asarray(best[:, None] == np.arange(count), dtype=float)
    group, valid_group = items.group[track.rows], items.group[fit.valid_rows]
    label = items.label[fit.valid_rows] == 1
    for name in sorted(set(group)):
        at = valid_group == name
        threshold = metrics.best_threshold(label[at], fit.valid_scores[at, 0]) if at.any() else None
        if threshold is not None and np.isfinite(threshold):
            rows = group == name
            calls[rows, 0] = fit.scores[rows, 0] >= threshold
    return calls


def score(items: Items, track: Track, fits: Sequence[Fit], place: Slice, boot: Bootstrap) -> Scored:
    """Return all metrics of one model on a slice, of every unit and their average."""
    units = make_units(items, track, place)
    probability = calls_probability(items, fits)
    weights = seed_weights(fits, boot)
    missed = items.missed if place.stratum == ALL else {}  # nobody knows the stratum of those
    times = element_counts(items, units, boot)
    values: dict[tuple[str, str], list[Floats]] = {}
    for fit in fits:
        calls = make_calls(items, track, fit)
        parts = [
            _unit_draws(items, track, fit, calls, unit, boot, probability, missed) for unit in units
        ]
        for unit, part in zip(units, parts, strict=True):
            for metric, value in part.items() if unit.name else ():
                own = value if times is None else value[:1]  # one element has one block
                values.setdefault((unit.name, metric), []).append(own)
        average = {m: _average([part[m] for part in parts], times) for m in parts[0]}
        if items.negatives == "natural" and items.multiclass:  # nearly all items are no site
            named = zip(units, parts, strict=True)
            sites = [part for unit, part in named if unit.name != items.classes[0]]
            average |= {m: _average([part[m] for part in sites], times) for m in ("auroc", "auprc")}
        if items.multiclass:
            average |= _multiclass_draws(items, track, calls, units, boot)
        for metric, value in average.items():
            values.setdefault(("", metric), []).append(value)
    estimates = {}
    for key, rows in values.items():
        stack = np.stack(rows)
        mean = (stack * weights).sum(axis=0)
        estimates[key] = Estimate(stack[:, 0], mean)
    return Scored(fits, units, estimates, probability, items.multiclass, is_effect(items))


def element_counts(items: Items, units: Sequence[Unit], boot: Bootstrap) -> Floats | None:
    """Return float[U, 1 + D]: how often every draw has each element; None for other units."""
    if not items.by_element:
        return None
    return np.stack([boot.counts[boot.block[unit.rows[0]]] for unit in units]).astype(float)


def _average(values: Sequence[Floats], times: Floats | None) -> Floats:
    stack = np.stack(values)
    return metrics.mean_defined(stack, None if times is None else times[:, : stack.shape[1]])


def seed_weights(fits: Sequence[Fit], boot: Bootstrap) -> Floats:
    """Return the weight of every fit in every draw, float[S, 1 + D]."""
    pretrain = np.array([fit.pretrain_seed for fit in fits], dtype=np.int64)
    finetune = np.array([fit.finetune_seed for fit in fits], dtype=np.int64)
    return metrics.seed_draws(pretrain, finetune, boot.seeds)


def _unit_draws(
    items: Items,
    track: Track,
    fit: Fit,
    calls: Floats,
    unit: Unit,
    boot: Bootstrap,
    probability: bool,
    missed: Mapping[str, int],
) -> dict[str, Floats]:
    """Return the draws of every metric of a unit; NaN where it has no meaning.

    Effects have correlations only; ``top_k`` is of sites, not of the class ``none``; ``brier`` is
    the mean squared difference of probability and label.
    """
    block, counts = boot.block[unit.rows], boot.counts
    scores, called = fit.scores[unit.rows, unit.column], calls[unit.rows, unit.column]
    nothing = np.full(counts.shape[1], np.nan)
    out: dict[str, Floats] = {}
    ranked = not is_effect(items)
    out["auroc"], out["auprc"] = nothing, nothing
    if items.task == "splicing":
        out["auroc"], out["auprc"], out["top_k"] = metrics.site_draws(
            unit.labels, scores, block, counts, missed.get(unit.name, 0)
        )
        if unit.name == items.classes[0]:
            out["top_k"] = nothing
    elif ranked:
        out["auroc"], out["auprc"] = metrics.rank_draws(unit.labels, scores, block, counts)
    if np.isfinite(called).all():
        cells = metrics.confusion_draws(unit.labels, called == 1, block, counts)
        out |= metrics.threshold_metrics(*cells)
    else:
        out |= dict.fromkeys(metrics.THRESHOLD_METRICS, nothing)
    out["brier"], out["ece"] = nothing, nothing
    if probability:
        size = metrics.block_sums(np.ones(len(scores)), block, counts)
        error = metrics.block_sums((scores - unit.labels) ** 2, block, counts)
        out["brier"] = np.where(size > 0, error / np.maximum(size, 1), np.nan)
        out["ece"] = metrics.calibration_draws(unit.labels, scores, block, counts)
    rows = track.rows[unit.rows]
    if items.effect is not None:
        known = np.isfinite(items.effect[rows])
        out["spearman"], out["pearson"] = metrics.correlation_draws(
            items.effect[rows][known], scores[known], block[known], counts
        )
    if items.kind == "variants" and ranked:
        # models that leave contigs out: scores of two contigs come from two fits
        out["auroc_by_contig"], out["auprc_by_contig"] = metrics.contig_draws(
            unit.labels, scores, block, items.contig[rows], counts
        )
    return out


def _multiclass_draws(
    items: Items, track: Track, calls: Floats, units: Sequence[Unit], boot: Bootstrap
) -> dict[str, Floats]:
    """Return the share of right calls and the MCC of all classes together."""
    rows, count = units[0].rows, len(items.classes)
    cell = items.label[track.rows][rows].astype(np.int64) * count + calls[rows].argmax(axis=1)
    sums = [metrics.block_sums(cell == i, boot.block[rows], boot.counts) for i in range(count**2)]
    confusion = np.stack(sums, axis=-1).reshape(-1, count, count)
    total = confusion.sum(axis=(1, 2))
    right = np.trace(confusion, axis1=1, axis2=2)
    accuracy = np.where(total > 0, right / np.maximum(total, 1), np.nan)
    return {"accuracy": accuracy, "mcc_multiclass": metrics.multiclass_mcc(confusion)}


def validation_score(items: Items, fit: Fit) -> float:
    """Return how well a fit does on its validation items: what chooses between models.

    The AUPRC, or the Spearman correlation where the label is a number, averaged over groups or
    classes. NaN without validation items.
    """
    metric = spearman if is_effect(items) else metrics.auprc
    rows = fit.valid_rows
    return metrics.macro(metric, items.label[rows], fit.valid_scores, items.group[rows])


def spearman(effect: Floats, scores: Floats) -> float:
    """Return the Spearman correlation; NaN below three items or with a constant."""
    return metrics.correlations(effect, scores)[0]


def is_effect(items: Items) -> bool:
    """Tell whether the labels are numbers (effects) instead of classes."""
    return items.effect is not None and not np.isin(items.label, (0, 1)).all()


def within_locus(
    items: Items, track: Track, fits: Sequence[Fit], place: Slice, boot: Bootstrap
) -> tuple[Estimate | None, int, int]:
    """Return the mean AUROC within loci (averaged over TFs), the number of loci and of blocks."""
    units = make_units(items, track, place)
    weights = seed_weights(fits, boot)
    stack, loci, blocks = [], 0, set[int]()
    for fit in fits:
        parts, loci = [], 0
        for unit in units:
            rows = track.rows[unit.rows]
            value, first = metrics.within_locus(
                unit.labels, fit.scores[unit.rows, unit.column], items.locus[rows]
            )
            block = boot.block[unit.rows[first]]
            size = metrics.block_sums(np.ones(len(value)), block, boot.counts)
            total = metrics.block_sums(value, block, boot.counts)
            parts.append(np.where(size > 0, total / np.maximum(size, 1), np.nan))
            loci += len(value)
            blocks.update(block.tolist())
        stack.append(metrics.mean_defined(np.stack(parts)))
    if not loci:
        return None, 0, 0
    values = np.stack(stack)
    return Estimate(values[:, 0], (values * weights).sum(axis=0)), loci, len(blocks)
