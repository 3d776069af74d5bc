"""Job: start the pre-training program, which writes and resumes its outputs by itself."""

from genebert import job, launch, layout

job.run(
    snakemake,
    launch.run_pretrain,
    moves=False,
    only=("run",),
    output=snakemake.output.model.rpartition("/")[0],
    processes=snakemake.config["pretrain"]["processes"],
    log_path=str(snakemake.log[0]),
    gpus=snakemake.resources.get("gpu", 0),
    nodes=snakemake.resources.get("nodes", 1),
    cpus=snakemake.resources.get("cpus_per_task", snakemake.threads),
    minutes=snakemake.resources.get("runtime"),
    attempt=snakemake.resources.submission,
    threads=snakemake.config["torch_threads"],
    how=layout.how_it_runs(snakemake.config),
)
