# The simulated genome: ordinary input files, and the truth behind them.

if layout.is_simulated(config):

    rule simulate:
        output:
            genome="results/simulated/genome.fa",
            gtf="results/simulated/genes.gtf",
            blacklist="results/simulated/blacklist.bed",
            promoters="results/simulated/promoters.bed",
            motifs="results/simulated/motifs.meme",
            cell_types="results/simulated/cell_types.tsv",
            peaks=layout.simulated_peaks(config),
            chip="results/simulated/chip.tsv",
            chip_peaks=layout.simulated_chip(config),
            variants="results/simulated/variants.tsv",
            cohort="results/simulated/cohort.vcf.gz",
            cohort_index="results/simulated/cohort.vcf.gz.tbi",
            phenotypes="results/simulated/phenotypes.tsv",
            truth_promoters="results/simulated/truth/promoters.tsv",
            truth_binding="results/simulated/truth/binding.tsv",
            truth_splicing="results/simulated/truth/splicing.tsv",
            truth_variants="results/simulated/truth/variants.tsv",
            truth_cohort="results/simulated/truth/cohort.tsv",
            truth_openness="results/simulated/truth/openness.tsv",
            truth_sites="results/simulated/truth/sites.tsv",
            truth_parameters="results/simulated/truth/parameters.json",
        log:
            "logs/simulate.log",
        benchmark:
            "benchmarks/simulate.jsonl"
        conda:
            "../envs/genomics.yaml"
        threads: 1
        resources:
            mem_mb=mem_mb(4000),
            runtime=runtime(60),
        params:
            settings=config["simulate"],
            seed=config["seed"],
            width=config["regions"]["width"],
            version=version("simulate/__init__"),
        message:
            "Simulating a genome, its peaks, genes, variants and a cohort"
        script:
            "../workflow/scripts/simulate.py"
