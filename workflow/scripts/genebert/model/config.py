"""What defines a network: one frozen dataclass, built from the `pretrain` block of the config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from genebert import tokens
from genebert.errors import InputError, nearest

# d_region, depths and heads are those of the region encoder. `base` is BERT-base; `small` is for
# a CPU study or a quick GPU run; `tiny` is for the demo and the tests.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "d_model": 48, "n_layers": 2, "n_heads": 2,
        "d_region": 32, "region_depths": (1, 1), "region_heads": 2, "patch": (8, 1),
    },
    "small": {
        "d_model": 256, "n_layers": 4, "n_heads": 4,
        "d_region": 64, "region_depths": (2, 2), "region_heads": 2,
    },
    "base": {
        "d_model": 768, "n_layers": 12, "n_heads": 12,
        "d_region": 96, "region_depths": (2, 2, 2), "region_heads": 3,
    },
}  # fmt: skip
REGION_ENCODERS = ("swin", "transformer")
POOLINGS = ("mean", "cls")
EMBEDDINGS = ("composed", "independent")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of a :class:`~genebert.model.GeneBert`.

    Parameters
    ----------
    k, stride : tokens of `stride`-spaced k-mers.
    d_model, n_layers, n_heads : the sequence transformer; its MLP is 4 * d_model wide.
    n_features : F, rows of the region matrix: motifs, then accessibility.
    n_columns : C, columns of the region matrix: R/2 left, the anchor, R/2 right.
    region_encoder : "swin" (windowed attention over the matrix) or "transformer" (over columns).
    d_region : width of the region encoder (of its first stage, where it has several).
    region_depths : blocks of each stage; between stages the motif axis is halved (swin). The
        transformer takes their sum.
    region_heads : attention heads of the first stage; doubled with the width.
    patch : rows and columns of the matrix in one patch (swin).
    window : rows and columns of patches in one attention window (swin).
    column_positions : learned position of every column (transformer; swin always has it).
    embedding : how token vectors start: "composed" of their bases, or "independent" (as BERT's).
    pooling : how a row of tokens becomes one vector: "mean" of all tokens or the "cls" token.
    masked_regions : has the head of masked-region modelling (set by the objective `mrm`).
    motif_reading : has the head that reads the motif row (set by the objective `motif`).
    cell_state : the region encoders take a prefix column that describes the cell type.
    dropout : of attention and MLP outputs; 0 in pre-training.
    """

    k: int = 6
    stride: int = 1
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_features: int = 1
    n_columns: int = 11
    region_encoder: str = "swin"
    d_region: int = 32
    region_depths: tuple[int, ...] = (1, 1)
    region_heads: int = 2
    patch: tuple[int, int] = (4, 1)
    window: tuple[int, int] = (4, 6)
    column_positions: bool = True
    embedding: str = "composed"
    pooling: str = "mean"
    cell_state: bool = False
    masked_regions: bool = False
    motif_reading: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("region_depths", "patch", "window"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        tokens.check(self.k, self.stride)
        for name, options in (
            ("region_encoder", REGION_ENCODERS), ("pooling", POOLINGS), ("embedding", EMBEDDINGS),
        ):  # fmt: skip
            value = getattr(self, name)
            if value not in options:
                raise InputError(
                    "unknown option" + nearest(str(value), options),
                    file=f"model.{name}",
                    found=value,
                    expected=" or ".join(options),
                )
        for width, heads in (("d_model", "n_heads"), ("d_region", "region_heads")):
            # rotary positions turn pairs of channels
            if getattr(self, width) % (2 * getattr(self, heads)):
                raise InputError(
                    f"is no multiple of twice model.{heads}",
                    file=f"model.{width}",
                    found=getattr(self, width),
                    expected=f"a multiple of {2 * getattr(self, heads)}",
                )
        if self.n_columns % 2 == 0 or self.n_columns < 3:
            raise InputError(
                "the matrix has no middle column",
                file="neighbours",
                found=self.n_columns - 1,
                expected="an even number of at least 2",
            )

    @property
    def vocabulary(self) -> int:
        """Rows of the token embedding (padded to a multiple of 64)."""
        return tokens.vocabulary_size(self.k)

    @classmethod
    def from_pretrain(cls, block: Mapping[str, Any], n_motifs: int, **changes: Any) -> ModelConfig:
        """Build from a `pretrain` block: its `tokens`, `model` and `neighbours` keys.

        Parameters
        ----------
        block : the (merged) block; `model.size` names a preset, other keys of `model` override it.
        n_motifs : M, the motif rows of the shards.
        changes : further overrides, e.g. ``dropout=0.1``.

        Raises
        ------
        InputError
            If a key or a value is unknown, or ``dropout`` is asked for: it would make a run depend
            on more than its seed.
        """
        model = dict(block.get("model", {}))
        if model.get("dropout"):
            raise InputError(
                "pre-training has no dropout", file="model.dropout", found=model["dropout"]
            )
        size = model.pop("size", "tiny")
        if size not in SIZES:
            raise InputError(
                "unknown size" + nearest(str(size), SIZES),
                file="model.size",
                found=size,
                expected=", ".join(SIZES),
            )
        given = {"k", "stride", "n_features", "n_columns", "masked_regions", "motif_reading"}
        known = {field.name for field in fields(cls)} - given
        for key in model:
            if key not in known:
                raise InputError(
                    f"unknown key {key!r}" + nearest(key, known),
                    file="model",
                    expected=f"one of {', '.join(sorted(known))}",
                )
        token, objectives = block.get("tokens", {}), block.get("objectives", {})
        settings = objectives if isinstance(objectives, Mapping) else {o: {} for o in objectives}
        values = {
            **SIZES[size],
            "k": token.get("k", 6),
            "stride": token.get("stride", 1),
            "n_features": n_motifs + 1,
            "n_columns": block.get("neighbours", 10) + 1,
            "masked_regions": settings.get("mrm", {"weight": 0}).get("weight", 1.0) > 0,
            "motif_reading": settings.get("motif", {"weight": 0}).get("weight", 1.0) > 0,
            **model,
            **changes,
        }
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
