"""Job: predict; everything is in genebert.predict."""

from genebert import job, predict

job.run(snakemake, predict.predict, threads=snakemake.config["torch_threads"])
