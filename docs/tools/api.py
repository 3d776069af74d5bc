"""MkDocs hook: one page of the API reference per stage, made of the modules' docstrings.

A module that no stage names is listed on the page of the foundations, so that none is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

LIBRARY = Path(__file__).resolve().parents[2] / "workflow" / "scripts" / "genebert"
# page -> title, what it is about, modules (a package stands for all of its modules)
STAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "inputs": (
        "Inputs: downloads, atlases, genome",
        "From files of any provider to a checked genome and tables of peaks.",
        (
            "checks", "fetch", "transfer", "listings", "provenance", "disk", "builds", "reference",
            "genome", "atlas", "atlas_formats", "atlas_tables", "pseudobulk", "liftover",
            "replicates",
        ),
    ),
    "simulate": (
        "The simulated genome",
        "A genome with planted truth, and every file that a real run would bring.",
        ("simulate",),
    ),
    "regions": (
        "Regions and motifs",
        "From peaks to the consensus set, its accessibility and the TF x region matrix.",
        (
            "peaks", "peak_lines", "consensus", "regions", "splits", "motif_files", "motifs",
            "motif_order", "motif_pvalues", "motif_scan", "motif_candidates", "matrix", "region_qc",
            "region_motifs", "motif_qc", "motif_ridge", "enrichment", "region_figures", "overlap",
        ),
    ),
    "pretrain": (
        "Shards and pre-training",
        "From shards to weights: samples, masks, objectives, encoders, training, references.",
        (
            "shards", "shard_export", "shard_files", "tensor_files", "mapped_rows", "ahead",
            "background", "samples", "population", "sampler", "plan", "curriculum", "tokens",
            "masking", "column_masking", "cell_state", "rng", "objectives", "model", "pretrain",
            "trainer", "train_state", "refusal", "clock", "launch", "slurm",
            "pretraining_evaluation", "intervals", "balance", "logistic", "probes", "markov",
            "mgm_reference", "pretraining_table", "pretraining_figures",
        ),
    ),
    "tasks": (
        "Tasks, models, evaluation",
        "From labels to datasets, predictions, metrics and result tables.",
        (
            "tasks", "items", "context", "features", "predict", "finetune", "classifier", "cnn",
            "baselines", "accessibility_models", "accessibility_head", "accessibility_cnn",
            "disease_models", "variant_models", "variant_scores", "variant_context",
            "cohort_models", "cohort_logistic", "scorers", "scores", "bootstrap", "metrics",
            "evaluate", "curves", "result_tables", "interpret", "logos", "figures", "run_figures",
            "drawing", "html", "forests", "frames", "training_curves", "data_pages", "stages",
            "cost",
        ),
    ),
    "use": (
        "Using trained encoders",
        "Loading weights, embedding sequences and regions, and export for other tools.",
        ("pretrained", "model_files", "huggingface", "finetuned", "use"),
    ),
}  # fmt: skip
FOUNDATIONS = "foundations"
INTRO = {
    FOUNDATIONS: (
        "Foundations",
        "Configuration, paths, tables, errors, jobs: what every stage stands on.",
    )
}


def modules(library: Path = LIBRARY) -> list[str]:
    """Return the dotted names of all modules below ``genebert``, packages by their own name."""
    found = []
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if parts[-1] in ("__init__", "__main__"):
            parts = parts[:-1] if parts[-1] == "__init__" else ()
        if parts:
            found.append(".".join(parts))
    return sorted(set(found))


def pages(names: list[str]) -> dict[str, str]:
    """Return the Markdown of every page by its name."""
    left = dict.fromkeys(names)
    texts = {}
    for page, (title, about, listed) in STAGES.items():
        own = [name for top in listed for name in names if name.split(".")[0] == top]
        texts[page] = _page(title, about, own)
        for name in own:
            left.pop(name)
    title, about = INTRO[FOUNDATIONS]
    texts[FOUNDATIONS] = _page(title, about, list(left))
    return texts


def _page(title: str, about: str, names: list[str]) -> str:
    blocks = "".join(f"\n::: genebert.{name}\n" for name in names)
    return f"# {title}\n\n{about}\n{blocks}"


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages to those of the site."""
    for page, text in pages(modules()).items():
        files.append(File.generated(config, f"api/{page}.md", content=text))
    return files
