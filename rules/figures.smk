# Figures of the report. Each caption says what to look for.

FIGURES = [
    "regions",
    "overlap",
    "enrichment",
    "motif_ridge",
    "window",
    "training_curves",
    "beyond_references",
    "roc_pr",
    "calibration",
    "forest",
]


rule training_curves:
    input:
        metrics=layout.training_metrics(config),
    output:
        figure=report(
            "results/figures/training_curves.svg",
            category="Pre-training",
            caption="../workflow/report/training_curves.rst",
        ),
    log:
        "logs/figures/training_curves.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "Training curves"
    script:
        "../workflow/scripts/training_curves.py"


rule beyond_references:
    input:
        table="results/pretraining.tsv",
    output:
        figure=report(
            "results/figures/beyond_references.svg",
            category="Pre-training",
            caption="../workflow/report/beyond_references.rst",
        ),
    log:
        "logs/figures/beyond_references.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("pretraining_figures"),
    message:
        "Objectives of pre-training minus their references"
    script:
        "../workflow/scripts/beyond_references.py"


rule roc_pr:
    input:
        curves=layout.dataset_files(config, "curves.tsv"),
    output:
        figure=report(
            "results/figures/roc_pr.svg",
            category="Evaluation",
            caption="../workflow/report/roc_pr.rst",
        ),
    log:
        "logs/figures/roc_pr.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "ROC and precision-recall curves"
    script:
        "../workflow/scripts/roc_pr.py"


rule calibration:
    input:
        curves=layout.dataset_files(config, "curves.tsv"),
    output:
        figure=report(
            "results/figures/calibration.svg",
            category="Evaluation",
            caption="../workflow/report/calibration.rst",
        ),
    log:
        "logs/figures/calibration.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "Reliability of the predicted probabilities"
    script:
        "../workflow/scripts/calibration.py"


rule forest:
    input:
        tables=expand("results/{task}.tsv", task=layout.tasks(config)),
    output:
        figure=report(
            "results/figures/forest.svg",
            category="Evaluation",
            caption="../workflow/report/forest.rst",
        ),
    log:
        "logs/figures/forest.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "Every model with its interval"
    script:
        "../workflow/scripts/forest.py"
