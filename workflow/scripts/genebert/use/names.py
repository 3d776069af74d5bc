"""Names that a user gives: of cell types, and of an output of a network.

In: the names, and those that are known. Out: their places, or one line with the nearest name.
Standard library only: `snakemake check` asks before there are weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from genebert.errors import InputError, nearest


def check_once(names: Sequence[str], *, file: str, row: int | None = None) -> None:
    """Raise :class:`InputError` if a cell type is named twice: its results would be, too."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(
                "cell type is named twice", file=file, row=row, found=name, expected="each once"
            )


def in_atlas(names: Sequence[str], known: Sequence[str], *, file: str) -> list[int]:
    """Return the places of cell types in the atlas.

    Raises
    ------
    InputError
        If one has no peaks there, or is named twice.
    """
    check_once(names, file=file)
    places = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in places:
            raise InputError(
                f"cell type has no peaks in the atlas of the model{nearest(name, known)}",
                file=file,
                found=name,
                expected=f"one of {', '.join(known[:8])}",
            )
    return [places[name] for name in names]


def predicted(names: Sequence[str], training: Sequence[str], *, file: str) -> list[int]:
    """Return the places of cell types among those of training; of all if none is named.

    Raises
    ------
    InputError
        If the accessibility read-out was not fitted on one of them, or one is named twice.
    """
    check_once(names, file=file)
    places = {name: i for i, name in enumerate(training)}
    for name in names:
        if name not in places:
            raise InputError(
                f"no accessibility is predicted for this cell type{nearest(name, training)}",
                file=file,
                found=name,
                expected=f"a training cell type: {', '.join(training[:8])}",
            )
    return [places[name] for name in names or training]


def output_of(name: str, outputs: Sequence[str]) -> int:
    """Return the place of an output of a network; InputError if it has no such output."""
    if name not in outputs:
        raise InputError(
            f"the model has no such output{nearest(name, outputs)}",
            file="user_files, column target",
            found=name,
            expected=f"one of {', '.join(outputs)}",
        )
    return list(outputs).index(name)
