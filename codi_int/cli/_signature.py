"""How a dataclass of options becomes the signature that Typer reads, so that every option is written once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from codi_int.cli._console import begin, print_json
from codi_int.cli._document import make_document
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
            print_json(make_document(called(), options))
            return
        with begin():
            function(options)

    # Typer inspects the signature, not the function's own parameters; without this it would see `**given` and no option
    command.__signature__ = inspect.Signature([*parameters, document])  # type: ignore[attr-defined]
    command.options = kind  # type: ignore[attr-defined]
    return command
