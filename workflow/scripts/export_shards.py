"""Job: export shards; everything is in genebert.shards."""

from genebert import job, shards

job.run(snakemake, shards.export_shards)
