"""Small datasets and predictions in the form that the tasks write, for the tests of tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genebert.evaluate import evaluate

THRESHOLD = ["mcc", "mcc_low", "mcc_high", "f1", "accuracy", "precision", "recall"]

BLOCK = 100_000


def make_frame(
    n: int, seed: int = 0, *, groups: Sequence[str] = ("",), classes: int = 2, blocks: int = 40
) -> pd.DataFrame:
    """Return a dataset of ``n`` items: a fifth validation, the rest test, spread over blocks."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, blocks, n) * BLOCK + rng.integers(0, BLOCK - 500, n)
    split = np.where(np.arange(n) % 5 == 0, "valid", "test")
    frame = pd.DataFrame(
        {
            "item": [f"item{i:05d}" for i in range(n)],
            "contig": np.where(split == "valid", "chr3", "chr4"),
            "start": start,
            "end": start + 200,
            "strand": "+",
            "sequence": "ACGT",
            "label": rng.integers(0, classes, n).astype(float),
            "group": np.asarray(groups, dtype=object)[rng.integers(0, len(groups), n)],
            "cell_type": "",
            "split": split,
            "in_pretraining": False,
            "region": -1,
            "stratum": "",
        }
    )
    columns = ["oracle"] if classes == 2 else [f"oracle_{k}" for k in range(classes)]
    return frame.assign(**dict.fromkeys(columns, np.nan))


@dataclass
class Home:
    """The directory of a dataset, and the files that were written into it."""

    path: Path
    task: str
    name: str
    predictions: list[str] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    cohort: list[str] = field(default_factory=list)

    def arguments(self, out: Path, **more: Any) -> dict[str, Any]:
        """Return the arguments of ``evaluate``; outputs go to ``out``."""
        out.mkdir(parents=True, exist_ok=True)
        return {
            "dataset": str(self.path / "dataset.parquet"),
            "description": str(self.path / "dataset.json"),
            "cohort": self.cohort,
            "predictions": self.predictions,
            "fits": self.fits,
            "long": str(out / "metrics.tsv"),
            "wide": str(out / "table.tsv"),
            "curves": str(out / "curves.tsv"),
            "task": self.task,
            "name": self.name,
            "seed": 1,
            "draws": 200,
            **more,
        }

    def add(self, model: str, frame: pd.DataFrame, **info: Any) -> Path:
        """Write the predictions of one model and return their path."""
        folder = self.path / model
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / "predictions.parquet", index=False)
        text = {"model": model, "pretraining": None, "collapsed": 0, "n_train": 100, **info}
        (folder / "fit.json").write_text(json.dumps(text))
        self.predictions.append(str(folder / "predictions.parquet"))
        self.fits.append(str(folder / "fit.json"))
        return folder / "predictions.parquet"


def write_home(
    root: Path, frame: pd.DataFrame, *, task: str = "promoter", name: str = "epd", **info: Any
) -> Home:
    """Write ``dataset.parquet`` and ``dataset.json`` under ``root``."""
    home = Home(root / "results" / "tasks" / task / name, task, name)
    home.path.mkdir(parents=True)
    frame.to_parquet(home.path / "dataset.parquet", index=False)
    text = {
        "task": task,
        "dataset": name,
        "kind": "binary",
        "classes": ["negative", "positive"],
        "uses_regions": False,
        "strand_specific": False,
        "block_bp": BLOCK,
        "n_in": len(frame),
        "dropped": {},
        "captions": {},
        **info,
    }
    (home.path / "dataset.json").write_text(json.dumps(text))
    return home


def predict(
    frame: pd.DataFrame,
    model: str,
    signal: float,
    seed: int = 0,
    *,
    pretrain_seeds: Sequence[int] = (0,),
    finetune_seeds: Sequence[int] = (1,),
    fraction: float = 1.0,
    track: str = "",
    classes: int = 2,
) -> pd.DataFrame:
    """Return predictions whose log-odds move by ``signal`` with the label, in [0, 1]."""
    parts = []
    for pretrain in pretrain_seeds:
        for finetune in finetune_seeds:
            rng = np.random.default_rng([seed, pretrain, finetune])
            part = pd.DataFrame(
                {
                    "model": model,
                    "track": track,
                    "item": frame["item"],
                    "split": frame["split"],
                    "pretrain_seed": pretrain,
                    "finetune_seed": finetune,
                    "fraction": fraction,
                }
            )
            label = frame["label"].to_numpy()
            if classes == 2:
                odds = rng.normal(size=len(frame)) + signal * (label - 0.5)
                parts.append(part.assign(score=1 / (1 + np.exp(-odds))))
                continue
            odds_K = rng.normal(size=(len(frame), classes))
            odds_K += signal * (label[:, None] == np.arange(classes))
            share = np.exp(odds_K) / np.exp(odds_K).sum(axis=1, keepdims=True)
            parts.append(part.assign(**{f"score_{k}": share[:, k] for k in range(classes)}))
    return pd.concat(parts, ignore_index=True)


def read(path: str | Path) -> pd.DataFrame:
    """Read a result table; ``NA`` is NaN, everything else of the keys stays text."""
    return pd.read_csv(path, sep="\t", dtype={"pretrain_seed": str, "finetune_seed": str})


def run(home: Home, **more: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evaluate what a home holds; return its wide and its long table."""
    arguments = home.arguments(home.path / "out", **more)
    evaluate(**arguments)
    return read(arguments["wide"]), read(arguments["long"])


def top_k(labels: np.ndarray, scores: np.ndarray, k: int) -> float:
    """Return the share of k sites that is among the k best scores, ties in proportion."""
    best = np.sort(scores)[::-1][:k]
    above, tied = scores > best[-1], scores == best[-1]
    return (labels[above].sum() + labels[tied].mean() * (len(best) - above.sum())) / k


def value(long: pd.DataFrame, **where: Any) -> pd.Series:
    """Return the one row with these values; all seeds and everything unless told."""
    where = {"stratum": "all", "pretrain_seed": "all", **where}
    for column, wanted in where.items():
        long = long[long[column] == wanted]
    assert len(long) == 1
    return long.iloc[0]
