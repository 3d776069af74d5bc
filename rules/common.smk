# Configuration, constraints of all wildcards, and paths. Everything that computes is in
# workflow/scripts/genebert/layout.py (pure functions, unit-tested).

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(str(workflow.current_basedir)).parent
LIBRARY = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(LIBRARY))

from genebert import config as configuration
from genebert import downloads, layout, report_layout
from genebert.errors import InputError
from genebert.tables import declare_home, declare_library
from genebert.use import sources

declare_library(LIBRARY)
declare_home(ROOT)  # paths in a configuration may start with $GENEBERT_HOME


def or_exit(function, *args, **kwargs):
    """Call a function while planning; bad input ends the run with its one line."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    except PermissionError as error:
        raise SystemExit(f"error: {error.filename}: {error.strerror}") from None


def read_yaml(name):
    """Return a YAML file of the repository."""
    with open(ROOT / name) as handle:
        return yaml.safe_load(handle)


for path in workflow.overwrite_configfiles:
    or_exit(configuration.check_keys, path)
SCHEMA = read_yaml("workflow/schemas/config.schema.yaml")
config = or_exit(
    configuration.check_config,
    configuration.merged(
        read_yaml("config/config.yaml"), config
    ),  # a `module:` brings its own alone
    SCHEMA,
    file=" + ".join(
        ["config.yaml", *(Path(name).name for name in workflow.overwrite_configfiles)]
    ),
)
MANIFEST = or_exit(downloads.manifest_rows, config, ROOT / "resources/manifest.tsv")


def version(module):
    """Return the VERSION of a stage of the library."""
    return layout.version(LIBRARY, module)


wildcard_constraints:
    task="|".join(layout.TASKS),
    chunk=r"\d+",
    seed=r"\d+",
    dataset="[A-Za-z0-9][A-Za-z0-9._-]*",
    model="[A-Za-z0-9][A-Za-z0-9._-]*",
    variant="[A-Za-z0-9][A-Za-z0-9._-]*",
    name="[A-Za-z0-9][A-Za-z0-9._-]*",
    resource=r"[A-Za-z0-9][A-Za-z0-9._-]*(?<!\.table\.tsv)(?<!\.provenance\.json)",
    listing="|".join(layout.LISTINGS),


REFERENCE = {
    "genome": "results/reference/genome.fa.gz",
    "index": "results/reference/genome.fa.gz.fai",
    "block_index": "results/reference/genome.fa.gz.gzi",
}


def in_report(path, section, title, caption):
    """Return a file as the report shows it: its section, its title and its caption."""
    return report(
        path,
        category=report_layout.SECTIONS[section],
        labels={"shown": title},
        caption=f"../workflow/report/{caption}.rst",
    )


def figure(name):
    """Return a figure of report_layout.FIGURES as the report shows it."""
    return in_report(
        f"results/figures/{name}.svg", *report_layout.FIGURES[name], caption=name
    )


def report_page(name):
    """Return a page of report_layout.PAGES as the report shows it."""
    return in_report(
        f"results/report/{name}.html", *report_layout.PAGES[name], caption=name
    )


# What stands above every page of the report.
CAPTION = report_layout.caption(config)


# A regular expression of the datasets that are cohorts (one that matches nothing if there are none).
COHORTS = (
    "|".join(
        re.escape(row["name"]) for row in config["datasets"] if row["kind"] == "cohort"
    )
    or "(?!)"
)


def mem_mb(base):
    """Return a function of the attempt: a job that was short of memory gets more."""
    return lambda wildcards, attempt: base * attempt


def runtime(minutes):
    """Return a function of the attempt: a job that was short of time gets more."""
    return lambda wildcards, attempt: minutes * attempt
