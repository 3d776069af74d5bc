"""The files of the shards: what they hold, and how they are written, mapped and checked.

``index.json`` names the others with their size and sha256; they are safetensors. Nothing here knows
what the tensors mean: see :mod:`genebert.shards`.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from genebert.errors import InputError
from genebert.tensor_files import write_tensors

FORMAT = 2  # of the files; raised when older readers would misread them

REGION_TENSORS: dict[str, str] = {
    "region": "int32",
    "packed": "uint8",
    "n_mask": "uint8",
    "repeat_mask": "uint8",
    "motif_rows": "float16",
    "motif_count": "int32",
    "contig": "int16",
    "start": "int32",
    "split": "int8",
    "held_out_only": "bool",
    "gc": "float32",
    "repeat": "float32",
    "breadth": "int32",
}
CELL_TENSORS: dict[str, str] = {
    "indptr": "int64",
    "open_regions": "int32",
    "strengths": "float32",
    "held_out": "bool",
}
_DTYPES = {
    "BOOL": "bool", "I8": "int8", "U8": "uint8", "I16": "int16", "I32": "int32", "I64": "int64",
    "F16": "float16", "F32": "float32",
}  # fmt: skip
KEPT = ("cell_types", "motifs", "contigs", "width", "flank", "config_hash", "splits")
_INDEX_KEYS = ("counts", "normaliser", "region_files", "cell_type_file", *KEPT)


def save_tensors(tensors: dict[str, NDArray[Any]], path: str) -> dict[str, Any]:
    """Write a file of the shards.

    Returns
    -------
    The entry of the index: name, bytes, sha256.
    """
    content = write_tensors(path, tensors)
    sha256 = hashlib.sha256(content).hexdigest()
    return {"name": Path(path).name, "bytes": len(content), "sha256": sha256}


def region_shapes(rows: int, bases: int, motifs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a file of regions."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(REGION_TENSORS, (rows,))
    mask = (rows, -(-bases // 8))
    return shapes | {
        "packed": (rows, -(-bases // 4)),
        "n_mask": mask,
        "repeat_mask": mask,
        "motif_rows": (rows, motifs),
    }


def expect(path: str | Path, what: str, found: object, expected: object) -> None:
    """Raise :class:`InputError` unless what was found is what was expected."""
    if found != expected:
        raise InputError(f"{what} is wrong", file=path, found=found, expected=expected)


def room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of small pages; for huge ones, NumPy's choice, a busy system takes longer."""
    size = math.prod(shape)
    return np.frombuffer(mmap.mmap(-1, max(1, size * dtype.itemsize)), dtype, size).reshape(shape)


def read_index(path: str | Path) -> dict[str, Any]:
    """Read ``index.json``; an :class:`InputError` if it is none, or of another format."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        version = record["format"]
        missing = [key for key in _INDEX_KEYS if key not in record]
    except FileNotFoundError:
        raise InputError("no such shard index", file=path) from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"is not a shard index ({error})", file=path) from None
    expect(path, "format version of the shards", version, FORMAT)
    if missing:
        raise InputError(f"is not a shard index: {missing[0]} is missing", file=path)
    for entry in (*record["region_files"], record["cell_type_file"]):
        if Path(entry["name"]).name != entry["name"]:
            raise InputError("names a file elsewhere", file=path, found=entry["name"])
    return record


def read_tensors(
    path: Path, entry: Mapping[str, Any], dtypes: Mapping[str, str], verify: bool
) -> tuple[dict[str, Any], mmap.mmap]:
    """Map a safetensors file after checking its size and, if asked, its sha256.

    Returns
    -------
    tensors : views of the mapped file, by name.
    file : the map.
    """
    if not path.exists():
        raise InputError("shard is missing", file=path)
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise InputError(
            "shard is truncated or changed",
            file=path,
            found=size,
            expected=f"{entry['bytes']} bytes",
        )
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest() if verify else entry["sha256"]
        file = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if size else mmap.mmap(-1, 1)
    if found != entry["sha256"]:
        raise InputError(
            "shard was changed: its sha256 is wrong",
            file=path,
            found=found,
            expected=entry["sha256"],
        )
    tensors = mapped_tensors(np.frombuffer(file, dtype=np.uint8), path)
    for name, dtype in dtypes.items():
        if name not in tensors:
            raise InputError(f"tensor {name} is missing", file=path)
        expect(path, f"type of {name}", str(tensors[name].dtype), dtype)
    return {name: tensors[name] for name in dtypes}, file


def mapped_tensors(content: NDArray[np.uint8], path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a mapped safetensors file, as views of it.

    The library copies every tensor, which takes longer than all else when opening.
    """
    try:
        with safe_open(path, framework="numpy"):  # checks the header: all bytes, in their bounds
            pass
        data = 8 + int.from_bytes(content[:8].tobytes(), "little")
        header = json.loads(content[8:data].tobytes())
        header.pop("__metadata__", None)
        return {
            name: content[data:][slice(*what["data_offsets"])]
            .view(_DTYPES[what["dtype"]])
            .reshape(what["shape"])
            for name, what in header.items()
        }
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read as safetensors ({error})", file=path) from None
