"""Region encoders: from the TF x region matrix around an anchor to one vector.

The matrix has F rows (motifs, then accessibility) and C columns (R/2 regions to the left, the
anchor, R/2 to the right). :class:`SwinRegionEncoder` reads it as an image with windowed attention
(Liu et al. 2021, "Swin Transformer"); :class:`RegionTransformer` has one token per region and is
the alternative in which the order of the motifs means nothing.

Both read out the mean over all columns beside the anchor's own column: what a matrix says about
the anchor (its motifs in fine-tuning; in pre-training, where it is a placeholder, what attention
brought there) would be one part in C of a mean alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from genebert.model.config import ModelConfig
from genebert.model.sequence import Block


def _with_state(matrix_BFC: Tensor, state_BF: Tensor | None, wanted: bool) -> Tensor:
    """Put the cell state before the columns where the model was built for one."""
    if not wanted:
        return matrix_BFC
    if state_BF is None:
        raise ValueError("the model has cell_state = true, so a state [B, F] is needed")
    return torch.cat([state_BF[:, :, None].to(matrix_BFC.dtype), matrix_BFC], dim=2)


def anchor_column(config: ModelConfig) -> int:
    """Return the column of the anchor, behind that of the cell state where there is one."""
    return config.n_columns // 2 + config.cell_state


class RegionTransformer(nn.Module):
    """One token per region (a linear map of its F features) and a transformer over the regions."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        columns = config.n_columns + config.cell_state
        self.embed = nn.Linear(config.n_features, config.d_region)
        self.columns = (
            nn.Parameter(torch.zeros(columns, config.d_region)) if config.column_positions else None
        )
        self.blocks = nn.ModuleList(
            Block(config.d_region, config.region_heads, config.dropout)
            for _ in range(sum(config.region_depths))
        )
        self.norm = nn.LayerNorm(config.d_region)
        self.out = nn.Linear(2 * config.d_region, config.d_model)
        self.d_out, self.columns_per_vector = config.d_region, 1
        self.anchor = anchor_column(config)

    def vectors(self, matrix_BFC: Tensor, state: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of each column, [B, columns, d_out]."""
        x_BCF = _with_state(matrix_BFC, state, self.config.cell_state).transpose(1, 2)
        x_BCd = self.embed(x_BCF)
        if self.columns is not None:
            x_BCd = x_BCd + self.columns
        for block in self.blocks:
            x_BCd = block(x_BCd)
        return self.norm(x_BCd)

    def forward(self, matrix_BFC: Tensor, state: Tensor | None = None) -> Tensor:
        """Turn matrix_BFC (and the state [B, F] of the cell type) into e_BD."""
        x_BCd = self.vectors(matrix_BFC, state)
        return self.out(torch.cat([x_BCd.mean(dim=1), x_BCd[:, self.anchor]], dim=1))


class WindowBlock(nn.Module):
    """A transformer block that attends inside windows of a grid, shifted in every other block.

    The grid [H, W] is padded to whole windows. Shifting rolls it by half a window; patches that
    the roll brings together from opposite edges, and padding, do not see each other (additive
    bias, constant, beside the learned bias of the relative position).
    """

    index: Tensor  # int64[n, n], which relative position, for patches of one window
    blocked: Tensor  # bool[windows, n, n]

    def __init__(
        self,
        d: int,
        heads: int,
        grid: tuple[int, int],
        window: tuple[int, int],
        shifted: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.window = (min(window[0], grid[0]), min(window[1], grid[1]))
        self.padded = tuple(-(-g // w) * w for g, w in zip(grid, self.window, strict=True))
        self.shift = tuple(
            w // 2 if shifted and w < g else 0 for g, w in zip(grid, self.window, strict=True)
        )
        self.block = Block(d, heads, dropout)
        rows, cols = self.window
        self.relative = nn.Parameter(torch.zeros(heads, (2 * rows - 1) * (2 * cols - 1)))
        place = torch.stack(
            torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
        ).flatten(1)
        delta = place[:, :, None] - place[:, None, :]
        index = (delta[0] + rows - 1) * (2 * cols - 1) + delta[1] + cols - 1
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("blocked", self._blocked(), persistent=False)

    def _blocked(self) -> Tensor:
        """Return bool[windows, n, n]: pairs of patches that must not see each other."""
        label = torch.zeros(1, *self.padded, 1)
        for axis, (size, padded, window, shift) in enumerate(
            zip(self.grid, self.padded, self.window, self.shift, strict=True), start=1
        ):
            at = torch.arange(padded)
            source = (at + shift) % padded  # the place in the grid that the roll brings here
            part = (source >= size).long() + 2 * ((at >= padded - window) & (source < shift))
            shape = [1, 1, 1, 1]
            shape[axis] = padded
            label = label * 4 + part.reshape(shape)
        flat = self._split(label)[..., 0]  # [windows, n]
        return flat[:, :, None] != flat[:, None, :]

    def _split(self, x_BHWd: Tensor) -> Tensor:
        """Cut the padded grid into windows: [B * windows, n, d]."""
        B, d = x_BHWd.shape[0], x_BHWd.shape[-1]
        (H, W), (r, c) = self.padded, self.window
        x = x_BHWd.view(B, H // r, r, W // c, c, d).transpose(2, 3)
        return x.reshape(-1, r * c, d)

    def _join(self, x: Tensor, B: int) -> Tensor:
        """Invert :meth:`_split`."""
        (H, W), (r, c) = self.padded, self.window
        x = x.view(B, H // r, W // c, r, c, -1).transpose(2, 3)
        return x.reshape(B, H, W, -1)

    def forward(self, x_BHWd: Tensor) -> Tensor:
        """Apply windowed attention and the MLP to a grid of patches."""
        B, H, W, _ = x_BHWd.shape
        attention = self.block.attention
        y = self.block.norm_attention(x_BHWd)
        y = functional.pad(y, (0, 0, 0, self.padded[1] - W, 0, self.padded[0] - H))
        y = torch.roll(y, (-self.shift[0], -self.shift[1]), dims=(1, 2))
        n = self.index.shape[0]
        bias = self.relative[:, self.index.reshape(-1)].view(1, attention.heads, n, n)
        bias = bias.masked_fill(self.blocked[:, None], -1e4)  # [windows, heads, n, n]
        bias = bias.to(y.dtype).repeat(B, 1, 1, 1)
        y = self._join(attention(self._split(y), bias=bias), B)
        y = torch.roll(y, self.shift, dims=(1, 2))[:, :H, :W]
        x_BHWd = x_BHWd + self.block.dropout(y)
        return x_BHWd + self.block.dropout(self.block.mlp(x_BHWd))


class MotifMerging(nn.Module):
    """Halve the motif axis of the grid and double the width (patch merging along one axis)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * d)
        self.reduce = nn.Linear(2 * d, 2 * d)

    def forward(self, x_BHWd: Tensor) -> Tensor:
        """Turn [B, H, W, d] into [B, ceil(H / 2), W, 2 d]."""
        x = functional.pad(x_BHWd, (0, 0, 0, 0, 0, x_BHWd.shape[1] % 2))
        x = torch.cat([x[:, 0::2], x[:, 1::2]], dim=-1)
        return self.reduce(self.norm(x))


class SwinRegionEncoder(nn.Module):
    """Windowed attention over patches of the matrix, merged along the motif axis."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        columns = config.n_columns + config.cell_state
        rows_per_patch, columns_per_patch = config.patch
        H = -(-config.n_features // rows_per_patch)
        W = -(-columns // columns_per_patch)
        self.pad = (H * rows_per_patch - config.n_features, W * columns_per_patch - columns)
        d, heads = config.d_region, config.region_heads
        self.embed = nn.Linear(math.prod(config.patch), d)
        self.rows = nn.Parameter(torch.zeros(H, 1, d))  # which motifs
        self.columns = nn.Parameter(torch.zeros(1, W, d))  # which place around the anchor
        layers: list[nn.Module] = []
        for stage, depth in enumerate(config.region_depths):
            if stage > 0:
                layers.append(MotifMerging(d))
                H, d, heads = -(-H // 2), 2 * d, 2 * heads
            layers += [
                WindowBlock(d, heads, (H, W), config.window, i % 2 == 1, config.dropout)
                for i in range(depth)
            ]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(d)
        self.out = nn.Linear(2 * d, config.d_model)
        self.d_out, self.columns_per_vector = d, columns_per_patch
        self.anchor = anchor_column(config) // columns_per_patch

    def vectors(self, matrix_BFC: Tensor, state: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of each column of patches, [B, columns, d_out]."""
        return self._grid(matrix_BFC, state).mean(dim=1)

    def forward(self, matrix_BFC: Tensor, state: Tensor | None = None) -> Tensor:
        """Turn matrix_BFC (and the state [B, F] of the cell type) into e_BD."""
        x_BWd = self.vectors(matrix_BFC, state)
        return self.out(torch.cat([x_BWd.mean(dim=1), x_BWd[:, self.anchor]], dim=1))

    def _grid(self, matrix_BFC: Tensor, state: Tensor | None) -> Tensor:
        """Return the last stage's patches, [B, H, W, d_out]."""
        x = functional.pad(
            _with_state(matrix_BFC, state, self.config.cell_state),
            (0, self.pad[1], 0, self.pad[0]),
        )
        B, rows, columns = x.shape
        r, c = self.config.patch
        x = x.view(B, rows // r, r, columns // c, c).transpose(2, 3).flatten(3)
        x_BHWd = self.embed(x) + self.rows + self.columns
        for layer in self.layers:
            x_BHWd = layer(x_BHWd)
        return self.norm(x_BHWd)
