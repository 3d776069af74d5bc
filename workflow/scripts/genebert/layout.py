"""Where everything lies: from the configuration to lists of paths.

Pure functions, standard library only, called while Snakemake plans. In comes the validated
configuration; out go paths of inputs, of the outputs of a stage, and the settings of a job.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genebert.errors import InputError, nearest
from genebert.tables import check_unique, read_rows

Config = Mapping[str, Any]
Row = Mapping[str, Any]

SIMULATED = "results/simulated"
SHARED_MODELS = ("genebert", "genebert-sequence", "scratch", "cnn", "kmer-lr", "motif-lr", "gc")
EXTRA_MODELS = {
    "narrowpeak": ("accessibility", "context-lr", "cell-average"),
    "gtf": ("gt-ag", "pwm"),
    "variants": ("tss-distance",),
    "cohort": ("covariates", "dosage-lr", "dosage-lr-weighted"),
}


def version(library: str | Path, module: str) -> int:
    """Return the ``VERSION`` of a stage without importing it (params of its rules).

    Raises
    ------
    InputError
        If the module declares none.
    """
    path = Path(library) / "genebert" / f"{module}.py"
    match = re.search(r"^VERSION = (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise InputError("no line 'VERSION = <integer>'", file=path)
    return int(match[1])


def config_hash(config: Config, blocks: Sequence[str]) -> str:
    """Return 16 hex digits of the SHA-256 of some blocks of the configuration."""
    text = json.dumps({key: config.get(key) for key in blocks}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source(config: Config, value: str) -> str:
    """Return the path of a source: ``resource:NAME`` is a download, all else a path."""
    if value.startswith("resource:"):
        return os.path.join(config["resources_dir"], value.removeprefix("resource:"))
    return value


def is_simulated(config: Config) -> bool:
    """Tell whether the stage ``simulate`` writes the input files."""
    return bool(config["genome"]["source"] == "simulated")


def simulated_peaks(config: Config) -> list[str]:
    """Return the peak files that ``simulate`` writes, in the order of its cell types."""
    return [f"{SIMULATED}/peaks/{cell}.narrowPeak" for cell in config["simulate"]["cell_types"]]


def simulated_chip(config: Config) -> list[str]:
    """Return the ChIP-seq peak files that ``simulate`` writes, by TF, then cell type."""
    settings = config["simulate"]
    return [
        f"{SIMULATED}/chip/{tf}.{cell}.narrowPeak"
        for tf in settings["chip_tfs"]
        for cell in settings["cell_types"]
    ]


def cell_type_peaks(config: Config) -> list[str]:
    """Return the peak file of every cell type, in the order of the table.

    Raises
    ------
    InputError
        If the table is missing, lacks a column or repeats a cell type.
    """
    if is_simulated(config):
        return simulated_peaks(config)
    if config["atlas"]["format"] == "long":
        return []  # one table of all peaks, read inside the job: the plan needs no names
    table = source(config, config["atlas"]["cell_types"])
    rows = read_rows(
        table, ("cell_type", "peaks", "format"), names=("cell_type",), paths=("peaks",)
    )
    check_unique(rows, ("cell_type",), table)
    known = [row["cell_type"] for row in rows]
    for name in config["splits"]["held_out_cell_types"]:
        if name not in known:
            raise InputError(
                f"held-out cell type is not in the table{nearest(name, known)}",
                file=table,
                found=name,
            )
    return [row["peaks"] for row in rows]


def motif_files(config: Config) -> list[str]:
    """Return the motif files that must exist; JASPAR by release is installed, not a file."""
    return [
        source(config, row["path"])
        for row in config["motifs"]["sources"]
        if not row["path"].startswith("jaspar:")
    ]


def shard_files(config: Config) -> list[str]:
    """Return the region shards."""
    count = config["shards"]["count"]
    return [f"results/shards/regions-{i:05d}-of-{count:05d}.safetensors" for i in range(count)]


def optional(config: Config, block: str, key: str) -> list[str]:
    """Return the path of an optional source as a list of none or one."""
    value = config[block].get(key)
    return [source(config, value)] if value else []


def dataset_row(config: Config, task: str, name: str) -> Row:
    """Return the row of ``datasets`` with this task and name."""
    for row in config["datasets"]:
        if (row["task"], row["name"]) == (task, name):
            return dict(row)
    known = [f"{row['task']}/{row['name']}" for row in config["datasets"]]
    raise InputError(
        f"no such dataset{nearest(f'{task}/{name}', known)}",
        file="config datasets",
        found=f"{task}/{name}",
    )


def dataset_labels(config: Config, row: Row) -> str:
    """Return the main label file of a dataset: its path, else the gene annotation."""
    return source(config, row["path"] if "path" in row else config["genome"]["gtf"])


def dataset_extra(config: Config, row: Row) -> list[str]:
    """Return further files that a dataset reads: ChIP-seq peaks in table order, or a VCF index."""
    labels = dataset_labels(config, row)
    if row["kind"] == "narrowpeak":
        if is_simulated(config):
            return simulated_chip(config)
        rows = read_rows(
            labels, ("tf", "cell_type", "peaks"), names=("tf", "cell_type"), paths=("peaks",)
        )
        check_unique(rows, ("tf", "cell_type"), labels)
        return [r["peaks"] for r in rows]
    if row["kind"] == "cohort":
        return [f"{labels}.tbi"]
    return []


def variants(config: Config) -> list[dict[str, Any]]:
    """Return the rows of the pre-training variants that are run, in their order."""
    rows = {row["name"]: row for row in config["pretrain"]["variants"]}
    return [rows[name] for name in config["effort"]["variants"]]


def pretrain_settings(config: Config, variant: str) -> dict[str, Any]:
    """Return the block ``pretrain`` with the overrides of one variant."""
    block = {key: value for key, value in config["pretrain"].items() if key != "variants"}
    rows = {row["name"]: row for row in config["pretrain"]["variants"]}
    if variant not in rows:
        raise InputError(
            f"no such pre-training variant{nearest(variant, rows)}",
            file="config pretrain.variants",
            found=variant,
        )
    row = dict(rows[variant])
    merged: dict[str, Any] = json.loads(json.dumps(block))
    if "region_encoder" in row:
        merged["model"]["region_encoder"] = row.pop("region_encoder")
    wanted = row.pop("objectives", list(merged["objectives"]))
    merged["objectives"] = {key: merged["objectives"][key] for key in wanted}
    masking = row.pop("masking", "span")
    if "mgm" in merged["objectives"]:
        merged["objectives"]["mgm"]["masking"] = masking
    return {**merged, **row}


def pretrain_seeds(config: Config) -> list[int]:
    """Return the seeds of the pre-training runs, 1 to n."""
    return list(range(1, config["effort"]["pretrain_seeds"] + 1))


def variant_of(model: str) -> str | None:
    """Return the pre-training variant whose weights a model uses, or None."""
    if model in ("genebert", "dosage-lr-weighted"):
        return "full"
    return model.removeprefix("genebert-") if model.startswith("genebert-") else None


def weights(config: Config, model: str) -> list[str]:
    """Return the pre-trained weights of a model, one file a seed; none where it has none."""
    variant = variant_of(model)
    if variant is None:
        return []
    return [
        f"results/pretrain/{variant}/seed-{seed}/model.safetensors"
        for seed in pretrain_seeds(config)
    ]


def ablation_models(config: Config) -> list[str]:
    """Return a model name for every variant that is run beyond `full` and `sequence`."""
    if not config["effort"]["ablation"]:
        return []
    names = config["effort"]["variants"]
    return [f"genebert-{name}" for name in names if name not in ("full", "sequence")]


def models(config: Config, row: Row) -> list[str]:
    """Return the models of a dataset, in the order of the tables."""
    run = config["effort"]["variants"]
    names = [*SHARED_MODELS, *EXTRA_MODELS.get(row["kind"], ()), *ablation_models(config)]
    if row.get("truth"):
        names.append("oracle")
    return [name for name in names if variant_of(name) in (None, *run)]


def task_rows(config: Config, task: str) -> list[Row]:
    """Return the datasets of a task."""
    return [row for row in config["datasets"] if row["task"] == task]


def dataset_dir(row: Row) -> str:
    """Return the directory of a dataset."""
    return f"results/tasks/{row['task']}/{row['name']}"


def predictions(config: Config, row: Row, file: str) -> list[str]:
    """Return one file of every model of a dataset, e.g. ``predictions.parquet``."""
    return [f"{dataset_dir(row)}/{model}/{file}" for model in models(config, row)]


def dataset_files(config: Config, file: str, task: str | None = None) -> list[str]:
    """Return one file of every dataset (of a task), e.g. ``table.tsv``."""
    return [
        f"{dataset_dir(row)}/{file}"
        for row in config["datasets"]
        if task is None or row["task"] == task
    ]


def all_predictions(config: Config, file: str) -> list[str]:
    """Return one file of every model of every dataset."""
    return [path for row in config["datasets"] for path in predictions(config, row, file)]


def cohorts(config: Config) -> list[str]:
    """Return the genotypes of every dataset that is a cohort."""
    rows = [row for row in config["datasets"] if row["kind"] == "cohort"]
    return [f"{dataset_dir(row)}/cohort.npz" for row in rows]


def tasks(config: Config) -> list[str]:
    """Return the tasks that have a dataset, in the order of the paper."""
    present = {row["task"] for row in config["datasets"]}
    return [task for task in ("promoter", "tfbs", "disease", "splicing") if task in present]


def training_metrics(config: Config) -> list[str]:
    """Return the training curves of all variants and seeds."""
    return [
        f"results/pretrain/{row['name']}/seed-{seed}/metrics.jsonl"
        for row in variants(config)
        for seed in pretrain_seeds(config)
    ]


def resource_row(rows: Sequence[Mapping[str, str]], name: str, file: str) -> dict[str, str]:
    """Return the row of the manifest with this name."""
    for row in rows:
        if row["name"] == name:
            return dict(row)
    raise InputError(
        f"no such resource{nearest(name, [row['name'] for row in rows])}", file=file, found=name
    )


def resources_used(config: Config) -> list[str]:
    """Return the downloads that this configuration needs (`snakemake fetch_all`)."""
    values = [
        *(config["genome"].get(key, "") for key in ("fasta", "gtf", "blacklist")),
        config["atlas"]["cell_types"],
        *(row["path"] for row in config["motifs"]["sources"]),
        *(row.get(key, "") for row in config["datasets"] for key in ("path", "phenotypes")),
    ]
    if not is_simulated(config) and not config["atlas"]["cell_types"].startswith("resource:"):
        values += cell_type_peaks(config)
    return sorted({source(config, value) for value in values if value.startswith("resource:")})
