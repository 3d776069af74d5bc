"""Bring one external file: download or copy it, check it, and only then give it its name.

Comes in: a row of ``resources/manifest.tsv`` and the checksums recorded before. Goes out: the file
and a JSON record of where it came from and what was checked. A file that lies under the final name
already, placed there by hand, is checked and kept. A partial download lies under ``part_directory``
and outlives a failed job, so that the next one resumes it; the sha256 of a file without any
published checksum is kept there too and checked ever after.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genebert.disk import disk_full, sync, whole_file
from genebert.errors import InputError
from genebert.lines import is_cut_bgzf
from genebert.progress import Progress
from genebert.tables import check_name, expand_path, read_rows
from genebert.transfer import Part, SourceError, download

VERSION = 1
log = logging.getLogger("genebert")

CHECKSUMS = ["name", "version", "bytes", "sha256"]
MAX_BYTES = 100 * 10**9
CHUNK = 1 << 20
BY_HAND = "placed by hand"
_DIGEST = {"md5": re.compile(r"[0-9a-f]{32}\Z"), "sha256": re.compile(r"[0-9a-f]{64}\Z")}


@dataclass(frozen=True)
class Item:
    """A row of the manifest, checked.

    Attributes
    ----------
    name, version : of the file; the name is that of the file below ``resources_dir``.
    sources : URLs (http, https) or local paths, in the order in which they are tried.
    md5, sha256 : hex digests, empty where nobody publishes them.
    bytes : size, 0 where unknown.
    """

    name: str
    version: str
    sources: tuple[str, ...]
    md5: str
    sha256: str
    bytes: int

    @classmethod
    def from_row(
        cls, row: Mapping[str, str], *, file: str = "manifest", line: int | None = None
    ) -> Item:
        """Check a row.

        Raises
        ------
        InputError
            If the name cannot be a file name, a source is neither http(s) nor a path, or a
            checksum or size is malformed.
        """
        check_name(row.get("name", ""), file=file, row=line)
        if row.get("version"):
            check_name(row["version"], file=file, row=line, what="version")
        sources = []
        for key in ("url", "mirror_url"):
            if row.get(key):
                source = expand_path(row[key], file=file, row=line)
                scheme = urlsplit(source).scheme.lower()
                if scheme not in ("", "http", "https"):
                    raise InputError(
                        f"{key} of {row['name']} is of an unsupported kind",
                        file=file,
                        row=line,
                        found=source,
                        expected="http://, https:// or a local path",
                    )
                sources.append(source)
        for key, pattern in _DIGEST.items():
            if row.get(key) and not pattern.match(row[key].lower()):
                raise InputError(
                    f"{key} of {row['name']} is malformed", file=file, row=line, found=row[key]
                )
        size = row.get("bytes") or "0"
        if not (size.isascii() and size.isdecimal()):
            raise InputError(
                f"bytes of {row['name']} is not a number", file=file, row=line, found=size
            )
        return cls(
            row["name"],
            row.get("version", ""),
            tuple(sources),
            row.get("md5", "").lower(),
            row.get("sha256", "").lower(),
            int(size),
        )


@dataclass(frozen=True)
class Sums:
    """Size and digests of a file as it lies on disk."""

    bytes: int
    md5: str
    sha256: str


def checksums_of(path: str | Path) -> Sums:
    """Return size, md5 and sha256 of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    for block in _blocks(path, open, "checksums"):
        md5.update(block)
        sha256.update(block)
        size += len(block)
    return Sums(size, md5.hexdigest(), sha256.hexdigest())


def _blocks(path: str | Path, opener: Callable[..., Any], what: str) -> Iterator[bytes]:
    """Yield the bytes of a file, and tell how far it is."""
    done = 0
    size = Path(path).stat().st_size if opener is open else None  # a gzip tells no size
    told = Progress(f"{path}: {what}", size and size / 1e6, "MB")
    with opener(path, "rb") as handle:
        while block := handle.read(CHUNK):
            yield block
            done += len(block)
            told.at(done / 1e6)


def _malformed(path: Path, name: str) -> str:
    """Return what is wrong with a file that nobody published a checksum of, or ''.

    A gzip file carries its own checksum, and a page with a message instead of the file is known by
    its beginning.
    """
    with open(path, "rb") as handle:
        start = handle.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) and not name.endswith((".html", ".htm")):
        return "a web page and not the file"
    if name.endswith((".gz", ".bgz", ".tgz")):
        try:
            for _ in _blocks(path, gzip.open, "is the gzip file whole?"):
                pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return f"not a whole gzip file ({' '.join(str(error).split())})"
        with open(path, "rb") as handle:
            if is_cut_bgzf(handle):
                return "not a whole gzip file (the block that bgzip writes last is missing)"
    return ""


def _wrong(item: Item, recorded: str, sums: Sums, path: Path) -> str:
    """Return what is wrong with a file, or an empty string."""
    if item.bytes and sums.bytes != item.bytes:
        return f"{sums.bytes} bytes, expected {item.bytes}"
    if item.md5 and sums.md5 != item.md5:
        return f"md5 {sums.md5}, expected {item.md5}"
    if item.sha256 and sums.sha256 != item.sha256:
        return f"sha256 {sums.sha256}, expected {item.sha256}"
    if recorded and not item.sha256 and sums.sha256 != recorded:
        return f"sha256 {sums.sha256}, recorded at the first download was {recorded}"
    if not sums.bytes:
        return "it is empty"
    return "" if item.md5 or item.sha256 or recorded else _malformed(path, item.name)


def _recorded_rows(checksums: str | Path) -> list[dict[str, str]]:
    """Read ``checksums.tsv``, which may be absent or hold a header only."""
    if not os.path.exists(checksums):
        return []
    filled = Path(checksums).read_text(encoding="utf-8").partition("\n")[2].strip()
    return read_rows(checksums, CHECKSUMS) if filled else []


def recorded_sha256(checksums: str | Path, item: Item, memory: Path) -> str:
    """Return the sha256 recorded for a file: in ``checksums.tsv``, else in ``memory``, else ''."""
    for row in _recorded_rows(checksums):
        if (row["name"], row["version"]) == (item.name, item.version):
            return row["sha256"].lower()
    return memory.read_text(encoding="ascii").strip() if memory.exists() else ""


def _replace(path: str | Path, text: str) -> None:
    """Write a small text file in one step."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Wait until no other process brings this file; one of a killed run may still be at it."""
    beat = 0.0
    with open(path, "w", encoding="ascii") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - beat > 10:
                    beat = time.monotonic()
                    log.info("%s: another process brings it; waiting", name)
                time.sleep(0.5)
            except OSError as error:
                log.warning("%s: this file system has no locks (%s)", path, error.strerror)
                break
        yield


def _kept(item: Item, recorded: str, file: Path, provenance: Path) -> tuple[str, str, Sums] | None:
    """Return source, date and sums of the right file that is in place, None if there is none.

    Raises
    ------
    InputError
        If a wrong file was placed there by hand: it is the user's, and stays.
    """
    if not file.exists():
        return None
    try:
        record = json.loads(provenance.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {}
    sums = checksums_of(file)
    wrong = _wrong(item, recorded, sums, file)
    known = item.md5 or item.sha256 or recorded
    if not wrong and not known and record.get("version", item.version) != item.version:
        wrong = f"it is of version {record['version']}"
    if not wrong:
        if record.get("sha256") == sums.sha256:
            return record["source"], record.get("date", ""), sums
        return BY_HAND, _today(), sums
    if record.get("source", BY_HAND) == BY_HAND:
        raise InputError(
            f"the file that lies here is not {item.name} {item.version}: {wrong}",
            file=file,
            expected="the file of the manifest, or none (then it is fetched)",
        )
    log.warning("%s: %s; it is fetched again", file, wrong)
    return None


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _bring(
    item: Item, recorded: str, part: Part, limit: int, offline: bool, retries: int, backoff: float
) -> tuple[str, str, Sums]:
    """Bring the file into the part from the first source that has it; as :func:`_kept`."""
    problems = []
    for source in item.sources:
        remote = bool(urlsplit(source).scheme)
        try:
            if remote and offline:
                raise SourceError(f"{source}: not fetched, the run is offline")
            if remote:
                download(source, part, limit, retries, backoff)
            elif not os.path.isfile(source):
                raise SourceError(f"{source}: no such file")
            else:
                part.begin({"url": source})
                shutil.copyfile(source, part.path)
        except SourceError as error:
            log.warning("%s", error)
            problems.append(str(error))
            continue
        sums = checksums_of(part.path)
        wrong = _wrong(item, recorded, sums, part.path)
        if not wrong:
            return source, _today(), sums
        part.delete()
        log.warning("%s: wrong content, deleted: %s", source, wrong)
        problems.append(f"{source}: wrong content, {wrong}")
    raise InputError(f"cannot be fetched: {'; '.join(problems)}", file=item.name)


def fetch(
    *,
    file: str,
    provenance: str,
    row: Mapping[str, str],
    checksums: str,
    part_directory: str,
    offline: bool = False,
    retries: int = 5,
    max_bytes: int = MAX_BYTES,
    backoff: float = 1.0,
) -> None:
    """Bring one file of the manifest, or accept the one that is in place; both move in one step.

    Parameters
    ----------
    file : output, the file. What lies there is checked and kept, or, if it was placed by hand and
        is wrong, refused; a file of an earlier version that was downloaded is replaced.
    provenance : output, JSON: name, version, source (or "placed by hand"), date, bytes, md5,
        sha256, checked_against, licence.
    row : its row of the manifest; ``mirror_url`` is tried where ``url`` fails.
    checksums : path of ``resources/checksums.tsv`` (name, version, bytes, sha256). A parameter,
        not an input of the rule: its changes must not start downloads again.
    part_directory : where partial files, and the sha256 seen at first download, are kept; on the
        file system of ``file``.
    offline : use local sources only.
    retries : further attempts per URL after failures that may pass (lost connection, truncation,
        a server that sends nothing for a minute, 408, 429, 5xx); an attempt that brings more than
        64 KiB does not count.
    max_bytes : size cap where the manifest states no size.
    backoff : seconds before the second attempt; doubled each time, at most 600. A Retry-After of
        the server is honoured.

    Raises
    ------
    InputError
        If no source gives a file with the published, or recorded, size and checksums; if a wrong
        file was placed by hand; if the disk is full (the part is kept, and resumed).
    """
    item = Item.from_row(row)
    directory = Path(part_directory)
    stem = "-".join(filter(None, (item.name, item.version)))
    part, memory = Part(directory / f"{stem}.part"), directory / f"{stem}.sha256"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _alone(directory / f"{stem}.lock", item.name):
            recorded = recorded_sha256(checksums, item, memory)
            kept = _kept(item, recorded, Path(file), Path(provenance))
            if kept is None and not item.sources:
                notes = f" ({row['notes']})" if row.get("notes") else ""
                raise InputError(
                    f"no address is known for {item.name}{notes}",
                    file="manifest",
                    expected=f"a URL or a path in the column url, or your copy at {file}",
                )
            source, date, sums = kept or _bring(
                item, recorded, part, item.bytes or max_bytes, offline, retries, backoff
            )
            checked = [k for k in ("md5", "sha256", "bytes") if getattr(item, k)]
            if recorded and not item.sha256:
                checked.append("recorded sha256")
            entry = {
                "name": item.name,
                "version": item.version,
                "source": source,
                "date": date,
                **asdict(sums),
                "checked_against": checked,
                "licence": row.get("licence", ""),
            }
            _replace(memory, sums.sha256 + "\n")
            if kept:
                with contextlib.suppress(PermissionError):
                    os.utime(file)  # it is up to date: newer than the code of its rule
            else:
                Path(provenance).unlink(missing_ok=True)  # never the record of another file
                sync(part.path)
                os.replace(part.path, file)
            part.delete()
            _replace(provenance, json.dumps(entry, indent=1) + "\n")
    except OSError as error:
        raise (disk_full(error, part.path) or error) from None
    log.info("%s: %d bytes, %s", item.name, sums.bytes, source)


def merge_checksums(*, records: Sequence[str], checksums: str) -> None:
    """Add the records of downloads to the table of checksums, in one step (`snakemake checksums`).

    Parameters
    ----------
    records : inputs, written by :func:`fetch`.
    checksums : path of ``resources/checksums.tsv`` (it may hold a header only, or be absent);
        sorted by name and version. It is changed only if a record is new.

    Raises
    ------
    InputError
        If a record disagrees with the table.
    """
    table: dict[tuple[str, str], tuple[str, str]] = {}
    for row in _recorded_rows(checksums):
        table[row["name"], row["version"]] = (row["bytes"], row["sha256"].lower())
    before = dict(table)
    for path in records:
        entry = json.loads(Path(path).read_text(encoding="utf-8"))
        key, value = (entry["name"], entry["version"]), (str(entry["bytes"]), entry["sha256"])
        if table.setdefault(key, value) != value:
            raise InputError(
                f"another checksum is recorded for {' '.join(key)}",
                file=checksums,
                found=value[1],
                expected=table[key][1],
            )
    if table != before:
        lines = ["\t".join(CHECKSUMS), *("\t".join((*key, *table[key])) for key in sorted(table))]
        _replace(checksums, "\n".join(lines) + "\n")
    log.info("%d checksums, %d of them new", len(table), len(table) - len(before))
