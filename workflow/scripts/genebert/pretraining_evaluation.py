"""Judge a model on a fixed set of rows: every objective by itself, n1 and n2 of SRM apart.

The set is drawn once from a population (validation chromosomes with training cell types, or with
held-out ones) and never depends on the run's seed, so that runs can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genebert import probes
from genebert.column_masking import hidden_columns
from genebert.metrics import auroc
from genebert.objectives import MGM, MOTIF, MRM, NGSP, SRM, accuracy, nucleotide_loss
from genebert.population import Population
from genebert.rng import fold, permute
from genebert.sampler import N1, N2, Rows, Sampler
from genebert.tokens import MASK
from genebert.trainer import Losses

EVALUATION_SEED = 20_211_005
CHUNK = 64
PROBE_VISITS, PROBE_EPOCHS = 10_000, 8


@dataclass(frozen=True)
class FixedSet:
    """Loci on which models are judged.

    Attributes
    ----------
    name : "valid" or "held_out".
    sampler : of the population, with the seed of evaluation.
    loci : int64[n], region ids, for all but n2.
    pair_loci : int64[m], for n2.
    epoch : the draw; sets of different epochs differ.
    """

    name: str
    sampler: Sampler
    loci: Tensor
    pair_loci: Tensor
    epoch: int = 0

    @classmethod
    def of(cls, name: str, population: Population, n: int, epoch: int = 0) -> FixedSet:
        """Draw n loci of each kind (all, if there are fewer) of a population, keyed."""
        plan = replace(population.plan, seed=EVALUATION_SEED, srm_loss="bce")

        def draw(loci: Tensor) -> Tensor:
            total = loci.numel()
            order = permute(torch.arange(min(n, total)), total, fold(EVALUATION_SEED, epoch))
            return loci[order.to(loci.device)]

        sampler = Sampler(replace(population, plan=plan))
        return cls(name, sampler, draw(population.loci), draw(population.pair_loci), epoch)

    def chunks(self, contrast: int, follows: bool = True) -> Iterator[Rows]:
        """Yield rows of CHUNK loci at a time; whether partners follow A changes nothing else."""
        loci = self.pair_loci if contrast == N2 else self.loci
        for at in range(0, loci.numel(), CHUNK):
            locus = loci[at : at + CHUNK]
            epoch = torch.full_like(locus, self.epoch)
            kind, next_ = torch.full_like(locus, contrast), torch.full_like(locus, follows).bool()
            yield self.sampler.rows(locus, epoch, kind, locus, epoch, next_)

    def mismatches(self) -> dict[str, NDArray[np.int64]]:
        """Return how badly the set's negatives are matched (:func:`~genebert.sampler.mismatch`).

        Under NGSP B- beside B+, in GC and breadth; under SRM the other locus of n1 beside A, in GC,
        breadth and motif count; int64[n] each.
        """
        sampler = self.sampler
        found: dict[str, list[Tensor]] = {NGSP: [], SRM: []}
        for true, false in zip(self.chunks(N1), self.chunks(N1, follows=False), strict=True):
            B = true.partner, false.partner[:, None]
            found[NGSP].append(sampler.mismatches(NGSP, B[1], B[0]))
            if true.place is not None:
                other = true.place[true.anchor.numel() :, None]
                fair = true.contrast == N1
                found[SRM].append(sampler.mismatches(SRM, other, true.anchor)[fair])
        return {name: torch.cat(x)[:, 0].cpu().numpy() for name, x in found.items() if x}

    def probe_data(self) -> tuple[probes.Pairs | None, probes.Partners]:
        """Return what the probes see of the set."""
        pairs, partners = [], []
        population = self.sampler.population
        matches = SRM in population.plan.objectives
        for rows in self.chunks(N1):
            partners.append(probes.partners_of(population, rows))
            if matches:
                pairs.append(probes.pairs_of(population, rows).of_contrast(N1))
        apart = self.chunks(N1, follows=False)
        partners += [probes.partners_of(population, rows) for rows in apart]
        if matches:
            every = (probes.pairs_of(population, rows) for rows in self.chunks(N2))
            pairs += [found.of_contrast(N2) for found in every]
        return probes.join(pairs) if pairs else None, probes.join(partners)


def probe_training(population: Population) -> tuple[probes.Pairs | None, probes.Partners]:
    """Return what the probes are fitted on: PROBE_VISITS visits to a population's loci.

    A locus is visited in PROBE_EPOCHS epochs at most, each time with another cell type or partner.
    """
    epochs = min(PROBE_EPOCHS, -(-PROBE_VISITS // population.loci.numel()))
    each = -(-PROBE_VISITS // epochs)
    draws = [
        FixedSet.of("train", population, each, epoch).probe_data()
        for epoch in range(1, epochs + 1)  # 0 is that of the sets on which models are judged
    ]
    pairs = [found for found, _ in draws if found is not None]
    return probes.join(pairs) if pairs else None, probes.join([found for _, found in draws])


def _numpy(parts: list[Tensor]) -> NDArray[np.float64]:
    return torch.cat(parts).double().cpu().numpy() if parts else np.zeros(0)


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]  # logits of right and of wrong rows


@dataclass(frozen=True)
class Answers:
    """What a model says of every row of a fixed set; parts of objectives that are off are empty.

    Attributes
    ----------
    loss, weight, repeat, masked : float64[hidden bases], MGM; masked: 1 where the token that a base
        is predicted from is MASK, 0 where the span was kept or replaced and the token shows a base.
    next_ : logits of the partners that follow and of those that do not, locus by locus.
    match : for N1 and N2, logits of the matrices that match and of those that do not.
    foreign : the same matrices beside the sequence of another locus of the set: a model that
        matches the two, and does not judge matrices by themselves, is at chance there.
    errors : for MRM and MOTIF, (error, spread), each float64[rows]: squared error of the cells that
        were asked for, and their squared distance from the mean of all such cells of the motif.
    """

    loss: NDArray[np.float64]
    weight: NDArray[np.float64]
    repeat: NDArray[np.float64]
    masked: NDArray[np.float64]
    next_: Pair
    match: dict[int, Pair]
    foreign: dict[int, Pair]
    errors: dict[str, Pair]


@torch.no_grad()
def ask(losses: Losses, fixed: FixedSet, bf16: bool = False) -> Answers:
    """Put the rows of a fixed set to a model."""
    model, names = losses.model, losses.objectives
    was_training = model.training
    model.eval()
    hidden: list[list[Tensor]] = [[], [], [], []]
    next_: list[tuple[Tensor, Tensor]] = []
    vectors: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {N1: [], N2: []}
    match: dict[int, Pair] = {}
    foreign: dict[int, Pair] = {}
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    read: list[tuple[Tensor, Tensor]] = []
    apart = fixed.chunks(N1, follows=False)
    with torch.autocast(fixed.loci.device.type, dtype=torch.bfloat16, enabled=bf16):
        for rows in fixed.chunks(N1):
            S = rows.anchor.numel()
            if MRM in names:
                columns.append(hidden_cells(losses, fixed, rows))
            if names == (MRM,):
                continue
            x_BTD = model.sequence(rows.ids)
            if MGM in names:
                index = rows.index[:, :, None].expand(-1, -1, x_BTD.shape[-1])
                logits = model.mgm(x_BTD.gather(1, index), rows.offset)
                loss = nucleotide_loss(logits, rows.target, rows.weight)
                masked = rows.ids.gather(1, rows.index) == MASK
                values = (loss, rows.weight, rows.repeat, masked)
                for store, value in zip(hidden, values, strict=True):
                    store.append(value.flatten())
            if NGSP in names:
                y_PTD = model.sequence(next(apart).ids[S:])
                next_.append((model.ngsp(x_BTD[S:, 0]), model.ngsp(y_PTD[:, 0])))
            e_SD = model.sequence.pool(x_BTD[:S])
            if MOTIF in names:
                assert rows.motif is not None
                read.append((model.motif(e_SD).float(), rows.motif))
            if SRM in names:
                vectors[N1].append(pair_vectors(losses, e_SD, rows, N1))
        if SRM in names:
            for rows in fixed.chunks(N2):
                e_SD = model.embed_sequence(rows.ids[: rows.anchor.numel()])
                vectors[N2].append(pair_vectors(losses, e_SD, rows, N2))
        for contrast, parts in vectors.items():
            match[contrast], foreign[contrast] = match_logits(losses, parts)
    model.train(was_training)
    errors = {MRM: _errors(columns)} if columns else {}
    if read:
        found_NM, true_NM = (torch.cat(list(part)) for part in zip(*read, strict=True))
        guesses = (found_NM, true_NM.mean(dim=0))
        error, spread = (_numpy([(g - true_NM).square().mean(dim=1)]) for g in guesses)
        errors[MOTIF] = error, spread
    loss_N, weight_N, repeat_N, masked_N = (_numpy(part) for part in hidden)
    return Answers(loss_N, weight_N, repeat_N, masked_N, _pair(next_), match, foreign, errors)


def summary(answers: Answers, names: tuple[str, ...]) -> dict[str, float]:
    """Return the figures of what a model has answered.

    ``mgm`` (nats per hidden base), ``mgm_repeat``, ``mgm_unique`` and ``mgm_masked`` (without the
    spans that are kept or replaced: of these the row shows something); ``ngsp`` (nats),
    ``ngsp_accuracy``, ``ngsp_auroc``; for n1 and n2: ``srm_n1_accuracy``, ``srm_n1_auroc``,
    ``srm_n1_pairs``; ``mrm`` and ``motif`` (mean squared error), ``mrm_r2``, ``motif_r2``.
    Objectives that are off are left out.
    """
    out: dict[str, float] = {}
    if MGM in names:
        for name, weight in (
            ("mgm", answers.weight), ("mgm_repeat", answers.weight * answers.repeat),
            ("mgm_unique", answers.weight * (1 - answers.repeat)),
            ("mgm_masked", answers.weight * answers.masked),
        ):  # fmt: skip
            if weight.sum() > 0:
                out[name] = float(answers.loss[weight > 0].sum() / weight.sum())
    if NGSP in names:
        logit, label = with_labels(answers.next_)
        out["ngsp"] = float(np.logaddexp(0.0, np.where(label, -logit, logit)).mean())
        out["ngsp_accuracy"], out["ngsp_auroc"] = accuracy(logit, label), auroc(label, logit)
    for contrast, name in ((N1, "srm_n1"), (N2, "srm_n2")):
        if SRM in names:
            logit, label = with_labels(answers.match[contrast])
            out[f"{name}_pairs"] = float(label.sum())
            if label.any():
                out[f"{name}_accuracy"] = accuracy(logit, label)
                out[f"{name}_auroc"] = auroc(label, logit)
    for name, (error, spread) in answers.errors.items():
        out[name] = float(error.mean())
        out[f"{name}_r2"] = float(1 - error.sum() / max(spread.sum(), 1e-12))
    return out


def hidden_cells(losses: Losses, fixed: FixedSet, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Return predicted and true cells [S, F, C] of the matching matrices, and what was hidden."""
    assert rows.matrix is not None
    locus, R = rows.anchor, fixed.sampler.plan.neighbours
    epoch = torch.full_like(locus, fixed.epoch)
    hidden_SC = hidden_columns(EVALUATION_SEED, epoch, locus, R, losses.hidden_fraction)
    matrix_SFC = rows.matrix[: locus.numel()]
    state_SF = None if rows.state is None else rows.state[: locus.numel()]
    found_SFC = losses.model.predict_columns(matrix_SFC, hidden_SC, state_SF)
    return found_SFC.float(), matrix_SFC, hidden_SC


def _errors(
    columns: list[tuple[Tensor, Tensor, Tensor]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean squared error and mean squared distance from the features' means, of rows."""
    found, true, hidden_SC = (torch.cat(list(part)) for part in zip(*columns, strict=True))
    mean_F = true.transpose(1, 2)[hidden_SC].mean(dim=0)
    n = hidden_SC.sum(dim=1)

    def of(guess: Tensor) -> NDArray[np.float64]:
        return _numpy([((guess - true).square().mean(dim=1) * hidden_SC).sum(dim=1) / n])

    return of(found), of(mean_F[None, :, None])


def pair_vectors(
    losses: Losses, e_SD: Tensor, rows: Rows, contrast: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the vectors of sequence, right and wrong matrix of the rows that have the contrast."""
    assert rows.matrix is not None
    keep = rows.contrast == contrast
    right_SD, wrong_SD = losses.model.embed_region(rows.matrix, True, rows.state).chunk(2)
    return e_SD[keep], right_SD[keep], wrong_SD[keep]


def match_logits(losses: Losses, parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Pair, Pair]:
    """Return the logits of :func:`pair_vectors`, and with the sequence of another locus each."""
    if not parts:
        return _pair([]), _pair([])
    e_SD, *both = (torch.cat(list(part)) for part in zip(*parts, strict=True))
    other_SD = e_SD.roll(len(e_SD) // 2, dims=0)  # loci come in no order
    own, foreign = (
        [_match_logit(losses, x_SD, r_SD) for r_SD in both] for x_SD in (e_SD, other_SD)
    )
    return _pair([(own[0], own[1])]), _pair([(foreign[0], foreign[1])])


def _match_logit(losses: Losses, e_SD: Tensor, r_SD: Tensor) -> Tensor:
    if losses.infonce:
        similarity = losses.model.srm.similarity(e_SD[:, None], r_SD[:, None])
        return similarity[:, 0, 0] / losses.temperature
    return losses.model.srm(e_SD, r_SD).float()


def _pair(parts: list[tuple[Tensor, Tensor]]) -> Pair:
    """Join the logits of right and of wrong rows."""
    return _numpy([part[0] for part in parts]), _numpy([part[1] for part in parts])


def with_labels(pair: Pair) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the logits of both kinds of rows, right ones first, and their labels."""
    right_N, wrong_N = pair
    label = np.arange(len(right_N) + len(wrong_N)) < len(right_N)
    return np.concatenate([right_N, wrong_N]), label
