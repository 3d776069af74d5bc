"""Job: predict_bed; everything is in genebert.use.predictions."""

from genebert import job
from genebert.use import predictions

job.run(snakemake, predictions.predict_bed, threads=snakemake.config["torch_threads"])
