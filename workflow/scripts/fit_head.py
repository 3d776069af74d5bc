"""Job: fit_head; everything is in genebert.use.head."""

from genebert import job
from genebert.use import head

job.run(snakemake, head.fit_head, threads=snakemake.config["torch_threads"])
