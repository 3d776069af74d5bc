"""The task `accessibility`: pairs of (region, cell type), and the rivals that read other types."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from genome_toys import CELLS, HELD_OUT, Toy
from scipy import sparse
from task_toys import CELLS as SHARD_CELLS
from task_toys import job, random_sequences, toy_shards, write

from genebert import accessibility_models as models
from genebert import baselines, predict, tasks
from genebert.context import Context
from genebert.errors import InputError

ROW = {"task": "accessibility", "kind": "regions"}


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path).write(every=750)


def build(toy: Toy, row: dict[str, Any] | None = None, **more: Any) -> Any:
    arguments = toy.arguments({**ROW, **(row or {})}, toy.folder / "accessibility.h5ad", **more)
    tasks.build_dataset(**arguments)
    return toy.read()


def rewrite(toy: Toy, strength: np.ndarray, held_out: np.ndarray) -> None:
    anndata.AnnData(
        sparse.csr_matrix(strength.astype(np.float32)),
        obs=pd.DataFrame({"held_out": held_out}, index=pd.Index(CELLS, dtype=object)),
        var=pd.DataFrame(index=pd.Index(map(str, toy.regions["region"]), dtype=object)),
    ).write_h5ad(toy.folder / "accessibility.h5ad")


def test_labels_are_the_accessibility_and_balanced(toy: Toy) -> None:
    frame, info, _ = build(toy)
    cell = np.array([CELLS.index(c) for c in frame["cell_type"]])
    assert (frame["label"] == (toy.strength[cell, frame["region"]] > 0)).all()
    tags = frame["stratum"].where(frame["split"] == "test", frame["split"])
    assert (frame.groupby([tags, "cell_type"])["label"].mean() == 0.5).all()
    assert info["anchor_hidden"] is True
    assert info["n_in"] == len(frame) + info["dropped"]["over_max_items_or_unbalanced"]


def test_every_locus_is_open_in_another_training_type(toy: Toy) -> None:
    frame, info, _ = build(toy)
    training = ~np.isin(CELLS, HELD_OUT)
    lonely = 0
    for row in frame.itertuples():
        others = training & (np.array(CELLS) != row.cell_type)
        lonely += not (toy.strength[others, row.region] > 0).any()
    assert lonely == 0
    assert info["dropped"]["open_in_no_other_training_cell_type"] > 0


def test_parts_follow_chromosome_and_cell_type(toy: Toy) -> None:
    frame, _, _ = build(toy)
    held = frame["cell_type"].isin(HELD_OUT)
    tag = frame["stratum"].str.split(";").str[0]
    assert set(frame["split"][~held]) == {"train", "valid", "test"}
    assert (frame["split"][held] == "test").all()
    assert (frame["contig"][tag == "both"] == "chr3").all()
    assert held[tag == "both"].all()
    assert not held[tag == "chromosome"].any()
    assert (frame["stratum"][tag == "cell-type"] == "cell-type;transductive").all()
    assert frame["in_pretraining"][tag == "cell-type"].all()


def test_cell_types_share_the_loci_of_the_test_only(tmp_path: Path) -> None:
    toy = Toy(tmp_path).write(every=520)
    frame, info, _ = build(toy, max_items=300)
    assert 250 < len(frame) <= 300
    held = frame["cell_type"].isin(HELD_OUT)
    part = frame[(frame["label"] == 1) & ~held]
    shared = part[part["split"] == "test"]
    own = part[part["split"] == "valid"]
    assert len(shared) / shared["region"].nunique() > 1.5
    assert len(own) / own["region"].nunique() < 1.3
    assert info["dropped"]["over_max_items_or_unbalanced"] > 0
    again, _, _ = build(toy, max_items=300)
    pd.testing.assert_frame_equal(frame, again)


def test_a_contig_without_a_peak_is_unlabelled(toy: Toy) -> None:
    strength = toy.strength.copy()
    strength[CELLS.index("Mono"), (toy.regions["contig"] == "chr3").to_numpy()] = 0
    rewrite(toy, strength, np.isin(CELLS, HELD_OUT))
    frame, info, _ = build(toy)
    mono = frame[frame["cell_type"] == "Mono"]
    assert set(mono["contig"]) == {"chr1", "chr2"}
    assert info["dropped"]["on_contigs_without_a_peak_of_the_cell_type"] > 0


def test_oracle_is_the_truth_at_the_locus(toy: Toy) -> None:
    known = toy.regions[["contig", "start", "end"]].iloc[::2]
    rows = [known.assign(cell_type=c, probability=0.1 * (k + 1)) for k, c in enumerate(CELLS[:3])]
    pd.concat(rows).to_csv(toy.folder / "truth.tsv", sep="\t", index=False)
    frame, _, _ = build(toy, truth=[str(toy.folder / "truth.tsv")])
    expected = frame["cell_type"].map(dict(zip(CELLS, (0.1, 0.2, 0.3, np.nan), strict=True)))
    expected = expected.where((frame["region"] % 2 == 0) | expected.isna(), 0.0)
    np.testing.assert_allclose(frame["oracle"], expected)
    assert frame["oracle"].nunique() == 4
    (toy.folder / "truth.tsv").write_text("contig\tstart\n")
    with pytest.raises(InputError, match="column 'end' is missing"):
        build(toy, truth=[str(toy.folder / "truth.tsv")])


def test_bad_input_is_one_line(toy: Toy) -> None:
    with pytest.raises(InputError, match=r"not in the genome; did you mean 'chr3'\?"):
        build(toy, {"contigs": ["chrr3"]})
    with pytest.raises(InputError, match="split train has no item of class 'closed'"):
        build(toy, {"contigs": ["chr3"]})
    rewrite(toy, toy.strength, np.array([False, True, True, True]))
    with pytest.raises(InputError, match="needs two training cell types"):
        build(toy)


def pairs(shards: SimpleNamespace) -> pd.DataFrame:
    """Return every (region, cell type) with its openness as label."""
    opened = opened_of(shards)
    cell, region = (x.ravel() for x in np.indices(opened.shape))
    made = random_sequences(len(shards.start), shards.width, np.random.default_rng(1))
    contig = shards.contig[region]
    split = np.array(["train", "valid", "test"], dtype=object)[contig]
    held = shards.held_out[cell]
    return pd.DataFrame(
        {
            "item": [f"{r}:{c}" for r, c in zip(region, cell, strict=True)],
            "contig": np.array(shards.contigs, dtype=object)[contig],
            "start": shards.start[region].astype(int),
            "end": shards.start[region].astype(int) + shards.width,
            "strand": ".",
            "sequence": [made[r] for r in region],
            "label": opened[cell, region].astype(float),
            "group": "",
            "cell_type": np.array(shards.cell_types, dtype=object)[cell],
            "split": np.where(held, "test", split),
            "in_pretraining": False,
            "region": region,
            "stratum": "",
        }
    )


def opened_of(shards: SimpleNamespace) -> np.ndarray:
    out = np.zeros((len(shards.cell_types), len(shards.start)), dtype=bool)
    for c in range(len(out)):
        out[c, shards.open_regions[shards.indptr[c] : shards.indptr[c + 1]]] = True
    return out


def made_job(
    tmp_path: Path, name: str, shards: SimpleNamespace, hides: dict[str, Any] | None = None
) -> Any:
    hides = {"anchor_hidden": True} if hides is None else hides
    more = {"task": "accessibility", "uses_regions": True, **hides}
    return job(name, write(tmp_path, pairs(shards), **more), shards)


def test_rivals_equal_slow_ones_and_never_read_their_own_type(tmp_path: Path) -> None:
    shards = toy_shards(60)
    opened, training = opened_of(shards), np.flatnonzero(~shards.held_out)
    train = (shards.split == 0) & ~shards.held_out_only
    made = made_job(tmp_path, "mean-breadth", shards)
    breadth = models.mean_breadth(made)[0].set_index("item")["score"]
    near, info = models.nearest_type(made)
    near = near.set_index("item")["score"]
    for item, score in breadth.items():
        region, cell = map(int, item.split(":"))
        others = [c for c in training if c != cell]
        assert score == pytest.approx(opened[others, region].mean())

        def jaccard(c: int, cell: int = cell) -> float:
            a, b = opened[cell][train], opened[c][train]
            return float((a & b).sum() / (a | b).sum())

        twin = max(others, key=jaccard)
        assert info["nearest"][SHARD_CELLS[cell]] == SHARD_CELLS[twin]
        assert (near[item] > 0) == opened[twin, region]


def test_no_training_type_to_be_near_to(tmp_path: Path) -> None:
    shards = toy_shards(60)
    shards.held_out = np.array([False, True, True, True])
    assert models.nearest_training(Context(shards)).tolist() == [-1, 0, 0, 0]
    with pytest.raises(InputError, match="no other training cell type"):
        models.nearest_type(made_job(tmp_path, "nearest-type", shards))


@pytest.mark.parametrize("hides", [{"anchor_hidden": True}, {"anchor": "hidden"}])
def test_no_model_sees_the_anchors_accessibility(tmp_path: Path, hides: dict[str, Any]) -> None:
    shards = toy_shards(60)
    shown = made_job(tmp_path, "context-lr", shards, {})
    assert (baselines.context_features(shown, 4)[:, 2] > 0).any()
    made = made_job(tmp_path, "context-lr", shards, hides)
    columns = baselines.context_features(made, 4)
    assert (columns[:, 2] == 0).all()  # after the two columns of one motif
    predict.check_fits(predict.MODELS["mean-breadth"], made)


def test_matrices_hide_the_anchor(tmp_path: Path) -> None:
    import torch

    from genebert.classifier import place_matrices
    from genebert.samples import Corpus

    shards = toy_shards(60)
    items = made_job(tmp_path, "genebert", shards).items
    corpus = Corpus.from_shards(shards, torch.device("cpu"))
    encoders = SimpleNamespace(config=SimpleNamespace(n_columns=5, cell_state=False), record={})
    rows = np.flatnonzero(items.cell_type == "GMP")
    cells = np.full(len(rows), SHARD_CELLS.index("GMP"))
    places = place_matrices(corpus, corpus.view(), items, cells, rows, encoders)
    assert places.placeholder.all()
    assert (places.matrix[:, :, 2] == 0).all()
    assert (places.matrix[:, :, [1, 3]] != 0).any()
