"""Shards of a user's own files: what may change in the configuration without making them again."""

from __future__ import annotations

import random
import re
from typing import Any

import yaml

INDEX = "results/shards/index.json"
MOTIFS = (
    "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF long\nletter-probability matrix: alength= 4 w= 8\n"
    + "1 0 0 0\n" * 8
)


def test_what_shards_do_not_read_makes_none_again(snakemake, tmp_path):
    """Splicing is added to a run whose encoders are trained: they would be trained again."""
    draw = random.Random(1)
    with (tmp_path / "genome.fa").open("w") as handle:
        for contig in ("chr1", "chr2", "chr3"):
            handle.write(f">{contig}\n{''.join(draw.choices('ACGT', k=20_000))}\n")
    rows = ["cell_type\tpeaks\tformat"]
    for number, cell in enumerate("AB"):
        lines = [
            f"{contig}\t{start}\t{start + 400}\n"
            for contig in ("chr1", "chr2", "chr3")
            for start in range(2000 + 200 * number, 18_000, 3000)
        ]
        (tmp_path / f"{cell}.bed").write_text("".join(lines))
        rows.append(f"{cell}\t{cell}.bed\tbed")
    (tmp_path / "cells.tsv").write_text("\n".join(rows) + "\n")
    (tmp_path / "motifs.meme").write_text(MOTIFS)
    (tmp_path / "promoters.bed").write_text("chr1\t10\t20\tp\t1\t+\t15\t20\n")
    (tmp_path / "genes.gtf").write_text('chr1\tx\texon\t11\t70\t.\t+\t.\tgene_id "g";\n')
    genome = {"source": "files", "name": "mine", "fasta": "genome.fa", "gtf": "", "blacklist": ""}
    config: dict[str, Any] = {
        "genome": genome,
        "atlas": {"cell_types": "cells.tsv"},
        "splits": {
            "train": ["chr1"], "valid": ["chr2"], "test": ["chr3"], "held_out_cell_types": []
        },
        "motifs": {"sources": [{"path": "motifs.meme", "format": "meme"}], "chunks": 1},
        "datasets": [{"task": "promoter", "name": "p", "kind": "epdnew", "path": "promoters.bed"}],
    }  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    done = snakemake("--cores", "1", "--configfile", path, "--", INDEX)
    assert done.returncode == 0, done.stderr

    config["genome"] = {**genome, "name": "ours", "gtf": "genes.gtf"}
    config["simulate"] = {"contig_length": 700_000}
    config["datasets"].append({"task": "splicing", "name": "sites", "kind": "gtf"})
    path.write_text(yaml.safe_dump(config))
    done = snakemake("-n", "--configfile", path, "--", INDEX)
    assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr, done.stdout

    config["motifs"]["p_value"] = 2e-4
    path.write_text(yaml.safe_dump(config))
    done = snakemake("-n", "--configfile", path, "--", INDEX)
    assert re.search(r"^shards +1$", done.stdout, re.MULTILINE), done.stdout
