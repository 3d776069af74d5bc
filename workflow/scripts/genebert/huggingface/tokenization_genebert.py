"""The tokeniser of GeneBERT for `transformers`: k-mers every `stride` bases, after [CLS]."""

from __future__ import annotations

import itertools
from typing import Any

from transformers import PreTrainedTokenizer

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")  # ids 0 to 4, as in genebert.tokens


class GeneBertTokenizer(PreTrainedTokenizer):
    """Sequences in, ids out; a k-mer with another letter than A, C, G, T is [UNK].

    Two segments become ``[CLS] A [SEP] B``, one ``[CLS] A``.
    """

    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, k: int = 6, stride: int = 1, **other: Any) -> None:
        self.k, self.stride = k, stride
        words = SPECIAL + tuple("".join(word) for word in itertools.product("ACGT", repeat=k))
        self.words = words
        self.ids = {word: i for i, word in enumerate(words)}
        names = ("pad_token", "cls_token", "sep_token", "mask_token", "unk_token")
        for name, word in zip(names, SPECIAL, strict=True):
            other.setdefault(name, word)
        super().__init__(k=k, stride=stride, **other)

    @property
    def vocab_size(self) -> int:
        """Number of words."""
        return len(self.words)

    def get_vocab(self) -> dict[str, int]:
        """Return ids by word."""
        return dict(self.ids)

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        text = text.upper()
        return [text[i : i + self.k] for i in range(0, len(text) - self.k + 1, self.stride)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.ids.get(token, self.ids["[UNK]"])

    def _convert_id_to_token(self, index: int) -> str:
        return self.words[index]

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Return ``[CLS] A`` or ``[CLS] A [SEP] B``."""
        first = [self.ids["[CLS]"], *token_ids_0]
        return first if token_ids_1 is None else [*first, self.ids["[SEP]"], *token_ids_1]

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 where a special token stands."""
        if already_has_special_tokens:
            return [int(i < len(SPECIAL)) for i in token_ids_0]
        first = [1] + [0] * len(token_ids_0)
        return first if token_ids_1 is None else [*first, 1] + [0] * len(token_ids_1)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[()]:
        """Write nothing: k says all words."""
        return ()
