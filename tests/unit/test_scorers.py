"""Models as functions of a sequence: the scores of the tables, and what a mutation reaches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from task_toys import (
    EFFORT,
    PRETRAIN,
    WordMotifs,
    binary_frame,
    cell_frame,
    job,
    splice_frame,
    toy_shards,
    write,
)

from genebert import baselines, finetune, finetuned, interpret, scorers
from genebert.classifier import place_matrices
from genebert.context import Context
from genebert.errors import InputError
from genebert.finetune import Finetuning
from genebert.items import Job
from genebert.model import GeneBert, ModelConfig
from genebert.pretrained import save
from genebert.samples import Corpus
from genebert.use import attributions, predictions


class CountMotifs(WordMotifs):
    """As many motifs as the toy shards have: the counts of A, C, G, T and N."""

    def scan(self, sequences: list[np.ndarray]) -> Any:
        from scipy import sparse

        counts = [np.bincount(s, minlength=5) / 40 for s in sequences]
        return SimpleNamespace(sum=sparse.csr_matrix(np.array(counts)))


def record(tmp_path: Path, info: dict[str, Any]) -> str:
    path = tmp_path / "fit.json"
    path.write_text(json.dumps(info))
    return str(path)


def tables(frame: Any, made: Job) -> np.ndarray:
    """Return the scores of the tables, in the order of the predicted items."""
    part = frame[(frame["model"] == made.model) & (frame["finetune_seed"] <= 1)]
    part = part[part["pretrain_seed"] <= 1].set_index("item")
    columns = [c for c in part.columns if c.startswith("score")]
    return part.loc[made.items.name[made.items.predicted], columns].to_numpy()


def again(made: Job, scorer: Any) -> np.ndarray:
    items = made.items
    return np.concatenate(
        [scorer(int(r), items.codes[items.sequence[r]][None]) for r in first(made)]
    )


def first(made: Job) -> np.ndarray:
    return made.items.predicted[:8]


@pytest.mark.parametrize("model", ["gc", "kmer-lr", "motif-lr"])
def test_regressions_give_the_scores_of_the_tables(tmp_path: Path, model: str) -> None:
    made = job(model, write(tmp_path, binary_frame(240, groups=("CTCF", "SPI1"))))
    function = {"gc": baselines.gc, "kmer-lr": baselines.kmer_lr, "motif-lr": baselines.motif_lr}
    frame, info = function[model](made)
    scorer = scorers.scorer(made, record(tmp_path, info))
    np.testing.assert_allclose(again(made, scorer), tables(frame, made)[:8], atol=1e-6)


def network_job(tmp_path: Path, model: str, kind: str = "cells") -> Job:
    shards = toy_shards(80)
    frame = cell_frame(shards) if kind == "cells" else splice_frame(160)
    info = {"task": "tfbs", "uses_regions": True} if kind == "cells" else {"kind": "multiclass"}
    files = []
    if model == "genebert":
        config = ModelConfig.from_pretrain(PRETRAIN, len(shards.motifs))
        save(tmp_path / "seed-1", GeneBert(config, 1), objectives=["mgm", "srm"])
        files = [str(tmp_path / "seed-1" / "model.safetensors")]
    paths = write(tmp_path, frame, **info)
    return job(
        model,
        paths,
        shards,
        effort={**EFFORT, "finetune_steps": 10},
        pretrain=PRETRAIN,
        weights=files,
    )


@pytest.mark.parametrize(
    ("model", "kind"), [("cnn", "cells"), ("scratch", "splice"), ("cnn", "splice")]
)
def test_networks_give_the_scores_of_the_tables(tmp_path: Path, model: str, kind: str) -> None:
    path = str(tmp_path / "fitted.safetensors")
    made = replace(network_job(tmp_path, model, kind), fitted=path)
    made.__dict__["context"] = Context(toy_shards(80))  # type: ignore[arg-type]
    frame, info = finetune.predict_network(made)
    scorer = scorers.scorer(made, record(tmp_path, info))
    np.testing.assert_allclose(again(made, scorer), tables(frame, made)[:8], atol=1e-6)


def test_a_network_that_was_not_kept_is_told(tmp_path: Path) -> None:
    made = replace(network_job(tmp_path, "cnn"), fitted=str(tmp_path / "none.safetensors"))
    with pytest.raises(InputError, match=r"none\.safetensors"):
        scorers.scorer(made, record(tmp_path, {"runs": []}))


def test_the_anchor_has_the_motif_row_of_the_mutated_sequence(tmp_path: Path) -> None:
    made = network_job(tmp_path, "genebert")
    made.__dict__["motifs"] = CountMotifs()
    tuning = Finetuning(made)
    network = tuning.network(tuning.starts[0], 1).eval()
    assert network.uses_regions
    row = int(made.items.predicted[0])
    codes = np.stack([np.full(200, b, np.uint8) for b in (0, 3)])
    seen: list[torch.Tensor] = []
    embed = network.embed_region
    network.embed_region = lambda m, *rest: (seen.append(m.clone()), embed(m, *rest))[1]  # type: ignore[method-assign,assignment,func-returns-value]
    vectors = scorers.region_vectors(tuning, network, row, codes)
    assert len(vectors) == 2
    assert not torch.allclose(vectors[0], vectors[1])
    assert tuning.inputs.places is not None
    assert tuning.corpus is not None
    before = tuning.inputs.places.matrix[tuning.inputs.places.row[row]]
    middle = before.shape[1] // 2
    for number, matrix in enumerate(seen[0]):
        others = np.arange(before.shape[1]) != middle
        assert torch.equal(matrix[:, others], before[:, others])
        assert matrix[-1, middle] == before[-1, middle]
        row_M = torch.zeros(5)
        row_M[(0, 3)[number]] = 5.0
        expected = (row_M / tuning.corpus.normaliser).clamp(max=1)
        torch.testing.assert_close(matrix[:-1, middle], expected)
    short = scorers.region_vectors(tuning, network, row, codes[:, :100])
    assert torch.equal(short[0], short[1])  # not the region's own sequence: its row stays


@pytest.mark.parametrize(("model", "kind"), [("genebert", "cells"), ("cnn", "splice")])
def test_the_kept_network_gives_the_scores_of_the_tables(
    tmp_path: Path, model: str, kind: str
) -> None:
    path = str(tmp_path / "fitted.safetensors")
    made = replace(network_job(tmp_path, model, kind), fitted=path)
    shards = toy_shards(80)
    made.__dict__["context"] = Context(shards)  # type: ignore[arg-type]
    frame, info = finetune.predict_network(made)
    json.dumps(info)
    network = finetuned.load(path)
    rows, items = first(made), made.items
    given: Any = [None]
    if network.about.regions:
        corpus = Corpus.from_shards(shards)  # type: ignore[arg-type]
        cells = made.context.cells(items.cell_type[rows])
        assert network.encoders is not None
        places = place_matrices(corpus, corpus.view(), items, cells, rows, network.encoders)
        given = [places.of(places.row)]
    found = predictions.probabilities(network, items.codes[items.sequence[rows]], given)[:, :, 0]
    if not items.multiclass:
        found = found[np.arange(len(rows)), items.group[rows]][:, None]
    np.testing.assert_allclose(found, tables(frame, made)[:8], atol=1e-6)


def test_a_track_of_a_region_is_the_mutagenesis_of_the_tables(tmp_path: Path) -> None:
    """What a base does through the motif row of its own region is in both."""
    path, shards = str(tmp_path / "fitted.safetensors"), toy_shards(80)
    made = replace(network_job(tmp_path, "genebert"), fitted=path)
    made.__dict__["context"] = Context(shards)  # type: ignore[arg-type]
    made.__dict__["motifs"] = motifs = CountMotifs()
    finetune.predict_network(made)
    network, items, row = finetuned.load(path), made.items, first(made)[:1]
    corpus = Corpus.from_shards(shards)  # type: ignore[arg-type]
    assert network.encoders is not None
    cells = made.context.cells(items.cell_type[row])
    places = place_matrices(corpus, corpus.view(), items, cells, row, network.encoders)
    codes, column = items.codes[items.sequence[row[0]]], int(items.group[row[0]])

    def counted(codes: np.ndarray) -> torch.Tensor:
        return corpus.rows_of(motifs.scan(list(codes)).sum.toarray())

    found, fixed = (
        attributions.attribute(
            attributions.network_target(network, column, places.of(places.row), rows), codes
        )
        for rows in (counted, None)
    )
    changes = interpret.changes(scorers.network_scorer(made), int(row[0]), codes, 0)
    expected = interpret.contributions(changes)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - fixed).max() > 1e-3 * np.abs(found).max()
