"""Job: evaluate; everything is in genebert.evaluate."""

from genebert import evaluate, job

job.run(snakemake, evaluate.evaluate)
