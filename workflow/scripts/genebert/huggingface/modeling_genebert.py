"""GeneBERT's sequence encoder for `transformers`: ids of k-mers in, vectors out.

Rows of a batch have one length (the encoder knows no padding). ``last_hidden_state`` float[B, T, D]
are the tokens' vectors, ``pooler_output`` float[B, D] the row's, as the model was trained to pool.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .sequence import SequenceEncoder


class GeneBertConfig(PretrainedConfig):
    """Sizes of the encoder; see ``genebert.model.ModelConfig``."""

    model_type = "genebert"
    attribute_map = {  # noqa: RUF012
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "vocab_size": "vocabulary",
    }

    def __init__(
        self,
        k: int = 6,
        stride: int = 1,
        d_model: int = 64,
        n_layers: int = 2,
        n_heads: int = 4,
        vocabulary: int = 4160,
        pooling: str = "mean",
        dropout: float = 0.0,
        **other: Any,
    ) -> None:
        self.k, self.stride = k, stride
        self.d_model, self.n_layers, self.n_heads = d_model, n_layers, n_heads
        self.vocabulary, self.pooling, self.dropout = vocabulary, pooling, dropout
        super().__init__(**other)


class GeneBertModel(PreTrainedModel):
    """The encoder."""

    config_class = GeneBertConfig
    base_model_prefix = ""

    def __init__(self, config: GeneBertConfig) -> None:
        super().__init__(config)
        self.sequence = SequenceEncoder(config)
        for name in ("cos", "sin"):  # saved here, as this library makes modules without values
            self.sequence.register_buffer(name, getattr(self.sequence, name), persistent=True)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Keep what the modules drew."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPooling:
        """Return the vectors of rows of one length."""
        if attention_mask is not None and not bool(attention_mask.all()):
            raise ValueError("rows must be of one length: the encoder knows no padding")
        x_BTD = self.sequence(input_ids)
        return BaseModelOutputWithPooling(
            last_hidden_state=x_BTD, pooler_output=self.sequence.pool(x_BTD)
        )
