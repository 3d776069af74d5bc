"""What a run downloads, what it reads of the user's own, and the manifest that says where from.

Pure functions, standard library only, called while Snakemake plans. In comes the validated
configuration; out go rows of the manifest and of listings, and paths of the files that are read.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from genebert.errors import InputError, nearest
from genebert.hints import similar_file
from genebert.layout import (
    ATLAS_FILES,
    DATASET_FILES,
    LISTINGS,
    SIMULATED,
    Config,
    cell_type_peaks,
    dataset_extra,
    is_simulated,
    source,
)
from genebert.tables import check_unique, expand_path, read_rows

MANIFEST = ("name", "version", "url", "mirror_url", "md5", "sha256", "bytes", "licence", "used_by")


def manifest_rows(config: Config, path: str | Path) -> list[dict[str, str]]:
    """Return the manifest at ``path``; rows of the user's own replace their namesakes.

    As in every table of the user's, relative paths (of copies on disk) start at the table.

    Raises
    ------
    InputError
        If a table is missing or malformed, a name repeated, or the variable of a path not set.
    """
    rows: dict[str, dict[str, str]] = {}
    own = config.get("manifest")
    for file in (path, *filter(None, [own])):
        listed = read_rows(file, MANIFEST, names=("name",))
        check_unique(listed, ("name",), file)
        if file == own:
            for number, row in enumerate(listed, start=2):
                row |= {key: _beside(file, number, row[key]) for key in ("url", "mirror_url")}
        rows |= {row["name"]: row for row in listed}
    return list(rows.values())


def _beside(table: str, number: int, value: str) -> str:
    """Return a source of a row with a relative path taken from the folder of the table."""
    if not value or urlsplit(value).scheme:
        return value
    path = os.path.join(os.path.dirname(table), expand_path(value, file=table, row=number))
    return path.replace("$", "$$")  # the job expands it again


def resource_row(rows: Sequence[Mapping[str, str]], name: str, file: str) -> dict[str, str]:
    """Return the row of the manifest with this name."""
    for row in rows:
        if row["name"] == name:
            return dict(row)
    raise InputError(
        f"no such resource{nearest(name, [row['name'] for row in rows])}", file=file, found=name
    )


@functools.lru_cache
def _listed(table: str, _modified: int) -> dict[str, dict[str, str]]:
    """Return the rows of a listing's table by the name of their file."""
    rows = read_rows(table, ("peaks", "version", "url", "mirror_url", "md5", "bytes", "licence"))
    return {row["peaks"].rpartition("/")[2]: row for row in rows}


def listed_row(config: Config, listing: str, name: str) -> dict[str, str]:
    """Return a row of a listing's table in the form of a row of the manifest.

    Raises
    ------
    InputError
        If there is no table yet, or the listing does not name the file.
    """
    table = source(config, f"listing:{listing}")
    if not os.path.exists(table):
        raise InputError(
            "no such table", file=table, expected=f"`snakemake {table}` to have been run"
        )
    rows = _listed(table, os.stat(table).st_mtime_ns)
    if name not in rows:
        raise InputError(f"no such file{nearest(name, rows)}", file=table, found=name)
    row = rows[name]
    keys = ("version", "url", "mirror_url", "md5", "bytes", "licence")
    return {"name": name, "sha256": "", **{key: row[key] for key in keys}}


def _sources(config: Config) -> list[str]:
    """Return what the configuration itself names as a source, except what ``simulate`` writes."""
    return [
        *(config["genome"].get(key, "") for key in ("fasta", "gtf", "blacklist")),
        *(config["atlas"].get(key, "") for key in ATLAS_FILES),
        *(row["path"] for row in config["motifs"]["sources"]),
        config["motifs"].get("clusters", ""),
        *(row.get(k, "") for row in config["datasets"] for k in DATASET_FILES),
    ]


def listings_used(config: Config) -> list[str]:
    """Return the names of the listings whose tables this configuration reads."""
    names = {value.partition(":")[2] for value in _sources(config) if value.startswith("listing:")}
    return sorted(names)


def files_used(config: Config) -> list[str]:
    """Return every file that this configuration reads and no stage writes, downloads included.

    The tables of :func:`listings_used` must be there: the files that they name are read too.
    """
    files = [source(config, value) for value in _sources(config) if value]
    if not is_simulated(config):
        files += cell_type_peaks(config)
        for row in config["datasets"]:
            files += dataset_extra(config, row)
    return sorted(
        {file for file in files if not file.startswith((f"{SIMULATED}/", "jaspar:"))} - {""}
    )


def resources_used(config: Config) -> list[str]:
    """Return the downloads that this configuration needs (`snakemake fetch_all`)."""
    inside = config["resources_dir"].rstrip("/") + "/"
    tables = {source(config, f"listing:{name}") for name in LISTINGS}
    return [f for f in files_used(config) if f.startswith(inside) and f not in tables]


def check_local_files(config: Config) -> None:
    """Check that the user's files are there, those that the configuration names itself.

    Snakemake asks for no input of what has been made already, so that a name mistyped in a later
    run would go unnoticed.

    Raises
    ------
    InputError
        If one is not.
    """
    made = ("resource:", "listing:", "jaspar:", f"{SIMULATED}/", config["resources_dir"])
    for value in _sources(config):
        if value and not value.startswith(made) and not os.path.exists(value):
            raise InputError(f"no such file{similar_file(value)}", file=value)


def local_files(config: Config) -> list[str]:
    """Return the files that this configuration reads and that are no downloads.

    These are the user's own, and the tables that listings became, which are written once.
    """
    return sorted(set(files_used(config)) - set(resources_used(config)))
