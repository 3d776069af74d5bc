# Configuration, constraints of all wildcards, and input functions. Everything that computes is in
# workflow/scripts/genebert/layout.py (pure functions, unit-tested).

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(str(workflow.current_basedir)).parent
LIBRARY = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(LIBRARY))

from genebert import config as configuration
from genebert import layout
from genebert.errors import InputError
from genebert.tables import declare_home, read_rows

declare_home(ROOT)  # paths in a configuration may start with $GENEBERT_HOME


def or_exit(function, *args, **kwargs):
    """Call a function while planning; bad input ends the run with its one line."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


with open(ROOT / "workflow/schemas/config.schema.yaml") as handle:
    SCHEMA = yaml.safe_load(handle)
config = or_exit(
    configuration.check_config,
    config,
    SCHEMA,
    file=" + ".join(
        ["config.yaml", *(Path(name).name for name in workflow.overwrite_configfiles)]
    ),
)
MANIFEST = or_exit(
    read_rows, ROOT / "resources/manifest.tsv", ("name", "url", "mirror_url")
)


def version(module):
    """Return the VERSION of a stage of the library."""
    return layout.version(LIBRARY, module)


wildcard_constraints:
    task="promoter|tfbs|disease|splicing",
    table="promoter|tfbs|disease|splicing|ablation|comparisons",
    chunk=r"\d+",
    seed=r"\d+",
    dataset="[A-Za-z0-9][A-Za-z0-9._-]*",
    model="[A-Za-z0-9][A-Za-z0-9._-]*",
    variant="[A-Za-z0-9][A-Za-z0-9._-]*",
    resource="[A-Za-z0-9][A-Za-z0-9._-]*",


REFERENCE = {
    "genome": "results/reference/genome.fa.gz",
    "index": "results/reference/genome.fa.gz.fai",
    "block_index": "results/reference/genome.fa.gz.gzi",
}


# A regular expression of the datasets that are cohorts (one that matches nothing if there are none).
COHORTS = (
    "|".join(
        re.escape(row["name"]) for row in config["datasets"] if row["kind"] == "cohort"
    )
    or "(?!)"
)


def mem_mb(base):
    """Return a function of the attempt: a job that was short of memory gets more."""
    return lambda wildcards, attempt: base * attempt


def runtime(minutes):
    """Return a function of the attempt: a job that was short of time gets more."""
    return lambda wildcards, attempt: minutes * attempt


def row_of(wildcards):
    """Return the configuration of a dataset."""
    return layout.dataset_row(config, wildcards.task, wildcards.dataset)


def dataset_labels(wildcards):
    """Return the label file of a dataset."""
    return layout.dataset_labels(config, row_of(wildcards))


def dataset_extra(wildcards):
    """Return further label files of a dataset."""
    return or_exit(layout.dataset_extra, config, row_of(wildcards))


def dataset_option(key):
    """Return a function to the optional file `key` of a dataset: a list of none or one."""
    return lambda wildcards: [
        layout.source(config, v) for v in [row_of(wildcards).get(key)] if v
    ]


def dataset_items(wildcards):
    """Return how many items a dataset has at most."""
    return row_of(wildcards).get("max_items", config["effort"]["max_items"])


def cohort_of(wildcards):
    """Return the genotypes that go with the dataset of a cohort."""
    row = row_of(wildcards)
    return [f"{layout.dataset_dir(row)}/cohort.npz"] if row["kind"] == "cohort" else []


def weights_of(wildcards):
    """Return the pre-trained weights that a model uses."""
    return layout.weights(config, wildcards.model)


def predictions_of(wildcards):
    """Return the predictions of all models of a dataset."""
    return layout.predictions(config, row_of(wildcards), "predictions.parquet")


def fits_of(wildcards):
    """Return what is recorded of the fits of all models of a dataset."""
    return layout.predictions(config, row_of(wildcards), "fit.json")


def tables_of(wildcards):
    """Return the tables of all datasets of a task."""
    return layout.dataset_files(config, "table.tsv", wildcards.task)
