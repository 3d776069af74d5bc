# Input functions: from wildcards to paths, by the pure functions of genebert/layout.py.

import functools

from genebert import provenance


def manifest_row(name):
    """Return the row of the manifest of a download."""
    return downloads.resource_row(MANIFEST, name, "resources/manifest.tsv")


def listed_row(wildcards):
    """Return the row of a download that a listing names."""
    return or_exit(downloads.listed_row, config, wildcards.listing, wildcards.resource)


def part_directory(file, listing=""):
    """Return where the parts of a download lie: beside it, those of a listing's files below its name."""
    folder = Path(file).parents[1 if listing else 0]
    return str(folder / ".partial" / listing)


@functools.cache
def pipeline_commit():
    """Return the git commit of the pipeline, and whether its code differs from it; asked once."""
    return provenance.commit(ROOT)


def wait_for(value):
    """Ask Snakemake for the table of a listing, if `value` names one, before going on."""
    if value.startswith("listing:"):
        checkpoints.listing_table.get(listing=value.removeprefix("listing:"))


def atlas_files(wildcards):
    """Return the peak files of the atlas, in the order of its table."""
    wait_for(config["atlas"]["cell_types"])
    return or_exit(layout.cell_type_peaks, config)


def all_files(function):
    """Return an input function of files that are known once all tables of listings are there."""

    def files(wildcards):
        for name in downloads.listings_used(config):
            wait_for(f"listing:{name}")
        return or_exit(function, config)

    return files


all_resources = all_files(downloads.resources_used)
local_files = all_files(downloads.local_files)


def all_records(wildcards):
    """Return what is recorded of every download; asking for it verifies files placed by hand."""
    return [f"{path}.provenance.json" for path in all_resources(wildcards)]


def row_of(wildcards):
    """Return the configuration of a dataset."""
    return layout.dataset_row(config, wildcards.task, wildcards.dataset)


def dataset_settings(wildcards):
    """Return what a dataset is built by of its configuration."""
    return layout.dataset_settings(config, wildcards.task, wildcards.dataset)


def dataset_version(wildcards):
    """Return the versions of what builds a dataset; those of disease have one more, their own."""
    kind = row_of(wildcards)["kind"]
    common = version("tasks/__init__")
    return (
        [common, version(f"tasks/{kind}")] if kind in ("variants", "cohort") else common
    )


def predict_version(wildcards):
    """Return the versions of what fits a model; models of disease have one more."""
    common = version("predict")
    return (
        [common, version("disease_models")] if wildcards.task == "disease" else common
    )


def dataset_labels(wildcards):
    """Return the label file of a dataset."""
    return layout.dataset_labels(config, row_of(wildcards))


def dataset_extra(wildcards):
    """Return further label files of a dataset."""
    row = row_of(wildcards)
    wait_for(row.get("path", ""))
    return or_exit(layout.dataset_extra, config, row)


def dataset_blacklist(wildcards):
    """Return the blacklist that the negatives of a dataset avoid, in a list of none or one."""
    return layout.dataset_blacklist(config, row_of(wildcards))


def dataset_option(key):
    """Return a function to the optional file `key` of a dataset: a list of none or one."""
    return lambda wildcards: [
        layout.source(config, v) for v in [row_of(wildcards).get(key)] if v
    ]


def dataset_items(wildcards):
    """Return how many items a dataset has at most."""
    return row_of(wildcards).get("max_items", config["effort"]["max_items"])


def dataset_effort(wildcards):
    """Return the block `effort` with the labels of the dataset's own few-shot curve."""
    return layout.dataset_effort(config, row_of(wildcards), wildcards.model)


def dataset_mb(wildcards, attempt):
    """Return the memory of a dataset: hundreds of ChIP-seq sets need much more than the others."""
    large = row_of(wildcards).get("path", "").startswith("listing:")
    return (32000 if large else 4000) * attempt


def cohort_of(wildcards):
    """Return the genotypes that go with the dataset of a cohort."""
    row = row_of(wildcards)
    return [f"{layout.dataset_dir(row)}/cohort.npz"] if row["kind"] == "cohort" else []


def weights_of(wildcards):
    """Return the pre-trained weights that a model uses."""
    return or_exit(layout.weights_of, config, row_of(wildcards), wildcards.model)


def first_weights_of(wildcards):
    """Return the pre-trained weights of a model's first seed, in a list."""
    return weights_of(wildcards)[:1]


def predictions_of(wildcards):
    """Return the predictions of all models of a dataset."""
    return layout.predictions(config, row_of(wildcards), "predictions.parquet")


def fits_of(wildcards):
    """Return what is recorded of the fits of all models of a dataset."""
    return layout.predictions(config, row_of(wildcards), "fit.json")


def tables_of(wildcards):
    """Return the tables of all datasets of a task."""
    return or_exit(layout.task_tables, config, wildcards.task)
