"""GeneBERT: regulatory sequence and TF x region matrices, pre-trained together.

The library behind the workflow. It never imports snakemake and can be used from a notebook:
pure functions on arrays at the bottom, files at the edges, torch only where tensors are trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genebert.pretrained import Pretrained

__version__ = "0.1.0"


def load(path: str, **kwargs: Any) -> Pretrained:
    """Load pre-trained encoders, e.g. ``genebert.load("results/pretrain/full")``."""
    from genebert.pretrained import Pretrained

    return Pretrained.load(path, **kwargs)
