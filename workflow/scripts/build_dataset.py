"""Job: build dataset; everything is in genebert.tasks."""

from genebert import job, tasks

job.run(snakemake, tasks.build_dataset)
