"""Which model validation data choose for each dataset, and how that one does on the test data.

In: the long tables of all datasets. Out: ``results/chosen.tsv``, one row per dataset (and track)
whose models have validation scores. "The best model" of a dataset is only ever this one; models
that are given labels or the truth (:data:`genebert.scores.BOUNDS`) are no candidates, nor is
``genebert-wrongcell``; zero-shot scores have no validation scores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from genebert.bootstrap import ALL
from genebert.evaluate import LONG, Row, write_table
from genebert.result_tables import dataset_key, read_table
from genebert.scores import BOUNDS, model_rank

VERSION = 1

COLUMNS = (
    *("task", "dataset", "model", "pretraining", "chosen_by", "validation", "candidates"),
    *("runner_up", "runner_up_validation"),
    *("metric", "value", "low", "high", "oracle", "gc", "recovered", "recovered_low"),
    *("recovered_high", "n"),
)
FEW_VALIDATION = 20  # validation items below which nothing is chosen

Key = tuple[str, str]  # task, dataset


def chosen_table(*, long: Sequence[str], table: str) -> None:
    """Choose one model per dataset by its validation score, and write its test scores.

    Parameters
    ----------
    long : ``metrics.tsv`` of every dataset.
    table : the table to write.

    Raises
    ------
    InputError
        If a table has other columns.
    """
    rows = [row for path in long for row in read_table(path, LONG)]
    rows = [row for row in rows if ALL == row["pretrain_seed"] == row["finetune_seed"]]
    parts: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row["task"], row["dataset"]].append(row)
    found = [choose(part) for part in parts.values()]
    write_table(table, COLUMNS, sorted(filter(None, found), key=dataset_key))


def choose(rows: Sequence[Row]) -> Row | None:
    """Return the row of one dataset; None where no candidate has enough validation items.

    Parameters
    ----------
    rows : its rows of the long table that average over all seeds.
    """
    scores = [
        row
        for row in rows
        if row["stratum"] == "valid"
        and row["model"] not in (*BOUNDS, "genebert-wrongcell")
        and int(row["n"]) >= FEW_VALIDATION
    ]
    if not scores:
        return None
    scores.sort(key=lambda row: (-float(row["value"]), model_rank(row["model"])))
    best, second = scores[0], scores[1] if len(scores) > 1 else {}
    metric = "spearman" if best["metric"] == "spearman" else "auroc"
    tests = {
        (row["model"], row["metric"]): row
        for row in rows
        if row["stratum"] == ALL and row["metric"] in (metric, "recovered")
    }
    test = tests[best["model"], metric]
    share = tests.get((best["model"], "recovered"), {})
    return {
        **{key: best[key] for key in ("task", "dataset", "model", "pretraining")},
        "chosen_by": best["metric"],
        "validation": best["value"],
        "candidates": len(scores),
        "runner_up": second.get("model"),
        "runner_up_validation": second.get("value"),
        "metric": metric,
        **{key: test[key] for key in ("value", "low", "high", "n")},
        **{model: tests.get((model, metric), {}).get("value") for model in ("oracle", "gc")},
        "recovered": share.get("value"),
        "recovered_low": share.get("low"),
        "recovered_high": share.get("high"),
    }
