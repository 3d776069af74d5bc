"""Job: gather matrix; everything is in genebert.matrix."""

from genebert import job, matrix

job.run(snakemake, matrix.gather_matrix)
