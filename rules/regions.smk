# One consensus set of fixed-width regions, and which of them are open in which cell type.


rule regions:
    input:
        **REFERENCE,
        contigs="results/reference/contigs.tsv",
        cell_types=layout.source(config, config["atlas"]["cell_types"]),
        peaks=or_exit(layout.cell_type_peaks, config),
        blacklist=layout.optional(config, "genome", "blacklist"),
    output:
        bed="results/regions/regions.bed",
        table="results/regions/regions.tsv",
        accessibility="results/regions/accessibility.h5ad",
        qc=report(
            "results/regions/qc.tsv",
            category="Data",
            caption="../workflow/report/qc.rst",
        ),
    log:
        "logs/regions.log",
    benchmark:
        "benchmarks/regions.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(120),
    params:
        splits=config["splits"],
        settings=config["regions"],
        version=version("regions"),
    message:
        "Merging the peaks of all cell types into one consensus set"
    script:
        "../workflow/scripts/build_regions.py"
