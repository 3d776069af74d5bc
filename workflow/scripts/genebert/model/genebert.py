"""GeneBert: both encoders, the heads of the objectives, initial weights and the FLOP count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genebert import tokens
from genebert.model.config import ModelConfig
from genebert.model.region import RegionTransformer, SwinRegionEncoder
from genebert.model.sequence import Attention, SequenceEncoder

INIT_STD, INIT_GAIN, COMPOSED_STD = 0.02, 0.55, 0.5
LOGITS = tuple(f"{head}.out.weight" for head in ("mgm", "ngsp", "srm", "mrm", "motif"))


def composed_embedding(drawn_VD: Tensor, k: int) -> Tensor:
    """Return token vectors float[V, D] in which k-mers that share bases are alike.

    A k-mer becomes the sum of one vector per (place, base), so that a network reads bases from its
    first step, as a convolution does, where independent vectors would have it learn 4**k words one
    by one. The vectors of places and bases are the first 4 k that were drawn for k-mers; the sum
    has the variance of what was drawn. Special tokens stay.

    Parameters
    ----------
    drawn_VD : independent vectors of all identifiers, padding included. k : bases of a k-mer.
    """
    first, digit_kK = tokens.N_SPECIAL, tokens.bases(k)
    place_kbD = drawn_VD[first : first + 4 * k].unflatten(0, (k, 4)) / k**0.5
    out_VD = drawn_VD.clone()
    out_VD[first : first + 4**k] = place_kbD[torch.arange(k)[:, None], digit_kK].sum(dim=0)
    return out_VD


class NucleotideHead(nn.Module):
    """Four logits for a hidden base, read from one token and the base's offset in it."""

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.dense = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, 4 * k)

    def forward(self, x_BHD: Tensor, offset_BH: Tensor) -> Tensor:
        """Return logits_BH4 of the bases at ``offset_BH`` (0 .. k - 1) in the tokens x_BHD."""
        y = self.out(self.norm(nn.functional.gelu(self.dense(x_BHD))))
        y = y.unflatten(-1, (self.k, 4))
        index = offset_BH[:, :, None, None].expand(-1, -1, 1, 4)
        return y.gather(2, index).squeeze(2)


class PairHead(nn.Module):
    """One logit: do these two segments follow each other? Read from the [CLS] vector."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d, d)
        self.out = nn.Linear(d, 1)

    def forward(self, cls_BD: Tensor) -> Tensor:
        """Return logit_B."""
        return self.out(torch.tanh(self.dense(cls_BD))).squeeze(-1)


class MatchHead(nn.Module):
    """Does a matrix belong to a sequence? Logits of pairs, or similarities of all pairs.

    Neither side alone says anything about the label, so learning starts at a saddle: both sides
    are normalised and meet in a bilinear form, beside an MLP of both and their product.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm_sequence = nn.LayerNorm(d)
        self.norm_region = nn.LayerNorm(d)
        self.sequence = nn.Linear(d, d)
        self.region = nn.Linear(d, d)
        self.dense = nn.Linear(3 * d, d)
        self.out = nn.Linear(d, 1)

    def project(self, sequence_BD: Tensor, region_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Bring both embeddings into one space."""
        return (
            self.sequence(self.norm_sequence(sequence_BD)),
            self.region(self.norm_region(region_BD)),
        )

    def forward(self, sequence_BD: Tensor, region_BD: Tensor) -> Tensor:
        """Return logit_B of the pairs."""
        s, r = self.project(sequence_BD, region_BD)
        y = nn.functional.gelu(self.dense(torch.cat([s, r, s * r], dim=-1)))
        return self.out(y).squeeze(-1) + (s * r).sum(dim=-1) / s.shape[-1] ** 0.5

    def similarity(self, sequence_GND: Tensor, region_GMD: Tensor) -> Tensor:
        """Return cosine similarities [G, N, M] within groups (InfoNCE)."""
        s, r = (
            nn.functional.normalize(x.float(), dim=-1)
            for x in self.project(sequence_GND, region_GMD)
        )
        with torch.autocast(s.device.type, enabled=False):  # a temperature magnifies rounding
            return s @ r.transpose(1, 2)


class ColumnHead(nn.Module):
    """The cells of hidden columns, read from the region encoder's vectors (MRM)."""

    def __init__(self, d: int, n_features: int, columns_per_vector: int) -> None:
        super().__init__()
        self.columns = columns_per_vector
        self.mask = nn.Parameter(torch.zeros(n_features))  # stands in hidden columns
        self.out = nn.Linear(d, n_features * columns_per_vector)

    def forward(self, x_BWd: Tensor, first: int, n: int) -> Tensor:
        """Return [B, F, n], columns first .. first + n - 1."""
        y_BCF = self.out(x_BWd).unflatten(-1, (self.columns, -1)).flatten(1, 2)
        return y_BCF[:, first : first + n].transpose(1, 2)


class MotifHead(nn.Module):
    """The anchor's motif row, read from the vector of its sequence (MOTIF)."""

    def __init__(self, d: int, motifs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(d, motifs)

    def forward(self, sequence_BD: Tensor) -> Tensor:
        """Return standardised values [B, M]."""
        return self.out(self.norm(sequence_BD))


class GeneBert(nn.Module):
    """Sequence and region encoders with the heads of the pre-training objectives.

    Parameters
    ----------
    config : sizes.
    seed : of the initial weights; they depend on nothing else.
    """

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):  # the layers' own initial values are not used
            self.sequence = SequenceEncoder(config)
            self.region: SwinRegionEncoder | RegionTransformer = (
                SwinRegionEncoder(config)
                if config.region_encoder == "swin"
                else RegionTransformer(config)
            )
            self.placeholder = nn.Parameter(torch.zeros(config.n_features))
            self.mgm = NucleotideHead(config.d_model, config.k)
            self.ngsp = PairHead(config.d_model)
            self.srm = MatchHead(config.d_model)
            if config.masked_regions:  # last, so that the other weights are drawn as without it
                region = self.region
                self.mrm = ColumnHead(region.d_out, config.n_features, region.columns_per_vector)
            if config.motif_reading:
                self.motif = MotifHead(config.d_model, config.n_features - 1)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Draw all weights again: norms 1, biases 0, the rest normal.

        The standard deviation is 0.02 for positions and the logits of the heads, and
        0.55 / sqrt(inputs) for other linear maps: BERT's 0.02 at a width of 768, but not vanishing
        in small models, whose matching head would start on a saddle. The output projections of
        residual branches are divided by sqrt(2 * layers) (GPT-2). Token vectors are independent at
        0.02, or composed of their bases (:func:`composed_embedding`) at 0.5: large beside the steps
        of the optimizer, which would else drown what k-mers share.
        """
        generator = torch.Generator().manual_seed(seed)
        depth = {"sequence": self.config.n_layers, "region": sum(self.config.region_depths)}
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "norm" in name and name.endswith("weight"):
                    parameter.fill_(1.0)
                elif name.endswith("bias"):
                    parameter.zero_()
                else:
                    linear = parameter.ndim == 2 and name.endswith("weight")
                    std = INIT_STD
                    if linear and "embedding" not in name and name not in LOGITS:
                        std = INIT_GAIN / parameter.shape[1] ** 0.5
                    if name.endswith(("attention.out.weight", "down.weight")):
                        std /= (2 * depth[name.split(".")[0]]) ** 0.5
                    value = torch.empty(parameter.shape).normal_(0.0, std, generator=generator)
                    parameter.copy_(value)
            if self.config.embedding == "composed":
                table_VD = self.sequence.embedding.weight
                table_VD.copy_(
                    composed_embedding(table_VD * COMPOSED_STD / INIT_STD, self.config.k)
                )

    def embed_sequence(self, ids_BT: Tensor) -> Tensor:
        """Turn token rows into one vector each, e_BD."""
        return self.sequence.pool(self.sequence(ids_BT))

    def embed_region(
        self, matrix_BFC: Tensor, placeholder: Tensor | bool = False, state: Tensor | None = None
    ) -> Tensor:
        """Turn matrices into one vector each, e_BD.

        Parameters
        ----------
        matrix_BFC : float, the anchor in column C // 2.
        placeholder : bool or bool[B]: where true, the anchor column is replaced by the learned
            placeholder (always so in SRM; in fine-tuning where there is no anchor region).
        state : float[B, F] of the cell type, for models with `cell_state`.
        """
        if placeholder is not False:
            hidden = torch.zeros(
                matrix_BFC.shape[0], 1, matrix_BFC.shape[2], dtype=torch.bool,
                device=matrix_BFC.device,
            )  # fmt: skip
            middle = matrix_BFC.shape[2] // 2
            if isinstance(placeholder, Tensor):
                hidden[:, 0, middle] = placeholder
            else:
                hidden[:, 0, middle] = True
            matrix_BFC = torch.where(hidden, self.placeholder[None, :, None], matrix_BFC)
        return self.region(matrix_BFC, state)

    def predict_columns(
        self, matrix_BFC: Tensor, hidden_BC: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Return the cells [B, F, C] that the model expects where columns are hidden.

        The anchor's column holds the placeholder; ``hidden_BC`` (bool) are replaced by the
        learned mask, so that none of their values can be read.
        """
        middle = matrix_BFC.shape[2] // 2
        matrix_BFC = torch.where(hidden_BC[:, None], self.mrm.mask[None, :, None], matrix_BFC)
        at = torch.arange(matrix_BFC.shape[2], device=matrix_BFC.device) == middle
        matrix_BFC = torch.where(at, self.placeholder[None, :, None], matrix_BFC)
        vectors = self.region.vectors(matrix_BFC, state)
        return self.mrm(vectors, int(self.config.cell_state), matrix_BFC.shape[2])

    def n_parameters(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.parameters())

    def flops_per_token(self, n_tokens: int, hidden_fraction: float = 0.0) -> float:
        """Return training FLOPs per token of the sequence encoder (forward and backward).

        6 per weight of the blocks, plus 12 * layers * d_model * T for attention (all of it: the
        encoder is not causal), as nanoGPT's `estimate_mfu`; plus 6 per weight of the nucleotide
        head for the share of tokens that it reads. Embedding look-ups count nothing.
        """
        blocks = sum(p.numel() for p in self.sequence.blocks.parameters())
        head = sum(p.numel() for p in self.mgm.parameters())
        attention = 12 * self.config.n_layers * self.config.d_model * n_tokens
        return 6.0 * (blocks + hidden_fraction * head) + attention

    @torch.no_grad()
    def flops_per_matrix(self) -> float:
        """Return training FLOPs of the region encoder for one matrix (3 times a forward pass).

        Counted in a forward pass: 2 per weight and row of every linear map, and 4 * T * T * d for
        attention within each window of T patches.
        """
        flops = 0

        def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal flops
            if isinstance(module, nn.Linear):
                flops += 2 * output.numel() * module.in_features
            else:
                flops += 4 * output.numel() * output.shape[1]

        counted = [m for m in self.region.modules() if isinstance(m, (nn.Linear, Attention))]
        hooks = [module.register_forward_hook(count) for module in counted]
        shape = (1, self.config.n_features, self.config.n_columns)
        matrix = torch.zeros(shape, device=self.placeholder.device)
        self.region(matrix, matrix[:, :, 0] if self.config.cell_state else None)
        for hook in hooks:
            hook.remove()
        return 3.0 * flops
