"""`codi-int sae`: train sparse autoencoders on continuous thoughts."""

from pathlib import Path
from typing import Annotated

import typer

from codi_int.cli import _options as o
from codi_int.cli._console import print_json, progress, stdout

app = typer.Typer(no_args_is_help=True, help="Train sparse autoencoders on continuous thoughts.")


@app.callback()
def sae() -> None:
    """Train sparse autoencoders on continuous thoughts."""


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="Folder of the SAE, in SAELens' format.")],
    k: Annotated[int, typer.Option(help="Features kept per row.")],
    layer: o.Layer = 14,
    position: o.Position = 3,
    features: Annotated[int, typer.Option(help="Size of the dictionary.")] = 512,
    rule: Annotated[str, typer.Option(help="abs keeps magnitudes with their sign, relu the largest values.")] = "abs",
    epochs: Annotated[int, typer.Option(help="Passes over the rows.")] = 25,
    model: o.Model = "codi-mini",
    data: o.Data = "stories:sae",
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> None:
    """Train a TopK SAE at one site by the published recipe and measure it on stories:validation."""
    from rich.table import Table

    from codi_int.data.problems import load_problems
    from codi_int.model.loading import load_model
    from codi_int.sae.at_site import train_at_site
    from codi_int.sae.recipe import SAETrainingConfig
    from codi_int.types import Site

    config = SAETrainingConfig(d_sae=features, k=k, rule=rule, epochs=epochs, seed=seed)
    with progress() as report:
        found = train_at_site(
            load_model(model), Site(layer, position), load_problems(data), load_problems("stories:validation"),
            config, out, data, report,
        )  # fmt: skip
    if as_json:
        print_json(found.summary())
        return
    table = Table("measure on stories:validation", "value", title=f"SAE at L{layer}.P{position}, saved in {out}")
    for name, value in found.summary().items():
        table.add_row(name.replace("_", " "), f"{value:.4f}" if value % 1 else f"{value:.0f}")
    stdout().print(table)
