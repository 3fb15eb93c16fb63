"""Hugging Face's model and tokenizer of a CODI model, made when somebody asks for them."""

from typing import Any

from codi_int.model.building import around_the_same, load_tokenizer
from codi_int.model.light import LightLlama
from codi_int.model.stack import BlockStack
from codi_int.model.tokens import LightTokenizer
from codi_int.model.weights import WeightsIdentity


class HostParts:
    """Language model and tokenizer of a `CodiModel`; a light one gives way to the real one for good."""

    stack: BlockStack
    _weights: WeightsIdentity
    _hf: Any
    _tokenizer: Any

    @property
    def hf(self) -> Any:
        """The Hugging Face model. Its modules and tensors are those that run: changes in place are seen."""
        if isinstance(self._hf, LightLlama):
            self._hf = around_the_same(self._hf)
            # from here on the real modules run, so that hooks on them fire and modules put into them count
            self.stack.run_modules_of(self._hf)
            self._weights.watch_instead(self._hf)
        return self._hf

    @hf.setter
    def hf(self, hf: Any) -> None:
        self._hf = hf

    @property
    def tokenizer(self) -> Any:
        """The Hugging Face tokenizer."""
        if isinstance(self._tokenizer, LightTokenizer):
            self._tokenizer = load_tokenizer(self._tokenizer.folder, self.stack.vocab_size)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @property
    def running_tokenizer(self) -> Any:
        """The tokenizer that runs: Hugging Face's, or the light one, which knows what a run asks of it."""
        return self._tokenizer

    def token_ids(self, text: str) -> list[int]:
        """The ids of a text, as the tokenizer frames it."""
        return list(self._tokenizer(text)["input_ids"])

    def texts_of(self, rows: list[list[int]]) -> list[str]:
        """The text of every row of ids, without special tokens."""
        return list(self._tokenizer.batch_decode(rows, skip_special_tokens=True)) if rows else []
