# One consensus set of fixed-width regions, and which of them are open in which cell type.


rule regions:
    input:
        **REFERENCE,
        contigs="results/reference/contigs.tsv",
        cell_types=layout.atlas_table(config),
        peaks=atlas_files,
        chain=layout.optional(config, "atlas", "chain"),
        blacklist=layout.optional(config, "genome", "blacklist"),
    output:
        bed="results/regions/regions.bed",
        table="results/regions/regions.tsv",
        accessibility="results/regions/accessibility.h5ad",
        occupied="results/regions/occupied.bed.gz",
        qc=in_report("results/regions/qc.tsv", "data", "Peaks in and out", "qc"),
    log:
        "logs/regions.log",
    benchmark:
        "benchmarks/regions.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(120),
    params:
        splits=config["splits"],
        settings=config["regions"],
        atlas=layout.atlas_settings(
            config, ("format", "min_replicates", "chain_min_ratio")
        ),
        seed=config["seed"],
        version=version("regions"),
    message:
        "Merging the peaks of all cell types into one consensus set"
    script:
        "../workflow/scripts/build_regions.py"
