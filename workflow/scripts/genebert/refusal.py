"""A run that cannot succeed is not tried again: a marker for the retries of one submission.

A training is submitted many times, because one that was stopped resumes. Bad input and a
divergence stay what they are, so the program leaves its error in ``state/refused.json``, and every
retry ends at once with the same line. The first submission of a new call removes the marker: by
then the input may have been corrected. What can pass by itself (a full disk, a killed process, a
signal) leaves none. Standard library only: a retry that is refused loads nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from genebert.disk import DiskFullError, whole_file
from genebert.errors import InputError

MARKER = Path("state") / "refused.json"  # in the directory of a run


def refuse(output: str | Path, error: InputError) -> None:
    """Leave the marker of an error, unless it is one that can pass.

    Parameters
    ----------
    output : the directory of the run.
    error : why it cannot succeed.
    """
    if isinstance(error, DiskFullError):
        return
    marker = Path(output) / MARKER
    marker.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(marker) as part:
        part.write_text(json.dumps({"message": str(error)}) + "\n", encoding="utf-8")


def check(output: str | Path, attempt: int) -> None:
    """End a retry of a run that was refused; forget the refusal at the first attempt.

    Parameters
    ----------
    output : the directory of the run.
    attempt : 1 for the first submission of a call of snakemake.

    Raises
    ------
    InputError
        With the old line.
    """
    marker = Path(output) / MARKER
    if attempt <= 1:
        marker.unlink(missing_ok=True)
    elif marker.exists():
        raise InputError(json.loads(marker.read_text(encoding="utf-8"))["message"])
