"""Job: write_bigwig; everything is in genebert.use.bigwig."""

from genebert import job
from genebert.use import bigwig

job.run(snakemake, bigwig.write_bigwig)
