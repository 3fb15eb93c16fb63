"""What `codi-int sae train` does once its options are read. Loaded when it runs, for it is heavy."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.text import Text

from codi_int.cli._console import Report, print_json, progress, stdout
from codi_int.cli._options import whole_numbers
from codi_int.cli._tables import table
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


@dataclass(frozen=True)
class TrainSetting:
    """What the options say."""

    out: Path
    """folder of the SAE"""
    layer: int
    """block"""
    position: int
    """thought position"""
    features: str | None
    """size of the dictionary, or auto"""
    given: Mapping[str, object]
    """fields of the recipe that were given as options; None where not"""
    recipe: Path | None
    """JSON file with further fields"""
    captures: Path | None
    """folder of captures"""
    model: str
    """name or folder"""
    data: str
    """problems to train on"""
    held_out: str
    """problems to measure on"""
    limit: int | None
    """how many of each"""
    device: str
    """where to run"""
    as_json: bool
    """whether to print JSON"""


def train_and_print(setting: TrainSetting) -> None:
    """Train an SAE as the options say, keep it and print its measures."""
    config = _config(setting)
    prepare_folder(setting.out)
    with progress() as report:
        found = _run(setting, config, report)
    if setting.as_json:
        print_json(found.summary())
    else:
        stdout().print(train_page(setting, config, found))


def _config(setting: TrainSetting) -> SAETrainingConfig:
    """The recipe: options win over the file, the file over the published one."""
    d_sae: int | None = None
    k = setting.given["k"]
    if setting.features == "auto":
        if not isinstance(k, int):
            raise ConfigError(
                "--features auto grows with k, and there is no --k.", "Give --k, or a number of features."
            )
        d_sae = adaptive_d_sae(k)
    elif setting.features is not None:
        (d_sae,) = whole_numbers([setting.features], "--features")[:1]
    return read_recipe(setting.recipe, {"d_sae": D_SAE}, {**setting.given, "d_sae": d_sae})


def _run(setting: TrainSetting, config: SAETrainingConfig, report: Report) -> SAEMetrics:
    problems = load_problems(setting.data, setting.limit)
    held_out = load_problems(setting.held_out, setting.limit)
    check_batch(len(problems), config.batch_size)
    model = load_model(setting.model, device=setting.device)
    return train_at_site(
        model, Site(setting.layer, setting.position), problems, held_out, config, setting.out, setting.data, report,
        setting.captures,
    )  # fmt: skip


def train_page(setting: TrainSetting, config: SAETrainingConfig, found: SAEMetrics) -> Group:
    """Measures by name."""
    k = f", k {config.k}" if config.k else ""
    what = f"{config.architecture} SAE, d_sae {config.d_sae}{k}, seed {config.seed}"
    head = Text(f"{what} at {Site(setting.layer, setting.position)} of {setting.model}, saved in {setting.out}")
    out = table(f"measure on {setting.held_out}", "value")
    for name, value in found.summary().items():
        out.add_row(name.replace("_", " "), f"{value:.4f}" if value % 1 else f"{value:,.0f}")
    return Group(head, "", out)
