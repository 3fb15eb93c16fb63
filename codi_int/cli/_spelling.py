"""How users write fields of a dataclass of options: `--layer`, `--no-splice`, an argument; and their JSON values."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo


def option_values(options: Any) -> dict[str, tuple[str, Any]]:
    """Field to (what users call it, its value in plain JSON types), for every option of a dataclass of options."""
    return {one.field: (one.name, one.plain) for one in spellings(type(options), options)}


@dataclass(frozen=True)
class Spelling:
    """How users write one field of a dataclass of options."""

    field: str
    """of the dataclass"""
    name: str
    """such as `--layer`; of `--splice/--no-splice` the first half; of an argument its name in capitals"""
    off: str
    """what turns a flag off, such as `--no-splice`; empty for all others"""
    argument: bool
    """whether it stands by itself, without a name before it"""
    plain: Any = None
    """its value in plain JSON types"""

    @property
    def key(self) -> str:
        """The same in a document: `layer`, `first`."""
        return self.name.removeprefix("--").lower()


def spellings(kind: Any, options: Any = None) -> list[Spelling]:
    """Every option of a dataclass of options, with its value where one is given."""
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):
        if not field.init:
            continue
        option = get_args(hints[field.name])[1]
        plain = None if options is None else _plain(getattr(options, field.name))
        # typer keeps the first declaration of an annotated option where a default would stand
        declared = [word for word in (option.default, *(option.param_decls or ())) if isinstance(word, str)]
        if isinstance(option, ArgumentInfo):
            found.append(Spelling(field.name, option.metavar or field.name.upper(), "", argument=True, plain=plain))
            continue
        name, _, off = (declared[0] if declared else f"--{field.name.replace('_', '-')}").partition("/")
        found.append(Spelling(field.name, name, off, argument=False, plain=plain))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value
