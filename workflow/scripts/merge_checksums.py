"""Job: merge checksums; everything is in genebert.fetch."""

from genebert import fetch, job

job.run(snakemake, fetch.merge_checksums)
