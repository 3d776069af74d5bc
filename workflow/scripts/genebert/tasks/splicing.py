"""Splice sites: donor, acceptor or none, at the centre of 400 bases along the strand of the gene.

In: a GTF. Out: a dataset of the classes none, donor, acceptor. The exon-intron border lies in the
middle of every window, between offsets 199 and 200 (0-based): a donor has the first base of its
intron at offset 200 (``GT`` at 200-201), an acceptor has the last base of its intron at offset 199
(``AG`` at 198-199). Positions are those bases, as in the truth table. Decoys sit at sense-strand
``GT`` and ``AG`` of gene bodies in the same way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert.errors import InputError
from genebert.genome import Genome, N, decode, reverse_complement
from genebert.job import as_list
from genebert.progress import progress
from genebert.splits import SPLITS, Splits
from genebert.tasks import annotation, negatives
from genebert.tasks.dataset import (
    SHARES,
    fair_quota,
    finish,
    oriented_window,
    overlaps_any,
    read_regions,
    region_branch,
    row_option,
    sequences,
    split_of,
)
from genebert.tasks.leaks import related

log = logging.getLogger("genebert")

CLASSES = ["none", "donor", "acceptor"]
LENGTH = 400
BEFORE = {"donor": LENGTH // 2, "acceptor": LENGTH // 2 - 1}  # bases 5' of the position
MOTIF = {"donor": "GT", "acceptor": "AG"}
NEGATIVES = ("matched", "natural")
# Of a natural set most items are for testing: one GT or AG in a hundred is a site, and a metric has
# an interval from 50 sites of a class on.
NATURAL_SHARES = {"train": 0.2, "valid": 0.1, "test": 0.7}
APART = 5  # items of different class are further apart than this
MIN_INTRON = 20
WARN_CANONICAL, FAIL_CANONICAL = 0.8, 0.3
GC_BIN = 0.02
POOL = 30  # candidates looked at per decoy
KEYS = ["contig", "position", "strand", "class"]

_CAPTIONS = {
    "matched": "none = half GT, half AG decoys on the sense strand of gene bodies of the same"
    " split, GC-matched to the sites, 1 : 1 : 2, no site of any transcript, over 5 nt from one",
    "natural": "test: every sense-strand GT and AG of whole genes (sites without GT or AG, and"
    " sites whose window cannot be read, are counted as missed: in top-k and AUPRC as never"
    " found); AUROC and AUPRC are means of donors and acceptors; train and valid 1 : 1 : 2 with"
    " decoys as they come",
}


def build(
    *,
    genome: str,
    regions: str,
    accessibility: str,
    labels: str,
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
    """Build a splice-site dataset; see :func:`genebert.tasks.build_dataset` for the arguments.

    ``row`` may set ``negatives``: ``matched`` (1 : 1 : 2, decoys GC-matched to the sites) or
    ``natural`` (decoys of train and valid as they come, test is every sense-strand GT and AG of
    whole genes), ``cell_type`` and ``anchor`` (the region branch) and ``block_bp``.

    Raises
    ------
    InputError
        If the GTF cannot be read, has no intron, or does not fit the genome.
    """
    kind = row_option(row, "negatives", NEGATIVES)
    fasta, plan, region_table = Genome(genome), Splits.from_config(splits), read_regions(regions)
    branch = region_branch(row, accessibility)
    dropped: Counter[str] = Counter()
    exons = annotation.read_exons(labels)
    exons = annotation.keep_known_contigs(exons, fasta.lengths, dropped, file=labels)
    annotated = splice_sites(exons, fasta, dropped, file=labels)
    canonical = check_canonical(annotated, file=labels)
    sites, related_genes = drop_related(
        place(annotated, fasta, plan, dropped), exons, fasta, dropped
    )
    bodies = gene_bodies(exons)
    compared = bodies[gene_keys(bodies).isin(set(gene_keys(sites)))]  # with the training genes
    removed = bodies[gene_keys(bodies).isin(related_genes)]
    close = near(sites, annotated, other_class=True)
    dropped["within_5_nt_of_other_class"] = int(close.sum())
    sites = sites[~close].reset_index(drop=True)
    extra: dict[str, Any] = {}
    parts = []
    shares: Mapping[str, float] = SHARES
    if kind == "natural":
        shares = NATURAL_SHARES
        scan, extra = scan_genes(sites, annotated, bodies, fasta, plan, max_items, seed)
        parts.append(scan)
        dropped["annotated_sites_not_scanned"] = sum(extra["missed_unscanned"].values())
        sites = sites[sites["split"] != "test"]
        max_items = round((1 - shares["test"]) * max_items)
    sites = balance(sites, max_items, shares, seed, dropped)
    parts.append(sites)
    for number, split in enumerate(SPLITS):
        part = sites[sites["split"] == split]
        if len(part):
            rng = np.random.default_rng([seed, 11, number])
            genes = (bodies, removed[:0]) if split == "train" else (compared, removed)
            decoys = draw_decoys(part, annotated, *genes, fasta, plan, rng, kind == "matched")
            dropped["sites_without_decoy"] += len(part) - len(decoys)
            parts.append(decoys)
    frame = pd.concat(parts, ignore_index=True)
    frame["label"] = frame["class"].map({name: float(k) for k, name in enumerate(CLASSES)})
    frame["sequence"] = sequences(frame, fasta)
    fields = (frame[name] for name in ("contig", "position", "strand", "placed"))
    frame["item"] = [":".join(map(str, values)) for values in zip(*fields, strict=True)]
    frame[[f"oracle_{k}" for k in range(len(CLASSES))]] = oracle(frame, as_list(truth))
    frame["cell_type"] = branch.get("cell_type", "")
    info = {
        "task": "splicing",
        "dataset": row["name"],
        "kind": "multiclass",
        "classes": CLASSES,
        **branch,
        "strand_specific": True,
        "block_bp": int(row["block_bp"]),
        "n_in": len(annotated),
        "negatives": kind,
        "canonical": canonical,
        "window": {
            "length": LENGTH,
            "donor_offset": BEFORE["donor"],
            "acceptor_offset": BEFORE["acceptor"],
        },
        "captions": {
            "items": "400 bases along the gene's strand; donor: first intron base at offset 200;"
            " acceptor: last intron base at offset 199 (0-based)",
            "negatives": _CAPTIONS[kind],
            "genes": "valid and test genes whose exons (repeats left out) have over 80 % identity"
            " to those of a training gene are removed; decoys there lie in the other genes with"
            " splice sites",
        },
        **extra,
    }
    finish(
        frame.drop(columns=["position", "class", "placed", "gene", "motif", "gc"]),
        info,
        regions=region_table,
        genome=fasta,
        dropped=dropped,
        file=labels,
        outputs=(dataset, description, leaks),
    )


def splice_sites(
    exons: pd.DataFrame, genome: Genome, dropped: Counter[str], *, file: str
) -> pd.DataFrame:
    """Return the unique splice sites of all transcripts.

    Returns
    -------
    contig, position, strand, class (donor or acceptor), gene, motif (the two intron bases), sorted.

    Raises
    ------
    InputError
        If there is no intron.
    """
    introns = annotation.introns(exons)
    short = introns["end"] - introns["start"] < MIN_INTRON
    dropped["intron_below_20_nt"] = int(short.sum())
    introns = introns[~short]
    if introns.empty:
        raise InputError("has no intron", file=file, expected="transcripts with several exons")
    forward = introns["strand"] == "+"
    first = introns["start"].where(forward, introns["end"] - 1)
    last = (introns["end"] - 1).where(forward, introns["start"])
    sites = pd.concat(
        [
            introns.assign(**{"position": first, "class": "donor"}),
            introns.assign(**{"position": last, "class": "acceptor"}),
        ]
    )
    sites = sites.sort_values([*KEYS, "gene"]).drop_duplicates(KEYS)
    sites = sites[[*KEYS, "gene"]].reset_index(drop=True)
    sites["motif"] = [
        _motif(genome, *values)
        for values in progress(
            sites[KEYS].itertuples(index=False, name=None), "reading sites", "sites", len(sites)
        )
    ]
    return sites


def _motif(genome: Genome, contig: str, position: int, strand: str, kind: str) -> str:
    """Return the two bases of the intron at a site: its first two (donor) or last two."""
    before, after = (0, 1) if kind == "donor" else (1, 0)
    codes = genome.window(contig, *oriented_window(position, strand, before, after))
    return decode(reverse_complement(codes) if strand == "-" else codes)


def check_canonical(sites: pd.DataFrame, *, file: str) -> dict[str, Any]:
    """Count the dinucleotides of the sites; a share of GT and AG near chance is another build.

    Raises
    ------
    InputError
        If below 30 % of 20 or more sites have GT or AG.
    """
    share = float((sites["motif"] == sites["class"].map(MOTIF)).mean())
    if share < FAIL_CANONICAL and len(sites) >= 20:
        raise InputError(
            "splice sites do not stand at GT and AG: another build of the genome?",
            file=file,
            found=f"{share:.0%} of {len(sites)} sites",
            expected="over 95 % in most genomes",
        )
    if share < WARN_CANONICAL:
        log.warning("%s: only %.0f %% of the splice sites have GT or AG", file, 100 * share)
    counts = sites.groupby(["class", "motif"]).size()
    return {
        "share": round(share, 4),
        **{
            name: {str(k): int(v) for k, v in counts.get(name, pd.Series(dtype=int)).items()}
            for name in MOTIF
        },
    }


def place(
    sites: pd.DataFrame, genome: Genome, splits: Splits, dropped: Counter[str] | None = None
) -> pd.DataFrame:
    """Add window, split, composition and the column ``placed`` (the motif that the window centres).

    Windows that leave the contig or every split, or have unknown bases, are dropped and counted.
    """
    dropped = Counter() if dropped is None else dropped
    sites = sites.copy()
    if "placed" not in sites:
        sites["placed"] = sites["class"]
    offset = sites["placed"].map(BEFORE)
    forward = sites["strand"] == "+"
    sites["start"] = sites["position"] - offset.where(forward, LENGTH - 1 - offset)
    sites["end"] = sites["start"] + LENGTH
    sites = negatives.usable_windows(sites, genome, splits, dropped).drop(columns="repeat")
    canonical = sites["motif"] == sites["placed"].map(MOTIF)
    return sites.assign(stratum=np.where(canonical, "canonical", "noncanonical"))


def gene_sequences(exons: pd.DataFrame, genome: Genome) -> dict[tuple[str, str, str], str]:
    """Return {(contig, gene, strand): the union of its exons, spliced}; repeats are N."""
    out = {}
    genes = exons.groupby(["contig", "gene", "strand"], sort=True)
    for (contig, gene, strand), part in progress(genes, "reading genes", "genes"):
        pieces, reach = [], 0
        for start, end in part[["start", "end"]].sort_values(["start", "end"]).to_numpy().tolist():
            if end > reach:
                codes = genome.codes(contig, max(start, reach), end)
                pieces.append(np.where(genome.repeats(contig, max(start, reach), end), N, codes))
                reach = end
        codes = np.concatenate(pieces)
        out[contig, gene, strand] = decode(reverse_complement(codes) if strand == "-" else codes)
    return out


def drop_related(
    sites: pd.DataFrame, exons: pd.DataFrame, genome: Genome, dropped: Counter[str]
) -> tuple[pd.DataFrame, set[tuple[str, str, str]]]:
    """Drop the valid and test sites of genes with over 80 % identity to a training gene.

    Returns
    -------
    sites : those that are left. related : (contig, gene, strand) of the genes.
    """
    spliced = gene_sequences(exons, genome)
    keys = gene_keys(sites)
    training = sites["split"] == "train"
    known = sorted(set(keys[training]))
    asked = sorted(set(keys[~training]) - set(known))
    like = related([spliced[key] for key in asked], [spliced[key] for key in known])
    removed = {key for key, hit in zip(asked, like, strict=True) if hit}
    gone = keys.isin(removed) & ~training
    dropped["genes_related_to_training"] = len(removed)
    dropped["sites_of_related_genes"] = int(gone.sum())
    return sites[~gone].reset_index(drop=True), removed


def gene_keys(rows: pd.DataFrame) -> pd.Series:
    """Return (contig, gene, strand) of every row: one name may stand for genes on both strands."""
    names = ("contig", "gene", "strand")
    return pd.Series(list(zip(*(rows[name] for name in names), strict=True)), index=rows.index)


def near(
    items: pd.DataFrame, annotated: pd.DataFrame, *, other_class: bool = False
) -> NDArray[np.bool_]:
    """Return bool[N]: an annotated site (on either strand) lies within 5 nt of the item.

    With ``other_class`` only sites of another class than the item's count.
    """
    out = np.zeros(len(items), dtype=bool)
    for name in MOTIF:
        part = annotated[annotated["class"] == name]
        for contig, group in part.groupby("contig", sort=False):
            mask = items["contig"] == contig
            if other_class:
                mask &= items["class"] != name
            rows = np.flatnonzero(mask)
            known = np.sort(group["position"].to_numpy())
            position = items["position"].to_numpy()[rows]
            low = np.searchsorted(known, position - APART, "left")
            out[rows] |= np.searchsorted(known, position + APART, "right") > low
    return out


def balance(
    sites: pd.DataFrame,
    max_items: int,
    shares: Mapping[str, float],
    seed: int,
    dropped: Counter[str],
) -> pd.DataFrame:
    """Draw as many donors as acceptors in each split, a quarter of the split's quota of each."""
    counts = {
        split: min(
            int(((sites["split"] == split) & (sites["class"] == name)).sum()) for name in MOTIF
        )
        for split in SPLITS
    }
    quota = fair_quota({split: 4 * n for split, n in counts.items()}, shares, max_items)
    rng = np.random.default_rng([seed, 10])
    rows = [
        rng.permutation(np.flatnonzero((sites["split"] == split) & (sites["class"] == name)))[
            : quota[split] // 4
        ]
        for split in SPLITS
        for name in MOTIF
    ]
    kept = np.sort(np.concatenate(rows))
    dropped["over_max_items_or_unbalanced"] += len(sites) - len(kept)
    return sites.iloc[kept].reset_index(drop=True)


def gene_bodies(exons: pd.DataFrame) -> pd.DataFrame:
    """Return contig, gene, strand, start, end of every gene."""
    spans = exons.groupby(["contig", "gene", "strand"], sort=True)
    return spans.agg(start=("start", "min"), end=("end", "max")).reset_index()


def motif_positions(
    genome: Genome, contig: str, start: int, end: int, strand: str, kind: str
) -> NDArray[np.int64]:
    """Return the positions where a donor's GT or an acceptor's AG stands on a strand.

    The position is the G of either: first base of an intron, or its last base.
    """
    codes = genome.codes(contig, start, end)
    first, second = {
        ("+", "donor"): (2, 3),  # GT
        ("-", "donor"): (0, 1),  # AC on '+'
        ("+", "acceptor"): (0, 2),  # AG
        ("-", "acceptor"): (1, 3),  # CT on '+'
    }[strand, kind]
    at = np.flatnonzero((codes[:-1] == first) & (codes[1:] == second))
    second_is_g = (strand, kind) in (("-", "donor"), ("+", "acceptor"))
    return at + start + int(second_is_g)


def draw_decoys(
    sites: pd.DataFrame,
    annotated: pd.DataFrame,
    bodies: pd.DataFrame,
    removed: pd.DataFrame,
    genome: Genome,
    splits: Splits,
    rng: np.random.Generator,
    matched: bool,
) -> pd.DataFrame:
    """Return the items of class none of one split: a GT and an AG decoy for each pair of sites.

    Decoys lie in the genes of ``bodies`` and outside those ``removed``, are no annotated site and
    further than 5 nt from any. With ``matched`` their GC is that of the sites that they are centred
    like.
    """
    split = str(sites["split"].iloc[0])
    ranges = splits.clipped(split, genome.lengths)
    spans = [
        (body.contig, max(body.start, r.start), min(body.end, r.end), body.strand, body.gene)
        for body in bodies.itertuples(index=False)
        for r in ranges
        if r.contig == body.contig and max(body.start, r.start) + 1 < min(body.end, r.end)
    ]
    total = sum(end - start for _, start, end, _, _ in spans)
    parts = []
    for kind in MOTIF:
        like = sites[sites["class"] == kind]
        share = min(1.0, POOL * len(like) * 16 / max(total, 1))
        found = []
        for contig, start, end, strand, gene in progress(
            spans, f"looking for {kind} decoys", "genes"
        ):
            at = motif_positions(genome, contig, start, end, strand, kind)
            at = at[rng.random(len(at)) < share]
            found.append(
                pd.DataFrame({"contig": contig, "position": at, "strand": strand, "gene": gene})
            )
        pool = pd.concat(found, ignore_index=True).drop_duplicates(KEYS[:3])
        at_base = pool.assign(start=pool["position"], end=pool["position"] + 1)
        pool = pool[~overlaps_any(at_base, removed)]
        pool = pool.assign(**{"class": "none", "placed": kind, "motif": MOTIF[kind]})
        pool = place(pool[~near(pool, annotated)], genome, splits)
        pool = pool[pool["split"] == split].reset_index(drop=True)
        if matched:
            gc = (like[["gc"]].to_numpy(float), pool[["gc"]].to_numpy(float))
            chosen = negatives.match(*gc, (GC_BIN,), rng, max_radius=10)
            chosen = chosen[chosen >= 0]
        else:
            chosen = rng.permutation(len(pool))[: len(like)]
        parts.append(pool.iloc[np.sort(chosen)].assign(stratum=f"{MOTIF[kind].lower()}-decoy"))
    return pd.concat(parts, ignore_index=True)


def scan_genes(
    sites: pd.DataFrame,
    annotated: pd.DataFrame,
    bodies: pd.DataFrame,
    genome: Genome,
    splits: Splits,
    max_items: int,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, dict[str, int]]]:
    """Return every sense-strand GT and AG of whole test genes, and the sites that are not there.

    Genes are taken in random order until the test share of ``max_items`` is full, the last one
    whole. Only genes whose sites stayed in ``sites`` are taken.

    Returns
    -------
    scan : the items. missed : annotated sites of these genes by class: ``missed_noncanonical``,
        without GT or AG, and ``missed_unscanned``, whose window has N or leaves contig or split.
    """
    test = sites[sites["split"] == "test"]
    bodies = bodies[gene_keys(bodies).isin(set(gene_keys(test)))]
    bodies = bodies[split_of(bodies, splits) == "test"]
    truth = {values: values[3] for values in annotated[KEYS].itertuples(index=False, name=None)}
    rng = np.random.default_rng([seed, 12])
    parts: list[pd.DataFrame] = []
    taken: set[tuple[str, str, str]] = set()
    for row in rng.permutation(len(bodies)):
        if sum(map(len, parts)) >= NATURAL_SHARES["test"] * max_items:
            break
        contig, gene, strand, start, end = bodies.iloc[row]
        taken.add((contig, gene, strand))
        for kind in MOTIF:
            at = motif_positions(genome, contig, start, end, strand, kind)
            classes = [truth.get((contig, p, strand, kind), "none") for p in at.tolist()]
            values = {"contig": contig, "position": at, "strand": strand, "class": classes}
            parts.append(pd.DataFrame(values).assign(gene=gene, placed=kind, motif=MOTIF[kind]))
    if not parts:
        none = dict.fromkeys(MOTIF, 0)
        return sites.iloc[:0], {"missed_noncanonical": none, "missed_unscanned": none}
    scan = pd.concat(parts, ignore_index=True).drop_duplicates([*KEYS[:3], "placed"])
    scan = place(scan, genome, splits)
    scan = scan[scan["split"] == "test"].reset_index(drop=True)
    own = annotated[gene_keys(annotated).isin(taken)]
    there = set(scan[KEYS].itertuples(index=False, name=None))
    lost = own[[key not in there for key in own[KEYS].itertuples(index=False, name=None)]]
    canonical = lost["motif"] == lost["class"].map(MOTIF)
    return scan, {
        key: {name: int((part["class"] == name).sum()) for name in MOTIF}
        for key, part in (
            ("missed_noncanonical", lost[~canonical]),
            ("missed_unscanned", lost[canonical]),
        )
    }


def oracle(frame: pd.DataFrame, truth: Sequence[str]) -> NDArray[np.float64]:
    """Return float[N, 3]: the generator's probability of each class; NaN without a truth file.

    A position that the generator does not list as a candidate of its kind is none for certain,
    unless its labels tell nothing (:func:`genebert.tasks.annotation.unlisted_probability`): then
    every item has the same probabilities.
    """
    out = np.full((len(frame), len(CLASSES)), np.nan)
    if not truth:
        return out
    table = annotation.read_truth(truth[0], [*KEYS, "probability"])
    keys = table[KEYS].itertuples(index=False, name=None)
    known = dict(zip(keys, table["probability"], strict=True))
    if share := annotation.unlisted_probability(table):
        out[:] = [1.0 - share, share / 2, share / 2]
        return out
    for k, name in enumerate(CLASSES[1:], start=1):
        own = (known.get((*key, name), 0.0) for key in frame[KEYS[:3]].itertuples(False, None))
        out[:, k] = np.where(frame["placed"] == name, list(own), 0.0)
    out[:, 0] = 1.0 - out[:, 1:].sum(axis=1)
    return out
