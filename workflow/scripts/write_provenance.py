"""Job: write provenance; everything is in genebert.provenance."""

from genebert import job, provenance

job.run(snakemake, provenance.write_provenance)
