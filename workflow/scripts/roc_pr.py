"""Job: roc pr; everything is in genebert.figures."""

from genebert import job, figures

job.run(snakemake, figures.roc_pr)
