"""Pages about the data of a run: the data card, and the leakage checks of all datasets.

In: tables and descriptions that the stages of the data wrote. Out: two self-contained HTML pages.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from genebert import html
from genebert.errors import InputError, reading
from genebert.splits import SPLITS, Splits

VERSION = 5

Fields = dict[str, str]
DISCORDANT = 0.3  # share of discordant loci from which a TF can show what context is worth
BALANCED = 0.6  # AUROC of GC content alone from which negatives count as not matched
_CHECKS = {  # row of leaks.tsv (before a colon): what it says
    "exact_duplicate": "test items with the sequence of a train or valid item",
    "reverse_complement_duplicate": "the same, reverse complement",
    "31mer_containment_above_0.5": "test items with over half of their 31-mers in train or valid",
    "any_copy": "test items that are a copy in one of these ways",
    "remaining_duplicate": "copies left after removal; the job fails unless 0",
    "valid_duplicate_of_train": "valid items with the sequence of a train item (kept)",
    "valid_reverse_complement_of_train": "the same, reverse complement (kept)",
    "valid_contained_in_train": "valid items with over half of their 31-mers in train (kept)",
    "gc_positive": "mean GC content of positives (found: items)",
    "gc_negative": "mean GC content of negatives (found: items)",
    "length_positive": "mean length of positives (found: items)",
    "length_negative": "mean length of negatives (found: items)",
    "gc_auroc": "AUROC of GC content alone (found: items)",
    "copy_on_another_contig": "variants whose window stands on another contig too",
    "copy_in_another_fold": "variants whose window stands in another fold too (kept)",
    "transductive": "items whose locus pre-training has read, never a label (kept)",
    "people_related": "people who are copies or close relatives of others (kept, together in one "
    "fold); folds are of people, so copies, composition and similarity of sequences do not apply",
}


ALL_CELLS = "*"  # rows of ``qc.tsv`` for all cell types together
REGION_COUNTS = {  # of these rows, by split
    "regions": "regions",
    "held_out_only": "of held-out cell types only",
    "mean_gc_percent": "mean GC, %",
}


def data_pages(
    *,
    provenance: str,
    contigs: str,
    qc: str,
    cell_types: str,
    motif_set: str,
    descriptions: Sequence[str],
    leaks: Sequence[str],
    data_card: str,
    leakage: str,
    genome: Mapping[str, Any],
    splits: Mapping[str, Any],
    motifs: Mapping[str, Any],
    caption: str,
) -> None:
    """Write the data card and the page of the leakage checks.

    Parameters
    ----------
    provenance : input, ``provenance.json``.
    contigs, qc, cell_types : inputs, tables of the stages reference and regions and of the QC.
    motif_set : input, the motifs as they are scanned.
    descriptions, leaks : inputs, ``dataset.json`` and ``leaks.tsv`` of every dataset, in one order.
    data_card, leakage : outputs.
    genome, splits, motifs : these blocks of the configuration.
    caption : above both pages.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    described = [_read_json(path) for path in descriptions]
    card = [
        html.paragraph(caption),
        *_what_it_is(_read_json(provenance), genome),
        *_splits(_read_tsv(contigs), _read_tsv(cell_types), splits),
        *_peaks(_read_tsv(qc), _read_tsv(cell_types)),
        *_motifs(_read_json(motif_set), motifs),
        *_datasets(described),
        *_files(_read_json(provenance), genome),
    ]
    Path(data_card).write_text(html.document("Data card", *card), encoding="utf-8")
    checks = [_read_tsv(path) for path in leaks]
    page = [html.paragraph(caption), *_leaks(described, checks)]
    Path(leakage).write_text(html.document("Leakage checks", *page), encoding="utf-8")


def _read_json(path: str) -> dict[str, Any]:
    with reading(path, "cannot be read"):
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise InputError("not a JSON object", file=path)
    return found


def _read_tsv(path: str) -> list[Fields]:
    with (
        reading(path, "cannot be read as a table"),
        Path(path).open(newline="", encoding="utf-8") as handle,
    ):
        return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))


def _listed(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names)) or "none"


def _what_it_is(record: Mapping[str, Any], genome: Mapping[str, Any]) -> list[str]:
    code = record["genebert"]
    changed = {True: ", with changes", False: "", None: ""}[code["modified"]]
    simulated = genome["source"] == "simulated"
    packages = record["packages"].items()
    return [
        html.section("What this run is"),
        html.facts(
            {
                "genome": f"{genome['name']} ({'simulated' if simulated else 'files'})",
                "genebert": f"{code['version']}, commit {code['commit'] or 'unknown'}{changed}",
                "configuration": f"hash {record['config_hash']}",
                "Python": record["python"],
                "packages": ", ".join(f"{name} {version}" for name, version in packages),
            }
        ),
    ]


def _splits(
    contigs: Sequence[Fields], cells: Sequence[Fields], splits: Mapping[str, Any]
) -> list[str]:
    lengths = {row["contig"]: int(row["length"]) for row in contigs}
    plan = Splits.from_config(splits)
    rows = []
    for name in SPLITS:
        bases = sum(i.end - i.start for i in plan.clipped(name, lengths))
        rows.append([name, _listed(splits[name]), str(bases)])
    held = [row for row in cells if row["held_out"] == "1"]
    near = [[row["cell_type"], row["nearest"], row["jaccard"], row["n_open"]] for row in held]
    columns = ["held-out cell type", "nearest training cell type", "Jaccard index", "open regions"]
    return [
        html.section("Splits"),
        html.paragraph(
            "Everything that is fitted sees training contigs alone: pre-training, the motif "
            "background, normalisers, negatives, fine-tuning. A held-out cell type with a near "
            "twin in training is no test of a new cell type."
        ),
        html.table(["split", "contigs or intervals", "bases"], rows),
        html.table(columns, near) if near else html.paragraph("No cell type is held out."),
    ]


def _peaks(qc: Sequence[Fields], cells: Sequence[Fields]) -> list[str]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in qc:
        counts[row["cell_type"]][row["reason"]] = int(row["count"])
    together = counts.pop(ALL_CELLS, {})
    cut = together.get("blacklist_beyond_contig", 0)
    reasons = list(dict.fromkeys(name for own in counts.values() for name in own))
    reasons = [name for name in reasons if _is_count(name)]
    shown = [name for name in reasons if any(own.get(name) for own in counts.values())]
    silent = [name for name in reasons if name not in shown]
    opened = {row["cell_type"]: row["n_open"] for row in cells}
    rows = [
        [name, *(str(own.get(reason, 0)) for reason in shown), opened.get(name, "NA")]
        for name, own in counts.items()
        if any(own.get(reason) for reason in shown)
    ]
    return [
        html.section("Peaks: what came in, what was dropped"),
        html.paragraph(
            "Numbers of peaks per cell type: read, dropped by reason, kept, and the regions of the "
            "consensus set that are open in it. Look for cell types that lose far more than others."
            + (f" Nothing was dropped for: {_listed(silent)}." if silent else "")
            + (f" Intervals of the blacklist that end beyond their contig: {cut}." if cut else "")
        ),
        html.table(["cell type", *shown, "regions open"], rows),
        *_regions(together),
    ]


def _regions(counts: Mapping[str, int]) -> list[str]:
    """Show the consensus set by split, from the rows of ``qc.tsv`` for all cell types together."""
    rows = [
        [split, *(str(counts.get(f"{name}_{split}", "NA")) for name in REGION_COUNTS)]
        for split in SPLITS
        if f"regions_{split}" in counts
    ]
    return [html.table(["split", *REGION_COUNTS.values()], rows)] if rows else []


def _is_count(reason: str) -> bool:
    """Tell whether a row of ``qc.tsv`` counts peaks of a cell type."""
    return not reason.startswith(("open_regions", "median_", "peak_width_", "score_"))


def _motifs(found: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    motifs = found["motifs"]
    kept = sum(bool(motif["kept"]) for motif in motifs)
    sources = _listed([row["path"] for row in settings["sources"]])
    return [
        html.section("Motifs"),
        html.facts(
            {
                "sources": sources,
                "motifs scanned": str(kept),
                "left out": f"{len(motifs) - kept} that cannot reach the p-value",
                "p-value": f"{settings['p_value']:g}",
            }
        ),
    ]


def _datasets(described: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = ["task", "dataset", "negatives", "train", "valid", "test", "left out"]
    rows = []
    notes: dict[str, str] = {}
    for one in described:
        counts = one.get("counts") or {}
        splits = [
            ", ".join(f"{n} {name}" for name, n in (counts.get(split) or {}).items()) or "NA"
            for split in ("train", "valid", "test")
        ]
        unknown = one.get("phenotypes_of_unknown_people")
        left_out = {**(one.get("dropped") or {}), "people without genotypes": unknown}
        dropped = [f"{count} {name}" for name, count in left_out.items() if count]
        name = f"{one['task']}/{one['dataset']}"
        rows.append(
            [one["task"], one["dataset"], str(one.get("negatives") or "NA"), *splits,
             _listed(dropped)]
        )  # fmt: skip
        texts = [f"{key}: {text}" for key, text in (one.get("captions") or {}).items()]
        calls = [f"{count} {kind}" for kind, count in (one.get("calls") or {}).items()]
        texts += [f"genotypes: {_listed(calls)}"] if calls else []
        notes[name] = "; ".join(texts)
    return [
        html.section("Datasets"),
        html.table(columns, rows),
        html.facts({name: text for name, text in notes.items() if text}),
        *_discordant(described),
    ]


def _discordant(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """Show how often the binding of a TF differs between cell types, from sets that tell."""
    rows = [
        [one["dataset"], tf, str(found["loci"]),
         "NA" if found["share"] is None else _percent(str(found["share"]))]
        for one in described
        for tf, found in sorted((one.get("discordant_loci") or {}).items())
    ]  # fmt: skip
    if not rows:
        return []
    return [
        html.paragraph(
            "How far the binding of a TF depends on the cell type: of the regions that are open in "
            "two or more cell types of the assays and bound in at least one, the share that is "
            f"bound in some only. TFs from {DISCORDANT:.0%} on can show what the context of a cell "
            "type is worth; the others are controls."
        ),
        html.table(["dataset", "TF", "regions", "discordant"], rows),
    ]


def _files(record: Mapping[str, Any], genome: Mapping[str, Any]) -> list[str]:
    columns = ["name", "version", "bytes", "licence", "sha256", "checked against", "source"]
    keys = ("name", "version", "bytes", "licence", "sha256", "checked_against", "source")
    loads = [[str(one[key] or "NA") for key in keys] for one in record["downloads"]]
    local = [
        [str(one[key]) for key in ("path", "bytes", "sha256")] for one in record["local_files"]
    ]
    none = "No file was downloaded."
    if genome["source"] == "simulated" and not local:
        none = (
            "Nothing came from outside: genome, peaks and labels are simulated; the parameters are "
            "in results/simulated/truth/parameters.json."
        )
    return [
        html.section("Files: origin, licence, checksum"),
        html.table(columns, loads) if loads else html.paragraph(none),
        html.table(["your file", "bytes", "sha256"], local) if local else "",
    ]


def _leaks(described: Sequence[Mapping[str, Any]], checks: Sequence[Sequence[Fields]]) -> list[str]:
    columns = [
        "task", "dataset", "verdict", "copies found", "removed", "share", "remaining",
        "GC positives", "GC negatives", "AUROC of GC alone",
    ]  # fmt: skip
    rows, every = [], []
    for one, table in zip(described, checks, strict=True):
        name = [one["task"], one["dataset"]]
        rows.append([*name, *_leak_row({row["check"]: row for row in table})])
        every += [
            [*name, row["check"], row["found"], row["removed"], _rounded(row["share"]),
             _CHECKS.get(row["check"].split(":")[0], "NA")]
            for row in table
        ]  # fmt: skip
    marks = {row[2]: "fine" if row[2] == CLEAN else "wrong" for row in rows}
    notes = {
        f"{one['task']}/{one['dataset']}": str((one.get("captions") or {}).get("leaks", ""))
        for one in described
    }
    return [
        html.section("Every dataset"),
        html.paragraph(
            "Copies of test items in training or validation: exact, reverse complement, or with "
            "more than half of the 31-mers in common. They are removed; nothing may remain, and "
            "the job fails if more than 20 % of a test set had to go. Where GC content alone tells "
            "positives from negatives, the model gc shows what that is worth. Numbers are of the "
            "test split."
        ),
        html.table(columns, rows, marks=marks),
        html.facts({name: text for name, text in notes.items() if text}),
        html.section("Every check"),
        html.table(
            ["task", "dataset", "check", "found", "removed", "share or value", "what it is"], every
        ),
    ]


def _leak_row(found: Mapping[str, Fields]) -> list[str]:
    """Return the cells of a dataset, from its verdict on; NA where a check was not made."""

    def value(key: str, *names: str) -> str:
        return next((found[name][key] for name in names if name in found), "NA")

    return [
        verdict(found), value("found", *COPIES), value("removed", *COPIES),
        _percent(value("share", *COPIES)), value("found", "remaining_duplicate"),
        *(_rounded(value("share", f"gc_{side}:test", f"gc_{side}"))
          for side in ("positive", "negative", "auroc")),
    ]  # fmt: skip


CLEAN = "no copy"
# checks that count copies; the first that a dataset has stands in its row
COPIES = ("any_copy", "copy_in_another_fold", "copy_on_another_contig", "people_related")


def verdict(found: Mapping[str, Fields]) -> str:
    """Return what a reader must know of the checks of a dataset, in a few words.

    Parameters
    ----------
    found : rows of ``leaks.tsv`` by check.
    """
    notes = []
    looked = [found[name] for name in COPIES if name in found]
    if not looked:
        notes.append("copies not looked for")
    if any(int(row["removed"]) for row in looked):
        notes.append("copies removed")
    if any(int(row["found"]) > int(row["removed"]) for row in looked):
        notes.append("relatives in one fold" if "people_related" in found else "copies left in")
    if "remaining_duplicate" in found and int(found["remaining_duplicate"]["found"]):
        notes.append("duplicates remain")
    composition = found.get("gc_auroc:test") or found.get("gc_auroc") or {}
    area = composition.get("share", "NA")
    if area not in ("NA", "") and max(float(area), 1 - float(area)) > BALANCED:
        notes.append("GC differs")
    return "; ".join(notes) or CLEAN


def _rounded(text: str) -> str:
    return text if text in ("NA", "") else f"{float(text):.3g}" if "." in text else text


def _percent(text: str) -> str:
    return text if text in ("NA", "") else f"{text}\t{float(text):.1%}"
