"""Job: check; everything is in genebert.checks."""

from genebert import checks, job

job.run(snakemake, checks.check)
