"""Short runs of pre-training on toy shards, as a whole program makes them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from genebert import pretrain
from genebert.pretrain import StopFlag, run
from genebert.trainer import Place
from pretrain_toys import toy_block, toy_shards

CPU = Place(torch.device("cpu"))
SHARDS = toy_shards()


def settings_of(steps=12, seed=1, **changes):
    return {"variant": toy_block(**changes), "seed": seed, "steps": steps, "index": "index.json"}


def go(output, stop=None, shards=SHARDS, windows=None, **kwargs):
    stop = StopFlag(None) if stop is None else stop
    return run(
        settings_of(**kwargs), shards, Path(output), index_sha256="x", stop=stop, windows=windows
    )


def made_run(output, **kwargs):
    settings = settings_of(**kwargs)
    return pretrain.Run(settings, SHARDS, Path(output), pretrain.identity(settings, "x"), CPU)


def rows_of(output):
    rows = [json.loads(line) for line in (Path(output) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "timing"} for row in rows]
