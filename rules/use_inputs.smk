# Input functions of rules/use.smk: from wildcards to the row of a user's file and to the run that
# trained the model, by the pure functions of genebert/use/sources.py.


def of_run(file):
    """Return an input function of a file of the run that goes with the weights."""
    return lambda wildcards: or_exit(sources.run_file, config, file)


def user_row(kind):
    """Return a function from wildcards to the row of a user's file."""
    return lambda wildcards: or_exit(sources.user_file, config, wildcards.name, kind)


def user_path(kind):
    """Return an input function of the file itself."""
    return lambda wildcards: user_row(kind)(wildcards)["path"]


def user_cell_types(kind):
    """Return a function of the cell types that a user's row names."""
    return lambda wildcards: sources.cell_types(user_row(kind)(wildcards))


def encoders_used(wildcards):
    """Return the weights that `pretrained` names."""
    return or_exit(sources.weights, config)


def fitted_used(wildcards):
    """Return the fine-tuned network of a prediction."""
    return or_exit(
        sources.fitted, config, wildcards.task, wildcards.dataset, wildcards.model
    )


def fitted_explained(wildcards):
    """Return the fine-tuned network that a track explains, as a list of none or one."""
    return or_exit(sources.fitted_of, config, user_row("bed")(wildcards))


USED = {
    "genome": of_run(sources.GENOME),
    "index": of_run(f"{sources.GENOME}.fai"),
    "block_index": of_run(f"{sources.GENOME}.gzi"),
    "shards": of_run("shards/index.json"),
}
