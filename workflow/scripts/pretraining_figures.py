"""Job: figures of pre-training; everything is in genebert.pretraining_figures."""

from genebert import job, pretraining_figures

job.run(snakemake, pretraining_figures.pretraining_figures)
