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


def _places(
    names: Sequence[str], known: Sequence[str], file: str, problem: str, among: str
) -> list[int]:
    """Return int[len(names)]: the places in ``known``; InputError for a name not there or twice."""
    check_once(names, file=file)
    places = {name: i for i, name in enumerate(known)}
    for name in names:
        if name not in places:
            raise InputError(
                f"{problem}{nearest(name, known)}",
                file=file,
                found=name,
                expected=f"{among} {', '.join(known[:8])}",
            )
    return [places[name] for name in names]


def in_atlas(names: Sequence[str], known: Sequence[str], *, file: str) -> list[int]:
    """Return the places of cell types in the atlas.

    Raises
    ------
    InputError
        If one has no peaks there, or is named twice.
    """
    return _places(names, known, file, "cell type has no peaks in the atlas of the model", "one of")


def predicted(names: Sequence[str], training: Sequence[str], *, file: str) -> list[int]:
    """Return the places of cell types among those of training; of all if none is named.

    Raises
    ------
    InputError
        If the accessibility read-out was not fitted on one of them, or one is named twice.
    """
    problem = "no accessibility is predicted for this cell type"
    return _places(names or training, training, file, problem, "a training cell type:")


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
