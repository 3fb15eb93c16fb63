"""A stored tokenizer read by `tokenizers` alone, where transformers would add nothing to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codi_int.model.tensors import read_json

PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""classes of transformers that take tokenizer.json as it stands"""
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
SETTINGS = {
    *SPECIAL,
    "additional_special_tokens",
    "backend",
    "clean_up_tokenization_spaces",
    "extra_special_tokens",
    "model_max_length",
    "padding_side",
    "tokenizer_class",
}
"""settings of tokenizer_config.json that are known here; any other leaves the tokenizer to transformers"""
OTHER_FILES = ("added_tokens.json", "special_tokens_map.json")
"""files that transformers would read besides"""


class LightTokenizer:
    """What a run asks of a tokenizer, in transformers' words: the ids of texts, and the text of ids."""

    is_fast = True

    def __init__(self, core: Any, folder: Path, unknown: str | None) -> None:
        self._core = core
        self.folder = folder
        self.unk_token_id: int | None = None if unknown is None else core.token_to_id(unknown)

    def __call__(self, text: str | list[str], return_offsets_mapping: bool = False) -> dict[str, list[Any]]:
        if isinstance(text, str):
            return {"input_ids": self._core.encode(text).ids}
        found = self._core.encode_batch(text)
        ids = {"input_ids": [one.ids for one in found]}
        return ids | ({"offset_mapping": [one.offsets for one in found]} if return_offsets_mapping else {})

    def __len__(self) -> int:
        return int(self._core.get_vocab_size())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens too."""
        return str(self._core.decode(list(ids), skip_special_tokens=False))

    def batch_decode(self, rows: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """The text of every row of ids."""
        return [self._core.decode(list(row), skip_special_tokens=skip_special_tokens) for row in rows]


def read_light(folder: Path) -> LightTokenizer | None:
    """The tokenizer of a folder; None where transformers would make anything else of its files, or they are damaged."""
    files = [folder / name for name in ("tokenizer.json", "tokenizer_config.json")]
    if not all(path.is_file() for path in files) or any((folder / name).exists() for name in OTHER_FILES):
        return None
    from tokenizers import Tokenizer

    try:
        stored, settings = (read_json(path) for path in files)
        if not _plain(stored, settings):
            return None
        return LightTokenizer(Tokenizer.from_file(str(files[0])), folder, settings.get("unk_token"))
    except Exception:  # `tokenizers` raises bare Exceptions on damaged files; who reads them next has the words for it
        return None


def _plain(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is the whole tokenizer."""
    if settings.get("tokenizer_class") not in PLAIN_CLASSES or not settings.keys() <= SETTINGS:
        return False
    if settings.get("clean_up_tokenization_spaces") is not False or stored.get("truncation") or stored.get("padding"):
        return False
    # special tokens that are not among the added ones would be added by transformers, behind the others
    extra = [*settings.get("extra_special_tokens", ()), *settings.get("additional_special_tokens", ())]
    named = [settings[name] for name in SPECIAL if settings.get(name) is not None] + extra
    special = {token["content"] for token in stored["added_tokens"] if token["special"]}
    return all(isinstance(token, str) and token in special for token in named)
