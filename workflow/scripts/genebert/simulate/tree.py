"""The tree of cell types: from a Newick string to a correlation matrix.

In: Newick with optional branch lengths (1 where none is given). Out: the correlation of a
Brownian motion along the branches between every two cell types.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genebert.errors import InputError, nearest
from genebert.simulate.parameters import KEY

_LABEL = re.compile(r"([A-Za-z0-9._-]*)(?::([0-9.]+))?")


def parse_newick(text: str) -> dict[str, list[tuple[int, float]]]:
    """Return, for each leaf, its path from the root as (branch number, branch length).

    Raises
    ------
    InputError
        If the string is not Newick, or a leaf is named twice or has no name.
    """

    def fail(message: str) -> InputError:
        return InputError(message, file=f"{KEY}.cell_type_tree", found=text)

    counter = 0

    def node(position: int) -> tuple[dict[str, list[tuple[int, float]]], int]:
        """Parse a node at ``position``; return its leaves' paths and the next position."""
        nonlocal counter
        leaves: dict[str, list[tuple[int, float]]] = {}
        if position < len(text) and text[position] == "(":
            position += 1
            while True:
                below, position = node(position)
                if set(below) & set(leaves):
                    raise fail("a cell type stands twice in the tree")
                leaves.update(below)
                if position >= len(text) or text[position] not in ",)":
                    raise fail("not a Newick tree")
                position += 1
                if text[position - 1] == ")":
                    break
        match = _LABEL.match(text, position)
        if match is None:
            raise fail("not a Newick tree")
        if not leaves:
            if not match[1]:
                raise fail("a leaf of the tree has no name")
            leaves = {match[1]: []}
        counter += 1
        branch = (counter, float(match[2]) if match[2] else 1.0)
        return {name: [branch, *path] for name, path in leaves.items()}, match.end()

    text = "".join(text.split())
    leaves, end = node(0)
    if text[end:] not in ("", ";"):
        raise fail("not a Newick tree")
    return {name: path[1:] for name, path in leaves.items()}  # without the branch above the root


def correlation(newick: str, cell_types: Sequence[str]) -> NDArray[np.float64]:
    """Return float64[C, C]: shared path over the geometric mean of the two path lengths.

    Raises
    ------
    InputError
        If a cell type is not a leaf of the tree.
    """
    paths = parse_newick(newick)
    for name in cell_types:
        if name not in paths:
            raise InputError(
                "a cell type is not in the tree" + nearest(name, paths),
                file=f"{KEY}.cell_type_tree",
                found=name,
            )
    shared = np.zeros((len(cell_types), len(cell_types)))
    for i, a in enumerate(cell_types):
        for j, b in enumerate(cell_types):
            common = set(paths[a]) & set(paths[b])
            shared[i, j] = sum(length for _, length in common)
    depth = np.sqrt(np.diag(shared))
    return np.asarray(shared / np.outer(depth, depth))


def factor(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the square root F with F F' = matrix, so that ``z @ F.T`` has that correlation."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
