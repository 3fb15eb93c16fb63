"""Which words of some questions a model's tokenizer does not know."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from codi_int.model.codi import clean_question
from codi_int.model.hooked import CodiModel
from codi_int.notes import unknown_words_note
from codi_int.types import Problem


def vocabulary_notes(model: CodiModel, problems: Sequence[Problem]) -> tuple[str, ...]:
    """A note where questions hold words outside the vocabulary; none where every word is known."""
    unknown = unknown_id(model)
    if unknown is None or not problems:
        return ()
    texts = [clean_question(problem) for problem in problems]
    # offsets say which letters a token stands for; only tokenizers in Rust have them
    found = model.running_tokenizer(texts, return_offsets_mapping=bool(model.running_tokenizer.is_fast))
    words: Counter[str] = Counter()
    n_affected = 0
    for text, ids, offsets in zip(texts, found["input_ids"], _offsets(found, len(texts)), strict=True):
        n_affected += unknown in ids
        words.update(text[start:end] for one, (start, end) in zip(ids, offsets, strict=False) if one == unknown)
    if not n_affected:
        return ()
    commonest = [word for word, _ in words.most_common()]
    return (unknown_words_note(model.name, n_affected, len(problems), commonest),)


def unknown_id(model: CodiModel) -> int | None:
    """The id of an unknown word; None where there are none."""
    unknown = model.running_tokenizer.unk_token_id
    # some tokenizers name their end token as the unknown one, and it stands before <bot>
    return None if unknown in (None, model.config.eos_id) else int(unknown)


def _offsets(found: Any, n: int) -> Any:
    return found["offset_mapping"] if "offset_mapping" in found else [()] * n
