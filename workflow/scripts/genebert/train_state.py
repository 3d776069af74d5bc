"""The resumable state of a training run: written atomically, checked before it is believed.

A state directory holds ``step-N.pt`` and ``manifest.json`` (file, step, sha256). A checkpoint is
written under a temporary name, synced and renamed; only then does the manifest, replaced in one
rename, name it; only then is the one before deleted. So a process killed at any moment leaves a
manifest that names a whole file. ``diverged.json`` marks a run that must not be tried again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genebert.disk import sha256, sync, whole_file
from genebert.errors import InputError
from genebert.pretrained import write_atomic

log = logging.getLogger("genebert")
MANIFEST, MARKER = "manifest.json", "diverged.json"


def run_hash(settings: Mapping[str, Any]) -> str:
    """Return a short hash of everything that a run's result depends on."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the first settings in which two runs differ, ``key: old, now new``."""

    def flat(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in block.items():
            deep = isinstance(value, Mapping) and value
            out |= flat(value, f"{prefix}{key}.") if deep else {f"{prefix}{key}": value}
        return out

    one, two = flat(old), flat(new)
    keys = [key for key in sorted(one | two) if one.get(key) != two.get(key)]
    parts = [f"{key}: {one.get(key)}, now {two.get(key)}" for key in keys[:3]]
    return "; ".join(parts) + (f"; {len(keys) - 3} more" if len(keys) > 3 else "")


class StateDirectory:
    """Checkpoints of one run.

    Parameters
    ----------
    path : ``.../state/{hash}``; made when first written.
    settings : of the run, noted beside the checkpoint, so that another run can say what differs.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self.path, self.settings = Path(path), dict(settings or {})

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint of ``step`` finished steps; tensors and plain values only."""
        self.path.mkdir(parents=True, exist_ok=True)
        name = f"step-{step:09d}.pt"
        for left in self.path.glob(".step-*.part*"):  # of a process that was killed
            left.unlink(missing_ok=True)
        with whole_file(self.path / name) as part:
            torch.save(dict(state), part)
            checksum = sha256(part)
        sync(self.path)
        record = {"file": name, "step": step, "sha256": checksum, "settings": self.settings}
        write_atomic(self.path / MANIFEST, json.dumps(record) + "\n")
        sync(self.path)
        for old in self.path.glob("step-*.pt"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self, device: str | torch.device = "cpu") -> dict[str, Any] | None:
        """Return the last whole checkpoint, or None where there is none.

        A checkpoint whose checksum is wrong is reported and not used.
        """
        try:
            record = json.loads((self.path / MANIFEST).read_text())
            file = self.path / record["file"]
            if sha256(file) != record["sha256"]:
                raise ValueError("checksum is wrong")
            state = torch.load(file, map_location=device, weights_only=True)
            if state["step"] != record["step"]:
                raise ValueError("is of another step than its manifest says")
        except FileNotFoundError:
            return None
        except (
            ValueError,
            KeyError,
            TypeError,
            RuntimeError,
            EOFError,
            pickle.UnpicklingError,
        ) as e:
            log.warning("%s: checkpoint is not used (%s); starting afresh", self.path, e)
            return None
        return dict(state)

    def others(self) -> list[str]:
        """Return a line for each state of another configuration that lies beside this one."""
        lines = []
        for manifest in sorted(self.path.parent.glob(f"*/{MANIFEST}")):
            if manifest.parent == self.path:
                continue
            try:
                record = json.loads(manifest.read_text())
                what = difference(record["settings"], self.settings)
                lines.append(f"{manifest.parent}: of another configuration ({what})")
            except (OSError, ValueError, KeyError, TypeError):
                lines.append(f"{manifest.parent}: of another configuration")
        return lines

    def mark_diverged(self, message: str, step: int, objective: str) -> None:
        """Leave a marker, so that a retry ends at once with the same line."""
        self.path.mkdir(parents=True, exist_ok=True)
        record = {"message": message, "step": step, "objective": objective}
        write_atomic(self.path / MARKER, json.dumps(record) + "\n")

    def check_marker(self) -> None:
        """Raise :class:`InputError` with the old message if the run diverged before."""
        if (self.path / MARKER).exists():
            raise InputError(json.loads((self.path / MARKER).read_text())["message"])

    def remove(self) -> None:
        """Delete the directory, and the folder of states where it is left empty."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.parent.is_dir() and not any(self.path.parent.iterdir()):
            self.path.parent.rmdir()
