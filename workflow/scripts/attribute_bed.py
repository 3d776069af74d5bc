"""Job: attribute_bed; everything is in genebert.use.tracks."""

from genebert import job
from genebert.use import tracks

job.run(snakemake, tracks.attribute_bed, threads=snakemake.config["torch_threads"])
