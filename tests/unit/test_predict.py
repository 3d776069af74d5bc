"""The stage `predict`: dispatch, schema of its two files, and refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from task_toys import binary_frame, splice_frame, write

from genebert import layout, predict
from genebert.errors import InputError
from genebert.items import Job, Result


def call(
    folder: Path, paths: dict[str, str], model: str, **changes: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    settings: dict[str, Any] = {
        **paths, "cohort": [], "motif_set": "", "shards": "", "weights": [], "model": model,
        "predictions": str(folder / "predictions.parquet"), "fit": str(folder / "fit.json"),
        "effort": {}, "pretrain": {}, "seed": 1, "threads": 1, **changes,
    }  # fmt: skip
    predict.predict(**settings)
    return (
        pd.read_parquet(settings["predictions"]),
        json.loads(Path(settings["fit"]).read_text()),
    )


def test_predictions_and_info_have_the_schema(tmp_path: Path) -> None:
    frame, info = call(tmp_path, write(tmp_path, binary_frame()), "gc")
    assert list(frame.columns) == [
        "model", "track", "item", "split", "pretrain_seed", "finetune_seed", "fraction", "score",
    ]  # fmt: skip
    assert frame["item"].is_unique
    assert len(frame) == 80
    assert info.keys() >= {
        "model", "pretraining", "grid", "chosen", "collapsed", "n_train", "n_parameters", "seconds",
    }  # fmt: skip
    assert info["pretraining"] is None
    assert info["n_train"] == 120


def test_label_shares_that_are_too_few_are_recorded(tmp_path: Path) -> None:
    paths = write(tmp_path, binary_frame())  # 120 items to train on
    effort = {"label_fractions": [0.1, 20, 50, 1000, 1.0], "fraction_draws": 5}
    frame, info = call(tmp_path, paths, "gc", effort=effort)
    assert info["too_few"] == [0.1, 20]
    assert frame.groupby("fraction")["finetune_seed"].nunique().to_dict() == {1.0: 1, 50.0: 5}
    _, info = call(tmp_path, paths, "oracle", effort=effort)
    assert info["too_few"] == []


def test_oracle_is_the_truth(tmp_path: Path) -> None:
    source = binary_frame()
    frame, info = call(tmp_path, write(tmp_path, source), "oracle")
    both = frame.merge(source, on="item")
    assert (both["score"] == both["oracle"]).all()
    assert info["flags"] == ["oracle"]


def test_the_order_of_items_does_not_matter(tmp_path: Path) -> None:
    source = binary_frame()
    first, _ = call(tmp_path, write(tmp_path, source), "kmer-lr")
    again, _ = call(tmp_path, write(tmp_path, source), "kmer-lr")
    pd.testing.assert_frame_equal(first, again)


def test_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such model; did you mean 'kmer-lr'\?.*'kmer-rl'"):
        call(tmp_path, write(tmp_path, binary_frame()), "kmer-rl")


def test_models_refuse_datasets_that_they_cannot_read(tmp_path: Path) -> None:
    paths = write(tmp_path / "a", binary_frame())
    with pytest.raises(InputError, match="needs a cell type"):
        call(tmp_path, paths, "accessibility")
    three = splice_frame().assign(cell_type="HSC")
    paths = write(tmp_path / "b", three, kind="multiclass", window={})
    with pytest.raises(InputError, match="one score per item"):
        call(tmp_path, paths, "cell-average")
    with pytest.raises(InputError, match="no description of a dataset"):
        call(tmp_path, {**paths, "description": str(tmp_path / "none.json")}, "gc")


@pytest.mark.parametrize("kind", predict.KINDS)
def test_disease_datasets_go_to_their_own_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[Job] = []

    def answer(job: Job) -> Result:
        seen.append(job)
        keys = {name: 0 for name in predict.SORTED_BY}
        return pd.DataFrame([{**keys, "score": 0.5}]), {"version": 1, "n_train": 9}

    module = ModuleType("genebert.disease_models")
    setattr(module, f"predict_{kind}", answer)
    monkeypatch.setitem(sys.modules, "genebert.disease_models", module)
    paths = write(tmp_path, binary_frame())
    info = json.loads(Path(paths["description"]).read_text())
    Path(paths["description"]).write_text(json.dumps({**info, "kind": kind}))
    frame, found = call(tmp_path, paths, "dosage-lr", cohort=["c.npz"], threads=2)
    assert frame["score"].tolist() == [0.5]
    assert (found["version"], found["n_train"]) == (1, 9)  # of that module
    assert "too_few" not in found
    (job,) = seen
    assert (job.model, job.cohort, job.threads) == ("dosage-lr", ["c.npz"], 2)


def test_every_model_of_the_plan_is_known() -> None:
    for name in (
        *layout.SHARED_MODELS,
        *(n for key, names in layout.EXTRA_MODELS.items() if key[0] != "disease" for n in names),
        "oracle",
    ):
        assert predict.find_model(name).function
    assert predict.find_model("genebert-shuffled_matrix") is predict.MODELS["genebert"]


def test_every_function_of_the_table_exists() -> None:
    from importlib import import_module

    for entry in (*predict.MODELS.values(), *predict.KINDS.values()):
        module, function = entry.function.split(":")
        assert callable(getattr(import_module(f"genebert.{module}"), function))
