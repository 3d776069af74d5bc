"""Job: region heatmap; everything is in genebert.figures."""

from genebert import job, figures

job.run(snakemake, figures.region_heatmap)
