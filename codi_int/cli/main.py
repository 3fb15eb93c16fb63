"""Entry point of `codi-int`: builds the app, and turns errors into one or two lines and an exit code."""

import errno
import gc
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from codi_int.cli._complete import whole_names
from codi_int.cli._console import kept_so_far, plain_streams, tell
from codi_int.cli._errors import two_lines, usage_lines
from codi_int.cli._lazy import Entry, lazy_app
from codi_int.errors import CodiError, UnitError

USER_ERROR, INTERRUPTED, FAILURE = 2, 130, 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_REMEDY = "Make room, or send it elsewhere; what --out keeps is written before."
STOPPED = "Stopped. Nothing was half-written; give the same command to start again."
GOES_ON = "Stopped. {}; the command goes on there."

COMMANDS = (
    Entry(
        "ablate",
        "codi_int.cli.ablate:ablate",
        "Ablate features of a thought and see what becomes of the answers.",
    ),
    Entry(
        "amplify",
        "codi_int.cli.amplify:amplify",
        "Multiply features of a thought, or make them fire everywhere, and see what becomes of the answers.",
    ),
    Entry(
        "swap",
        "codi_int.cli.swap:swap",
        "Exchange the values of two features, or of two sets, and see what becomes of the answers.",
    ),
    Entry(
        "patch",
        "codi_int.cli.patch:patch",
        "Put a piece of one problem's thoughts into another's; with --step, say beforehand what should come out.",
    ),
    Entry(
        "screen",
        "codi_int.cli.screen:screen",
        "Ablate every feature of one or more sites; what is found is run again on problems that selected nothing.",
    ),
    Entry(
        "curve",
        "codi_int.cli.curve:curve",
        "Ablate the top n features of a site together, for growing n, against random sets that take out as much.",
    ),
    Entry(
        "map",
        "codi_int.cli.map:map_thoughts",
        "Replace the residual at each layer and position by its mean over the problems and see what becomes "
        "of answers.",
    ),
    Entry(
        "eval",
        "codi_int.cli.evaluate:evaluate",
        "Accuracy through thoughts with 95% intervals, by number of steps and by operation.",
    ),
    Entry(
        "stop",
        "codi_int.cli.stop:stop",
        "Answer after 0, 1, 2, ... thoughts: when is the answer there, does it stay, is a right one lost again?",
    ),
    Entry(
        "probe",
        "codi_int.cli.probe:probe",
        "Fit linear probes site by site: what can be read where, beyond a control task, and does the answer need it?",
    ),
    Entry(
        "think",
        "codi_int.cli.think:think",
        "Think about some problems: the length of each thought, the answer and its text.",
    ),
    Entry(
        "lens",
        "codi_int.cli.lens:lens",
        "Read each thought at each layer as a word: which results of the written steps does it say, and how often?",
    ),
    Entry(
        "capture",
        "codi_int.cli.capture:capture",
        "Keep the activations of problems: one safetensors file per layer, [position, problem, d_model].",
    ),
    Entry(
        "run",
        "codi_int.cli.run_document:run_document",
        "Run an experiment that was written down beforehand, as a command prints it with --as-document.",
    ),
    Entry(
        "compare",
        "codi_int.cli.compare:compare",
        "Compare two kept runs problem by problem: two models, SAEs, sites or edits.",
    ),
    Entry(
        "figures",
        "codi_int.cli.figures:figures",
        "Draw the figures of a kept run as PNG and SVG, without running anything again, and say what they leave out.",
    ),
    Entry(
        "report",
        "codi_int.cli.report:report",
        "Write what kept runs found as one HTML file: question, answer, tables, figures, problems that changed.",
    ),
    Entry(
        "export",
        "codi_int.cli.export:export",
        "Write a kept run as a log of Inspect, or its table for pandas, Polars, R or a spreadsheet.",
    ),
    Entry(
        "reproduce",
        "codi_int.cli.reproduce:reproduce",
        "Run a published experiment again: every number as published, as found here, and by a method that says how "
        "sure.",
    ),
    Entry(
        "train-codi",
        "codi_int.cli.train_codi:train_codi",
        "Train a CODI model on stories, or one of a pretrained model; the same command goes on where a run stopped.",
    ),
    Entry(
        "doctor",
        "codi_int.cli.doctor:doctor",
        "Look at a model before you trust it: what was found, what was assumed, sizes, memory, hashes.",
    ),
    Entry(
        "list",
        "codi_int.cli.list_at_hand:list_at_hand",
        "Models, SAEs and data at hand: how large they are, where they lie, how good they are.",
    ),
    Entry(
        "push",
        "codi_int.cli.push:push",
        "Upload a model, SAEs or a kept run to a model hub, with a card written from what its files say.",
    ),
    Entry(
        "pull",
        "codi_int.cli.pull:pull",
        "Download a model, SAEs or a kept run from a model hub into a folder, and look whether it is whole.",
    ),
    Entry(
        "shell",
        "codi_int.cli.shell:shell",
        "Type commands one after the other; model and clean pass stay in memory from one to the next.",
    ),
    Entry(
        "features",
        "",
        "What the features of an SAE respond to.",
        (
            Entry(
                "rank",
                "codi_int.cli.features_rank:rank",
                "The alive features of an SAE, the most frequent first: how often they fire, and how strongly.",
            ),
            Entry(
                "show",
                "codi_int.cli.features_show:show",
                "One feature in full: where it fires most, on what problems, what its decoder row reads as, what is "
                "like it.",
            ),
            Entry(
                "specialize",
                "codi_int.cli.features_specialize:specialize",
                "Which features are specialists: by the published rule, with ties counted, and tested. With n in every "
                "cell.",
            ),
            Entry(
                "pairs",
                "codi_int.cli.features_pairs:pairs",
                "Pairs of specialists of different operations or numbers, by the tested and the published rule, with "
                "their power.",
            ),
            Entry(
                "export",
                "codi_int.cli.features_export:export",
                "Write the alive features of an SAE, with their effects, as files that Neuronpedia's client uploads.",
            ),
        ),
    ),
    Entry(
        "sae",
        "",
        "Train, measure and exchange sparse autoencoders on continuous thoughts.",
        (
            Entry(
                "train",
                "codi_int.cli.sae_train:train",
                "Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out "
                "problems.",
            ),
            Entry(
                "sweep",
                "codi_int.cli.sae_sweep:sweep",
                "Train and measure every combination of layers, positions, k, features and seeds; the default is a "
                "published grid.",
            ),
            Entry(
                "eval",
                "codi_int.cli.sae_eval:evaluate",
                "Reconstruction, sparsity, dead features, decoder structure, cost to the model, and stability under "
                "another seed.",
            ),
            Entry(
                "import",
                "codi_int.cli.sae_import:import_sae",
                "Bring an SAE into a folder that every command takes.",
            ),
            Entry(
                "export",
                "codi_int.cli.sae_export:export_sae",
                "Write an SAE in SAELens' format or in the published layout.",
            ),
        ),
    ),
)


def all_commands() -> Iterator[tuple[str, Entry]]:
    """Every command with the words that call it: `ablate`, `sae train`."""
    for entry in COMMANDS:
        yield from (
            ((f"{entry.name} {one.name}", one) for one in entry.entries) if entry.entries else ((entry.name, entry),)
        )


def option_classes() -> dict[str, Any]:
    """Command to its class of options, of all that can be written down as a document; loads every command's file."""
    loaded = {words: entry.load() for words, entry in all_commands()}
    return {words: command.options for words, command in loaded.items() if hasattr(command, "options")}


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
    return lazy_app(
        root,
        COMMANDS,
        name="codi-int",
        epilog="Every command takes --help. Add --debug to see the traceback of an error.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with 0, 2 for a user's error, 130 for Ctrl-C, 1 for a bug of ours."""
    plain_streams()
    with whole_names(), _collecting_rarely():
        code = run_words(sys.argv[1:] if arguments is None else arguments)
    sys.exit(code)


def run_words(given: Sequence[str]) -> int:
    """Run one command line, whose errors go to stderr; returns the exit code."""
    # taken out by hand and not an option of the root: so it may stand anywhere, after the command as well
    debug = "--debug" in given
    return _run([word for word in given if word != "--debug"], debug)


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Look for garbage seldom: imports make objects by the hundred thousand, none of them garbage, and tensors have no
    cycles. At Python's own pace the looking takes a tenth of a command's start.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _run(words: list[str], debug: bool) -> int:
    try:
        # not standalone: click would print errors and exit by itself, with its own words and codes
        code = int(make_app()(words, prog_name="codi-int", standalone_mode=False) or 0)
        # what the stream still holds would fail when the interpreter ends, where nobody could say why
        sys.stdout.flush()
        # Typer turns Ctrl-C inside a command into this code rather than an exception, so it is told apart here
        return _fail(_stopped(), debug, INTERRUPTED) if code == INTERRUPTED else code
    except CodiError as error:
        code = FAILURE if isinstance(error, UnitError) else USER_ERROR
        return _fail(two_lines(error, words), debug, code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(_stopped(), debug, INTERRUPTED)
    except BrokenPipeError:
        _drop_stdout()
        return FAILURE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
            # every file of ours is written by `files`, which says more than this; what is left is the stream
            _drop_stdout()
            rule = f"The output cannot be written: {str(error.strerror).lower()}."
            return _fail(f"{rule}\n{FULL_REMEDY}", debug, USER_ERROR)
        if hasattr(error, "format_message"):  # typer's own errors, whichever library it takes them from
            return _fail(usage_lines(error, words), debug, USER_ERROR)
        return _fail(f"{type(error).__name__}: {error}\nThis is a bug; --debug shows where.", debug, FAILURE)


def _stopped() -> str:
    """What Ctrl-C leaves behind, in words."""
    kept = kept_so_far()
    return GOES_ON.format(kept) if kept else STOPPED


def _drop_stdout() -> None:
    """Whoever read our output has gone, or has no room: a second complaint at interpreter exit is avoided."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, debug: bool, code: int) -> int:
    if debug:
        traceback.print_exc()
    tell(f"codi-int: {message}")
    return code
