"""What a user reads of an error: always two lines, the rule and the remedy, in the option's own name."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise, takewhile
from typing import Any

from codi_int.errors import CodiError

GROUPS = ("sae", "features")
"""commands that have commands of their own"""


def two_lines(error: CodiError, words: Sequence[str]) -> str:
    """One of our errors, led by the option that it is about where it does not name one itself.

    Args:
        error: from the library, which knows no options.
        words: what was typed after `codi-int`.
    """
    option = "" if "--" in error.rule else _option_meant(error.rule, words)
    return f"{option}{error.rule}\n{error.remedy or _help_of(words)}"


def usage_lines(error: Any, words: Sequence[str]) -> str:
    """One of Typer's own errors (whichever library it takes them from) in our words."""
    context, kind = getattr(error, "ctx", None), type(error).__name__
    path = context.command_path if context else _command_of(words)
    message, help_of = " ".join(str(error.format_message()).split()), f"{path} --help lists what there is."
    if kind == "MissingParameter":
        return f"{_missing(error.param)}\n{_example(context) or help_of}"
    if kind == "NoSuchOption":
        known = [name for option in context.command.params for name in option.opts] if context else []
        plain = _as_argument(error.option_name, context)
        return f"{path} has no option {error.option_name}.\n{plain or _did_you_mean(error.option_name, known)}{help_of}"
    if kind == "BadOptionUsage":
        return f"{error.option_name} {'needs a' if 'requires' in message else 'takes no'} value.\n{help_of}"
    if unknown := re.match(r"No such command '(.*?)'", message):
        known = list(context.command.commands) if context else []
        return f"There is no command {unknown[1]!r}.\n{_did_you_mean(unknown[1], known)}{help_of}"
    if extra := re.match(r"Got unexpected extra argument\S* \((.*)\)", message):
        return f"{path} does not know what to do with {extra[1]!r}.\n{help_of}"
    if choice := re.match(r"Invalid value for .*?'([^']*)' is not one of (.*)\.", message):
        known = [word.strip(" '") for word in choice[2].split(",")]
        rule = f"{_name_of(error.param)} {choice[1]!r} does not exist."
        return f"{rule}\n{_did_you_mean(choice[1], known)}It is one of {', '.join(known)}."
    return f"{message}\n{help_of}"


def _as_argument(option: str, context: Any) -> str:
    """`SAEs stand without an option: codi-int sae eval SAE. ` where an argument is called like the option."""
    arguments = [one for one in context.command.params if one.param_type_name == "argument"] if context else []
    if not any(str(one.name).rstrip("s") == option.strip("-").rstrip("s") for one in arguments):
        return ""
    word = option.strip("-").upper()
    return f"Write it without the option: {context.command_path} {word}. "


def _missing(option: Any) -> str:
    """What is missing, how it is written, and what it means."""
    value = f" {option.metavar}" if option.metavar and option.param_type_name == "option" else ""
    meaning = f": {option.help}" if getattr(option, "help", None) else "."
    return f"{_name_of(option)}{value} is missing{meaning}"


def _example(context: Any) -> str:
    """`Example: codi-int ablate --feature 449 --layer 14`, where the command's help has one."""
    found = re.search(r"^Example: .*$", context.command.help or "", re.MULTILINE) if context else None
    return found[0].strip() if found else ""


def _name_of(option: Any) -> str:
    """`--layer`; an argument as help shows it."""
    return str(option.opts[0]) if option.param_type_name == "option" else str(option.metavar or option.name).upper()


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    """`Did you mean --layer? `; nothing where nothing is like it."""
    close = get_close_matches(word, known, n=1, cutoff=0.7)
    return f"Did you mean {close[0]}? " if close else ""


def _option_meant(rule: str, words: Sequence[str]) -> str:
    """`--layer 99: ` for `Layer 99 does not exist`, `--model ` for `m has no SAE`; empty where it could be several."""
    typed = _typed(words)
    # the library's words for things are those of the options: Layer, Position, Feature, k
    first = re.match(r"\w+", rule)
    by_name = [pair for pair in typed if first and pair[0] == f"--{first[0].lower()}"]
    by_value = [pair for pair in typed if any(_stands_in(rule, pair[0], value) for value in _spellings(pair[1]))]
    for found in (by_name, by_value):
        if len(found) == 1:
            (name, value) = found[0]
            return f"{name} " if rule.startswith(f"{value} ") else f"{name} {value}: "
    return ""


def _stands_in(rule: str, name: str, value: str) -> bool:
    """Whether an option's value stands in a rule as a word of its own."""
    # "All 3 problems" says nothing of --layer 3
    other = "" if name == "--limit" else "(?! problems)"
    return re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w-]){other}", rule) is not None


def _spellings(value: str) -> set[str]:
    """A value as it was typed, and a number as messages write it: 1e300 as 1e+300."""
    try:
        return {value, f"{float(value):g}"}
    except ValueError:
        return {value}


def _typed(words: Sequence[str]) -> list[tuple[str, str]]:
    """Every option with its value: `--layer 99` and `--layer=99`."""
    pairs = [(word, after) for word, after in pairwise(words) if not after.startswith("--")]
    pairs += [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]
    return [(name, value) for name, value in pairs if name.startswith("--") and "=" not in name]


def _help_of(words: Sequence[str]) -> str:
    return f"{_command_of(words)} --help says what it takes."


def _command_of(words: Sequence[str]) -> str:
    """`codi-int sae train` of all that was typed."""
    named = list(takewhile(lambda word: not word.startswith("-"), words))
    return " ".join(["codi-int", *named[: 2 if named[:1] and named[0] in GROUPS else 1]])
