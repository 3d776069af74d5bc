"""Job: download; everything is in genebert.fetch."""

from genebert import fetch, job

job.run(snakemake, fetch.fetch)
