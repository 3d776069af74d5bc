"""Job: evaluate; everything is in genebert.evaluate."""

from genebert import job, evaluate

job.run(snakemake, evaluate.evaluate)
