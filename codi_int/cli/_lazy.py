"""Groups of commands that are listed without being loaded: a command's module is imported when it is called."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Literal, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

PANELS = ("What", "Where", "Evidence", "Output")
"""of every command's help, in this order: what is done, to what, how sure one can be, and where it goes"""
MARKUP: Literal["markdown"] = "markdown"
"""how help texts are read; a group and the commands that it loads must agree"""
_CALLED: ContextVar[str] = ContextVar("called", default="")


def called() -> str:
    """`ablate`, `sae eval`: the command that runs, without the program; empty outside one."""
    return _CALLED.get()


class Entry(NamedTuple):
    """One line of a group's help, and where the command is found."""

    name: str
    """as it is typed"""
    target: str
    """`module:function` of a command; empty for a group"""
    help: str
    """the first paragraph of the command's docstring, written again here so that listing it costs no import"""
    entries: tuple["Entry", ...] = ()
    """the commands of a group"""

    def load(self) -> Any:
        """The function itself; imports its module."""
        module, function = self.target.split(":")
        return getattr(import_module(module), function)


class LazyGroup(TyperGroup):
    """A group whose commands are placeholders, exchanged for the real ones at the moment of the call.

    Help, suggestions for slips of the pen, and shell completion read the placeholders, so they stay Typer's own.
    """

    entries: tuple[Entry, ...]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's; a group without any word shows its help, which is no error."""
        return super().parse_args(ctx, args if args or ctx.resilient_parsing else ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The name, the loaded command, and the words that are left for it."""
        # Typer looks the word up first: an unknown one fails here, with its suggestions, before anything is loaded.
        name, command, rest = super().resolve_command(ctx, args)
        found = {entry.name: entry for entry in self.entries}.get(name or "")
        return name, command if found is None else _loaded(found), rest


class PanelCommand(TyperCommand):
    """A command whose options stand in the order of the panels, with --help in the last of them."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """As Typer's."""
        super().__init__(*args, **settings)
        # sorted is stable: within a panel the order of the signature stays, and so does that of arguments, in no panel
        self.params = sorted(self.params, key=_panel)
        for option in self.params:
            if getattr(option, "is_flag", False):
                option.metavar = ""  # Typer would show <bool>, as if a word were to follow

    def invoke(self, ctx: Any) -> Any:
        """As Typer's; `called` knows the command by then."""
        # noted here, not asked of click: Typer brings a click of its own, whose contexts the installed one never sees
        before = _CALLED.set(" ".join(ctx.command_path.split()[1:]))
        try:
            return super().invoke(ctx)
        finally:
            _CALLED.reset(before)

    def get_help_option(self, ctx: Any) -> Any:
        """As Typer's."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.rich_help_panel, option.metavar = PANELS[-1], ""
        return option


def _panel(option: Any) -> int:
    panel = getattr(option, "rich_help_panel", None)
    return PANELS.index(panel) if panel in PANELS else -1


def lazy_app(callback: Callable[..., None], entries: Sequence[Entry], **settings: Any) -> typer.Typer:
    """A group that lists `entries` and loads one of them when it is called.

    Args:
        callback: the group's own function; its docstring is the group's help where `settings` have none.
        entries: the commands, in the order of the help.
        settings: further settings of `typer.Typer`.
    """
    # Typer makes the group of its class alone, so the entries travel as an attribute of a class made for them.
    kind = type("LazyGroup", (LazyGroup,), {"entries": tuple(entries)})
    app = typer.Typer(cls=kind, **{"help": callback.__doc__, "rich_markup_mode": MARKUP, **settings})
    app.callback()(callback)
    for entry in entries:
        app.command(entry.name, help=entry.help)(_placeholder)
    return app


def _placeholder() -> None:
    """Stands for a command in help; never called, for `resolve_command` exchanges it."""


def _nothing() -> None:
    """What a group does by itself, before its command."""


def _loaded(entry: Entry) -> Any:
    """What Typer makes of the entry: a command, or a group."""
    if entry.entries:
        return get_command(lazy_app(_nothing, entry.entries, name=entry.name, help=entry.help, add_completion=False))
    # A typer.Typer with one command becomes that command, not a group of one: so `get_command` returns what the
    # placeholder stood for, under the name that usage lines show.
    app = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    app.command(entry.name, cls=PanelCommand)(entry.load())
    return get_command(app)
