"""What a full disk says: numbers, texts of libraries, and the disk itself."""

from __future__ import annotations

import errno
import os

import pytest

from genebert import disk
from genebert.disk import disk_full, free_bytes, size_text, whole_file
from genebert.errors import InputError


def caused() -> Exception:
    try:
        try:
            raise OSError(errno.ENOSPC, "x")
        except OSError as cause:
            raise ValueError("a library's own error") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "the disk is full"),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), "quota"),
        (OSError(errno.EFBIG, os.strerror(errno.EFBIG)), "ulimit -f"),
        (OSError("Unable to write (file write failed: errno = 28, buf = 0x1)"), "the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
        (OSError("[Errno 28] Error writing bytes to file."), "the disk is full"),
        (caused(), "the disk is full"),
    ],
)
def test_full(error, text, tmp_path):
    told = disk_full(error, tmp_path / "not/yet/there.bin", needed=3_100_000_000)
    assert isinstance(told, InputError)
    assert str(told).startswith(f"{tmp_path}/not/yet/there.bin: cannot be written, ")
    assert text in str(told)
    assert str(told).endswith("free'; expected 3.1 GB more")
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, os.strerror(errno.EACCES)),
        OSError("errno 280"),
        RuntimeError("unexpected pos 576 vs 534"),
        ValueError("bad value"),
    ],
)
def test_other_errors(error, tmp_path):
    assert disk_full(error, tmp_path / "x") is None


def test_a_library_that_tells_nothing_but_that_a_write_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "free_bytes", lambda path: 100)
    assert "found '100 bytes free'" in str(
        disk_full(RuntimeError("unexpected pos"), tmp_path / "x")
    )
    assert disk_full(ZeroDivisionError("no"), tmp_path / "x") is None


def test_sizes(tmp_path):
    assert [size_text(n) for n in (0, 999, 1500, 2e6, 3.14e9, 5e12)] == [
        "0 bytes", "999 bytes", "1.5 kB", "2.0 MB", "3.1 GB", "5000.0 GB",
    ]  # fmt: skip
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/small")
    monkeypatch.setattr(disk, "free_bytes", lambda path: 0 if path == "/small" else 10**12)
    told = str(disk_full(OSError(errno.ENOSPC, "x"), tmp_path / "x"))
    assert told.startswith("/small: cannot be written, the disk is full; found '0 bytes free'")


def test_whole_file(tmp_path):
    path = tmp_path / "x.txt"
    with whole_file(path) as part:
        part.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    for error, told in (
        (KeyboardInterrupt(), "^$"),
        (OSError(errno.ENOSPC, "x"), r"x\.txt: cannot be written, the disk is full"),
        (ZeroDivisionError("mine"), "^mine$"),
    ):
        with pytest.raises(BaseException, match=told):
            write_half(path, error)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path, error):
    with whole_file(path) as part:
        part.write_text("half")
        raise error
