"""Job: pretraining_table; everything is in genebert.pretraining_table."""

from genebert import job, pretraining_table

job.run(snakemake, pretraining_table.pretraining_table)
