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

from genebert.builds import lengths_of
from genebert.errors import InputError, nearest
from genebert.tables import check_unique, read_rows

Config = Mapping[str, Any]
Row = Mapping[str, Any]

SIMULATED = "results/simulated"
SHARED_MODELS = ("genebert", "genebert-sequence", "scratch", "cnn", "kmer-lr", "motif-lr", "gc")
EXTRA_MODELS = {  # (task, kind of the labels) -> models of its own
    ("tfbs", "narrowpeak"): ("accessibility", "context-lr", "cell-average"),
    ("accessibility", "regions"): ("context-lr", "mean-breadth", "nearest-type"),
    ("splicing", "gtf"): ("gt-ag", "pwm"),
    ("disease", "variants"): ("accessibility", "context-lr", "tss-distance"),
    ("disease", "cohort"): ("covariates", "dosage-lr", "dosage-lr-weighted"),
}
SEQUENCE_TASKS = {  # task -> models that see a cell type, where its region branch is asked for
    "promoter": ("accessibility", "context-lr"),
    "splicing": ("context-lr",),
}
DATASET_FILES = ("path", "valid", "test", "phenotypes", "truth")  # keys that name files
HOW = ("checkpoint_seconds", "keep_state", "processes", "micro_batch", "memory_gb")
FITTED = ("variants", "label_fractions")  # keys of a dataset that say what is fitted on it
PLACE = ("torch_threads", "offline", "resources_dir")  # no result depends on them, nor on HOW
HEADS = ("mrm", "motif")  # objectives whose heads belong to the model
FITTING = (  # keys of `effort` that fine-tuning and the models beside it read
    *("finetune_seeds", "finetune_steps", "finetune_batch", "learning_rates"),
    *("label_fractions", "fraction_draws"),
)
TASKS = ("promoter", "tfbs", "disease", "splicing", "accessibility")
CONVERTED = ("descartes", "h5ad", "mtx")  # atlas formats that become a long table first
LONG_TABLE = "results/atlas/peaks.tsv.gz"  # that table
SHARDS = ("seed", "genome", "simulate", "atlas", "splits", "regions", "motifs", "shards")
ATLAS_READS = {  # keys of `atlas` that one format alone reads
    "h5ad": ("cell_type_column", "layer", "min_cells", "min_fraction", "min_cells_per_type"),
    "mtx": ("peaks", "names"),
}
ATLAS_FILES = ("cell_types", "chain", "peaks", "names")  # keys of `atlas` that name files
# table of cell types or ChIP-seq sets -> the row of the manifest with the provider's own listing
LISTINGS = {
    "catlas": "catlas_cCRE_by_cell_type.html",
    "encode_dnase": "wgEncodeAwgDnaseUniform.files.txt",
    "encode_tfbs": "wgEncodeAwgTfbsUniform.files.txt",
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


def versions(library: str | Path) -> dict[str, int]:
    """Return the ``VERSION`` of every stage by the name of its module below ``genebert``."""
    root = Path(library) / "genebert"
    found = {}
    for path in sorted(root.rglob("*.py")):
        match = re.search(r"^VERSION = (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if match:
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = int(match[1])
    return found


def config_hash(config: Config, blocks: Sequence[str]) -> str:
    """Return 16 hex digits of the SHA-256 of some blocks of the configuration."""
    text = json.dumps({key: config.get(key) for key in blocks}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shards_settings(config: Config) -> dict[str, Any]:
    """Return what of the configuration the shards depend on, which they are known by.

    Not what is read after them (``genome.gtf``) or for captions (``genome.name``), how the scan is
    scattered, nor keys of another source or of another format of the atlas. All blocks, where the
    genome is simulated: it is made of them.
    """
    read = {key: config.get(key) for key in SHARDS}
    if is_simulated(config):
        return read
    del read["simulate"]
    others = {
        key
        for kind, keys in ATLAS_READS.items()
        if kind != config["atlas"]["format"]
        for key in keys
    }
    unread = {"genome": {"gtf", "name"}, "atlas": others, "motifs": {"chunks"}}
    for block, keys in unread.items():
        read[block] = {key: value for key, value in config[block].items() if key not in keys}
    return read


def assembly(config: Config) -> str:
    """Return the name of the assembly where a FASTA is compared with it, else an empty string.

    Any other name is for captions alone; a simulated genome is made again under another name.
    """
    name = str(config["genome"]["name"])
    return name if is_simulated(config) or lengths_of(name) else ""


def run_hash(config: Config) -> str:
    """Return the hash of everything in the configuration that a result depends on."""
    settings = {key: value for key, value in config.items() if key not in PLACE}
    block = settings["pretrain"]
    settings["pretrain"] = {key: value for key, value in block.items() if key not in HOW}
    return config_hash(settings, sorted(settings))


def source(config: Config, value: str) -> str:
    """Return the path of a source.

    ``resource:NAME`` is a download, ``resource:LISTING/NAME`` a download that a listing names,
    ``listing:NAME`` the table made from a listing, and all else a path.
    """
    kind, _, name = value.partition(":")
    if kind == "resource":
        return os.path.join(config["resources_dir"], name)
    if kind == "listing":
        return os.path.join(config["resources_dir"], f"{name}.table.tsv")
    return value


def is_simulated(config: Config) -> bool:
    """Tell whether the stage ``simulate`` writes the input files."""
    return bool(config["genome"]["source"] == "simulated")


def block_bp(config: Config) -> int:
    """Return the length of the blocks that intervals resample: 1 Mb, simulated 100 kb."""
    return 100_000 if is_simulated(config) else 1_000_000


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


def is_converted(config: Config) -> bool:
    """Tell whether the rule ``atlas_peaks`` turns the atlas into a long table first."""
    return config["atlas"]["format"] in CONVERTED


def atlas_table(config: Config) -> str:
    """Return the table that the regions are made from: of peak files, or of all peaks."""
    if is_converted(config):
        return LONG_TABLE
    return source(config, config["atlas"]["cell_types"])


def atlas_settings(config: Config, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Return the block ``atlas`` without its files: some keys of it, or all."""
    block = config["atlas"]
    wanted = keys or [key for key in block if key not in ATLAS_FILES]
    return {key: block[key] for key in wanted}


def cell_type_peaks(config: Config) -> list[str]:
    """Return the peak files in the order of the table; a cell type may have several replicates.

    Raises
    ------
    InputError
        If the table is missing, lacks a column or names a file twice for one cell type.
    """
    if is_simulated(config):
        return simulated_peaks(config)
    if config["atlas"]["format"] != "table":
        return []  # one table of all peaks, read inside the job: the plan needs no names
    table = source(config, config["atlas"]["cell_types"])
    rows = read_rows(
        table, ("cell_type", "peaks", "format"), names=("cell_type",), paths=("peaks",)
    )
    check_unique(rows, ("cell_type", "peaks"), table)
    known = [row["cell_type"] for row in rows]
    for name in config["splits"]["held_out_cell_types"]:
        if name not in known:
            raise InputError(
                f"held-out cell type is not in the table{nearest(name, known)}",
                file=table,
                found=name,
                expected=f"cell types such as {', '.join(dict.fromkeys(known[:5]))}",
            )
    return [source(config, row["peaks"]) for row in rows]


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
    """Return the row of ``datasets`` with this task and name, with its ``block_bp``."""
    for row in config["datasets"]:
        if (row["task"], row["name"]) == (task, name):
            return {"block_bp": block_bp(config), **row}
    known = [f"{row['task']}/{row['name']}" for row in config["datasets"]]
    raise InputError(
        f"no such dataset{nearest(f'{task}/{name}', known)}",
        file="config datasets",
        found=f"{task}/{name}",
    )


def dataset_settings(config: Config, task: str, name: str) -> Row:
    """Return what a dataset is built by of its row; what is fitted on it is no part of that.

    Sorted, because Snakemake compares texts: in another order the keys were other parameters.
    """
    row = dataset_row(config, task, name)
    return {key: row[key] for key in sorted(row) if key not in FITTED}


def dataset_labels(config: Config, row: Row) -> str:
    """Return the main label file of a dataset: its path, else the gene annotation.

    The labels of kind ``regions`` are the accessibility of the atlas itself.
    """
    if row["kind"] == "regions":
        return "results/regions/accessibility.h5ad"
    return source(config, row["path"] if "path" in row else config["genome"]["gtf"])


def dataset_extra(config: Config, row: Row) -> list[str]:
    """Return further files that a dataset reads.

    ChIP-seq peaks in the order of the table, the gene annotation for the distance of variants and
    of negatives of promoters to a TSS, the index of a VCF, or files of the other splits.
    """
    labels = dataset_labels(config, row)
    if row["kind"] == "narrowpeak":
        if is_simulated(config):
            return simulated_chip(config)
        rows = read_rows(
            labels, ("tf", "cell_type", "peaks"), names=("tf", "cell_type"), paths=("peaks",)
        )
        check_unique(rows, ("tf", "cell_type"), labels)
        return [source(config, r["peaks"]) for r in rows]
    if row["kind"] == "variants" or draws_non_promoters(row):
        return [path for path in optional(config, "genome", "gtf") if path != labels]
    if row["kind"] == "cohort":
        tbi, csi = f"{labels}.tbi", f"{labels}.csi"
        return [csi if os.path.exists(csi) and not os.path.exists(tbi) else tbi]
    if row["kind"] == "sequences":
        return [source(config, row[split]) for split in ("valid", "test") if split in row]
    return []


def dataset_blacklist(config: Config, row: Row) -> list[str]:
    """Return the blacklist that the negatives of a dataset avoid as a list of none or one."""
    return optional(config, "genome", "blacklist") if draws_non_promoters(row) else []


def draws_non_promoters(row: Row) -> bool:
    """Tell whether a dataset's negatives are windows of the genome that hold no promoter."""
    labelled = row["kind"] in ("epdnew", "tss", "gtf") and row["task"] == "promoter"
    return labelled and row.get("negatives") != "legacy"


def dataset_effort(config: Config, row: Row, model: str) -> dict[str, Any]:
    """Return what a model of a dataset reads of ``effort``, with what the dataset overrides of it.

    No more than that: a key that changes makes all predictions again that are given it.
    """
    read = {key: config["effort"][key] for key in FITTING}
    if model == "scratch":  # has as many starts as there are trainings
        read["pretrain_seeds"] = config["effort"]["pretrain_seeds"]
    return read | {"label_fractions": row.get("label_fractions", read["label_fractions"])}


def encoder_settings(config: Config) -> dict[str, Any]:
    """Return what models are built from of the variant ``full``: shapes, tokens, neighbours."""
    settings = pretrain_settings(config, "full")
    heads = {key: settings["objectives"][key] for key in HEADS if key in settings["objectives"]}
    shapes = {key: settings[key] for key in ("model", "tokens", "neighbours")}
    return {**shapes, "objectives": heads}


def run_settings(config: Config, variant: str) -> dict[str, Any]:
    """Return what the result of a training depends on of its merged block ``pretrain``."""
    settings = pretrain_settings(config, variant)
    return {key: value for key, value in settings.items() if key not in HOW}


def how_it_runs(config: Config) -> dict[str, Any]:
    """Return how a training is run, which its result does not depend on (but for rounding)."""
    return {key: config["pretrain"][key] for key in HOW if key in config["pretrain"]}


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
    if row.pop("cell_state", False):
        merged["model"]["cell_state"] = True
    wanted = row.pop("objectives", list(merged["objectives"]))
    merged["objectives"] = {key: merged["objectives"].get(key, {}) for key in wanted}
    masking = row.pop("masking", "span")
    if "mgm" in merged["objectives"]:
        merged["objectives"]["mgm"]["masking"] = masking
    return {**merged, **row}


def hidden_spans(config: Config) -> dict[str, int]:
    """Return the bases of a hidden span at the end of training, by variant that hides spans."""
    spans = {}
    for row in variants(config):
        mgm = pretrain_settings(config, row["name"])["objectives"].get("mgm")
        if mgm is not None and mgm["masking"] == "span":
            span = mgm.get("span", 5)  # as genebert.plan reads it, which loads torch
            spans[row["name"]] = span[-1][1] if isinstance(span, list) else span
    return spans


def background(config: Config, variant: str) -> list[str]:
    """Return the windows outside all regions if a variant is trained on them, as a list."""
    wanted = pretrain_settings(config, variant).get("samples") == "background"
    return ["results/shards/background.safetensors"] if wanted else []


def pretrain_seeds(config: Config) -> list[int]:
    """Return the seeds of the pre-training runs, 1 to n."""
    return list(range(1, config["effort"]["pretrain_seeds"] + 1))


def variant_of(model: str) -> str | None:
    """Return the pre-training variant whose weights a model uses, or None."""
    if model in ("genebert", "dosage-lr-weighted"):
        return "full"
    return model.removeprefix("genebert-") if model.startswith("genebert-") else None


def control_variants(config: Config) -> list[str]:
    """Return the variants whose matrix does not belong to the sequence."""
    return [row["name"] for row in variants(config) if row.get("matrix", "").startswith("shuffled")]


def weights(config: Config, model: str) -> list[str]:
    """Return the pre-trained weights of a model, one file a seed; none where it has none."""
    variant = variant_of(model)
    if variant is None:
        return []
    return [
        f"results/pretrain/{variant}/seed-{seed}/model.safetensors"
        for seed in pretrain_seeds(config)
    ]


def weights_of(config: Config, row: Row, model: str) -> list[str]:
    """Return the pre-trained weights that a model of a dataset uses.

    Raises
    ------
    InputError
        If the dataset has no such model. Variants that are defined but not run count.
    """
    defined = [f"genebert-{variant['name']}" for variant in config["pretrain"]["variants"]]
    known = list(dict.fromkeys([*models(config, row), *defined]))
    if model not in known:
        raise InputError(
            f"no such model on {row['task']}/{row['name']}{nearest(model, known)}",
            file="model",
            found=model,
            expected=f"one of {', '.join(known)}",
        )
    return weights(config, model)


def ablation_models(config: Config) -> list[str]:
    """Return a model name for every variant that is run beyond `full` and `sequence`."""
    if not config["effort"]["ablation"]:
        return []
    names = config["effort"]["variants"]
    return [f"genebert-{name}" for name in names if name not in ("full", "sequence")]


def models(config: Config, row: Row) -> list[str]:
    """Return the models of a dataset, in the order of the tables."""
    run = row.get("variants", config["effort"]["variants"])
    extra = EXTRA_MODELS.get((row["task"], row["kind"]), ())
    if row["task"] in SEQUENCE_TASKS and row.get("cell_type"):
        extra = (*extra, *SEQUENCE_TASKS[row["task"]])
    if row.get("anchor") == "hidden" and row["task"] != "disease":  # nor is it shown to a rival
        extra = tuple(name for name in extra if name != "accessibility")
    names = [*SHARED_MODELS, *extra, *row.get("scores", ()), *ablation_models(config)]
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


def task_tables(config: Config, task: str) -> list[str]:
    """Return the tables of all datasets of a task; InputError if it has none."""
    files = dataset_files(config, "table.tsv", task)
    if not files:
        raise InputError(
            f"no dataset of the task {task!r}",
            file="config datasets",
            expected=f"a row of it, or one of results/{{{','.join(tasks(config))}}}.tsv",
        )
    return files


def all_predictions(config: Config, file: str) -> list[str]:
    """Return one file of every model of every dataset."""
    return [path for row in config["datasets"] for path in predictions(config, row, file)]


def variant_scores(config: Config) -> list[str]:
    """Return the table of all scores of every dataset of single variants."""
    rows = [row for row in config["datasets"] if row["kind"] == "variants"]
    return [f"{dataset_dir(row)}/scores.parquet" for row in rows]


def cohorts(config: Config) -> list[str]:
    """Return the genotypes of every dataset that is a cohort."""
    rows = [row for row in config["datasets"] if row["kind"] == "cohort"]
    return [f"{dataset_dir(row)}/cohort.npz" for row in rows]


def tasks(config: Config) -> list[str]:
    """Return the tasks that have a dataset, in the order of the paper."""
    present = {row["task"] for row in config["datasets"]}
    return [task for task in TASKS if task in present]


def training_metrics(config: Config) -> list[str]:
    """Return the training curves of all variants and seeds."""
    return [
        f"results/pretrain/{row['name']}/seed-{seed}/metrics.jsonl"
        for row in variants(config)
        for seed in pretrain_seeds(config)
    ]


def interpret_rows(config: Config) -> list[Row]:
    """Return the datasets whose models are interpreted, by default the first of task tfbs.

    Raises
    ------
    InputError
        If there is no such dataset, or its items have no sequence with one label.
    """
    block = config["interpret"]
    if not block["items"]:
        return []
    if not block["datasets"]:
        return task_rows(config, "tfbs")[:1]
    rows = [dataset_row(config, *name.split("/", 1)) for name in block["datasets"]]
    for row in rows:
        if row["kind"] in ("variants", "cohort"):
            raise InputError(
                "dataset cannot be interpreted",
                file="config interpret.datasets",
                found=f"{row['task']}/{row['name']}, kind {row['kind']}",
                expected="items with a sequence and a label",
            )
    return rows


def attributions(config: Config) -> list[str]:
    """Return the attributions of the models of :func:`interpret_rows`, in the config's order.

    Raises
    ------
    InputError
        If a dataset has no such model.
    """
    paths = []
    for row in interpret_rows(config):
        known = models(config, row)
        for name in config["interpret"]["models"]:
            if name not in known:
                raise InputError(
                    f"dataset {row['task']}/{row['name']} has no such model{nearest(name, known)}",
                    file="config interpret.models",
                    found=name,
                )
            paths.append(f"{dataset_dir(row)}/{name}/attributions.parquet")
    return paths


def interpretation(config: Config) -> list[str]:
    """Return the table and the figure of the interpretation; none if it is switched off."""
    if not interpret_rows(config):
        return []
    return ["results/interpretation.tsv", "results/figures/logos.svg"]


def planted_sites(config: Config) -> list[str]:
    """Return the table of planted sites of a simulated genome as a list of none or one."""
    return [f"{SIMULATED}/truth/sites.tsv"] if is_simulated(config) else []
