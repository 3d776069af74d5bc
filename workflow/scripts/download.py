"""Job: download; everything is in genebert.fetch."""

from genebert import job, fetch

job.run(snakemake, fetch.fetch)
