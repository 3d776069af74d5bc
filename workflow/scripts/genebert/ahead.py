"""Make the batch of the next step while a step is taken.

A batch is a pure function of its step, so that who makes it, and when, changes nothing. One thread
is enough: on a CPU it runs beside the step on a core of its own (PyTorch leaves the interpreter's
lock in every operation); on a GPU it queues its kernels on the stream of the step. Where there is
one core the two share it, and nothing is won or lost but the memory of one more batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

import torch

Batch = TypeVar("Batch")


class Ahead(Generic[Batch]):
    """A source of batches that is one step ahead.

    Parameters
    ----------
    make : returns the batch of a step.
    steps : of the run; nothing is made beyond.
    device : of the batches.

    Attributes
    ----------
    seconds : CPU time of the thread that made batches so far (on a GPU: of starting the kernels).
    """

    def __init__(self, make: Callable[[int], Batch], steps: int, device: torch.device) -> None:
        self.make, self.steps, self.device = make, steps, device
        self.seconds = 0.0
        # the thread knows the device alone: it must not keep alive what `make` belongs to
        self._pool = ThreadPoolExecutor(1, "ahead", initializer=_begin, initargs=(device,))
        self._next: tuple[int, Future[Batch]] | None = None

    def _timed(self, step: int) -> Batch:
        started = time.thread_time()
        batch = self.make(step)
        self.seconds += time.thread_time() - started
        return batch

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step, and begin that of the next one."""
        if self._next is not None and self._next[0] == step:
            batch = self._next[1].result()
        else:
            batch = self._pool.submit(self._timed, step).result()
        self._next = None
        if step + 1 < self.steps:
            self._next = step + 1, self._pool.submit(self._timed, step + 1)
        return batch

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread; the batch that is being made is dropped."""
        self._pool.shutdown(cancel_futures=True)


def _begin(device: torch.device) -> None:
    """Choose the device, which is a setting of each thread."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
