# genebert: from ATAC-seq peaks of many cell types to pre-trained encoders and result tables.
#
# download | simulate -> reference -> regions -> motifs -> shards -> pretrain -> tasks -> tables -> report
#
#   snakemake                        everything
#   snakemake results/promoter.tsv   one task
#   snakemake --report report.html   the report

from snakemake.utils import min_version

min_version("9.20")


configfile: workflow.source_path("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/download.smk"
include: "rules/simulate.smk"
include: "rules/reference.smk"
include: "rules/regions.smk"
include: "rules/motifs.smk"
include: "rules/shards.smk"
include: "rules/pretrain.smk"
include: "rules/tasks.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"


rule all:
    default_target: True
    input:
        expand("results/{task}.tsv", task=layout.tasks(config)),
        "results/metrics.tsv",
        "results/ablation.tsv",
        "results/comparisons.tsv",
        expand(
            "results/tables/{table}.html",
            table=[*layout.tasks(config), "ablation", "comparisons"],
        ),
        expand("results/figures/{figure}.svg", figure=FIGURES),
    localrule: True
