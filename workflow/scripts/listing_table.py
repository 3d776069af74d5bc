"""Job: table of the files of a listing; everything is in genebert.listings."""

from genebert import job, listings

job.run(snakemake, listings.write_table)
