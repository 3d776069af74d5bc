"""One optimisation step of pre-training, on one process or as one of several.

:class:`Losses` is the module that is compiled and, with several processes, wrapped for gradient
averaging. :class:`Trainer` owns the weights, the optimizer and the running totals.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genebert.column_masking import HIDDEN_FRACTION, MaskedRows, hidden_columns
from genebert.curriculum import stages
from genebert.errors import InputError, nearest
from genebert.model import GeneBert, ModelConfig
from genebert.objectives import (
    MGM,
    MOTIF,
    MRM,
    NGSP,
    OBJECTIVES,
    SRM,
    binary_loss,
    column_loss,
    infonce_loss,
    motif_loss,
    nucleotide_loss,
    repeat_weights,
)
from genebert.plan import Plan, known_keys, objectives_of
from genebert.sampler import NONE, Rows, Sampler

log = logging.getLogger("genebert")
SCHEDULES = ("wsd", "cosine", "constant")
PRECISIONS = ("auto", "bf16", "float32")
# no buffers are sent before a forward pass: the option by the name that the installed torch knows
_NEW = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
KEEP_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning rate.

    Parameters
    ----------
    region_rate : the region encoder's share of the learning rate. Adam takes steps of the same size
        however weak the signal is, and that of matching is weak: at the full rate the region
        encoder forgets the matrix before it learns to match (docs/choices.md).
    warmup_fraction, decay_fraction : of all steps; wsd is warm-up, stable, linear decay.
    clip : largest norm of the gradient; 0 for none.
    """

    learning_rate: float = 4e-4
    region_rate: float = 0.1
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    decay_fraction: float = 0.2
    schedule: str = "wsd"
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6

    @classmethod
    def from_dict(cls, block: Mapping[str, Any]) -> OptimizerConfig:
        """Read the block ``optimizer``; an unknown key or schedule is an :class:`InputError`."""
        known_keys("optimizer", block, tuple(cls.__dataclass_fields__))
        if block.get("schedule", "wsd") not in SCHEDULES:
            raise InputError(
                "unknown schedule" + nearest(str(block["schedule"]), SCHEDULES),
                file="optimizer.schedule",
                found=block["schedule"],
                expected=", ".join(SCHEDULES),
            )
        return cls(**block)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step (0-based)."""
        warmup = max(1, round(self.warmup_fraction * steps))
        factor = min(1.0, (step + 1) / warmup)
        if self.schedule == "wsd":
            decay = max(1, round(self.decay_fraction * steps))
            factor = min(factor, (steps - step) / decay)
        elif self.schedule == "cosine" and step >= warmup:
            progress = (step - warmup) / max(1, steps - warmup)
            factor = 0.5 * (1.0 + math.cos(math.pi * progress))
        return self.learning_rate * factor


class Losses(nn.Module):
    """The summed loss of each objective over some rows, float32[objectives]; 0 where it is off.

    Parameters
    ----------
    settings : of each objective, by name.
    """

    def __init__(
        self,
        model: GeneBert,
        objectives: tuple[str, ...],
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.model, self.objectives = model, objectives
        self.repeat_weight = float(settings.get(MGM, {}).get("repeat_weight", 1.0))
        self.hidden_fraction = float(settings.get(MRM, {}).get("hidden_fraction", HIDDEN_FRACTION))
        srm = settings.get(SRM, {})
        self.infonce = srm.get("loss", "bce") == "infonce"
        self.temperature = float(srm.get("temperature", 0.07))

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        """Return the sums for the tensors of :class:`~genebert.sampler.Rows`."""
        S = rows["contrast"].shape[0]
        zero = rows["weight"].new_zeros(())
        sums = dict.fromkeys(OBJECTIVES, zero)
        if MRM in self.objectives:
            matrix_SFC = rows["matrix"][:S]
            state_SF = rows["state"][:S] if "state" in rows else None
            found_SFC = self.model.predict_columns(matrix_SFC, rows["hidden"], state_SF)
            sums[MRM] = column_loss(found_SFC, matrix_SFC, rows["hidden"]).sum()
        if self.objectives == (MRM,):
            return torch.stack([sums[name] for name in OBJECTIVES])
        x_BTD = self.model.sequence(rows["ids"])
        if MGM in self.objectives:
            index = rows["index"][:, :, None].expand(-1, -1, x_BTD.shape[-1])
            logits_BH4 = self.model.mgm(x_BTD.gather(1, index), rows["offset"])
            sums[MGM] = nucleotide_loss(logits_BH4, rows["target"], self.weights(rows)).sum()
        if NGSP in self.objectives:
            sums[NGSP] = binary_loss(self.model.ngsp(x_BTD[S:, 0]), rows["follows"]).sum()
        e_SD = self.model.sequence.pool(x_BTD[:S])
        if MOTIF in self.objectives:
            sums[MOTIF] = motif_loss(self.model.motif(e_SD), rows["motif"]).sum()
        if SRM in self.objectives:
            r_ND = self.model.embed_region(rows["matrix"], True, rows.get("state"))
            sums[SRM] = self.match_loss(e_SD, r_ND, rows).sum()
        return torch.stack([sums[name] for name in OBJECTIVES])

    def weights(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Return the weight of every hidden base in MGM, float32[B, H]."""
        return repeat_weights(rows["weight"], rows["repeat"], self.repeat_weight)

    def match_loss(self, e_SD: Tensor, r_ND: Tensor, rows: dict[str, Tensor]) -> Tensor:
        """Return the loss of every row; N = 2 S: matrices that match, then those that do not.

        Each sequence meets a matrix of both labels, so that what the sequence alone seems to say
        cancels in every step. It is 0 for a row without a fair negative (contrast NONE).
        """
        right_SD, wrong_SD = r_ND.chunk(2)
        used_S = rows["contrast"] != NONE
        if not self.infonce:
            yes, no = self.model.srm(e_SD, right_SD), self.model.srm(e_SD, wrong_SD)
            label = torch.ones_like(yes)
            return 0.5 * (binary_loss(yes, label) + binary_loss(no, 1.0 - label)) * used_S
        allowed = rows["allowed"]
        groups, g, D = allowed.shape[0], allowed.shape[1], e_SD.shape[1]
        r_GMD = torch.cat([right_SD.view(groups, g, D), wrong_SD.view(groups, g, D)], dim=1)
        similarity = self.model.srm.similarity(e_SD.view(groups, g, D), r_GMD)
        return infonce_loss(similarity, allowed, self.temperature) * used_S.view(groups, g)


@dataclass(frozen=True)
class Place:
    """Where a process runs: device, and which of how many processes it is."""

    device: torch.device
    rank: int = 0
    world: int = 1


def parameter_groups(model: GeneBert, config: OptimizerConfig) -> list[dict[str, Any]]:
    """Return AdamW's groups of the trained parameters.

    Matrices of linear maps decay, all else does not. Each group has, beside ``params`` and
    ``weight_decay``, its ``share`` of the learning rate: `region_rate` for the region encoder, 1
    for all else.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim == 2 and name.endswith("weight") and "embedding" not in name
            share = config.region_rate if name.startswith("region.") else 1.0
            key = (config.weight_decay if matrix else 0.0, share)
            groups.setdefault(key, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "share": share}
        for (decay, share), parameters in groups.items()
    ]


def micro_batches(plan: Plan, names: Sequence[str], world: int, micro_batch: int | None) -> int:
    """Return how many micro-batches a process makes of its share of a batch.

    Parameters
    ----------
    names : the objectives. world : processes.
    micro_batch : rows of a micro-batch; None: the whole share.

    Raises
    ------
    InputError
        If the batch does not divide.
    """
    B = plan.batch_size
    micro = micro_batch or B // world
    parts, left = divmod(B, micro * world) if micro > 0 else (1, B)
    share = B // 2 // max(1, parts * world)
    infonce = plan.srm_loss == "infonce" and SRM in names
    if left or (B // 2) % (parts * world) or (infonce and share % plan.group):
        raise InputError(
            "batch does not divide",
            file="batch_size",
            found=B,
            expected=f"a multiple of 2 x {world} processes x micro_batch {micro}"
            + (f" in whole groups of {plan.group}" if infonce else ""),
        )
    return parts


class Trainer:
    """Weights, optimizer and totals of a run.

    Parameters
    ----------
    sampler : of the training population.
    block : the merged `pretrain` block.
    steps : of the whole run; fixes the schedule.
    place : device and rank.

    Raises
    ------
    InputError
        If the batch does not divide into processes and micro-batches.
    """

    def __init__(
        self, sampler: Sampler, block: Mapping[str, Any], steps: int, place: Place
    ) -> None:
        self.names, settings = objectives_of(block)
        span = settings.get(MGM, {}).get("span", sampler.plan.span)
        self.stages = stages(sampler, span, steps)
        self.sampler, self.steps, self.place = self.stages[0][1], steps, place
        sampler, plan = self.sampler, self.sampler.plan
        self.optimizer_config = OptimizerConfig.from_dict(block.get("optimizer", {}))
        self.parts = micro_batches(
            self.sampler.plan, self.names, self.place.world, block.get("micro_batch")
        )
        self.step = 0
        config = ModelConfig.from_pretrain(block, sampler.corpus.n_motifs)
        self.model = GeneBert(config, plan.seed).to(place.device)
        self.losses = Losses(self.model, self.names, settings)
        self._freeze_unused()
        config_ = self.optimizer_config
        groups = parameter_groups(self.model, config_)
        self.optimizer = torch.optim.AdamW(
            groups, lr=config_.learning_rate, betas=config_.betas, eps=config_.eps, fused=True
        )
        precision = block.get("precision", "auto")
        if precision not in PRECISIONS:
            raise InputError(
                "unknown option", file="precision", found=precision, expected=", ".join(PRECISIONS)
            )
        on_gpu = place.device.type == "cuda"
        self.bf16 = precision == "bf16" or (precision == "auto" and on_gpu)
        compiled = block.get("compile", "auto")
        self.compiled = on_gpu if compiled == "auto" else bool(compiled)
        self._forward = self._wrapped(self.compiled)
        self._tried = not self.compiled  # whether a compiled pass has gone through
        rows_per_batch = plan.batch_size // 2
        n_hidden = plan.batch_size * sampler.layout.single.masking.n_hidden
        sizes = {name: rows_per_batch for name in OBJECTIVES} | {MGM: n_hidden}
        share = place.world * torch.tensor(
            [settings.get(n, {}).get("weight", 1.0) / sizes[n] for n in OBJECTIVES]
        )
        self.scale = share.to(place.device, torch.float32)
        # per objective: sum of losses, what they are a mean over
        self.totals = torch.zeros(len(OBJECTIVES), 2, dtype=torch.float64, device=place.device)
        # first step in which each loss, or (last) the gradient, was not finite
        n = len(OBJECTIVES) + 1
        self.first_bad = torch.full((n,), -1, dtype=torch.int64, device=place.device)
        self.grad_norm = torch.zeros((), device=place.device)

    def _freeze_unused(self) -> None:
        """Leave parts of the model that no objective reaches as they are.

        Processes average gradients, and would wait for one of each trained weight.
        """
        unused = [name for name in OBJECTIVES if name not in self.names]
        if SRM in unused:
            unused += ["region.out"] if MRM in self.names else ["region", "placeholder"]
        elif self.losses.infonce:  # cosines need neither
            unused += ["srm.dense", "srm.out"]
        if self.names == (MRM,):
            unused.append("sequence")
        for name, parameter in self.model.named_parameters():
            if any(f"{name}.".startswith(f"{part}.") for part in unused):
                parameter.requires_grad_(False)

    def _wrapped(self, compiled: bool) -> Any:
        """Return the callable of a micro-batch."""
        module: Any = self.losses
        if compiled:
            module = torch.compile(module, fullgraph=True, dynamic=False)
        if self.place.world > 1:
            ids = [self.place.device.index] if self.place.device.type == "cuda" else None
            module = DistributedDataParallel(
                module, device_ids=ids, gradient_as_bucket_view=True, **KEEP_BUFFERS
            )
        return module

    def forward(self, rows: Rows) -> Tensor:
        """Return the summed losses of rows, in bf16 autocast where that is on."""
        with torch.autocast(self.place.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return self._forward(rows.tensors())

    def backward(self, rows: Rows) -> Tensor:
        """Add the gradients of rows; return their summed losses, detached."""
        if not self._tried:
            self._tried = True
            self._try_compiled(rows)
        sums = self.forward(rows)
        (sums * self.scale).sum().backward()
        return sums.detach()

    def _try_compiled(self, rows: Rows) -> None:
        """Run a compiled pass, both ways; if it fails in any process, all go on without.

        It is run alone, without averaging, and its gradients are dropped: a process that cannot
        would leave the others waiting for its own.
        """
        error: Exception | None = None
        ddp = isinstance(self._forward, DistributedDataParallel)
        try:
            with self._forward.no_sync() if ddp else nullcontext():
                (self.forward(rows) * self.scale).sum().backward()
        except torch.OutOfMemoryError:
            raise
        except Exception as found:
            error = found
        self.optimizer.zero_grad(set_to_none=True)  # of the first pass of a step
        failed = torch.tensor(int(error is not None), device=self.place.device)
        if self.place.world > 1:
            dist.all_reduce(failed, op=dist.ReduceOp.MAX)
        if not failed:
            return
        what = "in another process"
        if error is not None:
            what = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
        log.warning("torch.compile failed (%s); going on without it", what)
        self.compiled = False
        self._forward = self._wrapped(False)

    def sample(self, step: int) -> list[Rows]:
        """Return the micro-batches of this process in a step."""
        parts, place = self.parts, self.place
        sampler = next(s for first, s in reversed(self.stages) if step >= first)
        out = []
        for part in range(parts):
            share = place.rank * parts + part, place.world * parts
            rows = sampler.batch(step, *share)
            if MRM in self.names:
                locus, epoch, _ = sampler.visits(step, *share)
                S, plan = rows.anchor.numel(), sampler.plan
                fraction = self.losses.hidden_fraction
                hidden = hidden_columns(plan.seed, epoch[:S], locus[:S], plan.neighbours, fraction)
                rows = MaskedRows.of(rows, hidden)
            out.append(rows)
        return out

    def train_step(self, batches: list[Rows]) -> None:
        """Take one optimisation step; nothing here waits for the device."""
        rate = self.optimizer_config.rate(self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        for i, rows in enumerate(batches):
            if isinstance(self._forward, DistributedDataParallel):
                self._forward.require_backward_grad_sync = i + 1 == len(batches)
            self._count(self.backward(rows), rows)
        if self.optimizer_config.clip > 0:
            trained = [p for p in self.model.parameters() if p.requires_grad]
            self.grad_norm = nn.utils.clip_grad_norm_(trained, self.optimizer_config.clip)
            self._note(~torch.isfinite(self.grad_norm)[None], slice(-1, None))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def _count(self, sums: Tensor, rows: Rows) -> None:
        """Add losses to the totals and note the first step in which one is not finite."""
        S, P = rows.contrast.numel(), rows.follows.numel()
        weight = self.losses.weights({"weight": rows.weight, "repeat": rows.repeat})
        total = weight.sum(dtype=torch.float64)
        matched = (rows.contrast != NONE).sum(dtype=torch.float64)
        follow, single = (total.new_full((), n) for n in (P, S))
        counts = [total, follow, matched, single, single]
        self.totals += torch.stack([sums.double(), torch.stack(counts)], dim=1)
        self._note(~torch.isfinite(sums), slice(0, -1))

    def _note(self, bad: Tensor, which: slice) -> None:
        """Keep the first step in which something was not finite."""
        noted = self.first_bad[which]
        self.first_bad[which] = torch.where(bad & (noted < 0), self.step, noted)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": self.totals,
            "grad_norm": self.grad_norm,
        }

    def restore(self, state: Mapping[str, Any], file: object) -> None:
        """Take up a checkpoint.

        Raises
        ------
        InputError
            If it is of a model of another shape.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            text = str(error).splitlines()[-1]
            raise InputError(
                f"checkpoint does not fit the model ({text})", file=str(file)
            ) from None
        self.step = state["step"]
        first = self.place.rank == 0  # totals of all processes were added up when saving
        self.totals = state["totals"].to(self.place.device) * float(first)
        self.grad_norm = state["grad_norm"].to(self.place.device)
