"""What `codi-int sae train` does once its options are read. Loaded when it runs, for it is heavy."""

from rich.console import Group
from rich.text import Text

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._options import whole_numbers
from codi_int.cli._tables import table
from codi_int.cli.sae_train import TrainOptions
from codi_int.data.problems import load_problems
from codi_int.errors import ConfigError
from codi_int.interventions.engine.store import prepare_folder
from codi_int.model.loading import load_model
from codi_int.sae.at_site import train_at_site
from codi_int.sae.metrics import SAEMetrics
from codi_int.sae.recipe import SAETrainingConfig, adaptive_d_sae
from codi_int.sae.recipe_files import read_recipe
from codi_int.sae.training import check_batch
from codi_int.types import Site

D_SAE = 512
"""features where neither options nor recipe say"""


def train_and_print(options: TrainOptions) -> None:
    """Train an SAE as the options say, keep it and print its measures."""
    config = _config(options)
    prepare_folder(options.out)
    with progress() as report:
        found = _run(options, config, report)
    if options.as_json:
        print_json(found.summary())
    else:
        stdout().print(train_page(options, config, found))


def _config(options: TrainOptions) -> SAETrainingConfig:
    """The recipe: options win over the file, the file over the published one."""
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


def _run(options: TrainOptions, config: SAETrainingConfig, report: Report) -> SAEMetrics:
    problems = load_problems(options.data, options.limit)
    held_out = load_problems(options.held_out, options.limit)
    check_batch(len(problems), config.batch_size)
    model = load_model(options.model, device=options.device)
    return train_at_site(
        model, Site(options.layer, options.position), problems, held_out, config, options.out, options.data, report,
        options.captures,
    )  # fmt: skip


def train_page(options: TrainOptions, config: SAETrainingConfig, found: SAEMetrics) -> Group:
    """Measures by name."""
    k = f", k {config.k}" if config.k else ""
    what = f"{config.architecture} SAE, d_sae {config.d_sae}{k}, seed {config.seed}"
    head = Text(f"{what} at {Site(options.layer, options.position)} of {options.model}, saved in {options.out}")
    out = table(f"measure on {options.held_out}", "value")
    for name, value in found.summary().items():
        out.add_row(name.replace("_", " "), f"{value:.4f}" if value % 1 else f"{value:,.0f}")
    return Group(head, "", out)
