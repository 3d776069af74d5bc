# What a reviewer asks of the regions: tables and figures of the data, and two checks of the motif
# matrix.


rule region_qc:
    input:
        table="results/regions/regions.tsv",
        accessibility="results/regions/accessibility.h5ad",
        qc="results/regions/qc.tsv",
        gtf=layout.optional(config, "genome", "gtf"),
    output:
        cell_types="results/regions/cell_types.tsv",
        distributions="results/regions/distributions.tsv",
        overlap="results/regions/overlap.tsv",
        figure=figure("regions"),
        heatmap=figure("overlap"),
    log:
        "logs/region_qc.log",
    benchmark:
        "benchmarks/region_qc.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(30),
    params:
        version=version("region_qc"),
    message:
        "Describing the regions: counts, widths, GC, overlap of cell types, distance to genes"
    script:
        "../workflow/scripts/region_qc.py"


rule motif_qc:
    input:
        matrix="results/motifs/matrix.h5ad",
        accessibility="results/regions/accessibility.h5ad",
    output:
        enrichment="results/regions/enrichment.tsv",
        ridge="results/regions/motif_ridge.tsv",
        enrichment_figure=figure("enrichment"),
        ridge_figure=figure("motif_ridge"),
        window_figure=figure("window"),
    log:
        "logs/motif_qc.log",
    benchmark:
        "benchmarks/motif_qc.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(6000),
        runtime=runtime(60),
    params:
        seed=config["seed"],
        draws=config["effort"]["bootstrap_draws"],
        block_bp=layout.block_bp(config),
        version=version("motif_qc"),
    message:
        "Motif enrichment per cell type, and accessibility predicted from motifs"
    script:
        "../workflow/scripts/motif_qc.py"
