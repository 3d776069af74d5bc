"""Job: export windows outside all regions; everything is in genebert.background."""

from genebert import background, job

job.run(snakemake, background.export_background)
