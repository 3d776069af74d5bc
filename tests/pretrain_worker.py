"""One process of a pre-training run on toy shards: python pretrain_worker.py OUTPUT STEPS LOSS.

With a fourth argument, ``judging``, the process that judges the model is sent SIGTERM by then;
with ``uncompilable``, one of the processes cannot compile the model.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import torch

from genebert import pretrain
from genebert.pretrain import StopFlag, run
from pretrain_toys import toy_block, toy_shards


def objectives(loss):
    """Return all three objectives, SRM with ``loss`` in groups that two processes can share."""
    return {"mgm": {}, "ngsp": {}, "srm": {"loss": loss, "group": 4}}


class Uncompilable(torch.nn.Module):
    """What `torch.compile` returns where the first pass will fail."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, rows):
        raise RuntimeError("no compiler")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)
    output, steps, loss = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    block = toy_block(log_every=1, objectives=objectives(loss))
    settings = {"variant": block, "seed": 1, "steps": steps}
    stop = StopFlag(None)
    stop.listen()
    if sys.argv[4:] == ["judging"]:
        pretrain.final_rows = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    if sys.argv[4:] == ["uncompilable"]:
        settings["variant"]["compile"] = True
        fails = os.environ["RANK"] == "1"
        torch.compile = lambda module, **_: Uncompilable(module) if fails else module
    sys.exit(run(settings, toy_shards(), output, index_sha256="toy", stop=stop))
