"""Job: beyond_references; everything is in genebert.pretraining_figures."""

from genebert import job, pretraining_figures

job.run(snakemake, pretraining_figures.beyond_references)
