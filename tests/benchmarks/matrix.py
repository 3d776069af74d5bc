"""What gathering the motif matrix of a whole atlas costs: time, memory, size of the file.

Real regions are scanned once and their rows repeated to 1.15 million, in 16 chunk files; those of
1,000 motifs of JASPAR 2024 and HOCOMOCO v11, or fewer where the real data are missing. Then
``gather_matrix`` runs in a process of its own and the file is read back, once as a stream of the
layer ``sum``, as shards read it. Needs 4 GB of disk in TMPDIR.

    python tests/benchmarks/matrix.py [regions]

Ends with ``RESULT name value bar pass|short`` and with 1 if a measure is short of its bar.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import library  # noqa: F401
import numpy as np
import pandas as pd
from motifs import ATLAS, HOCOMOCO, JASPAR, JOBS, REALDATA, real_regions, synthetic_regions

from genebert.genome import decode
from genebert.matrix import LAYERS, chunk_range, gather_matrix, scan_chunk
from genebert.motif_files import read_motifs
from genebert.motifs import MotifSet

MOTIFS = 1000
MEMORY_BAR, MINUTES_BAR = 2.0, 5.0  # GB; CPU minutes
ARRAYS = ("indices", *LAYERS)


def scanned(folder: Path) -> dict[str, Any]:
    """Scan some regions as the pipeline does; return the arrays of the chunk file."""
    import pysam

    motifs = read_motifs(JASPAR, "pyjaspar")
    real = (REALDATA / "hg19.mini.fa.gz").exists()
    motifs += read_motifs(HOCOMOCO, "meme") if real else []
    built = MotifSet.build(motifs)
    built = replace(built, motifs=built.kept[:MOTIFS])
    built.write(folder / "set.json")
    codes = real_regions(REALDATA) if real else synthetic_regions(2000, built)
    text = "".join(decode(region) for region in codes)
    (folder / "few.fa").write_text(f">few\n{text}\n")
    pysam.faidx(str(folder / "few.fa"))
    rows = (f"few\t{500 * i}\t{500 * i + 500}\t{i}\n" for i in range(len(codes)))
    (folder / "few.bed").write_text("".join(rows))
    scan_chunk(
        motif_set=str(folder / "set.json"),
        regions=str(folder / "few.bed"),
        genome=str(folder / "few.fa"),
        index="",
        block_index="",
        hits=str(folder / "few.h5"),
        chunk=0,
        chunks=1,
    )
    with h5py.File(folder / "few.h5") as file:
        return {name: file[name][:] for name in ("indptr", *ARRAYS)} | dict(file.attrs)


def write_inputs(folder: Path, count: int) -> dict[str, Any]:
    """Write regions and chunks; return the arguments of ``gather_matrix``."""
    few = scanned(folder)
    contig = np.char.add("chr", (np.arange(count) * 22 // count + 1).astype(str))
    start = np.arange(count) * 1000
    frame = pd.DataFrame({"region": np.arange(count), "contig": contig, "start": start})
    frame = frame.assign(end=start + 500, split="train", n_cell_types=3, n_train_cell_types=3)
    frame = frame.assign(gc=0.5, repeat=0.1, held_out_only=0)
    frame.to_csv(folder / "regions.tsv", sep="\t", index=False)
    bed = folder / "regions.bed"
    frame[["contig", "start", "end", "region"]].to_csv(bed, sep="\t", header=False, index=False)
    digest = _sha256(bed)
    rows, paths = len(few["indptr"]) - 1, []
    for chunk in range(JOBS):
        first, end = chunk_range(count, chunk, JOBS)
        whole, rest = divmod(end - first, rows)
        paths.append(str(folder / f"{chunk}.h5"))
        with h5py.File(paths[-1], "w") as file:
            cells = np.tile(np.diff(few["indptr"]), whole + 1)[: end - first]
            file["indptr"] = np.concatenate([[0], np.cumsum(cells)])
            for name in ARRAYS:
                values = np.concatenate([few[name]] * whole + [few[name][: few["indptr"][rest]]])
                file.create_dataset(name, data=values, compression="lzf", shuffle=True)
            file.attrs.update({"rows": [first, end], "motif_set": few["motif_set"]})
            file.attrs["regions"] = digest
    names = {"motif_set": "set.json", "regions": "regions.bed", "table": "regions.tsv"}
    paths_of = {key: str(folder / name) for key, name in names.items()}
    return paths_of | {"chunks": paths, "matrix": str(folder / "matrix.h5ad")}


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def gather(arguments: dict[str, Any]) -> tuple[float, float]:
    """Return CPU minutes and peak memory in GB."""
    gather_matrix(**arguments)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) / 60, used.ru_maxrss * 1024 / 1e9


def main(count: int = ATLAS) -> int:
    """Run the benchmark; return the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = write_inputs(Path(scratch), count)
        with get_context("spawn").Pool(1) as pool:
            minutes, memory = pool.apply(gather, (arguments,))
        started = time.process_time()
        with h5py.File(arguments["matrix"]) as file:
            layer = file["layers/sum"]
            shape, cells = layer.attrs["shape"], len(layer["data"])
            for at in range(0, cells, 1 << 22):
                layer["data"][at : at + (1 << 22)], layer["indices"][at : at + (1 << 22)]
        reading = time.process_time() - started
        size = Path(arguments["matrix"]).stat().st_size / 1e9
    print(f"{shape[0]:,} regions x {shape[1]:,} motifs, {cells / 1e6:.0f} million cells")
    print(f"file {size:.2f} GB; layer sum read in {reading:.0f} s of one core")
    failed = False
    for name, value, bar in (
        ("motif_matrix_gb", memory, MEMORY_BAR),
        ("motif_matrix_minutes", minutes, MINUTES_BAR),
    ):
        failed |= value > bar
        print(f"RESULT {name} {value:.2f} {bar} {'pass' if value <= bar else 'short'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*(int(value) for value in sys.argv[1:])))
