# Downloads: every external file is a row of resources/manifest.tsv, or of a listing that is one.
# What lies there already is not deleted (`update`) but verified. A parameter that depends on
# `output` is no reason to run again: of all parameters only the release (`version`) is one.

RESOURCES = config["resources_dir"]


rule download:
    output:
        file=update(f"{RESOURCES}/{{resource}}"),
        provenance=update(f"{RESOURCES}/{{resource}}.provenance.json"),
    log:
        "logs/download/{resource}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        row=lambda wildcards, output: manifest_row(wildcards.resource),
        checksums=lambda wildcards, output: str(ROOT / "resources/checksums.tsv"),
        part_directory=lambda wildcards, output: part_directory(output.file),
        offline=lambda wildcards, output: config["offline"],
        version=lambda wildcards: manifest_row(wildcards.resource)["version"],
    message:
        "Downloading {wildcards.resource}"
    script:
        "../workflow/scripts/download.py"


# A file that the table of a listing names.
use rule download as download_listed with:
    output:
        file=update(f"{RESOURCES}/{{listing}}/{{resource}}"),
        provenance=update(f"{RESOURCES}/{{listing}}/{{resource}}.provenance.json"),
    log:
        "logs/download/{listing}/{resource}.log",
    params:
        row=lambda wildcards, output: listed_row(wildcards),
        checksums=lambda wildcards, output: str(ROOT / "resources/checksums.tsv"),
        part_directory=lambda wildcards, output: part_directory(
            output.file, wildcards.listing
        ),
        offline=lambda wildcards, output: config["offline"],
        version=lambda wildcards: listed_row(wildcards)["version"],


rule fetch_all:
    input:
        all_resources,
        all_records,
    localrule: True
    message:
        "All downloads of this configuration are in place"


# No output: it runs whenever it is asked for. The table belongs to the repository.
rule checksums:
    input:
        records=all_records,
    log:
        "logs/checksums.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        checksums=str(ROOT / "resources/checksums.tsv"),
    message:
        "Recording the checksums of downloads in resources/checksums.tsv"
    script:
        "../workflow/scripts/merge_checksums.py"


rule provenance:
    input:
        records=all_records,
        local=local_files,
    output:
        provenance="results/provenance.json",
    log:
        "logs/provenance.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        config_hash=layout.run_hash(config),
        code=lambda wildcards: pipeline_commit(),  # of this job alone: a plan without it asks no git
        versions=layout.versions(LIBRARY),
        version=version("provenance"),
    message:
        "Recording what came from where"
    script:
        "../workflow/scripts/write_provenance.py"
