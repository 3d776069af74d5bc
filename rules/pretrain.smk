# Pre-training: one run per variant and seed. The resumable state lies beside the declared outputs
# and is not declared, so that a retry resumes.


rule pretrain_run:
    input:
        index="results/shards/index.json",
    output:
        run="results/pretrain/{variant}/seed-{seed}/run.json",
    log:
        "logs/pretrain/{variant}.{seed}.run.log",
    localrule: True
    conda:
        "../envs/workflow.yaml"
    params:
        settings=lambda wildcards: layout.run_settings(config, wildcards.variant),
        seed=lambda wildcards: config["seed"] * 1000 + int(wildcards.seed),
        steps=config["effort"]["pretrain_steps"],
    message:
        "Writing the settings of {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/write_run.py"


rule pretrain:
    input:
        run="results/pretrain/{variant}/seed-{seed}/run.json",
        index="results/shards/index.json",
        shards=layout.shard_files(config),
        cell_types="results/shards/cell_types.safetensors",
        background=lambda wildcards: layout.background(config, wildcards.variant),
    output:
        model="results/pretrain/{variant}/seed-{seed}/model.safetensors",
        config="results/pretrain/{variant}/seed-{seed}/config.json",
        metrics="results/pretrain/{variant}/seed-{seed}/metrics.jsonl",
    log:
        "logs/pretrain/{variant}.{seed}.log",
    benchmark:
        "benchmarks/pretrain/{variant}.{seed}.jsonl"
    retries: TRAINING_RETRIES
    conda:
        "../envs/torch.yaml"
    threads: config["torch_threads"] * config["pretrain"]["processes"]
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=0,
        submission=submission,
    params:
        version=version("pretrain"),
    message:
        "Pre-training {wildcards.variant}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/run_pretrain.py"
