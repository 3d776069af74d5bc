"""The sequence encoder: a pre-norm transformer over k-mer tokens with rotary positions.

Attention is F.scaled_dot_product_attention without a mask: rows have no padding, so that the
fused kernels are used on a GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from genebert.model.config import ModelConfig

ROTARY_BASE = 10_000.0
ROTARY_TABLE = 1024  # positions whose angles are kept; longer rows compute theirs


def rotary_angles(n: int, d_head: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return cos and sin [n, d_head / 2] of the rotary positions 0 .. n - 1 (Su et al. 2021)."""
    rate = ROTARY_BASE ** (-torch.arange(0, d_head, 2, device=device, dtype=torch.float32) / d_head)
    angle = torch.arange(n, device=device, dtype=torch.float32)[:, None] * rate
    return angle.cos(), angle.sin()


def rotate(x_BHTd: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel pairs (i, i + d/2) by the angle of their position."""
    a, b = x_BHTd.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x_BHTd.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection; positions are rotary, or none."""

    def __init__(self, d: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Attend within each row; ``bias`` broadcasts to [B, heads, T, T]."""
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # [B, heads, T, d]
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        y = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out(y.transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, d: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(d)
        self.attention = Attention(d, heads, dropout)
        self.norm_mlp = nn.LayerNorm(d)
        self.up = nn.Linear(d, 4 * d)
        self.down = nn.Linear(4 * d, d)
        self.dropout = nn.Dropout(dropout)

    def mlp(self, x: Tensor) -> Tensor:
        """Return the MLP branch of the normalised input (GELU in its tanh form, as GPT-2)."""
        return self.down(functional.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))

    def forward(
        self, x_BTD: Tensor, rotary: tuple[Tensor, Tensor] | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """Apply both branches."""
        x_BTD = x_BTD + self.dropout(self.attention(self.norm_attention(x_BTD), rotary, bias))
        return x_BTD + self.dropout(self.mlp(x_BTD))


class SequenceEncoder(nn.Module):
    """Embed token rows.

    Parameters
    ----------
    config : sizes; see :class:`~genebert.model.ModelConfig`.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.d_model, config.n_heads, config.dropout) for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        # Kept, because a compiler would fuse sines and powers into every layer's kernel (a third
        # of a step of the base model on an H200).
        cos, sin = rotary_angles(ROTARY_TABLE, self.d_head, torch.device("cpu"))
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def d_head(self) -> int:
        """Channels of an attention head."""
        return self.config.d_model // self.config.n_heads

    def rotary(self, n: int) -> tuple[Tensor, Tensor]:
        """Return cos and sin [n, d_head / 2] of the first n positions."""
        if n > ROTARY_TABLE:
            return rotary_angles(n, self.d_head, self.cos.device)
        return self.cos[:n], self.sin[:n]

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Turn ids int64[B, T] into vectors x_BTD."""
        rotary = self.rotary(ids_BT.shape[1])
        x_BTD = self.dropout(self.embedding(ids_BT))
        for block in self.blocks:
            x_BTD = block(x_BTD, rotary)
        return self.norm(x_BTD)

    def pool(self, x_BTD: Tensor) -> Tensor:
        """Turn token vectors into one vector a row, x_BD, as `pooling` says."""
        return x_BTD[:, 0] if self.config.pooling == "cls" else x_BTD.mean(dim=1)
