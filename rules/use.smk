# A trained model on a user's own files: a row of the table `user_files` each, asked for by name.
# `pretrained` says whose weights; the files of the run that trained them come from beside them.


rule accessibility_head:
    input:
        weights=encoders_used,
        shards=of_run("shards/index.json"),
    output:
        head="results/use/accessibility_head.safetensors",
    log:
        "logs/use/accessibility_head.log",
    benchmark:
        "benchmarks/use/accessibility_head.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(240),
        gpu=0,
    params:
        seed=config["seed"],
        version=version("use/__init__"),
    message:
        "Fitting the accessibility read-out of the encoders in use"
    script:
        "../workflow/scripts/fit_head.py"


rule embed_bed:
    input:
        **USED,
        bed=user_path("bed"),
        weights=encoders_used,
    output:
        embeddings="results/embeddings/{name}.h5ad",
    log:
        "logs/use/{name}.embeddings.log",
    benchmark:
        "benchmarks/use/{name}.embeddings.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(1440),
        gpu=0,
    params:
        name="{name}",
        cell_types=user_cell_types("bed"),
        version=version("use/__init__"),
    message:
        "Embedding the rows of {wildcards.name}"
    script:
        "../workflow/scripts/embed_bed.py"


rule score_vcf:
    input:
        **USED,
        vcf=user_path("vcf"),
        weights=encoders_used,
        motif_set=of_run("motifs/motif_set.json"),
        head="results/use/accessibility_head.safetensors",
    output:
        table="results/variants/{name}.tsv",
        annotated="results/variants/{name}.vcf.gz",
        vcf_index="results/variants/{name}.vcf.gz.tbi",
        summary="results/variants/{name}.json",
    log:
        "logs/use/{name}.variants.log",
    benchmark:
        "benchmarks/use/{name}.variants.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(1440),
        gpu=0,
    params:
        name="{name}",
        cell_types=user_cell_types("vcf"),
        version=version("use/__init__"),
    message:
        "Scoring the variants of {wildcards.name}"
    script:
        "../workflow/scripts/score_vcf.py"


rule predict_bed:
    input:
        **USED,
        bed=user_path("bed"),
        fitted=fitted_used,
    output:
        table="results/predictions/{name}/{task}/{dataset}/{model}.tsv",
        summary="results/predictions/{name}/{task}/{dataset}/{model}.json",
    log:
        "logs/use/{name}.{task}.{dataset}.{model}.log",
    benchmark:
        "benchmarks/use/{name}.{task}.{dataset}.{model}.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(1440),
        gpu=0,
    params:
        name="{name}",
        cell_types=user_cell_types("bed"),
        version=version("use/__init__"),
    message:
        "Predicting {wildcards.task}/{wildcards.dataset} for the rows of {wildcards.name}"
    script:
        "../workflow/scripts/predict_bed.py"


rule attribute_bed:
    input:
        **USED,
        bed=user_path("bed"),
        weights=encoders_used,
        motif_set=of_run("motifs/motif_set.json"),
        head="results/use/accessibility_head.safetensors",
        fitted=fitted_explained,
    output:
        bedgraph="results/attributions/{name}.bedgraph",
        summary="results/attributions/{name}.json",
    log:
        "logs/use/{name}.attributions.log",
    benchmark:
        "benchmarks/use/{name}.attributions.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(8000),
        runtime=runtime(1440),
        gpu=0,
    params:
        name="{name}",
        cell_types=user_cell_types("bed"),
        output=lambda wildcards: user_row("bed")(wildcards)["target"],
        method=lambda wildcards: user_row("bed")(wildcards)["method"],
        version=version("use/__init__"),
    message:
        "Contributions of the bases around the rows of {wildcards.name}"
    script:
        "../workflow/scripts/attribute_bed.py"


rule bigwig:
    input:
        bedgraph="results/attributions/{name}.bedgraph",
        index=of_run(f"{sources.GENOME}.fai"),
    output:
        bigwig="results/attributions/{name}.bw",
    log:
        "logs/use/{name}.bigwig.log",
    localrule: True
    conda:
        "../envs/tracks.yaml"
    params:
        version=version("use/__init__"),
    message:
        "bigWig of {wildcards.name}"
    script:
        "../workflow/scripts/write_bigwig.py"
