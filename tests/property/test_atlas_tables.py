"""Every format of an atlas gives the pairs of peak and cell type that it was written from."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import anndata
import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from genebert import pseudobulk
from genebert.atlas_tables import convert
from genebert.peaks import read_atlas
from genebert.pseudobulk import PseudobulkSettings, read_pseudobulk

CONTIGS = {"chr10": 2000, "chr2": 3000}

sites = st.lists(
    st.tuples(st.sampled_from(sorted(CONTIGS)), st.integers(0, 1500), st.integers(1, 400)),
    min_size=1,
    max_size=12,
    unique=True,
)


def pairs_of(path: str) -> set[tuple[str, str, int, int]]:
    names = list(CONTIGS)
    return {
        (cell_type, names[contig], start, end)
        for cell_type, peaks in read_atlas(path, CONTIGS).items()
        for contig, start, end in zip(
            peaks.contig.tolist(), peaks.start.tolist(), peaks.end.tolist(), strict=True
        )
    }


@settings(max_examples=60, deadline=None)
@given(sites, st.integers(1, 5), st.data())
def test_matrix_and_descartes(
    peaks: list[tuple[str, int, int]], n_types: int, data: st.DataObject
) -> None:
    cells = [(i, j) for i in range(len(peaks)) for j in range(n_types)]
    chosen = data.draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    expected = {
        (f"type_{j}", peaks[i][0], peaks[i][1], peaks[i][1] + peaks[i][2]) for i, j in chosen
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "m.mtx").write_text(
            f"%%MatrixMarket matrix coordinate pattern general\n{len(peaks)} {n_types} {len(chosen)}\n"
            + "".join(f"{i + 1} {j + 1}\n" for i, j in chosen)
        )
        (folder / "p.bed").write_text("".join(f"{c}\t{s}\t{s + w}\tx\n" for c, s, w in peaks))
        (folder / "n.txt").write_text("".join(f"type {j}\n" for j in range(n_types)))
        (folder / "s4.txt").write_text(
            "feature\tcell_type\tzscore_filtered\n"
            + "".join(
                f"{peaks[i][0]}_{peaks[i][1]}_{peaks[i][1] + peaks[i][2]}\ttype {j}\t"
                + ("FALSE\n" if (i, j) in chosen else "TRUE\n")
                for i, j in cells
            )
        )
        out = {"peaks": f"{name}/peaks.tsv.gz", "cell_types": f"{name}/cell_types.tsv"}
        for source, files, kind in (
            ("m.mtx", ["p.bed", "n.txt"], "mtx"),
            ("s4.txt", [], "descartes"),
        ):
            convert(
                source=str(folder / source),
                files=[str(folder / file) for file in files],
                settings={"format": kind},
                **out,
            )
            assert pairs_of(out["peaks"]) == expected
            qc = pd.read_csv(out["cell_types"], sep="\t")
            assert qc["open_peaks"].sum() == len(expected)
            assert qc.loc[qc["kept"] == 1, "cell_type"].tolist() == sorted({e[0] for e in expected})


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 30),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.sampled_from(["csr", "csc", "dense"]),
    st.integers(1, 40),
)
def test_pseudobulk_equals_a_loop(
    seed: int, n: int, p: int, min_cells: int, fraction: float, layout: str, block: int
) -> None:
    random = np.random.default_rng(seed)
    counts = random.poisson(random.choice([0.1, 0.6]), (n, p))
    labels = random.choice(["a", "b", "c"], n)
    obs = pd.DataFrame(
        {"cell_type": pd.Series(labels, dtype=object).to_numpy()},
        index=pd.Index([f"c{i}" for i in range(n)], dtype=object),
    )
    var = pd.DataFrame(
        index=pd.Index([f"chr2:{10 * i}-{10 * i + 5}" for i in range(p)], dtype=object)
    )
    x = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.array}[layout](counts)
    options = PseudobulkSettings("cell_type", None, min_cells, fraction, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.h5ad"
        adata = anndata.AnnData(X=x, obs=obs, var=var)
        adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)  # no Arrow strings
        adata.write_h5ad(path)
        with mock.patch.object(pseudobulk, "BLOCK", block):
            bulk = read_pseudobulk(path, options)
    assert bulk.labels == sorted(set(labels))
    for k, label in enumerate(bulk.labels):
        size = int((labels == label).sum())
        assert bulk.cells[k] == size
        for j in range(p):
            seen = sum(counts[i, j] > 0 for i in range(n) if labels[i] == label)
            assert bulk.seen[k, j] == seen
            is_open = seen >= max(min_cells, fraction * size)
            assert (seen >= options.needed(size)) == is_open
