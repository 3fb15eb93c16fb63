"""One experiment as one JSON document: the command and every option that says what is found, none that says where.

`--as-document` of every command prints it, `codi-int run` runs it, and the manifest of a kept run holds it with its
digest: what was asked, on what, with which bound and prediction, written down before anything ran.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from codi_int.cli._spelling import Spelling, spellings
from codi_int.errors import ConfigError

SCHEMA = "codi-int/experiment@1"
NOT_PART = (
    *("out", "force", "as_json", "plan", "device", "memory", "memory_gib"),
    *("engine", "workers", "address", "gpus_per_worker"),
)
"""fields that say where it runs and where a result goes, and nothing of what it is"""


def make_document(command: str, options: Any) -> dict[str, Any]:
    """The experiment that a command's options describe.

    Args:
        command: such as `sae train`.
        options: its dataclass of options.
    """
    given = {
        spelling.key: spelling.plain
        for spelling in spellings(type(options), options)
        if spelling.field not in NOT_PART and spelling.plain not in (None, [])
    }
    return {"schema": SCHEMA, "command": command, "options": given}


def digest_document(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document in one canonical spelling: keys sorted, no blanks."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_document(document: Mapping[str, Any], kinds: Mapping[str, Any], file: str) -> list[str]:
    """The words of the command that a document stands for.

    Args:
        document: as `make_document` makes them; options that it leaves out keep their defaults.
        kinds: command to its class of options.
        file: where the document comes from, for errors.

    Raises:
        ConfigError: another schema, an unknown command, an option that the command does not have, a value of no kind
            that options have.
    """
    schema, command = document.get("schema"), document.get("command")
    if schema != SCHEMA:
        raise ConfigError(
            f"{file} is of schema {schema!r}; an experiment is of {SCHEMA!r}.",
            "Write one with --as-document: codi-int ablate --feature 449 --layer 14 --as-document > experiment.json",
        )
    if not isinstance(command, str) or command not in kinds:
        raise ConfigError(f"{file} names the command {command!r}.", f"It is one of {', '.join(kinds)}.")
    extra = sorted(set(document) - {"schema", "command", "options"})
    given = document.get("options", {})
    known = {one.key: one for one in spellings(kinds[command]) if one.field not in NOT_PART}
    unknown = [*extra, *sorted(set(given) - set(known))] if isinstance(given, Mapping) else ["options"]
    if unknown:
        allowed = "an experiment has schema, command, options" if extra else f"{command} has {', '.join(known)}"
        raise ConfigError(f"{file} has {', '.join(unknown)}, which is no part of it: {allowed}.", "Take it out.")
    words = [word for key, value in given.items() for word in _option_words(known[key], value, file)]
    arguments = [str(word) for key, one in known.items() if one.argument for word in _several(given.get(key))]
    # behind --, so that no argument is taken for an option
    return [*command.split(), *words, *(["--", *arguments] if arguments else [])]


def _option_words(spelling: Spelling, value: Any, file: str) -> Iterator[str]:
    """An option as it would be typed."""
    if spelling.argument or value is None:
        return
    if isinstance(value, bool):
        word = spelling.name if value else spelling.off
        if word:
            yield word
        return
    numbers = isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)
    if not numbers and not isinstance(value, str | int | float):
        raise ConfigError(
            f"{spelling.key} of {file} is {json.dumps(value)[:80]}; options are words, numbers and lists of these.",
            f"Write it as {spelling.name} takes it.",
        )
    # one word with its value: a negative number behind a blank could be taken for another option
    yield f"{spelling.name}={','.join(map(_text, _several(value)))}"


def _several(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    # repr keeps every digit of a float
    return repr(value) if isinstance(value, float) else str(value)
