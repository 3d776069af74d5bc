"""Job: download; everything is in genebert.fetch, which moves its files into place by itself."""

from genebert import fetch, job

job.run(
    snakemake,
    fetch.fetch,
    moves=False,
    file=snakemake.output.file,
    provenance=snakemake.output.provenance,
)
