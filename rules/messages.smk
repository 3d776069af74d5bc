# What is said when something cannot be planned, and at the end of a run.

import time

from snakemake.logging import logger

from genebert import planning, summary

STARTED = time.monotonic()


def known_targets():
    """Return what can be asked for by name: rules, and the files of this configuration."""
    return [*(rule.name for rule in workflow.rules), *planning.targets(config)]


logger.addFilter(planning.Explain(known_targets))


def say(lines):
    """Write lines to stderr, where Snakemake writes too."""
    print("", *lines, sep="\n", file=sys.stderr)


onsuccess:
    say(
        summary.finished(
            [summary.Job.of(job) for job in workflow.dag.finished_jobs],
            time.monotonic() - STARTED,
            sys.argv[1:],
        )
    )


onerror:
    say(
        summary.failed(
            [summary.Job.of(job) for job in workflow.scheduler.failed], sys.argv[1:]
        )
    )
