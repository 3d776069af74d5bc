"""Job: attribute; everything is in genebert.interpret."""

from genebert import interpret, job

job.run(snakemake, interpret.attribute, threads=snakemake.config["torch_threads"])
