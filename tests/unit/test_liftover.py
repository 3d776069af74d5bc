"""Carrying peaks by chain files, good and bad."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genebert import liftover
from genebert.errors import InputError
from genebert.liftover import Chain, lift_peaks
from genebert.peaks import Peaks

SOURCE = {"chr1": 1000, "chr2": 500}
GENOME = {"chrX": 2000, "chr1": 900}

# chr1:100-300 -> chr1:50-250; gap of 20 on the source; chr1:320-400 -> chr1:250-330;
# 30 bases of the genome inserted; chr1:400-500 -> chr1:360-460.
FORWARD = "chain 100 chr1 1000 + 100 500 chr1 900 + 50 460 1\n200 20 0\n80 0 30\n100\n\n"
# chr1:600-700 -> the strand - of chrX at 1000, which is chrX:900-1000 mirrored.
REVERSE = "chain 50 chr1 1000 + 600 700 chrX 2000 - 1000 1100 2\n100\n\n"
# chr2 leads to a contig that the genome lacks.
ALT = "chain 70 chr2 500 + 0 500 alt 700 + 100 600 3\n500\n\n"


def write(folder: Path, text: str, *, zipped: bool = False) -> Path:
    path = folder / "a.over.chain"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


def peaks_at(*places: tuple[int, int, int, int], strength: list[float] | None = None) -> Peaks:
    contig, start, end, summit = np.array(places, dtype=np.int32).reshape(-1, 4).T
    value = np.array(strength) if strength else np.full(len(places), 0.5)
    counts = {"read": len(places), "unknown_contig": 0, "duplicate": 0, "no_summit": 0}
    return Peaks(contig, start, end, summit, value, "score", counts)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain.read(write(tmp_path, FORWARD + REVERSE + ALT), GENOME)


def rows(peaks: Peaks) -> list[tuple[int, ...]]:
    return list(
        zip(
            *(a.tolist() for a in (peaks.contig, peaks.start, peaks.end, peaks.summit)), strict=True
        )
    )


def lost(peaks: Peaks) -> dict[str, int]:
    return {
        k: v for k, v in peaks.counts.items() if v and (k.startswith("lift") or k == "duplicate")
    }


@pytest.mark.parametrize(
    ("peak", "lifted", "min_ratio"),
    [
        ((0, 100, 200, 150), (1, 50, 150, 100), 0.95),  # inside one block
        ((0, 100, 300, 299), (1, 50, 250, 249), 0.95),  # to the end of a block
        ((0, 96, 176, 97), (1, 50, 126, 50), 0.95),  # 4 of 80 bases lie before it: just enough
        ((0, 200, 400, 305), (1, 150, 330, 249), 0.85),  # a summit in the gap: the nearer side
        ((0, 200, 400, 316), (1, 150, 330, 250), 0.85),
        ((0, 200, 420, 309), (1, 150, 380, 249), 0.85),
        ((0, 250, 420, 410), (1, 200, 380, 370), 0.85),  # with an insertion: 170 become 180
        ((0, 600, 700, 600), (0, 900, 1000, 999), 0.95),  # the other strand
        ((0, 610, 650, 649), (0, 950, 990, 950), 0.95),
    ],
)
def test_lift(
    chain: Chain, peak: tuple[int, ...], lifted: tuple[int, ...], min_ratio: float
) -> None:
    out = lift_peaks(peaks_at(peak), chain, min_ratio=min_ratio)  # type: ignore[arg-type]
    assert rows(out) == [lifted]
    assert not lost(out)
    assert out.start.dtype == np.int32
    assert out.strength.tolist() == [0.5]


@pytest.mark.parametrize(
    ("peak", "reason", "min_ratio"),
    [
        ((0, 0, 100, 5), "lift_unmapped", 0.95),
        ((0, 500, 600, 550), "lift_unmapped", 0.95),
        ((0, 95, 175, 100), "lift_unmapped", 0.95),  # 5 of 80 are not aligned
        ((0, 480, 620, 550), "lift_split", 0.95),  # two chains, a part each
        ((0, 450, 650, 550), "lift_split", 0.25),  # both are enough: liftOver says duplicated
        ((1, 10, 20, 15), "lift_unmapped", 0.95),  # to a contig that the genome lacks
        ((0, 350, 450, 360), "lift_width", 0.95),  # 100 bases become 130
    ],
)
def test_lost(chain: Chain, peak: tuple[int, ...], reason: str, min_ratio: float) -> None:
    out = lift_peaks(peaks_at(peak), chain, min_ratio=min_ratio)  # type: ignore[arg-type]
    assert len(out) == 0
    assert lost(out) == {reason: 1}


def test_width_limit_is_inclusive(tmp_path: Path) -> None:
    for insertion, kept in ((20, 1), (21, 0)):
        end = 100 + insertion
        text = f"chain 1 chr1 1000 + 0 100 chr1 900 + 0 {end} 1\n50 0 {insertion}\n50\n"
        chain = Chain.read(write(tmp_path, text), GENOME)
        assert len(lift_peaks(peaks_at((0, 0, 100, 5)), chain)) == kept
    assert liftover.MAX_WIDTH_CHANGE == 0.2


def test_one_chain_has_enough_and_another_the_rest(tmp_path: Path) -> None:
    two = (
        "chain 9 chr1 1000 + 0 96 chr1 900 + 0 96 1\n96\n\n"
        "chain 8 chr1 1000 + 96 200 chrX 2000 + 0 104 2\n104\n\n"
    )
    out = lift_peaks(peaks_at((0, 0, 100, 99)), Chain.read(write(tmp_path, two), GENOME))
    assert rows(out) == [(1, 0, 96, 95)]


@pytest.mark.parametrize("scores", [(5, 4), (4, 5), (5, 5)])
def test_the_higher_score_wins(tmp_path: Path, scores: tuple[int, int]) -> None:
    text = (
        f"chain {scores[0]} chr1 1000 + 0 200 chr1 900 + 0 200 1\n200\n\n"
        f"chain {scores[1]} chr1 1000 + 100 300 chrX 2000 + 0 200 2\n200\n\n"
    )
    chain = Chain.read(write(tmp_path, text), GENOME)
    out = lift_peaks(peaks_at((0, 100, 200, 150)), chain)
    first = scores[0] >= scores[1]
    assert rows(out) == ([(1, 100, 200, 150)] if first else [(0, 0, 100, 50)])


def test_order_strength_and_equals(chain: Chain) -> None:
    # Two peaks that differ in the gap of the source only become one; the order is the genome's.
    peaks = peaks_at(
        (0, 250, 305, 260),
        (0, 250, 310, 260),
        (0, 350, 390, 380),
        (0, 600, 640, 620),
        strength=[0.25, 1.0, 0.75, 0.5],
    )
    out = lift_peaks(peaks, chain, min_ratio=0.8)
    assert rows(out) == [(0, 960, 1000, 979), (1, 200, 250, 210), (1, 280, 320, 310)]
    assert out.strength.tolist() == [0.5, 1.0, 0.75]
    assert out.counts == {
        "read": 4, "unknown_contig": 0, "duplicate": 1, "no_summit": 0,
        "lift_unmapped": 0, "lift_split": 0, "lift_width": 0,
    }  # fmt: skip
    assert out.score_source == "score"


def test_no_peaks(chain: Chain) -> None:
    assert len(lift_peaks(peaks_at(), chain)) == 0


def test_none_of_the_peaks_is_near_a_chain(chain: Chain) -> None:
    out = lift_peaks(peaks_at((0, 10, 20, 15), (0, 900, 950, 910)), chain)
    assert lost(out) == {"lift_unmapped": 2}


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.01])
def test_ratio_out_of_range(chain: Chain, ratio: float) -> None:
    with pytest.raises(InputError, match="atlas.chain_min_ratio"):
        lift_peaks(peaks_at((0, 1, 2, 1)), chain, min_ratio=ratio)


def test_reading_is_tolerant(tmp_path: Path, chain: Chain) -> None:
    text = "##matrix=16\n# comment\n\n" + (FORWARD + REVERSE + ALT).replace("\n", "\r\n")
    other = Chain.read(write(tmp_path, text.replace(" 20 0", "\t20\t0"), zipped=True), GENOME)
    assert other.source_contigs == chain.source_contigs == SOURCE
    for name in ("base", "start", "end", "chain", "sign", "offset", "contig"):
        np.testing.assert_array_equal(getattr(other, name), getattr(chain, name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no chain"),
        ("chr1\t5\t10\n", "line 1: is not a chain"),
        (FORWARD.rsplit("100\n", 1)[0], "line 3: chain of line 1 is truncated"),
        (FORWARD.rsplit("100\n", 1)[0] + REVERSE, "line 4: chain of line 1 is truncated"),
        (FORWARD.replace("200 20 0", "200 20"), "line 2: block .*number of fields"),
        (FORWARD.replace("200 20 0", "200 2x 0"), "line 2: block is not a position; found '2x'"),
        (FORWARD.replace("200 20 0", "-200 20 0"), "line 2: block is not a position"),
        (FORWARD.replace("\n100\n", "\n90\n"), "line 4: blocks of the chain of line 1 do not fit"),
        (FORWARD.replace("200 20 0", "900 20 0"), "line 2: blocks of the chain of line 1"),
        (FORWARD + "5\n", "line 6: is not a chain"),
        (FORWARD.replace("chain 100", "chain x"), "line 1: score is not a number"),
        (FORWARD.replace("chain 100", "chain nan"), "line 1: score is not a number"),
        (FORWARD.replace("1000 + 100", "1000 - 100"), "line 1: strand is wrong"),
        (FORWARD.replace("900 + 50", "900 . 50"), "line 1: strand is wrong"),
        (FORWARD.replace(" 460 1", ""), "line 1: chain has the wrong number of fields"),
        (FORWARD.replace("100 500 chr1", "500 100 chr1"), "line 1: chain leaves chr1"),
        (FORWARD.replace("900 + 50", "400 + 50"), "line 1: chain leaves chr1"),
        (FORWARD + REVERSE.replace("1000", "1001", 1), "line 6: chr1 has two lengths"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Chain.read(write(tmp_path, text), GENOME)
    assert "\n" not in str(caught.value)
    assert "a.over.chain" in str(caught.value)


def test_wrong_direction(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: chain leads away .*wrong direction.*900 bases"):
        Chain.read(write(tmp_path, FORWARD), SOURCE)


def test_other_assembly(tmp_path: Path) -> None:
    path = write(tmp_path, FORWARD)
    with pytest.raises(InputError, match=r"line 1: chain leads to another assembly.*expected 901"):
        Chain.read(path, {"chr1": 901})
    with pytest.raises(InputError, match=r"other assembly\?; found 'chr1'; expected .* such as 1"):
        Chain.read(path, {"1": 900})


def test_truncated_gzip(tmp_path: Path) -> None:
    path = write(tmp_path, FORWARD * 50, zipped=True)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match="gzip file is truncated"):
        Chain.read(path, GENOME)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Chain.read(tmp_path / "none.chain", GENOME)
