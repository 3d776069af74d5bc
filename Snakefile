# genebert: from ATAC-seq peaks of many cell types to pre-trained encoders and result tables.
#
# download | simulate -> reference -> regions -> motifs -> shards -> pretrain -> tasks -> tables -> report
#
#   snakemake                        everything
#   snakemake results/promoter.tsv   one task
#   snakemake atlas_table            tables of peak files, from the listings of their providers
#   snakemake fetch_all              all downloads
#   snakemake check                  what would fail, before it does (files, disk, memory, GPU, SLURM)
#   snakemake --report report.html   the report
#
# A trained model on your own files (rows of the table `user_files`; docs/use.md):
#
#   results/embeddings/{name}.h5ad                             results/variants/{name}.{tsv,vcf.gz}
#   results/predictions/{name}/{task}/{dataset}/{model}.tsv    results/attributions/{name}.{bedgraph,bw}

from snakemake.utils import min_version

min_version("9.20")


configfile: workflow.source_path("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "rules/common.smk"
include: "rules/messages.smk"
include: "rules/cluster.smk"
include: "rules/inputs.smk"
include: "rules/check.smk"
include: "rules/download.smk"
include: "rules/simulate.smk"
include: "rules/atlas.smk"
include: "rules/reference.smk"
include: "rules/regions.smk"
include: "rules/motifs.smk"
include: "rules/qc.smk"
include: "rules/shards.smk"
include: "rules/pretrain.smk"
include: "rules/tasks.smk"
include: "rules/tables.smk"
include: "rules/interpret.smk"
include: "rules/use_inputs.smk"
include: "rules/use.smk"
include: "rules/figures.smk"


rule all:
    default_target: True
    input:
        expand("results/{task}.tsv", task=layout.tasks(config)),
        "results/metrics.tsv",
        "results/ablation.tsv",
        "results/comparisons.tsv",
        "results/chosen.tsv",
        layout.variant_scores(config),
        "results/pretraining.tsv",
        "results/provenance.json",
        report_layout.report_files(config),
    localrule: True
