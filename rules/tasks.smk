# Tasks: dataset -> predictions -> metrics, each a cached level. Only `dataset` differs by task.


rule dataset:
    input:
        **REFERENCE,
        contigs="results/reference/contigs.tsv",
        regions="results/regions/regions.tsv",
        accessibility="results/regions/accessibility.h5ad",
        labels=dataset_labels,
        extra=dataset_extra,
        blacklist=dataset_blacklist,
        truth=dataset_option("truth"),
        phenotypes=dataset_option("phenotypes"),
    output:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        leaks=report(
            "results/tasks/{task}/{dataset}/leaks.tsv",
            category=report_layout.SECTIONS["leaks"],
            subcategory="{task}",
            labels={"dataset": "{dataset}"},
            caption="../workflow/report/leaks.rst",
        ),
    log:
        "logs/tasks/{task}/{dataset}.dataset.log",
    benchmark:
        "benchmarks/tasks/{task}/{dataset}.dataset.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=dataset_mb,
        runtime=runtime(240),
    params:
        row=dataset_settings,
        splits=config["splits"],
        seed=config["seed"],
        max_items=dataset_items,
        version=dataset_version,
    message:
        "Building dataset {wildcards.dataset} of task {wildcards.task}"
    script:
        "../workflow/scripts/build_dataset.py"


# A cohort also has genotypes; everything else is the rule above.
use rule dataset as cohort_dataset with:
    output:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        leaks="results/tasks/{task}/{dataset}/leaks.tsv",
        cohort="results/tasks/{task}/{dataset}/cohort.npz",
    wildcard_constraints:
        task="disease",
        dataset=COHORTS,


ruleorder: cohort_dataset > dataset


rule predict:
    input:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        cohort=cohort_of,
        motif_set="results/motifs/motif_set.json",
        shards="results/shards/index.json",
        weights=weights_of,
    output:
        predictions="results/tasks/{task}/{dataset}/{model}/predictions.parquet",
        fit="results/tasks/{task}/{dataset}/{model}/fit.json",
        fitted="results/tasks/{task}/{dataset}/{model}/fitted.safetensors",
    log:
        "logs/tasks/{task}/{dataset}.{model}.log",
    benchmark:
        "benchmarks/tasks/{task}/{dataset}.{model}.jsonl"
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"]
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(240),
        gpu=0,
    params:
        model="{model}",
        effort=dataset_effort,
        pretrain=layout.encoder_settings(config),
        seed=config["seed"],
        version=predict_version,
    message:
        "Fitting and predicting {wildcards.task}/{wildcards.dataset} with {wildcards.model}"
    script:
        "../workflow/scripts/predict.py"


rule metrics:
    input:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        cohort=cohort_of,
        predictions=predictions_of,
        fits=fits_of,
    output:
        long="results/tasks/{task}/{dataset}/metrics.tsv",
        wide="results/tasks/{task}/{dataset}/table.tsv",
        curves="results/tasks/{task}/{dataset}/curves.tsv",
    log:
        "logs/tasks/{task}/{dataset}.metrics.log",
    benchmark:
        "benchmarks/tasks/{task}/{dataset}.metrics.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(60),
    params:
        task="{task}",
        name="{dataset}",
        seed=config["seed"],
        draws=config["effort"]["bootstrap_draws"],
        version=version("evaluate"),
    message:
        "Metrics and intervals of {wildcards.task}/{wildcards.dataset}"
    script:
        "../workflow/scripts/evaluate.py"


rule variant_scores:
    input:
        dataset="results/tasks/{task}/{dataset}/dataset.parquet",
        description="results/tasks/{task}/{dataset}/dataset.json",
        predictions=predictions_of,
        labels=dataset_labels,
    output:
        table="results/tasks/{task}/{dataset}/scores.parquet",
    log:
        "logs/tasks/{task}/{dataset}.scores.log",
    wildcard_constraints:
        task="disease",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        row=dataset_settings,
        version=version("variant_export"),
    message:
        "Scores of all models on the variants {wildcards.dataset}, in the form of TraitGym"
    script:
        "../workflow/scripts/variant_scores.py"
