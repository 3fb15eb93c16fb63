"""`codi-int sae train`: one SAE at one site."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group

from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._options import whole_numbers
from codi_int.cli._sae_options import TrainingOptions
from codi_int.cli._signature import with_options
from codi_int.cli._tables import table
from codi_int.errors import ConfigError
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.sae.metrics import SAEMetrics
    from codi_int.sae.recipe import SAETrainingConfig

D_SAE = 512
"""features where neither options nor recipe say"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainingOptions):
    """One SAE; None wherever the recipe decides."""

    out: Annotated[Path, typer.Option(help="Folder of the SAE, in SAELens' format.")]
    force: o.Force = False
    k: Annotated[
        int | None,
        typer.Option(
            parser=o.whole("--k", least=1), metavar="N", help="Features kept per row, where the architecture takes k."
        ),
    ] = None
    layer: o.Layer = 14
    position: o.Position = 3
    features: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Size of the dictionary; auto grows it with k.  [default: 512, or the recipe's]"
        ),
    ] = None
    architecture: Annotated[
        str | None,
        typer.Option(
            help="topk, batchtopk, matryoshka, jumprelu, gated or standard.  [default: topk, or the recipe's]"
        ),
    ] = None
    rule: Annotated[
        str | None,
        typer.Option(help="abs keeps magnitudes with their sign, relu the largest values.  [default: abs]"),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(
            parser=o.whole("--seed", least=0, most=o.MOST_SEED),
            metavar="N",
            help="Of weights and order.  [default: 0, or the recipe's]",
        ),
    ] = None


@with_options
def train(options: TrainOptions) -> None:
    """Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out problems.

    Example: codi-int sae train --k 16 --out runs/sae
    """
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE

    config = _config(options)
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, config, folder, report),
        document=lambda found: found.summary(),
        page=lambda found: train_page(options, config, found),
        as_json=options.as_json,
        out=folder,
        # the run itself saves there
        keep=lambda found, out: Kept((), files=(CONFIG_FILE, WEIGHTS_FILE)),
    )


def _config(options: TrainOptions) -> "SAETrainingConfig":
    """The recipe: options win over the file, the file over the published one."""
    from codi_int.sae.recipe import adaptive_d_sae
    from codi_int.sae.recipe_files import read_recipe

    d_sae: int | None = None
    if options.features == "auto":
        if options.k is None:
            raise ConfigError(
                "--features auto grows with k, and there is no --k.", "Give --k, or a number of features."
            )
        d_sae = adaptive_d_sae(options.k)
    elif options.features is not None:
        (d_sae,) = whole_numbers([options.features], "--features")[:1]
    names = ("k", "architecture", "rule", "epochs", "seed", "products")
    given = {name: getattr(options, name) for name in names}
    return read_recipe(options.recipe, {"d_sae": D_SAE}, {**given, "d_sae": d_sae})


def _run(options: TrainOptions, config: "SAETrainingConfig", folder: RunFolder, report: Report) -> "SAEMetrics":
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.at_site import train_at_site
    from codi_int.sae.training import check_batch
    from codi_int.types import Site

    problems = load_problems(options.data, options.limit)
    held_out = load_problems(options.held_out, options.limit)
    # before anything is loaded: a batch larger than the data would be found after the captures, minutes later
    check_batch(len(problems), config.batch_size)
    model = load_model(options.model, device=options.device)
    folder.claim(model=model.sha256, data=problems_sha256(problems), held_out=problems_sha256(held_out))
    return train_at_site(
        model,
        Site(options.layer, options.position),
        training=problems,
        held_out=held_out,
        config=config,
        folder=options.out,
        data_name=options.data,
        progress=report,
        captures=options.captures,
    )


def train_page(options: TrainOptions, config: "SAETrainingConfig", found: "SAEMetrics") -> Group:
    """Measures by name."""
    from codi_int.types import Site

    k = f", k {config.k}" if config.k else ""
    what = f"{config.architecture} SAE, d_sae {config.d_sae}{k}, seed {config.seed}"
    head = Text(f"{what} at {Site(options.layer, options.position)} of {options.model}, saved in {options.out}")
    out = table(f"measure on {options.held_out}", "value")
    for name, value in found.summary().items():
        # no decimals for what is a count, such as rows or features; four for all else
        out.add_row(name.replace("_", " "), f"{value:.4f}" if value % 1 else f"{value:,.0f}")
    return Group(head, "", out)
