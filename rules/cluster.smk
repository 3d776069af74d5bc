# On a cluster: what can be known before the first job is said in one line. (Which executor runs the jobs
# is known at the start, not while rules are read.)

from genebert import slurm

or_exit(slurm.check_numbers, os.environ)

# A training that is stopped by its time limit or killed resumes so many times. The job itself
# (remote_exec) must not repeat it on its own: rules carry their retries there too.
RESUMES = or_exit(slurm.whole, os.environ, "GENEBERT_RESUMES", 20, 0)
TRAINING_RETRIES = 0 if workflow.remote_exec else RESUMES
LOCAL_RESUMES = 2  # without a cluster nothing ends a training but what may end it again


# What reads no file of the user's, or tells by itself which are missing.
FETCHING = {
    "atlas_table",
    "check",
    "checksums",
    "download",
    "fetch_all",
    "listing_table",
}


def submission(wildcards, attempt):
    """Return the attempt: a retry of a training that was refused ends at once."""
    return attempt


# An image (containers/) in which `--sdm apptainer` runs every job.
if os.environ.get("GENEBERT_CONTAINER"):

    container: os.environ.get("GENEBERT_CONTAINER")


onstart:
    asked = {job.rule.name for job in workflow.dag.needrun_jobs()}
    if asked - FETCHING:
        or_exit(downloads.check_local_files, config)
    if workflow.local_exec and not os.environ.get("GENEBERT_RESUMES"):
        training = workflow.get_rule("pretrain")
        training.restart_times = min(training.restart_times, LOCAL_RESUMES)
    if workflow.executor_plugin.name == "slurm":
        or_exit(slurm.check_site, os.environ)
