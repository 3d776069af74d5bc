# Downloads: every external file is a row of resources/manifest.tsv.


rule download:
    output:
        file=f"{config['resources_dir']}/{{resource}}",
        provenance=f"{config['resources_dir']}/{{resource}}.provenance.json",
    log:
        "logs/download/{resource}.log",
    retries: 2
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        row=lambda wildcards: layout.resource_row(
            MANIFEST, wildcards.resource, "resources/manifest.tsv"
        ),
        checksums=str(ROOT / "resources/checksums.tsv"),
        part_directory=f"{config['resources_dir']}/.partial",
        offline=config["offline"],
        version=version("fetch"),
    message:
        "Downloading {wildcards.resource}"
    script:
        "../workflow/scripts/download.py"


rule fetch_all:
    input:
        or_exit(layout.resources_used, config),
    localrule: True
    message:
        "All downloads of this configuration are in place"
