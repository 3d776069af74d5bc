# Sharded tensors: each region once, with its sequence and motif row; cell types as lists of regions.


rule shards:
    input:
        **REFERENCE,
        table="results/regions/regions.tsv",
        accessibility="results/regions/accessibility.h5ad",
        matrix="results/motifs/matrix.h5ad",
    output:
        shards=layout.shard_files(config),
        cell_types="results/shards/cell_types.safetensors",
        shard_index="results/shards/index.json",
    log:
        "logs/shards.log",
    benchmark:
        "benchmarks/shards.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(60),
    params:
        settings=config["shards"],
        splits=config["splits"],
        config_hash=layout.config_hash(
            config,
            (
                "seed",
                "genome",
                "simulate",
                "atlas",
                "splits",
                "regions",
                "motifs",
                "shards",
            ),
        ),
        version=version("shards"),
    message:
        "Writing shards of sequences, motif rows and accessibility"
    script:
        "../workflow/scripts/export_shards.py"
