"""The accessibility read-out of pre-trained encoders as a file, fitted once for all uses.

In: encoders and the shards of their run. Out: the ridge regression of
:mod:`genebert.accessibility_head`, which predicts openness in every training cell type.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from genebert.accessibility_head import Floats, Ridge, fit_accessibility, openness
from genebert.disk import sha256
from genebert.errors import InputError, reading
from genebert.features import encode_all
from genebert.pretrained import Pretrained, best_device
from genebert.shards import Shards
from genebert.tensor_files import write_tensors
from genebert.use.names import predicted
from genebert.use.provenance import origin

log = logging.getLogger("genebert")

ARRAYS = ("mean", "scale", "weights", "bias")


@dataclass(frozen=True)
class Head:
    """Predicts openness from an embedding.

    Attributes
    ----------
    ridge : float[n, D] -> float64[n, C].
    cell_types : names of the C columns: the training cell types.
    weights_sha256 : of the encoders that it was fitted on; empty where nobody knows.
    """

    ridge: Ridge
    cell_types: tuple[str, ...]
    weights_sha256: str

    def __call__(self, vectors: Floats) -> NDArray[np.float64]:
        """Return float64[n, C]: predicted openness, nearly 0 to 1."""
        return self.ridge(vectors)

    def columns(self, names: Sequence[str], *, file: str = "cell_types") -> NDArray[np.int64]:
        """Return the columns of some cell types; of all of them if none is named.

        Raises
        ------
        InputError
            If the head was not fitted on one of them, or one is named twice.
        """
        return np.array(predicted(names, self.cell_types, file=file), dtype=np.int64)

    def check(self, encoders: Pretrained) -> None:
        """Raise :class:`InputError` if the head and the encoders are known to differ in weights."""
        known = bool(self.weights_sha256) and encoders.sha256 is not None
        if known and encoders.sha256 != self.weights_sha256:
            raise InputError(
                "the accessibility read-out was fitted on other weights than these encoders",
                file="head",
                found=f"sha256 {self.weights_sha256[:12]}",
                expected=f"{str(encoders.sha256)[:12]}, or the encoders of the read-out's run",
            )

    @classmethod
    def load(cls, path: str | Path, weights: str | Path | None = None) -> Head:
        """Read a head.

        Parameters
        ----------
        weights : of the encoders that it is to be used with.

        Raises
        ------
        InputError
            If it is none, or was fitted on other weights.
        """
        with (
            reading(path, "is no accessibility read-out", SafetensorError, TypeError, KeyError),
            safe_open(path, framework="np") as file,
        ):
            record = json.loads(file.metadata()["genebert"])
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        if weights is not None and record["weights_sha256"] != sha256(weights):
            raise InputError(
                "was fitted on other weights", file=path, found=record["weights"], expected=weights
            )
        ridge = Ridge(**arrays, alpha=float(record["alpha"]))
        return cls(ridge, tuple(record["cell_types"]), record["weights_sha256"])


def fit_head(
    *, weights: str, shards: str, head: str, seed: int, threads: int, limit: int | None = None
) -> None:
    """Fit the read-out on training regions and training cell types, and write it.

    Parameters
    ----------
    weights : ``model.safetensors``, ``config.json`` beside it.
    shards : ``index.json`` of the run that trained it.
    head : output, safetensors.
    seed : of the draw of regions. limit : regions at most.

    Raises
    ------
    InputError
        If weights and shards do not fit each other.
    """
    from genebert.finetune import check_motifs

    encoders, opened = load_encoders(weights, threads), Shards.open(shards)
    check_motifs(encoders, opened.motifs, shards)
    data = openness(opened, seed) if limit is None else openness(opened, seed, limit)
    log.info("embedding %d regions for the accessibility read-out", len(data.train + data.valid))
    model = fit_accessibility(
        lambda some: encoders.embed_sequences(encode_all(some), both_strands=True), data
    )
    assert isinstance(model.head, Ridge)
    record = origin(
        weights,
        cell_types=list(model.cell_types),
        alpha=model.alpha,
        valid_auroc=model.valid_auroc,
        regions=[len(data.train), len(data.valid)],
    )
    arrays = {name: getattr(model.head, name) for name in ARRAYS}
    write_tensors(head, arrays, genebert=json.dumps(record, sort_keys=True))


def load_encoders(weights: str | Path, threads: int) -> Pretrained:
    """Load the encoders whose ``model.safetensors`` is given, on a GPU if there is one."""
    return Pretrained.load(Path(weights).parent, device=str(best_device(threads)))
