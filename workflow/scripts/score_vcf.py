"""Job: score_vcf; everything is in genebert.use.variants."""

from genebert import job
from genebert.use import variants

job.run(snakemake, variants.score_vcf, threads=snakemake.config["torch_threads"])
