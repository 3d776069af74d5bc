"""Job: export shards; everything is in genebert.shard_export."""

from genebert import job, shard_export

job.run(snakemake, shard_export.export_shards)
