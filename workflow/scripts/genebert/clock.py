"""How fast a run goes: throughput, model-FLOP utilisation, waiting, memory, time to finish.

In: a trainer that makes steps. Out: the figures of every lap, for the log and `metrics.jsonl`.
"""

from __future__ import annotations

import resource
import time
from typing import Any

import torch

from genebert.ahead import Ahead
from genebert.objectives import MGM, MRM, SRM
from genebert.trainer import Trainer

LOG_SECONDS = 10.0
# dense bf16 peak of a device, FLOP/s, by a part of its name; the first that fits counts
PEAKS = {
    "H100 PCIe": 756e12, "H100 NVL": 835e12, "H200 NVL": 835e12,
    "H100": 989.4e12, "H200": 989.4e12, "A100": 312e12,
}  # fmt: skip


class Clock:
    """Throughput, model-FLOP utilisation, waiting for data, memory and time to finish.

    MFU = FLOPs of a step / (seconds * peak of the processes' devices); FLOPs of the sequence
    encoder by ``GeneBert.flops_per_token`` for all tokens, plus ``flops_per_matrix`` for the
    matrices of SRM and MRM. It is left out where the device's peak is not known. Memory is the
    largest the device's allocator held, on a CPU the largest resident size of the process. Waiting
    is the host's time until a batch is there; the sampler's share is the CPU time of the thread
    that makes batches ahead (:class:`~genebert.ahead.Ahead`), which is hidden if a core is free.

    Attributes
    ----------
    formula : one line that says how MFU is computed, with this run's numbers.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        plan, model = trainer.sampler.plan, trainer.model
        self.tokens = plan.batch_size * plan.row_tokens
        hidden = trainer.sampler.layout.single.masking.n_hidden / plan.row_tokens
        share = hidden if MGM in trainer.names else 0.0
        per_token = model.flops_per_token(plan.row_tokens, share)
        sequence = set(trainer.names) - {MRM}
        self.flops = self.tokens * per_token if sequence else 0.0
        halves = 2 * (SRM in trainer.names) + (MRM in trainer.names)  # right and wrong; right ones
        self.flops += halves * plan.batch_size // 2 * model.flops_per_matrix()
        device = trainer.place.device
        self.cuda = device.type == "cuda"
        name = torch.cuda.get_device_name(device) if self.cuda else ""
        self.peak = next((peak for part, peak in PEAKS.items() if part in name), None)
        world = trainer.place.world
        self.formula = (
            f"mfu = {self.flops:.4g} FLOPs of a step / (seconds of a step x {world} x "
            + ("unknown peak of the device" if self.peak is None else f"{self.peak:.4g} FLOP/s")
            + f"); {self.tokens} tokens x {per_token:.4g} FLOPs (6 N + 12 layers x width x row), "
            f"the rest for matrices"
        )
        self.logged = -LOG_SECONDS
        self.source: Ahead[Any] | None = None
        self.start()

    def start(self, source: Ahead[Any] | None = None) -> None:
        """Begin a lap now; ``source`` is what makes the batches from now on."""
        self.source = source or self.source
        self.since, self.step, self.waited = time.perf_counter(), self.trainer.step, 0.0
        self.sampled = self.source.seconds if self.source else 0.0

    def skip(self) -> None:
        """Leave what happened since the last report out of the next lap."""
        self.start()

    def waiting(self) -> Waiting:
        """Return a context whose time counts as waiting for data (host time)."""
        return Waiting(self)

    def due(self, last: bool) -> bool:
        """Whether it is time for a line in the log."""
        if not last and time.monotonic() - self.logged < LOG_SECONDS:
            return False
        self.logged = time.monotonic()
        return True

    def lap(self, step: int) -> dict[str, float]:
        """Return the figures since the last lap and begin a new one."""
        if self.cuda:
            torch.cuda.synchronize()
        seconds = max(time.perf_counter() - self.since, 1e-9)
        n = max(step - self.step, 1)
        out = {
            "seconds": seconds,
            "tokens_per_second": n * self.tokens / seconds,
            "data_wait_fraction": self.waited / seconds,
            "sampler_fraction": ((self.source.seconds if self.source else 0.0) - self.sampled)
            / seconds,
            "seconds_to_finish": (self.trainer.steps - step) * seconds / n,
        }
        out["tflops"] = n * self.flops / seconds / 1e12
        if self.peak is not None:
            world = self.trainer.place.world
            out["mfu"] = n * self.flops / (seconds * self.peak * world)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux: kB
        out["gpus"] = float(self.trainer.place.world if self.cuda else 0)
        out["memory_gb"] = (torch.cuda.max_memory_allocated() if self.cuda else resident) / 1e9
        self.start()
        self.step = step
        return out


class Waiting:
    """Adds the time inside a ``with`` block to a clock's waiting time."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __enter__(self) -> None:
        """Start."""
        self.entered = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.clock.waited += time.perf_counter() - self.entered
