"""bedGraph to bigWig, which genome browsers read from any place of a large file.

In: a sorted bedGraph and the index of its genome. Out: a bigWig.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyBigWig


def write_bigwig(*, bedgraph: str, index: str, bigwig: str) -> None:
    """Turn a sorted bedGraph into a bigWig.

    Parameters
    ----------
    bedgraph : of :func:`genebert.use.tracks.attribute_bed`.
    index : ``.fai`` of the genome.
    bigwig : output.
    """
    lengths = [
        (fields[0], int(fields[1]))
        for fields in (line.split("\t") for line in Path(index).read_text().splitlines())
    ]
    columns = ["contig", "start", "end", "value"]
    types = {"contig": str, "start": np.int64, "end": np.int64, "value": np.float64}
    chunks = pd.read_csv(
        bedgraph, sep="\t", names=columns, dtype=types, chunksize=1_000_000, keep_default_na=False
    )
    track = pyBigWig.open(bigwig, "w")
    track.addHeader(lengths)
    for chunk in chunks:
        for contig, part in chunk.groupby("contig", sort=False):
            track.addEntries(
                [str(contig)] * len(part),
                part["start"].tolist(),
                ends=part["end"].tolist(),
                values=part["value"].tolist(),
            )
    track.close()
