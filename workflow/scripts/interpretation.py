"""Job: interpretation; everything is in genebert.interpret."""

from genebert import interpret, job

job.run(snakemake, interpret.interpretation)
