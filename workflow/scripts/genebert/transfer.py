"""Bring one URL into a partial file: resume, retry, wait as long as a server asks for.

Comes in: a URL (http or https) and the partial file, which may hold a beginning. Goes out: the
partial file, whole as far as the server tells; what it holds is checked by :mod:`genebert.fetch`.
Nothing is lost by a dropped connection, a stalled server or a killed process: every byte that came
is in the partial file, and the next attempt asks for the rest.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from urllib3.exceptions import HTTPError as TransportError

from genebert.disk import free_bytes, size_text
from genebert.errors import InputError
from genebert.progress import Progress

log = logging.getLogger("genebert")

BLOCK = 1 << 16
PROGRESS = 1 << 16  # bytes that a failed attempt must have brought so that it does not count
TIMEOUT = (30, 60)  # seconds to connect, and between two packets


class RetryError(Exception):
    """An attempt failed in a way that may pass; ``wait`` is what the server asked for."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class SourceError(Exception):
    """A source cannot give the file; another one may."""


def _seconds(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (seconds or a date), at most 600."""
    if not header:
        return None
    if header.isdecimal():
        return min(float(header), 600.0)
    try:
        wait = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(wait, 0.0), 600.0)


def _reason(error: Exception) -> str:
    """Return the kind of a failed request and, where it is told, why it failed."""
    why = str(getattr(error.args[0] if error.args else None, "reason", "") or "")
    return type(error).__name__ + (f" ({why.split('>: ')[-1].split('): ')[-1]})" if why else "")


class Part:
    """A partial download and, beside it, the URL and validator that it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")

    def size(self) -> int:
        """Return how many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> dict[str, Any]:
        """Return url, validator and total that the bytes belong to; {} where unknown."""
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
        """Forget what came."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _open(session: requests.Session, url: str, part: Part) -> requests.Response:
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
        raise SourceError(
            f"{url}: not an http(s) address, or redirected to one ({error})"
        ) from None
    except requests.exceptions.TooManyRedirects:
        raise SourceError(f"{url}: too many redirects") from None
    except (requests.exceptions.RequestException, TransportError) as error:
        raise RetryError(f"{url}: {_reason(error)}") from None


def _total(response: requests.Response, url: str, part: Part) -> int | None:
    """Check the answer, prepare the part, and return the size of the whole file if it is known."""
    status = response.status_code
    if status == 416:  # the part is as long as the file, or of another file
        found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == part.size() > 0:
            return part.size()
        part.delete()
        raise RetryError(f"{url}: the partial file does not fit, starting again", wait=0.0)
    if status in (408, 429) or status >= 500:
        raise RetryError(f"{url}: HTTP {status}", _seconds(response.headers.get("Retry-After")))
    if status not in (200, 206):
        raise SourceError(f"{url}: HTTP {status}")
    if response.headers.get("Content-Encoding", "identity") != "identity" and not url.endswith(
        (".gz", ".bgz", ".tgz")
    ):
        raise SourceError(
            f"{url}: the server compresses the file, which cannot be resumed or checked"
        )
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isdecimal() else None
    if status == 206:
        span = re.fullmatch(
            r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "")
        )
        whole = int(span[3]) if span and span[3] != "*" else None
        known, etag = part.origin().get("total"), part.origin().get("validator", "")
        if (
            not span
            or int(span[1]) != part.size()
            or (known and whole and known != whole)
            or (etag.startswith('"') and response.headers.get("ETag", etag) != etag)
        ):
            part.delete()
            raise RetryError(f"{url}: the answer does not continue the partial file", wait=0.0)
        return whole or known
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


def _check_room(part: Part, total: int) -> None:
    """Raise :class:`InputError` before a byte is brought that has no room on the disk."""
    needed, free = total - part.size(), free_bytes(part.path)
    if needed > free:
        raise InputError(
            "the disk has no room for this download",
            file=part.path,
            found=f"{size_text(free)} free",
            expected=size_text(needed),
        )


def _receive(
    response: requests.Response, url: str, part: Part, total: int | None, limit: int
) -> None:
    """Append what the server sends to the part, as it comes."""
    done = at = part.size()
    told = Progress("receiving", (total - at) / 1e6 if total else None, "MB")
    with open(part.path, "ab", buffering=0) as handle:
        # Raw bytes: a .gz that is sent as "Content-Encoding: gzip" stays as it is. read1 returns
        # what has come and does not wait for a full block, so that a slow server loses nothing.
        while block := response.raw.read1(BLOCK, decode_content=False):
            view = memoryview(block)
            while view:
                view = view[handle.write(view) :]
            done += len(block)
            if done > limit:
                raise SourceError(f"{url}: more than the limit of {limit} bytes")
            told.at((done - at) / 1e6)


def _attempt(session: requests.Session, url: str, part: Part, limit: int) -> None:
    """Bring the rest of a file into the part, once."""
    with _open(session, url, part) as response:
        total = _total(response, url, part)
        if total is not None and total > limit:
            raise SourceError(f"{url}: {total} bytes, more than the limit of {limit}")
        if total is not None:
            _check_room(part, total)
        if response.status_code != 416:
            try:
                _receive(response, url, part, total, limit)
            except (requests.exceptions.RequestException, TransportError, OSError) as error:
                network = isinstance(error, TransportError | requests.exceptions.RequestException)
                if not network and not isinstance(error, ConnectionError | TimeoutError):
                    raise  # the disk, not the network
                raise RetryError(
                    f"{url}: connection lost or stalled after {part.size()} bytes"
                ) from None
    if total is not None and part.size() < total:
        raise RetryError(f"{url}: truncated, {part.size()} of {total} bytes")
    if total is not None and part.size() > total:
        part.delete()
        raise RetryError(f"{url}: more bytes than announced")


def download(url: str, part: Part, limit: int, retries: int, backoff: float) -> None:
    """Bring a URL into the part, with ``retries`` further attempts that bring nothing new."""
    failures, best = 0, part.size()
    with requests.Session() as session:
        while True:
            try:
                return _attempt(session, url, part, limit)
            except RetryError as error:
                if part.size() >= best + PROGRESS:
                    failures, best = 0, part.size()
                failures += 1
                if failures > retries:
                    raise SourceError(f"{error} ({retries + 1} attempts)") from None
                wait = error.wait if error.wait is not None else backoff * 2 ** (failures - 1)
                log.warning("%s; next attempt in %.0f s", error, min(wait, 600))
                time.sleep(min(wait, 600))
