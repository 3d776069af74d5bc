"""Job: data card and leakage checks; everything is in genebert.data_pages."""

from genebert import data_pages, job

job.run(snakemake, data_pages.data_pages)
