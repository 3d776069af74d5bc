"""Downloads: against a server on this machine that fails in every way that servers do."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from genebert import fetch as module
from genebert.errors import InputError
from genebert.fetch import MANIFEST, Item, fetch, merge_checksums, read_manifest

BODY = bytes(i * 7 % 251 for i in range(50_000))
SHA = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Server:
    """A server whose answers are a list: one function per request, the last one repeated."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                answer = server.answers[0]
                if len(server.answers) > 1:
                    server.answers.pop(0)
                answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def send(status: int, body: bytes = b"", **headers: Any) -> Callable[[Any], None]:
    """Answer with a status, headers (``_`` for ``-``) and a body."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        named = {k.replace("_", "-"): str(v) for k, v in headers.items()}
        for key, value in {"Content-Length": str(len(body)), **named}.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def whole(**headers: Any) -> Callable[[Any], None]:
    return send(200, BODY, ETag='"v1"', **headers)


def cut(at: int, **headers: Any) -> Callable[[Any], None]:
    """Announce the whole body, send the first bytes and drop the connection."""
    return send(200, BODY[:at], Content_Length=len(BODY), ETag='"v1"', **headers)


def ranged(handler: BaseHTTPRequestHandler) -> None:
    """Answer a Range request as a good server does."""
    first = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
    span = f"bytes {first}-{len(BODY) - 1}/{len(BODY)}"
    send(206, BODY[first:], Content_Range=span, ETag='"v1"')(handler)


class Job:
    """A call of ``fetch`` and the files that it works on."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "out" / "file.bin"
        self.file.parent.mkdir()
        self.provenance = folder / "out" / "file.bin.json"
        self.checksums = folder / "checksums.tsv"
        self.checksums.write_text("name\tversion\tbytes\tsha256\n")
        self.parts = folder / "parts"
        self.part = self.parts / "file.bin-1.part"

    def __call__(self, url: str, mirror: str = "", retries: int = 2, **rest: Any) -> None:
        row = dict.fromkeys(MANIFEST, "") | {"name": "file.bin", "version": "1", "url": url}
        options = {k: rest.pop(k) for k in ("offline", "max_bytes") if k in rest}
        fetch(
            file=str(self.file),
            provenance=str(self.provenance),
            row=row | {"mirror_url": mirror} | rest,
            checksums=str(self.checksums),
            part_directory=str(self.parts),
            retries=retries,
            backoff=0,
            **options,
        )

    def fails(self, message: str, url: str, **rest: Any) -> None:
        with pytest.raises(InputError, match=message) as error:
            self(url, **rest)
        assert "\n" not in str(error.value)
        assert not self.file.exists()
        assert not self.provenance.exists()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_download(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job(server.url, md5=MD5, sha256=SHA, bytes=str(len(BODY)))
    assert job.file.read_bytes() == BODY
    entry = json.loads(job.provenance.read_text())
    assert entry["sha256"] == SHA
    assert entry["checked_against"] == ["md5", "sha256", "bytes"]
    assert not job.part.exists()
    assert server.requests[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [404, 403, 410])
def test_missing_is_one_line_and_not_tried_again(server: Server, job: Job, status: int) -> None:
    server.answers = [send(status)]
    job.fails(f"file.bin: cannot be fetched: .*HTTP {status}", server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_passing_failure_is_tried_again(server: Server, job: Job, status: int) -> None:
    server.answers = [send(status), whole()]
    job(server.url)
    assert job.file.read_bytes() == BODY
    assert len(server.requests) == 2


def test_gives_up_after_retries(server: Server, job: Job) -> None:
    server.answers = [send(500)]
    job.fails(r"HTTP 500 \(3 attempts\)", server.url)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("99999", 600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("x", 0)],
)
def test_retry_after(
    server: Server, job: Job, monkeypatch: pytest.MonkeyPatch, header: str, seconds: int
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    server.answers = [send(429, Retry_After=header), whole()]
    job(server.url)
    assert waited == [seconds]


def test_backoff_doubles(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    server.answers = [send(500)]
    part = module._Part(tmp_path / "x.part")
    with pytest.raises(module._SourceError):
        module._download(server.url, part, 10, retries=3, backoff=2.0)
    assert waited == [2, 4, 8]


def test_dropped_connection_is_resumed(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), ranged]
    job(server.url)
    assert job.file.read_bytes() == BODY
    assert server.requests[1][1]["range"] == "bytes=20000-"
    assert server.requests[1][1]["if-range"] == '"v1"'


def test_part_survives_a_failed_job(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), send(500)]
    job.fails("HTTP 500", server.url)
    assert job.part.stat().st_size == 20_000
    server.answers = [ranged]
    server.requests.clear()
    job(server.url, sha256=SHA)
    assert job.file.read_bytes() == BODY
    assert server.requests[0][1]["range"] == "bytes=20000-"


def test_range_ignored_starts_again(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), whole()]
    job(server.url, sha256=SHA)
    assert job.file.read_bytes() == BODY


def test_range_of_another_place_starts_again(server: Server, job: Job) -> None:
    wrong = send(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")
    server.answers = [cut(20_000), wrong, whole()]
    job(server.url, sha256=SHA)
    assert "range" not in server.requests[2][1]


def test_range_refused_starts_again(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), send(416, Content_Range="bytes */10"), whole()]
    job(server.url, sha256=SHA)
    assert "range" not in server.requests[2][1]


def test_complete_part_is_taken(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), send(500)]
    job.fails("HTTP 500", server.url)
    job.part.write_bytes(BODY)
    server.answers = [send(416, Content_Range=f"bytes */{len(BODY)}")]
    job(server.url, sha256=SHA)
    assert job.file.read_bytes() == BODY


def test_part_of_another_url_is_not_resumed(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), send(500)]
    job.fails("HTTP 500", server.url)
    server.answers = [whole()]
    server.requests.clear()
    job(server.url + "?other", sha256=SHA)
    assert "range" not in server.requests[0][1]


def test_truncated_for_good(server: Server, job: Job) -> None:
    server.answers = [cut(20_000), send(206, b"", Content_Range=f"bytes 20000-49999/{len(BODY)}")]
    job.fails("truncated, 20000 of 50000 bytes|connection lost after 20000", server.url)
    assert job.part.stat().st_size == 20_000


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ({"md5": "0" * 32}, f"md5 {MD5}, expected {'0' * 32}"),
        ({"sha256": "0" * 64}, f"sha256 {SHA}, expected {'0' * 64}"),
        ({"bytes": "50001"}, "50000 bytes, expected 50001"),
    ],
)
def test_wrong_content(server: Server, job: Job, published: dict[str, str], message: str) -> None:
    server.answers = [whole()]
    job.fails(message, server.url, **published)
    assert not job.part.exists()


def test_mirror(server: Server, job: Job) -> None:
    server.answers = [send(404), whole()]
    mirror = server.url.replace("file.bin", "mirror.bin")
    job(server.url, mirror=mirror)
    assert [path for path, _ in server.requests] == ["/file.bin", "/mirror.bin"]
    assert json.loads(job.provenance.read_text())["source"] == mirror


def test_mirror_after_wrong_content(server: Server, job: Job) -> None:
    server.answers = [send(200, b"<html>captive portal</html>"), whole()]
    job(server.url, mirror=server.url + "?mirror", sha256=SHA)
    assert job.file.read_bytes() == BODY


def test_recorded_at_first_download_and_checked_ever_after(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job(server.url)
    job.file.unlink()
    job.provenance.unlink()
    server.answers = [send(200, b"something else")]
    job.fails(f"recorded at the first download was {SHA}", server.url)
    server.answers = [whole()]
    job(server.url)
    assert json.loads(job.provenance.read_text())["checked_against"] == ["recorded sha256"]


def test_recorded_in_the_table(server: Server, job: Job) -> None:
    job.checksums.write_text(f"name\tversion\tbytes\tsha256\nfile.bin\t1\t3\t{'1' * 64}\n")
    server.answers = [whole()]
    job.fails("was 1111", server.url)
    # a newer version of the file is another file
    job(server.url, version="2")
    assert job.file.read_bytes() == BODY


def test_size_cap(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job.fails("50000 bytes, more than the limit of 49999", server.url, max_bytes=49_999)
    assert not job.part.exists() or job.part.stat().st_size == 0

    def endless(handler: BaseHTTPRequestHandler) -> None:  # announces no length
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY)

    server.answers = [endless]
    job.fails("more than the limit of 49999", server.url, max_bytes=49_999)
    job(server.url, max_bytes=50_000)
    assert job.file.read_bytes() == BODY


def test_gzip_is_kept_as_it_is(server: Server, job: Job) -> None:
    zipped = gzip.compress(BODY, mtime=0)
    server.answers = [send(200, zipped, Content_Encoding="gzip")]
    job.fails("the server compresses the file", server.url)
    job(server.url + ".gz")
    assert job.file.read_bytes() == zipped


def test_redirects(server: Server, job: Job) -> None:
    server.answers = [send(302, Location="/moved"), whole()]
    job(server.url, sha256=SHA)
    assert server.requests[1][0] == "/moved"
    job.file.unlink()
    job.provenance.unlink()
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        server.answers = [send(302, Location=target)]
        job.fails("not an http", server.url)
    server.answers = [send(302, Location="/file.bin")]
    job.fails("too many redirects", server.url)


def test_offline(server: Server, job: Job, tmp_path: Path) -> None:
    server.answers = [whole()]
    job.fails("the run is offline", server.url, offline=True)
    assert not server.requests
    copy = tmp_path / "copy.bin"
    copy.write_bytes(BODY)
    job(str(copy), offline=True, sha256=SHA)
    assert job.file.read_bytes() == BODY
    assert copy.exists()


def test_local_file(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job.fails("no such file", str(tmp_path / "absent"))
    (tmp_path / "empty").write_bytes(b"")
    job.fails("it is empty", str(tmp_path / "empty"))
    (tmp_path / "here").write_bytes(BODY)
    job.fails("expected 0000", str(tmp_path / "here"), sha256="0" * 64)
    monkeypatch.setenv("MY_DATA", str(tmp_path))
    job("${MY_DATA}/here", md5=MD5)
    assert job.file.read_bytes() == BODY


def test_unreachable(job: Job, server: Server) -> None:
    job.fails("ConnectionError .3 attempts", "http://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "ftp://host/x"}, "unsupported kind.*ftp://host/x.*expected http"),
        ({"url": "file:///etc/passwd"}, "unsupported kind"),
        ({"mirror_url": "s3://bucket/x"}, "mirror_url of file.bin"),
        ({"name": "../x"}, "name cannot be used in a file name"),
        ({"version": "a/b"}, "version cannot be used"),
        ({"md5": "12"}, "md5 of file.bin is malformed"),
        ({"sha256": "z" * 64}, "sha256 of file.bin is malformed"),
        ({"bytes": "12k"}, "bytes of file.bin is not a number"),
        ({"url": "${NO_SUCH_VARIABLE_SET}/x"}, "environment variable"),
    ],
)
def test_bad_rows(change: dict[str, str], message: str) -> None:
    row = dict.fromkeys(MANIFEST, "") | {"name": "file.bin", "url": "https://host/x"}
    Item.from_row(row)
    with pytest.raises(InputError, match=message):
        Item.from_row(row | change)


def test_no_address(job: Job) -> None:
    job.fails("no address is known for file.bin", "")


def test_shipped_manifest(root: Path) -> None:
    rows = read_manifest(root / "resources" / "manifest.tsv")
    assert {"hg19.fa.gz", "hg38.fa.gz", "hg38-blacklist.v2.bed.gz"} <= set(rows)
    assert list(rows) == sorted(rows, key=str.lower)
    header = (root / "resources" / "checksums.tsv").read_text().splitlines()[0]
    assert header.split("\t") == module.CHECKSUMS


def test_merge_checksums(server: Server, job: Job, tmp_path: Path) -> None:
    server.answers = [whole()]
    job(server.url)
    merged = tmp_path / "merged.tsv"
    merge_checksums(records=[str(job.provenance)], recorded=str(job.checksums), merged=str(merged))
    assert merged.read_text().splitlines()[1] == f"file.bin\t1\t50000\t{SHA}"
    again = tmp_path / "again.tsv"
    merge_checksums(records=[str(job.provenance)], recorded=str(merged), merged=str(again))
    assert again.read_bytes() == merged.read_bytes()
    merged.write_text(merged.read_text().replace(SHA, "2" * 64))
    with pytest.raises(InputError, match=r"another checksum is recorded for file\.bin 1"):
        merge_checksums(records=[str(job.provenance)], recorded=str(merged), merged=str(again))
