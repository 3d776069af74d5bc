"""MGM beside its Markov reference: what a model knows of hidden bases beyond short-range sequence.

In: a trained model and a fixed set of loci. Out: for every base that no visible token shows, the
model's loss and that of the best Markov chain (:mod:`genebert.markov`), which is given exactly the
bases that the model can read from its row. Spans are hidden as `span` masking hides them, whatever
the model was trained with, so that all variants are asked the same.

What can be seen is read back from the token ids alone: a base is seen if a token that is neither
special nor unknown covers it. All spans are masked here, none is kept or replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genebert import tokens
from genebert.intervals import mean_interval
from genebert.markov import MAX_ORDER, UNSEEN, Chain, word_counts
from genebert.masking import Masking
from genebert.objectives import MGM, nucleotide_loss
from genebert.population import Population
from genebert.pretraining_evaluation import EVALUATION_SEED, FixedSet
from genebert.sampler import N1, Rows, Sampler
from genebert.trainer import Losses

SPANS = (1, 5, 10)
TOLERANCE = 1e-4  # nats
_CHUNK = 4096  # regions that are counted at a time

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def fit_reference(training: Population, validation: Population) -> Chain:
    """Fit chains on the training loci, both strands; choose the order on the validation loci.

    It is the lowest one whose cost of a base, given those before it, is within TOLERANCE of the
    best. The chain is fitted on whole stored sequences, from which crops are taken.
    """
    n = MAX_ORDER + 1
    train, valid = (_counts(population, n) for population in (training, validation))
    chain = Chain.fit(train, valid)
    cost = [chain.of_order(order).entropy(valid) for order in range(1, n)]
    return chain.of_order(1 + int(np.argmax(np.array(cost) <= min(cost) + TOLERANCE)))


def _counts(population: Population, n: int) -> Ints:
    corpus, total = population.corpus, np.zeros(4**n, dtype=np.int64)
    for locus in population.loci.split(_CHUNK):
        codes = corpus.codes(locus, torch.zeros_like(locus), corpus.length)
        total += word_counts(codes.cpu().numpy(), n)
    return total


def seen_bases(ids_Bn: Tensor, k: int, stride: int) -> Tensor:
    """Return uint8[B, L]: the bases that the tokens of segments show, UNSEEN where none does."""
    B, n = ids_Bn.shape
    word_Bn = ids_Bn - tokens.N_SPECIAL
    seen = torch.full(
        (B, tokens.segment_length(n, k, stride)), UNSEEN, dtype=torch.uint8, device=ids_Bn.device
    )
    for j in range(k):
        base = ((word_Bn >> (2 * (k - 1 - j))) & 3).to(torch.uint8)
        place = slice(j, j + (n - 1) * stride + 1, stride)
        seen[:, place] = torch.where(word_Bn >= 0, base, seen[:, place])
    return seen


@dataclass(frozen=True)
class Hidden:
    """Bases that a model was asked for and could not see; n of them.

    Attributes
    ----------
    locus : int64[n], the place of the locus in its set.
    model, reference : float64[n], losses in nats.
    repeat : bool[n], the base is soft-masked.
    n_loci : of the set.
    """

    locus: Ints
    model: Floats
    reference: Floats
    repeat: NDArray[np.bool_]
    n_loci: int

    def sums(self, values: Floats, mask: NDArray[np.bool_]) -> Floats:
        """Return the sum of values over the bases of each locus, float64[n_loci]."""
        sums = np.bincount(self.locus[mask], values[mask], minlength=self.n_loci)
        return np.asarray(sums, dtype=np.float64)


def with_span(fixed: FixedSet, span: int) -> FixedSet:
    """Return the same loci with spans of another length, few enough to leave flanks to be seen.

    A masked base takes all tokens that touch it, so single bases hidden as densely as in training
    would leave hardly a token: here a span has 4 k bases of flanks on average.
    """
    population = fixed.sampler.population
    plan = replace(population.plan, masking="span", span=span, objectives=(MGM,))
    layout = population.layout
    n = max(1, layout.pair.length // (span + 4 * plan.k))
    pair = replace(layout.pair, masking=Masking("span", n, span, masked=1.0))
    single = replace(layout.single, masking=Masking("span", 2 * n, span, masked=1.0))
    layout = replace(layout, pair=pair, single=single)
    sampler = Sampler(replace(population, plan=plan, layout=layout))
    return replace(fixed, sampler=sampler)


@torch.no_grad()
def hidden_bases(losses: Losses, fixed: FixedSet, chain: Chain, bf16: bool = False) -> Hidden:
    """Ask a model and its reference for the hidden bases of a set.

    Parameters
    ----------
    losses : holds the model.
    fixed : from :func:`with_span`.
    """
    model, parts, done = losses.model, [], 0
    was_training = model.training
    model.eval()
    for rows in fixed.chunks(N1):
        with torch.autocast(rows.ids.device.type, dtype=torch.bfloat16, enabled=bf16):
            x_BTD = model.sequence(rows.ids)
            index = rows.index[:, :, None].expand(-1, -1, x_BTD.shape[-1])
            logits = model.mgm(x_BTD.gather(1, index), rows.offset)
        loss_BH = nucleotide_loss(logits, rows.target, rows.weight).cpu().numpy()
        reference_BH, unseen_BH = reference_losses(rows, fixed.sampler, chain)
        S = rows.anchor.numel()
        ask = unseen_BH & (rows.weight > 0).cpu().numpy()
        locus_B = done + np.concatenate([np.arange(S), np.arange(S)])
        locus_BH = np.broadcast_to(locus_B[:, None], ask.shape)
        columns = (locus_BH, loss_BH, reference_BH, rows.repeat.cpu().numpy())
        parts.append([column[ask] for column in columns])
        done += S
    model.train(was_training)
    locus, asked, reference, repeat = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return Hidden(locus, asked.astype(np.float64), reference, repeat.astype(bool), done)


def reference_losses(
    rows: Rows, sampler: Sampler, chain: Chain
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the reference's loss of every hidden base, and whether it cannot be seen: [B, H].

    The two segments of a pair are sequences of their own.
    """
    k, stride, layout = sampler.plan.k, sampler.plan.stride, sampler.layout
    S, n = rows.anchor.numel(), layout.pair.n_tokens
    single, pair = rows.ids[:S, 1:], rows.ids[S:]
    second = pair[:, n + 2 :]
    at_BH = rows.index * stride + rows.offset  # in the segment, but for the tokens before it
    half = at_BH.shape[1] // 2
    loss, unseen = [], []
    for ids, at, target in (
        (single, at_BH[:S] - stride, rows.target[:S]),
        (pair[:, 1 : n + 1], at_BH[S:, :half] - stride, rows.target[S:, :half]),
        (second, at_BH[S:, half:] - stride * (n + 2), rows.target[S:, half:]),
    ):
        seen_BL = seen_bases(ids, k, stride).cpu().numpy()
        place_BH, row = at.cpu().numpy(), np.arange(len(ids))[:, None]
        probability_BH4 = chain.posterior(seen_BL)[row, place_BH]
        base_BH = np.minimum(target.cpu().numpy(), 3)[..., None]
        p = np.take_along_axis(probability_BH4, base_BH, axis=2)[..., 0]
        unknown = seen_BL[row, place_BH] == UNSEEN
        loss.append(-np.log(np.where(unknown, p, 1.0)))
        unseen.append(unknown)

    def join(parts: list[NDArray]) -> NDArray:
        return np.concatenate([parts[0], np.concatenate(parts[1:], axis=1)])

    return join(loss), join(unseen)


def mgm_figures(
    losses: Losses, fixed: FixedSet, chain: Chain, spans: tuple[int, ...], bf16: bool = False
) -> list[dict[str, object]]:
    """Return the figures of MGM on a fixed set: per span length, repeats and the rest apart.

    ``nats`` is the model's loss per hidden base, its reference that of the Markov chain;
    ``nats_minus_markov`` is the paired difference (below 0: the model knows more).
    """
    out: list[dict[str, object]] = []
    for span in spans:
        hidden = hidden_bases(losses, with_span(fixed, span), chain, bf16)
        every = np.ones(len(hidden.locus), dtype=bool)
        for name, mask in (
            ("", every), (":unique", ~hidden.repeat), (":repeat", hidden.repeat)
        ):  # fmt: skip
            weight = hidden.sums(np.ones(len(hidden.locus)), mask)
            reference = mean_interval(hidden.sums(hidden.reference, mask), weight, EVALUATION_SEED)
            difference = hidden.model - hidden.reference
            for metric, values, beside in (
                ("nats", hidden.model, reference.value),
                ("nats_minus_markov", difference, 0.0),
            ):
                estimate = mean_interval(hidden.sums(values, mask), weight, EVALUATION_SEED)
                out.append(
                    {
                        "objective": "mgm", "stratum": f"span-{span}{name}", "metric": metric,
                        "value": estimate.value, "low": estimate.low, "high": estimate.high,
                        "reference": beside, "n": estimate.n,
                    }
                )  # fmt: skip
    return out
