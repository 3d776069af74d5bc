"""A user's own files, and the run whose model is used on them.

Pure functions, standard library only, called while Snakemake plans. In comes the validated
configuration; out go the row of a file of the user and the paths of a trained run: of this working
directory, or of another one that `pretrained` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genebert.errors import InputError, nearest, reading
from genebert.layout import (
    dataset_row,
    is_simulated,
    models,
    pretrain_seeds,
    pretrain_settings,
    source,
    variant_of,
)
from genebert.model_files import WEIGHTS, model_directory
from genebert.tables import check_unique, read_rows
from genebert.use.names import check_once

Config = Mapping[str, Any]
Row = Mapping[str, str]

COLUMNS = ("name", "kind", "path")
OPTIONAL = ("cell_types", "task", "model", "target", "method")
KINDS = ("bed", "vcf")
METHODS = ("ism", "gradient")
OWN = ("results", "pretrain")
GENOME = "reference/genome.fa.gz"
# what is read of a run beside its weights
RUN_FILES = (
    *("shards/index.json", "motifs/motif_set.json"),
    *(GENOME, f"{GENOME}.fai", f"{GENOME}.gzi"),
)


def user_files(config: Config) -> list[dict[str, str]]:
    """Return the rows of the table ``user_files``, with every optional column.

    Raises
    ------
    InputError
        If there is no table, or a value of it is wrong, or a row names a cell type twice.
    """
    table = config.get("user_files")
    if not table:
        raise InputError(
            "no table of your own files",
            file="config user_files",
            expected=f"the path of a TSV with the columns {', '.join(COLUMNS)}",
        )
    rows = read_rows(table, COLUMNS, names=("name",), paths=("path",))
    check_unique(rows, ("name",), table)
    for column in rows[0]:
        meant = nearest(column, OPTIONAL)
        if meant and column not in (*COLUMNS, *OPTIONAL):
            raise InputError(f"unknown column{meant}", file=table, row=1, found=column)
    for number, row in enumerate(rows, start=2):
        for column in OPTIONAL:
            row.setdefault(column, "")
        row["method"] = row["method"] or METHODS[0]
        for column, known in (("kind", KINDS), ("method", METHODS)):
            if row[column] not in known:
                raise InputError(
                    f"unknown {column}{nearest(row[column].lower(), known)}",
                    file=table,
                    row=number,
                    found=row[column],
                    expected=" or ".join(known),
                )
        check_once(cell_types(row), file=table, row=number)
    return rows


def targets(config: Config) -> list[str]:
    """Return the files that can be asked for of the user's files; none where the table is wrong."""
    try:
        rows = user_files(config)
    except InputError:
        return []
    of_kind = {
        "bed": ("embeddings/{}.h5ad", "attributions/{}.bedgraph", "attributions/{}.bw"),
        "vcf": ("variants/{}.tsv", "variants/{}.vcf.gz"),
    }
    return [f"results/{file.format(row['name'])}" for row in rows for file in of_kind[row["kind"]]]


def user_file(config: Config, name: str, kind: str) -> dict[str, str]:
    """Return the row of a user's file; its ``path`` is that of the file itself.

    Raises
    ------
    InputError
        If no row has this name, or it is of another kind.
    """
    rows = {row["name"]: row for row in user_files(config)}
    table = config["user_files"]
    if name not in rows:
        raise InputError(
            f"no row has this name{nearest(name, rows)}",
            file=table,
            found=name,
            expected=f"one of {', '.join(list(rows)[:10])}",
        )
    row = rows[name]
    if row["kind"] != kind:
        raise InputError(
            f"{name!r} is of another kind than this target needs",
            file=table,
            found=row["kind"],
            expected=kind,
        )
    return {**row, "path": source(config, row["path"])}


def cell_types(row: Row) -> list[str]:
    """Return the cell types that a row names, separated by commas."""
    return [name.strip() for name in row["cell_types"].split(",") if name.strip()]


def encoders(config: Config) -> str:
    """Return the directory with the weights that `pretrained` names.

    Raises
    ------
    InputError
        If it is a variant or a seed that this run has not, or no directory with a model.
    """
    folder = Path(config["pretrained"])
    if folder.parts[:2] != OWN:
        return str(model_directory(folder))
    parts = folder.parts[2:]
    variant = parts[0] if parts else ""
    pretrain_settings(config, variant)
    seeds = [f"seed-{number}" for number in pretrain_seeds(config)]
    seed = "/".join(parts[1:]) or seeds[0]
    if seed not in seeds:
        raise InputError(
            f"this run has no such seed{nearest(seed, seeds)}",
            file="config pretrained",
            found=config["pretrained"],
            expected=f"one of {', '.join(seeds)}, or none for the first",
        )
    return str(Path(*OWN, variant, seed))


def weights(config: Config) -> str:
    """Return the ``model.safetensors`` that `pretrained` names."""
    return os.path.join(encoders(config), WEIGHTS)


def results_beside(directory: Path) -> str | None:
    """Return DIR for encoders in ``DIR/pretrain/...`` if DIR holds shards; None if it does not.

    Where a link leads to the encoders, DIR may be beside the link or beside what it leads to.

    Raises
    ------
    InputError
        If DIR holds shards, but not all else that is needed.
    """
    for path in (directory, Path(os.path.realpath(directory))):
        for parent in path.parents:
            if parent.name == OWN[1] and (parent.parent / RUN_FILES[0]).exists():
                for file in RUN_FILES:
                    if not (parent.parent / file).exists():
                        raise InputError(
                            "the run of the pre-trained model is not whole",
                            file=parent.parent,
                            expected=f"{file}, as the run that trained it left it",
                        )
                return str(parent.parent)
    return None


def results(config: Config) -> str:
    """Return the folder ``results`` of the run that goes with the weights.

    Where only the weights of another run were copied it is this run's own, whose motifs must then
    be those of the weights.

    Raises
    ------
    InputError
        If that run is simulated: its genome is not the one that the weights were trained on.
    """
    folder = Path(encoders(config))
    if folder.parts[:2] == OWN:
        return OWN[0]
    found = results_beside(folder)
    if found is None and is_simulated(config):
        raise InputError(
            "the run that trained this model is not beside it, and this run's genome is simulated",
            file=folder,
            found="genome.source: simulated",
            expected="RESULTS/pretrain/VARIANT with RESULTS/shards/index.json, or a configuration "
            "with the genome that the model was trained on",
        )
    return found or OWN[0]


def run_file(config: Config, file: str) -> str:
    """Return the path of a file of the run that goes with the weights, e.g. one of RUN_FILES."""
    return os.path.join(results(config), file)


def _index(path: str | Path, key: str) -> Any:
    """Return a value of an ``index.json``; InputError if it is no index of shards."""
    with reading(path, "is no index of shards", KeyError, TypeError):
        return json.loads(Path(path).read_text(encoding="utf-8"))[key]


def region_width(index: str | Path) -> int:
    """Return the width of the regions of a run from its ``index.json``, without its shards."""
    return int(_index(index, "width"))


def motifs_of_run(index: str | Path) -> list[str]:
    """Return the motifs of a run in their order from its ``index.json``, without its shards."""
    return list(_index(index, "motifs"))


def cell_types_of_run(index: str | Path) -> tuple[list[str], list[str]]:
    """Return the cell types of a run from its ``index.json``, and those held out by name."""
    names, splits = _index(index, "cell_types"), _index(index, "splits")
    return list(names), list(splits.get("held_out_cell_types", ()))


def is_network(model: str) -> bool:
    """Tell whether a model of the tables is a network, whose weights are kept."""
    return model in ("scratch", "cnn") or (
        variant_of(model) is not None and model.startswith("genebert")
    )


def fitted(config: Config, task: str, dataset: str, model: str) -> str:
    """Return the fine-tuned network of a task, of the run that goes with the weights.

    Raises
    ------
    InputError
        If there is no such dataset or network, or the other run has not fitted it.
    """
    path = run_file(config, f"tasks/{task}/{dataset}/{model}/fitted.safetensors")
    if results(config) == OWN[0]:
        row = dataset_row(config, task, dataset)
        known = [name for name in models(config, row) if is_network(name)]
        if row["kind"] in ("variants", "cohort") or model not in known:
            raise InputError(
                f"no network of this name is fitted on {task}/{dataset}{nearest(model, known)}",
                file="config datasets",
                found=model,
                expected=" or ".join(known) + ", on a dataset of sequences with a label",
            )
    elif not os.path.exists(path):
        raise InputError(
            "the other run has no such fitted model",
            file=path,
            expected=f"`snakemake results/tasks/{task}/{dataset}/{model}/fitted.safetensors` there",
        )
    return path


def fitted_of(config: Config, row: Row) -> list[str]:
    """Return the fine-tuned network that a row's columns `task` and `model` name, or none.

    Raises
    ------
    InputError
        If `task` is not ``TASK/DATASET``.
    """
    if not row["task"]:
        return []
    task, _, dataset = row["task"].partition("/")
    if not task or not dataset or "/" in dataset:
        raise InputError(
            "task names no dataset",
            file=config["user_files"],
            found=row["task"],
            expected="TASK/DATASET, as in results/tasks",
        )
    return [fitted(config, task, dataset, row["model"] or "genebert")]
