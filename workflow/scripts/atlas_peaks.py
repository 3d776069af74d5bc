"""Job: turn an atlas into a table of peaks; everything is in genebert.atlas_tables."""

from genebert import atlas_tables, job

job.run(snakemake, atlas_tables.convert)
