"""Lines and blocks of lines of plain and gzipped files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from genome_toys import bgzipped, block_ends

from genebert import lines
from genebert.errors import InputError
from genebert.lines import is_head, line_blocks, numbered_lines


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("tail", ["", "\n", "\r\n", "\n\n"])
def test_blocks_are_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: str, zipped: bool
) -> None:
    raw = ("\n".join("x" * (i % 17) for i in range(100)) + tail).encode()
    path = tmp_path / "a"
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    expected = list(numbered_lines(path))
    for first, size in ((1, 1), (5, 16), (1 << 16, 1 << 24)):
        monkeypatch.setattr(lines, "FIRST_BLOCK", first)
        monkeypatch.setattr(lines, "BLOCK", size)
        blocks = list(line_blocks(path))
        assert b"".join(block for _, block in blocks) == raw
        assert all(block.endswith(b"\n") for _, block in blocks[:-1])
        found = [
            (number + i, line.rstrip(b"\r\n"))
            for number, block in blocks
            for i, line in enumerate(block.splitlines(keepends=True))
        ]
        assert found == expected


def test_no_file_no_blocks(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(line_blocks(tmp_path / "empty")) == []
    with pytest.raises(InputError, match="no such file"):
        list(line_blocks(tmp_path / "absent"))
    with pytest.raises(InputError, match="cannot be read"):
        list(line_blocks(tmp_path))


def test_bgzip_cut_between_two_blocks_is_told(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.gz", bgzipped(tmp_path)
    ends = block_ends(whole)
    assert len(ends) > 3
    path.write_bytes(whole)
    assert len(list(numbered_lines(path))) == 60_000
    for end in ends[:-1]:
        path.write_bytes(whole[:end])
        assert gzip.decompress(whole[:end])  # no checksum is wrong
        for read in (numbered_lines, line_blocks):
            with pytest.raises(InputError, match="bgzip file is truncated"):
                list(read(path))


def test_the_byte_order_mark_of_an_editor_is_no_part_of_the_text(tmp_path: Path) -> None:
    raw = b"\xef\xbb\xbfchr1\t1\t5\nchr1\t\xef\xbb\xbf7\t9\n"
    for content in (raw, gzip.compress(raw)):
        (tmp_path / "a.bed").write_bytes(content)
        found = [line for _, line in numbered_lines(tmp_path / "a.bed")]
        assert found == [b"chr1\t1\t5", b"chr1\t\xef\xbb\xbf7\t9"]
        assert b"".join(block for _, block in line_blocks(tmp_path / "a.bed")) == raw[3:]


def test_damage_is_told_with_its_line(tmp_path: Path) -> None:
    raw = gzip.compress(b"".join(b"%d\n" % (i * 7919 % 10007) for i in range(20_000)))
    path = tmp_path / "a.gz"
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(InputError, match=r"line \d{4,5}: gzip file is truncated"):
        list(line_blocks(path))
    path.write_bytes(raw[:2000] + b"\xff" * 99 + raw[2099:])
    with pytest.raises(InputError, match=r"line \d+: gzip file is corrupt"):
        list(line_blocks(path))


@pytest.mark.parametrize(
    ("line", "head"),
    [
        ("", True), (" \t", True), ("#chr1\t1", True), (" # a", True), ("track", True), ("track name='a\tb'", True),
        ("browser\thide", True), ("track1\t1\t5", False), ("browser_x 1 5", False), ("tracks", False),
        ("chr1\t1\t5\t#", False), ("\t#\t1", False), ("1\ttrack\t5", False),
    ],
)  # fmt: skip
def test_heads_of_a_bed_are_whole_words(line: str, head: bool) -> None:
    assert is_head(line) is head
