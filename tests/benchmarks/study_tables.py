"""Print the tables of docs/study.md and docs/pretraining.md, as Markdown, from a finished run.

    python tests/benchmarks/study_tables.py runs/study_small
    python tests/benchmarks/study_tables.py runs/hg19_all --pretraining

Nothing is computed: every number stands in `results/*.tsv` of the run; tables that it lacks are left out.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

Row = dict[str, str]

MODELS = (
    "genebert", "genebert-sequence", "genebert-motif_reading", "genebert-shuffled_matrix",
    "genebert-shuffled_cells", "scratch", "cnn", "kmer-lr", "motif-lr", "context-lr", "accessibility", "cell-average",
    "cell-average-pred", "genebert-wrongcell", "pwm", "gt-ag", "tss-distance", "mean-breadth",
    "nearest-type", "dosage-lr", "dosage-lr-weighted", "covariates", "gc", "oracle",
)  # fmt: skip
TASKS = ("promoter", "tfbs", "disease", "splicing", "accessibility")
FEW_MODELS = MODELS[:10]
MANY = 6  # with more variants than these, a variant is a row, and the columns are few:
BRIEF = (  # split, objective, stratum, metric
    ("valid", "mgm", "span-5", "nats_minus_markov"), ("valid", "mgm", "span-10", "nats_minus_markov"),
    ("valid", "ngsp", "", "auroc_minus_probe"), ("valid", "srm", "n1", "auroc_minus_p0"),
    ("valid", "srm", "n2", "auroc_minus_p0"), ("held_out", "srm", "n2", "auroc_minus_p0"),
)  # fmt: skip
OBJECTIVES = (
    ("mgm", "span-1", "nats_minus_markov"), ("mgm", "span-5", "nats_minus_markov"),
    ("mgm", "span-5:unique", "nats_minus_markov"), ("mgm", "span-5:repeat", "nats_minus_markov"),
    ("mgm", "span-10", "nats_minus_markov"),
    ("ngsp", "", "auroc_minus_probe"), ("srm", "n1", "auroc_minus_p0"),
    ("srm", "n2", "auroc_minus_p0"), ("srm", "n1", "auroc_minus_matrix"),
    ("srm", "n2", "auroc_minus_matrix"), ("motif", "", "mse_minus_mean"),
)  # fmt: skip
OVERVIEW = {  # table -> columns: dataset, stratum, metric
    "Promoters": (
        ("epd", "fraction=0.1", "auprc"), ("epd", "all", "auprc"), ("epd-probe", "fraction=0.1", "auprc"),
        ("epd-open", "all", "auprc"), ("epd-legacy", "all", "auprc"),
    ),
    "TF binding": (
        ("chip", "all", "auprc"), ("chip-natural", "all", "auprc"), ("chip", "both;discordant", "auprc"),
        ("chip", "within-locus", "auroc"),
    ),
    "Splice sites, disease, accessibility": (
        ("sites", "all", "auprc"), ("sites-natural", "all", "auprc"), ("sites-natural", "all", "top_k"),
        ("variants-supervised", "all", "auroc"), ("cohort", "all", "auroc"), ("atlas", "all", "auroc"),
    ),
}  # fmt: skip
# SRM's model, also beside another locus' sequence, and probes
MATCHING = ("auroc", "auroc_foreign", "auroc_p0", "auroc_p1", "auroc_matrix")


def read(path: Path) -> list[Row]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def interval(row: Row, value: str, low: str, high: str, sign: str = "") -> str:
    """Return ``0.823 (0.798-0.849)``, without the interval where there is none."""
    if row[value] == "NA":
        return "NA"
    text = f"{float(row[value]):{sign}.3f}"
    if row[low] == "NA":
        return text
    between = ", " if sign else "-"
    return f"{text} ({float(row[low]):{sign}.3f}{between}{float(row[high]):{sign}.3f})"


def show(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table under a title."""
    print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def in_order(rows: list[Row]) -> list[Row]:
    """Return the rows in the order of MODELS, other variants before ``scratch``, the unknown last."""
    rank = {name: float(i) for i, name in enumerate(MODELS)}
    variant, unknown = rank["scratch"] - 0.5, float(len(rank))

    def place(row: Row) -> float:
        name = row["model"]
        return rank.get(name, variant if name.startswith("genebert-") else unknown)

    return sorted(rows, key=place)


def wide(results: Path, task: str, dataset: str) -> None:
    """Print AUROC and AUPRC of every model."""
    rows = in_order([r for r in read(results / f"{task}.tsv") if r["dataset"] == dataset])
    counts = " ".join(f"{key} {rows[0][key]}" for key in ("n_train", "n_test", "n_positive"))
    show(
        f"{task} {dataset}: {counts}", ("model", "AUROC", "AUPRC", ""),
        (
            (
                row["model"],
                *(interval(row, m, f"{m}_low", f"{m}_high") for m in ("auroc", "auprc")),
                ";".join(f for f in row["flags"].split(";") if f not in ("NA", "few_seeds")),
            )
            for row in rows
        ),
    )  # fmt: skip


def few_shot(results: Path, task: str, dataset: str) -> None:
    """Print AUPRC by share of the labels, fine-tuned and as a probe, where there are such."""
    path = results / "tasks" / task / dataset / "metrics.tsv"
    known = {
        (row["dataset"], row["model"], row["stratum"]): row
        for row in (read(path) if path.exists() else ())
        if row["pretrain_seed"] == row["finetune_seed"] == "all" and row["metric"] == "auprc"
    }
    few = {stratum for *_, stratum in known if stratum.startswith(("fraction=", "labels="))}
    labels = [*sorted(few, key=lambda name: (name[0] == "f", float(name.split("=")[1]))), "all"]
    for suffix, title in (("", "fine-tuned"), ("-probe", "frozen, linear probe")):
        rows = [
            (model, *(interval(c, "value", "low", "high") if c else "" for c in cells))
            for model in FEW_MODELS
            if any(cells := [known.get((dataset + suffix, model, stratum)) for stratum in labels])
        ]
        if few and rows:
            head = [name.replace("labels=", "").replace("fraction=", "share ") for name in labels]
            show(f"{task} {dataset}: AUPRC by labels, {title}", ("model", *head), rows)


def overview(results: Path) -> None:
    """Print the figures of OVERVIEW for every model, from the datasets that are finished."""
    rows = [r for path in sorted(results.glob("tasks/*/*/metrics.tsv")) for r in read(path)]
    known = {
        (row["dataset"], row["stratum"], row["metric"], row["model"]): row
        for row in rows
        if row["pretrain_seed"] == row["finetune_seed"] == "all"
    }
    models = [
        row["model"]
        for row in in_order([{"model": name} for name in sorted({key[3] for key in known})])
    ]
    for title, columns in OVERVIEW.items():
        columns = [column for column in columns if any(key[:3] == column for key in known)]
        body = [
            (model, *(interval(row, "value", "low", "high") if row else "" for row in cells))
            for model in models
            if any(cells := [known.get((*column, model)) for column in columns])
        ]
        if body:
            show(
                title,
                ("model", *(" ".join(column).replace(" all ", " ") for column in columns)),
                body,
            )


def zero_shot(rows: list[Row]) -> None:
    """Print the AUROC of every zero-shot score of variants."""
    scores = sorted({r["dataset"].split(":")[1] for r in rows if "zeroshot:" in r["dataset"]})
    of = {(r["model"], r["dataset"].split(":")[-1]): r for r in rows if "zeroshot:" in r["dataset"]}
    models = [row["model"] for row in in_order(rows)]
    show(
        "disease variants, zero-shot: AUROC", ("model", *scores),
        (
            (
                model,
                *(
                    interval(of[model, s], "auroc", "auroc_low", "auroc_high")
                    if (model, s) in of else "" for s in scores
                ),
            )
            for model in dict.fromkeys(models) if any((model, s) in of for s in scores)
        ),
    )  # fmt: skip


def comparisons(results: Path) -> None:
    """Print the five primary comparisons."""
    show(
        "Primary comparisons", ("", "dataset", "stratum", "labels", "rival", "AUPRC", "p", "Holm", "detectable"),
        (
            (
                row["comparison"], row["dataset"], row["stratum"], row["fraction"], row["rival"],
                interval(row, "difference", "low", "high", "+"),
                *(row[k] if row[k] == "NA" else f"{float(row[k]):.3f}" for k in ("p", "p_holm", "detectable")),
            )
            for row in read(results / "comparisons.tsv") if row["kind"] == "primary"
        ),
    )  # fmt: skip


def chosen(results: Path) -> None:
    """Print what validation data choose, and the share of (oracle - gc) it recovers."""
    show(
        "Chosen on validation data",
        ("dataset", "chosen", "test AUROC", "oracle", "gc", "recovered"),
        (
            (
                row["dataset"], row["model"], interval(row, "value", "low", "high"),
                row["oracle"], row["gc"],
                interval(row, "recovered", "recovered_low", "recovered_high"),
            )
            for row in read(results / "chosen.tsv")
        ),
    )  # fmt: skip


def interpretation(results: Path) -> None:
    """Print how well the bases that a model looks at are those of planted sites."""
    rows = read(results / "interpretation.tsv")
    show(
        "Attributions: AUROC of bases in planted sites", ("dataset", "model", "items", "AUROC"),
        (
            (row["dataset"], row["model"], row["items"], interval(row, "auroc", "low", "high"))
            for row in rows
        ),
    )  # fmt: skip


def figures(table: list[Row], *key: str, sign: str = "") -> str:
    """Return a figure of all seeds; key: variant, split, objective, stratum, metric."""
    names = ("variant", "split", "objective", "stratum", "metric")
    found = [row for row in table if tuple(row[name] for name in names) == key]
    return ", ".join(interval(row, "value", "low", "high", sign) for row in found)


def objectives(results: Path) -> None:
    """Print what every objective learned beside its reference, and SRM beside its probes.

    A variant is a column; of many variants, each is a row, and the second table is left out.
    """
    table = read(results / "pretraining.tsv")
    variants = list(dict.fromkeys(row["variant"] for row in table))
    many = len(variants) > MANY
    keys = BRIEF if many else [
        (split, *figure) for figure in OBJECTIVES for split in ("valid", "held_out")
    ]  # fmt: skip
    rows = [
        (f"{objective} {stratum} {metric}, {split}", *cells)
        for split, objective, stratum, metric in keys
        if any(
            cells := [
                figures(table, v, split, objective, stratum, metric, sign="+") for v in variants
            ]
        )
    ]
    lines = [("", *variants), *rows]
    head, *body = zip(*lines, strict=True) if many else lines
    show("What the objectives learned, seed by seed", head, body)
    if many:
        return
    rows = [
        (f"{contrast}, {split}", variant, *cells)
        for contrast in ("n1", "n2") for split in ("valid", "held_out") for variant in variants
        if any(cells := [figures(table, variant, split, "srm", contrast, m) for m in MATCHING])
    ]  # fmt: skip
    show("SRM and its probes, seed by seed", ("", "variant", *MATCHING), rows)


def datasets(results: Path, task: str) -> list[str]:
    """Return the data sets of a task, in the order of its table, without the parts of one."""
    names = dict.fromkeys(row["dataset"] for row in read(results / f"{task}.tsv"))
    return [name for name in names if not name.endswith("-probe") and ":" not in name]


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--pretraining", action="store_true", help="only what objectives learned")
    options = parser.parse_args()
    results = options.run / "results"
    if options.pretraining:
        objectives(results)
        return
    overview(results)
    for task in TASKS:
        if not (results / f"{task}.tsv").exists():
            continue
        for dataset in datasets(results, task):
            wide(results, task, dataset)
            few_shot(results, task, dataset)
        if task == "disease":
            zero_shot(read(results / "disease.tsv"))
    for name, table in (
        ("comparisons", comparisons),
        ("chosen", chosen),
        ("interpretation", interpretation),
        ("pretraining", objectives),
    ):
        if (results / f"{name}.tsv").exists():
            table(results)


if __name__ == "__main__":
    main()
