# Figures of the report. Each caption says what to look for.

FIGURES = ["training_curves", "roc_pr", "calibration", "forest", "region_heatmap"]


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


rule region_heatmap:
    input:
        matrix="results/motifs/matrix.h5ad",
        accessibility="results/regions/accessibility.h5ad",
    output:
        figure=report(
            "results/figures/region_heatmap.svg",
            category="Data",
            caption="../workflow/report/heatmap.rst",
        ),
    log:
        "logs/figures/region_heatmap.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        version=version("figures"),
    message:
        "Heat map of the TF x region matrix"
    script:
        "../workflow/scripts/region_heatmap.py"
