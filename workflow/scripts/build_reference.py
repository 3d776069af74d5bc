"""Job: build reference; everything is in genebert.reference."""

from genebert import job, reference

job.run(snakemake, reference.build_reference)
