"""Job: roc pr; everything is in genebert.figures."""

from genebert import figures, job

job.run(snakemake, figures.roc_pr)
