"""`codi-int sae train`: one SAE at one site."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from codi_int.cli import _choices as c
from codi_int.cli import _complete
from codi_int.cli import _options as o
from codi_int.cli._console import Report
from codi_int.cli._fitting import Page, table
from codi_int.cli._job import Kept, run_folder, run_job
from codi_int.cli._literal import Text
from codi_int.cli._numbers import fixed
from codi_int.cli._signature import with_options
from codi_int.errors import ConfigError
from codi_int.run_folder import RunFolder
from codi_int.sites import GLOBAL_COMPONENTS

if TYPE_CHECKING:
    from codi_int.sae.at_site import TrainedAtSite
    from codi_int.sae.recipe import SAETrainingConfig
    from codi_int.types import Site

D_SAE, K = 512, 16
"""features, and how many of them a row keeps, where neither options nor recipe say: the shape of the shipped SAE"""
LAYER = 14
"""where neither --layer nor a component that belongs to no layer says otherwise"""


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
    layer: Annotated[
        int | None,
        o.where(
            parser=o.whole("--layer"),
            metavar="N",
            help="Block, counted from 0; thought and final_norm have none.  [default: 14]",
            autocompletion=_complete.layers,
        ),
    ] = None
    position: o.Position = 3
    component: o.Component = "resid_post"
    to_layer: Annotated[
        int | None,
        o.where(
            parser=o.whole("--to-layer"),
            metavar="N",
            help="Of a transcoder: layer of what it rebuilds.  [default: that of what it reads]",
            autocompletion=_complete.layers,
        ),
    ] = None
    to_position: Annotated[
        int | None,
        o.where(
            parser=o.whole("--to-position"),
            metavar="N",
            help="Of a transcoder: position of what it rebuilds.  [default: that of what it reads]",
            autocompletion=_complete.positions,
        ),
    ] = None
    to_component: Annotated[
        str | None,
        o.where(
            metavar="NAME", help="Of a transcoder: tensor that it rebuilds.  [default: the same as of what it reads]"
        ),
    ] = None
    features: Annotated[
        str | None,
        o.what(metavar="N", help="Size of the dictionary; auto grows it with k.  [default: 512, or the recipe's]"),
    ] = None
    architecture: Annotated[
        c.Architecture | None,
        o.what(
            metavar="KIND",
            help="topk, batchtopk, matryoshka, jumprelu, gated, standard or transcoder.  "
            "[default: topk, or the recipe's]",
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


@with_options
def train(options: TrainOptions) -> None:
    """Train an SAE at one site, by the published recipe unless told otherwise, and measure it on held-out problems.

    A transcoder reads one site and rebuilds another one (--to-position 4), and is held against ridge regression.

    Example: codi-int sae train --layer 10 --position 5 --out saes/L10.P5
    """
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE

    config = _config(options)
    site, target = sites_of(options, config)
    folder = run_folder(options)
    run_job(
        lambda report: _run(options, config, (site, target), folder, report),
        document=lambda found: train_document(site, found),
        page=lambda found: train_page(options, config, (site, target), found),
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


def sites_of(options: TrainOptions, config: "SAETrainingConfig") -> tuple["Site", "Site | None"]:
    """What is read, and of a transcoder what is rebuilt; ConfigError or SiteError for what cannot be."""
    from codi_int.sae.at_site import check_sites
    from codi_int.sites import Site

    def site(layer: int | None, position: int, component: str) -> Site:
        # a layer that was asked for is handed on, for a component without one to refuse it
        inside = component not in GLOBAL_COMPONENTS
        return Site(LAYER if layer is None and inside else layer, position, component)

    read, asked = site(options.layer, options.position, options.component), ("to_layer", "to_position", "to_component")
    if all(getattr(options, name) is None for name in asked):
        check_sites(config, read, None)
        return read, None
    component = options.to_component or options.component
    layer = options.to_layer if options.to_layer is not None or component in GLOBAL_COMPONENTS else read.layer
    target = site(layer, read.position if options.to_position is None else options.to_position, component)
    check_sites(config, read, target)
    return read, target


def _run(
    options: TrainOptions,
    config: "SAETrainingConfig",
    sites: tuple["Site", "Site | None"],
    folder: RunFolder,
    report: Report,
) -> "TrainedAtSite":
    from codi_int.data.problems import load_problems, problems_sha256
    from codi_int.model.loading import load_model
    from codi_int.sae.at_site import TrainingData, train_at_site
    from codi_int.sae.store import CONFIG_FILE, WEIGHTS_FILE
    from codi_int.sae.training_start import check_batch

    problems = load_problems(options.data, options.limit)
    held_out = load_problems(options.held_out, options.limit)
    # before anything is loaded: a batch larger than the data would be found after the captures, minutes later
    check_batch(len(problems), config.batch_size)
    model = load_model(options.model, device=options.device, reinitialize=options.reinitialize)
    folder.claim(model=model.sha256, data=problems_sha256(problems), held_out=problems_sha256(held_out))
    found = train_at_site(
        model,
        sites[0],
        TrainingData(problems, held_out, name=options.data, captures=options.captures),
        config=config,
        folder=options.out,
        target=sites[1],
        progress=report,
    )
    # only now: what another run has left is kept until the new SAE lies there whole
    folder.clear(keep=(CONFIG_FILE, WEIGHTS_FILE))
    return found


def train_document(site: "Site", found: "TrainedAtSite") -> dict[str, Any]:
    """Measures by name, of a transcoder ridge regression beside them, and what a reader has to be warned of."""
    from codi_int.records import flatten
    from codi_int.sae.at_site import training_notes

    against = {} if found.ridge is None else {"ridge": flatten(found.ridge)}
    return {**found.metrics.summary(), **against, "notes": list(training_notes(site, found))}


def train_page(
    options: TrainOptions, config: "SAETrainingConfig", sites: tuple["Site", "Site | None"], found: "TrainedAtSite"
) -> Page:
    """Measures by name; of a transcoder ridge regression beside it."""
    from codi_int.cli._sae_pages import ridge_table

    k = f", k {config.k}" if config.k else ""
    kind = config.architecture if sites[1] else f"{config.architecture} SAE"
    what = f"{kind}, d_sae {config.d_sae:,}{k}, seed {config.seed}"
    if config.freeze != "none":
        what += ", random directions, not trained" if config.freeze == "all" else f", {config.freeze} as it was drawn"
    where = f"at {sites[0]}" if sites[1] is None else f"from {sites[0]} to {sites[1]}"
    head = Text(f"{what} {where} of {options.model}, saved in {options.out}")
    out = table(f"measure on {options.held_out}", "value")
    for name, value in found.metrics.summary().items():
        # a count, such as of rows, is whole; a measure has four decimals, also where it happens to be a whole number
        out.add_row(name.replace("_", " "), fixed(value, 0 if name.startswith("n_") else 4))
    return Page(head, "", out, *(() if found.ridge is None else ("", *ridge_table({"": found.ridge}))))
