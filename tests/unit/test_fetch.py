"""Downloads: against a server on this machine that fails in every way that servers do."""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from genome_toys import bgzipped, block_ends

from genebert import fetch as module
from genebert import transfer
from genebert.downloads import MANIFEST, manifest_rows
from genebert.errors import InputError
from genebert.fetch import Item, fetch, merge_checksums
from servers import BODY, Server, cut, open_ended, ranged, send, whole

SHA = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    made = Server()
    yield made
    made.close()


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
    job.fails("truncated, 20000 of 50000 bytes|lost or stalled after 20000", server.url)
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

    server.answers = [open_ended(BODY)]  # announces no length
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
    job.fails(r"ConnectionError \(.*refused\) \(3 attempts\)", "http://127.0.0.1:9/x")


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
    items = [Item.from_row(r) for r in manifest_rows({}, root / "resources" / "manifest.tsv")]
    names = [item.name for item in items]
    assert {"hg19.fa.gz", "hg38.fa.gz", "hg38-blacklist.v2.bed.gz"} <= set(names)
    assert names == sorted(names, key=str.lower)
    header = (root / "resources" / "checksums.tsv").read_text().splitlines()[0]
    assert header.split("\t") == module.CHECKSUMS


def test_merge_checksums(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job(server.url)
    table = job.checksums
    table.write_text(f"name\tversion\tbytes\tsha256\nzz\t\t3\t{'3' * 64}\n")
    merge_checksums(records=[str(job.provenance)], checksums=str(table))
    assert table.read_text().splitlines()[1:] == [
        f"file.bin\t1\t50000\t{SHA}",
        f"zz\t\t3\t{'3' * 64}",
    ]
    before = table.stat().st_mtime_ns
    merge_checksums(records=[str(job.provenance)], checksums=str(table))
    assert table.stat().st_mtime_ns == before
    table.write_text(table.read_text().replace(SHA, "2" * 64))
    with pytest.raises(InputError, match=r"another checksum is recorded for file\.bin 1"):
        merge_checksums(records=[str(job.provenance)], checksums=str(table))
    table.unlink()
    merge_checksums(records=[str(job.provenance)], checksums=str(table))
    assert len(table.read_text().splitlines()) == 2


def test_placed_by_hand_is_checked_and_kept_without_a_request(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job.file.write_bytes(BODY)
    os.utime(job.file, (1e9, 1e9))
    job(server.url, offline=True, md5=MD5, licence="CC0")
    assert not server.requests
    assert job.file.read_bytes() == BODY
    assert job.file.stat().st_mtime > 1.5e9  # newer than the script of the rule
    entry = json.loads(job.provenance.read_text())
    assert entry["source"] == "placed by hand"
    assert (entry["sha256"], entry["checked_against"]) == (SHA, ["md5"])
    assert entry["licence"] == "CC0"
    assert [path.name for path in job.file.parent.iterdir()] == ["file.bin", "file.bin.json"]


@pytest.mark.parametrize("offline", [True, False])
def test_wrong_file_placed_by_hand_is_refused_and_not_touched(
    server: Server, job: Job, offline: bool
) -> None:
    server.answers = [whole()]
    job.file.write_bytes(BODY[:-1])
    with pytest.raises(InputError, match=rf"lies here is not file\.bin 1: md5 .*expected {MD5}"):
        job(server.url, offline=offline, md5=MD5)
    assert not server.requests
    assert job.file.read_bytes() == BODY[:-1]
    assert not job.provenance.exists()


def test_placed_by_hand_without_any_address_or_checksum(job: Job) -> None:
    job.file.write_bytes(BODY)
    job("")
    assert json.loads(job.provenance.read_text())["checked_against"] == []
    job.file.write_bytes(BODY + b"x")  # and recorded from then on
    with pytest.raises(InputError, match="recorded at the first download"):
        job("")


def test_a_file_of_another_version_is_replaced(server: Server, job: Job) -> None:
    server.answers = [whole(), send(200, b"second")]
    job(server.url, version="1")
    job(server.url, version="1")
    assert len(server.requests) == 1  # nothing to do
    with pytest.raises(InputError, match="the run is offline"):
        job(server.url, version="2", offline=True)
    assert job.file.read_bytes() == BODY
    job(server.url, version="2")
    assert job.file.read_bytes() == b"second"
    assert json.loads(job.provenance.read_text())["version"] == "2"


def test_a_damaged_download_is_fetched_again(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job(server.url)
    job.file.write_bytes(b"damaged")
    job(server.url)
    assert job.file.read_bytes() == BODY


def test_the_source_and_date_of_a_download_are_kept(server: Server, job: Job) -> None:
    server.answers = [whole()]
    job(server.url)
    entry = json.loads(job.provenance.read_text()) | {"date": "2020-01-01"}
    job.provenance.write_text(json.dumps(entry))
    job(server.url + "?moved", offline=True)
    assert json.loads(job.provenance.read_text())["date"] == "2020-01-01"
    assert json.loads(job.provenance.read_text())["source"] == server.url


def test_a_web_page_is_not_the_file(server: Server, job: Job) -> None:
    page = b"\n<!DOCTYPE HTML><html>Please log in</html>"
    server.answers = [send(200, page), whole()]
    job.fails("a web page and not the file", server.url)
    server.answers = [send(200, page)]
    job(server.url, name="file.html", version="1")  # here a page is what is wanted
    assert job.file.read_bytes() == page


def test_bgzip_cut_between_two_blocks_without_a_checksum(
    server: Server, job: Job, tmp_path: Path
) -> None:
    zipped = bgzipped(tmp_path)
    server.answers = [open_ended(zipped[: block_ends(zipped)[1]])]
    job.fails("the block that bgzip writes last is missing", server.url, name="file.gz")
    server.answers = [open_ended(zipped)]
    job(server.url, name="file.gz")


def test_gzip_cut_short_without_a_checksum(server: Server, job: Job) -> None:
    zipped = gzip.compress(BODY, mtime=0)
    server.answers = [open_ended(zipped[:-9])]
    job.fails("not a whole gzip file", server.url, name="file.gz")
    server.answers = [open_ended(BODY)]
    job.fails("not a whole gzip file", server.url, name="file.gz")
    server.answers = [open_ended(zipped)]
    job(server.url, name="file.gz")
    assert job.file.read_bytes() == zipped


def test_notes_say_where_a_file_is_to_be_had(job: Job) -> None:
    job.fails(rf"no address is known for file\.bin \(ask the authors\).*your copy at {job.file}", "",
              notes="ask the authors")  # fmt: skip


def test_two_processes_do_not_write_one_part(
    server: Server, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job of a killed run is still at it: the next one waits, and finds the file in place."""
    job.parts.mkdir()
    server.answers = [whole()]
    other = open(job.parts / "file.bin-1.lock", "w")  # noqa: SIM115
    fcntl.flock(other, fcntl.LOCK_EX)

    def finish(seconds: float) -> None:
        job.file.write_bytes(BODY)
        other.close()

    monkeypatch.setattr(module.time, "sleep", finish)
    job(server.url, sha256=SHA)
    assert not server.requests
    assert job.file.read_bytes() == BODY


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_line_and_the_part_is_resumed(
    server: Server, job: Job, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    server.answers = [whole()]
    room = 20_000

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            left = room - os.fstat(self.fileno()).st_size
            if left <= 0:
                raise OSError(number, os.strerror(number))
            return super().write(bytes(data)[:left])

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "open", lambda path, mode, **_: Full(path, mode), raising=False)
        job.fails(
            r"file\.bin-1\.part: cannot be written, the disk.*free'; expected room", server.url
        )
    assert len(server.requests) == 1  # a full disk is not tried again
    assert job.part.stat().st_size == room
    server.answers = [ranged]
    job(server.url, sha256=SHA)
    assert job.file.read_bytes() == BODY
    assert server.requests[1][1]["range"] == f"bytes={room}-"


def test_no_room_is_told_before_the_first_byte(
    server: Server, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [whole()]
    monkeypatch.setattr(transfer, "free_bytes", lambda path: 40_000)
    job.fails("no room for this download; found '40.0 kB free'; expected 50.0 kB", server.url)
    assert job.part.stat().st_size == 0
    monkeypatch.setattr(transfer, "free_bytes", lambda path: 50_000)
    job(server.url)


def test_hashing_a_large_file_shows_a_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "large").write_bytes(BODY)
    clock = iter(range(0, 10_000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(module, "CHUNK", 10_000)
    with caplog.at_level("INFO"):
        assert module.checksums_of(tmp_path / "large").sha256 == SHA
    assert 1 <= sum("large: checksums: " in line for line in caplog.messages) <= 3
