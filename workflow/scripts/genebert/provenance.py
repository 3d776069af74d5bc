"""What a run was made of: every file that came from outside, every version, in one JSON file.

Comes in: the records that downloads leave, the user's own files that the configuration names, the
hash of the configuration and the versions of the stages. Goes out: ``results/provenance.json``. It
holds no time but the dates on which files were downloaded: the same run gives the same file.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import genebert
from genebert.errors import InputError
from genebert.fetch import checksums_of
from genebert.job import as_list

VERSION = 1
REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = (
    "anndata", "h5py", "MOODS-python", "numpy", "pandas", "pyarrow", "pybedtools", "pyfaidx",
    "pyjaspar", "pysam", "safetensors", "scikit-learn", "scipy", "snakemake", "torch",
)  # fmt: skip
RECORD = ("name", "version", "source", "bytes", "md5", "sha256", "checked_against", "licence")


def write_provenance(
    *,
    records: Sequence[str],
    local: Sequence[str],
    provenance: str,
    config_hash: str,
    versions: Mapping[str, int],
    code: Mapping[str, Any],
) -> None:
    """Write the record of a run.

    Parameters
    ----------
    records : inputs, ``FILE.provenance.json`` of every download (:func:`genebert.fetch.fetch`).
    local : inputs, the user's own files that the configuration names.
    provenance : output, JSON with the keys ``genebert`` (version, commit, modified),
        ``config_hash``, ``stages`` (VERSION of each), ``python``, ``packages``, ``downloads`` (the
        records, by name) and ``local_files`` (path, bytes, sha256, by path).
    config_hash : of everything in the configuration that a result depends on.
    versions : ``VERSION`` of every stage of the library.
    code : of the pipeline, as :func:`commit` returns it.

    Raises
    ------
    InputError
        If a record is damaged.
    """
    document = {
        "genebert": {"version": genebert.__version__, **code},
        "config_hash": config_hash,
        "stages": dict(sorted(versions.items())),
        "python": platform.python_version(),
        "packages": package_versions(REPOSITORY / "requirements.lock"),
        "downloads": sorted(
            (read_record(path) for path in sorted({*as_list(records)})),
            key=lambda record: (record["name"], record["version"], record["source"]),
        ),
        "local_files": [local_record(path) for path in sorted({*as_list(local)})],
    }
    Path(provenance).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the record of a download.

    Raises
    ------
    InputError
        If it is no JSON, or a key is missing.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = [key for key in RECORD if key not in record]
    except (ValueError, TypeError):
        record, missing = {}, list(RECORD)
    if missing or not isinstance(record, dict):
        raise InputError(
            "not the record of a download",
            file=path,
            expected=f"the key {(missing or RECORD)[0]}; delete it, and the file is checked again",
        )
    return record


def local_record(path: str | Path) -> dict[str, Any]:
    """Return path, size and sha256 of a file of the user."""
    sums = checksums_of(path)
    return {"path": str(path), "bytes": sums.bytes, "sha256": sums.sha256}


def package_versions(lock: str | Path) -> dict[str, str]:
    """Return the versions of the packages that matter: as installed here, else as pinned.

    The rule's own environment does not hold the packages of all stages; theirs are pinned to the
    versions of the lock.
    """
    text = Path(lock).read_text(encoding="utf-8") if Path(lock).exists() else ""
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE))
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = f"{pinned[name]} (pinned)" if name in pinned else "unknown"
    return found


def commit(repository: str | Path) -> dict[str, Any]:
    """Return the git commit of the pipeline, and whether its code differs from it; else None."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(repository), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top, head = git("rev-parse", "--show-toplevel"), git("rev-parse", "HEAD")
    if head is None or top is None or Path(top).resolve() != Path(repository).resolve():
        return {"commit": None, "modified": None}  # not a checkout, or one of something else
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": head, "modified": bool(changes)}
