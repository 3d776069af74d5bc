"""What `snakemake check` says of the settings of pre-training: rows, batches, neighbours.

In: the configuration and, where the peaks are known, how many regions the cell types can have open.
Out: findings. Nothing is ruled here: training's own functions are called, on regions without bases.
It is the one part of the check that needs torch, and is imported where there is torch only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genebert import layout
from genebert.checks.finding import Finding
from genebert.curriculum import stages
from genebert.errors import InputError
from genebert.model import ModelConfig
from genebert.objectives import MGM
from genebert.plan import Plan, objectives_of
from genebert.population import background_population, build_population, check_neighbours
from genebert.sampler import Sampler
from genebert.samples import TRAIN, Corpus, View
from genebert.trainer import OptimizerConfig, micro_batches
from genebert.use.sources import OWN

MANY = 1000  # regions that are made up at most, or twice the neighbours


def made_up(config: Mapping[str, Any], regions: int) -> Corpus:
    """Return training regions of the configured width, all open in one cell type, far apart."""
    width, flank = config["regions"]["width"], config["shards"]["flank"]
    length, n = width + 2 * flank, torch.zeros(regions, dtype=torch.int64)
    empty = torch.zeros(regions, 0, dtype=torch.uint8)
    no = torch.zeros(regions, dtype=torch.bool)
    return Corpus(
        packed=empty, n_mask=empty, repeat_mask=empty,
        motif_rows=torch.zeros(regions, 1, dtype=torch.float16), normaliser=torch.ones(1),
        contig=n, start=torch.arange(regions) * 8 * length, breadth=n + 1, motif_count=n,
        gc=n.float(), repeat=n.float(), split=n + TRAIN, held_out_only=no,
        held_out=torch.zeros(1, dtype=torch.bool), cells=("the richest",), contigs=("one",),
        width=width, flank=flank, length=length,
        _indptr=np.array([0, regions]), _open=np.arange(regions),
        _strengths=np.ones(regions, dtype=np.float32),
    )  # fmt: skip


def check_rows(config: Mapping[str, Any], block: Mapping[str, Any]) -> Plan:
    """Return the plan of a variant, whose rows and batches training would take.

    Parameters
    ----------
    block : the merged ``pretrain`` block.

    Raises
    ------
    InputError
        What training would say.
    """
    plan, steps = Plan.from_pretrain(block, config["seed"]), config["effort"]["pretrain_steps"]
    ModelConfig.from_pretrain(block, n_motifs=1)
    OptimizerConfig.from_dict(block.get("optimizer", {}))
    sampler = Sampler(background_population(made_up(config, 0), plan))
    names, settings = objectives_of(block)
    span = settings.get(MGM, {}).get("span", plan.span)
    first = stages(sampler, span, steps)[0][1].plan
    micro_batches(first, names, block.get("processes", 1), block.get("micro_batch"))
    return plan


def check_regions(
    config: Mapping[str, Any], plan: Plan, names: Sequence[str], counts: NDArray[np.int64]
) -> None:
    """Raise the :class:`InputError` of training if cell types have too few regions.

    Parameters
    ----------
    names : C training cell types. counts : int64[C, contigs], of :mod:`genebert.checks.peaks`.
    """
    block = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    none = torch.zeros(0, dtype=torch.int64)
    view = View(none, none, none.float(), block, counts.shape[1])
    corpus = replace(made_up(config, 0), cells=tuple(names))
    check_neighbours(corpus, view, np.arange(len(names)), plan.neighbours)
    most = min(int(counts.max()), max(MANY, 2 * plan.neighbours))
    build_population(made_up(config, most), plan.for_evaluation(), TRAIN, "training")


def check(
    config: Mapping[str, Any], names: Sequence[str] = (), counts: NDArray[np.int64] | None = None
) -> Iterator[Finding]:
    """Yield what training would refuse of every variant.

    Parameters
    ----------
    names, counts : see :func:`check_regions`; counts of none, or None, where they are not known.
    """
    rows = [row["name"] for row in config["pretrain"]["variants"]]
    parts = Path(config["pretrained"]).parts
    run = {*config["effort"]["variants"], *(parts[2:3] if parts[:2] == OWN else ())}
    wrong: dict[str, list[str]] = {}
    for name in rows:
        try:
            plan = check_rows(config, layout.pretrain_settings(config, name))
            if counts is not None and len(counts):
                check_regions(config, plan, names, counts)
        except InputError as error:
            wrong.setdefault(str(error), []).append(name)
    for text, variants in wrong.items():
        level = "error" if run & set(variants) else "warn"
        advice = "" if level == "error" else "mend it before this variant is run"
        yield Finding(level, "pretrain", f"{', '.join(variants)}: pretrain.{text}", advice)
    if not wrong:
        yield Finding("ok", "pretrain", f"rows and batches fit: {', '.join(rows)}")
