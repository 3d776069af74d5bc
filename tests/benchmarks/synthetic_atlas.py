"""Write an atlas of any size: genome, peak files, long table and motif matrix; all from one seed.

What is imitated, and how:

* *Genome*: ``contigs`` contigs whose lengths fall linearly, 5 : 1; random bases, half of them
  soft-masked in blocks, 10 kb of N at both ends. ``BASES_PER_LOCUS`` = 1,050 bases a locus give
  1.2 Gb for 1.15 million loci: about the smallest genome in which so many disjoint windows of
  500 bp lie as peaks do, with gaps (a human genome is 2.6 times as long for the same number).
* *Loci* are at least 700 bp apart, so that every locus becomes exactly one region.
* *Sharing*: the chance that a locus is open is Beta(0.36, 3.0), U-shaped as breadths of real atlases
  are: most loci are open in few cell types, a few in all. Cell types belong to lineages of about
  ten; three quarters of a locus' chance lie in lineages of its own choice. Depth of a cell type is
  log-normal. 1.15 million loci x 222 cell types give about 17 million peaks, 80,000 a cell type.
* *Peaks*: narrowPeak, gzipped; widths log-normal around 500 bp; summits normal around the locus with
  25 bp, at most 90; signals log-normal.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pysam
from numpy.typing import NDArray
from pyarrow import csv

BASES_PER_LOCUS = 1050
GAP = 10_000  # N at both ends of a contig
SPACING = 700  # bases between two loci at the least
LINE = 60
_LETTERS = np.frombuffer(b"ACGT" * 64, dtype=np.uint8)
_CSV = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")


@dataclass(frozen=True)
class SyntheticAtlas:
    """Paths of one atlas, as the rules of the workflow name them."""

    folder: Path

    @property
    def reference(self) -> dict[str, str]:
        """Return genome, index, block_index and contigs."""
        genome = f"{self.folder}/genome.fa.gz"
        return {"genome": genome, "index": f"{genome}.fai", "block_index": f"{genome}.gzi"}

    @property
    def contigs(self) -> str:
        """Return the path of the table of contigs."""
        return f"{self.folder}/contigs.tsv"

    @property
    def cell_types(self) -> str:
        """Return the path of the table of cell types."""
        return f"{self.folder}/cell_types.tsv"

    @property
    def blacklist(self) -> str:
        """Return the path of the blacklist."""
        return f"{self.folder}/blacklist.bed"

    @property
    def long(self) -> str:
        """Return the path of the long table of all peaks."""
        return f"{self.folder}/peaks.tsv.gz"

    @property
    def matrix(self) -> str:
        """Return the path of the motif matrix."""
        return f"{self.folder}/matrix.h5ad"

    @property
    def splits(self) -> dict[str, list[str]]:
        """Return a block ``splits``: the last two contigs for validation and test."""
        names = list(pd.read_csv(self.contigs, sep="\t")["contig"])
        return {
            "train": names[:-2],
            "valid": names[-2:-1],
            "test": names[-1:],
            "held_out_cell_types": [cell_name(0), cell_name(1)],
        }


def cell_name(number: int) -> str:
    """Return the name of a cell type."""
    return f"cell-{number:03d}"


def _write_genome(atlas: SyntheticAtlas, lengths: dict[str, int], seed: int) -> None:
    genome = atlas.reference["genome"]
    with pysam.BGZFile(genome, "wb1", None) as out:
        for number, (name, length) in enumerate(lengths.items()):
            rng = np.random.default_rng([seed, 1, number])
            bases = _LETTERS[np.frombuffer(rng.bytes(length), dtype=np.uint8)]
            edges = np.sort(rng.integers(0, length, length // 1000 * 2))
            masked = np.zeros(length + 1, dtype=np.int8)
            np.add.at(masked, edges[::2], 1)
            np.add.at(masked, edges[1::2], -1)
            bases |= np.cumsum(masked[:-1], dtype=np.int8).astype(np.uint8) << 5
            bases[:GAP] = bases[-GAP:] = ord("N")
            lines = np.full((-(-length // LINE), LINE + 1), ord("\n"), dtype=np.uint8)
            whole = length // LINE
            lines[:whole, :LINE] = bases[: whole * LINE].reshape(whole, LINE)
            text = lines[:whole].tobytes()
            if length % LINE:
                text += bases[whole * LINE :].tobytes() + b"\n"
            out.write(f">{name}\n".encode() + text)
    pysam.faidx(genome)
    rows = [f"{name}\t{length}\t{2 * GAP}\tnone\n" for name, length in lengths.items()]
    Path(atlas.contigs).write_text("contig\tlength\tn_bases\tsplit\n" + "".join(rows))


def _loci(lengths: dict[str, int], count: int, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return contig int32[count] and centre int64[count] of the loci, sorted."""
    rng = np.random.default_rng([seed, 2])
    sizes = np.array(list(lengths.values()))
    share = np.floor(count * sizes / sizes.sum()).astype(int)
    share[0] += count - share.sum()
    contig, centre = [], []
    for number, (size, n) in enumerate(zip(sizes, share, strict=True)):
        room = int(size) - 2 * (GAP + 2000) - n * SPACING
        if room <= 0:
            raise ValueError("the genome is too small for its loci")
        gaps = np.sort(rng.integers(0, room, n))
        centre.append(GAP + 2000 + gaps + SPACING * np.arange(n))
        contig.append(np.full(n, number, dtype=np.int32))
    return np.concatenate(contig), np.concatenate(centre)


def _openness(loci: int, cells: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the loci that are open in each cell type, ascending; every locus is open somewhere."""
    rng = np.random.default_rng([seed, 3])
    chance = rng.beta(0.36, 3.0, loci).astype(np.float32)
    lineages = max(1, cells // 10)
    own = rng.integers(0, lineages, loci)
    depth = rng.lognormal(0, 0.35, cells)
    depth /= depth.mean()
    found, seen = [], np.zeros(loci, dtype=bool)
    for cell in range(cells):
        lineage = np.where(own == cell % lineages, 0.75 * lineages, 0.25).astype(np.float32)
        wanted = np.where(chance > 0.5, chance, chance * lineage) * np.float32(depth[cell])
        open_ = rng.random(loci, dtype=np.float32) < wanted
        seen |= open_
        found.append(np.flatnonzero(open_))
    rest = np.flatnonzero(~seen)
    home = rng.integers(0, cells, len(rest))
    return [np.union1d(found[cell], rest[home == cell]) for cell in range(cells)]


def _peaks(
    names: list[str], contig: NDArray[Any], centre: NDArray[Any], open_: NDArray[Any], seed: int
) -> pa.Table:
    """Return the ten columns of a narrowPeak file, sorted."""
    rng = np.random.default_rng([seed, 4, len(open_), int(open_[0])])
    n = len(open_)
    width = np.clip(rng.lognormal(6.2, 0.45, n), 150, 1900).astype(np.int64)
    summit = centre[open_] + np.clip(rng.normal(0, 25, n), -90, 90).astype(np.int64)
    offset = (width * rng.uniform(0.3, 0.7, n)).astype(np.int64)
    signal = rng.lognormal(1.5, 0.8, n).round(4)
    start = summit - offset
    dot = pa.array(["."] * n)
    return pa.table(
        {
            "contig": pa.DictionaryArray.from_arrays(contig[open_], names).cast(pa.string()),
            "start": start,
            "end": start + width,
            "name": pa.array([f"peak_{i}" for i in range(n)]),
            "score": np.minimum(signal * 40, 1000).astype(np.int64),
            "strand": dot,
            "signal": signal,
            "p": (signal * 1.7).round(3),
            "q": (signal * 1.2).round(3),
            "summit": offset,
        }
    )


def make_atlas(
    folder: Path,
    *,
    loci: int,
    cells: int = 222,
    contigs: int = 24,
    seed: int = 1,
) -> SyntheticAtlas:
    """Write genome, contigs, blacklist, one narrowPeak file a cell type and the long table."""
    atlas = SyntheticAtlas(folder)
    (folder / "peaks").mkdir(parents=True, exist_ok=True)
    shares = np.linspace(5, 1, contigs)
    bases = loci * BASES_PER_LOCUS + contigs * 8 * GAP
    lengths = {f"chr{i + 1}": int(bases * share / shares.sum()) for i, share in enumerate(shares)}
    _write_genome(atlas, lengths, seed)
    contig, centre = _loci(lengths, loci, seed)
    rng = np.random.default_rng([seed, 6])  # as many intervals as hg38-blacklist.v2 has, at the
    listed = np.sort(rng.integers(0, GAP, 636))  # ends of the contigs, where there are no loci
    Path(atlas.blacklist).write_text(
        "".join(
            f"chr{1 + i % contigs}\t{at}\t{at + 300}\tHigh Signal\n" for i, at in enumerate(listed)
        )
    )
    rows = ["cell_type\tpeaks\tformat\tlineage\n"]
    whole = gzip.open(atlas.long, "wb", compresslevel=1)  # noqa: SIM115 (closed below)
    whole.write(b"contig\tstart\tend\tcell_type\tscore\n")
    for cell, open_ in enumerate(_openness(loci, cells, seed)):
        table = _peaks(list(lengths), contig, centre, open_, seed + cell)
        path = folder / "peaks" / f"{cell_name(cell)}.narrowPeak.gz"
        with gzip.open(path, "wb", compresslevel=1) as out:
            csv.write_csv(table, out, _CSV)
        rows.append(
            f"{cell_name(cell)}\tpeaks/{path.name}\tnarrowPeak\tL{cell % (cells // 10 or 1)}\n"
        )
        columns = [table[name] for name in ("contig", "start", "end")]
        columns += [pa.array([cell_name(cell)] * len(table)), table["signal"]]
        csv.write_csv(pa.table(columns, names=list("abcde")), whole, _CSV)
    whole.close()
    Path(atlas.cell_types).write_text("".join(rows))
    return atlas


def make_matrix(
    atlas: SyntheticAtlas, table: str, *, motifs: int = 1000, density: float = 0.12, seed: int = 1
) -> None:
    """Write ``matrix.h5ad`` for the regions of ``table``: obs, var, layer ``sum``, X the same data.

    Cells are filled at random, each motif with its own chance (log-normal); sums are a gamma
    distribution from 8 upwards. The layers ``count`` and ``best``, which no later stage of the
    benchmark reads, are left out.
    """
    import h5py
    from anndata.io import write_elem

    frame = pd.read_csv(table, sep="\t", dtype={"contig": object, "split": object})
    for column in ("contig", "split"):
        frame[column] = frame[column].astype(object)
    name = frame["contig"].str.cat([frame["start"].astype(str)], sep=":")
    name = name.str.cat([frame["end"].astype(str)], sep="-").astype(object)
    rng = np.random.default_rng([seed, 5])
    chance = rng.lognormal(0, 0.8, motifs)
    chance = np.minimum(chance * density / chance.mean(), 0.9).astype(np.float32)
    var = pd.DataFrame(
        {"width": rng.integers(6, 21, motifs)},
        index=pd.Index([f"M{i:04d}" for i in range(motifs)], dtype=object, name="name"),
    )
    with h5py.File(atlas.matrix, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(file, "obs", frame.set_index(pd.Index(name, dtype=object, name="name")))
        write_elem(file, "var", var)
        for empty in ("obsm", "varm", "obsp", "varp", "uns", "layers"):
            write_elem(file, empty, {})
        group = file["layers"].create_group("sum")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
        group.attrs["shape"] = np.array([len(frame), motifs])
        options: dict[str, Any] = {"maxshape": (None,), "chunks": (1 << 18,), "compression": "gzip"}
        options["shuffle"] = True
        options["compression_opts"] = 1
        data = group.create_dataset("data", (0,), np.float32, **options)
        indices = group.create_dataset("indices", (0,), np.int32, **options)
        counts = [np.zeros(1, dtype=np.int64)]
        for first in range(0, len(frame), 20_000):
            filled = rng.random((min(20_000, len(frame) - first), motifs), dtype=np.float32)
            row, column = np.nonzero(filled < chance)
            size = len(data)
            for dataset in (data, indices):
                dataset.resize((size + len(row),))
            data[size:] = (8 + rng.gamma(2, 2, len(row))).astype(np.float32)
            indices[size:] = column.astype(np.int32)
            counts.append(np.bincount(row, minlength=len(filled)))
        group.create_dataset("indptr", data=np.cumsum(np.concatenate(counts)))
        file["X"] = group
