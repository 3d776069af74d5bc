# Interpretation: every base of some test items is mutated in fitted models.


rule attribute:
    input:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        motif_set="results/motifs/motif_set.json",
        shards="results/shards/index.json",
        weights=first_weights_of,
        fit="results/tasks/{task}/{dataset}/{model}/fit.json",
        fitted="results/tasks/{task}/{dataset}/{model}/fitted.safetensors",
        sites=layout.planted_sites(config),
    output:
        attributions="results/tasks/{task}/{dataset}/{model}/attributions.parquet",
    log:
        "logs/tasks/{task}/{dataset}.{model}.attribute.log",
    benchmark:
        "benchmarks/tasks/{task}/{dataset}.{model}.attribute.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(240),
        gpu=0,
    params:
        task="{task}",
        name="{dataset}",
        model="{model}",
        effort=dataset_effort,
        pretrain=layout.encoder_settings(config),
        seed=config["seed"],
        n_items=config["interpret"]["items"],
        version=version("interpret"),
    message:
        "Mutating items of {wildcards.task}/{wildcards.dataset} in {wildcards.model}"
    script:
        "../workflow/scripts/attribute.py"


rule interpretation:
    input:
        attributions=or_exit(layout.attributions, config),
        motif_set="results/motifs/motif_set.json",
    output:
        table="results/interpretation.tsv",
        figure=in_report(
            "results/figures/logos.svg",
            "interpretation",
            "Attributions as logos",
            "logos",
        ),
    log:
        "logs/interpretation.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        seed=config["seed"],
        draws=config["effort"]["bootstrap_draws"],
        version=version("interpret"),
    message:
        "Attributions against the planted sites, and logos"
    script:
        "../workflow/scripts/interpretation.py"
