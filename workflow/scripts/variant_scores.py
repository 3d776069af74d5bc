"""Job: scores of all models on variants; everything is in genebert.variant_export."""

from genebert import job, variant_export

job.run(snakemake, variant_export.export_scores)
