"""One process of a pre-training run on toy shards: python pretrain_worker.py OUTPUT STEPS."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from genebert.pretrain import StopFlag, run
from pretrain_toys import toy_block, toy_shards

if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = {"variant": toy_block(log_every=1), "seed": 1, "steps": int(sys.argv[2])}
    output = Path(sys.argv[1])
    sys.exit(run(settings, toy_shards(), output, index_sha256="toy", stop=StopFlag(None)))
