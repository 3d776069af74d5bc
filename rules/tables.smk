# Result tables: views of the metrics of all datasets.


rule task_table:
    input:
        tables=tables_of,
    output:
        table="results/{task}.tsv",
    log:
        "logs/tables/{task}.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("result_tables"),
    message:
        "Result table of task {wildcards.task}"
    script:
        "../workflow/scripts/task_table.py"


rule metrics_table:
    input:
        long=layout.dataset_files(config, "metrics.tsv"),
    output:
        table="results/metrics.tsv",
    log:
        "logs/tables/metrics.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("result_tables"),
    message:
        "All metrics in one long table"
    script:
        "../workflow/scripts/metrics_table.py"


rule chosen_table:
    input:
        long=layout.dataset_files(config, "metrics.tsv"),
    output:
        table="results/chosen.tsv",
    log:
        "logs/tables/chosen.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("chosen"),
    message:
        "The model that validation data choose for each dataset"
    script:
        "../workflow/scripts/chosen_table.py"


rule pretraining_table:
    input:
        metrics=layout.training_metrics(config),
    output:
        table="results/pretraining.tsv",
    log:
        "logs/tables/pretraining.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        controls=layout.control_variants(config),
        version=version("pretraining_table"),
    message:
        "Pre-training beside its references"
    script:
        "../workflow/scripts/pretraining_table.py"


rule ablation_table:
    input:
        tables=layout.dataset_files(config, "table.tsv"),
    output:
        table="results/ablation.tsv",
    log:
        "logs/tables/ablation.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("result_tables"),
    message:
        "Table of the pre-training variants"
    script:
        "../workflow/scripts/ablation_table.py"


rule comparisons_table:
    input:
        datasets=layout.dataset_files(config, "dataset.parquet"),
        descriptions=layout.dataset_files(config, "dataset.json"),
        cohorts=layout.cohorts(config),
        predictions=layout.all_predictions(config, "predictions.parquet"),
        fits=layout.all_predictions(config, "fit.json"),
    output:
        table="results/comparisons.tsv",
    log:
        "logs/tables/comparisons.log",
    benchmark:
        "benchmarks/comparisons.jsonl"
    conda:
        "../envs/genomics.yaml"
    threads: 1
    resources:
        mem_mb=mem_mb(4000),
        runtime=runtime(60),
    params:
        seed=config["seed"],
        draws=config["effort"]["bootstrap_draws"],
        version=version("result_tables"),
    message:
        "Paired comparisons, the five primary ones first"
    script:
        "../workflow/scripts/comparisons_table.py"


rule html_tables:
    input:
        tables=expand("results/{table}.tsv", table=report_layout.tables(config)),
    output:
        html=[
            in_report(f"results/tables/{table}.html", "tables", table, "tables")
            for table in report_layout.tables(config)
        ],
    log:
        "logs/tables/html.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        caption=CAPTION,
        version=version("html"),
    message:
        "Sortable tables"
    script:
        "../workflow/scripts/html_tables.py"
