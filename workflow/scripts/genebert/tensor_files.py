"""Write arrays as safetensors, to be read by whom the user's umask lets read.

In: arrays by name and one text each of what else is to be told. Out: a file. The library's own
``save_file`` creates files that their owner alone can read, so that nobody in a laboratory could
use the weights of another; its ``save`` only makes the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save


def write_tensors(path: str | Path, tensors: Mapping[str, NDArray[Any]], **metadata: str) -> bytes:
    """Write a safetensors file with the permissions that any new file gets.

    Parameters
    ----------
    tensors : arrays of any layout.
    metadata : goes into the header of the file.

    Returns
    -------
    What was written.
    """
    # `save` reads memory as it lies; ascontiguousarray would make [1] of a scalar
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    content = save(arrays, metadata or None)
    Path(path).write_bytes(content)
    return content
