# The atlas before the regions: tables made from the listings of providers, and other formats.


# One row per file of a listing; a checkpoint, because the files to download follow from it.
checkpoint listing_table:
    input:
        listing=lambda wildcards: f"{RESOURCES}/{layout.LISTINGS[wildcards.listing]}",
    output:
        table=f"{RESOURCES}/{{listing}}.table.tsv",
    log:
        "logs/atlas/{listing}.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        name="{listing}",
        row=lambda wildcards, output: manifest_row(layout.LISTINGS[wildcards.listing]),
        version=version("listings"),
    message:
        "Writing the table of {wildcards.listing} from the provider's listing"
    script:
        "../workflow/scripts/listing_table.py"


rule atlas_table:
    input:
        expand(
            f"{RESOURCES}/{{listing}}.table.tsv",
            listing=downloads.listings_used(config),
        ),
    localrule: True
    message:
        "All tables that come from listings are in place"


if layout.is_converted(config):

    rule atlas_peaks:
        input:
            source=layout.source(config, config["atlas"]["cell_types"]),
            files=[
                *layout.optional(config, "atlas", "peaks"),
                *layout.optional(config, "atlas", "names"),
            ],
        output:
            peaks="results/atlas/peaks.tsv.gz",
            cell_types=report(
                "results/atlas/cell_types.tsv",
                category=report_layout.SECTIONS["data"],
                caption="../workflow/report/atlas.rst",
            ),
        log:
            "logs/atlas/peaks.log",
        benchmark:
            "benchmarks/atlas_peaks.jsonl"
        conda:
            "../envs/genomics.yaml"
        threads: 1
        resources:
            mem_mb=mem_mb(16000),
            runtime=runtime(120),
        params:
            settings=layout.atlas_settings(config),
            version=version("atlas_tables"),
        message:
            "Turning the atlas into a table of peaks"
        script:
            "../workflow/scripts/atlas_peaks.py"
