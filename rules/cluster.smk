# On a cluster: what can be known before the first job is said in one line.

from genebert import slurm

# A training that is stopped by its time limit or killed resumes so many times. The job itself
# (remote_exec) must not repeat it on its own: rules carry their retries there too.
RESUMES = int(os.environ.get("GENEBERT_RESUMES", 3 if workflow.local_exec else 20))
TRAINING_RETRIES = 0 if workflow.remote_exec else RESUMES


def submission(wildcards, attempt):
    """Return the attempt: a retry of a training that was refused ends at once."""
    return attempt


# An image (containers/) in which `--sdm apptainer` runs every job.
if os.environ.get("GENEBERT_CONTAINER"):

    container: os.environ.get("GENEBERT_CONTAINER")


onstart:
    if workflow.executor_plugin.name == "slurm":
        or_exit(slurm.check_site, os.environ)
