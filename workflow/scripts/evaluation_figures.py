"""Job: figures of the evaluation; everything is in genebert.figures."""

from genebert import figures, job

job.run(snakemake, figures.evaluation_figures)
