"""Run one library function as a Snakemake job: log, one-line errors, outputs moved into place.

A script of the workflow is two imports and one call::

    from genebert import job, regions
    job.run(snakemake, regions.build_regions)

Named inputs, outputs and params become keyword arguments of the same names. Every output is
written under a temporary name beside its final one and moved only when the function has returned.
Numbers do not depend on the machine: BLAS, OpenMP and torch use as many threads as they are told.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import re
import shutil
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from genebert.disk import disk_full, sync
from genebert.errors import InputError

log = logging.getLogger("genebert")
_CALLS = itertools.count(1)  # in this process, perhaps in several threads
THREAD_VARIABLES = ("OMP", "OPENBLAS", "GOTO", "MKL", "BLIS", "NUMEXPR")


def setup_log(path: str | None) -> None:
    """Send the log to ``path`` (or stderr): time, level, message, one line each."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if path:
        Path(path).write_text("")  # then append: a program that the job starts writes here too
        handler = logging.FileHandler(path, mode="a")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.raiseExceptions = False  # a log on a full disk must not hide the error itself
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def limit_threads(count: int) -> None:
    """Let BLAS, OpenMP and torch use ``count`` threads, here and in the programs started from here.

    The environment holds for libraries that are loaded later and for subprocesses; a library that
    is loaded already read it at its start and is told by a call.
    """
    from threadpoolctl import threadpool_limits  # late: training sets up its log without it

    for name in THREAD_VARIABLES:
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    os.environ["VECLIB_MAXIMUM_THREADS"] = str(count)
    threadpool_limits(count)  # torch takes its number from OpenMP, when it first computes


def _part_directory(parent: Path, call: int) -> Path:
    """Return the directory beside the outputs in which this call in this process writes them.

    What killed jobs of this machine have left is deleted: it could fill the disk.
    """
    stem = f".part-{socket.gethostname()}-"
    ours = re.compile(re.escape(stem) + r"([0-9]+)-[0-9]+")  # not those of a machine HOST-304
    for left in parent.glob(".part-*"):
        match = ours.fullmatch(left.name)
        if match and int(match[1]) != os.getpid():
            try:
                os.kill(int(match[1]), 0)
            except ProcessLookupError:
                shutil.rmtree(left, ignore_errors=True)
            except (PermissionError, OverflowError):
                pass  # somebody else's, and alive; or no number of a process
    return parent / f"{stem}{os.getpid()}-{call}"


@contextlib.contextmanager
def outputs_in_place(final: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield temporary paths for ``final``; move them into place on success, else delete them.

    The temporary file lies in a directory ``.part-HOST-PID-CALL`` beside the final one, so it keeps
    its name and suffix, and so do files that a library writes next to it (``.tbi``, ``.fai``).

    Raises
    ------
    InputError
        If the disk is full.
    """
    made: list[tuple[Path, Path]] = []
    call = next(_CALLS)

    def temporary(path: str) -> str:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = _part_directory(target.parent, call) / target.name
        part.parent.mkdir(exist_ok=True)
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
            sync(part)
        for part, target in made:
            os.replace(part, target)
    except InputError:
        raise
    except Exception as error:  # before the parts are deleted: they are what fills the disk
        full = disk_full(error, _last_written(made)) if made else None
        if full is None:
            raise
        raise full from error
    finally:
        for directory in {part.parent for part, _ in made}:
            shutil.rmtree(directory, ignore_errors=True)


def _last_written(made: list[tuple[Path, Path]]) -> Path:
    """Return the final path of the output that was written last."""
    times = [part.stat().st_mtime_ns if part.exists() else -1 for part, _ in made]
    return made[times.index(max(times))][1]


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """Return a list of paths, whether one (as a string), several or none were given."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def _named(items: Any) -> dict[str, Any]:
    """Return named entries of a Snakemake list; several files under a name become a list."""
    return {key: str(v) if isinstance(v, str) else list(v) for key, v in items.items()}


def run(
    snakemake: Any,
    function: Callable[..., None],
    *,
    moves: bool = True,
    only: tuple[str, ...] | None = None,
    threads: int | None = None,
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
    threads : of numerical libraries (1 without it), passed on. From the configuration: among the
        params, another number would make everything again.
    extra : further keyword arguments.
    """
    setup_log(snakemake.log[0] if snakemake.log else None)
    started = time.monotonic()
    arguments = {**_named(snakemake.input), **dict(snakemake.params.items())}
    arguments.pop("version", None)
    if only is not None:
        arguments = {key: arguments[key] for key in only}
    if threads is not None:
        extra["threads"] = threads
    try:
        limit_threads(threads or 1)
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
