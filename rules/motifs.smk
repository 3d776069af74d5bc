# The TF x region matrix: motifs, their scan over the regions in chunks, and the whole as AnnData.


rule motif_set:
    input:
        **REFERENCE,
        sources=layout.motif_files(config),
        regions="results/regions/regions.bed",
        table="results/regions/regions.tsv",
        clusters=layout.optional(config, "motifs", "clusters"),
    output:
        motif_set="results/motifs/motif_set.json",
        meme="results/motifs/motifs.meme",
    log:
        "logs/motifs/motif_set.log",
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(30),
    params:
        settings=config["motifs"],
        splits=config["splits"],
        version=version("motifs"),
    message:
        "Turning motifs into log-odds matrices with thresholds"
    script:
        "../workflow/scripts/build_motif_set.py"


rule scan_motifs:
    input:
        **REFERENCE,
        motif_set="results/motifs/motif_set.json",
        regions="results/regions/regions.bed",
    output:
        hits="results/motifs/chunks/{chunk}.h5",
    log:
        "logs/motifs/scan-{chunk}.log",
    benchmark:
        "benchmarks/motifs/scan-{chunk}.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(2000),
        runtime=runtime(120),
    params:
        chunk=lambda wildcards: int(wildcards.chunk),
        chunks=config["motifs"]["chunks"],
        version=version("motifs"),
    message:
        "Scanning regions for motifs, chunk {wildcards.chunk}"
    script:
        "../workflow/scripts/scan_motifs.py"


rule motif_matrix:
    input:
        motif_set="results/motifs/motif_set.json",
        regions="results/regions/regions.bed",
        table="results/regions/regions.tsv",
        chunks=expand(
            "results/motifs/chunks/{chunk}.h5",
            chunk=range(config["motifs"]["chunks"]),
        ),
    output:
        matrix="results/motifs/matrix.h5ad",
    log:
        "logs/motifs/matrix.log",
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(2000),
        runtime=runtime(30),
    params:
        version=version("motifs"),
    message:
        "Writing the TF x region matrix as AnnData"
    script:
        "../workflow/scripts/gather_matrix.py"
