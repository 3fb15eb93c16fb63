"""The tokenizer of models that read stories: one token per word, per sign and per number from 0 to 99.

A number from 100 to 999, which only the longer stories have, is two tokens: its hundreds, written `3__`, and the rest
of two digits. The rest is the token of that number, `47`, or one of its own from `00` to `09`. The wider vocabulary is
the narrow one with 19 tokens behind it, so that a text without such numbers has the same ids in both.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from codi_int.data import wordings as w
from codi_int.data.story_kinds import LONG, SHORT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MAX_NUMBER = SHORT.max_number
"""the largest number that is one token"""
PAD, UNK, BOS, EOS, BOT, EOT = SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>", "<bot>", "<eot>")
ANSWER_PHRASE = "The answer is:"
HUNDREDS_MARK = "__"
"""behind the digit of the hundreds: a token that says that two more digits belong to the number"""
_TOKEN = r"<<|>>|[0-9]__|[0-9]+|[A-Za-z]+|[^\sA-Za-z0-9]"
_THREE_DIGITS = r"(?<![0-9]){digit}(?=[0-9][0-9](?![0-9]))"
"""the first digit of a number of three"""


@cache
def vocabulary(max_number: int = MAX_NUMBER) -> tuple[str, ...]:
    """Every token, in the order of their ids: special tokens, numbers, signs, words; up to 999 hundreds and rests.

    Args:
        max_number: the largest number that a story has; above 99 the tokens of the wider vocabulary come behind.
    """
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
    narrow = (*SPECIAL_TOKENS, *numbers, *signs, *sorted(words - set(signs) - set(numbers)))
    return narrow if max_number <= MAX_NUMBER else (*narrow, *_HUNDREDS, *_SHORT_RESTS)


_HUNDREDS = tuple(f"{digit}{HUNDREDS_MARK}" for digit in range(1, 10))
_SHORT_RESTS = tuple(f"0{digit}" for digit in range(10))


def number_tokens() -> dict[str, int]:
    """What the tokens of numbers stand for: 347 is `3__`, 300, and `47`; 305 is `3__` and `05`."""
    values = {str(n): n for n in range(MAX_NUMBER + 1)}
    values |= {token: 100 * int(token[0]) for token in _HUNDREDS}
    return values | {token: int(token) for token in _SHORT_RESTS}


def encode_words(text: str) -> list[int]:
    """Token ids of a text, without special tokens; the fast path for training. Ids are those of both vocabularies."""
    ids = _ids()
    return [ids[token] for token in split_words(text)]


def split_words(text: str) -> list[str]:
    """The tokens of a text."""
    # looked for before anything is replaced: most texts have no such number, and training reads millions of them
    if re.search(r"[0-9]{3}", text):
        text = re.sub(_THREE_DIGITS.format(digit="([0-9])"), rf"\g<1>{HUNDREDS_MARK}", text)
    return re.findall(_TOKEN, text)


def encode_special(*tokens: str) -> list[int]:
    """Ids of special tokens."""
    return [_ids()[token] for token in tokens]


@cache
def _ids() -> dict[str, int]:
    return {token: i for i, token in enumerate(vocabulary(LONG.max_number))}


def build_tokenizer(max_number: int = MAX_NUMBER) -> "PreTrainedTokenizerFast":
    """The same tokenizer in Hugging Face's form; a text begins with `<bos>`. `max_number` as for `vocabulary`."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(vocabulary(max_number))}, unk_token=UNK))
    if max_number > MAX_NUMBER:
        _join_hundreds(core)
    # the shipped model's file has this pattern, and stays as it is
    token = _TOKEN if max_number > MAX_NUMBER else _TOKEN.replace("|[0-9]__", "")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(token), behavior="isolated")]
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


def _join_hundreds(core: Any) -> None:
    """Have numbers of three digits cut into two tokens, and put together again when ids become text."""
    from tokenizers import Regex, decoders, normalizers

    core.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_THREE_DIGITS.format(digit=digit)), f"{digit}{HUNDREDS_MARK}")
            for digit in range(1, 10)
        ]
    )
    core.decoder = decoders.Sequence(
        [
            # blanks between tokens, as without a decoder; no token begins with this prefix
            decoders.WordPiece(prefix="\0", cleanup=False),
            decoders.Fuse(),
            # only what makes a number again: `3__ 5` stays as it is and is read as no number
            decoders.Replace(Regex(rf"(?<=[0-9]){HUNDREDS_MARK} (?=[0-9][0-9](?![0-9]))"), ""),
        ]
    )
