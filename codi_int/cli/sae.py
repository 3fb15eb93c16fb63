"""`codi-int sae`: the laboratory of sparse autoencoders; every command has a file of its own."""

import typer

from codi_int.cli import sae_eval, sae_export, sae_import, sae_sweep, sae_train

COMMANDS = (
    ("train", sae_train.train),
    ("sweep", sae_sweep.sweep),
    ("eval", sae_eval.evaluate),
    ("import", sae_import.import_sae),
    ("export", sae_export.export_sae),
)


def sae() -> None:
    """Train, measure and exchange sparse autoencoders on continuous thoughts."""


def make_app() -> typer.Typer:
    """The group with all its commands."""
    app = typer.Typer(no_args_is_help=True, help=sae.__doc__)
    app.callback()(sae)
    for name, command in COMMANDS:
        app.command(name)(command)
    return app
