"""Fine-tune a network on a dataset: one trainer for genebert, its variants, scratch and the CNN.

In: a :class:`genebert.items.Job`. Out: (rows of predictions, what was fitted). All networks get the
same grid of learning rates, steps, batches, order of items and choice of the best step on
validation data; each is reported at its own best learning rate. The region branch is on where the
dataset has cell types and pre-training trained it (or, for scratch, could have).

Run as a program with the arguments of :func:`genebert.predict.predict` in a JSON file::

    python finetune.py --config FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a program: import the package that this file lies in
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import json
import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genebert import finetuned
from genebert.baselines import best_logistic, subsets
from genebert.classifier import (
    Classifier,
    Inputs,
    Network,
    Places,
    embed_items,
    embed_places,
    infer,
    place_matrices,
    sequence_inputs,
)
from genebert.context import least_alike
from genebert.errors import InputError, reading
from genebert.items import (
    Items,
    Job,
    Result,
    Subset,
    is_collapsed,
    prediction_rows,
    selection_score,
)
from genebert.model import ModelConfig
from genebert.pretrained import Pretrained, best_device
from genebert.progress import Progress
from genebert.samples import Corpus, View

log = logging.getLogger("genebert")

LOOKS = 10  # looks at the validation data in a run, if they are at least LOOK_STEPS apart
LOOK_STEPS = 20
PATIENCE = 4  # looks without a better score before a run ends
WARMUP = 0.1  # share of the steps
WEIGHT_DECAY = 0.01
CLIP = 1.0
MAX_VALID = 2000  # validation items looked at during a run; all of them are predicted at its end

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """How a run is trained."""

    rate: float
    steps: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Run:
    """A trained network at its best step, and how it did on validation data."""

    network: Network
    valid: float
    step: int


def item_loss(logits_BK: Tensor, target_B: Tensor, group_B: Tensor, multiclass: bool) -> Tensor:
    """Return the mean cross-entropy: of the classes, or of each item's own group."""
    if multiclass:
        return nn.functional.cross_entropy(logits_BK, target_B.long())
    own_B = logits_BK.gather(1, group_B[:, None]).squeeze(1)
    return nn.functional.binary_cross_entropy_with_logits(own_B, target_B)


def learning_rate(step: int, steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then a cosine to zero."""
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def batches(rows: Ints, settings: Settings) -> Iterator[tuple[Tensor, int]]:
    """Yield (item rows int64[B], random word) of every step; passes over shuffled rows."""
    rng = np.random.default_rng([settings.seed, 1])
    size = min(settings.batch, len(rows))
    queue = np.zeros(0, dtype=np.int64)
    for _ in range(settings.steps):
        while len(queue) < size:
            queue = np.concatenate([queue, rng.permutation(rows)])
        yield torch.from_numpy(queue[:size].copy()), int(rng.integers(2**31))
        queue = queue[size:]


def make_optimizer(network: nn.Module, rate: float) -> torch.optim.AdamW:
    """Return AdamW; only matrices decay."""
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() > 1]
    vectors = [p for p in trained if p.dim() <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )


def train(network: Network, inputs: Inputs, items: Items, rows: Ints, settings: Settings) -> Run:
    """Train on some items and keep the state that scores best on the validation items.

    The same (network, rows, settings, number of threads) gives the same weights. No global random
    state is changed.

    Parameters
    ----------
    network : a :class:`Network`; is changed.
    rows : int64[n], training items.
    """
    valid = looked_at(items.rows("valid"))
    every = max(LOOK_STEPS, -(-settings.steps // LOOKS))
    optimizer = make_optimizer(network, settings.rate)
    best, best_step, since = -1.0, 0, 0
    state: dict[str, Tensor] = {}
    told = Progress("fitting", settings.steps, "steps")
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        for step, (batch, word) in enumerate(batches(rows, settings)):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * learning_rate(step, settings.steps)
            network.train()
            loss = batch_loss(
                network, inputs, batch.to(inputs.target.device), word, items.multiclass
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            told.at(step + 1)
            if (step + 1) % every and step + 1 != settings.steps:
                continue
            vectors = embed_items(network, inputs, valid, strands=1)
            score = infer(network, inputs, items, valid, vectors)
            value = selection_score(items, valid, score)
            since += 1
            if value > best:
                best, best_step, since = value, step + 1, 0
                state = {k: v.detach().clone() for k, v in network.state_dict().items()}
            if since >= PATIENCE:
                break
    network.load_state_dict(state)
    return Run(network.eval(), best, best_step)


def looked_at(rows: Ints) -> Ints:
    """Return the validation items that runs look at: MAX_VALID of them, the same for all models.

    A random draw: every so many-th of items that are sorted by place and TF can be of one TF.
    """
    if len(rows) <= MAX_VALID:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_VALID, replace=False))


def batch_loss(
    network: Network, inputs: Inputs, batch: Tensor, word: int, multiclass: bool
) -> Tensor:
    """Return the loss of a batch; each item is read from a random strand where both are there."""
    strands = inputs.sequences.shape[0]
    generator = torch.Generator().manual_seed(word)
    strand = torch.randint(strands, batch.shape, generator=generator).to(batch.device)
    sequence_BD = network.embed_sequence(inputs.sequences[strand, inputs.sequence[batch]])
    region_BD = None
    if inputs.places is not None:
        region_BD = network.embed_region(*inputs.places.of(inputs.places.row[batch]))
    logits_BK = network.logits(sequence_BD, region_BD)
    return item_loss(logits_BK, inputs.target[batch], inputs.group[batch], multiclass)


@dataclass(frozen=True)
class Start:
    """Where the runs of one pre-training seed start from; encoders is None for the CNN."""

    pretrain_seed: int
    encoders: Pretrained | None


def starts(job: Job, device: torch.device) -> list[Start]:
    """Return one start per pre-training seed: loaded, random twins, or none for the CNN.

    Raises
    ------
    InputError
        If a model that needs pre-trained weights has none, or they fit other shards.
    """
    if job.model == "cnn":
        return [Start(0, None)]
    if job.model == "scratch":
        config = ModelConfig.from_pretrain(job.pretrain, len(job.context.shards.motifs))
        return [
            Start(
                number, Pretrained.random(config, random_seed(job.seed, number), device=str(device))
            )
            for number in range(1, int(job.effort.get("pretrain_seeds", 1)) + 1)
        ]
    if not job.weights:
        raise InputError(
            f"model {job.model!r} needs pre-trained weights", file="weights", found="none"
        )
    found = []
    for number, path in enumerate(job.weights, start=1):
        match = re.fullmatch(r"seed-(\d+)", Path(path).parent.name)
        encoders = Pretrained.load(Path(path).parent, device=str(device))
        found.append(Start(int(match[1]) if match else number, encoders))
    return found


def random_seed(seed: int, number: int) -> int:
    """Return the seed of the initial weights of a random twin."""
    return int(np.random.SeedSequence([seed, number, 2]).generate_state(1)[0])


def uses_regions(job: Job, encoders: Pretrained | None) -> bool:
    """Tell whether the region branch is on: the dataset has places, and SRM trained the encoder."""
    if encoders is None or not job.items.info["uses_regions"]:
        return False
    return encoders.trained_on("srm")


def check_motifs(encoders: Pretrained, motifs: Sequence[str], file: str) -> None:
    """Raise :class:`InputError` if the encoder was trained on other motifs, or in other order."""
    known = encoders.record.get("motifs")
    if len(motifs) + 1 != encoders.config.n_features or (known is not None and known != motifs):
        raise InputError(
            "pre-trained weights are for other motifs than the shards",
            file=file,
            found=f"{len(motifs)} motifs",
            expected=f"the {encoders.config.n_features - 1} motifs of pre-training, in their order",
        )


def predict_network(job: Job) -> Result:
    """Fine-tune and predict a network for every seed, learning rate and subset of the labels."""
    tuning = Finetuning(job)
    result = tuning.result()
    if job.fitted and tuning.kept is not None:
        finetuned.write(job.fitted, tuning.kept)
    return result


class Finetuning:
    """The runs of one (dataset, model): inputs made once, a run per seed, rate and subset."""

    def __init__(self, job: Job) -> None:
        self.job, self.items = job, job.items
        self.device = best_device(job.threads)
        self.starts = starts(job, self.device)
        encoders = self.starts[0].encoders
        self.with_regions = uses_regions(job, encoders)
        self.rates = [float(r) for r in job.effort.get("learning_rates", [1e-3])]
        self.corpus: Corpus | None = None
        self.view: View | None = None
        places = None
        if self.with_regions:
            assert encoders is not None
            shards = job.context.shards
            check_motifs(encoders, shards.motifs, job.shards)
            self.corpus = Corpus.from_shards(shards, self.device)
            self.view = self.corpus.view()
            places = self.places(np.arange(len(self.items)), self.items.cell_type)
        self.inputs = Inputs(
            sequences=sequence_inputs(
                self.items, None if encoders is None else encoders.config, self.device
            ),
            sequence=torch.from_numpy(self.items.sequence).to(self.device),
            target=torch.from_numpy(self.items.label).float().to(self.device),
            group=torch.from_numpy(self.items.group).to(self.device),
            places=places,
        )
        self.records: list[dict[str, Any]] = []
        self.frames: list[pd.DataFrame] = []
        self.n_parameters = 0
        self.kept: finetuned.Fitted | None = None

    def places(self, rows: Ints, cell_types: NDArray[np.object_]) -> Places:
        """Return the matrices of some items in given cell types."""
        encoders = self.starts[0].encoders
        assert self.corpus is not None
        assert self.view is not None
        assert encoders is not None
        cells = self.job.context.cells(cell_types)
        return place_matrices(self.corpus, self.view, self.items, cells, rows, encoders)

    def network(self, start: Start, seed: int) -> Network:
        """Return a fresh network; the head's weights depend on ``seed`` only."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if start.encoders is None:
                from genebert.cnn import SequenceCnn

                return SequenceCnn(self.items.n_outputs, self.items.focus).to(self.device)
            return self.classifier(start.encoders)

    def classifier(self, encoders: Pretrained) -> Classifier:
        """Return encoders with a new head."""
        items = self.items
        made = Classifier(encoders, items.n_outputs, self.with_regions, items.focus)
        return made.to(self.device)

    def run(self, start: Start, seed: int, rate: float, subset: Subset) -> Run:
        """Train once. Runs of different models with the same seed see the same batches."""
        effort = self.job.effort
        words = np.random.SeedSequence([self.job.seed, seed, 3]).generate_state(1)
        settings = Settings(
            rate=rate,
            steps=int(effort.get("finetune_steps", 1000)),
            batch=int(effort.get("finetune_batch", 32)),
            seed=int(words[0]),
        )
        done = train(
            self.network(start, settings.seed), self.inputs, self.items, subset.rows, settings
        )
        self.n_parameters = sum(p.numel() for p in done.network.parameters())
        log.info(
            "%s: labels %g, seeds %d and %d, rate %g: validation %.4f at step %d",
            self.job.model, subset.fraction, start.pretrain_seed, seed, rate, done.valid, done.step,
        )  # fmt: skip
        return done

    def best_rate(self, seed: int, subset: Subset) -> tuple[float, dict[int, Run]]:
        """Return the learning rate with the best mean validation score, and its runs by start."""
        best: tuple[float, float, dict[int, Run]] | None = None
        for rate in self.rates:
            runs = {i: self.run(start, seed, rate, subset) for i, start in enumerate(self.starts)}
            value = float(np.mean([run.valid for run in runs.values()]))
            if best is None or value > best[0]:
                best = (value, rate, runs)
        assert best is not None
        return best[1], best[2]

    def result(self) -> Result:
        """Run everything; the rate is chosen with the first seed (or draw) of a label share."""
        effort = self.job.effort
        curve = any(share != 1 for share in effort.get("label_fractions", [1.0]))
        rates: dict[float, float] = {}
        for subset in subsets(self.job):
            n_seeds = int(effort.get("finetune_seeds", 1))
            seeds = [subset.draw] if subset.draw else list(range(1, n_seeds + 1))
            for seed in seeds:
                ready: dict[int, Run] = {}
                if subset.fraction not in rates:
                    rates[subset.fraction], ready = self.best_rate(seed, subset)
                rate = rates[subset.fraction]
                for i, start in enumerate(self.starts):
                    run = ready.get(i) or self.run(start, seed, rate, subset)
                    self.emit(run, start, seed, rate, subset)
            if curve:  # all labels are the end of the curve of frozen encoders
                self.probe(subset)
        info = {
            "grid": [{"learning_rate": rate} for rate in self.rates],
            "chosen": {f"{f:g}": {"learning_rate": rate} for f, rate in rates.items()},
            "collapsed": sum(record["collapsed"] for record in self.records),
            "n_parameters": self.n_parameters,
            "region_branch": self.with_regions,
            "runs": self.records,
        }
        return pd.concat(self.frames, ignore_index=True), info

    def emit(self, run: Run, start: Start, seed: int, rate: float, subset: Subset) -> None:
        """Predict with a finished run, and with the derived models where there are any."""
        rows = self.items.predicted
        if self.kept is None and subset.fraction == 1:
            self.kept = finetuned.keep(self.job, run.network, start.encoders, self.with_regions)
        key: dict[str, Any] = {
            "pretrain_seed": start.pretrain_seed,
            "finetune_seed": seed,
            "fraction": subset.fraction,
        }
        vectors = embed_items(run.network, self.inputs, rows)
        score = infer(run.network, self.inputs, self.items, rows, vectors)
        collapsed = is_collapsed(self.items, rows, score)
        score = np.nan_to_num(score, nan=1 / max(2, score.shape[1]))
        self.frames.append(prediction_rows(self.items, score, model=self.job.model, **key))
        self.records.append(
            {**key, "learning_rate": rate, "valid": run.valid, "step": run.step}
            | {"collapsed": collapsed}
        )
        if self.job.model == "genebert" and self.with_regions and subset.fraction == 1:
            derived = {"genebert-wrongcell": self.wrong_cell}
            if not self.items.multiclass:  # of a closed locus it says 0: there must be one class
                derived["cell-average-pred"] = self.cell_average
            for model, predict in derived.items():
                score = predict(run, vectors)
                self.frames.append(prediction_rows(self.items, score, model=model, **key))

    def wrong_cell(self, run: Run, sequence_SND: Tensor) -> NDArray[np.float64]:
        """Predict with the matrix of the cell type that is least like the item's own."""
        rows = self.items.predicted
        other = least_alike(self.job.context.shards)
        wrong = np.array([other[name] for name in self.items.cell_type[rows]], dtype=object)
        places = self.places(rows, wrong)
        return infer(run.network, self.inputs, self.items, rows, sequence_SND, places)

    def cell_average(self, run: Run, sequence_SND: Tensor) -> NDArray[np.float64]:
        """Mean prediction over the training cell types' matrices; where the locus is closed, 0.

        Where the question is whether it is open (``anchor_hidden``), all of them count.

        The item's own cell type is left out, as in the baseline on observed labels.
        """
        items, context = self.items, self.job.context
        rows = items.predicted
        total, count = np.zeros((len(rows), 1)), np.zeros((len(rows), 1))
        for name in context.training_cells:
            others = np.flatnonzero(items.cell_type[rows] != name)
            count[others] += 1
            cell = context.cells([name] * len(others))
            open_ = others
            if not items.anchor_hidden:
                open_ = others[context.strength(cell, items.region[rows[others]]) > 0]
            if len(open_):
                at = rows[open_]
                places = self.places(at, np.full(len(at), name, dtype=object))
                vectors = sequence_SND[:, torch.from_numpy(open_).to(self.device)]
                total[open_] += infer(run.network, self.inputs, items, at, vectors, places)
        return total / np.maximum(count, 1)

    def probe(self, subset: Subset) -> None:
        """Fit the second few-shot track: a linear regression on the frozen encoders' vectors."""
        for start in self.starts:
            if start.encoders is None:
                continue
            frozen = self.classifier(start.encoders)
            every = np.arange(len(self.items))
            parts = [embed_items(frozen, self.inputs, every).mean(dim=0)]
            if self.inputs.places is not None:
                parts.append(embed_places(frozen, self.inputs.places))
            x = torch.cat(parts, dim=1).cpu().numpy()
            score, _ = best_logistic(self.items, x, subset.rows)
            self.frames.append(
                prediction_rows(
                    self.items,
                    score,
                    model=self.job.model,
                    track="probe",
                    pretrain_seed=start.pretrain_seed,
                    finetune_seed=subset.draw,
                    fraction=subset.fraction,
                )
            )


def main(arguments: list[str] | None = None) -> None:
    """Run :func:`genebert.predict.predict` with the keyword arguments in a JSON file."""
    from genebert.job import setup_log
    from genebert.predict import predict

    parser = argparse.ArgumentParser(description="Fit and predict one model of one dataset.")
    parser.add_argument("--config", required=True, help="JSON: arguments of predict()")
    options = parser.parse_args(arguments)
    setup_log(None)
    try:
        with reading(options.config, "cannot be read as JSON"):
            settings = json.loads(Path(options.config).read_text(encoding="utf-8"))
        predict(**settings)
    except InputError as error:
        log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
