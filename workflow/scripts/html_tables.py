"""Job: sortable tables; everything is in genebert.result_tables."""

from genebert import job, result_tables

job.run(snakemake, result_tables.html_tables)
