"""What the report consists of: its sections, figures, pages and tables, and what stands above them.

Pure functions, standard library only, called while Snakemake plans. In comes the validated
configuration; out go paths and texts.
"""

from __future__ import annotations

from genebert.layout import (
    Config,
    interpret_rows,
    interpretation,
    is_simulated,
    models,
    pretrain_seeds,
    tasks,
    variants,
)

SMOKE_STEPS = 60  # of pre-training, in config/config.yaml
# sections of the report by their key; the report sorts them by name
SECTIONS = {
    "overview": "1 Overview",
    "data": "2 Data",
    "leaks": "3 Leakage checks",
    "pretraining": "4 Pre-training",
    "tables": "5 Result tables",
    "evaluation": "6 Evaluation",
    "interpretation": "7 Interpretation",
    "cost": "8 Cost",
}
# every figure of a run: its section and what the report calls it; its caption has the same name
FIGURES = {
    "stages": ("overview", "Stages of this run"),
    "regions": ("data", "Regions: counts, losses, widths, GC content"),
    "overlap": ("data", "Overlap of cell types"),
    "window": ("data", "TF x region matrix"),
    "enrichment": ("data", "Motif enrichment of cell types"),
    "motif_ridge": ("data", "Accessibility predicted from motifs"),
    "similarity": ("leaks", "AUROC by similarity to training items"),
    "training_curves": ("pretraining", "Training losses of all variants"),
    "variant_curves": ("pretraining", "Every variant on held-out loci, with references"),
    "beyond_references": ("pretraining", "End of training: objectives minus references"),
    "forest": ("evaluation", "Models and baselines"),
    "comparisons": ("evaluation", "Paired differences"),
    "ablation": ("evaluation", "Variants of pre-training"),
    "few_shot": ("evaluation", "Few-shot curves"),
    "roc_pr": ("evaluation", "ROC and precision-recall curves"),
    "calibration": ("evaluation", "Calibration"),
}
PAGES = {
    "data_card": ("overview", "Data card"),
    "leakage": ("leaks", "Leakage checks of all datasets"),
    "cost": ("cost", "Time, memory, GPU-hours, throughput"),
}


def is_smoke(config: Config) -> bool:
    """Tell whether pre-training is as short as in the smoke run: enough to try, not to learn."""
    return bool(config["effort"]["pretrain_steps"] <= SMOKE_STEPS)


def caption(config: Config) -> str:
    """Return what stands above every page of the report."""
    name, steps = config["genome"]["name"], config["effort"]["pretrain_steps"]
    if is_simulated(config):
        return "demo: not evidence" if is_smoke(config) else f"simulated genome {name}"
    return f"{name}, {steps} steps of pre-training: not evidence" if is_smoke(config) else name


def tables(config: Config) -> list[str]:
    """Return the names of the tables that the report shows, in its order."""
    shown = [*tasks(config), "ablation", "comparisons", "chosen", "pretraining"]
    return [*shown, *(["interpretation"] if interpret_rows(config) else [])]


def report_files(config: Config) -> list[str]:
    """Return every figure, page and sortable table of the report."""
    return [
        *(f"results/figures/{name}.svg" for name in FIGURES),
        *(f"results/report/{name}.html" for name in PAGES),
        *(f"results/tables/{name}.html" for name in tables(config)),
        *interpretation(config),
    ]


def plan_numbers(config: Config) -> dict[str, str]:
    """Return what the stages of this run work on, as far as the configuration tells, by stage."""
    seeds, fits = len(pretrain_seeds(config)), config["effort"]["finetune_seeds"]
    names = [name for row in config["datasets"] for name in models(config, row)]
    numbers = {
        "sources": "simulated genome" if is_simulated(config) else "files",
        "reference": config["genome"]["name"],
        "pretrain": f"{_counted(len(variants(config)), 'variant')} x {_counted(seeds, 'seed')}",
        "datasets": _counted(len(config["datasets"]), "dataset"),
        "models": f"{_counted(len(set(names)), 'model')}, {_counted(fits, 'seed')}",
        "evaluation": _counted(len(tasks(config)), "task"),
        "report": _counted(len(report_files(config)), "file"),
    }
    interpreted = len(interpret_rows(config))
    return numbers | ({"interpretation": _counted(interpreted, "dataset")} if interpreted else {})


def _counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 seed``, ``2 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
