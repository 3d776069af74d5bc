"""Job: forest; everything is in genebert.figures."""

from genebert import figures, job

job.run(snakemake, figures.forest)
