"""Windows outside all peaks, for pre-training on the genome instead of on open chromatin.

In: the table of regions, where peaks and the blacklist lie, and the genome. Out:
``background.safetensors``, windows of the training intervals, as many as training regions and with
their GC as far as there are such windows. :func:`open_background` checks and reads them as shards
without open regions. No base of another split is there.

With its flanks, which crops reach into, a window shares no base with a peak of any cell type, a
region or the blacklist. Peaks of held-out cell types are avoided, too: what is open in them must
not be trained on as closed. Where they lie is all that is used of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from genebert.errors import InputError
from genebert.genome import Genome, encode, gc_content
from genebert.peak_lines import Fields, read_columns
from genebert.progress import progress
from genebert.shard_export import sequence_tensors
from genebert.shard_files import mapped_tensors
from genebert.shards import Shards, read_region_table
from genebert.splits import Splits
from genebert.tensor_files import write_tensors

VERSION = 2
NAME = "background.safetensors"  # beside the index of the shards
GC_BINS = 50  # of 2 %
_CHUNK = 1 << 15  # windows at a time
_DTYPES = {
    "packed": "uint8", "n_mask": "uint8", "repeat_mask": "uint8", "contig": "int16",
    "start": "int32", "gc": "float32", "repeat": "float32",
}  # fmt: skip

log = logging.getLogger("genebert")

Ints = NDArray[np.int64]


def export_background(
    *,
    table: str,
    occupied: str,
    genome: str,
    index: str,
    block_index: str,
    background: str,
    settings: Mapping[str, Any],
    splits: Mapping[str, Any],
    config_hash: str,
    seed: int,
) -> None:
    """Write the windows.

    Parameters
    ----------
    table, genome, index, block_index : input paths.
    occupied : input, BED: every base of a peak of any cell type or of the blacklist.
    background : output path.
    settings, splits : the blocks ``shards`` and ``splits`` of the configuration.
    config_hash : that of the shards.
    seed : of the choice of windows.

    Raises
    ------
    InputError
        If ``occupied`` is no BED of this genome, or no window is left.
    """
    frame, sequence, flank = read_region_table(table), Genome(genome), int(settings["flank"])
    width, rng = int((frame["end"] - frame["start"]).iloc[0]), np.random.default_rng([seed, 7])
    intervals = Splits.from_config(splits)
    contigs, avoided = list(dict.fromkeys(frame["contig"])), blocked(frame, occupied, sequence)
    parts = []
    for number, contig in enumerate(progress(contigs, "windows outside the peaks", "contigs")):
        start, end = avoided[contig]
        first = gaps(start, end, contig, intervals, sequence.lengths, width + 2 * flank, rng)
        kept, gc = usable(sequence, contig, first, width, flank)
        parts.append(pd.DataFrame({"contig": contig, "number": number, "start": kept, "gc": gc}))
    every = pd.concat(parts, ignore_index=True)
    trained = (frame["split"] == "train") & (frame["held_out_only"] == 0)
    chosen = every.iloc[matched(every["gc"].to_numpy(), frame["gc"][trained].to_numpy(), rng)]
    if chosen.empty:
        raise InputError(
            "no window outside the peaks has the GC of a training region", file=occupied,
            found=f"{len(every)} windows, {trained.sum()} training regions",
            expected=f"gaps of {width + 2 * flank} known bases in the training intervals",
        )  # fmt: skip
    chosen = chosen.assign(end=chosen["start"] + width, split="train")
    log.info(
        "%d windows for %d training regions; mean GC %.3f and %.3f", len(chosen),
        trained.sum(), chosen["gc"].mean(), frame["gc"][trained].mean(),
    )  # fmt: skip
    made = [
        sequence_tensors(sequence, chosen.iloc[at : at + _CHUNK], flank, intervals)
        for at in range(0, len(chosen), _CHUNK)
    ]
    tensors = {name: np.concatenate([part[name] for part in made]) for name in made[0]}
    soft = np.unpackbits(tensors["repeat_mask"], axis=1, bitorder="little")[:, flank:][:, :width]
    tensors |= {
        "contig": chosen["number"].to_numpy(dtype=np.int16),
        "start": chosen["start"].to_numpy(dtype=np.int32),
        "gc": chosen["gc"].to_numpy(dtype=np.float32),
        "repeat": soft.mean(axis=1).astype(np.float32),
    }
    about = {"width": width, "flank": flank, "config_hash": config_hash, "version": VERSION}
    write_tensors(background, tensors, background=json.dumps(about))


def blocked(frame: pd.DataFrame, occupied: str, genome: Genome) -> dict[str, tuple[Ints, Ints]]:
    """Return what windows must not touch: by contig, starts and ends, sorted by start.

    Parameters
    ----------
    frame : the regions, with contig, start, end.
    occupied : BED of further intervals.

    Raises
    ------
    InputError
        If ``occupied`` is no BED, or names a contig that the genome lacks.
    """
    listed = read_columns(occupied, Fields(count=3, scores={}, what="interval"), genome.lengths)
    if listed.unknown:
        raise InputError("contig is not in the genome", file=occupied, found=listed.unknown[0])
    names = np.array(list(genome.lengths), dtype=object)
    further = {"contig": names[listed.contig], "start": listed.start, "end": listed.end}
    every = pd.concat([frame[list(further)], pd.DataFrame(further)]).sort_values("start")
    return {
        str(contig): (here["start"].to_numpy(dtype=np.int64), here["end"].to_numpy(dtype=np.int64))
        for contig, here in every.groupby("contig", sort=False)
    }


def gaps(
    start: Ints,
    end: Ints,
    contig: str,
    splits: Splits,
    lengths: Mapping[str, int],
    length: int,
    rng: np.random.Generator,
) -> Ints:
    """Return the first bases of windows, end to end in every gap between intervals, ascending.

    Parameters
    ----------
    start, end : intervals of the contig, sorted by start; they may overlap.
    lengths : of all contigs; gaps lie in training intervals.
    length : of a window.
    rng : where in a gap the first window begins.
    """
    found = [np.zeros(0, dtype=np.int64)]
    for interval in sorted(splits.clipped("train", lengths), key=lambda i: (i.contig, i.start)):
        if interval.contig != contig:
            continue
        inside = (end > interval.start) & (start < interval.end)
        low = np.concatenate([[interval.start], np.maximum.accumulate(end[inside])])
        high = np.concatenate([start[inside], [interval.end]])
        count = np.maximum(high - low, 0) // length
        slack = np.maximum(high - low - count * length, 0)
        first = low + rng.integers(0, slack + 1)
        nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        found.append(np.repeat(first, count) + nth * length)
    return np.concatenate(found)


def usable(
    genome: Genome, contig: str, first: Ints, width: int, flank: int
) -> tuple[Ints, NDArray[np.float64]]:
    """Return start (without the flank) and GC of the windows that have no unknown base."""
    length = width + 2 * flank
    starts, shares = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for at in range(0, len(first), _CHUNK):
        part = first[at : at + _CHUNK]
        whole = genome.raw(contig, 0, genome.lengths[contig])
        letters = sliding_window_view(whole, length)[part]
        codes = encode(letters.tobytes()).reshape(letters.shape)
        known = (codes < 4).all(axis=1)
        starts.append(part[known] + flank)
        shares.append(gc_content(codes[known, flank : flank + width]))
    return np.concatenate(starts), np.concatenate(shares)


def matched(gc: NDArray[Any], wanted: NDArray[Any], rng: np.random.Generator) -> Ints:
    """Choose windows, ascending: of each bin of GC as many as are wanted, or all that there are."""

    def bin_of(share: NDArray[Any]) -> Ints:
        return np.minimum((share * GC_BINS).astype(np.int64), GC_BINS - 1)

    order = rng.permutation(len(gc))
    bins = bin_of(gc)[order]
    quota = np.bincount(bin_of(wanted), minlength=GC_BINS)
    chosen = [order[bins == b][: quota[b]] for b in range(GC_BINS)]
    return np.sort(np.concatenate(chosen))


def open_background(path: str | Path, shards: Shards) -> Shards:
    """Read windows as training regions that no cell type has open, without motifs.

    Parameters
    ----------
    path : the file. shards : those that it was written beside.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of other shards.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["background"])
    except FileNotFoundError:
        raise InputError("no such file", file=path, expected="rule `background`") from None
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise InputError(f"is no file of background windows ({error})", file=path) from None
    for key in ("config_hash", "width", "flank"):
        if about.get(key) != getattr(shards, key):
            raise InputError(
                f"{key} is not that of the shards", file=path, found=about.get(key),
                expected=getattr(shards, key),
            )  # fmt: skip
    tensors = mapped_tensors(np.memmap(path, dtype=np.uint8, mode="r"), path)
    arrays: dict[str, Any] = {
        name: np.array(tensors[name], dtype=kind) for name, kind in _DTYPES.items()
    }
    n, none = len(arrays["start"]), np.zeros(0)
    return replace(
        shards,
        **arrays,
        motif_rows=np.zeros((n, len(shards.motifs)), dtype=np.float16),  # never read or touched
        motif_count=np.zeros(n, dtype=np.int32),
        split=np.zeros(n, dtype=np.int8),
        held_out_only=np.zeros(n, dtype=bool),
        breadth=np.zeros(n, dtype=np.int32),
        indptr=np.zeros(len(shards.cell_types) + 1, dtype=np.int64),
        open_regions=none.astype(np.int32),
        strengths=none.astype(np.float32),
    )
