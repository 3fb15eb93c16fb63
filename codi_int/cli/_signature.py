"""How a dataclass of options becomes the signature that Typer reads, so that every option is written once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo

from codi_int.cli._console import begin, print_json
from codi_int.cli._lazy import called

Options = TypeVar("Options")
AS_DOCUMENT = "as_document"
AsDocument = Annotated[
    bool,
    typer.Option(
        "--as-document",
        help="Print the experiment as one JSON document for `codi-int run`, and run nothing.",
        rich_help_panel="Output",
    ),
]


def with_options(function: Callable[[Options], None]) -> Callable[..., None]:
    """Make a command of a function of `options`, a dataclass whose fields are `Annotated[type, typer.Option(...)]`.

    Help lists the fields of the class itself before those it inherits. A field with a third item, as in
    `Annotated[tuple[int, ...], typer.Option("--k"), parse]`, may be given several times, and `parse` makes its value of
    the texts. A field with `init=False` is no option.
    """
    # get_type_hints and not the annotations as they stand: a module with deferred annotations holds mere strings
    kind: Any = get_type_hints(function)["options"]
    hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    defaults: dict[str, Any] = {field.name: field.default for field in fields(kind) if field.init}
    own_first = [name for base in kind.__mro__ for name in inspect.get_annotations(base) if name in defaults]
    parsers: dict[str, Callable[[list[str]], Any]] = {}
    parameters = []
    for name in dict.fromkeys(own_first):
        hint, default = hints[name], defaults[name]
        _, option, *parser = get_args(hint)
        if default is MISSING:
            default = inspect.Parameter.empty
        elif parser:
            default = [",".join(map(str, default))] if default else []  # as it would be typed
        if parser:
            hint, parsers[name] = Annotated[list[str], option], parser[0]
        # Keyword only: a signature may then have an option without a default after one that has one, and whether
        # something is an option or an argument stands in the annotation.
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint))

    document = inspect.Parameter(AS_DOCUMENT, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsDocument)

    @wraps(function)
    def command(**given: Any) -> None:
        wanted = given.pop(AS_DOCUMENT, False)
        options = kind(**{**given, **{name: parse(given[name]) for name, parse in parsers.items()}})
        if wanted:
            from codi_int.cli._document import make_document

            print_json(make_document(called(), options))
            return
        with begin():
            function(options)

    # Typer inspects the signature, not the function's own parameters; without this it would see `**given` and no option
    command.__signature__ = inspect.Signature([*parameters, document])  # type: ignore[attr-defined]
    command.options = kind  # type: ignore[attr-defined]
    return command


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
