"""Job: write the settings of a pre-training run; everything is in genebert.launch."""

from genebert import job, launch

job.run(snakemake, launch.write_run)
