"""Both checks of the motif matrix run from its files to their tables and figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import region_toys

from genebert import enrichment, motif_qc, motif_ridge


def test_tables_and_figures_are_written_twice_the_same(tmp_path):
    rng = np.random.default_rng(0)
    scores = region_toys.random_scores(rng, 600, 6, 0.3)
    strength = (rng.random((600, 5)) < 0.3) * 0.5
    strength[:, 0] = np.where(scores[:, 2] > 0, 0.5, strength[:, 0])
    paths = region_toys.write(tmp_path, scores, strength, held_out=(3,))
    outputs = {"enrichment": "e.tsv", "ridge": "r.tsv"}
    outputs |= {f"{name}_figure": f"{name}.svg" for name in (*outputs, "window")}
    written = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        out = {key: str(tmp_path / folder / name) for key, name in outputs.items()}
        motif_qc.describe_motifs(**paths, **out, seed=1, draws=50, block_bp=10_000)
        written.append([(tmp_path / folder / name).read_bytes() for name in outputs.values()])
    assert written[0] == written[1]
    found = pd.read_csv(tmp_path / "one" / "e.tsv", sep="\t")
    assert list(found.columns) == enrichment.COLUMNS
    best = found[(found["cell_type"] == "A") & (found["rank"] == 1)].iloc[0]
    assert best["motif"] == "M2"
    table = pd.read_csv(tmp_path / "one" / "r.tsv", sep="\t", keep_default_na=False)
    assert list(table.columns) == motif_ridge.COLUMNS
