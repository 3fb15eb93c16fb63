"""`codi-int sae train`: one SAE at one site."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _choices as c
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import fixed
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.run_folder import RunFolder

if TYPE_CHECKING:
    from codi_int.sae.metrics import SAEMetrics
    from codi_int.sae.recipe import SAETrainingConfig
    from codi_int.types import Site

D_SAE, K = 512, 16
"""features, and how many of them a row keeps, where neither options nor recipe say: the shape of the shipped SAE"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(o.TrainingOptions):
    """One SAE; None wherever the recipe decides."""

    reinitialize: o.Reinitialize = None
    out: Annotated[Path, o.output(metavar="FOLDER", help="Folder of the SAE, in SAELens' format.")]
    force: o.Force = False
    k: Annotated[
        int | None,
        o.what(
            parser=o.whole("--k", least=1),
            metavar="N",
            help="Features kept per row, where the architecture takes k.  [default: 16, or the recipe's]",
        ),
    ] = None
    layer: o.Layer = 14
    position: o.Position = 3
    component: o.Component = "resid_post"
    features: Annotated[
        str | None,
        o.what(metavar="N", help="Size of the dictionary; auto grows it with k.  [default: 512, or the recipe's]"),
    ] = None
    architecture: Annotated[
        c.Architecture | None,
        o.what(
            metavar="KIND",
            help="topk, batchtopk, matryoshka, jumprelu, gated or standard.  [default: topk, or the recipe's]",
        ),
    ] = None
    rule: Annotated[
        c.KeepRule | None,
        o.what(help="abs keeps magnitudes with their sign, relu the largest values.  [default: abs, or the recipe's]"),
    ] = None
    freeze: Annotated[
        c.Freeze | None,
        o.what(
            metavar="PART",
            help="What stays as it was drawn, for a control: decoder, encoder, all or none.  "
            "[default: none, or the recipe's]",
        ),
    ] = None
    random: Annotated[
        bool, o.what("--random", help="Train nothing: random directions, for a control; --freeze all.")
    ] = False
    seed: Annotated[
        int | None,
        o.evidence(
            parser=o.whole("--seed", least=0, most=o.MOST_SEED),
            metavar="N",
            help="Of weights and order.  [default: 0, or the recipe's]",
        ),
    ] = None

    @property
    def site(self) -> "Site":
        """Where; SiteError for a component that does not exist."""
        (site,) = o.sites_of((self.layer,), (self.position,), self.component)
        return site


@with_options
def train(options: TrainOptions) -> None:
    """Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out problems.

    Example: codi-int sae train --layer 10 --position 5 --out saes/L10.P5
    """
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE

    config = _config(options)
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, config, folder, report),
        document=lambda found: train_document(options, found),
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

    names = ("k", "architecture", "rule", "epochs", "seed", "products", "freeze")
    given: dict[str, Any] = {name: getattr(options, name) for name in names}
    if options.random:
        if options.freeze not in (None, "all"):
            raise ConfigError(
                f"--random trains nothing at all, and --freeze {options.freeze} a part.", "Leave one of the two out."
            )
        given["freeze"] = "all"
    if options.features == "auto":
        given["d_sae"] = o.MOST_COUNT  # any k fits until it is known how large the dictionary becomes
    elif options.features is not None:
        (given["d_sae"],) = o.whole_numbers([options.features], "--features")[:1]
    config = read_recipe(options.recipe, {"d_sae": D_SAE, "k": K}, given)
    if options.features != "auto":
        return config
    if config.k is None:
        raise ConfigError(
            f"--features auto grows with k, and --architecture {config.architecture} has none.",
            "Give a number of features.",
        )
    return replace(config, d_sae=adaptive_d_sae(config.k))


def _run(options: TrainOptions, config: "SAETrainingConfig", folder: RunFolder, report: Report) -> "SAEMetrics":
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.at_site import TrainingData, train_at_site
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE
    from codi_int.sae.training_start import check_batch

    site, problems = options.site, load_problems(options.data, options.limit)
    held_out = load_problems(options.held_out, options.limit)
    # before anything is loaded: a batch larger than the data would be found after the captures, minutes later
    check_batch(len(problems), config.batch_size)
    model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
    folder.claim(model=model.sha256, data=problems_sha256(problems), held_out=problems_sha256(held_out))
    found = train_at_site(
        model,
        site,
        TrainingData(problems, held_out, name=options.data, captures=options.captures),
        config=config,
        folder=options.out,
        progress=report,
    )
    # only now: what another run has left is kept until the new SAE lies there whole
    folder.clear(keep=(CONFIG_FILE, WEIGHTS_FILE))
    return found


def train_document(options: TrainOptions, found: "SAEMetrics") -> dict[str, Any]:
    """Measures by name, and what a reader has to be warned of."""
    from codi_int.sae.at_site import training_notes

    return {**found.summary(), "notes": list(training_notes(options.site, found))}


def train_page(options: TrainOptions, config: "SAETrainingConfig", found: "SAEMetrics") -> Page:
    """Measures by name."""

    k = f", k {config.k}" if config.k else ""
    what = f"{config.architecture} SAE, d_sae {config.d_sae:,}{k}, seed {config.seed}"
    if config.freeze != "none":
        what += ", random directions, not trained" if config.freeze == "all" else f", {config.freeze} as it was drawn"
    head = Text(f"{what} at {options.site} of {options.model}, saved in {options.out}")
    out = table(f"measure on {options.held_out}", "value")
    for name, value in found.summary().items():
        # a count, such as of rows, is whole; a measure has four decimals, also where it happens to be a whole number
        out.add_row(name.replace("_", " "), fixed(value, 0 if name.startswith("n_") else 4))
    return Page(head, "", out)
