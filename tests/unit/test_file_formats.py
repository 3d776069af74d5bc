"""docs/files.md against the code: columns, layers, tensors and their types, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

from genebert import (
    curves,
    downloads,
    evaluate,
    interpret,
    pretraining_table,
    regions,
    result_tables,
)
from genebert.items import prediction_rows, read_items
from genebert.matrix import LAYERS
from genebert.shard_export import export_shards
from genebert.shard_files import CELL_TENSORS, REGION_TENSORS
from genebert.shards import Shards
from genebert.tasks.dataset import COLUMNS as ITEM_COLUMNS
from genebert.tasks.dataset import LEAK_COLUMNS

NAME = re.compile(r"`([^`]+)`")


class Page:
    """Tables of a page by the heading above them and what their first column is called."""

    def __init__(self, text: str) -> None:
        self.tables: dict[tuple[str, str], list[list[str]]] = {}
        heading, table = "", None
        for line in text.splitlines():
            if line.startswith("#"):
                heading = line.lstrip("# ").strip()
            if not line.startswith("|"):
                table = None
            elif not line.startswith("|---"):
                cells = [cell.strip("| ") for cell in line.split(" | ")]
                if table is None:
                    table = self.tables.setdefault((heading, cells[0].strip("`")), [])
                else:
                    table.append(cells)

    def rows(self, heading: str, header: str = "column") -> list[list[str]]:
        """Return the rows of the table under a heading whose first column is called so."""
        return self.tables[heading, header]

    def names(self, heading: str, header: str = "column") -> list[str]:
        """Return the names in the first column; a cell may hold several."""
        return [name for row in self.rows(heading, header) for name in NAME.findall(row[0])]


@pytest.fixture(scope="module")
def page(root: Path) -> Page:
    return Page((root / "docs/files.md").read_text())


@pytest.mark.parametrize(
    ("heading", "columns"),
    [
        ("`results/{task}.tsv` and `results/ablation.tsv`", evaluate.WIDE),
        ("`results/metrics.tsv`", evaluate.LONG),
        ("`results/comparisons.tsv`", result_tables.COMPARISONS),
        ("`results/pretraining.tsv`", pretraining_table.COLUMNS),
        ("`results/regions/regions.tsv`", regions.COLUMNS),
        ("`results/tasks/TASK/DATASET/dataset.parquet`", ITEM_COLUMNS),
        ("`results/tasks/TASK/DATASET/curves.tsv`", evaluate.CURVES),
        ("`resources/manifest.tsv`", downloads.MANIFEST),
    ],
)
def test_tables_have_the_documented_columns_in_their_order(page, heading, columns):
    assert page.names(heading) == list(columns)


def test_interpretation_table(page):
    bases = pd.DataFrame(
        {
            "task": "tfbs", "dataset": "d", "model": "gc", "item": ["a", "a"], "group": "",
            "contig": "c", "start": 0, "position": [0, 1], "site": [1.0, 0.0],
            "contribution": [0.1, 0.2],
        }
    )  # fmt: skip
    table = interpret.score_table(bases, seed=1, draws=10)
    assert page.names("`results/interpretation.tsv`") == list(table.columns)


@pytest.mark.parametrize(
    ("heading", "tensors"),
    [
        ("`regions-NNNNN-of-NNNNN.safetensors`", REGION_TENSORS),
        ("`cell_types.safetensors`", CELL_TENSORS),
    ],
)
def test_tensors_and_their_types(page, heading, tensors):
    rows = page.rows(heading, "tensor")
    assert {NAME.findall(row[0])[0]: row[1] for row in rows} == tensors


def test_shapes_of_the_tensors(page, tmp_path):
    from shard_toys import make_toy

    toy = make_toy(tmp_path)
    export_shards(**toy.job())
    shards = Shards.open(tmp_path / "shards" / "index.json")
    R, M, C = len(shards.start), len(shards.motifs), len(shards.cell_types)
    W, open_ = shards.width + 2 * shards.flank, len(shards.open_regions)
    sizes = {
        "r": R, "M": M, "W / 4": -(-W // 4), "W / 8": -(-W // 8), "C": C, "C + 1": C + 1,
        "open pairs": open_,
    }  # fmt: skip
    for heading in ("`regions-NNNNN-of-NNNNN.safetensors`", "`cell_types.safetensors`"):
        for row in page.rows(heading, "tensor"):
            name = NAME.findall(row[0])[0]
            if hasattr(shards, name):
                expected = tuple(sizes[part] for part in row[2].split(", "))
                assert getattr(shards, name).shape == expected, name


def test_accessibility_matrix(page, tmp_path):
    from test_regions import World

    folder = World(tmp_path)()
    found = anndata.read_h5ad(folder / "accessibility.h5ad")
    heading = "`results/regions/accessibility.h5ad`"
    assert [*page.names(heading, "obs"), "lineage"] == list(found.obs.columns)  # the table's own
    assert list(found.var.columns) == page.names("`results/regions/regions.tsv`")
    counts = pd.read_csv(folder / "qc.tsv", sep="\t")
    assert page.names("`results/regions/qc.tsv`") == list(counts.columns)
    listed = set(NAME.findall(page.rows("`results/regions/qc.tsv`")[1][2]))
    lifted = {name for name in listed if name.startswith("lift_")}
    assert listed - lifted <= set(counts["reason"])


def test_motif_matrix(page, tmp_path):
    import test_matrix as toys

    toy = toys.toy.__wrapped__(tmp_path)
    found: Any = anndata.read_h5ad(toys.gathered(toy, toys.scanned(toy, 1)))
    heading = "`results/motifs/matrix.h5ad`"
    assert page.names(heading, "layer") == list(LAYERS)
    assert set(found.layers) == set(LAYERS)
    assert page.names(heading, "var") == list(found.var.columns)


def test_predictions_and_leaks(page, root, tmp_path):
    import task_toys as toys

    files = toys.write(tmp_path, toys.binary_frame())
    items = read_items(files["dataset"], files["description"])
    score = np.zeros((len(items.predicted), 1))
    frame = prediction_rows(items, score, model="gc")
    heading = "`results/tasks/TASK/DATASET/MODEL/predictions.parquet`"
    assert set(page.names(heading)) == set(frame.columns)
    text = " ".join((root / "docs/files.md").read_text().split())
    assert "`leaks.tsv` (" + ", ".join(f"`{name}`" for name in LEAK_COLUMNS) + ")" in text


def test_kinds_of_curves(page):
    import inspect

    source = inspect.getsource(curves)
    row = next(
        row for row in page.rows("`results/tasks/TASK/DATASET/curves.tsv`") if "curve" in row[0]
    )
    for kind in NAME.findall(row[2]):
        assert f'"{kind}"' in source


def test_keys_of_the_training_log_and_of_the_weights(page, root):
    """Every key that the page names is written by the modules of pre-training."""
    library = root / "workflow/scripts/genebert"
    modules = ("pretrain", "clock", "pretraining_evaluation", "probes", "run_figures", "pretrained")
    source = "".join((library / f"{name}.py").read_text() for name in modules)
    files = {row[0]: row[1] for row in page.rows("Pre-training", "file")}
    named = NAME.findall(files["`config.json`"])
    for row in page.rows("`metrics.jsonl`", "kind"):
        assert f'"kind": "{row[0].strip("`")}"' in source, row[0]
        named += NAME.findall(row[1])
    written = {"pretraining.tsv", "valid", "held_out"}
    for name in set(named) - written:
        stem = re.sub(r"^srm_n[12]_", "", name)
        assert re.search(rf'["_]{stem}"|\b{stem}=', source), name
