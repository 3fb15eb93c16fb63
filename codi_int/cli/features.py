"""`codi-int features`: what features respond to; every command has a file of its own."""

import typer

from codi_int.cli._lazy import Entry, lazy_app

COMMANDS = (
    Entry(
        "rank",
        "codi_int.cli.features_rank:rank",
        "The living features of an SAE, the most frequent first: how often they fire, and how strongly.",
    ),
)


def features() -> None:
    """What the features of an SAE respond to."""


def make_app() -> typer.Typer:
    """The group with all its commands."""
    return lazy_app(features, COMMANDS, name="features", add_completion=False)
