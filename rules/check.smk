# `snakemake check`: what would fail, before it does. Nothing is an input: what is missing is a finding.


rule check:
    log:
        "logs/check.log",
    localrule: True
    conda:
        "../envs/genomics.yaml"
    params:
        config=config,
        resources=MANIFEST,
        version=version("checks/__init__"),
    message:
        "Checking the configuration, its files and this machine"
    script:
        "../workflow/scripts/check.py"
