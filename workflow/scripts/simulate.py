"""Job: simulate; everything is in genebert.simulate."""

from genebert import job, simulate

job.run(snakemake, simulate.simulate)
