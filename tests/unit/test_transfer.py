"""One URL into a partial file: waiting, stalling, resuming."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genebert import transfer
from genebert.transfer import Part, SourceError, download
from servers import BODY, Server, chunked, cut, drip, ranged, send, whole


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    yield made
    made.close()


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "x.part")


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("99999", 600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("x", 1), ("nan", 1)],
)
def test_retry_after(
    server: Server, part: Part, waited: list[float], header: str, seconds: int
) -> None:
    server.answers = [send(429, Retry_After=header), whole()]
    download(server.url, part, 10**6, retries=1, backoff=1.0)
    assert waited == [seconds]


def test_backoff_doubles(server: Server, part: Part, waited: list[float]) -> None:
    server.answers = [send(500)]
    with pytest.raises(SourceError, match=r"HTTP 500 \(4 attempts\)"):
        download(server.url, part, 10, retries=3, backoff=2.0)
    assert waited == [2, 4, 8]


def test_a_slow_but_steady_transfer_goes_on(
    server: Server, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes far longer than the stall timeout, and is one request."""
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.4))
    server.answers = [drip(pieces=10, pause=0.1)]
    started = time.monotonic()
    download(server.url, part, 10**6, retries=0, backoff=0)
    assert time.monotonic() - started > 0.8
    assert part.path.read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_stalled_transfer_is_resumed_and_no_byte_is_lost(
    server: Server, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", (5, 0.3))
    server.answers = [drip(pieces=1, pause=5, upto=7_001), ranged]
    started = time.monotonic()
    download(server.url, part, 10**6, retries=1, backoff=0)
    assert time.monotonic() - started < 3
    assert part.path.read_bytes() == BODY
    assert server.requests[1][1]["range"] == "bytes=7001-"


def test_bytes_are_on_disk_as_they_come(server: Server, part: Part) -> None:
    """What a killed process has received is there for the next one."""
    server.answers = [drip(pieces=2, pause=0.5)]
    thread = threading.Thread(target=download, args=(server.url, part, 10**6, 0, 0.0))
    thread.start()
    threading.Event().wait(0.3)
    half = part.size()
    thread.join()
    assert half == len(BODY) // 2
    assert part.size() == len(BODY)


def test_progress_is_not_a_failure(
    server: Server, part: Part, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that drops again and again still brings the file, with one allowed failure."""
    monkeypatch.setattr(transfer, "PROGRESS", 10_000)

    def next_piece(handler) -> None:
        first = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        span = f"bytes {first}-{len(BODY) - 1}/{len(BODY)}"
        body = BODY[first : first + 10_000]
        send(206, body, Content_Length=len(BODY) - first, Content_Range=span)(handler)

    server.answers = [cut(10_000), next_piece]
    download(server.url, part, 10**6, retries=1, backoff=0)
    assert part.path.read_bytes() == BODY
    assert len(server.requests) == 5


def test_chunked(server: Server, part: Part, waited: list[float]) -> None:
    server.answers = [chunked(BODY, whole=False), chunked(BODY, whole=True)]
    download(server.url, part, 10**6, retries=1, backoff=0)
    assert part.path.read_bytes() == BODY
    assert len(server.requests) == 2


def test_another_file_is_not_appended(server: Server, part: Part, waited: list[float]) -> None:
    """A server that ignores If-Range continues with the file that replaced the old one."""

    def changed(handler) -> None:
        span = f"bytes 20000-{len(BODY) - 1}/{len(BODY)}"
        send(206, BODY[::-1][20_000:], Content_Range=span, ETag='"v2"')(handler)

    server.answers = [cut(20_000), changed, whole()]
    download(server.url, part, 10**6, retries=2, backoff=0)
    assert part.path.read_bytes() == BODY


def test_unknown_name_is_told(part: Part, waited: list[float]) -> None:
    with pytest.raises(SourceError, match="no-such-host.invalid.*: ConnectionError"):
        download("http://no-such-host.invalid/x", part, 10, retries=0, backoff=0)


def test_heartbeat(
    server: Server, part: Part, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(transfer.time, "monotonic", lambda: float(next(clock)))
    server.answers = [drip(pieces=4, pause=0.05)]
    with caplog.at_level("INFO"):
        download(server.url, part, 10**6, retries=0, backoff=0)
    assert any(line.startswith("receiving: ") and " MB, " in line for line in caplog.messages)
