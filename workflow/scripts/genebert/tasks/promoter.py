"""Promoter classification: windows around transcription start sites against matched windows.

In: promoters (EPDnew BED8, windows with a known TSS offset, or the TSS of a GTF). Out: a binary
dataset of oriented windows. With the TSS at 0, ``window: full`` is -249..+50 (300 bp, TSS at
offset 249) and ``core`` is -34..+35 (70 bp, TSS at offset 34).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from genebert.errors import InputError
from genebert.genome import Genome
from genebert.job import as_list
from genebert.regions import read_blacklist
from genebert.splits import SPLITS, Splits
from genebert.tasks import annotation, negatives
from genebert.tasks.dataset import (
    cap_by_split,
    finish,
    oriented_window,
    overlaps_any,
    read_regions,
    region_branch,
    row_option,
    sequences,
)

log = logging.getLogger("genebert")

WINDOWS = {"full": (249, 50), "core": (34, 35)}  # bases before and after the TSS
NEGATIVES = ("matched", "open", "legacy")
MARGIN = 1000  # bases kept free around every promoter when negatives are drawn
GC_BIN, REPEAT_BIN = 0.02, 0.05
RADIUS = 1  # bins: further away GC alone tells classes apart (standardised difference over 0.1)
TATA = r"(?=TATA[AT]A)"
TATA_FROM, TATA_TO = -40, -20  # where a TATA box may start, with the TSS at 0
CLASSES = ["other", "promoter"]


def build(
    *,
    genome: str,
    regions: str,
    accessibility: str,
    labels: str,
    extra: str | Sequence[str] = (),
    blacklist: str | Sequence[str] = (),
    truth: str | Sequence[str],
    dataset: str,
    description: str,
    leaks: str,
    row: Mapping[str, Any],
    splits: Mapping[str, Any],
    seed: int,
    max_items: int,
    **_: Any,
) -> None:
    """Build a promoter dataset; see :func:`genebert.tasks.build_dataset` for the arguments.

    Negatives of the kinds ``matched`` and ``open`` keep the same distance from the TSS of the
    labels and of ``extra`` (none or one GTF), and touch nothing of ``blacklist`` (none or one BED).
    ``row`` may set ``window`` (full or core), ``negatives`` (matched, open or legacy),
    ``tss_offset`` (kind tss), ``cell_type`` and ``anchor`` (the region branch) and ``block_bp``.

    Raises
    ------
    InputError
        If the labels cannot be read, an option is unknown, or a split lacks a class.
    """
    window = row_option(row, "window", tuple(WINDOWS))
    kind = row_option(row, "negatives", NEGATIVES)
    before, after = WINDOWS[window]
    fasta, plan, region_table = Genome(genome), Splits.from_config(splits), read_regions(regions)
    branch = region_branch(row, accessibility)
    dropped: Counter[str] = Counter()
    table = read_promoters(labels, row)
    n_in = len(table)
    table = annotation.keep_known_contigs(table, fasta.lengths, dropped, file=labels)
    repeated = table.duplicated(["contig", "tss", "strand"])
    dropped["repeated_tss"] = int(repeated.sum())
    table = table[~repeated].reset_index(drop=True)
    tss_check = initiator_profile(table, fasta)
    items = place_windows(table, fasta, plan, (before, after), dropped)
    items = cap_by_split(items, max_items // 2, [seed, 1], dropped)
    reach = MARGIN + max(before, after)
    avoid = Avoid.read(table, as_list(extra), as_list(blacklist), fasta.lengths, reach)
    items, drawn = draw_negatives(kind, items, fasta, plan, avoid, region_table, seed)
    dropped["promoter_without_match"] = int((items["pair"] < 0).sum())
    frame = pd.concat([items[items["pair"] >= 0], drawn], ignore_index=True)
    frame["oracle"] = oracle(frame, as_list(truth), before)
    frame["cell_type"] = branch.get("cell_type", "")
    info = {
        "task": "promoter",
        "dataset": row["name"],
        "kind": "binary",
        "classes": CLASSES,
        **branch,
        "strand_specific": True,
        "block_bp": int(row["block_bp"]),
        "n_in": n_in,
        "negatives": kind,
        "window": {"name": window, "length": before + 1 + after, "tss_offset": before},
        "tss_check": tss_check,
        "imbalance": _balance(frame) if kind != "legacy" else {},
        "avoided": dict(avoid.counts),
        "captions": {
            "items": f"windows of {before + 1 + after} bp along the strand of transcription,"
            f" TSS at offset {before} (0-based)",
            "negatives": _CAPTIONS[kind],
            "strata": "tata: TATAWA starts at -40..-20 of the TSS; a negative has the stratum of"
            " the promoter that it is matched to",
        },
    }
    finish(
        frame.drop(columns=["tss", "pair", "gc", "repeat"]),
        info,
        regions=region_table,
        genome=fasta,
        dropped=dropped,
        file=labels,
        outputs=(dataset, description, leaks),
    )


_CAPTIONS = {
    "matched": "genomic windows of the same split, GC- and repeat-matched one to one, without N,"
    " at least 1 kb from every promoter and TSS of the gene annotation, off the blacklist",
    "open": "windows around open regions of training cell types, same split, GC- and"
    " repeat-matched one to one, at least 1 kb from every promoter and TSS of the gene annotation,"
    " off the blacklist",
    "legacy": "the promoter itself with 12 of 20 pieces replaced by random bases (DeePromoter);"
    " separable by composition, for comparison with older tables only",
}


class Avoid:
    """The intervals that no negative may touch, and how many candidates were left out for them.

    Attributes
    ----------
    intervals : reason -> contig, start, end.
    counts : reason -> candidates; one that touches several counts for the first.
    """

    def __init__(self, intervals: Mapping[str, pd.DataFrame]) -> None:
        self.intervals = intervals
        self.counts: Counter[str] = Counter()

    @classmethod
    def read(
        cls,
        promoters: pd.DataFrame,
        gtf: Sequence[str],
        blacklist: Sequence[str],
        lengths: Mapping[str, int],
        reach: int,
    ) -> Avoid:
        """Return all within ``reach`` bases of a promoter's or a GTF's TSS, and the blacklist.

        Raises
        ------
        InputError
            If a file cannot be read, or none of its contigs is in the genome.
        """
        intervals = {"near_a_promoter": around(promoters, reach)}
        for path in gtf:
            sites = annotation.transcripts(annotation.read_exons(path))
            sites = annotation.keep_known_contigs(sites, lengths, Counter(), file=path)
            intervals["near_an_annotated_tss"] = around(sites, reach)
        for path in blacklist:
            listed, _ = read_blacklist(path, lengths)
            rows = [(contig, *span) for contig, spans in listed.items() for span in spans]
            intervals["blacklist"] = pd.DataFrame(rows, columns=["contig", "start", "end"])
        return cls(intervals)

    def clear(self, candidates: pd.DataFrame) -> pd.DataFrame:
        """Return the candidates that touch nothing; count the others."""
        for reason, intervals in self.intervals.items():
            touches = overlaps_any(candidates, intervals)
            self.counts[reason] += int(touches.sum())
            candidates = candidates[~touches]
        return candidates.reset_index(drop=True)


def around(sites: pd.DataFrame, reach: int) -> pd.DataFrame:
    """Return contig, start, end of all within ``reach`` bases of each TSS."""
    start, end = sites["tss"] - reach, sites["tss"] + 1 + reach
    return pd.DataFrame({"contig": sites["contig"], "start": start, "end": end})


def read_promoters(path: str, row: Mapping[str, Any]) -> pd.DataFrame:
    """Read the promoters of a row: contig, start, end, name, tss (0-based), strand.

    Raises
    ------
    InputError
        If the file is not of the row's kind or holds nothing.
    """
    if row["kind"] == "epdnew":
        table = annotation.read_epdnew(path)
    elif row["kind"] == "tss":
        if row.get("tss_offset") is None:
            raise InputError(
                "tss_offset is missing",
                file=f"config datasets, {row['name']}",
                expected="bases from the 5' end of a window to its TSS",
            )
        table = annotation.read_tss_windows(path, int(row["tss_offset"]))
    else:
        table = annotation.transcripts(annotation.read_exons(path))
    if table.empty:
        raise InputError("has no promoter", file=path)
    return table


def place_windows(
    table: pd.DataFrame,
    genome: Genome,
    splits: Splits,
    window: tuple[int, int],
    dropped: Counter[str],
) -> pd.DataFrame:
    """Return the positive items: windows around the TSS inside the contig and inside one split."""
    spans = [
        oriented_window(int(tss), strand, *window)
        for tss, strand in zip(table["tss"], table["strand"], strict=True)
    ]
    items = table[["contig", "tss", "strand"]].copy()
    items[["start", "end"]] = np.array(spans, dtype=np.int64).reshape(-1, 2)
    items = negatives.usable_windows(items, genome, splits, dropped)
    items["sequence"] = sequences(items, genome)
    items["label"] = 1.0
    items["stratum"] = np.where(has_tata(items["sequence"], window[0]), "tata", "non-tata")
    items["item"] = [
        f"{contig}:{tss}:{strand}"
        for contig, tss, strand in zip(items["contig"], items["tss"], items["strand"], strict=True)
    ]
    return items


def has_tata(oriented: pd.Series, tss_offset: int) -> np.ndarray:
    """Return bool[N]: TATAWA starts between -40 and -20 of the TSS (as far as the window goes)."""
    start = max(0, tss_offset + TATA_FROM)
    part = oriented.str.slice(start, tss_offset + TATA_TO + len("TATAWA"))
    return part.str.contains(TATA, regex=True).to_numpy(dtype=bool)


def initiator_profile(table: pd.DataFrame, genome: Genome, *, reach: int = 30) -> dict[str, Any]:
    """Test the TSS convention: the share of pyrimidine-purine steps at and around the TSS.

    Most TSS of capped RNA are a purine after a pyrimidine (Carninci et al. 2006,
    doi:10.1038/ng1789), so the share at offset 0 (bases -1 and 0) stands out from its neighbours
    if, and only if, the positions are read as they were meant.

    Returns
    -------
    n, share_at_tss, share_around (mean at 5 to ``reach`` bases), best_offset, and ``ok``: false
    where 50 or more TSS do not stand out by 0.1.
    """
    rows = []
    for contig, tss, strand in zip(table["contig"], table["tss"], table["strand"], strict=True):
        start, end = oriented_window(int(tss), strand, reach + 1, reach)
        if start >= 0 and end <= genome.lengths[contig]:
            rows.append((contig, start, end, strand))
    if not rows:
        return {"n": 0, "ok": True}
    windows = pd.DataFrame(rows, columns=["contig", "start", "end", "strand"])
    return initiator_shares(sequences(windows, genome), reach + 1)


def initiator_shares(windows: Sequence[str], tss: int) -> dict[str, Any]:
    """Return the report of :func:`initiator_profile` of oriented windows of one length.

    Parameters
    ----------
    tss : offset of the TSS in the windows.
    """
    if not windows or tss < 1:
        return {"n": 0, "ok": True}
    letters = np.array([list(text) for text in windows])
    step = np.isin(letters[:, :-1], ["C", "T"]) & np.isin(letters[:, 1:], ["A", "G"])
    share = step.mean(axis=0)  # of the steps into the bases 1, 2, ... of the window
    offsets = np.arange(1, letters.shape[1]) - tss
    around = float(share[np.abs(offsets) >= 5].mean())
    at = float(share[tss - 1])
    ok = len(windows) < 50 or at >= around + 0.1
    if not ok:
        log.warning(
            "the TSS do not look like TSS: pyrimidine-purine at %.0f %%, %.0f %% around them; "
            "is the TSS offset or the build right?",
            100 * at,
            100 * around,
        )
    return {
        "n": len(windows),
        "share_at_tss": round(at, 4),
        "share_around": round(around, 4),
        "best_offset": int(offsets[share.argmax()]),
        "ok": bool(ok),
    }


def draw_negatives(
    kind: str,
    items: pd.DataFrame,
    genome: Genome,
    splits: Splits,
    avoid: Avoid,
    regions: pd.DataFrame,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the positives with a column ``pair`` (-1: no match), and one negative for each pair.

    A negative has the split and the stratum of its positive.
    """
    if kind == "legacy":
        rng = np.random.default_rng([seed, 2])
        items = items.assign(pair=np.arange(len(items)))
        drawn = items.assign(label=0.0, item=items["item"] + ":substituted")
        drawn["sequence"] = [negatives.substitute(text, rng) for text in items["sequence"]]
        return items, drawn
    length = int((items["end"] - items["start"]).max()) if len(items) else 1
    pair = np.full(len(items), -1)
    parts = []
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng([seed, 3, number])
        rows = np.flatnonzero(items["split"] == split)
        if kind == "matched":
            pool = negatives.genomic_windows(genome, splits, split, length, rng)
        else:
            pool = open_windows(genome, regions, split, length, rng)
        pool = avoid.clear(pool)
        own, others = (part[["gc", "repeat"]].to_numpy(float) for part in (items.iloc[rows], pool))
        chosen = negatives.match(own, others, (GC_BIN, REPEAT_BIN), rng, max_radius=RADIUS)
        rows, chosen = rows[chosen >= 0], chosen[chosen >= 0]
        pair[rows] = rows
        stratum = items["stratum"].to_numpy()[rows]
        drawn = pool.iloc[chosen].assign(split=split, stratum=stratum, pair=rows)
        parts.append(drawn)
    drawn = pd.concat(parts, ignore_index=True).assign(label=0.0, tss=-1)
    drawn["sequence"] = sequences(drawn, genome)
    fields = (drawn[name] for name in ("contig", "start", "end", "strand"))
    drawn["item"] = [
        f"{c}:{start}-{end}:{strand}" for c, start, end, strand in zip(*fields, strict=True)
    ]
    return items.assign(pair=pair), drawn


def open_windows(
    genome: Genome,
    regions: pd.DataFrame,
    split: str,
    length: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return windows without N around the centres of the split's regions."""
    part = regions[(regions["split"] == split) & (regions["held_out_only"] == 0)]
    start = (part["start"] + part["end"]) // 2 - length // 2
    frame = pd.DataFrame({"contig": part["contig"], "start": start, "end": start + length})
    inside = (frame["start"] >= 0) & (frame["end"] <= frame["contig"].map(genome.lengths))
    frame = frame[inside].reset_index(drop=True)
    frame["strand"] = rng.choice(["+", "-"], len(frame))
    frame = frame.join(negatives.composition(genome, frame))
    return frame[frame["n"] == 0].drop(columns="n").reset_index(drop=True)


def oracle(frame: pd.DataFrame, truth: Sequence[str], before: int) -> np.ndarray:
    """Return the generator's probability that each window is a promoter; NaN without a truth file.

    A window has the probability of the candidate TSS at exactly its TSS offset and strand, else
    that of what is not listed, as a substituted window has.
    """
    if not truth:
        return np.full(len(frame), np.nan)
    table = annotation.read_truth(truth[0], ["contig", "position", "strand", "probability"])
    known = dict(
        zip(
            zip(table["contig"], table["position"], table["strand"], strict=True),
            table["probability"],
            strict=True,
        )
    )
    forward = frame["strand"] == "+"
    tss = np.where(forward, frame["start"] + before, frame["end"] - 1 - before)
    keys = zip(frame["contig"], tss.tolist(), frame["strand"], strict=True)
    unlisted = annotation.unlisted_probability(table)
    out = np.array([known.get(key, unlisted) for key in keys])
    out[frame["item"].str.endswith(":substituted").to_numpy(dtype=bool)] = unlisted
    return out


def _balance(frame: pd.DataFrame) -> dict[str, float]:
    """Return the standardised difference of gc and repeat between the classes, per split."""
    pairs = {}
    for split in SPLITS:
        part = frame[frame["split"] == split]
        pairs[split] = (part[part["label"] == 1], part[part["label"] == 0])
    return negatives.matched_report(pairs)
