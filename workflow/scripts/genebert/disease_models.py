"""The models of the disease task: scores of single variants and of people.

In: a dataset of kind ``variants`` or ``cohort``, the motif set, the shards, weights. Out:
``predictions.parquet`` and ``fit.json``. Every model is an encoder (sequence to features) with a
linear read-out of accessibility fitted on the training regions; labels of variants or people come
in only in the last step, :mod:`genebert.variant_models` and :mod:`genebert.cohort_models`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert import cohort_models as cm
from genebert import features, variant_context, variant_models, variant_scores
from genebert.accessibility_head import AccessibilityModel, fit_accessibility, openness
from genebert.errors import InputError, reading
from genebert.items import Job, Result
from genebert.layout import variant_of
from genebert.tasks.dataset import read_dataset
from genebert.tasks.variant_files import length_change
from genebert.variant_models import Features, Problem, sequence_change

if TYPE_CHECKING:
    from genebert.pretrained import Pretrained

VERSION = 8

AXIS_REGIONS = 2500  # that the axes of a cohort's features are made from, four fifths of them

log = logging.getLogger("genebert")


@dataclass(frozen=True)
class Start:
    """One seed of a model: its encoder and the accessibility read-out on top of it.

    Attributes
    ----------
    encoders : the pre-trained (or random) encoders of a neural model, else None.
    """

    pretrain_seed: int
    finetune_seed: int
    model: AccessibilityModel
    encoders: Pretrained | None


def frozen(model: str) -> bool:
    """Tell whether a model is a frozen pre-trained encoder or its random twin."""
    return model == "scratch" or variant_of(model) is not None


def embedder(encoders: Pretrained, both_strands: bool) -> Callable[[Sequence[str]], Any]:
    """Return the function from sequences of one length to embeddings float32[n, D]."""
    return lambda sequences: encoders.embed_sequences(
        features.encode_all(sequences), both_strands=both_strands
    )


def starts(job: Job, *, both_strands: bool = True) -> Iterator[Start]:
    """Yield every seed of a model with its accessibility read-out.

    Parameters
    ----------
    both_strands : average embeddings of both strands: twice the time, half the noise.

    Raises
    ------
    InputError
        If the model has no encoder.
    """
    if frozen(job.model) or job.model == "cnn":
        from genebert.pretrained import best_device

        device = best_device(job.threads)
    data = openness(job.context.shards, job.seed)
    if frozen(job.model):
        from genebert import finetune

        for start in finetune.starts(job, device):
            assert start.encoders is not None
            head = fit_accessibility(embedder(start.encoders, both_strands), data)
            yield Start(start.pretrain_seed, 1, head, start.encoders)
    elif job.model == "cnn":
        from genebert.accessibility_cnn import fit_cnn

        for number in range(1, int(job.effort.get("finetune_seeds", 1)) + 1):
            model = fit_cnn(data, job.effort, [job.seed, number], both_strands=both_strands)
            yield Start(0, number, model, None)
    else:
        yield Start(0, 1, fit_accessibility(baseline_encoder(job), data), None)


def baseline_encoder(job: Job) -> Callable[[Sequence[str]], Any]:
    """Return the features of a model without a network."""
    if job.model == "kmer-lr":
        return lambda sequences: features.kmer_features(sequences).toarray()
    if job.model == "motif-lr":
        return lambda sequences: features.motif_features(sequences, job.motifs)
    if job.model == "gc":
        return features.gc_features
    raise InputError("model has no accessibility read-out", file="model", found=job.model)


def rows_of(
    items: Sequence[str] | NDArray[Any],
    scores: NDArray[np.floating],
    *,
    model: str,
    track: str,
    split: str = "test",
    pretrain_seed: int = 0,
    finetune_seed: int = 1,
) -> pd.DataFrame:
    """Return rows of ``predictions.parquet``."""
    return pd.DataFrame(
        {
            "model": model,
            "track": track,
            "item": np.asarray(items, dtype=object),
            "split": split,
            "pretrain_seed": np.int64(pretrain_seed),
            "finetune_seed": np.int64(finetune_seed),
            "fraction": 1.0,
            "score": np.asarray(scores, np.float64),
        }
    )


def answer(job: Job, frames: Sequence[pd.DataFrame], info: Mapping[str, Any]) -> Result:
    """Return all predictions and what was fitted."""
    frame = pd.concat(frames, ignore_index=True)
    runs = training_runs(frame) if job.model == "cnn" else []  # the one network trained here
    collapsed = sum(run["collapsed"] for run in runs)
    about = {"collapsed": collapsed, "runs": runs, "n_parameters": 0, "version": VERSION}
    return frame, {**about, **info}


def training_runs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the runs behind some predictions; one that scores all test items alike collapsed."""
    keys = ["track", "pretrain_seed", "finetune_seed", "fraction"]
    scores = frame[frame["split"] == "test"].groupby(keys, sort=True)["score"]
    spread = (scores.max() - scores.min()).rename("collapsed").lt(1e-9).reset_index()
    return list(spread.to_dict("records"))


def oracle_scores(scores: NDArray[np.float64], file: str) -> NDArray[np.float64]:
    """Return the true probabilities; where one is unknown, the mean of the others."""
    if np.isnan(scores).all():
        raise InputError("no true probabilities for the model 'oracle'", file=file)
    return np.where(np.isnan(scores), np.nanmean(scores), scores)


def predict_variants(job: Job) -> Result:
    """Score the variants of a dataset with one model.

    Tracks: ``supervised`` (leave-one-chromosome-out) and, where the model defines them,
    ``zeroshot:llr``, ``zeroshot:embedding``, ``zeroshot:motif``, ``zeroshot:accessibility``,
    ``zeroshot:given`` (a score that the labels bring along).

    Raises
    ------
    InputError
        If the model is unknown, or an input is damaged.
    """
    frame, info = read_dataset(job.dataset, job.description)
    problem = Problem.of(frame, info, job.seed)
    frames: list[pd.DataFrame] = []
    record: dict[str, Any] = {"n_train": len(frame)}
    if job.model == "oracle":
        scores = oracle_scores(frame["oracle"].to_numpy(float), job.dataset)
        for split in ("valid", "test"):
            frames.append(
                rows_of(frame["item"], scores, model=job.model, track="supervised", split=split)
            )
    elif job.model == "tss-distance":
        near, record["unknown"] = nearness(frame["tss_distance"].to_numpy(float))
        blocks = Features(plain=near[:, None])
        frames += supervised(job, problem, blocks, 0, 1, record)
    elif job.model in info.get("scores", {}):
        given = frame[f"score_{job.model}"].to_numpy(float)
        score, record["unknown"] = with_median(given * info["scores"][job.model]["sign"])
        frames.append(rows_of(frame["item"], score, model=job.model, track="zeroshot:given"))
        frames += supervised(job, problem, Features(plain=given[:, None]), 0, 1, record)
    elif job.model == "accessibility":
        open_N2 = variant_context.locus_openness(job.context, frame)
        frames += supervised(job, problem, Features(plain=open_N2), 0, 1, record)
    elif job.model == "context-lr":
        found = context_changes(job, frame)
        score = found.score(info.get("label") == "effect")
        frames.append(rows_of(frame["item"], score, model=job.model, track="zeroshot:motif"))
        frames += supervised(job, problem, Features(plain=found.features), 0, 1, record)
    else:
        for start in starts(job):
            pretrain, finetune = start.pretrain_seed, start.finetune_seed
            common: dict[str, Any] = {"pretrain_seed": pretrain, "finetune_seed": finetune}
            tracks, blocks = score_variants(job, start, frame, info)
            for name, scores in tracks.items():
                common |= {"model": job.model, "track": f"zeroshot:{name}"}
                frames.append(rows_of(frame["item"], scores, **common))
            frames += supervised(job, problem, blocks, pretrain, finetune, record)
            key = f"accessibility_auroc/{pretrain}/{finetune}"
            record.setdefault("chosen", {})[key] = start.model.valid_auroc
    return answer(job, frames, record)


def context_changes(job: Job, frame: pd.DataFrame) -> variant_context.Changes:
    """Return what the variants change in the sites, activities and openness of a cell type."""
    reference, alternative = (
        variant_context.site_margins(sequences, job.motifs)
        for sequences in alleles_on_one_end(frame)
    )
    return variant_context.changes(job.context, frame, reference, alternative)


def alleles_on_one_end(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the windows of both alleles, cut where motifs must not count bases beside an indel."""
    shift = [length_change(*alleles) for alleles in zip(frame["ref"], frame["alt"], strict=True)]
    return variant_scores.on_one_end(
        frame["sequence"].tolist(), frame["alternative"].tolist(), shift
    )


def with_median(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the values, the median of the others in the place of NaN, and how many were NaN.

    Where all are NaN, all are 0.
    """
    unknown = np.isnan(values)
    fill = 0.0 if unknown.all() else float(np.nanmedian(values))
    return np.where(unknown, fill, values), int(unknown.sum())


def nearness(distance: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return minus the logarithm of each distance to a TSS, and how many are unknown.

    An unknown distance reads as the median; where all are, the model is constant (AUROC 0.5).
    """
    known, unknown = with_median(distance)
    if unknown == len(distance):
        log.warning("no variant has a tss_distance: the model tss-distance is constant")
    return -np.log1p(np.abs(known)), unknown


def score_variants(
    job: Job, start: Start, frame: pd.DataFrame, info: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.float64]], Features]:
    """Return the zero-shot scores of one seed and its features for the supervised track.

    Where the label has no direction, scores are absolute: a variant may act by gain or by loss.
    """
    reference, alternative = frame["sequence"].tolist(), frame["alternative"].tolist()
    if job.model == "motif-lr":  # networks and k-mers read windows of one length
        reference, alternative = alleles_on_one_end(frame)
    ref_features, ref_open = start.model(reference)
    alt_features, alt_open = start.model(alternative)
    delta = alt_open - ref_open
    named = variant_scores.in_cell_type(delta, start.model.cell_types, frame["cell_type"].tolist())
    signed = info.get("label") == "effect"
    tracks = {"accessibility": named if signed else np.abs(named)}
    if job.model == "gc":
        return tracks, Features(plain=sequence_change(reference, alternative))
    # peaks of the cell type are known, so all models are given the openness of the locus
    open_N2 = variant_context.locus_openness(job.context, frame)
    sizes = np.column_stack([delta, named, np.abs(delta), np.abs(named)])
    where_open = np.column_stack([named, np.abs(named), np.abs(delta).max(axis=1)]) * open_N2[:, 1:]
    plain = np.hstack([sizes, where_open, open_N2])
    if job.model == "motif-lr":
        tracks["motif"] = variant_scores.row_distance(ref_features, alt_features)
    if start.encoders is None and job.model != "cnn":
        return tracks, Features(plain=plain)
    tracks["embedding"] = variant_scores.row_distance(ref_features, alt_features)
    # without MGM nobody trained the head that is read
    if start.encoders is not None and start.encoders.trained_on("mgm"):
        ratio = variant_scores.log_likelihood_ratio(
            start.encoders, features.encode_all(reference), features.encode_all(alternative)
        )
        if not signed:
            ratio = -ratio if info.get("direction") == "loss" else np.abs(ratio)
        tracks["llr"] = ratio
    return tracks, Features(plain=plain, reduced=alt_features - ref_features)


def supervised(
    job: Job,
    problem: Problem,
    blocks: Features,
    pretrain_seed: int,
    finetune_seed: int,
    record: dict[str, Any],
) -> list[pd.DataFrame]:
    """Return the rows of the supervised track of one seed, and note what was chosen."""
    found = variant_models.leave_out(problem, blocks)
    record["grid"] = [{"C": c} for c in variant_models.STRENGTHS]
    record["left_out"] = problem.left_out
    record["n_parameters"] = blocks.count() + 1
    record.setdefault("chosen", {})[f"C/{pretrain_seed}/{finetune_seed}"] = found.chosen
    common: dict[str, Any] = {
        "model": job.model,
        "track": "supervised",
        "pretrain_seed": pretrain_seed,
        "finetune_seed": finetune_seed,
    }
    rows = [rows_of(problem.items, found.test, **common)]
    known = np.isfinite(found.valid)
    if known.any():
        rows.append(rows_of(problem.items[known], found.valid[known], split="valid", **common))
    return rows


def predict_cohort(job: Job) -> Result:
    """Score the people of a cohort with one model, by nested cross-validation.

    Tracks: ``''`` (5 stratified folds) and, with two or more populations, ``lopo`` (each
    population scored by a model fitted on the others). Copies and close relatives are left out
    together.

    Raises
    ------
    InputError
        If the model is unknown, or an input is damaged.
    """
    frame, info = read_dataset(job.dataset, job.description)
    cohort = read_cohort(job.cohort, job.dataset)
    names = ("labels", "covariates", "dosage", "cluster")
    people = cm.People(*(cohort[name] for name in names))
    samples, population = cohort["samples"], cohort["population"]
    frames: list[pd.DataFrame] = []
    record: dict[str, Any] = {"n_train": len(samples) * (cm.OUTER_FOLDS - 1) // cm.OUTER_FOLDS}
    places = np.unique(population, return_inverse=True)[1]
    can_leave = cm.can_leave_out(places, people)
    if job.model == "oracle":
        scores = oracle_scores(cohort["oracle"], job.cohort[0])
        odds = np.log(np.clip(scores, 1e-9, None) / np.clip(1 - scores, 1e-9, None))
        means = np.bincount(places, odds) / np.bincount(places)
        tracks = {"": scores, "lopo": cm.sigmoid(odds - means[places])}
        for track in tracks if can_leave else ("",):
            for split in ("valid", "test"):
                frames.append(
                    rows_of(samples, tracks[track], model=job.model, track=track, split=split)
                )
        return answer(job, frames, record)
    record["grid"] = [point.to_dict() for point in cm.grid(job.model != "covariates")]
    for seed, draws, x in cohort_designs(job, frame, cohort, info.get("features", cm.OPENNESS)):
        for draw in draws:
            key = [job.seed, 7201, draw]
            folds = cm.stratified_folds(people.labels, people.cluster, cm.OUTER_FOLDS, key)
            seeds: dict[str, Any] = {"pretrain_seed": seed, "finetune_seed": draw}
            for track, outer in (("", folds), ("lopo", places)):
                if track == "lopo" and not can_leave:
                    continue
                parts = cm.make_folds(x, people, outer)
                found = cm.nested(parts, [job.seed, 7202, draw], centre=track == "lopo")
                common = {"model": job.model, "track": track, **seeds}
                frames.append(rows_of(samples, found.test, **common))
                known = np.isfinite(found.valid)
                frames.append(rows_of(samples[known], found.valid[known], split="valid", **common))
                name = f"{track or 'folds'}/{seed}/{draw}"
                record.setdefault("chosen", {})[name] = [c.to_dict() for c in found.chosen]
                if "permutation" not in record:
                    record["permutation"] = cm.permutation_control(parts, [job.seed, 7203])
                    record["n_parameters"] = 0 if x is None else int(x.shape[1])
    return answer(job, frames, record)


def read_cohort(paths: Sequence[str], dataset: str) -> dict[str, NDArray[Any]]:
    """Read ``cohort.npz``.

    Raises
    ------
    InputError
        If there is none or it is damaged.
    """
    if len(paths) != 1:
        raise InputError("a cohort needs one cohort.npz", file=dataset, found=list(paths))
    with (
        reading(paths[0], "cannot be read as a cohort", KeyError, BadZipFile),
        np.load(paths[0], allow_pickle=False) as file,
    ):
        return {name: file[name] for name in file.files}


def cohort_designs(
    job: Job, frame: pd.DataFrame, cohort: Mapping[str, NDArray[Any]], features: str = cm.OPENNESS
) -> Iterator[tuple[int, Sequence[int], NDArray[np.float32] | None]]:
    """Yield (pre-training seed, fine-tuning seeds, float32[n, F] or None) of a model's every seed.

    All models see the same variants: those that lie in a region. A fine-tuning seed draws the folds
    of people; that of the network trained here (``cnn``) decides its weights, too.

    Parameters
    ----------
    features : what a model says of a sequence: one of :data:`~genebert.cohort_models.FEATURES`.
    """
    inside = cohort["variant_row"] >= 0
    draws = range(1, int(job.effort.get("finetune_seeds", 1)) + 1)
    if job.model == "covariates":
        yield 0, draws, None
        return
    dosage = cohort["dosage"][:, inside].astype(np.float32)
    dosage[dosage < 0] = np.nan
    if job.model == "dosage-lr":
        yield 0, draws, dosage
        return
    sequences = frame["sequence"].tolist()
    # one strand: many sequences, and the difference of two haplotypes is what counts
    for start in starts(job, both_strands=False):
        embedding, predicted = start.model(sequences)
        if job.model == "dosage-lr-weighted":
            change = (
                predicted[cohort["variant_row"][inside]]
                - predicted[cohort["variant_reference"][inside]]
            )
            weight = np.abs(change).max(axis=1).astype(np.float32)
            yield start.pretrain_seed, draws, dosage * weight
            continue
        part = 1 if features == cm.OPENNESS else 0  # of what a model returns
        rows = np.asarray((embedding, predicted)[part], np.float64)
        if rows.shape[1] > cm.MOST_COLUMNS:
            regions = start.model(openness(job.context.shards, job.seed, AXIS_REGIONS).train)
            rows = cm.reduce_columns(rows, np.asarray(regions[part], np.float64))
        carried = (cohort[name] for name in ("hap_index", "reference_row", "missing"))
        x = cm.haplotype_features(rows, *carried)
        yield start.pretrain_seed, [start.finetune_seed] if job.model == "cnn" else draws, x
