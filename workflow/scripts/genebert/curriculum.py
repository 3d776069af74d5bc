"""The span curriculum of MGM: longer spans are hidden as training goes on.

In: a sampler and `objectives.mgm.span`, a number or a list of (share of the steps, span). Out: the
sampler of every stage. All stages hide the same number of bases of a row, so that shapes and the
scale of the loss stay as they are; a row follows from (seed, epoch, locus) and the stage.
"""

from __future__ import annotations

from dataclasses import replace
from math import lcm

from genebert.errors import InputError
from genebert.masking import Masking
from genebert.objectives import span_stages
from genebert.plan import Plan
from genebert.sampler import Sampler


def stages(sampler: Sampler, span: object, steps: int) -> list[tuple[int, Sampler]]:
    """Return (first step, sampler) of every stage, in order.

    Parameters
    ----------
    sampler : of the whole run.
    span : ``objectives.mgm.span``; for a number the sampler is left as it is, and so is one of
        DNABERT's masking, whose spans have k tokens.
    steps : of the whole run.

    Raises
    ------
    InputError
        If the stages are no shares of 1, or no common number of hidden bases fits a segment.
    """
    wanted = span_stages(span)
    if len(wanted) == 1 or sampler.plan.masking != "span":
        return [(0, sampler)]
    plan, layout = sampler.plan, sampler.layout
    unit = lcm(*(length for _, length in wanted))
    hidden = max(1, round(plan.hidden_fraction * layout.pair.length / unit)) * unit
    if hidden > layout.pair.length // 2:
        raise InputError(
            "no number of hidden bases suits all spans", file="objectives.mgm.span",
            found=f"multiples of {unit} in a segment of {layout.pair.length} bases",
            expected="spans with a smaller common multiple, or longer rows",
        )  # fmt: skip
    out, done = [], 0.0
    for share, length in wanted:
        pair = replace(layout.pair, masking=_masking(plan, hidden, length))
        single = replace(layout.single, masking=_masking(plan, 2 * hidden, length))
        population = replace(
            sampler.population,
            plan=replace(plan, span=length),
            layout=replace(layout, pair=pair, single=single),
        )
        out.append((round(done * steps), Sampler(population)))
        done += share
    return out


def _masking(plan: Plan, hidden: int, span: int) -> Masking:
    return Masking("span", hidden // span, span, plan.masked_share)
