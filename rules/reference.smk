# The reference genome: bgzipped, indexed, contigs checked against the splits.


rule reference:
    input:
        fasta=layout.source(config, config["genome"]["fasta"]),
    output:
        **REFERENCE,
        contigs="results/reference/contigs.tsv",
    log:
        "logs/reference.log",
    benchmark:
        "benchmarks/reference.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(60),
    params:
        splits=config["splits"],
        name=layout.assembly(config),
        version=version("reference"),
    message:
        "Compressing and indexing the reference genome"
    script:
        "../workflow/scripts/build_reference.py"
