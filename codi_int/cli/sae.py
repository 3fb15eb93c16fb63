"""`codi-int sae`: the laboratory of sparse autoencoders; every command has a file of its own."""

import typer

from codi_int.cli._lazy import Entry, lazy_app

COMMANDS = (
    Entry(
        "train",
        "codi_int.cli.sae_train:train",
        "Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out problems.",
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
)


def sae() -> None:
    """Train, measure and exchange sparse autoencoders on continuous thoughts."""


def make_app() -> typer.Typer:
    """The group with all its commands."""
    return lazy_app(sae, COMMANDS, name="sae", add_completion=False)
