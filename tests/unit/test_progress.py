"""Lines about long work: when they come, and what time to finish they tell."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from genebert import progress as module
from genebert.lines import line_blocks, numbered_lines
from genebert.progress import Progress, duration, progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-3, "0 s"), (41.6, "42 s"), (60, "1 min"), (190, "3 min 10 s"), (7500, "2 h 5 min"),
     (7200, "2 h"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_ten_seconds_with_the_time_to_finish() -> None:
    clock, lines = Clock(), []
    told = Progress("reading", 400, "files", tell=lines.append, clock=clock)
    for done in range(1, 101):
        clock.now += 0.25
        told.at(done)
    assert lines == [
        "reading: 40 of 400 files, 1 min 30 s to go",
        "reading: 80 of 400 files, 1 min 20 s to go",
    ]


def test_work_of_unknown_size_and_notes() -> None:
    clock, lines = Clock(), []
    told = Progress("reading", tell=lines.append, clock=clock)
    clock.now += 11
    told.at(12_345, "chr1")
    clock.now += 11
    assert Progress("a", 5).line(0, 3) == "a: 0 of 5, 3 s so far"
    assert lines == ["reading: 12,345, 11 s so far (chr1)"]


def test_items_pass_unchanged_and_short_work_says_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    assert list(progress(iter("abc"), "letters")) == ["a", "b", "c"]
    assert not caplog.records
    monkeypatch.setattr(module, "SECONDS", 0.0)
    assert list(progress([1, 2], "numbers", "items")) == [1, 2]
    assert [r.message for r in caplog.records][-1] == "numbers: 2 of 2 items, 0 s to go"


def test_reading_a_long_text_file_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "genes.gtf"
    path.write_bytes(b"x" * 99 + b"\n" + b"y\n" * 100_000)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    assert sum(1 for _ in numbered_lines(path)) == 100_001
    assert len(list(line_blocks(path))) >= 2
    assert all(r.message.startswith("reading genes.gtf: 0.") for r in caplog.records)
    assert len(caplog.records) > 10
