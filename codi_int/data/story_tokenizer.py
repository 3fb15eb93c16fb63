"""The tokenizer of models that read stories: one token per word, per sign and per number from 0 to 99."""

import re
from functools import cache
from typing import TYPE_CHECKING

from codi_int.data import wordings as w
from codi_int.data.story_numbers import MAX_NUMBER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNK, BOS, EOS, BOT, EOT = SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>", "<bot>", "<eot>")
ANSWER_PHRASE = "The answer is:"
_TOKEN = r"<<|>>|[0-9]+|[A-Za-z]+|[^\sA-Za-z0-9]"


@cache
def vocabulary() -> tuple[str, ...]:
    """Every token, in the order of their ids: special tokens, numbers, signs, words."""
    sentences = [s.text for group in (w.OPENINGS, w.CONTINUATIONS) for options in group.values() for s in options]
    sentences += [*w.QUESTIONS, *w.TOGETHER, *w.DIFFERENCE, *w.POOLING, *w.HOLDING, *w.TWO_PRODUCTS, ANSWER_PHRASE]
    # words that come from code and not from a template: the plural subject and its verb forms, units
    sentences += ["They do they have dollars them then", "buy give lose split share keep get find"]
    sentences += [*w.NAMES, *w.THINGS, *w.CONTAINERS]
    words = {token for s in sentences for token in re.findall(_TOKEN, re.sub(r"\{.\}", " ", s))}
    # one token for each number, so that an answer is decided by one choice
    numbers = tuple(str(n) for n in range(MAX_NUMBER + 1))
    signs = ("<<", ">>", "+", "-", "*", "/", "=")
    # sorted, for a set has no fixed order and ids must be those that the shipped model was trained with
    return (*SPECIAL_TOKENS, *numbers, *signs, *sorted(words - set(signs) - set(numbers)))


def encode_words(text: str) -> list[int]:
    """Token ids of a text, without special tokens; the fast path for training."""
    ids = _ids()
    return [ids[token] for token in split_words(text)]


def split_words(text: str) -> list[str]:
    """The tokens of a text."""
    return re.findall(_TOKEN, text)


def encode_special(*tokens: str) -> list[int]:
    """Ids of special tokens."""
    return [_ids()[token] for token in tokens]


@cache
def _ids() -> dict[str, int]:
    return {token: i for i, token in enumerate(vocabulary())}


def build_tokenizer() -> "PreTrainedTokenizerFast":
    """The same tokenizer in Hugging Face's form; a text begins with `<bos>`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel(_ids(), unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_TOKEN), behavior="isolated")]
    )
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, _ids()[BOS])])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        additional_special_tokens=[BOT, EOT],
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
