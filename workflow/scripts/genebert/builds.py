"""Assemblies that are known by name, and the lengths of contigs that tell them apart.

Standard library only: the stage ``reference`` compares a FASTA with them, and the plan asks which
names are of any concern to it.
"""

from __future__ import annotations

# Lengths that tell assemblies apart (UCSC chromInfo of each assembly).
BUILDS: dict[str, dict[str, int]] = {
    "hg19": {"chr1": 249250621, "chr2": 243199373, "chrX": 155270560},
    "hg38": {"chr1": 248956422, "chr2": 242193529, "chrX": 156040895},
    "mm10": {"chr1": 195471971, "chr2": 182113224, "chrX": 171031299},
    "mm39": {"chr1": 195154279, "chr2": 181755017, "chrX": 169476592},
}
ALIASES = {"GRCh37": "hg19", "GRCh38": "hg38", "GRCm38": "mm10", "GRCm39": "mm39"}


def lengths_of(name: str) -> dict[str, int] | None:
    """Return {contig: length} of a known assembly, under either of its names; else None."""
    return BUILDS.get(ALIASES.get(name, name))
