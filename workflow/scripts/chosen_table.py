"""Job: the models that validation data choose; everything is in genebert.chosen."""

from genebert import chosen, job

job.run(snakemake, chosen.chosen_table)
