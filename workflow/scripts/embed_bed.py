"""Job: embed_bed; everything is in genebert.use.embed."""

from genebert import job
from genebert.use import embed

job.run(snakemake, embed.embed_bed, threads=snakemake.config["torch_threads"])
