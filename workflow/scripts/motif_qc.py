"""Job: motif enrichment and accessibility from motifs; everything is in genebert.motif_qc."""

from genebert import job, motif_qc

job.run(snakemake, motif_qc.describe_motifs)
