"""Run one library function as a Snakemake job: log, one-line errors, outputs moved into place.

A script of the workflow is two imports and one call::

    from genebert import job, regions
    job.run(snakemake, regions.build_regions)

Named inputs, outputs and params become keyword arguments of the same names. Every output is
written under a temporary name beside its final one and moved only when the function has returned.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from genebert.errors import InputError

log = logging.getLogger("genebert")


def setup_log(path: str | None) -> None:
    """Send the log to ``path`` (or stderr): time, level, message, one line each."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path:
        Path(path).write_text("")  # then append: a program that the job starts writes here too
        handler = logging.FileHandler(path, mode="a")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


@contextlib.contextmanager
def outputs_in_place(final: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield temporary paths for ``final``; move them into place on success, else delete them.

    The temporary file lies in a directory ``.part-PID`` beside the final one, so it keeps its
    name and suffix, and so do files that a library writes next to it (``.tbi``, ``.fai``).
    """
    made: list[tuple[Path, Path]] = []

    def temporary(path: str) -> str:
        target = Path(path)
        part = target.parent / f".part-{os.getpid()}" / target.name
        part.parent.mkdir(parents=True, exist_ok=True)
        made.append((part, target))
        return str(part)

    try:
        yield {
            key: temporary(value) if isinstance(value, str) else [temporary(v) for v in value]
            for key, value in final.items()
        }
        for part, _ in made:
            if not part.exists():
                raise FileNotFoundError(f"the job did not write {part.name}")
        for part, target in made:
            os.replace(part, target)
    finally:
        for directory in {part.parent for part, _ in made}:
            shutil.rmtree(directory, ignore_errors=True)


def _named(items: Any) -> dict[str, Any]:
    """Return named entries of a Snakemake list; several files under a name become a list."""
    return {key: str(v) if isinstance(v, str) else list(v) for key, v in items.items()}


def run(
    snakemake: Any,
    function: Callable[..., None],
    *,
    moves: bool = True,
    only: tuple[str, ...] | None = None,
    **extra: Any,
) -> None:
    """Call ``function`` with the named inputs, outputs and params of a Snakemake job.

    ``params.version`` is the version of the stage, kept for the rerun trigger and not passed on.
    Bad input ends the job with its one-line message as the last line of the log.

    Parameters
    ----------
    snakemake : the object that Snakemake gives to a script.
    function : takes keyword arguments only.
    moves : False if the function writes its outputs in place by itself.
    only : names of the inputs to pass on instead of all inputs, outputs and params.
    extra : further keyword arguments.
    """
    setup_log(snakemake.log[0] if snakemake.log else None)
    started = time.monotonic()
    arguments = {**_named(snakemake.input), **dict(snakemake.params.items())}
    arguments.pop("version", None)
    if only is not None:
        arguments = {key: arguments[key] for key in only}
    try:
        with outputs_in_place(_named(snakemake.output) if moves else {}) as outputs:
            function(**arguments, **outputs, **extra)
    except InputError as error:
        _fail(str(error))
    except BaseException as error:
        for line in traceback.format_exc().splitlines():
            log.info("%s", line)
        _fail(f"{type(error).__name__}: {' '.join(str(error).split())}")
    log.info("done in %.1f s", time.monotonic() - started)


def _fail(message: str) -> NoReturn:
    log.error("%s", message)
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
