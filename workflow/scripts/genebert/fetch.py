"""Bring one external file: download or copy it, check it, and only then give it its name.

Comes in: a row of ``resources/manifest.tsv`` and the checksums recorded before. Goes out: the file
and a JSON record of where it came from and what was checked. A partial download lies under
``part_directory`` and outlives a failed job, so that the next one resumes it; the sha256 of a file
without any published checksum is kept there too and checked ever after.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError as TransportError

from genebert.errors import InputError
from genebert.tables import check_name, check_unique, expand_path, read_rows

VERSION = 1
log = logging.getLogger("genebert")

MANIFEST = ["name", "version", "url", "mirror_url", "md5", "sha256", "bytes", "licence", "used_by"]
CHECKSUMS = ["name", "version", "bytes", "sha256"]
MAX_BYTES = 100 * 10**9
CHUNK = 1 << 20
PROGRESS = 1 << 20  # bytes that a failed attempt must have brought so that it does not count
TIMEOUT = (30, 60)  # seconds to connect, and between two packets
_DIGEST = {"md5": re.compile(r"[0-9a-f]{32}\Z"), "sha256": re.compile(r"[0-9a-f]{64}\Z")}


class _RetryError(Exception):
    """An attempt failed in a way that may pass; ``wait`` is what the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class _SourceError(Exception):
    """A source cannot give the file; another one may."""


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


def read_manifest(path: str | Path) -> dict[str, dict[str, str]]:
    """Read the manifest into rows by name; every row is checked.

    Raises
    ------
    InputError
        If a row is malformed or a name is repeated.
    """
    rows = read_rows(path, MANIFEST)
    check_unique(rows, ["name"], path)
    for number, row in enumerate(rows, start=2):
        Item.from_row(row, file=str(path), line=number)
    return {row["name"]: row for row in rows}


def checksums_of(path: str | Path) -> Sums:
    """Return size, md5 and sha256 of a file, read once."""
    md5, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with open(path, "rb") as handle:
        while block := handle.read(CHUNK):
            md5.update(block)
            sha256.update(block)
            size += len(block)
    return Sums(size, md5.hexdigest(), sha256.hexdigest())


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (seconds or a date), at most 600."""
    if not header:
        return None
    try:
        wait = float(header)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(wait, 0.0), 600.0)


class _Part:
    """A partial download and, beside it, the URL and validator that it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> dict[str, Any]:
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def begin(self, origin: Mapping[str, Any]) -> None:
        """Empty the part and note where it comes from."""
        self.path.write_bytes(b"")
        self.note.write_text(json.dumps(origin), encoding="utf-8")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _open(session: requests.Session, url: str, part: _Part) -> requests.Response:
    """Send the request, for the missing rest where a part of the same URL can be resumed."""
    headers = {"Accept-Encoding": "identity"}
    origin, size = part.origin(), part.size()
    if size and origin.get("url") == url and (origin.get("validator") or origin.get("total")):
        headers["Range"] = f"bytes={size}-"
        if origin.get("validator"):
            headers["If-Range"] = origin["validator"]
    try:
        return session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
        raise _SourceError(
            f"{url}: not an http(s) address, or redirected to one ({error})"
        ) from None
    except requests.exceptions.TooManyRedirects:
        raise _SourceError(f"{url}: too many redirects") from None
    except (requests.exceptions.RequestException, TransportError) as error:
        raise _RetryError(f"{url}: {type(error).__name__}") from None


def _total(response: requests.Response, url: str, part: _Part) -> int | None:
    """Check the answer, prepare the part, and return the size of the whole file if it is known."""
    status = response.status_code
    if status == 416:  # the part is as long as the file, or of another file
        found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == part.size():
            return part.size()
        part.delete()
        raise _RetryError(f"{url}: the partial file does not fit, starting again", wait=0.0)
    if status in (408, 429) or status >= 500:
        raise _RetryError(f"{url}: HTTP {status}", _seconds(response.headers.get("Retry-After")))
    if status not in (200, 206):
        raise _SourceError(f"{url}: HTTP {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity" and not url.endswith(
        (".gz", ".bgz", ".tgz")
    ):
        raise _SourceError(
            f"{url}: the server compresses the file, which cannot be resumed or checked"
        )
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    if status == 206:
        span = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "")
        )
        whole = int(span[3]) if span and span[3] != "*" else None
        known = part.origin().get("total")
        if not span or int(span[1]) != part.size() or (known and whole and known != whole):
            part.delete()
            raise _RetryError(f"{url}: the answer does not continue the partial file", wait=0.0)
        return whole
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else ""
    part.begin(
        {
            "url": url,
            "validator": validator or response.headers.get("Last-Modified", ""),
            "total": size,
        }
    )
    return size


def _attempt(session: requests.Session, url: str, part: _Part, limit: int) -> None:
    """Bring the rest of a file into the part, once."""
    with _open(session, url, part) as response:
        total = _total(response, url, part)
        if total is not None and total > limit:
            raise _SourceError(f"{url}: {total} bytes, more than the limit of {limit}")
        done, beat = part.size(), time.monotonic()
        began, at = beat, done
        if response.status_code != 416:
            try:
                with open(part.path, "ab") as handle:
                    # Raw bytes: a .gz that is sent as "Content-Encoding: gzip" stays as it is.
                    for block in response.raw.stream(CHUNK >> 4, decode_content=False):
                        handle.write(block)
                        done += len(block)
                        if done > limit:
                            raise _SourceError(f"{url}: more than the limit of {limit} bytes")
                        if time.monotonic() - beat > 10:
                            beat = time.monotonic()
                            of = f" of {total / 1e6:.0f}" if total else ""
                            speed = (done - at) / 1e6 / (beat - began)
                            log.info("%.0f%s MB, %.1f MB/s", done / 1e6, of, speed)
            except (requests.exceptions.RequestException, TransportError, OSError) as error:
                if (
                    isinstance(error, OSError)
                    and error.errno is not None
                    and not isinstance(error, ConnectionError | TimeoutError)
                ):
                    raise  # the disk, not the network
                raise _RetryError(f"{url}: connection lost after {part.size()} bytes") from None
    if total is not None and part.size() < total:
        raise _RetryError(f"{url}: truncated, {part.size()} of {total} bytes")
    if total is not None and part.size() > total:
        part.delete()
        raise _RetryError(f"{url}: more bytes than announced")


def _download(url: str, part: _Part, limit: int, retries: int, backoff: float) -> None:
    """Bring a URL into the part, with ``retries`` further attempts that bring nothing new."""
    failures, best = 0, part.size()
    with requests.Session() as session:
        while True:
            try:
                return _attempt(session, url, part, limit)
            except _RetryError as error:
                if part.size() >= best + PROGRESS:
                    failures, best = 0, part.size()
                failures += 1
                if failures > retries:
                    raise _SourceError(f"{error} ({retries + 1} attempts)") from None
                wait = error.wait if error.wait is not None else backoff * 2 ** (failures - 1)
                log.warning("%s; next attempt in %.0f s", error, min(wait, 600))
                time.sleep(min(wait, 600))


def _wrong(item: Item, recorded: str, sums: Sums) -> str:
    """Return what is wrong with a file, or an empty string."""
    if item.bytes and sums.bytes != item.bytes:
        return f"{sums.bytes} bytes, expected {item.bytes}"
    if item.md5 and sums.md5 != item.md5:
        return f"md5 {sums.md5}, expected {item.md5}"
    if item.sha256 and sums.sha256 != item.sha256:
        return f"sha256 {sums.sha256}, expected {item.sha256}"
    if recorded and not item.sha256 and sums.sha256 != recorded:
        return f"sha256 {sums.sha256}, recorded at the first download was {recorded}"
    return "" if sums.bytes else "it is empty"


def recorded_sha256(checksums: str | Path, item: Item, memory: Path) -> str:
    """Return the sha256 recorded for a file: in ``checksums.tsv``, else in ``memory``, else ''."""
    if os.path.exists(checksums):
        with open(checksums, encoding="utf-8") as handle:
            filled = sum(1 for line in handle if line.strip()) > 1
        for row in read_rows(checksums, CHECKSUMS) if filled else []:
            if (row["name"], row["version"]) == (item.name, item.version):
                return row["sha256"].lower()
    return memory.read_text(encoding="ascii").strip() if memory.exists() else ""


def _replace(path: Path, text: str) -> None:
    """Write a small text file in one step."""
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


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
    """Bring one file of the manifest.

    Parameters
    ----------
    file : output, the file.
    provenance : output, JSON: name, version, source, bytes, md5, sha256, checked_against, licence.
    row : its row of the manifest; ``mirror_url`` is tried where ``url`` fails.
    checksums : path of ``resources/checksums.tsv`` (name, version, bytes, sha256). A parameter,
        not an input of the rule: its changes must not start downloads again.
    part_directory : where partial files, and the sha256 seen at first download, are kept.
    offline : use local sources only.
    retries : further attempts per URL after failures that may pass (lost connection, truncation,
        408, 429, 5xx); an attempt that brings more than 1 MiB does not count.
    max_bytes : size cap where the manifest states no size.
    backoff : seconds before the second attempt; doubled each time, at most 600. A Retry-After of
        the server is honoured.

    Raises
    ------
    InputError
        If no source gives a file with the published, or recorded, size and checksums.
    """
    item = Item.from_row(row)
    if not item.sources:
        raise InputError(
            f"no address is known for {item.name}",
            file="manifest",
            expected="a URL or the path of your copy in the column url",
        )
    stem = "-".join(filter(None, (item.name, item.version)))
    directory = Path(part_directory)
    directory.mkdir(parents=True, exist_ok=True)
    part, memory = _Part(directory / f"{stem}.part"), directory / f"{stem}.sha256"
    recorded = recorded_sha256(checksums, item, memory)
    limit = item.bytes or max_bytes
    problems = []
    for source in item.sources:
        remote = bool(urlsplit(source).scheme)
        try:
            if remote and offline:
                raise _SourceError(f"{source}: not fetched, the run is offline")
            if remote:
                _download(source, part, limit, retries, backoff)
            elif not os.path.isfile(source):
                raise _SourceError(f"{source}: no such file")
            else:
                part.begin({"url": source})
                shutil.copyfile(source, part.path)
        except _SourceError as error:
            log.warning("%s", error)
            problems.append(str(error))
            continue
        sums = checksums_of(part.path)
        wrong = _wrong(item, recorded, sums)
        if not wrong:
            break
        part.delete()
        log.warning("%s: wrong content, deleted: %s", source, wrong)
        problems.append(f"{source}: wrong content, {wrong}")
    else:
        raise InputError(f"cannot be fetched: {'; '.join(problems)}", file=item.name)

    checked = [k for k in ("md5", "sha256", "bytes") if getattr(item, k)]
    entry = {
        "name": item.name,
        "version": item.version,
        "source": source,
        "bytes": sums.bytes,
        "md5": sums.md5,
        "sha256": sums.sha256,
        "checked_against": checked + (["recorded sha256"] if recorded and not item.sha256 else []),
        "licence": row.get("licence", ""),
    }
    _replace(memory, sums.sha256 + "\n")
    Path(provenance).write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    shutil.move(part.path, file)
    part.delete()
    log.info("%s: %d bytes from %s", item.name, sums.bytes, source)


def merge_checksums(*, records: Sequence[str], recorded: str, merged: str) -> None:
    """Add the records of downloads to the table of checksums.

    Parameters
    ----------
    records : inputs, written by :func:`fetch`.
    recorded : path of the present ``checksums.tsv`` (it may hold a header only, or be absent).
    merged : output, the new table, sorted by name and version.

    Raises
    ------
    InputError
        If a record disagrees with the table.
    """
    table: dict[tuple[str, str], tuple[str, str]] = {}
    if os.path.exists(recorded) and len(Path(recorded).read_text("utf-8").splitlines()) > 1:
        for row in read_rows(recorded, CHECKSUMS):
            table[row["name"], row["version"]] = (row["bytes"], row["sha256"])
    for path in records:
        entry = json.loads(Path(path).read_text(encoding="utf-8"))
        key, value = (entry["name"], entry["version"]), (str(entry["bytes"]), entry["sha256"])
        if table.setdefault(key, value) != value:
            raise InputError(
                f"another checksum is recorded for {' '.join(key)}",
                file=recorded,
                found=value[1],
                expected=table[key][1],
            )
    with open(merged, "w", encoding="utf-8") as handle:
        handle.write("\t".join(CHECKSUMS) + "\n")
        for key in sorted(table):
            handle.write("\t".join((*key, *table[key])) + "\n")
