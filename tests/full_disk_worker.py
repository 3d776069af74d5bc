"""Run one job whose output does not fit: ``full_disk_worker.py STAGE INPUTS OUTPUTS LIMIT``.

LIMIT is the largest file in bytes that may be written from the start of the job (0: as the disk
allows). A process of its own, because the limit holds for good and HDF5 may take a process with it.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from genebert import fetch, job, matrix, shard_export
from genebert.motif_files import Motif
from genebert.motifs import MotifSet
from servers import Server, open_ended
from shard_toys import make_toy

REGIONS = (3000, 300, 300)


def shards_job(inputs: Path, out: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the function, inputs and outputs of the export of shards."""
    arguments = make_toy(inputs, per_contig=REGIONS).job()
    names = ("shards", "cell_types", "shard_index")
    outputs = {
        "shards": [str(out / Path(path).name) for path in arguments["shards"]],
        **{name: str(out / Path(arguments[name]).name) for name in names[1:]},
    }
    for name in names:
        arguments.pop(name)
    return shard_export.export_shards, arguments, outputs


def motif_inputs(inputs: Path) -> dict[str, Any]:
    """Write a toy and a motif that hits in nearly every region."""
    make_toy(inputs, per_contig=REGIONS)
    probabilities = np.full((4, 4), 0.02)
    probabilities[[0, 1, 2, 3], np.arange(4)] = 0.94
    names = [f"m{i}" for i in range(20)]
    motifs = [
        Motif(name, "test", probabilities[np.roll([0, 1, 2, 3], i)]) for i, name in enumerate(names)
    ]
    MotifSet.build(motifs, p_value=0.3).write(inputs / "set.json")
    return {"motif_set": str(inputs / "set.json"), "regions": str(inputs / "regions.bed")}


def scan_job(inputs: Path, out: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the function, inputs and outputs of a scan."""
    arguments = {
        **motif_inputs(inputs), "genome": str(inputs / "genome.fa"), "index": "",
        "block_index": "", "chunk": 0, "chunks": 1,
    }  # fmt: skip
    return matrix.scan_chunk, arguments, {"hits": str(out / "hits.npz")}


def matrix_job(inputs: Path, out: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the function, inputs and outputs of the writing of ``matrix.h5ad``."""
    function, arguments, _ = scan_job(inputs, out)
    function(**arguments, hits=str(inputs / "hits.npz"))
    kept = {name: arguments[name] for name in ("motif_set", "regions")}
    more = {"table": str(inputs / "regions.tsv"), "chunks": [str(inputs / "hits.npz")]}
    return matrix.gather_matrix, {**kept, **more}, {"matrix": str(out / "matrix.h5ad")}


def text_job(inputs: Path, out: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a function that writes text, with an output that is done before the disk is full."""

    def function(*, first: str, second: str) -> None:
        Path(first).write_text("whole\n")
        with open(second, "w", encoding="utf-8") as handle:
            for number in range(100_000):
                handle.write(f"chr1\t{number}\t{number + 1}\n")

    return function, {}, {"first": str(out / "first.bed"), "second": str(out / "second.bed")}


def download_job(inputs: Path, out: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return the function, inputs and outputs of a download of unknown length."""
    server = Server()
    server.answers = [open_ended(bytes(range(250)) * 4000)]
    row = {"name": "big.bin", "version": "1", "url": server.url}
    arguments = {"row": row, "checksums": "", "part_directory": str(out / ".partial")}
    names = {"file": str(out / "big.bin"), "provenance": str(out / "big.bin.provenance.json")}
    return fetch.fetch, {**arguments, **names}, {}


def main() -> None:
    """Run the job."""
    stage, inputs, out, limit = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    inputs.mkdir(exist_ok=True)
    function, arguments, outputs = globals()[f"{stage}_job"](inputs, out)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    job.run(
        SimpleNamespace(input={}, params=arguments, output=outputs, log=[str(inputs / "log")]),
        function,
        moves=bool(outputs),
    )


if __name__ == "__main__":
    main()
