"""A configuration that `snakemake check` finds nothing wrong with, and what it says."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from genebert import checks
from genebert.checks import Finding
from genebert.config import check_config

CELLS = ("HSC", "Mono", "B", "NK")
Config = dict[str, Any]


@lru_cache
def read_yaml(path: Path) -> Config:
    document: Config = yaml.safe_load(path.read_text())
    return document


@lru_cache
def genome() -> str:
    draw = random.Random(1)
    texts = {c: "".join(draw.choices("ACGT", k=60_000)) for c in ("chr1", "chr2", "chr3")}
    return "".join(f">{c} a contig\n{t[:30_000]}\n{t[30_000:].lower()}\n" for c, t in texts.items())


def made_config(root: Path) -> Config:
    """Write a genome of three contigs, four peak files and a dataset of every kind, all right.

    They go to the current folder; ``root`` is that of the repository.
    """
    Path("genome.fa").write_text(genome())
    lines = ["cell_type\tpeaks\tformat"]
    for number, cell in enumerate(CELLS):
        rows = [
            f"{contig}\t{start}\t{start + 300}\tp\t1\t.\t{start % 97}\t1\t1\t150"
            for contig in ("chr1", "chr2", "chr3")
            for start in range(1000 + 10 * number, 59_000, 700)
        ]
        Path(f"{cell}.narrowPeak").write_text("\n".join(rows) + "\n")
        lines.append(f"{cell}\t{cell}.narrowPeak\tnarrowPeak")
    Path("cells.tsv").write_text("\n".join(lines) + "\n")
    Path("motifs.meme").write_text(
        "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF long\nletter-probability matrix: alength= 4 w= 8\n"
        + "1 0 0 0\n" * 8 + "\nMOTIF short\nletter-probability matrix: alength= 4 w= 2\n" + "1 0 0 0\n" * 2
    )  # fmt: skip
    Path("promoters.bed").write_text("chr1\t10\t70\tp1\t1\t+\t59\t70\n")
    Path("genes.gtf").write_text(
        'chr1\tx\texon\t11\t70\t.\t+\t.\tgene_id "g"; transcript_id "t";\n'
    )
    Path("chip.tsv").write_text(
        "tf\tcell_type\tpeaks\nSPI1\tB\tB.narrowPeak\nSPI1\tDC\tNK.narrowPeak\n"
    )
    Path("variants.tsv").write_text("contig\tposition\tref\talt\tlabel\nchr1\t12\tA\tC\t1\n")
    Path("train.csv").write_text("sequence,label\nACGT,1\nACGA,0\n")
    own = {
        "genome": {"source": "files", "name": "toy", "fasta": "genome.fa", "gtf": "genes.gtf", "blacklist": ""},
        "atlas": {"cell_types": "cells.tsv"},
        "splits": {"train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": ["NK"]},
        "motifs": {"sources": [{"path": "motifs.meme", "format": "meme"}]},
        "datasets": [
            {"task": "promoter", "name": "epd", "kind": "epdnew", "path": "promoters.bed"},
            {"task": "tfbs", "name": "chip", "kind": "narrowpeak", "path": "chip.tsv"},
            {"task": "disease", "name": "mpra", "kind": "variants", "path": "variants.tsv"},
            {"task": "splicing", "name": "sites", "kind": "gtf"},
            {"task": "accessibility", "name": "atlas", "kind": "regions"},
            {"task": "promoter", "name": "gue", "kind": "sequences", "path": "train.csv", "tss_offset": 1},
        ],
    }  # fmt: skip
    default = deepcopy(read_yaml(root / "config/config.yaml"))
    schema = read_yaml(root / "workflow/schemas/config.schema.yaml")
    merged = {**default, **own}
    merged["genome"] = {**default["genome"], **own["genome"]}
    return check_config(merged, schema)


def found(config: Config, resources: list[dict[str, str]] | None = None) -> list[Finding]:
    return list(checks.find(config, resources or []))


def of(config: Config, topic: str, level: str) -> list[str]:
    """Return the lines of a topic and level."""
    return [str(f) for f in found(config) if (f.topic, f.level) == (topic, level)]


def edit(file: str, change: Callable[[str], str]) -> None:
    Path(file).write_text(change(Path(file).read_text()))
