"""Job: scan motifs; everything is in genebert.matrix."""

from genebert import job, matrix

job.run(snakemake, matrix.scan_chunk)
