"""Whatever the genome, the regions, the flank and the number of shards: what went in comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genebert.errors import InputError
from genebert.genome import encode
from genebert.shard_export import export_shards
from genebert.shards import Shards
from genebert.splits import Splits
from shard_toys import SPLITS, WIDTH, make_toy


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    per_contig=st.tuples(st.integers(1, 6), st.integers(0, 4), st.integers(0, 4)),
    flank=st.integers(0, 70),
    count=st.integers(1, 7),
)
def test_round_trip(seed: int, per_contig: tuple[int, int, int], flank: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        toy = make_toy(Path(folder), seed, per_contig)
        job = toy.job(shards=min(count, len(toy.table)), flank=flank)
        export_shards(**job)
        shards = Shards.open(job["shard_index"])
        ids = np.arange(len(toy.table))
        whole = shards.sequences(ids, flank)
        masks = np.unpackbits(
            shards.repeat_mask, axis=1, count=WIDTH + 2 * flank, bitorder="little"
        )
        for i, row in enumerate(toy.table.itertuples()):
            text = "N" * flank + toy.genome[row.contig] + "N" * flank
            window = text[row.start : row.end + 2 * flank]
            np.testing.assert_array_equal(whole[i], encode(window))
            np.testing.assert_array_equal(masks[i], [letter.islower() for letter in window])
        np.testing.assert_array_equal(shards.sequences(ids), whole[:, flank : flank + WIDTH])
        np.testing.assert_array_equal(shards.openness().toarray(), toy.openness)
        for cell, indptr in enumerate(shards.indptr[:-1]):
            open_ = shards.open_regions[indptr : shards.indptr[cell + 1]]
            assert (np.diff(open_) > 0).all()
        train = (toy.table["split"] == "train") & (toy.table["held_out_only"] == 0)
        highest = toy.sums[train].astype(np.float16).max(axis=0, initial=0).astype(np.float32)
        np.testing.assert_array_equal(shards.normaliser, np.where(highest > 0, highest, 1))
        splits = Splits.from_config(shards.splits)
        for contig in range(len(shards.contigs)):
            here = shards.contig == contig
            start = shards.start[here].astype(np.int64)
            names = splits.split_of(shards.contigs[contig], start, start + WIDTH)
            codes = [("train", "valid", "test").index(name) for name in names]
            np.testing.assert_array_equal(shards.split[here], codes)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    job = make_toy(tmp_path_factory.mktemp("toy")).job()
    assert job["splits"] == SPLITS
    export_shards(**job)
    return Path(job["shard_index"])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(written: Path, data: st.DataObject) -> None:
    """A byte changed anywhere in any file but the index is an error that names the file."""
    names = sorted(p.name for p in written.parent.iterdir() if p.suffix == ".safetensors")
    path = written.parent / data.draw(st.sampled_from(names))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(whole)
    changed[at] ^= 1 << bit
    try:
        path.write_bytes(changed)
        with pytest.raises(InputError, match=path.name):
            Shards.open(written)
    finally:
        path.write_bytes(whole)
    Shards.open(written)
