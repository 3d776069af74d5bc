"""Job: build regions; everything is in genebert.regions."""

from genebert import job, regions

job.run(snakemake, regions.build_regions)
