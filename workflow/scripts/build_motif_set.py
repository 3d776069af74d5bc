"""Job: build motif set; everything is in genebert.motifs."""

from genebert import job, motifs

job.run(snakemake, motifs.build_motif_set)
