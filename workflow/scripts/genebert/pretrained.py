"""Pre-trained encoders as files: `model.safetensors` and `config.json` in one directory.

encoders = Pretrained.load("results/pretrain/full")
vectors = encoders.embed_sequences(codes)  # uint8[B, L] -> float32[B, D]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from genebert import tokens
from genebert.disk import sha256, whole_file
from genebert.errors import InputError
from genebert.model import GeneBert, ModelConfig
from genebert.model_files import CONFIG, WEIGHTS, model_directory
from genebert.progress import progress
from genebert.tensor_files import write_tensors

VERSION = 1
FORMAT = 1


def best_device(threads: int) -> torch.device:
    """Return a GPU if there is one, else the CPU, of which torch may use so many threads."""
    torch.set_num_threads(threads)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file so that it is there as a whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def save(directory: str | Path, model: GeneBert, **extra: Any) -> None:
    """Write weights, then the configuration, each atomically; `config.json` marks the whole.

    Parameters
    ----------
    directory : is made if needed.
    model : its weights are written as float32 from the CPU.
    extra : plain values that go into `config.json` (objectives, seed, steps, motif names ...).
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.detach().to("cpu", torch.float32).numpy()
        for name, value in model.state_dict().items()
    }
    with whole_file(directory / WEIGHTS) as part:
        write_tensors(part, weights)
    record = {"format": FORMAT, "model": model.config.to_dict(), **extra}
    write_atomic(directory / CONFIG, json.dumps(record, indent=1, sort_keys=True) + "\n")


# rows at a time without gradients; a small batch stays in the CPU's cache (twice as fast)
INFERENCE_BATCH = {"cpu": 32, "cuda": 1024}


@dataclass
class Pretrained:
    """Encoders with their configuration.

    Attributes
    ----------
    config : sizes of the model.
    model : on ``device``, in evaluation mode.
    record : everything that `config.json` holds.
    sha256 : of ``model.safetensors``, where it was read from one; a read-out (head) of other
        weights says nothing of these.
    """

    config: ModelConfig
    model: GeneBert
    record: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    @classmethod
    def load(
        cls,
        path: str | Path,
        seed: int | None = None,
        *,
        device: str = "cpu",
        **changes: Any,
    ) -> Pretrained:
        """Load a model directory, or a variant's directory (its first seed unless one is given).

        Parameters
        ----------
        path : ``results/pretrain/full`` or ``results/pretrain/full/seed-1``.
        changes : fields of the configuration that do not change the weights (``dropout=0.1``).

        Raises
        ------
        InputError
            If there is no model, or weights and configuration do not fit each other.
        """
        directory = model_directory(path, seed)
        try:
            record = json.loads((directory / CONFIG).read_text())
            config = ModelConfig(**{**record["model"], **changes})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(
                f"is no model configuration ({error})", file=directory / CONFIG
            ) from None
        if record.get("format") != FORMAT:
            raise InputError(
                "unknown format",
                file=directory / CONFIG,
                found=record.get("format"),
                expected=FORMAT,
            )
        model = GeneBert(config)
        try:
            weights = load_file(directory / WEIGHTS)
            digest = sha256(directory / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot be read ({error})", file=directory / WEIGHTS) from None
        expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in weights.items()}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise InputError(
                    f"tensor {name} does not fit {CONFIG}",
                    file=directory / WEIGHTS,
                    found=found.get(name, "nothing"),
                    expected=expected.get(name, "no such tensor"),
                )
        model.load_state_dict(weights)
        return cls(config, model.to(device).eval(), record, digest)

    @classmethod
    def random(cls, config: ModelConfig, seed: int, *, device: str = "cpu") -> Pretrained:
        """Return the random twin: the same architecture with weights drawn from ``seed``."""
        return cls(config, GeneBert(config, seed).to(device).eval(), {"random": True})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.placeholder.device

    def trained_on(self, objective: str) -> bool:
        """Tell whether pre-training had an objective; where no record tells (random twin), yes."""
        objectives = self.record.get("objectives")
        return objectives is None or objective in objectives

    @torch.no_grad()
    def embed_sequences(
        self, codes: ArrayLike, *, batch: int | None = None, both_strands: bool = False
    ) -> NDArray[np.float32]:
        """Embed sequences of one length.

        Parameters
        ----------
        codes : uint8[B, L] base codes (A0 C1 G2 T3 N4), L >= k.
        batch : rows at a time; by default as many as suit the device.
        both_strands : average with the embedding of the reverse complement.

        Returns
        -------
        float32[B, D].
        """
        config = self.config
        batch = batch or INFERENCE_BATCH[self.device.type]
        every = torch.as_tensor(np.asarray(codes))
        out = np.empty((every.shape[0], config.d_model), dtype=np.float32)
        for at in progress(range(0, every.shape[0], batch), "embedding", "batches"):
            part = every[at : at + batch].to(self.device)
            strands = [part, tokens.reverse_complement(part)] if both_strands else [part]
            vectors = [
                self.model.embed_sequence(
                    tokens.single_row(tokens.tokenize(s, config.k, config.stride))
                )
                for s in strands
            ]
            out[at : at + batch] = torch.stack(vectors).mean(dim=0).float().cpu().numpy()
        return out

    @torch.no_grad()
    def embed_regions(
        self,
        matrix_BFC: ArrayLike,
        placeholder: ArrayLike | bool = False,
        state: ArrayLike | None = None,
        *,
        batch: int = 256,
    ) -> NDArray[np.float32]:
        """Embed TF x region matrices (see ``samples.neighbourhood``); returns float32[B, D]."""
        matrix = torch.as_tensor(matrix_BFC)
        n = matrix.shape[0]
        hidden = torch.as_tensor(placeholder).expand(n)
        states = None if state is None else torch.as_tensor(state)
        out = np.empty((n, self.config.d_model), dtype=np.float32)
        for at in progress(range(0, n, batch), "embedding neighbourhoods", "batches"):
            part = slice(at, at + batch)
            e_BD = self.model.embed_region(
                matrix[part].to(self.device, torch.float32),
                hidden[part].to(self.device),
                None if states is None else states[part].to(self.device, torch.float32),
            )
            out[part] = e_BD.float().cpu().numpy()
        return out
