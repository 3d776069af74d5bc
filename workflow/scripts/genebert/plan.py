"""What a training row is: options of the `pretrain` block, and the lengths that follow from them.

Everything that can be wrong with them (rows that do not fit the stored sequences, options that do
not exist, batches that do not divide) is told here in one line, before training starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from genebert import masking, tokens
from genebert.errors import InputError, nearest
from genebert.objectives import DEFAULT_OBJECTIVES, MGM, OBJECTIVES, SRM_LOSSES, span_stages
from genebert.samples import Corpus

MATRICES = ("real", "shuffled", "shuffled_cells", "permuted_tfs")
SAMPLES = ("loci", "pairs", "background")
CELL_TYPE_WEIGHTS = ("inverse_breadth", "inverse_size")
KEYS = (
    "name", "tokens", "model", "neighbours", "row_tokens", "batch_size", "micro_batch",
    "objectives", "optimizer", "samples", "cell_type_weights", "matrix", "accessibility",
    "checkpoint_seconds", "keep_state", "log_every", "evaluations", "evaluation_loci",
    "evaluation_spans", "compile", "precision", "processes", "memory_gb",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What rows look like; from the `pretrain` block of a variant (:meth:`from_pretrain`).

    An epoch is one pass over the unique training loci (`samples` = "loci"), over all pairs of a
    training cell type and a region open in it ("pairs"), or over windows outside all regions
    ("background", MGM only). For "loci", the cell type of a visit is drawn from those in which the
    locus is open: all alike, so that a pair counts by the inverse of the locus' breadth
    (`cell_type_weights` = "inverse_breadth"), or by the inverse of the number of regions open in
    the cell type ("inverse_size"). The pairs of cell types of SRM's n2 are balanced in any case.
    """

    k: int
    stride: int
    row_tokens: int
    batch_size: int
    neighbours: int
    seed: int
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    masking: str = "span"
    hidden_fraction: float = 0.15
    span: int = 5
    masked_share: float = 0.8
    matrix: str = "real"
    accessibility: bool = True
    samples: str = "loci"
    cell_type_weights: str = "inverse_breadth"
    cell_state: bool = False
    srm_loss: str = "bce"
    group: int = 8  # rows that are each other's negatives under InfoNCE

    @classmethod
    def from_pretrain(cls, block: Mapping[str, Any], seed: int) -> Plan:
        """Read a merged `pretrain` block.

        Raises
        ------
        InputError
            If a key or an option is unknown, or a needed one is missing.
        """
        known_keys("pretrain", block, KEYS)
        for key in ("row_tokens", "batch_size", "neighbours"):
            if key not in block:
                raise InputError(f"key {key!r} is missing", file="pretrain")
        names, settings = objectives_of(block)
        mgm, srm, mrm = (settings.get(name, {}) for name in ("mgm", "srm", "mrm"))
        known = ("weight", "hidden_fraction", "span", "masking", "masked_share", "repeat_weight")
        known_keys("objectives.mgm", mgm, known)
        known_keys("objectives.mrm", mrm, ("weight", "hidden_fraction"))
        _fraction("objectives.mrm.hidden_fraction", mrm.get("hidden_fraction", 0.5))
        _fraction("objectives.mgm.masked_share", mgm.get("masked_share", 0.8), whole=True)
        _fraction("objectives.mgm.repeat_weight", mgm.get("repeat_weight", 1.0), whole=True)
        for name in ("ngsp", "motif"):
            known_keys(f"objectives.{name}", settings.get(name, {}), ("weight",))
        known_keys("objectives.srm", srm, ("weight", "loss", "temperature", "group"))
        matrix, loss = block.get("matrix", "real"), srm.get("loss", "bce")
        _option("matrix", matrix, MATRICES)
        _option("objectives.srm.loss", loss, SRM_LOSSES)
        samples = block.get("samples", "loci")
        weights = block.get("cell_type_weights", "inverse_breadth")
        _option("samples", samples, SAMPLES)
        _option("cell_type_weights", weights, CELL_TYPE_WEIGHTS)
        if samples == "background" and names != (MGM,):
            raise InputError(
                "windows outside the regions are for mgm alone", file="objectives",
                found=", ".join(names), expected="mgm",
            )  # fmt: skip
        if samples != "loci" and weights != "inverse_breadth":
            raise InputError(
                "no cell type is drawn, so there is nothing to weigh", file="cell_type_weights",
                found=weights, expected="inverse_breadth, or samples: loci",
            )  # fmt: skip
        token = block.get("tokens", {})
        return cls(
            k=token.get("k", 6),
            stride=token.get("stride", 1),
            row_tokens=block["row_tokens"],
            batch_size=block["batch_size"],
            neighbours=block["neighbours"],
            seed=seed,
            objectives=names,
            masking=mgm.get("masking", "span"),
            hidden_fraction=mgm.get("hidden_fraction", 0.15),
            span=span_stages(mgm.get("span", 5))[-1][1],  # the one that ends training
            masked_share=mgm.get("masked_share", 0.8),
            matrix=matrix,
            accessibility=bool(block.get("accessibility", True)),
            samples=samples,
            cell_type_weights=weights,
            cell_state=bool(block.get("model", {}).get("cell_state", False)),
            srm_loss=loss,
            group=srm.get("group", 8),
        )

    def for_evaluation(self) -> Plan:
        """Return the plan of loci on which runs are compared, whatever this one was trained on."""
        return replace(self, samples="loci", cell_type_weights="inverse_breadth")


def objectives_of(block: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """Return the objectives that are on (weight above 0), in fixed order, and their settings.

    ``objectives`` is a mapping {name: settings}, or a list of names with default settings.
    """
    value = block.get("objectives", DEFAULT_OBJECTIVES)
    settings = dict(value) if isinstance(value, Mapping) else {name: {} for name in value}
    for name in settings:
        if name not in OBJECTIVES:
            raise InputError(
                "unknown objective" + nearest(str(name), OBJECTIVES),
                file="objectives",
                found=name,
                expected=", ".join(OBJECTIVES),
            )
    on = tuple(n for n in OBJECTIVES if n in settings and settings[n].get("weight", 1.0) > 0)
    if not on:
        raise InputError("no objective is on", file="objectives")
    return on, {name: dict(settings[name]) for name in on}


def known_keys(key: str, block: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raise :class:`InputError` if a block has a key that is not known."""
    for name in block:
        if name not in known:
            raise InputError(
                f"unknown key {name!r}" + nearest(name, known), file=key,
                expected=f"one of {', '.join(known)}",
            )  # fmt: skip


def _fraction(key: str, value: float, whole: bool = False) -> None:
    if not 0 <= value <= 1 or (value in (0, 1) and not whole):
        raise InputError(
            "is no fraction", file=key, found=value,
            expected="0 to 1" if whole else "between 0 and 1",
        )  # fmt: skip


def _option(key: str, value: object, options: tuple[str, ...]) -> None:
    if value not in options:
        raise InputError(
            "unknown option" + nearest(str(value), options), file=key, found=value,
            expected=", ".join(options),
        )  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """How segments of one kind are cut out of stored sequences and masked."""

    n_tokens: int
    length: int
    first: int  # of the earliest crop in the stored sequence
    jitter: int  # crops start at first + [0, 2 * jitter]
    masking: masking.Masking

    @classmethod
    def of(cls, plan: Plan, corpus: Corpus, n_tokens: int, spans_of: Segment | None) -> Segment:
        """Lay out segments of ``n_tokens``; ``spans_of`` has half of the spans of a row.

        Raises
        ------
        InputError
            If the tokens do not fit the stored sequence or the spans do not fit the tokens.
        """
        if n_tokens < 1:
            raise InputError(
                "row has no room for a token", file="row_tokens", found=plan.row_tokens
            )
        length = tokens.segment_length(n_tokens, plan.k, plan.stride)
        if length > corpus.length:
            raise InputError(
                "a row's segment is longer than the stored sequences",
                file="row_tokens",
                found=f"{n_tokens} tokens of k = {plan.k}, stride = {plan.stride}: {length} bases",
                expected=f"at most {corpus.length} (regions.width + 2 * shards.flank)",
            )
        mask = masking.Masking.for_segment(
            plan.masking, length, plan.k, plan.stride, plan.hidden_fraction, plan.span,
            plan.masked_share,
        )  # fmt: skip
        if spans_of is not None:
            mask = replace(mask, n_spans=2 * spans_of.masking.n_spans)
            room = length if plan.masking == "span" else n_tokens
            if mask.n_hidden > room:
                raise InputError(
                    "spans do not fit the segment", file="objectives.mgm",
                    found=f"{mask.n_spans} spans of {mask.span} in {room} places",
                    expected="shorter spans, or a smaller hidden_fraction",
                )  # fmt: skip
        jitter = min(corpus.flank, (corpus.length - length) // 2)
        return cls(n_tokens, length, (corpus.length - length) // 2 - jitter, jitter, mask)

    @property
    def n_words(self) -> int:
        """Random words of a segment: place, strand, masking."""
        return 2 + self.masking.n_words


@dataclass(frozen=True)
class Layout:
    """Lengths that follow from a plan and the shards, checked."""

    single: Segment
    pair: Segment
    exclude: int  # neighbours do not overlap [centre - exclude, centre + exclude)
    partner: int  # a partner starts at least this far downstream of A

    @classmethod
    def of(cls, plan: Plan, corpus: Corpus) -> Layout:
        """Check a plan against the shards.

        Raises
        ------
        InputError
            If rows, segments, matrices or batches do not fit.
        """
        tokens.check(plan.k, plan.stride)
        if plan.row_tokens % 2 or plan.row_tokens < 4:
            raise InputError(
                "is not even", file="row_tokens", found=plan.row_tokens,
                expected="an even number of at least 4",
            )  # fmt: skip
        if plan.neighbours % 2 or plan.neighbours < 2:
            raise InputError(
                "is not even", file="neighbours", found=plan.neighbours,
                expected="an even number of at least 2",
            )  # fmt: skip
        if plan.batch_size % 4:
            raise InputError(
                "does not divide into single and pair rows of two kinds each",
                file="batch_size", found=plan.batch_size, expected="a multiple of 4",
            )  # fmt: skip
        if plan.srm_loss == "infonce" and (plan.batch_size // 2) % plan.group:
            raise InputError(
                "does not divide half of the batch", file="objectives.srm.group",
                found=plan.group, expected=f"a divisor of {plan.batch_size // 2}",
            )  # fmt: skip
        pair = Segment.of(plan, corpus, (plan.row_tokens - 2) // 2, None)
        single = Segment.of(plan, corpus, plan.row_tokens - 1, pair)
        return cls(
            single,
            pair,
            max(corpus.width // 2, -(-single.length // 2) + single.jitter),
            max(corpus.width, pair.length + 2 * pair.jitter + plan.k),
        )
