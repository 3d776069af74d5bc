"""Job: cost of the run; everything is in genebert.cost."""

from genebert import cost, job

job.run(snakemake, cost.cost)
