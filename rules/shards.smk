# Sharded tensors: each region once, with its sequence and motif row; cell types as lists of regions.


SHARDS_HASH = layout.config_hash(layout.shards_settings(config), layout.SHARDS)


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
        config_hash=SHARDS_HASH,
        version=version("shard_export"),
    message:
        "Writing shards of sequences, motif rows and accessibility"
    script:
        "../workflow/scripts/export_shards.py"


rule background:
    input:
        **REFERENCE,
        table="results/regions/regions.tsv",
        occupied="results/regions/occupied.bed.gz",
    output:
        background="results/shards/background.safetensors",
    log:
        "logs/background.log",
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(60),
    params:
        settings=config["shards"],
        splits=config["splits"],
        config_hash=SHARDS_HASH,
        seed=config["seed"],
        version=version("background"),
    message:
        "Drawing windows outside all peaks, matched to the training regions in GC"
    script:
        "../workflow/scripts/export_background.py"
