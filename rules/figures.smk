# Figures and pages of the report. Each caption says what to look for; the list of all is in layout.


rule data_pages:
    input:
        provenance="results/provenance.json",
        contigs="results/reference/contigs.tsv",
        qc="results/regions/qc.tsv",
        cell_types="results/regions/cell_types.tsv",
        motif_set="results/motifs/motif_set.json",
        descriptions=layout.dataset_files(config, "dataset.json"),
        leaks=layout.dataset_files(config, "leaks.tsv"),
    output:
        data_card=report_page("data_card"),
        leakage=report_page("leakage"),
    log:
        "logs/figures/data_pages.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        genome=config["genome"],
        splits=config["splits"],
        motifs=config["motifs"],
        caption=CAPTION,
        version=version("data_pages"),
    message:
        "Data card and leakage checks"
    script:
        "../workflow/scripts/data_pages.py"


rule pretraining_figures:
    input:
        metrics=layout.training_metrics(config),
        table="results/pretraining.tsv",
    output:
        training_curves=figure("training_curves"),
        variant_curves=figure("variant_curves"),
        beyond_references=figure("beyond_references"),
    log:
        "logs/figures/pretraining_figures.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        spans=layout.hidden_spans(config),
        version=version("pretraining_figures"),
    message:
        "Figures of pre-training"
    script:
        "../workflow/scripts/pretraining_figures.py"


rule evaluation_figures:
    input:
        curves=layout.dataset_files(config, "curves.tsv"),
        tables=expand("results/{task}.tsv", task=layout.tasks(config)),
        long="results/metrics.tsv",
        ablations="results/ablation.tsv",
        differences="results/comparisons.tsv",
    output:
        roc_pr=figure("roc_pr"),
        calibration=figure("calibration"),
        forest=figure("forest"),
        ablation=figure("ablation"),
        comparisons=figure("comparisons"),
        few_shot=figure("few_shot"),
        similarity=figure("similarity"),
    log:
        "logs/figures/evaluation_figures.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "Figures of the evaluation"
    script:
        "../workflow/scripts/evaluation_figures.py"


# The last job: it counts what all others cost.
rule cost:
    input:
        done=[
            path
            for path in report_layout.report_files(config)
            if Path(path).stem not in ("cost", "stages")
        ],
        metrics=layout.training_metrics(config),
        index="results/shards/index.json",
    output:
        table="results/cost.tsv",
        runs="results/pretraining_cost.tsv",
        page=report_page("cost"),
        stages=figure("stages"),
    log:
        "logs/figures/cost.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        benchmarks=lambda wildcards, output: str(
            Path(output.table).parent.parent / "benchmarks"
        ),
        plan=report_layout.plan_numbers(config),
        caption=CAPTION,
        version=version("cost"),
    message:
        "Counting what this run cost"
    script:
        "../workflow/scripts/cost.py"
