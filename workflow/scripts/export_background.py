"""Job: export windows outside all peaks; everything is in genebert.background."""

from genebert import background, job

job.run(snakemake, background.export_background)
