"""Entry point of `codi-int`: builds the app, and turns errors into one or two lines and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from codi_int.cli import (
    ablate,
    amplify,
    capture,
    curve,
    doctor,
    evaluate,
    figures,
    lens,
    map,
    patch,
    sae,
    screen,
    swap,
    think,
    train_codi,
)
from codi_int.errors import CodiError

USER_ERROR, INTERRUPTED, FAILURE = 2, 130, 1
STOPPED = "Stopped. Nothing was half-written; give the same command to start again."

COMMANDS = (
    ("ablate", ablate.ablate),
    ("amplify", amplify.amplify),
    ("swap", swap.swap),
    ("patch", patch.patch),
    ("screen", screen.screen),
    ("curve", curve.curve),
    ("map", map.map_thoughts),
    ("eval", evaluate.evaluate),
    ("think", think.think),
    ("lens", lens.lens),
    ("capture", capture.capture),
    ("figures", figures.figures),
    ("train-codi", train_codi.train_codi),
    ("doctor", doctor.doctor),
)


def _print_version(wanted: bool | None) -> bool:
    if wanted:
        from codi_int import __version__

        typer.echo(__version__)
        raise typer.Exit
    return False


def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Which features inside a continuous chain of thought cause the answer, and how sure are we?"""


def make_app() -> typer.Typer:
    """The app with all its commands."""
    app = typer.Typer(
        name="codi-int",
        help=root.__doc__,
        epilog="Every command takes --help. Add --debug to see the traceback of an error.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    for name, command in COMMANDS:
        app.command(name)(command)
    app.add_typer(sae.make_app(), name="sae")
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0, 2 for a user's error, 130 for Ctrl-C, 1 for a bug of ours."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    sys.exit(_run([word for word in given if word != "--debug"], debug))


def _run(words: list[str], debug: bool) -> int:
    try:
        code = int(make_app()(words, prog_name="codi-int", standalone_mode=False) or 0)
        return _fail(STOPPED, debug, INTERRUPTED) if code == INTERRUPTED else code
    except CodiError as error:
        return _fail(str(error), debug, USER_ERROR)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(STOPPED, debug, INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output has gone; a second complaint at interpreter exit is avoided by pointing stdout away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own errors, whichever library it takes them from
            return _fail(f"{error.format_message()}\n{_where_help_is(error)}", debug, USER_ERROR)
        return _fail(f"{type(error).__name__}: {error}\nThis is a bug; --debug shows where.", debug, FAILURE)


def _fail(message: str, debug: bool, code: int) -> int:
    if debug:
        traceback.print_exc()
    print(f"codi-int: {message}", file=sys.stderr)
    return code


def _where_help_is(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return f"Try '{context.command_path if context else 'codi-int'} --help'."
