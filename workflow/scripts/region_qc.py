"""Job: tables and figures of the regions; everything is in genebert.region_qc."""

from genebert import job, region_qc

job.run(snakemake, region_qc.describe_regions)
