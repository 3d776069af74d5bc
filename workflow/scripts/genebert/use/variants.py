"""Zero-shot scores of variants: arrays in, a table out; and the same for the VCF of a user.

In: reference and alternative windows, encoders and, where they are given, the accessibility
read-out and the motif set. Out: one row of scores per variant. Nothing is fitted to variants.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genebert import variant_scores
from genebert.features import encode_all
from genebert.genome import Codes, Genome, N
from genebert.motifs import MotifSet
from genebert.pretrained import Pretrained
from genebert.progress import Progress
from genebert.tasks.variant_files import length_change, windows
from genebert.use.head import Head, load_encoders
from genebert.use.provenance import origin, write
from genebert.use.sources import region_width
from genebert.use.vcf import Annotated, Counts, Site, check, read_sites

log = logging.getLogger("genebert")

STEP = 256  # alleles that are scored at a time
CHANGE = "accessibility:"  # beginning of the column of a cell type
INFO = {
    "LLR": ("Float", "Log-likelihood ratio of ALT to REF under the masked model, mean of strands"),
    "EMBEDDING": ("Float", "Distance of the embeddings of the windows with ALT and REF"),
    "MOTIF": ("Float", "Distance of the motif rows (summed log-odds) of the two windows"),
    "MOTIF_TOP": ("String", "Motif whose summed log-odds change most, with the sign of the change"),
    "ACCESSIBILITY": ("Float", "Largest change of predicted accessibility in any cell type"),
    "CELL_TYPE": ("String", "Cell type of that change"),
    "SKIPPED": ("String", "Why the allele has no scores"),
}
COLUMN_OF = {key: key.lower() for key in INFO}


@dataclass(frozen=True)
class Scorer:
    """What variants are scored with.

    Attributes
    ----------
    encoders : pre-trained encoders.
    head : accessibility read-out, or None. columns : int64[c], its columns that are reported.
    motifs : motif set, or None.
    """

    encoders: Pretrained
    head: Head | None = None
    columns: NDArray[np.int64] | None = None
    motifs: MotifSet | None = None

    def __post_init__(self) -> None:
        """Raise :class:`InputError` if the head was fitted on other weights."""
        if self.head is not None:
            self.head.check(self.encoders)

    def __call__(
        self, reference: Codes, alternative: Codes, shift: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Score variants.

        Parameters
        ----------
        reference, alternative : uint8[B, L] windows with either allele, which begin at the same
            base of the genome; the variant is in the middle.
        shift : bases that each ALT is longer than its REF; found from the windows
            (:func:`genebert.variant_scores.shifts`) if None.

        Returns
        -------
        A row per variant. ``llr``: NaN unless one known base is substituted by another, and of
        encoders that MGM did not train, whose head for bases tells nothing; ``embedding``; with
        motifs ``motif`` and ``motif_top`` (``+NAME`` or ``-NAME``, None where no row changes); with
        a head ``accessibility`` (the largest change, with its sign), ``cell_type`` (where) and
        ``accessibility:CELL`` for every reported cell type.
        """
        single, _ = variant_scores.substitutions(reference, alternative)
        single &= ((reference == N) == (alternative == N)).all(axis=1)  # none to or from N
        ratio = np.full(len(single), np.nan)
        if self.encoders.trained_on("mgm"):
            ratio = variant_scores.log_likelihood_ratio(self.encoders, reference, alternative)
        both = np.concatenate([reference, alternative])
        ref, alt = np.split(self.encoders.embed_sequences(both, both_strands=True), 2)
        out: dict[str, Any] = {
            "llr": np.where(single, ratio, np.nan),
            "embedding": variant_scores.row_distance(ref, alt),
        }
        if self.motifs is not None:
            if shift is None:
                shift = variant_scores.shifts(reference, alternative).tolist()
            alleles = variant_scores.on_one_end(list(reference), list(alternative), shift)
            rows = [self.motifs.scan(x).sum.toarray() for x in alleles]
            change = rows[1] - rows[0]
            top = np.abs(change).argmax(axis=1)
            value = change[np.arange(len(top)), top]
            names = [
                f"{'+' if v > 0 else '-'}{self.motifs.names[i]}" if v else None
                for v, i in zip(value, top, strict=True)
            ]
            out["motif"] = variant_scores.row_distance(rows[0], rows[1])
            out["motif_top"] = names
        if self.head is not None:
            columns = self.head.columns([]) if self.columns is None else self.columns
            delta = (self.head(alt) - self.head(ref))[:, columns]
            cells = np.array(self.head.cell_types, dtype=object)[columns]
            strongest = np.abs(delta).argmax(axis=1)
            out["accessibility"] = delta[np.arange(len(delta)), strongest]
            out["cell_type"] = cells[strongest]
            out |= {f"{CHANGE}{cell}": delta[:, i] for i, cell in enumerate(cells)}
        return pd.DataFrame(out)


def score_vcf(
    *,
    vcf: str,
    genome: str,
    index: str,
    block_index: str,
    weights: str,
    shards: str,
    motif_set: str,
    head: str,
    table: str,
    annotated: str,
    vcf_index: str,
    summary: str,
    name: str,
    cell_types: Sequence[str],
    threads: int,
) -> None:
    """Score every ALT of a VCF, and annotate the VCF.

    Parameters
    ----------
    vcf : sorted, plain or gzipped. genome, index, block_index : indexed FASTA.
    weights : ``model.safetensors``. shards : ``index.json``: the width of the windows.
    motif_set : ``motif_set.json``. head : of :func:`genebert.use.head.fit_head`.
    table : output, TSV, a row per ALT in the order of the file; ``skipped`` says why one has no
        scores. annotated, vcf_index : outputs, ``.vcf.gz`` and ``.vcf.gz.tbi``, every record kept.
    summary : output, JSON: what it was made with, and counts.
    name : of the file in the user's table. cell_types : reported; all training cell types if empty.

    Raises
    ------
    InputError
        If the VCF is none, unsorted, of another build or too long for its index, or a cell type is
        unknown.
    """
    encoders, sequence = load_encoders(weights, threads), Genome(genome)
    read_out = Head.load(head, weights)
    scorer = Scorer(
        encoders, read_out, read_out.columns(list(cell_types)), MotifSet.read(motif_set)
    )
    width = region_width(shards)
    log.info("reading %s", vcf)
    counts = check(vcf, sequence, width)
    log_counts(vcf, counts)
    record = origin(
        weights,
        name=name,
        vcf=str(vcf),
        genome=str(genome),
        width=width,
        sites=counts.sites,
        alleles=counts.alleles,
        scored=counts.scored,
        skipped=dict(counts.skipped),
    )
    write(summary, record)
    short = {key: record[key] for key in ("genebert", "stage_version", "weights_sha256", "width")}
    told = Progress("scoring", counts.scored, "variants")
    done, first = 0, True
    with (
        Annotated(annotated, vcf, INFO, json.dumps(short, sort_keys=True), counts.contigs) as out,
        open(table, "w", encoding="utf-8") as rows,
    ):
        for sites in batches(read_sites(vcf, sequence, width)):
            scores = score_sites(scorer, sequence, sites, width)
            scores.to_csv(
                rows, sep="\t", index=False, header=first, float_format="%.6g", na_rep="NA"
            )
            annotate(out, sites, scores)
            first = False
            done += int((scores["skipped"] == "").sum())
            told.at(done)


def log_counts(vcf: str, counts: Counts) -> None:
    """Tell what can be scored and what not."""
    log.info("%d sites, %d alleles, %d can be scored", counts.sites, counts.alleles, counts.scored)
    for reason, number in counts.skipped.items():
        log.warning("%s: %d alleles have no scores: %s", vcf, number, reason)


def batches(sites: Iterator[Site]) -> Iterator[list[Site]]:
    """Yield some sites at a time, with STEP alleles or a few more."""
    some: list[Site] = []
    size = 0
    for site in sites:
        some.append(site)
        size += len(site.alleles)
        if size >= STEP:
            yield some
            some, size = [], 0
    if some:
        yield some


def score_sites(scorer: Scorer, genome: Genome, sites: Sequence[Site], width: int) -> pd.DataFrame:
    """Return a row per ALT of some sites: the variant, why it is skipped, and its scores."""
    rows: list[dict[str, Any]] = []
    pairs: list[tuple[str, str]] = []
    shift: list[int] = []
    at: list[int] = []
    for site in sites:
        texts = site.fields[4].split(",")  # as they stand: names of symbolic alleles have a case
        for allele, alt, reason in zip(site.alleles, texts, site.reasons, strict=True):
            if not reason:
                at.append(len(rows))
                pairs.append(windows(genome, allele, width)[1:])
                shift.append(length_change(allele.ref, allele.alt))
            rows.append(
                {
                    "contig": site.fields[0],
                    "position": allele.position,
                    "id": site.fields[2],
                    "ref": site.fields[3],
                    "alt": alt,
                    "skipped": reason,
                }
            )
    frame = pd.DataFrame(rows)
    # one row too many, so that blocks without a usable allele have the same columns
    pairs, shift = pairs or [("A" * width, "A" * width)], shift or [0]
    scores = scorer(encode_all([p[0] for p in pairs]), encode_all([p[1] for p in pairs]), shift)
    scores = scores.iloc[: len(at)].set_axis(at, axis=0)
    return frame.join(scores)


def annotate(out: Annotated, sites: Sequence[Site], scores: pd.DataFrame) -> None:
    """Write some sites with the scores of their alleles."""
    columns = {key: scores[COLUMN_OF[key]].tolist() for key in INFO}
    at = 0
    for site in sites:
        part = slice(at, at + len(site.alleles))
        at += len(site.alleles)
        out.write(site, {key: values[part] for key, values in columns.items()})
