"""Job: region heatmap; everything is in genebert.figures."""

from genebert import figures, job

job.run(snakemake, figures.region_heatmap)
