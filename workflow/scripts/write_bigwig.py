"""Job: write_bigwig; everything is in genebert.use.tracks."""

from genebert import job
from genebert.use import tracks

job.run(snakemake, tracks.write_bigwig)
